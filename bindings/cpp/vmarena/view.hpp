// SPDX-License-Identifier: MIT
// Files as memory between guards.
#ifndef VMARENA_VIEW_HPP
#define VMARENA_VIEW_HPP

#include <vmarena/view.h>

#include "result.hpp"

#include <cstddef>
#include <cstdint>

namespace vmar {

// A file as memory between two guards. The file may shrink while it is mapped: read it with try_copy, which returns the fault.
class view {
  public:
    using options = ::vmarena_view_options;
    explicit view(const char *path, const options &wanted = {}) : handle_(open_handle(path, wanted)) {}
    static result<view> open(const char *path, const options &wanted = {}) noexcept {
        ::vmarena_view *handle = nullptr;
        int code = ::vmarena_view_open_with(&handle, path, &wanted);
        if (code < 0) return result<view>::failure(code);
        return view(handle);
    }
    // Of an open descriptor, which stays the caller's.
    static result<view> open(int fd, const options &wanted = {}) noexcept {
        ::vmarena_view *handle = nullptr;
        int code = ::vmarena_view_open_fd(&handle, fd, &wanted);
        if (code < 0) return result<view>::failure(code);
        return view(handle);
    }

    std::byte *data() const noexcept { return handle_ != nullptr ? static_cast<std::byte *>(handle_->data) : nullptr; }
    std::size_t size() const noexcept { return handle_ != nullptr ? handle_->size : 0; }
    std::byte *begin() const noexcept { return data(); }
    std::byte *end() const noexcept { return data() + size(); }
    std::uint64_t offset() const noexcept { return handle_ != nullptr ? handle_->offset : 0; }

    // Ranges are bytes of the window; length 0: all that follows. The errors are those of vmarena/view.h.
    // Shows another part of the file: data() may change.
    result<void> try_move(std::uint64_t to, std::size_t length = 0) noexcept {
        return result<void>::of(::vmarena_view_move(handle_.get(), to, length));
    }
    void move(std::uint64_t to, std::size_t length = 0) { try_move(to, length).value(); }
    // Waits until what was changed in a shared view is on the device.
    result<void> try_sync(std::size_t from = 0, std::size_t length = 0) noexcept {
        return result<void>::of(::vmarena_view_sync(handle_.get(), from, length));
    }
    void sync(std::size_t from = 0, std::size_t length = 0) { try_sync(from, length).value(); }
    result<void> try_advise(enum ::vmarena_view_advice advice, std::size_t from = 0, std::size_t length = 0) noexcept {
        return result<void>::of(::vmarena_view_advise(handle_.get(), from, length, advice));
    }
    void advise(enum ::vmarena_view_advice advice, std::size_t from = 0, std::size_t length = 0) {
        try_advise(advice, from, length).value();
    }
    result<void> try_populate(std::size_t from = 0, std::size_t length = 0) noexcept {
        return result<void>::of(::vmarena_view_populate(handle_.get(), from, length));
    }
    void populate(std::size_t from = 0, std::size_t length = 0) { try_populate(from, length).value(); }
    result<void> try_lock(std::size_t from = 0, std::size_t length = 0) noexcept {
        return result<void>::of(::vmarena_view_lock(handle_.get(), from, length));
    }
    void lock(std::size_t from = 0, std::size_t length = 0) { try_lock(from, length).value(); }
    result<void> try_unlock(std::size_t from = 0, std::size_t length = 0) noexcept {
        return result<void>::of(::vmarena_view_unlock(handle_.get(), from, length));
    }
    void unlock(std::size_t from = 0, std::size_t length = 0) { try_unlock(from, length).value(); }
    result<void> try_on_fault(::vmarena_fault_fn *function, void *argument) noexcept {
        return result<void>::of(::vmarena_view_on_fault(handle_.get(), function, argument));
    }
    void on_fault(::vmarena_fault_fn *function, void *argument) { try_on_fault(function, argument).value(); }
    struct ::vmarena_view_info info() const {
        struct ::vmarena_view_info found;
        detail::check(::vmarena_view_info(handle_.get(), &found));
        return found;
    }

  private:
    explicit view(::vmarena_view *handle) noexcept : handle_(handle) {}
    static ::vmarena_view *open_handle(const char *path, const options &wanted) {
        ::vmarena_view *handle = nullptr;
        detail::check(::vmarena_view_open_with(&handle, path, &wanted));
        return handle;
    }
    detail::owner<::vmarena_view, ::vmarena_view_close> handle_;
};

} // namespace vmar

#endif
