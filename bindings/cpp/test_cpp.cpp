// SPDX-License-Identifier: MIT
#include "vmarena.hpp"

#include <gtest/gtest.h>

#include <sys/mman.h>
#include <unistd.h>

#include <cstdint>
#include <cstdlib>
#include <string>
#include <vector>

namespace {

vmar::options fenced(enum vmarena_fence fence) {
    vmar::options wanted = {};
    wanted.fence = fence;
    wanted.name = "fenced";
    return wanted;
}

TEST(Arena, CreatesObjects) {
    vmar::arena arena;
    int *number = arena.create<int>(42);
    EXPECT_EQ(*number, 42);
    EXPECT_TRUE(arena.owns(number));
    auto *array = arena.create_array<std::uint64_t>(1000);
    for (int i = 0; i < 1000; i++) EXPECT_EQ(array[i], 0u);
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(array) % alignof(std::uint64_t), 0u);
}

TEST(Arena, MoveLeavesNothingBehind) {
    vmar::arena first;
    void *object = first.alloc(8);
    vmar::arena second = std::move(first);
    EXPECT_TRUE(second.owns(object));
    EXPECT_EQ(first.try_alloc(8), nullptr);
    EXPECT_STREQ(vmarena_explain(), "no arena (NULL)");
    EXPECT_THROW((void)first.alloc(8), std::bad_alloc);
    EXPECT_THROW(first.reset(), vmar::error);
}

TEST(Arena, ErrorsComeAsResultOrException) {
    vmar::options wrong = {};
    wrong.flags = 1u << 31;
    auto result = vmar::arena::make(wrong);
    EXPECT_FALSE(result);
    EXPECT_EQ(result.code(), -EINVAL);
    try {
        vmar::arena arena(wrong);
        FAIL() << "no exception";
    } catch (const vmar::error &e) {
        EXPECT_EQ(e.code(), std::errc::invalid_argument);
        EXPECT_EQ(e.sentence(), "vmarena_create: unknown bits 0x80000000 in flags");
    }
    EXPECT_THROW(std::move(result).value(), vmar::error);
    auto good = vmar::arena::make();
    ASSERT_TRUE(good);
    EXPECT_NE(good->try_alloc(1), nullptr);
}

TEST(Arena, BadRequests) {
    vmar::arena arena;
    EXPECT_EQ(arena.try_alloc(0), nullptr);
    EXPECT_EQ(arena.try_alloc(8, 3), nullptr);
    EXPECT_EQ(arena.try_alloc(SIZE_MAX), nullptr);
    volatile std::size_t many = SIZE_MAX / 2; // volatile: the compiler would warn of what is tested
    EXPECT_THROW((void)arena.create_array<int>(many), std::bad_alloc);
    EXPECT_THROW((void)arena.create_array<int>(0), std::bad_alloc);
}

TEST(Arena, ResizesAndClears) {
    vmar::arena arena;
    void *object = arena.alloc(10);
    EXPECT_EQ(arena.try_resize(object, 10, 20), object);
    (void)arena.alloc(1);
    EXPECT_NE(arena.try_resize(object, 20, 30), object);
    EXPECT_EQ(arena.try_resize(object, 20, SIZE_MAX), nullptr);
    arena.reset();
    std::memset(arena.alloc(100), 1, 100);
    arena.reset();
    auto *bytes = static_cast<unsigned char *>(arena.try_alloc_zeroed(100));
    ASSERT_NE(bytes, nullptr);
    for (int i = 0; i < 100; i++) EXPECT_EQ(bytes[i], 0);
}

TEST(MarkScope, TakesBack) {
    vmar::arena arena;
    (void)arena.alloc(100);
    std::size_t before = arena.stats().used;
    {
        vmar::mark_scope scope(arena);
        (void)arena.alloc(10000);
        EXPECT_GT(arena.stats().used, before);
    }
    EXPECT_EQ(arena.stats().used, before);
}

TEST(ProtectScope, WriteFaultsAndValueStays) {
    vmar::arena arena;
    int *value = arena.create<int>(1);
    {
        vmar::protect_scope scope(arena, vmar::prot::read);
        auto fault = arena.catch_fault([&] { *static_cast<volatile int *>(value) = 2; });
        ASSERT_TRUE(fault);
        EXPECT_EQ(fault->signo, SIGSEGV);
        EXPECT_EQ(fault->access, VMARENA_ACCESS_WRITE);
        EXPECT_EQ(fault->kind, VMARENA_FAULT_PROTECTED);
        EXPECT_EQ(fault->address, value);
    }
    EXPECT_EQ(*value, 1);
    EXPECT_FALSE(vmar::catch_fault([&] { *static_cast<volatile int *>(value) = 2; }));
    EXPECT_EQ(*value, 2);
}

