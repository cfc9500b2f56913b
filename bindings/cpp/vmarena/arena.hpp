// SPDX-License-Identifier: MIT
// Arenas, and scopes that rewind and protect them.
#ifndef VMARENA_ARENA_HPP
#define VMARENA_ARENA_HPP

#include <vmarena/arena.h>

#include "fault.hpp"

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <utility>

namespace vmar {

using options = ::vmarena_options;
using stats = struct ::vmarena_stats;
using mark = struct ::vmarena_mark;

// Protections, to be combined with |.
namespace prot {
inline constexpr unsigned none = VMARENA_NONE, read = VMARENA_READ, write = VMARENA_WRITE, exec = VMARENA_EXEC;
}

// Owns one arena. Objects made in it are not destroyed with it: create() takes trivially destructible types only.
class arena {
  public:
    explicit arena(const options &wanted = {}) : handle_(create_handle(wanted)) {}
    static result<arena> make(const options &wanted = {}) noexcept {
        ::vmarena *handle = nullptr;
        int code = ::vmarena_create(&handle, &wanted);
        if (code < 0) return result<arena>::failure(code);
        return arena(handle);
    }

    ::vmarena *get() const noexcept { return handle_.get(); }
    bool owns(const void *address) const noexcept { return ::vmarena_owns(get(), address); }

    // Raw bytes; nullptr where the arena is full, moved from, or the request is bad: vmarena_explain() has the reason.
    void *try_alloc(std::size_t size, std::size_t align = alignof(std::max_align_t)) noexcept {
        return handle_ != nullptr ? ::vmarena_alloc(get(), size, align) : ::vmarena_alloc_slow(nullptr, size, align);
    }
    // The same, throwing std::bad_alloc.
    void *alloc(std::size_t size, std::size_t align = alignof(std::max_align_t)) {
        return detail::check_memory(try_alloc(size, align));
    }
    // All bytes zero; nullptr as try_alloc.
    void *try_alloc_zeroed(std::size_t size, std::size_t align = alignof(std::max_align_t)) noexcept {
        return ::vmarena_alloc_zeroed(get(), size, align);
    }
    // In place where it can, otherwise moved; nullptr: the object is as it was.
    void *try_resize(void *object, std::size_t old_size, std::size_t new_size) noexcept {
        return ::vmarena_resize(get(), object, old_size, new_size);
    }
    // Takes one object back, as vmarena_free: the last one's memory is handed out again, and one of a fenced arena faults.
    result<void> try_free(void *object, std::size_t size) noexcept {
        return result<void>::of(::vmarena_free(get(), object, size));
    }
    void free(void *object, std::size_t size) { try_free(object, size).value(); }
    template <class T, class... Arguments> T *create(Arguments &&...arguments) {
        static_assert(std::is_trivially_destructible_v<T>, "an arena runs no destructors");
        return ::new (alloc(sizeof(T), alignof(T))) T(std::forward<Arguments>(arguments)...);
    }
    // count value-initialised objects.
    template <class T> T *create_array(std::size_t count) {
        static_assert(std::is_trivially_destructible_v<T>, "an arena runs no destructors");
        T *first = static_cast<T *>(detail::check_memory(::vmarena_alloc_array(get(), count, sizeof(T), alignof(T))));
        std::uninitialized_value_construct_n(first, count);
        return first;
    }

