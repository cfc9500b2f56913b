/* SPDX-License-Identifier: MIT */
/* Mappings, pages, totals and fault counts, compared with /proc and getrusage. */
#include <pthread.h>
#include <stdarg.h>
#include <stddef.h>

#include "vmarena.h"

#include <cmocka.h>

#include <dirent.h>
#include <sched.h>
#include <setjmp.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "prim/prim.h"
#include "support.h"

static size_t page;

static int begin(void **state) {
    (void)state;
    page = vmarena_page_size();
    return 0;
}

static void *none(void) { return NULL; }

/* ---- mappings ---------------------------------------------------------------------------------------------------- */

/* The text of /proc/PID/maps, and the same text written from mappings. */
struct text {
    char *bytes;
    size_t length, room;
};

static void append(struct text *text, const char *bytes, size_t length) {
    if (text->length + length > text->room) {
        text->room = 2 * (text->room + length);
        text->bytes = realloc(text->bytes, text->room);
        assert_non_null(text->bytes);
    }
    memcpy(text->bytes + text->length, bytes, length);
    text->length += length;
}

static int write_line(const struct vmarena_mapping *mapping, void *arg) {
    char line[8192];
    int length =
        snprintf(line, sizeof line, "%08llx-%08llx %c%c%c%c %08llx %02x:%02x %llu ", (unsigned long long)mapping->start,
                 (unsigned long long)mapping->end, mapping->prot & VMARENA_READ ? 'r' : '-',
                 mapping->prot & VMARENA_WRITE ? 'w' : '-', mapping->prot & VMARENA_EXEC ? 'x' : '-',
                 mapping->shared ? 's' : 'p', (unsigned long long)mapping->offset, mapping->device_major,
                 mapping->device_minor, (unsigned long long)mapping->inode);
    if (mapping->name[0] != '\0') /* the kernel pads to column 73 */
        length += snprintf(line + length, sizeof line - (size_t)length, "%*s%s", length < 73 ? 73 - length : 0, "",
                           mapping->name);
    append(arg, line, (size_t)length);
    append(arg, "\n", 1);
    return 0;
}

static struct text maps_file(pid_t pid) {
    struct text text = {NULL, 0, 0};
    char name[64], bytes[4096];
    (void)snprintf(name, sizeof name, "/proc/%d/maps", (int)pid);
    int fd = open(name, O_RDONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    for (ssize_t got; (got = read(fd, bytes, sizeof bytes)) > 0;) append(&text, bytes, (size_t)got);
    close(fd);
    return text;
}

static void assert_same_text(const struct text *one, const struct text *other, size_t length) {
    for (size_t i = 0, line = 0; i < length; i++) {
        if (one->bytes[i] != other->bytes[i]) {
            print_message("%.*s\n%.*s\n", 160, one->bytes + line, 160, other->bytes + line);
            fail_msg("the texts differ at byte %zu", i);
        }
        if (one->bytes[i] == '\n') line = i + 1;
    }
}

/* The list read from maps, by vmarena_maps and by PROCMAP_QUERY is the same, except for what the last one leaves
 * out. */
static void compare(pid_t pid) {
    struct text wanted = maps_file(pid), got = {NULL, 0, 0}, asked = {NULL, 0, 0};
    assert_true(wanted.length > 0);
    assert_int_equal(vmarena_maps(pid, write_line, &got), 0);
    assert_int_equal(got.length, wanted.length);
    assert_same_text(&wanted, &got, wanted.length);
    int error = vmarena_prim_walk_mappings_by_query(pid, write_line, &asked);
    if (error != -EOPNOTSUPP) {
        assert_int_equal(error, 0);
        append(&wanted, "", 1);
        char *vsyscall = strstr(wanted.bytes, "ffffffffff600000-");
        size_t length = vsyscall != NULL ? (size_t)(vsyscall - wanted.bytes) : wanted.length - 1;
        assert_int_equal(asked.length, length);
        assert_same_text(&wanted, &asked, length);
    }
    free(wanted.bytes);
    free(got.bytes);
    free(asked.bytes);
}

/* Programs that wait for input. They are stopped while they are looked at. */
static pid_t start(const char *command, int input) {
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        int nowhere = open("/dev/null", O_WRONLY);
        dup2(input, 0);
        dup2(nowhere, 1);
        dup2(nowhere, 2);
        execl("/bin/sh", "sh", "-c", command, (char *)NULL);
        _exit(127);
    }
    return child;
}

static void many_mappings(void) {
    char *pages = mmap(NULL, 30000 * page, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    CHECK(pages != MAP_FAILED);
    for (size_t i = 0; i < 30000; i += 2) CHECK(mprotect(pages + i * page, page, PROT_NONE) == 0);
    kill(getpid(), SIGSTOP);
}

static void *sleep_for_ever(void *arg) {
    pause();
    return arg;
}

static void threads_and_arenas(void) {
    struct vmarena *arena;
    pthread_t thread;
    struct vmarena_options options = {.fence = VMARENA_FENCE_END, .guard_kind = VMARENA_GUARD_PROTECT};
    CHECK(vmarena_create(&arena, &options) == 0);
    for (int i = 0; i < 100; i++) CHECK(vmarena_alloc(arena, 10, 1) != NULL);
    for (int i = 0; i < 8; i++) CHECK(pthread_create(&thread, NULL, sleep_for_ever, NULL) == 0);
    kill(getpid(), SIGSTOP);
}

static pid_t fork_into(void (*body)(void)) {
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL); /* a test that fails leaves no stopped child behind */
        body();
        _exit(0);
    }
    return child;
}

static void wait_until_stopped(pid_t child) {
    int status;
    assert_int_equal(waitpid(child, &status, WUNTRACED), child);
    assert_true(WIFSTOPPED(status));
}

static void kill_child(pid_t child) {
    int status;
    assert_int_equal(kill(child, SIGKILL), 0);
    assert_int_equal(waitpid(child, &status, 0), child);
}