TEST(CatchFault, ExceptionsPassAndLeaveNoScope) {
    vmar::arena arena(fenced(VMARENA_FENCE_END));
    for (int i = 0; i < 3; i++) {
        EXPECT_THROW((void)vmar::catch_fault([] { throw std::string("out"); }), std::string);
        EXPECT_THROW((void)arena.catch_fault([] { throw 1; }), int);
        EXPECT_EQ(vmarena_scope_top(), nullptr);
    }
    char *object = static_cast<char *>(arena.alloc(8, 1));
    EXPECT_TRUE(arena.catch_fault([&] { static_cast<volatile char *>(object)[8] = 1; }));
}

TEST(Results, NeverThrow) {
    vmar::arena arena;
    auto point = arena.mark();
    (void)arena.alloc(8);
    auto later = arena.mark();
    EXPECT_TRUE(arena.try_rewind(point));
    EXPECT_EQ(arena.try_rewind(later).code(), -ESTALE);
    EXPECT_EQ(arena.try_protect(1u << 20).code(), -EINVAL);
    EXPECT_TRUE(arena.try_protect(vmar::prot::read));
    EXPECT_EQ(arena.try_prefault(4096).code(), -EACCES);
    EXPECT_TRUE(arena.try_check().has_value());
    EXPECT_THROW(arena.rewind(later), vmar::error);
    EXPECT_THROW(arena.try_rewind(later).value(), vmar::error);
    vmar::arena gone = std::move(arena);
    EXPECT_EQ(arena.try_reset().code(), -EBADF);
    EXPECT_EQ(vmar::heap().try_free(&point).code(), -EINVAL);
}

TEST(Fenced, OverrunIsCaughtAtTheByte) {
    vmar::arena arena(fenced(VMARENA_FENCE_END));
    char *text = static_cast<char *>(arena.alloc(24, 1));
    auto fault = vmar::catch_fault([&] { static_cast<volatile char *>(text)[24] = 'x'; });
    ASSERT_TRUE(fault);
    EXPECT_EQ(fault->kind, VMARENA_FAULT_OVERRUN);
    EXPECT_EQ(fault->distance, 1);
    EXPECT_EQ(fault->object, text);
    EXPECT_EQ(fault->object_size, 24u);
    EXPECT_EQ(fault->describe().rfind("overrun: write 1 byte past the end of a 24-byte object at ", 0), 0u);
}

TEST(Fenced, BufferBothSides) {
    const char bytes[] = "guarded";
    vmar::fenced_buffer at_end(bytes, 7, vmar::side::end), at_start(bytes, 7, vmar::side::start);
    EXPECT_EQ(std::memcmp(at_end.data(), bytes, 7), 0);
    EXPECT_EQ(std::memcmp(at_start.data(), bytes, 7), 0);
    vmar::fault why;
    EXPECT_FALSE(vmar::try_read(at_end.data() + 7, &why));
    EXPECT_EQ(why.distance, 1);
    EXPECT_FALSE(vmar::try_read(at_start.data() - 1, &why));
    EXPECT_EQ(why.distance, -1);
    vmar::fenced_buffer empty(bytes, 0);
    EXPECT_FALSE(vmar::try_read(empty.data(), &why));
}

TEST(Operations, CountExactly) {
    vmar::fenced_buffer source("0123456789", 10);
    char target[32] = {};
    vmar::fault why;
    EXPECT_EQ(vmar::try_copy(target, source.data() + 4, 20, &why), 6u);
    EXPECT_STREQ(target, "456789");
    EXPECT_EQ(why.access, VMARENA_ACCESS_READ);
    EXPECT_EQ(vmar::try_compare(target, source.data() + 4, 6, &why), 6u);
    EXPECT_EQ(vmar::try_compare(target + 1, source.data() + 4, 6, &why), 0u);
    EXPECT_FALSE(why);
    EXPECT_EQ(vmar::try_fill(source.data(), std::byte{7}, 11, &why), 10u);
    EXPECT_EQ(why.access, VMARENA_ACCESS_WRITE);
    int value = 5;
    EXPECT_TRUE(vmar::try_write(&value, 6));
    EXPECT_EQ(vmar::try_read(&value), std::optional<int>(6));
    EXPECT_EQ(vmar::try_read(static_cast<int *>(nullptr)), std::nullopt);
    EXPECT_THROW((void)vmar::try_read(reinterpret_cast<int *>(1)), vmar::error);
}

