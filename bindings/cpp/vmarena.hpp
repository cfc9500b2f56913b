// SPDX-License-Identifier: MIT
//
// libvmarena for C++17, header-only: arenas, marks, fenced buffers and faults as C++ values.
//
// The namespace is vmar, as the C library's own handle is called struct vmarena.
//
// Every operation that can fail comes twice: make(...), open(...) and try_...() return a vmar::result and never throw;
// constructors and the plain names throw vmar::error. Compiled with -fno-exceptions these end the program by std::abort().
// Thread rules are those of the C headers: one owner an arena, a view, a snapshot; any thread a heap.
#ifndef VMARENA_HPP
#define VMARENA_HPP

#include <vmarena.h>
#include <vmarena/heap.h>
#include <vmarena/inspect.h>
#include <vmarena/snapshot.h>
#include <vmarena/view.h>

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <memory>
#include <memory_resource>
#include <new>
#include <optional>
#include <string>
#include <system_error>
#include <type_traits>
#include <utility>
#include <vector>

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

} // namespace detail

// A value, or the negative errno that kept it from being: what std::expected<T, int> will be.
template <class T> class [[nodiscard]] result {
  public:
    result(T value) noexcept(std::is_nothrow_move_constructible_v<T>) : value_(std::move(value)), code_(0) {}
    static result failure(int negative_errno) noexcept { return result(negative_errno, 0); }

    explicit operator bool() const noexcept { return value_.has_value(); }
    bool has_value() const noexcept { return value_.has_value(); }
    int code() const noexcept { return code_; }
    T &operator*() &noexcept { return *value_; }
    T &&operator*() &&noexcept { return *std::move(value_); }
    T *operator->() noexcept { return &*value_; }
    T &value() & {
        detail::check(code_);
        return *value_;
    }
    T &&value() && {
        detail::check(code_);
        return *std::move(value_);
    }

  private:
    result(int negative_errno, int) noexcept : code_(negative_errno) {}
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

  private:
    int code_ = 0;
};

// ---- faults -------------------------------------------------------------------------------------------------------

// What happened: the fields of struct vmarena_fault, and its description.
struct fault : ::vmarena_fault {
    fault() noexcept : ::vmarena_fault() {}
    std::string describe() const {
        std::string text(::vmarena_fault_describe(this, nullptr, 0), '\0');
        ::vmarena_fault_describe(this, text.data(), text.size() + 1);
        return text;
    }
    explicit operator bool() const noexcept { return signo != 0; }
};

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

// Fault-tolerant operations at any address: how many bytes were done; *why (if given) tells of a fault, or has a negative
// errno as its code where no scope could be opened. See vmarena/fault.h.
inline std::size_t try_copy(void *to, const void *from, std::size_t length, fault *why = nullptr) noexcept {
    return ::vmarena_copy(to, from, length, why);
}
inline std::size_t try_fill(void *to, std::byte byte, std::size_t length, fault *why = nullptr) noexcept {
    return ::vmarena_fill(to, std::to_integer<int>(byte), length, why);
}
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