static void test_maps_of_twenty_processes(void **state) {
    (void)state;
    static const char *const commands[] = {
        "exec cat",
        "exec sort",
        "exec sed p",
        "exec awk 1",
        "exec grep x",
        "exec tr a b",
        "exec wc",
        "exec tail",
        "exec tee",
        "exec od",
        "exec cut -c1",
        "exec uniq",
        "exec fold",
        "exec nl",
        "exec paste",
        "exec md5sum",
        "exec base64",
        "exec dd",
        "read x",
        "exec perl -e '<>'",
        "exec python3 -c 'input()'",
        "exec bash -c 'read x'",
    };
    enum { COMMANDS = sizeof commands / sizeof commands[0] };
    pid_t children[COMMANDS];
    int input[2];
    unsigned compared = 0;
    assert_int_equal(pipe2(input, O_CLOEXEC), 0);
    for (size_t i = 0; i < COMMANDS; i++) children[i] = start(commands[i], input[0]);
    usleep(500000); /* time for most of them to load; the comparison does not depend on it, since they are stopped */
    for (size_t i = 0; i < COMMANDS; i++) {
        int status;
        assert_int_equal(kill(children[i], SIGSTOP), 0);
        assert_int_equal(waitpid(children[i], &status, WUNTRACED), children[i]);
        if (!WIFSTOPPED(status)) {
            print_message("not here: %s\n", commands[i]);
            continue;
        }
        compare(children[i]);
        kill_child(children[i]);
        compared++;
    }
    close(input[0]);
    close(input[1]);
    void (*bodies[])(void) = {many_mappings, threads_and_arenas};
    for (size_t i = 0; i < 2; i++, compared++) {
        pid_t child = fork_into(bodies[i]);
        wait_until_stopped(child);
        compare(child);
        kill_child(child);
    }
    print_message("%u processes compared\n", compared);
    assert_true(compared >= 15); /* perl and python3 need not be installed */
}

/* A name that /proc escapes, and one of the maximum length. */
static void test_names_with_newlines(void **state) {
    (void)state;
    char directory[] = "/tmp/vmarena-inspect-XXXXXX", path[64], name[64];
    struct vmarena_mapping mapping;
    assert_non_null(mkdtemp(directory));
    (void)snprintf(path, sizeof path, "%s/two\nlines", directory);
    int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(ftruncate(fd, 10), 0);
    char *bytes = mmap(NULL, page, PROT_READ, MAP_SHARED, fd, 0);
    assert_true(bytes != MAP_FAILED);
    struct text wanted = maps_file(getpid()), got = {NULL, 0, 0};
    assert_int_equal(vmarena_maps(0, write_line, &got), 0);
    append(&got, "", 1);
    assert_non_null(strstr(got.bytes, "/two\\012lines\n"));
    assert_int_equal(vmarena_mapping_at(0, (uintptr_t)bytes + 5, &mapping, name, sizeof name), 0);
    assert_int_equal(mapping.start, (uintptr_t)bytes);
    assert_int_equal(mapping.end, (uintptr_t)bytes + page);
    assert_true(mapping.shared);
    assert_int_equal(mapping.prot, VMARENA_READ);
    assert_ptr_equal(mapping.name, name);
    assert_int_equal(strncmp(name, directory, strlen(directory)), 0);
    assert_int_equal(vmarena_mapping_at(0, (uintptr_t)bytes, &mapping, name, 5), 0);
    assert_string_equal(name, "/tmp");
    assert_int_equal(vmarena_mapping_at(0, (uintptr_t)bytes, &mapping, NULL, 0), 0);
    assert_string_equal(mapping.name, "");
    munmap(bytes, page);
    close(fd);
    unlink(path);
    rmdir(directory);
    free(wanted.bytes);
    free(got.bytes);
}

struct deep_path {
    uint64_t start;
    const char *name;
    bool found, stack;
    size_t length;
};

static int look_for_path(const struct vmarena_mapping *mapping, void *arg) {
    struct deep_path *seen = arg;
    if (mapping->start == seen->start) {
        seen->found = strncmp(mapping->name, seen->name, strlen(seen->name)) == 0;
        seen->length = strlen(mapping->name);
    }
    seen->stack |= strcmp(mapping->name, "[stack]") == 0;
    return 0;
}

/* A path of more than 20,000 bytes: no system call takes one, but a file in a deep working directory has one. */
static void test_a_path_without_end(void **state) {
    (void)state;
    enum { DEEP = 100 };
    char directory[] = "/tmp/vmarena-inspect-XXXXXX", part[202], name[128];
    struct vmarena_mapping mapping;
    int before = open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC), fd;
    assert_non_null(mkdtemp(directory));
    assert_int_equal(chdir(directory), 0);
    memset(part, 'd', 200);
    part[200] = part[201] = '\0';
    for (int i = 0; i < DEEP; i++) assert_int_equal(mkdir(part, 0700) | chdir(part), 0);
    fd = open("file", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(ftruncate(fd, 1), 0);
    char *bytes = mmap(NULL, page, PROT_READ, MAP_SHARED, fd, 0);
    assert_true(bytes != MAP_FAILED);
    struct deep_path seen = {.start = (uintptr_t)bytes, .name = directory};
    assert_int_equal(vmarena_maps(0, look_for_path, &seen), 0);
    assert_true(seen.found && seen.length > 16000);
    assert_true(seen.stack); /* the mappings behind the long line are read correctly */
    assert_int_equal(vmarena_mapping_at(0, (uintptr_t)bytes, &mapping, name, sizeof name), 0);
    assert_int_equal(mapping.start, (uintptr_t)bytes);
    assert_int_equal(strncmp(name, directory, strlen(directory)), 0);
    assert_int_equal(strlen(name), sizeof name - 1);
    munmap(bytes, page);
    close(fd);
    unlink("file");
    for (int i = 0; i < DEEP; i++) assert_int_equal(chdir("..") | rmdir(part), 0);
    assert_int_equal(fchdir(before), 0);
    close(before);
    assert_int_equal(rmdir(directory), 0);
}

static void test_one_mapping_by_address(void **state) {
    (void)state;
    struct vmarena_mapping mapping;
    char name[64];
    char *pages = map_pages(3, PROT_READ | PROT_WRITE), *gap = hole();
    assert_int_equal(mprotect(pages + page, page, PROT_NONE), 0);
    assert_int_equal(vmarena_mapping_at(0, (uintptr_t)gap, &mapping, name, sizeof name), -ENOENT);
    assert_int_equal(vmarena_mapping_at(getpid(), (uintptr_t)pages + page + 1, &mapping, name, sizeof name), 0);
    assert_int_equal(mapping.start, (uintptr_t)pages + page);
    assert_int_equal(mapping.end, (uintptr_t)pages + 2 * page);
    assert_int_equal(mapping.prot, VMARENA_NONE);
    assert_false(mapping.shared);
    assert_int_equal(mapping.owner, VMARENA_OWNER_NONE);
    assert_string_equal(mapping.name, "");
    assert_string_equal(mapping.owner_name, "");
    assert_int_equal(vmarena_mapping_at(0, (uintptr_t)&mapping, &mapping, name, sizeof name), 0);
    assert_string_equal(name, "[stack]");
    assert_int_equal(vmarena_mapping_at(0, 0, &mapping, name, sizeof name), -ENOENT);
    assert_string_equal(vmarena_explain(), "vmarena_mapping_at: nothing is mapped at 0x0");
    munmap(pages, 3 * page);
}

