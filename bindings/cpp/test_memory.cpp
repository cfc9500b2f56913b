// SPDX-License-Identifier: MIT
// Containers and smart pointers in arenas and heaps, and what is reported where nothing may be thrown.
#include "vmarena.hpp"

#include <gtest/gtest.h>

#include <cerrno>
#include <cstdint>
#include <list>
#include <map>
#include <stdexcept>
#include <string>
#include <vector>

namespace {

// The last defect that was reported.
struct last_defect {
    static inline int code = 0;
    static inline std::string where, sentence;
    static void note(const vmar::defect &found) noexcept {
        code = found.code;
        where = found.where;
        sentence = found.sentence;
    }
    last_defect() : before_(vmar::set_defect_handler(note)) { code = 0; }
    last_defect(const last_defect &) = delete;
    last_defect &operator=(const last_defect &) = delete;
    ~last_defect() { vmar::set_defect_handler(before_); }

  private:
    vmar::defect_handler before_;
};

vmar::options fenced_at(enum vmarena_fence fence) {
    vmar::options wanted = {};
    wanted.fence = fence;
    return wanted;
}

TEST(Defects, SlackFoundByAMarkScope) {
    last_defect defects;
    vmar::arena arena(fenced_at(VMARENA_FENCE_END));
    {
        vmar::mark_scope scope(arena);
        static_cast<char *>(arena.alloc(8, 1))[-1] = 1;
    }
    EXPECT_EQ(last_defect::code, -EILSEQ);
    EXPECT_EQ(last_defect::where, "mark_scope");
    EXPECT_EQ(last_defect::sentence.rfind("slack overwritten: byte -1 of the 8-byte object at ", 0), 0u);
}

TEST(Defects, ScopesOutOfOrderAreNone) {
    last_defect defects;
    vmar::arena arena;
    auto outer = arena.mark();
    (void)arena.alloc(8);
    {
        vmar::mark_scope scope(arena);
        arena.rewind(outer);
    }
    EXPECT_EQ(last_defect::code, 0);
}

TEST(Defects, DoubleFreeThroughAResource) {
    last_defect defects;
    vmar::heap heap;
    vmar::heap_resource resource(heap);
    void *object = resource.allocate(24, 8);
    resource.deallocate(object, 24, 8);
    EXPECT_EQ(last_defect::code, 0);
    resource.deallocate(object, 24, 8);
    EXPECT_EQ(last_defect::code, -EALREADY);
    EXPECT_EQ(last_defect::where, "heap");
    object = resource.allocate(24, 8);
    resource.deallocate(object, 25, 8);
    EXPECT_EQ(last_defect::code, -ERANGE);
}

TEST(Defects, AHeapThatReportsIsEnough) {
    last_defect defects;
    int reports = 0;
    vmar::heap::options wanted = {};
    wanted.report = [](const struct vmarena_heap_report *, void *count) { ++*static_cast<int *>(count); };
    wanted.report_arg = &reports;
    vmar::heap heap(wanted);
    vmar::heap_resource resource(heap);
    void *object = resource.allocate(24, 8);
    resource.deallocate(object, 24, 8);
    resource.deallocate(object, 24, 8);
    EXPECT_EQ(reports, 1);
    EXPECT_EQ(last_defect::code, 0);
}

TEST(DefectsDeathTest, TheDefaultPrintsAndAborts) {
    ::testing::FLAGS_gtest_death_test_style = "threadsafe";
    auto free_twice = [] {
        vmar::heap heap;
        vmar::heap_allocator<int> allocator(heap);
        int *numbers = allocator.allocate(6);
        allocator.deallocate(numbers, 6);
        allocator.deallocate(numbers, 6);
    };
    EXPECT_EXIT(free_twice(), ::testing::KilledBySignal(SIGABRT),
                "^vmarena: heap: double free: the 24-byte object at ");
}

TEST(Resources, AnArenaTakesItsLastObjectBack) {
    vmar::arena arena;
    if (arena.info().annotated) GTEST_SKIP() << "under AddressSanitizer there are gaps between objects";
    vmar::arena_resource resource(arena);
    void *first = resource.allocate(100, 1);
    void *second = resource.allocate(100, 1);
    resource.deallocate(first, 100, 1); // waits
    EXPECT_EQ(arena.info().used, 200u);
    resource.deallocate(second, 100, 1);
    EXPECT_EQ(arena.info().used, 100u);
    EXPECT_EQ(resource.allocate(1, 1), second);
    void *nothing = resource.allocate(0, 1);
    resource.deallocate(nothing, 0, 1);
    EXPECT_EQ(arena.info().used, 101u);
}

TEST(Resources, AFencedArenasFreedObjectFaults) {
    vmar::arena arena(fenced_at(VMARENA_FENCE_END));
    vmar::arena_resource resource(arena);
    const int *old = nullptr;
    {
        std::pmr::vector<int> numbers(10, 1, &resource);
        old = numbers.data();
    }
    vmar::fault why;
    EXPECT_FALSE(vmar::try_read(old, &why));
    EXPECT_EQ(why.kind, VMARENA_FAULT_USE_AFTER_FREE);
    EXPECT_EQ(arena.info().objects, 0u);
}

template <template <class> class Allocator, class Owner> void fill_containers(Owner &owner) {
    std::vector<int, Allocator<int>> numbers{Allocator<int>(owner)};
    for (int i = 0; i < 1000; i++) numbers.push_back(i);
    EXPECT_EQ(numbers[999], 999);
    EXPECT_TRUE(owner.owns(numbers.data()));
    std::map<int, int, std::less<>, Allocator<std::pair<const int, int>>> squares{Allocator<int>(owner)};
    for (int i = 0; i < 100; i++) squares[i] = i * i;
    EXPECT_EQ(squares.at(9), 81);
    std::list<int, Allocator<int>> list({1, 2, 3}, owner);
    auto moved = std::move(list);
    EXPECT_EQ(moved.back(), 3);
    using string = std::basic_string<char, std::char_traits<char>, Allocator<char>>;
    string text("longer than the buffer that a string has inside itself", owner);
    EXPECT_TRUE(owner.owns(text.data()));
    EXPECT_EQ(numbers.get_allocator(), squares.get_allocator());
    Owner other;
    EXPECT_NE(numbers.get_allocator(), Allocator<int>(other));
    std::vector<int, Allocator<int>> elsewhere({7}, other);
    numbers = std::move(elsewhere); // takes the memory with its allocator
    EXPECT_TRUE(other.owns(numbers.data()));
    elsewhere = std::vector<int, Allocator<int>>(owner);
    numbers = elsewhere;
    EXPECT_EQ(numbers.get_allocator(), Allocator<int>(owner));
    volatile std::size_t many = SIZE_MAX / 2;
    EXPECT_THROW((void)Allocator<int>(owner).allocate(many), std::bad_alloc);
}

TEST(Allocators, OfAnArena) {
    for (auto fence : {VMARENA_FENCE_OFF, VMARENA_FENCE_END, VMARENA_FENCE_START}) {
        vmar::arena arena(fenced_at(fence));
        fill_containers<vmar::arena_allocator>(arena);
        arena.check();
    }
}

TEST(Allocators, OfAHeap) {
    vmar::heap heap;
    fill_containers<vmar::heap_allocator>(heap);
    EXPECT_EQ(heap.stats().live, 0u);
}

struct counted {
    static inline int alive = 0;
    static inline int throw_at = -1;
    int number;
    explicit counted(int n = 0) : number(n) {
        if (alive == throw_at) throw std::runtime_error("no more");
        alive++;
    }
    counted(const counted &) = delete;
    counted &operator=(const counted &) = delete;
    ~counted() { alive--; }
};

template <class Owner> void make_unique_ones(Owner &owner) {
    {
        auto one = vmar::allocate_unique<counted>(owner, 5);
        EXPECT_EQ(one->number, 5);
        EXPECT_TRUE(owner.owns(one.get()));
        auto several = vmar::allocate_unique<counted[]>(owner, 3);
        EXPECT_EQ(several[2].number, 0);
        EXPECT_EQ(several.get_deleter().count(), 3u);
        EXPECT_EQ(counted::alive, 4);
        auto taken = std::move(several);
        EXPECT_EQ(counted::alive, 4);
    }
    EXPECT_EQ(counted::alive, 0);
    counted::throw_at = 2;
    EXPECT_THROW((void)vmar::allocate_unique<counted[]>(owner, 3), std::runtime_error);
    EXPECT_EQ(counted::alive, 0);
    counted::throw_at = -1;
    volatile std::size_t many = SIZE_MAX / 2;
    EXPECT_THROW((void)vmar::allocate_unique<counted[]>(owner, many), std::bad_alloc);
}

TEST(AllocateUnique, InAnArena) {
    vmar::arena arena;
    make_unique_ones(arena);
    if (arena.info().annotated) GTEST_SKIP() << "under AddressSanitizer there are gaps between objects";
    EXPECT_EQ(arena.info().used, 0u); // each was the last when it went
}

TEST(AllocateUnique, InAHeap) {
    vmar::heap heap;
    make_unique_ones(heap);
    EXPECT_EQ(heap.stats().live, 0u);
}

TEST(Results, OfConstantsToo) {
    const auto good = vmar::arena::make();
    EXPECT_NE(good->get(), nullptr);
    EXPECT_EQ((*good).get(), good.value().get());
}

} // namespace