// ---- arenas -------------------------------------------------------------------------------------------------------

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
    explicit arena(const options &wanted = {}) { detail::check(::vmarena_create(&handle_, &wanted)); }
    static result<arena> make(const options &wanted = {}) noexcept {
        ::vmarena *handle = nullptr;
        int code = ::vmarena_create(&handle, &wanted);
        if (code < 0) return result<arena>::failure(code);
        return arena(handle);
    }
    arena(arena &&other) noexcept : handle_(std::exchange(other.handle_, nullptr)) {}
    arena &operator=(arena &&other) noexcept {
        std::swap(handle_, other.handle_);
        return *this;
    }
    ~arena() { ::vmarena_destroy(handle_); }

    ::vmarena *get() const noexcept { return handle_; }
    bool owns(const void *address) const noexcept { return ::vmarena_owns(handle_, address); }

    // Raw bytes; nullptr where the arena is full, moved from, or the request is bad: vmarena_explain() tells.
    void *try_alloc(std::size_t size, std::size_t align = alignof(std::max_align_t)) noexcept {
        return handle_ != nullptr ? ::vmarena_alloc(handle_, size, align) : ::vmarena_alloc_slow(nullptr, size, align);
    }
    // The same, throwing std::bad_alloc.
    void *alloc(std::size_t size, std::size_t align = alignof(std::max_align_t)) {
        return detail::check_memory(try_alloc(size, align));
    }
    // All bytes zero; nullptr as try_alloc.
    void *try_alloc_zeroed(std::size_t size, std::size_t align = alignof(std::max_align_t)) noexcept {
        return ::vmarena_alloc_zeroed(handle_, size, align);
    }
    // In place where it can, otherwise moved; nullptr: the object is as it was.
    void *try_resize(void *object, std::size_t old_size, std::size_t new_size) noexcept {
        return ::vmarena_resize(handle_, object, old_size, new_size);
    }
    template <class T, class... Arguments> T *create(Arguments &&...arguments) {
        static_assert(std::is_trivially_destructible_v<T>, "an arena runs no destructors");
        return ::new (alloc(sizeof(T), alignof(T))) T(std::forward<Arguments>(arguments)...);
    }
    // count value-initialised objects.
    template <class T> T *create_array(std::size_t count) {
        static_assert(std::is_trivially_destructible_v<T>, "an arena runs no destructors");
        T *first = static_cast<T *>(detail::check_memory(::vmarena_alloc_array(handle_, count, sizeof(T), alignof(T))));
        std::uninitialized_value_construct_n(first, count);
        return first;
    }

    struct ::vmarena_mark mark() const noexcept {
        return ::vmarena_mark(handle_);
    }
    // The errors are those of vmarena/arena.h.
    result<void> try_rewind(const struct ::vmarena_mark &point) noexcept {
        return result<void>::of(::vmarena_rewind(handle_, point));
    }
    void rewind(const struct ::vmarena_mark &point) { try_rewind(point).value(); }
    result<void> try_reset(std::size_t keep_bytes = SIZE_MAX) noexcept {
        return result<void>::of(::vmarena_reset(handle_, keep_bytes));
    }
    void reset(std::size_t keep_bytes = SIZE_MAX) { try_reset(keep_bytes).value(); }
    result<void> try_check() const noexcept { return result<void>::of(::vmarena_check(handle_)); }
    void check() const { try_check().value(); }
    result<void> try_protect(unsigned prot) noexcept { return result<void>::of(::vmarena_protect(handle_, prot)); }
    void protect(unsigned prot) { try_protect(prot).value(); }
    result<void> try_protect(void *start, std::size_t length, unsigned prot) noexcept {
        return result<void>::of(::vmarena_protect_range(handle_, start, length, prot));
    }
    void protect(void *start, std::size_t length, unsigned prot) { try_protect(start, length, prot).value(); }
    result<void> try_discard(void *start, std::size_t length) noexcept {
        return result<void>::of(::vmarena_discard(handle_, start, length));
    }
    void discard(void *start, std::size_t length) { try_discard(start, length).value(); }
    result<void> try_prefault(std::size_t bytes) noexcept {
        return result<void>::of(::vmarena_prefault(handle_, bytes));
    }
    void prefault(std::size_t bytes) { try_prefault(bytes).value(); }
    result<void> try_seal() noexcept { return result<void>::of(::vmarena_seal(handle_)); }
    void seal() { try_seal().value(); }
    // function runs in the signal handler for each fault in the arena; true has the access tried again. See vmarena/fault.h.
    result<void> try_on_fault(::vmarena_fault_fn *function, void *argument) noexcept {
        return result<void>::of(::vmarena_on_fault(handle_, function, argument));
    }
    void on_fault(::vmarena_fault_fn *function, void *argument) { try_on_fault(function, argument).value(); }
    vmar::stats stats() const noexcept {
        vmar::stats figures;
        ::vmarena_stats(handle_, &figures);
        return figures;
    }
    // As vmar::catch_fault, for faults in this arena alone.
    template <class Body> std::optional<fault> catch_fault(Body body) const {
        fault caught;
        detail::call<Body> call{body};
        int code = ::vmarena_try_in(handle_, call.run, &call, &caught);
        detail::check(code);
        call.rethrow();
        return code == 1 ? std::optional<fault>(caught) : std::nullopt;
    }

  private:
    friend class snapshot;
    explicit arena(::vmarena *handle) noexcept : handle_(handle) {}
    ::vmarena *handle_ = nullptr;
};