/* ---- owners ------------------------------------------------------------------------------------------------------ */

struct tally {
    const void *owner_base;
    unsigned mappings;
    struct vmarena_mapping last;
    char name[32];
};

static int tally(const struct vmarena_mapping *mapping, void *arg) {
    struct tally *seen = arg;
    if ((uintptr_t)seen->owner_base - mapping->owner_start >= mapping->owner_end - mapping->owner_start) return 0;
    seen->mappings++;
    seen->last = *mapping;
    (void)snprintf(seen->name, sizeof seen->name, "%s", mapping->owner_name);
    return 0;
}

static void assert_owner(const void *address, enum vmarena_owner owner, const char *name, uint64_t objects) {
    struct tally seen = {.owner_base = address};
    struct vmarena_mapping mapping;
    assert_int_equal(vmarena_maps(0, tally, &seen), 0);
    assert_true(seen.mappings >= 2); /* its edges and what lies between them */
    assert_int_equal(seen.last.owner, owner);
    assert_string_equal(seen.name, name);
    assert_int_equal(seen.last.objects, objects);
    assert_int_equal(vmarena_mapping_at(0, (uintptr_t)address, &mapping, NULL, 0), 0);
    assert_int_equal(mapping.owner, owner);
    assert_string_equal(mapping.owner_name, name);
    assert_int_equal(mapping.objects, objects);
    assert_int_equal(mapping.owner_start, seen.last.owner_start);
    assert_int_equal(mapping.owner_end, seen.last.owner_end);
}

static void test_owners(void **state) {
    (void)state;
    struct vmarena *bump, *fenced;
    struct vmarena_view *view;
    struct vmarena_options options = {.reserve = 64 * page, .name = "bump"};
    assert_int_equal(vmarena_create(&bump, &options), 0);
    options = (struct vmarena_options){.reserve = 64 * page, .name = "fenced", .fence = VMARENA_FENCE_END};
    assert_int_equal(vmarena_create(&fenced, &options), 0);
    assert_int_equal(vmarena_view_open(&view, "/proc/self/exe", VMARENA_VIEW_READ), 0);
    void *object = vmarena_alloc(bump, 10, 1), *first = vmarena_alloc(fenced, 10, 1);
    assert_non_null(object);
    assert_non_null(first);
    assert_non_null(vmarena_alloc(fenced, 10, 1));
    assert_owner(object, VMARENA_OWNER_ARENA, "bump", 0);
    assert_owner(first, VMARENA_OWNER_ARENA, "fenced", 2);
    assert_owner(view->data, VMARENA_OWNER_VIEW, "/proc/self/exe", 0);
    struct vmarena_heap *heap;
    assert_int_equal(vmarena_heap_create(&heap, &(struct vmarena_heap_options){.name = "heap of three"}), 0);
    void *in_heap = vmarena_heap_alloc(heap, 10, 1);
    for (int i = 0; i < 2; i++) assert_non_null(vmarena_heap_alloc(heap, 10, 1));
    assert_owner(in_heap, VMARENA_OWNER_HEAP, "heap of three", 3);
    vmarena_heap_destroy(heap);
    vmarena_destroy(fenced);
    vmarena_destroy(bump);
    vmarena_view_close(view);
    struct tally seen = {.owner_base = first};
    assert_int_equal(vmarena_maps(0, tally, &seen), 0);
    assert_int_equal(seen.mappings, 0);
}

static void make_owners(void) {
    struct vmarena *arena;
    struct vmarena_view *view;
    struct vmarena_options options = {.reserve = 64 * page, .fence = VMARENA_FENCE_END};
    /* Some are destroyed again, so that table entries are reused. */
    for (size_t i = 0; i < 600; i++) {
        char name[16];
        (void)snprintf(name, sizeof name, "arena %zu", i);
        options.name = name;
        CHECK(vmarena_create(&arena, &options) == 0);
        for (size_t j = 0; j <= i % 5; j++) CHECK(vmarena_alloc(arena, 10, 1) != NULL);
        if (i % 3 == 0) vmarena_destroy(arena);
    }
    CHECK(vmarena_view_open(&view, "/proc/self/exe", VMARENA_VIEW_READ) == 0);
    kill(getpid(), SIGSTOP);
}

struct foreign {
    unsigned arenas, views, inherited;
    uint64_t last_start;
};

static int count_foreign(const struct vmarena_mapping *mapping, void *arg) {
    struct foreign *seen = arg;
    unsigned number;
    if (mapping->owner == VMARENA_OWNER_NONE || mapping->owner_start == seen->last_start) return 0;
    seen->last_start = mapping->owner_start;
    if (mapping->owner == VMARENA_OWNER_VIEW) {
        assert_string_equal(mapping->owner_name, "/proc/self/exe");
        seen->views++;
    } else if (strcmp(mapping->owner_name, "inherited") == 0) {
        assert_int_equal(mapping->objects, 0);
        seen->inherited++;
    } else {
        assert_int_equal(mapping->owner, VMARENA_OWNER_ARENA);
        assert_int_equal(sscanf(mapping->owner_name, "arena %u", &number), 1);
        assert_int_not_equal(number % 3, 0);
        assert_int_equal(mapping->objects, number % 5 + 1);
        seen->arenas++;
    }
    struct vmarena_mapping again;
    assert_int_equal(vmarena_mapping_at(*(pid_t *)(seen + 1), mapping->start, &again, NULL, 0), 0);
    assert_int_equal(again.owner_start, mapping->owner_start);
    assert_string_equal(again.owner_name, mapping->owner_name);
    return 0;
}

