// SPDX-License-Identifier: MIT
// What the system knows of a process's memory: pid 0 is this process.
#ifndef VMARENA_INSPECT_HPP
#define VMARENA_INSPECT_HPP

#include <vmarena/inspect.h>
#include <vmarena/page.h>

#include "result.hpp"

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace vmar {

namespace detail {

template <class Raw, class Item> int collect(const Raw *raw, void *list) {
#ifdef __cpp_exceptions
    try {
        static_cast<std::vector<Item> *>(list)->emplace_back(*raw);
    } catch (...) { return -ENOMEM; }
#else
    static_cast<std::vector<Item> *>(list)->emplace_back(*raw);
#endif
    return 0;
}

} // namespace detail

// Pages side by side that are alike: start, end, and VMARENA_PAGE_... bits as the state.
using pages = struct ::vmarena_pages;

// An entry of the memory map, with names of its own.
struct mapping : ::vmarena_mapping {
    explicit mapping(const ::vmarena_mapping &raw)
        : ::vmarena_mapping(raw), path(raw.name != nullptr ? raw.name : ""),
          owned_by(raw.owner_name != nullptr ? raw.owner_name : "") {
        name = owner_name = nullptr;
    }
    std::string path;     // as the system writes it, "[heap]" and the like, or ""
    std::string owned_by; // name of the arena, heap or view
};

inline std::vector<mapping> maps(pid_t pid = 0) {
    std::vector<mapping> found;
    detail::check(::vmarena_maps(pid, detail::collect<::vmarena_mapping, mapping>, &found));
    return found;
}
inline mapping mapping_at(std::uint64_t address, pid_t pid = 0) {
    struct ::vmarena_mapping found;
    char name[4096];
    detail::check(::vmarena_mapping_at(pid, address, &found, name, sizeof name));
    return mapping(found);
}
// Runs of like pages, without those that are not there; wanted 0: all states. *known: those that this system reports.
inline std::vector<pages> residency(const void *start, std::size_t length, unsigned wanted = 0,
                                    unsigned *known = nullptr) {
    std::vector<pages> found;
    detail::check(::vmarena_residency(0, reinterpret_cast<std::uintptr_t>(start), length, wanted, known,
                                      detail::collect<pages, pages>, &found));
    return found;
}
inline struct ::vmarena_totals totals(pid_t pid = 0) {
    struct ::vmarena_totals found;
    detail::check(::vmarena_totals(pid, &found));
    return found;
}
struct fault_counts {
    std::uint64_t minor, major;
    static fault_counts of_process(pid_t pid = 0) {
        fault_counts found;
        detail::check(pid == 0 ? ::vmarena_fault_counts(&found.minor, &found.major)
                               : ::vmarena_process_fault_counts(pid, &found.minor, &found.major));
        return found;
    }
    static fault_counts of_thread() {
        fault_counts found;
        detail::check(::vmarena_thread_fault_counts(&found.minor, &found.major));
        return found;
    }
};
inline struct ::vmarena_caps caps() {
    struct ::vmarena_caps found;
    detail::check(::vmarena_caps(&found));
    return found;
}
// The kernel's and the CPU's counters; flags as in vmarena/inspect.h.
class counters {
  public:
    static result<counters> open(pid_t pid = 0, unsigned flags = 0) noexcept {
        ::vmarena_counters *handle = nullptr;
        int code = ::vmarena_counters_open(&handle, pid, flags);
        if (code < 0) return result<counters>::failure(code);
        return counters(handle);
    }
    struct ::vmarena_counts read() const {
        struct ::vmarena_counts found;
        detail::check(::vmarena_counters_read(handle_.get(), &found));
        return found;
    }

  private:
    explicit counters(::vmarena_counters *handle) noexcept : handle_(handle) {}
    detail::owner<::vmarena_counters, ::vmarena_counters_close> handle_;
};

} // namespace vmar

#endif