// Takes back, at the end of the block, what was allocated in it. Scopes nest; one that ends out of order is left alone.
class mark_scope {
  public:
    explicit mark_scope(arena &owner) noexcept : arena_(owner), mark_(owner.mark()) {}
    mark_scope(const mark_scope &) = delete;
    mark_scope &operator=(const mark_scope &) = delete;
    ~mark_scope() { (void)::vmarena_rewind(arena_.get(), mark_); }

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
    ~protect_scope() { (void)::vmarena_protect_pop(arena_.get()); }

  private:
    arena &arena_;
};

// An arena, bump or fenced, behind std::pmr containers. Deallocation gives nothing back: rewind or reset the arena.
// An alignment or size that the arena refuses, and a full arena, is std::bad_alloc.
class arena_resource final : public std::pmr::memory_resource {
  public:
    explicit arena_resource(arena &owner) noexcept : arena_(owner.get()) {}

  private:
    void *do_allocate(std::size_t size, std::size_t align) override {
        void *object = ::vmarena_alloc_fast_(arena_, size, align);
        return object != nullptr ? object : allocate_slow(size, align);
    }
    // Apart, so that the fast path has no registers to save.
    [[gnu::noinline, gnu::cold]] void *allocate_slow(std::size_t size, std::size_t align) {
        // pmr may ask for 0 bytes and wants a pointer that is distinct: one byte serves.
        return detail::check_memory(::vmarena_alloc_slow(arena_, size != 0 ? size : 1, align));
    }
    void do_deallocate(void *, std::size_t, std::size_t) override {}
    bool do_is_equal(const std::pmr::memory_resource &other) const noexcept override {
        auto *same = dynamic_cast<const arena_resource *>(&other);
        return same != nullptr && same->arena_ == arena_;
    }
    ::vmarena *arena_;
};

// ---- heaps ----------------------------------------------------------------------------------------------------------

// Owns a heap of which every object has pages and a guard of its own. Any thread may use it.
class heap {
  public:
    using options = ::vmarena_heap_options;
    explicit heap(const options &wanted = {}) { detail::check(::vmarena_heap_create(&handle_, &wanted)); }
    static result<heap> make(const options &wanted = {}) noexcept {
        ::vmarena_heap *handle = nullptr;
        int code = ::vmarena_heap_create(&handle, &wanted);
        if (code < 0) return result<heap>::failure(code);
        return heap(handle);
    }
    heap(heap &&other) noexcept : handle_(std::exchange(other.handle_, nullptr)) {}
    heap &operator=(heap &&other) noexcept {
        std::swap(handle_, other.handle_);
        return *this;
    }
    ~heap() { ::vmarena_heap_destroy(handle_); }

    ::vmarena_heap *get() const noexcept { return handle_; }
    void *try_alloc(std::size_t size, std::size_t align = 0) noexcept {
        return ::vmarena_heap_alloc(handle_, size, align);
    }
    void *alloc(std::size_t size, std::size_t align = 0) { return detail::check_memory(try_alloc(size, align)); }
    // nullptr: failed, and the object is as it was. What it had moved from faults.
    void *try_resize(void *object, std::size_t size) noexcept { return ::vmarena_heap_realloc(handle_, object, size); }
    void *resize(void *object, std::size_t size) { return detail::check_memory(try_resize(object, size)); }
    // Fails for what was freed before, is no object, or has overwritten surroundings; the code tells which.
    result<void> try_free(void *object) noexcept { return result<void>::of(::vmarena_heap_free(handle_, object)); }
    void free(void *object) { try_free(object).value(); }
    result<void> try_check() const noexcept { return result<void>::of(::vmarena_heap_check(handle_)); }
    void check() const { try_check().value(); }
    struct ::vmarena_heap_stats stats() const noexcept {
        struct ::vmarena_heap_stats figures;
        ::vmarena_heap_stats(handle_, &figures);
        return figures;
    }
    bool owns(const void *address) const noexcept { return ::vmarena_heap_owns(handle_, address); }

  private:
    explicit heap(::vmarena_heap *handle) noexcept : handle_(handle) {}
    ::vmarena_heap *handle_ = nullptr;
};

// A heap behind std::pmr containers: every buffer that they allocate is guarded, and faults once it is freed. What the
// heap finds wrong at a deallocation goes to its report function (options.report); deallocating does not throw.
class heap_resource final : public std::pmr::memory_resource {
  public:
    explicit heap_resource(heap &owner) noexcept : heap_(owner.get()) {}

