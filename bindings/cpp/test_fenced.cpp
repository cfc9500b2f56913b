// SPDX-License-Identifier: MIT
// Fenced spans, and expectations of faults in GoogleTest's words.
#include "vmarena.hpp"
#include "vmarena/gtest.hpp"

#include <gmock/gmock.h>

#include <array>
#include <cstdint>
#include <numeric>
#include <string>
#include <string_view>
#include <vector>

namespace {

using vmar::testing::caught;
using vmar::testing::faults;
using vmar::testing::no_fault;
using vmar::testing::overrun;
using vmar::testing::underrun;

template <class T> void touch(const T *place) { (void)*const_cast<const volatile T *>(place); }

TEST(FencedSpan, LiesFlushAgainstAGuard) {
    std::vector<std::uint32_t> numbers = {1, 2, 3};
    vmar::fenced_span at_end(numbers);
    static_assert(std::is_same_v<decltype(at_end), vmar::fenced_span<std::uint32_t>>);
    EXPECT_EQ(std::accumulate(at_end.begin(), at_end.end(), 0u), 6u);
    EXPECT_THAT(caught([&] { touch(at_end.end()); }), overrun(+1).by(VMARENA_ACCESS_READ).of_object_size(12));
    EXPECT_THAT(caught([&] { touch(at_end.begin()); }), no_fault());
    vmar::fenced_span at_start(numbers, vmar::side::start);
    EXPECT_TRUE(faults([&] { touch(reinterpret_cast<const char *>(at_start.data()) - 1); }, underrun(-1)));
    EXPECT_EQ(at_start[2], 3u);
    vmar::fenced_span text(std::string_view("abc"));
    EXPECT_EQ(std::string(text.begin(), text.end()), "abc");
}

TEST(FencedSpan, EmptyOnesFaultOnBothSides) {
    for (auto where : vmar::sides) {
        vmar::fenced_span none(std::array<int, 0>{}, where);
        EXPECT_TRUE(none.empty());
        EXPECT_THAT(caught([&] { touch(none.data()); }), vmar::testing::any_fault());
        EXPECT_THAT(caught([&] { touch(reinterpret_cast<const char *>(none.data()) - 1); }),
                    vmar::testing::any_fault());
        none.check();
    }
}

TEST(FencedSpan, BytesWrittenBesideItAreFound) {
    vmar::fenced_buffer buffer("abc", 3, vmar::side::start);
    const vmar::fenced_buffer &constant = buffer;
    EXPECT_EQ(constant.end() - constant.begin(), 3);
    buffer.check();
    buffer.data()[3] = std::byte{1};
    EXPECT_EQ(buffer.try_check().code(), -EILSEQ);
    vmar::fenced_buffer moved = std::move(buffer);
    EXPECT_EQ(moved.size(), 3u);
    volatile std::size_t most = SIZE_MAX;
    EXPECT_THROW(vmar::fenced_buffer("", most), std::bad_alloc);
}

TEST(CatchFenced, RunsWithBothSides) {
    int runs = 0;
    auto clean = [&runs](vmar::fenced_span<char> &copy) { runs += copy.size() == 4; };
    EXPECT_THAT(vmar::catch_fenced("text", 4, clean), no_fault());
    EXPECT_EQ(runs, 2);
    auto before = [](vmar::fenced_span<char> &copy) { touch(copy.data() - 1); };
    EXPECT_THAT(vmar::catch_fenced("text", 4, before), underrun(-1));
    auto scribbles = [](vmar::fenced_span<char> &copy) { copy.data()[-1] = 1; };
    EXPECT_THROW((void)vmar::catch_fenced("text", 4, scribbles), vmar::error);
}

TEST(Patterns, SayWhatTheyWantAndWhatTheyFound) {
    EXPECT_EQ(overrun(+1).by(VMARENA_ACCESS_WRITE).of_object_size(24).describe(),
              "is an overrun at distance +1 by a write of an object of 24 bytes");
    EXPECT_EQ(no_fault().describe(), "is no fault");
    vmar::fenced_buffer buffer("abc", 3);
    auto result = faults([&] { touch(buffer.end()); }, no_fault());
    EXPECT_FALSE(result);
    EXPECT_THAT(
        result.message(),
        ::testing::StartsWith("expected: it is no fault; found: overrun: read 1 byte past the end of a 3-byte"));
    EXPECT_FALSE(faults([&] { touch(buffer.end()); }, overrun(+2)));
    EXPECT_FALSE(faults([&] { touch(buffer.end()); }, vmar::testing::use_after_free()));
    EXPECT_FALSE(faults([] {}, overrun(+1)));
}

TEST(Patterns, OtherKinds) {
    vmar::arena arena;
    int *number = arena.create<int>(1);
    vmar::protect_scope scope(arena, vmar::prot::none);
    EXPECT_THAT(caught([&] { touch(number); }), vmar::testing::protected_access());
    vmar::heap heap;
    char *freed = static_cast<char *>(heap.alloc(8));
    heap.free(freed);
    EXPECT_THAT(caught([&] { touch(freed); }), vmar::testing::use_after_free());
}

// Run apart, by planted: an ordinary test, without a scope.
TEST(DISABLED_Planted, Overrun) {
    std::vector<char> bytes(24, 'x');
    vmar::fenced_span copy(bytes);
    touch(copy.end());
}

} // namespace
