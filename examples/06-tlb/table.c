/* SPDX-License-Identifier: MIT */
/*
 * tlb-table [LARGEST [FILE.svg]]: what a read costs over 16 MiB to LARGEST MiB (2048), in order and at random, on pages of
 * each size that this system gives, as a table and, where a file is named, as a plot.
 *
 * A size that was not asked for, or a kind of page that was not obtained, is "-": nothing is claimed about it.
 */
#include <inttypes.h>
#include <stdarg.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "../experiment.h"

#define MIB ((size_t)1 << 20)
#define SMALLEST 16 /* MiB */
#define ROWS 8      /* each twice the one before */
#define READS 400000
#define ROUNDS 5
#define LINE 64 /* bytes that the CPU fetches at once */

enum kind { SMALL, MIDDLE, HUGE, POOL, KINDS };
static const char *const kinds[KINDS] = {"4 KiB", "64 KiB", "2 MiB", "2 MiB, pool"};

/* Nanoseconds a read, and dTLB misses a read; negative: not measured. */
struct figures {
    double random[KINDS][ROWS], order[KINDS][ROWS], misses[KINDS];
};

/* ---- memory of a kind --------------------------------------------------------------------------------------------------- */

struct memory {
    uint64_t *words; /* NULL: not obtained, and why */
    struct vmarena *arena;
    void *map;
    size_t size;
    char why[160];
};

static void give_up(struct memory *memory, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(memory->why, sizeof memory->why, format, arguments);
    va_end(arguments);
    memory->words = NULL;
}

static void fill(struct memory *memory) {
    for (size_t i = 0; i < memory->size / sizeof *memory->words; i++) memory->words[i] = i;
}

static void take_arena(struct memory *memory, enum vmarena_huge huge) {
    struct vmarena_options options = {.reserve = memory->size, .huge = huge, .name = "tlb"};
    struct vmarena_stats stats;
    must_work(vmarena_create(&memory->arena, &options) == 0, "vmarena_create");
    memory->words = (uint64_t *)(void *)must_alloc(memory->arena, memory->size, vmarena_page_size());
    vmarena_stats(memory->arena, &stats);
    if (huge == VMARENA_HUGE_2M && stats.huge_obtained != huge) {
        give_up(memory, "the pool has not %zu of them (sysctl vm.nr_hugepages)", memory->size / (2 * MIB));
        return;
    }
    fill(memory);
    vmarena_stats(memory->arena, &stats);
    if (stats.huge == (huge == VMARENA_HUGE_NEVER ? 0 : memory->size)) return;
    give_up(memory, "%zu of %zu MiB are on huge pages", stats.huge / MIB, memory->size / MIB);
}

#define OFFERS "/sys/kernel/mm/transparent_hugepage/hugepages-64kB/"

static long read_count(const char *path) {
    long count = -1;
    FILE *file = fopen(path, "r");
    if (file == NULL) return -1;
    if (fscanf(file, "%ld", &count) != 1) count = -1;
    fclose(file);
    return count;
}

static bool offered(char *words, int size) {
    FILE *file = fopen(OFFERS "enabled", "r");
    bool got = file != NULL && fgets(words, size, file) != NULL;
    if (file != NULL) fclose(file);
    if (!got) return false;
    words[strcspn(words, "\n")] = '\0';
    return strstr(words, "[never]") == NULL;
}