TEST(Pmr, ContainersLiveInArenas) {
    for (auto fence : {VMARENA_FENCE_OFF, VMARENA_FENCE_END, VMARENA_FENCE_START}) {
        vmar::arena arena(fenced(fence));
        vmar::arena_resource resource(arena), same(arena);
        EXPECT_TRUE(resource.is_equal(same));
        EXPECT_FALSE(resource.is_equal(*std::pmr::new_delete_resource()));
        std::pmr::vector<std::pmr::string> words(&resource);
        for (int i = 0; i < 200; i++) words.emplace_back("a string that is longer than the small buffer of a string");
        EXPECT_TRUE(arena.owns(words.data()));
        EXPECT_TRUE(arena.owns(words.back().data()));
        EXPECT_NE(resource.allocate(0, 1), nullptr);
        volatile std::size_t most = SIZE_MAX; // volatile: the compiler would warn of what is tested
        EXPECT_THROW((void)resource.allocate(most, 1), std::bad_alloc);
        arena.check();
    }
}

TEST(Pmr, FencedVectorOverrunFaults) {
    vmar::arena arena(fenced(VMARENA_FENCE_END));
    vmar::arena_resource resource(arena);
    std::pmr::vector<std::uint32_t> numbers(10, &resource);
    std::uint32_t *data = numbers.data();
    auto fault = vmar::catch_fault([&] { (void)*const_cast<volatile std::uint32_t *>(data + 10); });
    ASSERT_TRUE(fault);
    EXPECT_EQ(fault->kind, VMARENA_FAULT_OVERRUN);
    EXPECT_EQ(fault->access, VMARENA_ACCESS_READ);
    EXPECT_EQ(fault->object_size, 40u);
}

TEST(Heap, GuardsAndFrees) {
    vmar::heap heap;
    char *object = static_cast<char *>(heap.alloc(24, 1));
    vmar::fault why;
    EXPECT_FALSE(vmar::try_read(object + 24, &why));
    EXPECT_EQ(why.kind, VMARENA_FAULT_OVERRUN);
    EXPECT_EQ(why.distance, 1);
    EXPECT_EQ(why.object, object);
    object = static_cast<char *>(heap.resize(object, 25));
    EXPECT_FALSE(vmar::try_read(object + 25, &why));
    EXPECT_EQ(why.object_size, 25u);
    EXPECT_EQ(heap.stats().live, 1u);
    heap.free(object);
    EXPECT_FALSE(vmar::try_read(object, &why));
    EXPECT_EQ(why.kind, VMARENA_FAULT_USE_AFTER_FREE);
    try {
        heap.free(object);
        FAIL() << "no exception";
    } catch (const vmar::error &e) { EXPECT_EQ(e.code().value(), EALREADY); }
    EXPECT_THROW(heap.free(&why), vmar::error);
    vmar::heap moved = std::move(heap);
    EXPECT_EQ(heap.try_alloc(1), nullptr);
    EXPECT_NE(moved.try_alloc(1), nullptr);
    vmar::heap::options wrong = {};
    wrong.align = 3;
    EXPECT_EQ(vmar::heap::make(wrong).code(), -EINVAL);
}

TEST(Pmr, ContainersLiveInHeaps) {
    vmar::heap heap;
    vmar::heap_resource resource(heap), same(heap);
    EXPECT_TRUE(resource.is_equal(same));
    const char *old;
    {
        std::pmr::vector<std::pmr::string> words(&resource);
        for (int i = 0; i < 200; i++) words.emplace_back("a string that is longer than the small buffer of a string");
        old = words.back().data();
        EXPECT_TRUE(heap.owns(old));
        heap.check();
    }
    vmar::fault why;
    EXPECT_FALSE(vmar::try_read(old, &why));
    EXPECT_EQ(why.kind, VMARENA_FAULT_USE_AFTER_FREE);
}

TEST(View, FileAsMemory) {
    char path[] = "/tmp/vmarena-cpp-XXXXXX";
    int fd = mkstemp(path);
    ASSERT_GE(fd, 0);
    ASSERT_EQ(::write(fd, "contents", 8), 8);
    vmar::view::options shared = {};
    shared.mode = VMARENA_VIEW_SHARED;
    vmar::view view(path, shared);
    EXPECT_EQ(view.size(), 8u);
    EXPECT_EQ(std::memcmp(view.data(), "contents", 8), 0);
    view.data()[0] = std::byte{'C'};
    view.sync();
    char byte = 0;
    EXPECT_EQ(::pread(fd, &byte, 1, 0), 1);
    EXPECT_EQ(byte, 'C');
    ASSERT_EQ(::ftruncate(fd, 0), 0);
    vmar::fault why;
    EXPECT_EQ(vmar::try_copy(&byte, view.data(), 1, &why), 0u);
    EXPECT_EQ(why.kind, VMARENA_FAULT_PAST_END_OF_FILE);
    EXPECT_EQ(why.file_offset, 0u);
    ::close(fd);
    ::unlink(path);
    EXPECT_EQ(vmar::view::open(path).code(), -ENOENT);
    EXPECT_THROW(vmar::view("/"), vmar::error);
}

