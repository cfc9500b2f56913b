// SPDX-License-Identifier: MIT
// The installed C++ header: an overrun is caught at the byte.
#include <vmarena.hpp>

int main() {
    vmar::fenced_buffer buffer("abc", 3);
    auto fault = vmar::catch_fault([&] { (void)*static_cast<volatile std::byte *>(buffer.end()); });
    return fault && fault->distance == 1 && fault->kind == VMARENA_FAULT_OVERRUN ? 0 : 1;
}
