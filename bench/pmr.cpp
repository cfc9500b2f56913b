// SPDX-License-Identifier: MIT
// An arena behind std::pmr against std::pmr::monotonic_buffer_resource: 10,007 allocations, then a release, in turn.
#include "../bindings/cpp/vmarena.hpp"
extern "C" {
#include "bench.h"
}

namespace {

constexpr std::size_t objects = 10007;

struct work {
    std::pmr::memory_resource *resource;
    vmarena *arena;
    std::pmr::monotonic_buffer_resource *peer;
    std::size_t size;
};

// Through the base class, as containers do it, so that both pay the virtual call.
double run(void *argument, size_t count) {
    auto *work = static_cast<struct work *>(argument);
    double start = bench_now();
    for (size_t i = 0; i < count; i++) {
        for (std::size_t j = 0; j < objects; j++) bench_keep(work->resource->allocate(work->size, 8));
        if (work->arena != nullptr) (void)vmarena_reset(work->arena, SIZE_MAX);
        else work->peer->release();
    }
    return bench_now() - start;
}

} // namespace

int main(int argc, char **argv) {
    bench_begin(argc, argv);
    for (std::size_t size : {8u, 64u}) {
        vmar::arena arena;
        vmar::arena_resource resource(arena);
        work ours = {&resource, arena.get(), nullptr, size};
        char name[64];
        (void)std::snprintf(name, sizeof name, "C++ pmr, 10,007 x %zu bytes and release", size);

        std::pmr::monotonic_buffer_resource growing;
        work theirs = {&growing, nullptr, &growing, size};
        bench_compare(name, run, &ours, "monotonic_buffer_resource", run, &theirs, 0.8);

        // The peer's best case: a buffer that is large enough from the start, and never given back.
        static char buffer[objects * 64 + 64];
        std::pmr::monotonic_buffer_resource fixed(buffer, sizeof buffer);
        work best = {&fixed, nullptr, &fixed, size};
        bench_compare(name, run, &ours, "the same in a fixed buffer", run, &best, 0);
    }
    return bench_end();
}
