// SPDX-License-Identifier: MIT
// GoogleTest: expectations of faults, and reports of those that nobody expects.
//
//      EXPECT_THAT(vmar::testing::caught([&] { parse(input); }), vmar::testing::overrun(+1));      with GoogleMock
//      EXPECT_TRUE(vmar::testing::faults([&] { parse(input); }, vmar::testing::overrun(+1)));      without
//
// In a program that includes this, a fault in memory of the library that no test catches is written to standard error in
// words, with the object, the distance and the stacks, and with the lines of source where addr2line(1) is there, before the
// program dies of it.
#ifndef VMARENA_GTEST_HPP
#define VMARENA_GTEST_HPP

#include "patterns.hpp"

#include <vmarena/crash_lines.h>

#include <gtest/gtest.h>

#include <optional>
#include <utility>

namespace vmar::testing {

// Whether body() is left by such a fault, or by none.
template <class Body>::testing::AssertionResult faults(Body body, const pattern &wanted) {
    std::optional<fault> found = caught(std::move(body));
    ::testing::AssertionResult result =
        wanted.matches(found) ? ::testing::AssertionSuccess() : ::testing::AssertionFailure();
    return result << "expected: it " << wanted.describe() << "; found: " << pattern::in_words(found);
}

namespace detail {

// Each test begins without a scope that the one before it left open, with our handlers on top, and with reports.
class Reports : public ::testing::EmptyTestEventListener {
    void OnTestStart(const ::testing::TestInfo &) override {
        ::vmarena_scope_unwind(nullptr);
        (void)::vmarena_fault_reassert();
        (void)::vmarena_report_faults(2);
    }
};
inline const bool reports_are_on = [] {
    (void)::vmarena_crash_lines_install();
    ::testing::UnitTest::GetInstance()->listeners().Append(new Reports); // GoogleTest frees it
    return true;
}();

} // namespace detail
} // namespace vmar::testing

#endif