/* Transparent huge pages of 64 KiB. A mapping is never larger than 1 MiB, so that none of 2 MiB fits. */
static void take_middle(struct memory *memory) {
    char words[100] = "this kernel has none";
    if (!offered(words, sizeof words)) {
        give_up(memory, "not offered (" OFFERS "enabled: %s)", words);
        return;
    }
    char *map =
        mmap(NULL, memory->size + MIB, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    must_be(map != MAP_FAILED, "memory can be mapped");
    memory->map = map;
    char *start = map + (MIB - (uintptr_t)map % MIB);
    memory->words = (uint64_t *)(void *)start;
    (void)madvise(start, memory->size, MADV_HUGEPAGE);
    for (size_t at = 0; at < memory->size; at += 2 * MIB) (void)madvise(start + at, MIB, MADV_DONTDUMP);
    long before = read_count(OFFERS "stats/anon_fault_alloc");
    fill(memory);
    long got = read_count(OFFERS "stats/anon_fault_alloc") - before, wanted = (long)(memory->size / (64 << 10));
    if (before < 0 || got < wanted) give_up(memory, "%ld of %ld were given", before < 0 ? 0 : got, wanted);
}

static struct memory take(enum kind kind, size_t size) {
    struct memory memory = {.size = size};
    if (kind == SMALL) take_arena(&memory, VMARENA_HUGE_NEVER);
    if (kind == MIDDLE) take_middle(&memory);
    if (kind == HUGE) take_arena(&memory, VMARENA_HUGE_TRANSPARENT);
    if (kind == POOL) take_arena(&memory, VMARENA_HUGE_2M);
    return memory;
}

static void give_back(struct memory *memory) {
    if (memory->arena != NULL) vmarena_destroy(memory->arena);
    if (memory->map != NULL) munmap(memory->map, memory->size + MIB);
}

/* ---- reading ------------------------------------------------------------------------------------------------------------ */

static double now_ns(void) {
    struct timespec time;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time); /* what others do meanwhile is not in it */
    return (double)time.tv_sec * 1e9 + (double)time.tv_nsec;
}

/* Each address depends on the value read before, or the CPU would read many at once. */
static double at_random(const volatile uint64_t *words, size_t size, uint64_t state) {
    double start = now_ns();
    for (int i = 0; i < READS; i++) {
        state = state * 6364136223846793005u + 1442695040888963407u;
        state += words[(state >> 33) % (size / sizeof *words)];
    }
    must_be(state != 0, "the reads were done");
    return (now_ns() - start) / READS;
}

/* A word of each line, one after the other, and around again. */
static double in_order(const volatile uint64_t *words, size_t size) {
    size_t count = size / sizeof *words, step = LINE / sizeof *words;
    uint64_t sum = 0;
    double start = now_ns();
    for (size_t i = 0, at = 0; i < READS; i++, at = at + step < count ? at + step : 0) sum += words[at];
    must_be(sum != 1, "the reads were done");
    return (now_ns() - start) / READS;
}

static void measure(struct figures *figures, enum kind kind, const struct memory *memory) {
    for (int row = 0; row < ROWS && (size_t)SMALLEST << row <= memory->size / MIB; row++) {
        size_t size = ((size_t)SMALLEST << row) * MIB;
        double random = 1e30, order = 1e30;
        for (uint64_t round = 1; round <= ROUNDS; round++) {
            double a = at_random(memory->words, size, round), b = in_order(memory->words, size);
            if (a < random) random = a;
            if (b < order) order = b;
        }
        figures->random[kind][row] = random;
        figures->order[kind][row] = order;
    }
}

/* The CPU's own count, over all of the memory; why not: its error. */
static int count_misses(struct figures *figures, enum kind kind, const struct memory *memory) {
    struct vmarena_counters *counters;
    struct vmarena_counts before, after;
    int error = vmarena_counters_open(&counters, 0, 0);
    if (error != 0) return error;
    must_work(vmarena_counters_read(counters, &before) == 0, "vmarena_counters_read");
    (void)at_random(memory->words, memory->size, 99);
    must_work(vmarena_counters_read(counters, &after) == 0, "vmarena_counters_read");
    vmarena_counters_close(counters);
    error = after.error[VMARENA_COUNT_DTLB_LOAD_MISSES];
    uint64_t misses = after.value[VMARENA_COUNT_DTLB_LOAD_MISSES] - before.value[VMARENA_COUNT_DTLB_LOAD_MISSES];
    if (error == 0) figures->misses[kind] = (double)misses / READS;
    return error;
}