  private:
    void *do_allocate(std::size_t size, std::size_t align) override {
        return detail::check_memory(::vmarena_heap_alloc(heap_, size, align));
    }
    void do_deallocate(void *object, std::size_t size, std::size_t align) override {
        (void)::vmarena_heap_free_sized(heap_, object, size, align);
    }
    bool do_is_equal(const std::pmr::memory_resource &other) const noexcept override {
        auto *same = dynamic_cast<const heap_resource *>(&other);
        return same != nullptr && same->heap_ == heap_;
    }
    ::vmarena_heap *heap_;
};

// ---- views ----------------------------------------------------------------------------------------------------------

// A file as memory between two guards. The file may shrink while it is mapped: read it with try_copy, which tells.
class view {
  public:
    using options = ::vmarena_view_options;
    explicit view(const char *path, const options &wanted = {}) {
        detail::check(::vmarena_view_open_with(&handle_, path, &wanted));
    }
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
    view(view &&other) noexcept : handle_(std::exchange(other.handle_, nullptr)) {}
    view &operator=(view &&other) noexcept {
        std::swap(handle_, other.handle_);
        return *this;
    }
    ~view() { ::vmarena_view_close(handle_); }

    std::byte *data() const noexcept { return handle_ != nullptr ? static_cast<std::byte *>(handle_->data) : nullptr; }
    std::size_t size() const noexcept { return handle_ != nullptr ? handle_->size : 0; }
    std::uint64_t offset() const noexcept { return handle_ != nullptr ? handle_->offset : 0; }

    // Ranges are bytes of the window; length 0: all that follows. The errors are those of vmarena/view.h.
    // Shows another part of the file: data() may change.
    result<void> try_move(std::uint64_t to, std::size_t length = 0) noexcept {
        return result<void>::of(::vmarena_view_move(handle_, to, length));
    }
    void move(std::uint64_t to, std::size_t length = 0) { try_move(to, length).value(); }
    // Waits until what was changed in a shared view is on the device.
    result<void> try_sync(std::size_t from = 0, std::size_t length = 0) noexcept {
        return result<void>::of(::vmarena_view_sync(handle_, from, length));
    }
    void sync(std::size_t from = 0, std::size_t length = 0) { try_sync(from, length).value(); }
    result<void> try_advise(enum ::vmarena_view_advice advice, std::size_t from = 0, std::size_t length = 0) noexcept {
        return result<void>::of(::vmarena_view_advise(handle_, from, length, advice));
    }
    void advise(enum ::vmarena_view_advice advice, std::size_t from = 0, std::size_t length = 0) {
        try_advise(advice, from, length).value();
    }
    result<void> try_populate(std::size_t from = 0, std::size_t length = 0) noexcept {
        return result<void>::of(::vmarena_view_populate(handle_, from, length));
    }
    void populate(std::size_t from = 0, std::size_t length = 0) { try_populate(from, length).value(); }
    result<void> try_lock(std::size_t from = 0, std::size_t length = 0) noexcept {
        return result<void>::of(::vmarena_view_lock(handle_, from, length));
    }
    void lock(std::size_t from = 0, std::size_t length = 0) { try_lock(from, length).value(); }
    result<void> try_unlock(std::size_t from = 0, std::size_t length = 0) noexcept {
        return result<void>::of(::vmarena_view_unlock(handle_, from, length));
    }
    void unlock(std::size_t from = 0, std::size_t length = 0) { try_unlock(from, length).value(); }
    result<void> try_on_fault(::vmarena_fault_fn *function, void *argument) noexcept {
        return result<void>::of(::vmarena_view_on_fault(handle_, function, argument));
    }
    void on_fault(::vmarena_fault_fn *function, void *argument) { try_on_fault(function, argument).value(); }
    struct ::vmarena_view_info info() const {
        struct ::vmarena_view_info found;
        detail::check(::vmarena_view_info(handle_, &found));
        return found;
    }

  private:
    explicit view(::vmarena_view *handle) noexcept : handle_(handle) {}
    ::vmarena_view *handle_ = nullptr;
};

// ---- snapshots --------------------------------------------------------------------------------------------------------

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

