/* SPDX-License-Identifier: MIT */
/*
 * Measuring one thing against another in the same run. Both run in turn, many times, and the order changes with each
 * round, so that whatever disturbs the machine disturbs both. What is printed is the median of each, and the median of
 * the rounds' ratios, which is steadier than the ratio of the medians.
 *
 *      int main(int argc, char **argv) {
 *          bench_begin(argc, argv);                                  // --json: for machines
 *          bench_compare("copy", ours, &x, "memcpy", theirs, &x, 1.1);  // ratio at most 1.1; 0: no target
 *          return bench_end();                                       // always 0: a measurement does not fail
 *      }
 */
#ifndef BENCH_H
#define BENCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* Does it count times and returns the nanoseconds that took; what it prepares and cleans up need not be in them. */
typedef double bench_fn(void *arg, size_t count);

#define BENCH_SAMPLE 5e5 /* ns: long against the clock, short against a time slice and the machine's moods */
#define BENCH_TOTAL 5e8  /* ns that one comparison may take, if that is enough for the fewest rounds */
#define BENCH_LEAST 7
#define BENCH_MOST 401

static struct {
    bool json;
    unsigned rows, over;
} bench;

/* The thread's own processor time: what others do on the machine is not in it, but for the caches they take. */
static inline double bench_now(void) {
    struct timespec now;
    (void)clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (double)now.tv_sec * 1e9 + (double)now.tv_nsec;
}

/* The compiler must believe that the value is needed and could have been changed. */
static inline void *bench_keep(void *pointer) {
    __asm__ volatile("" : "+r"(pointer) : : "memory");
    return pointer;
}

static inline void bench_must(bool good, const char *what) {
    if (good) return;
    fprintf(stderr, "bench: %s failed\n", what);
    exit(2);
}

static inline int bench_order(const void *a, const void *b) {
    double left = *(const double *)a, right = *(const double *)b;
    return (left > right) - (left < right);
}

static inline double bench_median(double *values, size_t count) {
    qsort(values, count, sizeof *values, bench_order);
    return count % 2 ? values[count / 2] : (values[count / 2 - 1] + values[count / 2]) / 2;
}

static inline void bench_begin(int argc, char **argv) {
    bench.json = argc > 1 && strcmp(argv[1], "--json") == 0;
    if (argc > 1 && !bench.json) {
        fprintf(stderr, "usage: %s [--json]\n", argv[0]);
        exit(2);
    }
    if (bench.json) printf("[");
    else printf("%-66s %12s %12s %7s %8s\n", "", "ours", "theirs", "ratio", "at most");
}

static inline int bench_end(void) {
    if (bench.json) printf("\n]\n");
    else if (bench.over != 0) printf("%u over its target\n", bench.over);
    return 0;
}

static inline const char *bench_scaled(double ns, char *text, size_t size) {
    if (ns < 1e4) (void)snprintf(text, size, "%.1f ns", ns);
    else if (ns < 1e7) (void)snprintf(text, size, "%.1f us", ns / 1e3);
    else (void)snprintf(text, size, "%.1f ms", ns / 1e6);
    return text;
}

/* One row. target 0: none. */
static inline void bench_row(const char *name, const char *peer, double ours, double theirs, double ratio,
                             double target) {
    char a[32], b[32];
    bool good = target <= 0 || ratio <= target;
    bench.over += !good;
    if (bench.json) {
        printf("%s\n  {\"name\": \"%s\", \"peer\": \"%s\", \"ours_ns\": %.3f, \"theirs_ns\": %.3f, \"ratio\": %.3f",
               bench.rows == 0 ? "" : ",", name, peer, ours, theirs, ratio);
        if (target > 0) printf(", \"target\": %.2f, \"met\": %s", target, good ? "true" : "false");
        printf("}");
    } else {
        char label[96];
        (void)snprintf(label, sizeof label, "%s : %s", name, peer);
        printf("%-66s %12s %12s %7.2f", label, bench_scaled(ours, a, sizeof a), bench_scaled(theirs, b, sizeof b),
               ratio);
        if (target > 0) printf(" %8.2f  %s", target, good ? "ok" : "OVER");
        printf("\n");
    }
    bench.rows++;
    (void)fflush(stdout);
}

/* A figure that is not a time. target 0: none. */
static inline void bench_figure(const char *name, double value, const char *unit, double target) {
    bool good = target <= 0 || value <= target;
    bench.over += !good;
    if (bench.json) {
        printf("%s\n  {\"name\": \"%s\", \"value\": %.3f, \"unit\": \"%s\"", bench.rows == 0 ? "" : ",", name, value,
               unit);
        if (target > 0) printf(", \"target\": %.2f, \"met\": %s", target, good ? "true" : "false");
        printf("}");
    } else {
        printf("%-66s %12.10g %-20s", name, value, unit);
        if (target > 0) printf(" %8.10g  %s", target, good ? "ok" : "OVER");
        printf("\n");
    }
    bench.rows++;
    (void)fflush(stdout);
}

/* As often as fills a sample, found by doubling; the first runs also warm everything up. */
static inline size_t bench_calibrate(bench_fn *function, void *arg) {
    size_t count = 1;
    double took = function(arg, count);
    while (took < BENCH_SAMPLE / 2 && count < (size_t)1 << 30) {
        count *= 2;
        took = function(arg, count);
    }
    double wanted = (double)count * BENCH_SAMPLE / (took > 1 ? took : 1);
    return wanted < 8 ? 1 : (size_t)wanted / 8 * 8;
}

/* An odd number, so that a median is one of them. */
static inline size_t bench_rounds(double pair) {
    double wanted = BENCH_TOTAL / pair;
    return wanted < BENCH_LEAST ? BENCH_LEAST : wanted > BENCH_MOST ? BENCH_MOST : (size_t)wanted | 1;
}

static inline double bench_compare(const char *name, bench_fn *ours, void *our_arg, const char *peer, bench_fn *theirs,
                                   void *their_arg, double target) {
    double a[BENCH_MOST], b[BENCH_MOST], ratios[BENCH_MOST];
    size_t our_count = bench_calibrate(ours, our_arg), their_count = bench_calibrate(theirs, their_arg);
    size_t rounds = bench_rounds(ours(our_arg, our_count) + theirs(their_arg, their_count));
    for (size_t i = 0; i < rounds; i++) {
        if (i % 2) a[i] = ours(our_arg, our_count) / (double)our_count;
        b[i] = theirs(their_arg, their_count) / (double)their_count;
        if (i % 2 == 0) a[i] = ours(our_arg, our_count) / (double)our_count;
        ratios[i] = a[i] / b[i];
    }
    double ratio = bench_median(ratios, rounds);
    bench_row(name, peer, bench_median(a, rounds), bench_median(b, rounds), ratio, target);
    return ratio;
}

#endif
