// SPDX-License-Identifier: MIT
// Copies flush against a guard page, for tests of what reads them.
#ifndef VMARENA_FENCED_HPP
#define VMARENA_FENCED_HPP

#include <vmarena/page.h>

#include "arena.hpp"

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <iterator>
#include <optional>
#include <type_traits>

#ifdef __cpp_lib_span
#include <span>
#endif

namespace vmar {

enum class side { end = VMARENA_FENCE_END, start = VMARENA_FENCE_START };
inline constexpr side sides[] = {side::end, side::start};

namespace detail {

// An arena that holds one object flush against a guard; an empty one faults on both sides.
class fenced_bytes {
  public:
    fenced_bytes(std::size_t size, std::size_t align, side where)
        : arena_(make_arena(size, where)), data_(place(size, align)) {}
    fenced_bytes(fenced_bytes &&) = default;
    fenced_bytes &operator=(fenced_bytes &&) = default;
    fenced_bytes(const fenced_bytes &) = delete;
    fenced_bytes &operator=(const fenced_bytes &) = delete;
    ~fenced_bytes() = default;

    void *data() const noexcept { return data_; }
    const vmar::arena &arena() const noexcept { return arena_; }

  private:
    static vmar::arena make_arena(std::size_t size, side where) {
        options wanted = {};
        if (size > SIZE_MAX / 2) out_of_memory();
        wanted.reserve = size + 4 * ::vmarena_page_size();
        wanted.fence = size != 0 ? static_cast<enum ::vmarena_fence>(where) : VMARENA_FENCE_END;
        wanted.name = "fenced copy";
        return vmar::arena(wanted);
    }
    void *place(std::size_t size, std::size_t align) {
        std::size_t page = ::vmarena_page_size();
        if (size != 0) return arena_.alloc(size, align);
        // The guard behind two pages, of which the second is closed.
        auto *pages = static_cast<std::byte *>(arena_.alloc(2 * page, page));
        arena_.protect(pages + page, page, prot::none);
        return pages + 2 * page;
    }
    vmar::arena arena_;
    void *data_;
};

} // namespace detail

// Objects of its own, the last of which ends at a guard page (the first starts at one): touching the next one faults. A
// contiguous range, and from C++20 on a std::span by conversion.
template <class T> class fenced_span {
    static_assert(std::is_trivially_copyable_v<T>, "bytes are copied, and no destructor runs");

  public:
    using value_type = T;
    fenced_span(const T *source, std::size_t count, side where = side::end)
        : bytes_(size_of(count), alignof(T), where), count_(count) {
        if (count != 0) std::memcpy(bytes_.data(), source, count * sizeof(T));
    }
    // Of anything contiguous: a vector, an array, a string, a span.
    template <class Range, class = decltype(std::data(std::declval<const Range &>()))>
    explicit fenced_span(const Range &source, side where = side::end)
        : fenced_span(std::data(source), std::size(source), where) {}

    T *data() noexcept { return static_cast<T *>(bytes_.data()); }
    const T *data() const noexcept { return static_cast<const T *>(bytes_.data()); }
    std::size_t size() const noexcept { return count_; }
    bool empty() const noexcept { return count_ == 0; }
    T *begin() noexcept { return data(); }
    T *end() noexcept { return data() + count_; }
    const T *begin() const noexcept { return data(); }
    const T *end() const noexcept { return data() + count_; }
    T &operator[](std::size_t index) noexcept { return data()[index]; }
    const T &operator[](std::size_t index) const noexcept { return data()[index]; }
#ifdef __cpp_lib_span
    operator std::span<T>() noexcept { return {data(), count_}; }
    operator std::span<const T>() const noexcept { return {data(), count_}; }
#endif
    // Fails where a byte beside the objects, where no guard is, was overwritten.
    result<void> try_check() const noexcept { return count_ != 0 ? bytes_.arena().try_check() : result<void>(); }
    void check() const { try_check().value(); }

  private:
    static std::size_t size_of(std::size_t count) {
        if (count > SIZE_MAX / sizeof(T)) detail::out_of_memory();
        return count * sizeof(T);
    }
    detail::fenced_bytes bytes_;
    std::size_t count_;
};
template <class Range>
fenced_span(const Range &)
    -> fenced_span<std::remove_cv_t<std::remove_pointer_t<decltype(std::data(std::declval<Range &>()))>>>;
template <class Range>
fenced_span(const Range &, side)
    -> fenced_span<std::remove_cv_t<std::remove_pointer_t<decltype(std::data(std::declval<Range &>()))>>>;

// The same of untyped bytes.
class fenced_buffer : public fenced_span<std::byte> {
  public:
    fenced_buffer(const void *bytes, std::size_t size, side where = side::end)
        : fenced_span(static_cast<const std::byte *>(bytes), size, where) {}
};

// Runs body(copy), a fenced_span<T> &, with a copy that ends at a guard, then with one that starts at one, and returns the
// first fault. What it wrote beside the copy is an error (std::errc::illegal_byte_sequence). The body is left by a fault as
// catch_fault's is.
template <class T, class Body> std::optional<fault> catch_fenced(const T *source, std::size_t count, Body body) {
    for (side where : sides) {
        fenced_span<T> copy(source, count, where);
        if (auto caught = catch_fault([&copy, &body] { body(copy); })) return caught;
        copy.check();
    }
    return std::nullopt;
}

} // namespace vmar

#endif
