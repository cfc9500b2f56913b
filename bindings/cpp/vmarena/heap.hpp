// SPDX-License-Identifier: MIT
// Heaps of guarded objects.
#ifndef VMARENA_HEAP_HPP
#define VMARENA_HEAP_HPP

#include <vmarena/heap.h>

#include "result.hpp"

#include <cstddef>

namespace vmar {

// Owns a heap of which every object has pages and a guard of its own. Any thread may use it.
class heap {
  public:
    using options = ::vmarena_heap_options;
    explicit heap(const options &wanted = {}) : heap(create_handle(wanted), wanted) {}
    static result<heap> make(const options &wanted = {}) noexcept {
        ::vmarena_heap *handle = nullptr;
        int code = ::vmarena_heap_create(&handle, &wanted);
        if (code < 0) return result<heap>::failure(code);
        return heap(handle, wanted);
    }

    ::vmarena_heap *get() const noexcept { return handle_.get(); }
    // Whether options.report gets what the heap finds.
    bool reports() const noexcept { return reports_; }
    void *try_alloc(std::size_t size, std::size_t align = 0) noexcept {
        return ::vmarena_heap_alloc(get(), size, align);
    }
    void *alloc(std::size_t size, std::size_t align = 0) { return detail::check_memory(try_alloc(size, align)); }
    // nullptr: failed, and the object is as it was. What it had moved from faults.
    void *try_resize(void *object, std::size_t size) noexcept { return ::vmarena_heap_realloc(get(), object, size); }
    void *resize(void *object, std::size_t size) { return detail::check_memory(try_resize(object, size)); }
    // Fails for what was freed before, is no object, or has overwritten surroundings; the code says which.
    result<void> try_free(void *object) noexcept { return result<void>::of(::vmarena_heap_free(get(), object)); }
    void free(void *object) { try_free(object).value(); }
    result<void> try_check() const noexcept { return result<void>::of(::vmarena_heap_check(get())); }
    void check() const { try_check().value(); }
    struct ::vmarena_heap_stats stats() const noexcept {
        struct ::vmarena_heap_stats figures;
        ::vmarena_heap_stats(get(), &figures);
        return figures;
    }
    bool owns(const void *address) const noexcept { return ::vmarena_heap_owns(get(), address); }

  private:
    heap(::vmarena_heap *handle, const options &wanted) noexcept
        : handle_(handle), reports_(wanted.report != nullptr) {}
    static ::vmarena_heap *create_handle(const options &wanted) {
        ::vmarena_heap *handle = nullptr;
        detail::check(::vmarena_heap_create(&handle, &wanted));
        return handle;
    }
    detail::owner<::vmarena_heap, ::vmarena_heap_destroy> handle_;
    bool reports_;
};

} // namespace vmar

#endif
