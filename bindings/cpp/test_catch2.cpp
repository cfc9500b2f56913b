// SPDX-License-Identifier: MIT
#define CATCH_CONFIG_MAIN
#include "vmarena/catch2.hpp"

#include "vmarena/fenced.hpp"

using namespace vmar::testing;

TEST_CASE("faults are matched") {
    vmar::fenced_buffer buffer("abc", 3);
    auto past = [&] { *static_cast<volatile std::byte *>(buffer.end()) = std::byte{1}; };
    CHECK_THAT(caught(past), Matches(overrun(+1).by(VMARENA_ACCESS_WRITE)));
    CHECK_THAT(caught(past), !Matches(no_fault()));
    CHECK_THAT(caught([] {}), Matches(no_fault()));
    CHECK(Matches(overrun(+1)).describe() == "is an overrun at distance +1");
    CHECK(
        Catch::Detail::stringify(caught(past)).rfind("overrun: write 1 byte past the end of a 3-byte object at ", 0) ==
        0);
}

TEST_CASE("a test case begins with our handlers on top") {
    begin();
    CHECK(vmarena_fault_status() == VMARENA_HANDLER_INSTALLED);
}