// A point in an arena's life whose contents can be brought back. May go before or after the arena.
class snapshot {
  public:
    explicit snapshot(arena &owner, enum ::vmarena_tracking tracking = VMARENA_TRACK_AUTO) {
        detail::check(::vmarena_snapshot(&handle_, owner.get(), tracking));
    }
    static result<snapshot> make(arena &owner, enum ::vmarena_tracking tracking = VMARENA_TRACK_AUTO) noexcept {
        struct ::vmarena_snapshot *handle = nullptr;
        int code = ::vmarena_snapshot(&handle, owner.get(), tracking);
        if (code < 0) return result<snapshot>::failure(code);
        return snapshot(handle);
    }
    snapshot(snapshot &&other) noexcept : handle_(std::exchange(other.handle_, nullptr)) {}
    snapshot &operator=(snapshot &&other) noexcept {
        std::swap(handle_, other.handle_);
        return *this;
    }
    ~snapshot() { ::vmarena_snapshot_free(handle_); }

    // What was allocated since is taken back; what was there is as it was.
    result<void> try_restore(arena &owner) noexcept {
        return result<void>::of(::vmarena_restore(owner.get(), handle_));
    }
    void restore(arena &owner) { try_restore(owner).value(); }
    // A new arena with the contents, at another address.
    result<arena> try_clone() noexcept {
        ::vmarena *made = nullptr;
        int code = ::vmarena_clone(&made, handle_);
        if (code < 0) return result<arena>::failure(code);
        return arena(made);
    }
    arena clone() { return try_clone().value(); }
    // Pages written since it was taken or restored last.
    std::vector<pages> dirty_pages(arena &owner) {
        std::vector<pages> found;
        detail::check(::vmarena_dirty_pages(owner.get(), handle_, detail::collect<pages, pages>, &found));
        return found;
    }
    struct ::vmarena_snapshot_info info() const {
        struct ::vmarena_snapshot_info found;
        detail::check(::vmarena_snapshot_info(handle_, &found));
        return found;
    }

  private:
    explicit snapshot(struct ::vmarena_snapshot *handle) noexcept : handle_(handle) {}
    struct ::vmarena_snapshot *handle_ = nullptr;
};

// ---- the system's view of memory: pid 0 is this process ------------------------------------------------------------------

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
// Runs of like pages, without those that are not there; wanted 0: all states. *known: those that this system tells.
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
    counters(counters &&other) noexcept : handle_(std::exchange(other.handle_, nullptr)) {}
    counters &operator=(counters &&other) noexcept {
        std::swap(handle_, other.handle_);
        return *this;
    }
    ~counters() { ::vmarena_counters_close(handle_); }
    struct ::vmarena_counts read() const {
        struct ::vmarena_counts found;
        detail::check(::vmarena_counters_read(handle_, &found));
        return found;
    }

  private:
    explicit counters(::vmarena_counters *handle) noexcept : handle_(handle) {}
    ::vmarena_counters *handle_ = nullptr;
};

// ---- fenced buffers ------------------------------------------------------------------------------------------------

enum class side { end = VMARENA_FENCE_END, start = VMARENA_FENCE_START };

// A copy of some bytes flush against a guard page, for tests of what reads them.
class fenced_buffer {
  public:
    fenced_buffer(const void *bytes, std::size_t size, side where = side::end)
        : arena_(fenced(size, where)), size_(size) {
        data_ = static_cast<std::byte *>(arena_.alloc(size != 0 ? size : 1, 1));
        if (size != 0) std::memcpy(data_, bytes, size);
        else if (where == side::end) ++data_; // no byte of it may be touched
    }
    std::byte *data() noexcept { return data_; }
    const std::byte *data() const noexcept { return data_; }
    std::size_t size() const noexcept { return size_; }
    std::byte *begin() noexcept { return data_; }
    std::byte *end() noexcept { return data_ + size_; }
    // Throws where a byte around the buffer was overwritten.
    void check() const { arena_.check(); }

  private:
    static arena fenced(std::size_t size, side where) {
        options wanted = {};
        std::size_t page = ::vmarena_page_size();
        if (size > SIZE_MAX / 2) detail::out_of_memory();
        wanted.reserve = size + 4 * page;
        wanted.fence = static_cast<enum ::vmarena_fence>(where);
        return arena(wanted);
    }
    arena arena_;
    std::size_t size_;
    std::byte *data_ = nullptr;
};

} // namespace vmar

#endif
