// SPDX-License-Identifier: MIT
// What later standards add: spans and ranges from C++20 on, std::expected from C++23 on.
#include "vmarena.hpp"

#include <cstdio>
#include <cstring>

#ifdef __cpp_lib_ranges
#include <algorithm>
#include <ranges>
#endif

static int failures = 0;

static void expect(bool so, const char *what) {
    if (so) return;
    std::fprintf(stderr, "not so: %s\n", what);
    failures++;
}

#ifdef __cpp_lib_ranges
static_assert(std::ranges::contiguous_range<vmar::fenced_span<int>>);
static_assert(std::ranges::contiguous_range<const vmar::fenced_span<int>>);
static_assert(std::ranges::sized_range<vmar::view>);
static void check_ranges() {
    const int numbers[] = {3, 1, 2};
    vmar::fenced_span copy(numbers);
    std::ranges::sort(copy);
    expect(copy[0] == 1 && copy[2] == 3, "a fenced span sorts");
}
#else
static void check_ranges() {}
#endif

#ifdef __cpp_lib_span
static std::size_t length_of(std::span<const int> numbers) { return numbers.size(); }
static void check_spans() {
    vmar::fenced_span copy(std::span<const int>(std::array<int, 2>{1, 2}));
    std::span<int> span = copy;
    expect(span.data() == copy.data(), "a fenced span is a span");
    expect(length_of(std::as_const(copy)) == 2, "a constant one is a span of constants");
    std::array<std::byte, 8> target;
    vmar::fault why;
    expect(vmar::try_copy(target, copy.end() - 1, &why) == 4 && why.distance == 1, "a span is copied to");
}
#else
static void check_spans() {}
#endif

#ifdef __cpp_lib_expected
static void check_expected() {
    vmar::options wrong = {};
    wrong.flags = 1u << 31;
    auto arena = vmar::arena::make(wrong).expected();
    expect(!arena && arena.error() == std::errc::invalid_argument, "a failure is an unexpected error code");
    expect(vmar::arena::make().expected().has_value(), "a value is expected");
    expect(vmar::arena().try_reset().expected().has_value(), "nothing is expected");
}
#else
static void check_expected() {}
#endif

int main() {
    check_ranges();
    check_spans();
    check_expected();
    return failures;
}