/* The owners in a child that inherited its parent's table: each process has a table of its own. */
static void test_owners_in_another_process(void **state) {
    (void)state;
    skip_without_memory_files();
    struct vmarena *arena;
    struct {
        struct foreign seen;
        pid_t pid;
    } look = {.pid = 0};
    struct vmarena_options options = {.reserve = 64 * page, .name = "inherited"};
    assert_int_equal(vmarena_create(&arena, &options), 0);
    assert_non_null(vmarena_alloc(
        arena, 1, 1)); /* otherwise the arena is all guard, which the kernel may merge with its neighbours' */
    pid_t child = fork_into(make_owners);
    vmarena_destroy(arena);
    wait_until_stopped(child);
    look.pid = child;
    assert_int_equal(vmarena_maps(child, count_foreign, &look), 0);
    assert_int_equal(look.seen.arenas, 400);
    assert_int_equal(look.seen.inherited, 1);
    assert_int_equal(look.seen.views, 1);
    kill_child(child);
}

/* ---- pages ------------------------------------------------------------------------------------------------------- */

enum { RUNS = 32 };
struct runs {
    unsigned count;
    struct vmarena_pages run[RUNS];
};

static int add_run(const struct vmarena_pages *pages, void *arg) {
    struct runs *runs = arg;
    assert_true(runs->count < RUNS);
    runs->run[runs->count++] = *pages;
    return 0;
}

static struct runs look(const void *start, size_t pages, unsigned wanted, unsigned *known) {
    struct runs runs = {.count = 0};
    assert_int_equal(vmarena_residency(0, (uintptr_t)start, pages * page, wanted, known, add_run, &runs), 0);
    return runs;
}

static void assert_run(const struct runs *runs, unsigned index, const char *base, size_t first, size_t count,
                       unsigned state) {
    assert_true(index < runs->count);
    assert_int_equal(runs->run[index].start, (uintptr_t)base + first * page);
    assert_int_equal(runs->run[index].end, (uintptr_t)base + (first + count) * page);
    assert_int_equal(runs->run[index].state, state);
}

static char *small_pages(size_t count) {
    char *pages = map_pages(count, PROT_READ | PROT_WRITE);
    (void)madvise(pages, count * page, MADV_NOHUGEPAGE);
    return pages;
}

static void test_states_of_pages(void **state) {
    (void)state;
    unsigned known, dirty = VMARENA_PAGE_RESIDENT | VMARENA_PAGE_DIRTY;
    char *pages = small_pages(20);
    pages[2 * page] = pages[3 * page] = 1; /* written */
    (void)peek(pages + 5 * page);          /* only read: the zero page */
    pages[7 * page + 9] = 1;
    bool guards = vmarena_prim_has_guard_markers();
    if (guards) assert_int_equal(vmarena_prim_guard_install(pages + 10 * page, 3 * page), 0);
    struct runs runs = look(pages, 20, 0, &known);
    assert_true((known & dirty) == dirty);
    assert_run(&runs, 0, pages, 2, 2, dirty);
    if (known & VMARENA_PAGE_ZERO)
        assert_int_equal(runs.run[1].state & ~VMARENA_PAGE_SHARED, VMARENA_PAGE_RESIDENT | VMARENA_PAGE_ZERO);
    assert_int_equal(runs.run[1].start, (uintptr_t)pages + 5 * page);
    assert_run(&runs, 2, pages, 7, 1, dirty);
    if (guards && (known & VMARENA_PAGE_GUARD)) assert_run(&runs, 3, pages, 10, 3, VMARENA_PAGE_GUARD);
    assert_int_equal(runs.count, guards && (known & VMARENA_PAGE_GUARD) ? 4 : 3);
    /* Only the state asked for is reported: runs that differ in other states alone are joined. */
    runs = look(pages + 2 * page, 1, VMARENA_PAGE_RESIDENT, &known);
    assert_int_equal(known, VMARENA_PAGE_RESIDENT);
    assert_run(&runs, 0, pages, 2, 1, VMARENA_PAGE_RESIDENT);
    munmap(pages, 20 * page);
}

static void test_huge_pages(void **state) {
    (void)state;
    struct vmarena_caps caps;
    unsigned known;
    assert_int_equal(vmarena_caps(&caps), 0);
    size_t huge = caps.huge_page_size;
    char *area = huge != 0 ? map_pages(2 * huge / page, PROT_READ | PROT_WRITE) : MAP_FAILED;
    char *start = (char *)(((uintptr_t)area + huge - 1) & ~(uintptr_t)(huge - 1));
    if (huge == 0 || !caps.collapse || !caps.pagemap_scan || madvise(start, huge, MADV_HUGEPAGE) != 0) {
        print_message("skip: no huge page to be had, or the system does not tell of it\n");
        skip();
    }
    memset(start, 1, huge);
    struct runs runs = look(start, huge / page, 0, &known);
    assert_true(known & VMARENA_PAGE_HUGE);
    if (runs.count != 1 || (runs.run[0].state & VMARENA_PAGE_HUGE) == 0) {
        print_message("skip: the system gave no huge page\n");
        skip();
    }
    assert_run(&runs, 0, start, 0, huge / page, VMARENA_PAGE_RESIDENT | VMARENA_PAGE_DIRTY | VMARENA_PAGE_HUGE);
    munmap(area, 2 * huge);
}

static void test_swapped_pages(void **state) {
    (void)state;
    unsigned known;
    char *pages = small_pages(64);
    memset(pages, 1, 64 * page);
    int error = madvise(pages, 64 * page, 21 /* MADV_PAGEOUT */);
    struct runs runs = look(pages, 64, VMARENA_PAGE_SWAPPED | VMARENA_PAGE_RESIDENT | VMARENA_PAGE_DIRTY, &known);
    assert_true(known & VMARENA_PAGE_SWAPPED);
    if (error != 0 || runs.count == 0 || runs.run[0].state != (VMARENA_PAGE_SWAPPED | VMARENA_PAGE_DIRTY)) {
        print_message("skip: nothing was swapped out (no swap space?)\n");
        skip();
    }
    /* What is not swapped out is resident. */
    uint64_t at = (uintptr_t)pages;
    for (unsigned i = 0; i < runs.count; i++, at = runs.run[i - 1].end) {
        assert_int_equal(runs.run[i].start, at);
        assert_true(runs.run[i].state == (VMARENA_PAGE_SWAPPED | VMARENA_PAGE_DIRTY) ||
                    runs.run[i].state == (VMARENA_PAGE_RESIDENT | VMARENA_PAGE_DIRTY));
    }
    assert_int_equal(at, (uintptr_t)pages + 64 * page);
    munmap(pages, 64 * page);
}

