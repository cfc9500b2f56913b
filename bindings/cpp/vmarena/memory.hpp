// SPDX-License-Identifier: MIT
// Arenas and heaps behind containers and smart pointers.
#ifndef VMARENA_MEMORY_HPP
#define VMARENA_MEMORY_HPP

#include "arena.hpp"
#include "heap.hpp"

#include <cstddef>
#include <cstdint>
#include <memory>
#include <memory_resource>
#include <new>
#include <type_traits>
#include <utility>

namespace vmar {

// ---- where memory comes from --------------------------------------------------------------------------------------

// An arena, for what allocates and deallocates: copied freely, and good as long as the arena. In a fenced arena an object
// that was deallocated faults; otherwise the last one's memory is used again, and the rest waits for a rewind or reset.
// Overwritten slack and a wrong size go to the defect handler.
class arena_source {
  public:
    arena_source(arena &owner) noexcept : arena_(owner.get()) {} // as std::pmr::polymorphic_allocator, from its source
    void *allocate(std::size_t size, std::size_t align) const {
        void *object = ::vmarena_alloc_fast_(arena_, size, align);
        return object != nullptr ? object : allocate_slow(size, align);
    }
    void deallocate(void *object, std::size_t size, std::size_t) const noexcept {
        std::uintptr_t last = reinterpret_cast<std::uintptr_t>(object) + (size != 0 ? size : 1) - 1;
        // The library sees every object where its limit stays at the cursor; otherwise only the last one matters to it.
        if (last == arena_->cursor || arena_->limit == arena_->cursor) deallocate_slow(object, size);
    }
    friend bool operator==(const arena_source &left, const arena_source &right) noexcept {
        return left.arena_ == right.arena_;
    }
    friend bool operator!=(const arena_source &left, const arena_source &right) noexcept { return !(left == right); }

  private:
    // Apart, so that the fast path has no registers to save. 0 bytes are to have an address of their own: one serves.
    [[gnu::noinline, gnu::cold]] void *allocate_slow(std::size_t size, std::size_t align) const {
        return detail::check_memory(::vmarena_alloc_slow(arena_, size != 0 ? size : 1, align));
    }
    [[gnu::noinline]] void deallocate_slow(void *object, std::size_t size) const noexcept {
        detail::report_defect("arena", ::vmarena_free(arena_, object, size != 0 ? size : 1),
                              {-EBADF, -EACCES}); // gone already, or protected
    }
    ::vmarena *arena_;
};

// A heap, for the same: every object guarded, and faulting once it is deallocated. A double free, a wrong size and
// overwritten slack go to the heap's report function, where it has one, otherwise to the defect handler.
class heap_source {
  public:
    heap_source(heap &owner) noexcept : heap_(owner.get()), reports_(owner.reports()) {}
    void *allocate(std::size_t size, std::size_t align) const {
        return detail::check_memory(::vmarena_heap_alloc(heap_, size, align));
    }
    void deallocate(void *object, std::size_t size, std::size_t align) const noexcept {
        int code = ::vmarena_heap_free_sized(heap_, object, size, align);
        if (!reports_) detail::report_defect("heap", code, {-EBADF});
    }
    friend bool operator==(const heap_source &left, const heap_source &right) noexcept {
        return left.heap_ == right.heap_;
    }
    friend bool operator!=(const heap_source &left, const heap_source &right) noexcept { return !(left == right); }

