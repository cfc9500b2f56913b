// SPDX-License-Identifier: MIT
// Snapshots of arenas.
#ifndef VMARENA_SNAPSHOT_HPP
#define VMARENA_SNAPSHOT_HPP

#include <vmarena/snapshot.h>

#include "arena.hpp"
#include "inspect.hpp"

#include <vector>

namespace vmar {

// A point in an arena's life whose contents can be brought back. May go before or after the arena.
class snapshot {
  public:
    explicit snapshot(arena &owner, enum ::vmarena_tracking tracking = VMARENA_TRACK_AUTO)
        : handle_(take_handle(owner, tracking)) {}
    static result<snapshot> make(arena &owner, enum ::vmarena_tracking tracking = VMARENA_TRACK_AUTO) noexcept {
        struct ::vmarena_snapshot *handle = nullptr;
        int code = ::vmarena_snapshot(&handle, owner.get(), tracking);
        if (code < 0) return result<snapshot>::failure(code);
        return snapshot(handle);
    }

    // What was allocated since is taken back; what was there is as it was.
    result<void> try_restore(arena &owner) noexcept {
        return result<void>::of(::vmarena_restore(owner.get(), handle_.get()));
    }
    void restore(arena &owner) { try_restore(owner).value(); }
    // A new arena with the contents, at another address.
    result<arena> try_clone() noexcept {
        ::vmarena *made = nullptr;
        int code = ::vmarena_clone(&made, handle_.get());
        if (code < 0) return result<arena>::failure(code);
        return arena(made);
    }
    arena clone() { return try_clone().value(); }
    // Pages written since it was taken or restored last.
    std::vector<pages> dirty_pages(arena &owner) {
        std::vector<pages> found;
        detail::check(::vmarena_dirty_pages(owner.get(), handle_.get(), detail::collect<pages, pages>, &found));
        return found;
    }
    struct ::vmarena_snapshot_info info() const {
        struct ::vmarena_snapshot_info found;
        detail::check(::vmarena_snapshot_info(handle_.get(), &found));
        return found;
    }

  private:
    explicit snapshot(struct ::vmarena_snapshot *handle) noexcept : handle_(handle) {}
    static struct ::vmarena_snapshot *take_handle(arena &owner, enum ::vmarena_tracking tracking) {
        struct ::vmarena_snapshot *handle = nullptr;
        detail::check(::vmarena_snapshot(&handle, owner.get(), tracking));
        return handle;
    }
    detail::owner<struct ::vmarena_snapshot, ::vmarena_snapshot_free> handle_;
};

} // namespace vmar

#endif