/* Both ways to ask agree about the states that the older one knows. */
static void test_scan_and_words_agree(void **state) {
    (void)state;
    int fd;
    char *file = map_file(8, 8 * page, MAP_PRIVATE, &fd), *pages = small_pages(300);
    unsigned wanted = VMARENA_PAGE_RESIDENT | VMARENA_PAGE_DIRTY | VMARENA_PAGE_FILE | VMARENA_PAGE_SHARED, known;
    for (size_t i = 0; i < 300; i += i % 50 == 0 ? 25 : 1) pages[i * page] = 1;
    (void)peek(file + page);
    file[3 * page] = 'x';
    char *starts[] = {pages, file};
    for (size_t i = 0; i < 2; i++) {
        size_t count = i == 0 ? 300 : 8;
        struct runs by_scan = look(starts[i], count, wanted, &known), by_words = {.count = 0};
        struct vmarena_prim_page_walk walk = {.start = (uintptr_t)starts[i],
                                              .end = (uintptr_t)starts[i] + count * page,
                                              .wanted = wanted,
                                              .by_words = true};
        assert_int_equal(vmarena_prim_walk_pages(0, &walk, add_run, &by_words), 0);
        assert_int_equal(known, wanted);
        assert_int_equal(walk.known, wanted);
        assert_true(by_scan.count > 1);
        assert_int_equal(by_scan.count, by_words.count);
        assert_memory_equal(by_scan.run, by_words.run, by_scan.count * sizeof by_scan.run[0]);
    }
    munmap(pages, 300 * page);
    munmap(file, 8 * page);
    close(fd);
}

static void test_pages_of_a_file(void **state) {
    (void)state;
    int fd;
    unsigned known;
    char *file = map_file(8, 8 * page, MAP_PRIVATE, &fd);
    (void)madvise(file, 8 * page, MADV_RANDOM); /* no fault-around */
    poke(file + 2 * page, 'x');
    struct runs runs =
        look(file, 8, VMARENA_PAGE_RESIDENT | VMARENA_PAGE_DIRTY | VMARENA_PAGE_FILE | VMARENA_PAGE_CACHED, &known);
    if ((known & VMARENA_PAGE_CACHED) == 0) {
        print_message("skip: the system does not tell of the page cache\n");
        skip();
    }
    assert_run(&runs, 0, file, 0, 2, VMARENA_PAGE_CACHED);
    assert_run(&runs, 1, file, 2, 1, VMARENA_PAGE_RESIDENT | VMARENA_PAGE_DIRTY);
    assert_run(&runs, 2, file, 3, 5, VMARENA_PAGE_CACHED);
    assert_int_equal(runs.count, 3);
    munmap(file, 8 * page);
    close(fd);
}

static void look_in_child(void *arg) {
    char *pages = arg;
    unsigned known;
    struct runs runs = {.count = 0};
    pages[page] = 'c'; /* copies this page */
    CHECK(vmarena_residency(0, (uintptr_t)pages, 3 * page, 0, &known, add_run, &runs) == 0);
    unsigned alone = VMARENA_PAGE_RESIDENT | VMARENA_PAGE_DIRTY;
    CHECK(runs.count == 3);
    CHECK(runs.run[0].state == (alone | VMARENA_PAGE_SHARED) && runs.run[0].start == (uintptr_t)pages);
    CHECK(runs.run[1].state == alone && runs.run[1].start == (uintptr_t)pages + page);
    CHECK(runs.run[2].state == (alone | VMARENA_PAGE_SHARED));
}

static void test_pages_shared_by_fork(void **state) {
    (void)state;
    char *pages = small_pages(3);
    memset(pages, 'p', 3 * page);
    assert_runs(look_in_child, pages);
    munmap(pages, 3 * page);
}

static void test_frames(void **state) {
    (void)state;
    char *pages = small_pages(2);
    uint64_t frame = 1, again, other;
    int pipes[2];
    poke(pages, 'p');
    int error = vmarena_frame(pages, &frame);
    if (error == -EPERM) {
        print_message("skip: the kernel hides physical pages without CAP_SYS_ADMIN\n");
        skip();
    }
    assert_int_equal(error, 0);
    assert_int_not_equal(frame, 0);
    assert_int_equal(vmarena_frame(pages + 1, &again), 0);
    assert_int_equal(again, frame);
    assert_int_equal(vmarena_frame(pages + page, &again), 0);
    assert_int_equal(again, 0); /* not touched */
    assert_int_equal(pipe(pipes), 0);
    if (fork() == 0) {
        uint64_t frames[2] = {0, 0};
        (void)vmarena_frame(pages, &frames[0]);
        poke(pages, 'c');
        (void)vmarena_frame(pages, &frames[1]);
        _exit(write(pipes[1], frames, sizeof frames) == sizeof frames ? 0 : 1);
    }
    uint64_t frames[2];
    assert_int_equal(read(pipes[0], frames, sizeof frames), sizeof frames);
    assert_int_equal(vmarena_frame(pages, &other), 0);
    assert_int_equal(frames[0], frame);     /* one frame after the fork */
    assert_int_not_equal(frames[1], frame); /* two after the write */
    assert_int_equal(other, frame);
    assert_true(wait(NULL) > 0);
    close(pipes[0]);
    close(pipes[1]);
    munmap(pages, 2 * page);
}

static int stop_at_once(const struct vmarena_pages *pages, void *arg) {
    (void)pages;
    ++*(unsigned *)arg;
    return -77;
}

static int stop_at_mapping(const struct vmarena_mapping *mapping, void *arg) {
    (void)mapping;
    ++*(unsigned *)arg;
    return 5;
}

static void test_callbacks_end_the_walk(void **state) {
    (void)state;
    unsigned calls = 0;
    assert_int_equal(vmarena_residency(0, (uintptr_t)&calls, 1, 0, NULL, stop_at_once, &calls), -77);
    assert_int_equal(calls, 1);
    assert_int_equal(vmarena_maps(0, stop_at_mapping, &calls), 5);
    assert_int_equal(calls, 2);
}