  private:
    ::vmarena_heap *heap_;
    bool reports_;
};

// ---- std::pmr -----------------------------------------------------------------------------------------------------

// An arena or a heap behind std::pmr containers. What is refused is std::bad_alloc. Two of one source are equal; compiled
// without RTTI only a resource and itself are.
template <class Source> class resource final : public std::pmr::memory_resource {
  public:
    template <class Owner, class = std::enable_if_t<std::is_constructible_v<Source, Owner &>>>
    explicit resource(Owner &owner) noexcept : source_(owner) {}

  private:
    void *do_allocate(std::size_t size, std::size_t align) override { return source_.allocate(size, align); }
    void do_deallocate(void *object, std::size_t size, std::size_t align) override {
        source_.deallocate(object, size, align);
    }
    bool do_is_equal(const std::pmr::memory_resource &other) const noexcept override {
#ifdef __cpp_rtti
        auto *same = dynamic_cast<const resource *>(&other);
        return same != nullptr && same->source_ == source_;
#else
        return this == &other;
#endif
    }
    Source source_;
};
using arena_resource = resource<arena_source>;
using heap_resource = resource<heap_source>;

// ---- typed allocators ---------------------------------------------------------------------------------------------

// The allocator of a container that knows its source's type: no virtual call, and the container's type says where its
// memory lies. It goes with the contents when a container is moved, assigned or swapped.
template <class T, class Source> class basic_allocator {
  public:
    using value_type = T;
    using propagate_on_container_copy_assignment = std::true_type;
    using propagate_on_container_move_assignment = std::true_type;
    using propagate_on_container_swap = std::true_type;

    template <class Owner, class = std::enable_if_t<std::is_constructible_v<Source, Owner &>>>
    basic_allocator(Owner &owner) noexcept : source_(owner) {}
    template <class Other>
    basic_allocator(const basic_allocator<Other, Source> &other) noexcept : source_(other.source()) {}

    [[nodiscard]] T *allocate(std::size_t count) {
        if (count > SIZE_MAX / sizeof(T)) detail::out_of_memory();
        return static_cast<T *>(source_.allocate(count * sizeof(T), alignof(T)));
    }
    void deallocate(T *objects, std::size_t count) noexcept {
        source_.deallocate(objects, count * sizeof(T), alignof(T));
    }
    const Source &source() const noexcept { return source_; }

    template <class Other> bool operator==(const basic_allocator<Other, Source> &other) const noexcept {
        return source_ == other.source();
    }
    template <class Other> bool operator!=(const basic_allocator<Other, Source> &other) const noexcept {
        return !(*this == other);
    }

  private:
    Source source_;
};
template <class T> using arena_allocator = basic_allocator<T, arena_source>;
template <class T> using heap_allocator = basic_allocator<T, heap_source>;

// ---- smart pointers -----------------------------------------------------------------------------------------------

// Destroys objects and gives their memory back. Of an array it knows the length.
template <class T, class Source> class deleter {
  public:
    explicit deleter(const Source &source, std::size_t count = 1) noexcept : source_(source), count_(count) {}
    void operator()(std::remove_extent_t<T> *objects) const noexcept {
        std::destroy_n(objects, count_);
        source_.deallocate(objects, count_ * sizeof *objects, alignof(std::remove_extent_t<T>));
    }
    std::size_t count() const noexcept { return count_; }

  private:
    Source source_;
    std::size_t count_;
};
template <class T> using arena_ptr = std::unique_ptr<T, deleter<T, arena_source>>;
template <class T> using heap_ptr = std::unique_ptr<T, deleter<T, heap_source>>;

namespace detail {

// Memory that is given back unless it was made use of.
template <class T, class Source> class pending {
  public:
    pending(const Source &source, std::size_t count) : source_(source), count_(count) {
        if (count > SIZE_MAX / sizeof(T)) out_of_memory();
        memory_ = static_cast<T *>(source_.allocate(count * sizeof(T), alignof(T)));
    }
    pending(const pending &) = delete;
    pending &operator=(const pending &) = delete;
    ~pending() {
        if (memory_ != nullptr) source_.deallocate(memory_, count_ * sizeof(T), alignof(T));
    }
    T *get() const noexcept { return memory_; }
    T *release() noexcept { return std::exchange(memory_, nullptr); }

  private:
    Source source_;
    std::size_t count_;
    T *memory_ = nullptr;
};

template <class T, class Source, class... Arguments>
std::unique_ptr<T, deleter<T, Source>> make_unique(const Source &source, Arguments &&...arguments) {
    if constexpr (std::is_array_v<T>) {
        std::size_t count(arguments...);
        pending<std::remove_extent_t<T>, Source> memory(source, count);
        std::uninitialized_value_construct_n(memory.get(), count);
        return {memory.release(), deleter<T, Source>(source, count)};
    } else {
        pending<T, Source> memory(source, 1);
        ::new (static_cast<void *>(memory.get())) T(std::forward<Arguments>(arguments)...);
        return {memory.release(), deleter<T, Source>(source)};
    }
}

} // namespace detail

// As std::make_unique, in an arena or a heap, which must outlive the pointer: allocate_unique<T>(arena, arguments...) and
// allocate_unique<T[]>(arena, count). std::bad_alloc where there is no memory, and what T's constructor throws.
template <class T, class... Arguments> arena_ptr<T> allocate_unique(arena &owner, Arguments &&...arguments) {
    return detail::make_unique<T>(arena_source(owner), std::forward<Arguments>(arguments)...);
}
template <class T, class... Arguments> heap_ptr<T> allocate_unique(heap &owner, Arguments &&...arguments) {
    return detail::make_unique<T>(heap_source(owner), std::forward<Arguments>(arguments)...);
}

} // namespace vmar

#endif