TEST(View, WindowsMove) {
    std::size_t page = vmarena_page_size();
    int fd = memfd_create("window", 0);
    ASSERT_EQ(ftruncate(fd, static_cast<off_t>(4 * page)), 0);
    char mark = 3;
    ASSERT_EQ(pwrite(fd, &mark, 1, static_cast<off_t>(3 * page)), 1);
    vmar::view::options window = {};
    window.length = page;
    auto view = vmar::view::open(fd, window);
    ASSERT_TRUE(view);
    ::close(fd);
    EXPECT_EQ(view->size(), page);
    view->move(3 * page);
    EXPECT_EQ(view->offset(), 3 * page);
    EXPECT_EQ(view->data()[0], std::byte{3});
    EXPECT_EQ(view->try_move(5 * page).code(), -ERANGE);
    view->populate();
    EXPECT_EQ(view->info().resident, page);
    view->advise(VMARENA_VIEW_DONT_NEED);
    EXPECT_EQ(view->info().resident, 0u);
    EXPECT_EQ(view->try_populate(0, page + 1).code(), -ERANGE);
    EXPECT_EQ(vmar::view::open(-1).code(), -EBADF);
}

TEST(Snapshot, RestoresAndClones) {
    vmar::options wanted = {};
    wanted.flags = VMARENA_MEMFD;
    vmar::arena arena(wanted);
    int *numbers = arena.create_array<int>(10000);
    vmar::snapshot point(arena);
    EXPECT_EQ(point.info().tracking, VMARENA_TRACK_FILE);
    for (int round = 1; round < 4; round++) {
        numbers[5000] = round;
        EXPECT_EQ(point.dirty_pages(arena).size(), 1u);
        (void)arena.alloc(100);
        point.restore(arena);
        EXPECT_EQ(numbers[5000], 0);
        EXPECT_EQ(point.info().restores, static_cast<std::uint64_t>(round));
    }
    numbers[0] = 7;
    vmar::arena clone = point.clone();
    EXPECT_EQ(clone.stats().used, arena.stats().used);
    EXPECT_FALSE(clone.owns(numbers));
    vmar::arena other;
    EXPECT_EQ(point.try_restore(other).code(), -EINVAL);
    vmar::arena walled(fenced(VMARENA_FENCE_END));
    EXPECT_EQ(vmar::snapshot::make(walled).code(), -EOPNOTSUPP);
    EXPECT_THROW(vmar::snapshot{walled}, vmar::error);
}

TEST(Inspect, ThisProcess) {
    vmar::options wanted = {};
    wanted.name = "inspected";
    wanted.huge = VMARENA_HUGE_NEVER;
    vmar::arena arena(wanted);
    char *object = static_cast<char *>(arena.alloc(10 * vmarena_page_size(), vmarena_page_size()));
    auto before = vmar::fault_counts::of_thread();
    std::memset(object, 1, 2 * vmarena_page_size());
    EXPECT_GE(vmar::fault_counts::of_thread().minor, before.minor + 2);
    EXPECT_GE(vmar::fault_counts::of_process(getpid()).minor, before.minor + 2);
    auto found = vmar::mapping_at(reinterpret_cast<std::uintptr_t>(object));
    EXPECT_EQ(found.owner, VMARENA_OWNER_ARENA);
    EXPECT_EQ(found.owned_by, "inspected");
    bool listed = false;
    for (const auto &mapping : vmar::maps()) listed |= mapping.start == found.start && mapping.owned_by == "inspected";
    EXPECT_TRUE(listed);
    auto runs = vmar::residency(object, 10 * vmarena_page_size(), VMARENA_PAGE_RESIDENT);
    ASSERT_EQ(runs.size(), 1u);
    EXPECT_EQ(runs[0].end - runs[0].start, 2 * vmarena_page_size());
    EXPECT_GT(vmar::totals().rss, 0u);
    EXPECT_EQ(vmar::caps().page_size, vmarena_page_size());
    EXPECT_THROW((void)vmar::maps(-1), vmar::error);
    auto counters = vmar::counters::open();
    if (counters) EXPECT_EQ(counters->read().error[VMARENA_COUNT_PAGE_FAULTS], 0);
    else EXPECT_EQ(counters.code(), -EACCES);
}

} // namespace