/* The walk over a tebibyte that is only reserved reports nothing but the pages accessed. */
static void test_a_large_reservation(void **state) {
    (void)state;
    struct runs runs = {.count = 0};
    struct vmarena_caps caps;
    size_t size = (size_t)1 << 40;
    assert_int_equal(vmarena_caps(&caps), 0);
    char *pages = sizeof size < 8
                      ? MAP_FAILED
                      : mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (pages == MAP_FAILED || !caps.pagemap_scan) {
        if (pages != MAP_FAILED) munmap(pages, size);
        print_message("skip: no terabyte of address space, or no PAGEMAP_SCAN\n");
        skip();
    }
    (void)madvise(pages, size, MADV_NOHUGEPAGE);
    pages[size / 2] = 1;
    assert_int_equal(vmarena_residency(0, (uintptr_t)pages, size, VMARENA_PAGE_RESIDENT, NULL, add_run, &runs), 0);
    assert_int_equal(runs.count, 1);
    assert_run(&runs, 0, pages, size / 2 / page, 1, VMARENA_PAGE_RESIDENT);
    munmap(pages, size);
}

static int count_bytes(const struct vmarena_pages *pages, void *arg) {
    *(uint64_t *)arg += pages->end - pages->start;
    return 0;
}

/* From 0 to the largest address, although user space ends below it. */
static void test_the_whole_address_space(void **state) {
    (void)state;
    if (UNDER_SANITIZER) {
        print_message("skip: a sanitizer's shadow memory comes and goes while it is counted\n");
        skip();
    }
    uint64_t bytes = 0, again = 0;
    struct vmarena_totals totals;
    assert_int_equal(vmarena_totals(0, &totals), 0);
    assert_int_equal(vmarena_residency(0, 0, UINT64_MAX - page, VMARENA_PAGE_RESIDENT, NULL, count_bytes, &bytes), 0);
    assert_true(bytes + 64 * page >= totals.rss && bytes <= totals.rss + 64 * page);
    /* Everything above the program, including the stack. */
    uint64_t start = (uintptr_t)&again & ~(uint64_t)(page - 1);
    assert_int_equal(
        vmarena_residency(0, start, UINT64_MAX - page - start, VMARENA_PAGE_RESIDENT, NULL, count_bytes, &again), 0);
    assert_true(again > 0 && again < bytes);
    /* Word by word, which would take for ever if it read the words of what is not mapped. */
    uint64_t by_words = 0;
    struct vmarena_prim_page_walk walk = {.end = (uint64_t)1 << 47, .wanted = VMARENA_PAGE_RESIDENT, .by_words = true};
    assert_int_equal(vmarena_prim_walk_pages(0, &walk, count_bytes, &by_words), 0);
    assert_true(by_words + 64 * page >= bytes && by_words <= bytes + 64 * page);
}

/* ---- totals and counts ------------------------------------------------------------------------------------------- */

static void test_totals(void **state) {
    (void)state;
    struct vmarena_totals before, after;
    size_t count = 512;
    char *pages = small_pages(count);
    assert_int_equal(vmarena_totals(0, &before), 0);
    memset(pages, 1, count * page);
    assert_int_equal(vmarena_totals(getpid(), &after), 0);
    assert_true(after.rss - before.rss >= count * page);
    /* And little else; but a sanitizer has shadow memory for each page. */
    assert_true(UNDER_SANITIZER || after.rss - before.rss < (count + 64) * page);
    assert_true(after.private_dirty - before.private_dirty >= count * page);
    assert_true(after.anonymous - before.anonymous >= count * page);
    assert_true(after.pss >= after.private_dirty);
    munmap(pages, count * page);
}

/* A sanitizer's shadow memory faults, too, and TSan has a thread of its own. */
#define assert_faults(found, expected) assert_in_range((found), (expected), UNDER_SANITIZER ? UINT64_MAX : (expected))

static void test_fault_counts(void **state) {
    (void)state;
    uint64_t before, after, major, thread_before, thread_after, other_before, other_after;
    size_t count = 256;
    char *pages = small_pages(count);
    /* Two rounds, so that in the one that counts only these pages are accessed for the first time. */
    for (int round = 0; round < 2; round++) {
        assert_int_equal(madvise(pages, count * page, MADV_DONTNEED), 0);
        assert_int_equal(vmarena_process_fault_counts(getpid(), &other_before, NULL), 0);
        assert_int_equal(vmarena_fault_counts(&before, &major), 0);
        assert_int_equal(vmarena_thread_fault_counts(&thread_before, NULL), 0);
        for (size_t i = 0; i < count; i++) poke(pages + i * page, 1);
        assert_int_equal(vmarena_thread_fault_counts(&thread_after, NULL), 0);
        assert_int_equal(vmarena_fault_counts(&after, NULL), 0);
        assert_int_equal(vmarena_process_fault_counts(0, &other_after, NULL), 0);
    }
    assert_faults(thread_after - thread_before, count);
    assert_faults(after - before, count);
    assert_faults(other_after - other_before, count);
    munmap(pages, count * page);
}

static void test_counters(void **state) {
    (void)state;
    struct vmarena_counters *counters;
    struct vmarena_counts before, after;
    size_t count = 256;
    char *pages = small_pages(count);
    int error = vmarena_counters_open(&counters, 0, 0);
    if (error == -EACCES) {
        assert_string_equal(vmarena_explain(), "vmarena_counters_open: no counter is allowed; see "
                                               "/proc/sys/kernel/perf_event_paranoid");
        print_message("skip: perf_event_open is not allowed\n");
        skip();
    }
    assert_int_equal(error, 0);
    for (int round = 0; round < 2; round++) {
        assert_int_equal(madvise(pages, count * page, MADV_DONTNEED), 0);
        assert_int_equal(vmarena_counters_read(counters, &before), 0);
        for (size_t i = 0; i < count; i++) poke(pages + i * page, 1);
        assert_int_equal(vmarena_counters_read(counters, &after), 0);
    }
    assert_true(after.user_only[VMARENA_COUNT_DTLB_LOAD_MISSES] && after.user_only[VMARENA_COUNT_CYCLES]);
    if (geteuid() == 0) assert_false(after.user_only[VMARENA_COUNT_PAGE_FAULTS]);
    static const enum vmarena_counter faults[] = {VMARENA_COUNT_PAGE_FAULTS, VMARENA_COUNT_MINOR_FAULTS};
    for (size_t i = 0; i < 2; i++)
        if (after.error[faults[i]] == 0) assert_faults(after.value[faults[i]] - before.value[faults[i]], count);
    for (unsigned i = 0; i < VMARENA_COUNTERS; i++) {
        assert_true(after.error[i] <= 0);
        if (after.error[i] != 0)
            print_message("%s: %s\n", vmarena_counter_name((enum vmarena_counter)i), strerror(-after.error[i]));
    }
    vmarena_counters_close(counters);
    vmarena_counters_close(NULL);
    assert_null(vmarena_counter_name(VMARENA_COUNTERS));
    munmap(pages, count * page);
}

