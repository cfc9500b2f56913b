// SPDX-License-Identifier: MIT
// Catch2, versions 2 and 3: matchers for faults.
//
//      CHECK_THAT(vmar::testing::caught([&] { parse(input); }), vmar::testing::Matches(vmar::testing::overrun(+1)));
//
// Catch2 sets its signal handlers around each test case: vmar::testing::caught() puts ours on top again. For reports of faults
// that no test catches, call vmar::testing::begin() first in a test case.
#ifndef VMARENA_CATCH2_HPP
#define VMARENA_CATCH2_HPP

#include "patterns.hpp"

#if __has_include(<catch2/matchers/catch_matchers.hpp>)
#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers.hpp>
namespace vmar::testing {
template <class T> using catch_matcher = Catch::Matchers::MatcherBase<T>;
}
#else
#include <catch2/catch.hpp>
namespace vmar::testing {
template <class T> using catch_matcher = Catch::Matchers::Impl::MatcherBase<T>;
}
#endif

#include <optional>
#include <string>

// How a failure shows what was found.
template <> struct Catch::StringMaker<std::optional<vmar::fault>> {
    static std::string convert(const std::optional<vmar::fault> &found) {
        return vmar::testing::pattern::in_words(found);
    }
};

namespace vmar::testing {

// A pattern as Catch2 takes matchers.
class Matches final : public catch_matcher<std::optional<fault>> {
  public:
    explicit Matches(pattern wanted) noexcept : wanted_(wanted) {}
    bool match(const std::optional<fault> &found) const override { return wanted_.matches(found); }
    std::string describe() const override { return wanted_.describe(); }

  private:
    pattern wanted_;
};

// To be called first in a test case that may fault where no caught() is: such a fault is written to standard error in words
// before the program dies of it.
inline void begin() {
    ::vmarena_scope_unwind(nullptr);
    vmar::detail::check(::vmarena_fault_reassert());
    report_faults();
}

} // namespace vmar::testing

#endif