    struct ::vmarena_mark mark() const noexcept {
        return ::vmarena_mark(get());
    }
    // The errors are those of vmarena/arena.h.
    result<void> try_rewind(const struct ::vmarena_mark &point) noexcept {
        return result<void>::of(::vmarena_rewind(get(), point));
    }
    void rewind(const struct ::vmarena_mark &point) { try_rewind(point).value(); }
    result<void> try_reset(std::size_t keep_bytes = SIZE_MAX) noexcept {
        return result<void>::of(::vmarena_reset(get(), keep_bytes));
    }
    void reset(std::size_t keep_bytes = SIZE_MAX) { try_reset(keep_bytes).value(); }
    result<void> try_check() const noexcept { return result<void>::of(::vmarena_check(get())); }
    void check() const { try_check().value(); }
    result<void> try_protect(unsigned prot) noexcept { return result<void>::of(::vmarena_protect(get(), prot)); }
    void protect(unsigned prot) { try_protect(prot).value(); }
    result<void> try_protect(void *start, std::size_t length, unsigned prot) noexcept {
        return result<void>::of(::vmarena_protect_range(get(), start, length, prot));
    }
    void protect(void *start, std::size_t length, unsigned prot) { try_protect(start, length, prot).value(); }
    result<void> try_discard(void *start, std::size_t length) noexcept {
        return result<void>::of(::vmarena_discard(get(), start, length));
    }
    void discard(void *start, std::size_t length) { try_discard(start, length).value(); }
    result<void> try_prefault(std::size_t bytes) noexcept { return result<void>::of(::vmarena_prefault(get(), bytes)); }
    void prefault(std::size_t bytes) { try_prefault(bytes).value(); }
    result<void> try_seal() noexcept { return result<void>::of(::vmarena_seal(get())); }
    void seal() { try_seal().value(); }
    // function runs in the signal handler for each fault in the arena; true has the access tried again. See vmarena/fault.h.
    result<void> try_on_fault(::vmarena_fault_fn *function, void *argument) noexcept {
        return result<void>::of(::vmarena_on_fault(get(), function, argument));
    }
    void on_fault(::vmarena_fault_fn *function, void *argument) { try_on_fault(function, argument).value(); }
    vmar::stats stats() const noexcept {
        vmar::stats figures;
        ::vmarena_stats(get(), &figures);
        return figures;
    }
    // The same without a system call: resident and huge are 0.
    vmar::stats info() const noexcept {
        vmar::stats figures;
        ::vmarena_info(get(), &figures);
        return figures;
    }
    // As vmar::catch_fault, for faults in this arena alone.
    template <class Body> std::optional<fault> catch_fault(Body body) const {
        fault caught;
        detail::call<Body> call{body};
        int code = ::vmarena_try_in(get(), call.run, &call, &caught);
        detail::check(code);
        call.rethrow();
        return code == 1 ? std::optional<fault>(caught) : std::nullopt;
    }

  private:
    friend class snapshot;
    explicit arena(::vmarena *handle) noexcept : handle_(handle) {}
    static ::vmarena *create_handle(const options &wanted) {
        ::vmarena *handle = nullptr;
        detail::check(::vmarena_create(&handle, &wanted));
        return handle;
    }
    detail::owner<::vmarena, ::vmarena_destroy> handle_;
};

// Takes back, at the end of the block, what was allocated in it. Scopes nest; one that ends out of order is left alone.
// Slack that is found overwritten goes to the defect handler.
class mark_scope {
  public:
    explicit mark_scope(arena &owner) noexcept : arena_(owner), mark_(owner.mark()) {}
    mark_scope(const mark_scope &) = delete;
    mark_scope &operator=(const mark_scope &) = delete;
    ~mark_scope() { detail::report_defect("mark_scope", ::vmarena_rewind(arena_.get(), mark_), {-ESTALE, -EBADF}); }

  private:
    arena &arena_;
    struct ::vmarena_mark mark_;
};

// Changes an arena's protection for the length of a block.
class protect_scope {
  public:
    protect_scope(arena &owner, unsigned prot) : arena_(owner) {
        detail::check(::vmarena_protect_push(owner.get(), prot));
    }
    protect_scope(const protect_scope &) = delete;
    protect_scope &operator=(const protect_scope &) = delete;
    ~protect_scope() { detail::report_defect("protect_scope", ::vmarena_protect_pop(arena_.get()), {-EBADF}); }

  private:
    arena &arena_;
};

} // namespace vmar

#endif