/* user_only says when a process may count only in user mode: faults in read(2) are not counted. */
static void count_as_nobody(void *arg) {
    struct vmarena_counters *counters;
    struct vmarena_counts before, after;
    size_t count = 256;
    char *pages = arg;
    int zero = open("/dev/zero", O_RDONLY | O_CLOEXEC);
    CHECK(setgid(65534) == 0 && setuid(65534) == 0);
    if (vmarena_counters_open(&counters, 0, 0) != 0) _exit(77);
    CHECK(vmarena_counters_read(counters, &before) == 0);
    if (before.error[VMARENA_COUNT_PAGE_FAULTS] != 0) _exit(77);
    /* A raw call: sanitizers intercept read(2) and access the memory in user mode. */
    CHECK(syscall(SYS_read, zero, pages, count * page) == (long)(count * page));
    CHECK(vmarena_counters_read(counters, &after) == 0);
    uint64_t faults = after.value[VMARENA_COUNT_PAGE_FAULTS] - before.value[VMARENA_COUNT_PAGE_FAULTS];
    CHECK(after.user_only[VMARENA_COUNT_PAGE_FAULTS] ? faults < count / 2 : faults >= count);
    _exit(after.user_only[VMARENA_COUNT_PAGE_FAULTS] ? 0 : 78);
}

static void test_counters_of_user_mode(void **state) {
    (void)state;
    char *pages = small_pages(256);
    int status = geteuid() == 0 ? run_child(count_as_nobody, pages) : 77 << 8;
    munmap(pages, 256 * page);
    if (status == 77 << 8 || status == 78 << 8) {
        print_message("skip: not root, or others may count nothing or everything (kernel.perf_event_paranoid)\n");
        skip();
    }
    assert_status(status, 0);
}

/* ---- errors ------------------------------------------------------------------------------------------------------ */

static pid_t ended_process(void) {
    int status;
    pid_t child = fork();
    if (child == 0) _exit(0);
    assert_int_equal(waitpid(child, &status, 0), child);
    return child;
}

static void test_no_such_process(void **state) {
    (void)state;
    struct text text = {NULL, 0, 0};
    struct vmarena_mapping mapping;
    struct vmarena_totals totals;
    struct vmarena_counters *counters;
    struct runs runs = {.count = 0};
    pid_t gone = ended_process();
    char expected[80];
    assert_int_equal(vmarena_maps(gone, write_line, &text), -ESRCH);
    (void)snprintf(expected, sizeof expected, "vmarena_maps: there is no process %d", (int)gone);
    assert_string_equal(vmarena_explain(), expected);
    assert_int_equal(vmarena_maps(-1, write_line, &text), -ESRCH);
    assert_int_equal(vmarena_mapping_at(gone, page, &mapping, NULL, 0), -ESRCH);
    assert_int_equal(vmarena_residency(gone, 0, page, 0, NULL, add_run, &runs), -ESRCH);
    assert_int_equal(vmarena_totals(gone, &totals), -ESRCH);
    assert_int_equal(vmarena_process_fault_counts(gone, NULL, NULL), -ESRCH);
    int error = vmarena_counters_open(&counters, gone, 0);
    assert_true(error == -ESRCH || error == -EACCES);
    assert_null(text.bytes);
}

/* ---- processes that end during a walk, and those without memory ------------------------------------ */

struct victim {
    pid_t pid;
    bool reap;
    unsigned calls;
};

static void kill_victim(struct victim *victim) {
    siginfo_t info;
    if (victim->calls++ != 0) return;
    assert_int_equal(kill(victim->pid, SIGKILL), 0);
    assert_int_equal(waitid(P_PID, (id_t)victim->pid, &info, WEXITED | (victim->reap ? 0 : WNOWAIT)), 0);
}

static int kill_at_mapping(const struct vmarena_mapping *mapping, void *arg) {
    (void)mapping;
    kill_victim(arg);
    return 0;
}

static int kill_at_pages(const struct vmarena_pages *pages, void *arg) {
    (void)pages;
    kill_victim(arg);
    return 0;
}

static void many_runs(void) {
    char *pages = mmap(NULL, 30000 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    CHECK(pages != MAP_FAILED);
    (void)madvise(pages, 30000 * page, MADV_NOHUGEPAGE);
    for (size_t i = 0; i < 30000; i += 2) pages[i * page] = 1;
    kill(getpid(), SIGSTOP);
}

/* The result is an error, so that nobody takes the part seen for the whole. */
static void test_a_process_that_ends_meanwhile(void **state) {
    (void)state;
    for (int reap = 0; reap < 2; reap++) {
        struct victim victim = {.pid = fork_into(many_mappings), .reap = reap};
        wait_until_stopped(victim.pid);
        assert_int_equal(vmarena_maps(victim.pid, kill_at_mapping, &victim), -ESRCH);
        assert_in_range(victim.calls, 1, 29999);
        if (!reap) assert_int_equal(waitpid(victim.pid, NULL, 0), victim.pid);
        victim = (struct victim){.pid = fork_into(many_runs), .reap = reap};
        wait_until_stopped(victim.pid);
        assert_int_equal(
            vmarena_residency(victim.pid, 0, (uint64_t)1 << 47, VMARENA_PAGE_RESIDENT, NULL, kill_at_pages, &victim),
            -ESRCH);
        assert_in_range(victim.calls, 1, 14999);
        if (!reap) assert_int_equal(waitpid(victim.pid, NULL, 0), victim.pid);
    }
}

static void assert_no_memory(pid_t pid) {
    struct text text = {NULL, 0, 0};
    struct runs runs = {.count = 0};
    struct vmarena_mapping mapping;
    struct vmarena_totals totals, none_at_all = {.rss = 0};
    memset(&totals, 1, sizeof totals);
    assert_int_equal(vmarena_maps(pid, write_line, &text), 0);
    assert_int_equal(text.length, 0);
    assert_int_equal(vmarena_mapping_at(pid, page, &mapping, NULL, 0), -ENOENT);
    assert_int_equal(vmarena_residency(pid, 0, (uint64_t)1 << 47, 0, NULL, add_run, &runs), 0);
    assert_int_equal(runs.count, 0);
    assert_int_equal(vmarena_totals(pid, &totals), 0);
    assert_memory_equal(&totals, &none_at_all, sizeof totals);
    assert_int_equal(vmarena_process_fault_counts(pid, NULL, NULL), 0);
}

/* A process that has ended and was not waited for exists, and has no memory. */
static void test_a_zombie(void **state) {
    (void)state;
    siginfo_t info;
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) _exit(0);
    assert_int_equal(waitid(P_PID, (id_t)child, &info, WEXITED | WNOWAIT), 0);
    assert_no_memory(child);
    assert_int_equal(waitpid(child, NULL, 0), child);
}

