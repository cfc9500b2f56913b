/* SPDX-License-Identifier: MIT */
/* The TLB remembers translations, one a page: with larger pages it reaches further, and random reads are faster. */
#include <time.h>

#include "../experiment.h"

#define MIB ((size_t)1 << 20)
#define SIZE (256 * MIB)
#define READS 1000000
#define ROUNDS 3

static double now_ms(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec * 1e3 + (double)time.tv_nsec / 1e6;
}

/* Milliseconds for READS reads, each at an address that depends on the value read before. */
static double random_reads(const volatile uint64_t *words, uint64_t state) {
    double start = now_ms();
    for (int i = 0; i < READS; i++) {
        state = state * 6364136223846793005u + 1442695040888963407u;
        state += words[(state >> 33) % (SIZE / sizeof *words)];
    }
    double elapsed = now_ms() - start;
    must_be(state != 0, "the reads were done");
    return elapsed;
}

static struct vmarena *filled_arena(enum vmarena_huge huge, uint64_t **words) {
    struct vmarena_options options = {.reserve = SIZE, .huge = huge, .name = "tlb"};
    struct vmarena *arena;
    must_work(vmarena_create(&arena, &options) == 0, "vmarena_create");
    *words = (uint64_t *)(void *)must_alloc(arena, SIZE, vmarena_page_size());
    for (size_t i = 0; i < SIZE / sizeof **words; i++) (*words)[i] = i;
    return arena;
}

static size_t huge_mib(const struct vmarena *arena) {
    struct vmarena_stats stats;
    vmarena_stats(arena, &stats);
    return stats.huge / MIB;
}

int main(void) {
    uint64_t *small_words, *huge_words;
    struct vmarena *small = filled_arena(VMARENA_HUGE_NEVER, &small_words);
    struct vmarena *huge = filled_arena(VMARENA_HUGE_TRANSPARENT, &huge_words);
    struct vmarena_caps caps;
    must_work(vmarena_caps(&caps) == 0, "vmarena_caps");
    printf("asked for small pages of %zu KiB: %zu of %zu MiB are on huge pages\n", vmarena_page_size() / 1024,
           huge_mib(small), SIZE / MIB);
    printf("asked for huge pages of %zu KiB: %zu of %zu MiB are on huge pages\n", caps.huge_page_size / 1024,
           huge_mib(huge), SIZE / MIB);

    double best_small = 1e30, best_huge = 1e30;
    for (int round = 0; round < ROUNDS; round++) { /* each elsewhere, so that the caches do not know it yet */
        uint64_t seed = (uint64_t)round + 1;
        double on_small = random_reads(small_words, seed), on_huge = random_reads(huge_words, seed);
        if (on_small < best_small) best_small = on_small;
        if (on_huge < best_huge) best_huge = on_huge;
    }
    printf("%d random reads, best of %d: %.1f ms in the first, %.1f ms in the second\n", READS, ROUNDS, best_small,
           best_huge);
    if (huge_mib(huge) == SIZE / MIB && huge_mib(small) == 0)
        printf("on huge pages that is %.2f times as fast\n", best_small / best_huge);
    else printf("huge pages were not obtained as asked: nothing is claimed\n");
    vmarena_destroy(small);
    vmarena_destroy(huge);
    return 0;
}