/* ---- the table ---------------------------------------------------------------------------------------------------------- */

static void print_cell(double value) {
    if (value < 0) printf("%13s", "-");
    else printf("%13.1f", value);
}

static void print_rows(const char *how, double values[KINDS][ROWS]) {
    for (int row = 0; row < ROWS; row++) {
        printf("%-9s %5d MiB", how, SMALLEST << row);
        for (int kind = 0; kind < KINDS; kind++) print_cell(values[kind][row]);
        puts("");
    }
}

static void print_table(struct figures *figures, int error) {
    printf("nanoseconds a read ");
    for (int kind = 0; kind < KINDS; kind++) printf("%13s", kinds[kind]);
    puts("");
    print_rows("at random", figures->random);
    print_rows("in order", figures->order);
    printf("dTLB misses a read ");
    for (int kind = 0; kind < KINDS; kind++) print_cell(figures->misses[kind]);
    puts("");
    printf("%s\n", error == 0 ? "as the CPU counted them"
                              : "they are not counted here: the CPU's counters are absent or not allowed");
}

/* Where both were obtained; over 1 GiB, or over less where less was asked for. */
static void print_claim(struct figures *figures, size_t largest) {
    int row = 0;
    while (row < 6 && (size_t)SMALLEST << (row + 1) <= largest) row++;
    double small = figures->random[SMALL][row], huge = figures->random[HUGE][row];
    if (small > 0 && huge > 0)
        printf("random reads over %d MiB on huge pages: %.2f times the rate on small ones\n", SMALLEST << row,
               small / huge);
    else printf("huge pages were not obtained as asked: nothing is claimed\n");
}

/* ---- the plot ----------------------------------------------------------------------------------------------------------- */

#define LEFT 64
#define TOP 48
#define WIDTH 560
#define HEIGHT 300

static double highest(struct figures *figures) {
    double most = 10;
    for (int kind = 0; kind < KINDS; kind++)
        for (int row = 0; row < ROWS; row++) {
            if (figures->random[kind][row] > most) most = figures->random[kind][row];
            if (figures->order[kind][row] > most) most = figures->order[kind][row];
        }
    return most;
}

static double x_of(int row) { return LEFT + (double)WIDTH * row / (ROWS - 1); }
static double y_of(double value, double most) { return TOP + HEIGHT - HEIGHT * value / most; }

static void draw_line(FILE *file, const double *values, double most, const char *colour, bool dashed) {
    bool any = false;
    for (int row = 0; row < ROWS; row++) {
        if (values[row] < 0) continue;
        fprintf(file, "%s%.1f,%.1f", any ? " " : "<polyline fill=\"none\" stroke-width=\"2\" points=\"", x_of(row),
                y_of(values[row], most));
        any = true;
    }
    if (any) fprintf(file, "\" stroke=\"%s\"%s/>\n", colour, dashed ? " stroke-dasharray=\"5 4\"" : "");
}

static void draw_axes(FILE *file, double most) {
    double step = most > 200 ? 50 : most > 100 ? 25 : most > 40 ? 10 : 5;
    for (double value = 0; value <= most; value += step)
        fprintf(file,
                "<line x1=\"%d\" x2=\"%d\" y1=\"%.1f\" y2=\"%.1f\" stroke=\"#ddd\"/>"
                "<text x=\"%d\" y=\"%.1f\" text-anchor=\"end\">%.0f</text>\n",
                LEFT, LEFT + WIDTH, y_of(value, most), y_of(value, most), LEFT - 8, y_of(value, most) + 4, value);
    for (int row = 0; row < ROWS; row++)
        fprintf(file, "<text x=\"%.1f\" y=\"%d\" text-anchor=\"middle\">%d</text>\n", x_of(row), TOP + HEIGHT + 20,
                SMALLEST << row);
    fprintf(file, "<text x=\"%d\" y=\"%d\" text-anchor=\"middle\">MiB read over</text>\n", LEFT + WIDTH / 2,
            TOP + HEIGHT + 42);
}