static void test_a_kernel_thread(void **state) {
    (void)state;
    char name[16] = "";
    int fd = open("/proc/2/comm", O_RDONLY | O_CLOEXEC);
    if (fd < 0 || read(fd, name, sizeof name - 1) <= 0 || strcmp(name, "kthreadd\n") != 0 || geteuid() != 0) {
        if (fd >= 0) close(fd);
        print_message("skip: no thread of the kernel is to be seen here, or this is not root\n");
        skip();
    }
    close(fd);
    assert_no_memory(2);
}

/* /proc mounted with hidepid=2: the process exists, and /proc says that it does not. */
static void look_at_hidden(void *arg) {
    pid_t other = *(pid_t *)arg;
    struct text text = {NULL, 0, 0};
    struct vmarena_mapping mapping;
    if (unshare(CLONE_NEWNS) != 0 || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0 ||
        mount("proc", "/proc", "proc", 0, "hidepid=2") != 0)
        _exit(77);
    CHECK(setgid(65534) == 0 && setuid(65534) == 0);
    CHECK(access("/proc/1", F_OK) != 0);
    CHECK(vmarena_maps(other, write_line, &text) == -EPERM);
    CHECK(vmarena_mapping_at(other, page, &mapping, NULL, 0) == -EPERM);
    CHECK(vmarena_process_fault_counts(other, NULL, NULL) == -EPERM);
    CHECK(vmarena_maps(0x3fffffff, write_line, &text) == -ESRCH);
    CHECK(vmarena_maps(0, write_line, &text) == 0);
}

static void test_hidden_processes(void **state) {
    (void)state;
    pid_t self = getpid();
    int status = geteuid() == 0 ? run_child(look_at_hidden, &self) : 77 << 8;
    if (status == 77 << 8) {
        print_message("skip: not allowed to mount another /proc\n");
        skip();
    }
    assert_status(status, 0);
}

static void look_as_nobody(void *arg) {
    pid_t other = *(pid_t *)arg;
    struct text text = {NULL, 0, 0};
    struct vmarena_totals totals;
    struct runs runs = {.count = 0};
    uint64_t frame = 1;
    CHECK(setgid(65534) == 0 && setuid(65534) == 0);
    CHECK(vmarena_maps(other, write_line, &text) == -EPERM);
    CHECK(strstr(vmarena_explain(), "vmarena_maps: looking at process ") == vmarena_explain());
    CHECK(vmarena_totals(other, &totals) == -EPERM);
    CHECK(vmarena_residency(other, 0, page, 0, NULL, add_run, &runs) == -EPERM);
    CHECK(vmarena_frame(&frame, &frame) == -EPERM);
}

static void test_no_permission(void **state) {
    (void)state;
    pid_t self = getpid();
    if (geteuid() != 0) {
        print_message("skip: only root can become somebody else\n");
        skip();
    }
    assert_runs(look_as_nobody, &self);
}

static void test_wrong_arguments(void **state) {
    (void)state;
    struct runs runs = {.count = 0};
    struct vmarena_mapping mapping;
    assert_int_equal(vmarena_maps(0, NULL, NULL), -EINVAL);
    assert_int_equal(vmarena_mapping_at(0, 0, NULL, NULL, 0), -EINVAL);
    assert_int_equal(vmarena_mapping_at(0, 0, &mapping, NULL, 1), -EINVAL);
    assert_int_equal(vmarena_residency(0, 0, page, 0, NULL, NULL, NULL), -EINVAL);
    assert_int_equal(vmarena_residency(0, 0, page, 1024, NULL, add_run, &runs), -EINVAL);
    assert_int_equal(vmarena_residency(0, page, UINT64_MAX, 0, NULL, add_run, &runs), -EINVAL);
    assert_int_equal(vmarena_residency(0, UINT64_MAX, 0, 0, NULL, add_run, &runs), -EINVAL);
    assert_int_equal(vmarena_totals(0, NULL), -EINVAL);
    assert_int_equal(vmarena_frame(none(), NULL), -EINVAL);
    assert_int_equal(vmarena_counters_open(NULL, 0, 0), -EINVAL);
    assert_int_equal(vmarena_counters_open(&(struct vmarena_counters *){NULL}, 0, 4), -EINVAL);
    assert_int_equal(vmarena_counters_read(NULL, NULL), -EINVAL);
    assert_int_equal(runs.count, 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_maps_of_twenty_processes),
        cmocka_unit_test(test_names_with_newlines),
        cmocka_unit_test(test_a_path_without_end),
        cmocka_unit_test(test_one_mapping_by_address),
        cmocka_unit_test(test_owners),
        cmocka_unit_test(test_owners_in_another_process),
        cmocka_unit_test(test_states_of_pages),
        cmocka_unit_test(test_huge_pages),
        cmocka_unit_test(test_swapped_pages),
        cmocka_unit_test(test_scan_and_words_agree),
        cmocka_unit_test(test_pages_of_a_file),
        cmocka_unit_test(test_pages_shared_by_fork),
        cmocka_unit_test(test_frames),
        cmocka_unit_test(test_callbacks_end_the_walk),
        cmocka_unit_test(test_a_large_reservation),
        cmocka_unit_test(test_the_whole_address_space),
        cmocka_unit_test(test_totals),
        cmocka_unit_test(test_fault_counts),
        cmocka_unit_test(test_counters),
        cmocka_unit_test(test_counters_of_user_mode),
        cmocka_unit_test(test_no_such_process),
        cmocka_unit_test(test_a_process_that_ends_meanwhile),
        cmocka_unit_test(test_a_zombie),
        cmocka_unit_test(test_a_kernel_thread),
        cmocka_unit_test(test_hidden_processes),
        cmocka_unit_test(test_no_permission),
        cmocka_unit_test(test_wrong_arguments),
    };
    return cmocka_run_group_tests_name("inspect", tests, begin, NULL);
}
