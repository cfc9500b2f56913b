// SPDX-License-Identifier: MIT
// What a test expects of a fault, whatever its framework: see gtest.hpp and catch2.hpp.
#ifndef VMARENA_PATTERNS_HPP
#define VMARENA_PATTERNS_HPP

#include "fault.hpp"

#include <cstddef>
#include <optional>
#include <ostream>
#include <sstream>
#include <string>
#include <utility>

namespace vmar::testing {

// Runs body() and returns the fault it was left by, as vmar::catch_fault, anywhere in memory. Frameworks set signal
// handlers of their own around each test: ours are put on top again first.
template <class Body> std::optional<fault> caught(Body body) {
    vmar::detail::check(::vmarena_fault_reassert());
    return catch_fault(std::move(body), claim::any);
}

// A kind of fault, and what else is demanded of it. GoogleMock takes it as a matcher as it is.
class pattern {
  public:
    using is_gtest_matcher = void;
    explicit pattern(bool faults, std::optional<enum ::vmarena_fault_kind> kind = std::nullopt) noexcept
        : faults_(faults), kind_(kind) {}

    // +1: the first byte past the object; -1: the last before it.
    pattern at_distance(std::ptrdiff_t distance) const noexcept {
        pattern made = *this;
        made.distance_ = distance;
        return made;
    }
    pattern by(enum ::vmarena_access access) const noexcept {
        pattern made = *this;
        made.access_ = access;
        return made;
    }
    pattern of_object_size(std::size_t size) const noexcept {
        pattern made = *this;
        made.object_size_ = size;
        return made;
    }

    bool matches(const std::optional<fault> &found) const noexcept {
        if (!found || !faults_) return found.has_value() == faults_;
        return (!kind_ || found->kind == *kind_) && (!distance_ || found->distance == *distance_) &&
               (!access_ || found->access == *access_) && (!object_size_ || found->object_size == *object_size_);
    }
    // "is an overrun at distance +1 by a write of an object of 24 bytes"
    std::string describe() const {
        if (!faults_) return "is no fault";
        std::ostringstream text;
        text << "is " << name();
        if (distance_) text << " at distance " << std::showpos << *distance_ << std::noshowpos;
        if (access_) text << (*access_ == VMARENA_ACCESS_WRITE ? " by a write" : " by a read");
        if (object_size_) text << " of an object of " << *object_size_ << " bytes";
        return text.str();
    }
    static std::string in_words(const std::optional<fault> &found) { return found ? found->describe() : "no fault"; }

    bool MatchAndExplain(const std::optional<fault> &found, std::ostream *listener) const {
        if (listener != nullptr) *listener << "which is " << in_words(found);
        return matches(found);
    }
    void DescribeTo(std::ostream *stream) const { *stream << describe(); }
    void DescribeNegationTo(std::ostream *stream) const { *stream << "not: it " << describe(); }

  private:
    const char *name() const noexcept {
        if (!kind_) return "a fault";
        switch (*kind_) {
        case VMARENA_FAULT_OVERRUN: return "an overrun";
        case VMARENA_FAULT_UNDERRUN: return "an underrun";
        case VMARENA_FAULT_USE_AFTER_FREE: return "a use after free";
        case VMARENA_FAULT_PROTECTED: return "a protected access";
        case VMARENA_FAULT_UNMAPPED: return "an access to unmapped memory";
        case VMARENA_FAULT_PAST_END_OF_FILE: return "an access past the end of a file";
        default: return "a fault of another kind";
        }
    }
    bool faults_;
    std::optional<enum ::vmarena_fault_kind> kind_;
    std::optional<std::ptrdiff_t> distance_ = std::nullopt;
    std::optional<enum ::vmarena_access> access_ = std::nullopt;
    std::optional<std::size_t> object_size_ = std::nullopt;
};

inline pattern no_fault() noexcept { return pattern(false); }
inline pattern any_fault() noexcept { return pattern(true); }
inline pattern overrun(std::ptrdiff_t distance) noexcept {
    return pattern(true, VMARENA_FAULT_OVERRUN).at_distance(distance);
}
inline pattern underrun(std::ptrdiff_t distance) noexcept {
    return pattern(true, VMARENA_FAULT_UNDERRUN).at_distance(distance);
}
inline pattern use_after_free() noexcept { return pattern(true, VMARENA_FAULT_USE_AFTER_FREE); }
inline pattern protected_access() noexcept { return pattern(true, VMARENA_FAULT_PROTECTED); }

} // namespace vmar::testing

#endif
