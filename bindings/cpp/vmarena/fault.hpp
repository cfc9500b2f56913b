// SPDX-License-Identifier: MIT
// Faults as values.
#ifndef VMARENA_FAULT_HPP
#define VMARENA_FAULT_HPP

#include <vmarena/fault.h>

#include "result.hpp"

#include <cstddef>
#include <exception>
#include <optional>
#include <ostream>
#include <string>
#include <type_traits>

#ifdef __cpp_lib_span
#include <span>
#endif

namespace vmar {

// What happened: the fields of struct vmarena_fault, and its description.
struct fault : ::vmarena_fault {
    fault() noexcept : ::vmarena_fault() {}
    std::string describe() const {
        std::string text(::vmarena_fault_describe(this, nullptr, 0), '\0');
        ::vmarena_fault_describe(this, text.data(), text.size() + 1);
        return text;
    }
    explicit operator bool() const noexcept { return signo != 0; }
    friend std::ostream &operator<<(std::ostream &stream, const fault &shown) { return stream << shown.describe(); }
};

// From now on a fault in memory of this library that nobody catches is written to a descriptor in words, with the object
// and its stacks, before the process dies of it. -1 turns that off. The errors are those of vmarena/fault.h.
inline result<void> try_report_faults(int descriptor = 2) noexcept {
    return result<void>::of(::vmarena_report_faults(descriptor));
}
inline void report_faults(int descriptor = 2) { try_report_faults(descriptor).value(); }

enum class claim { registered, any };

namespace detail {

// A body on its way through C, which no exception can cross: it is carried over, and thrown again on the other side.
template <class Body> struct call {
    static_assert(std::is_trivially_destructible_v<Body>,
                  "a fault skips destructors: capture references and values only");
    Body body;
#ifdef __cpp_exceptions
    std::exception_ptr thrown = nullptr;
    static void run(void *self) {
        try {
            static_cast<call *>(self)->body();
        } catch (...) { static_cast<call *>(self)->thrown = std::current_exception(); }
    }
    void rethrow() const {
        if (thrown != nullptr) std::rethrow_exception(thrown);
    }
#else
    static void run(void *self) { static_cast<call *>(self)->body(); }
    void rethrow() const {}
#endif
};

} // namespace detail

// Runs body() and returns the fault it was left by, or nothing. A fault leaves body as longjmp would: no destructor runs
// in the frames it skips, which is why body itself must be trivially destructible and must hold no object that is not
// (a std::string, a lock) while it touches guarded memory. That part the compiler cannot check. Exceptions pass.
template <class Body> std::optional<fault> catch_fault(Body body, claim what = claim::registered) {
    fault caught;
    detail::call<Body> call{body};
    int code = (what == claim::any ? ::vmarena_try_any : ::vmarena_try)(call.run, &call, &caught);
    detail::check(code);
    call.rethrow();
    return code == 1 ? std::optional<fault>(caught) : std::nullopt;
}

// Fault-tolerant operations at any address: how many bytes were done; *why (if given) is the fault, or has a negative
// errno as its code where no scope could be opened. See vmarena/fault.h.
inline std::size_t try_copy(void *to, const void *from, std::size_t length, fault *why = nullptr) noexcept {
    return ::vmarena_copy(to, from, length, why);
}
inline std::size_t try_fill(void *to, std::byte byte, std::size_t length, fault *why = nullptr) noexcept {
    return ::vmarena_fill(to, std::to_integer<int>(byte), length, why);
}
#ifdef __cpp_lib_span
inline std::size_t try_copy(std::span<std::byte> to, const void *from, fault *why = nullptr) noexcept {
    return ::vmarena_copy(to.data(), from, to.size(), why);
}
#endif
// How many bytes are the same. Fewer than length, and no fault: the byte at that index differs.
inline std::size_t try_compare(const void *left, const void *right, std::size_t length, fault *why = nullptr) noexcept {
    return ::vmarena_compare(left, right, length, why);
}
// The value at an address, or the fault. T is 1, 2, 4 or 8 bytes, trivially copyable.
template <class T> std::optional<T> try_read(const T *address, fault *why = nullptr) {
    static_assert(std::is_trivially_copyable_v<T> && std::is_default_constructible_v<T>);
    T value;
    int code = ::vmarena_read(address, &value, sizeof value, why);
    detail::check(code);
    return code == 0 ? std::optional<T>(value) : std::nullopt;
}
template <class T> bool try_write(T *address, const T &value, fault *why = nullptr) {
    static_assert(std::is_trivially_copyable_v<T>);
    int code = ::vmarena_write(address, &value, sizeof value, why);
    detail::check(code);
    return code == 0;
}

} // namespace vmar

#endif
