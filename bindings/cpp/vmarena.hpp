// SPDX-License-Identifier: MIT
//
// libvmarena for C++17, header-only: arenas, marks, fenced buffers and faults as C++ values.
//
// The namespace is vmar, as the C library's own handle is called struct vmarena.
//
// Every operation that can fail comes twice: make(...) and try_...() return a vmar::result and never throw;
// constructors and the plain names throw vmar::error. Thread rules are those of vmarena/arena.h: one owner an arena.
#ifndef VMARENA_HPP
#define VMARENA_HPP

#include <vmarena.h>
#include <vmarena/heap.h>
#include <vmarena/view.h>

#include <cerrno>
#include <cstddef>
#include <cstring>
#include <memory>
#include <memory_resource>
#include <new>
#include <optional>
#include <string>
#include <system_error>
#include <type_traits>
#include <utility>

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
    T &value() & { return check(), *value_; }
    T &&value() && { return check(), *std::move(value_); }

  private:
    result(int negative_errno, int) noexcept : code_(negative_errno) {}
    void check() const {
        if (!value_) throw error(code_);
    }
    std::optional<T> value_;
    int code_;
};

namespace detail {
inline void check(int code) {
    if (code < 0) throw error(code);
}
} // namespace detail

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

// Runs body() and returns the fault it was left by, or nothing. A fault leaves body as longjmp would: no destructor runs
// in the frames it skips, which is why body itself must be trivially destructible and must hold no object that is not
// (a std::string, a lock) while it touches guarded memory. That part the compiler cannot check.
template <class Body> std::optional<fault> catch_fault(Body body, claim what = claim::registered) {
    static_assert(std::is_trivially_destructible_v<Body>,
                  "a fault skips destructors: capture references and values only");
    fault caught;
    auto *run = what == claim::any ? &::vmarena_try_any : &::vmarena_try;
    int code = run([](void *closure) { (*static_cast<Body *>(closure))(); }, &body, &caught);
    detail::check(code);
    return code == 1 ? std::optional<fault>(caught) : std::nullopt;
}

// Fault-tolerant operations at any address; *why (if given) tells of a fault. See vmarena/fault.h.
inline std::size_t try_copy(void *to, const void *from, std::size_t length, fault *why = nullptr) noexcept {
    return ::vmarena_copy(to, from, length, why);
}
inline std::size_t try_fill(void *to, std::byte byte, std::size_t length, fault *why = nullptr) noexcept {
    return ::vmarena_fill(to, std::to_integer<int>(byte), length, why);
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
        void *object = try_alloc(size, align);
        if (object == nullptr) throw std::bad_alloc();
        return object;
    }
    template <class T, class... Arguments> T *create(Arguments &&...arguments) {
        static_assert(std::is_trivially_destructible_v<T>, "an arena runs no destructors");
        return ::new (alloc(sizeof(T), alignof(T))) T(std::forward<Arguments>(arguments)...);
    }
    // count value-initialised objects.
    template <class T> T *create_array(std::size_t count) {
        static_assert(std::is_trivially_destructible_v<T>, "an arena runs no destructors");
        if (handle_ == nullptr) throw std::bad_alloc();
        void *memory = ::vmarena_alloc_array(handle_, count, sizeof(T), alignof(T));
        if (memory == nullptr) throw std::bad_alloc();
        T *first = static_cast<T *>(memory);
        std::uninitialized_value_construct_n(first, count);
        return first;
    }

    struct ::vmarena_mark mark() const noexcept {
        return ::vmarena_mark(handle_);
    }
    void rewind(const struct ::vmarena_mark &point) { detail::check(::vmarena_rewind(handle_, point)); }
    void reset(std::size_t keep_bytes = static_cast<std::size_t>(-1)) {
        detail::check(::vmarena_reset(handle_, keep_bytes));
    }
    void check() const { detail::check(::vmarena_check(handle_)); }
    void protect(unsigned prot) { detail::check(::vmarena_protect(handle_, prot)); }
    void protect(void *start, std::size_t length, unsigned prot) {
        detail::check(::vmarena_protect_range(handle_, start, length, prot));
    }
    vmar::stats stats() const noexcept {
        vmar::stats figures;
        ::vmarena_stats(handle_, &figures);
        return figures;
    }
    // As vmar::catch_fault, for faults in this arena alone.
    template <class Body> std::optional<fault> catch_fault(Body body) const {
        static_assert(std::is_trivially_destructible_v<Body>,
                      "a fault skips destructors: capture references and values only");
        fault caught;
        int code = ::vmarena_try_in(
            handle_, [](void *closure) { (*static_cast<Body *>(closure))(); }, &body, &caught);
        detail::check(code);
        return code == 1 ? std::optional<fault>(caught) : std::nullopt;
    }

  private:
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
        void *object = ::vmarena_alloc_slow(arena_, size != 0 ? size : 1, align);
        if (object == nullptr) throw std::bad_alloc();
        return object;
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
    void *alloc(std::size_t size, std::size_t align = 0) {
        void *object = try_alloc(size, align);
        if (object == nullptr) throw std::bad_alloc();
        return object;
    }
    // Throws for what was freed before, is no object, or has overwritten surroundings; the code tells which.
    void free(void *object) { detail::check(::vmarena_heap_free(handle_, object)); }
    void check() const { detail::check(::vmarena_heap_check(handle_)); }
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
        void *object = ::vmarena_heap_alloc(heap_, size, align);
        if (object == nullptr) throw std::bad_alloc();
        return object;
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
    view(view &&other) noexcept : handle_(std::exchange(other.handle_, nullptr)) {}
    view &operator=(view &&other) noexcept {
        std::swap(handle_, other.handle_);
        return *this;
    }
    ~view() { ::vmarena_view_close(handle_); }

    std::byte *data() const noexcept { return handle_ != nullptr ? static_cast<std::byte *>(handle_->data) : nullptr; }
    std::size_t size() const noexcept { return handle_ != nullptr ? handle_->size : 0; }
    // Waits until what was changed in a shared view is on the device.
    void sync() { detail::check(::vmarena_view_sync(handle_, 0, 0)); }

  private:
    explicit view(::vmarena_view *handle) noexcept : handle_(handle) {}
    ::vmarena_view *handle_ = nullptr;
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
        if (size > static_cast<std::size_t>(-1) / 2) throw std::bad_alloc();
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
