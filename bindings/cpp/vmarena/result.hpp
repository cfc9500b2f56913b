// SPDX-License-Identifier: MIT
// Failures: as exceptions, as results, and where neither is possible.
#ifndef VMARENA_RESULT_HPP
#define VMARENA_RESULT_HPP

#include <vmarena/error.h>

#include <atomic>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <initializer_list>
#include <memory>
#include <new>
#include <optional>
#include <string>
#include <system_error>
#include <type_traits>
#include <utility>
#include <version>

#ifdef __cpp_lib_expected
#include <expected>
#endif

namespace vmar {

// A failure: the errno as its code, the library's sentence as its message.
class error : public std::system_error {
  public:
    explicit error(int negative_errno)
        : std::system_error(-negative_errno, std::generic_category(), ::vmarena_explain()),
          sentence_(::vmarena_explain()) {}
    const std::string &sentence() const noexcept { return sentence_; }

  private:
    std::string sentence_;
};

namespace detail {

#ifdef __cpp_exceptions
[[noreturn]] inline void fail(int code) { throw error(code); }
[[noreturn]] inline void out_of_memory() { throw std::bad_alloc(); }
#else
[[noreturn]] inline void fail(int) { std::abort(); }
[[noreturn]] inline void out_of_memory() { std::abort(); }
#endif

inline void check(int code) {
    if (code < 0) fail(code);
}

inline void *check_memory(void *memory) {
    if (memory == nullptr) out_of_memory();
    return memory;
}

inline std::error_code code_of(int negative_errno) noexcept { return {-negative_errno, std::generic_category()}; }

// Owns what a handle of the C library stands for.
template <auto Destroy> struct destroyer {
    template <class Handle> void operator()(Handle *handle) const noexcept { Destroy(handle); }
};
template <class Handle, auto Destroy> using owner = std::unique_ptr<Handle, destroyer<Destroy>>;

} // namespace detail

// A value, or the negative errno that kept it from being. From C++23 on expected() makes a std::expected of it.
template <class T> class [[nodiscard]] result {
  public:
    result(T value) noexcept(std::is_nothrow_move_constructible_v<T>) : value_(std::move(value)), code_(0) {}
    static result failure(int negative_errno) noexcept { return result(negative_errno, 0); }

    explicit operator bool() const noexcept { return value_.has_value(); }
    bool has_value() const noexcept { return value_.has_value(); }
    int code() const noexcept { return code_; }
    T &operator*() &noexcept { return *value_; }
    const T &operator*() const &noexcept { return *value_; }
    T &&operator*() &&noexcept { return *std::move(value_); }
    T *operator->() noexcept { return &*value_; }
    const T *operator->() const noexcept { return &*value_; }
    T &value() & {
        detail::check(code_);
        return *value_;
    }
    const T &value() const & {
        detail::check(code_);
        return *value_;
    }
    T &&value() && {
        detail::check(code_);
        return *std::move(value_);
    }
#ifdef __cpp_lib_expected
    std::expected<T, std::error_code> expected() && {
        if (code_ < 0) return std::unexpected(detail::code_of(code_));
        return *std::move(value_);
    }
#endif

  private:
    result(int negative_errno, int) noexcept : value_(), code_(negative_errno) {}
    std::optional<T> value_;
    int code_;
};

// Done, or the negative errno that kept it from being.
template <> class [[nodiscard]] result<void> {
  public:
    result() noexcept = default;
    static result of(int code) noexcept {
        result made;
        made.code_ = code < 0 ? code : 0;
        return made;
    }
    explicit operator bool() const noexcept { return code_ == 0; }
    bool has_value() const noexcept { return code_ == 0; }
    int code() const noexcept { return code_; }
    void value() const { detail::check(code_); }
#ifdef __cpp_lib_expected
    std::expected<void, std::error_code> expected() const {
        if (code_ < 0) return std::unexpected(detail::code_of(code_));
        return {};
    }
#endif

  private:
    int code_ = 0;
};

// ---- failures where nothing may be thrown -----------------------------------------------------------------------------

// What a destructor or a deallocation found: overwritten slack, a double free, a wrong size.
struct defect {
    const char *where;    // "mark_scope", "heap_resource", ...
    int code;             // negative errno
    const char *sentence; // the library's, good until the thread's next failure
};
using defect_handler = void (*)(const defect &found) noexcept;

namespace detail {

[[noreturn]] inline void abort_on_defect(const defect &found) noexcept {
    std::fprintf(stderr, "vmarena: %s: %s\n", found.where, found.sentence);
    std::abort();
}
inline std::atomic<defect_handler> handler_of_defects{abort_on_defect};

// expected: failures that are none to the caller.
inline void report_defect(const char *where, int code, std::initializer_list<int> expected) noexcept {
    if (code >= 0) return;
    for (int each : expected)
        if (code == each) return;
    handler_of_defects.load()({where, code, ::vmarena_explain()});
}

} // namespace detail

// Sets what is called with a defect, in the thread that found it, and returns what was set before; nullptr brings back the
// default, which prints the sentence to standard error and aborts. A handler that returns lets the program go on. Any
// thread.
inline defect_handler set_defect_handler(defect_handler handler) noexcept {
    return detail::handler_of_defects.exchange(handler != nullptr ? handler : detail::abort_on_defect);
}

} // namespace vmar

#endif