static void draw_legend(FILE *file, struct figures *figures, const char *const *colours) {
    int y = TOP + 14;
    for (int kind = 0; kind < KINDS; kind++) {
        if (figures->random[kind][0] < 0) continue;
        fprintf(file,
                "<line x1=\"%d\" x2=\"%d\" y1=\"%d\" y2=\"%d\" stroke=\"%s\" stroke-width=\"2\"/>"
                "<text x=\"%d\" y=\"%d\">pages of %s</text>\n",
                LEFT + 14, LEFT + 44, y - 4, y - 4, colours[kind], LEFT + 52, y, kinds[kind]);
        y += 18;
    }
    fprintf(file, "<text x=\"%d\" y=\"%d\">dashed: in order</text>\n", LEFT + 52, y);
}

static void draw(const char *path, struct figures *figures) {
    static const char *const colours[KINDS] = {"#c0392b", "#d68910", "#1f618d", "#117a65"};
    double most = highest(figures) * 1.08;
    FILE *file = fopen(path, "w");
    must_be(file != NULL, "the file for the plot can be written");
    fprintf(file,
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 660 420\" font-family=\"sans-serif\" "
            "font-size=\"13\">\n<rect width=\"660\" height=\"420\" fill=\"white\"/>\n"
            "<text x=\"%d\" y=\"26\" font-size=\"15\">Nanoseconds a read, by how much memory is read</text>\n",
            LEFT);
    draw_axes(file, most);
    for (int kind = 0; kind < KINDS; kind++) {
        draw_line(file, figures->random[kind], most, colours[kind], false);
        draw_line(file, figures->order[kind], most, colours[kind], true);
    }
    draw_legend(file, figures, colours);
    fputs("</svg>\n", file);
    must_be(fclose(file) == 0, "the file for the plot can be written");
    printf("the plot is in %s\n", path);
}

/* ------------------------------------------------------------------------------------------------------------------------- */

/* No more than half of what the machine has. */
static size_t choose_largest(int argc, char **argv) {
    size_t largest = argc > 1 ? strtoul(argv[1], NULL, 10) : (size_t)SMALLEST << (ROWS - 1);
    size_t half = (size_t)sysconf(_SC_PHYS_PAGES) / 2 * vmarena_page_size() / MIB;
    if (argc > 3 || largest < SMALLEST) {
        fprintf(stderr, "usage: %s [LARGEST [FILE.svg]], in MiB, from %d on\n", argv[0], SMALLEST);
        exit(2);
    }
    return largest < half ? largest : half;
}

int main(int argc, char **argv) {
    static struct figures figures;
    size_t largest = choose_largest(argc, argv), size = SMALLEST;
    int error = 0;
    while (size * 2 <= largest && size < (size_t)SMALLEST << (ROWS - 1)) size *= 2;
    for (int kind = 0; kind < KINDS; kind++)
        for (int row = 0; row < ROWS; row++)
            figures.random[kind][row] = figures.order[kind][row] = figures.misses[kind] = -1;
    for (int kind = 0; kind < KINDS; kind++) {
        struct memory memory = take((enum kind)kind, size * MIB);
        if (memory.words != NULL) {
            printf("%s: obtained for %zu MiB\n", kinds[kind], size);
            measure(&figures, (enum kind)kind, &memory);
            error = count_misses(&figures, (enum kind)kind, &memory);
        } else printf("%s: %s\n", kinds[kind], memory.why);
        give_back(&memory);
    }
    print_table(&figures, error);
    print_claim(&figures, largest);
    if (argc > 2) draw(argv[2], &figures);
    return 0;
}
