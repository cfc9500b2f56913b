/* SPDX-License-Identifier: MIT */
/*
 * Every system call that a snapshot or a restore makes is refused once, with several errors. A call of the library that
 * fails must leave the arena as it was: contents, protection of ranges, mappings, and what later snapshots save. One that
 * succeeds all the same must have saved the right bytes.
 */
#include <stdarg.h>
#include <stddef.h>

#include "vmarena.h"

#include <cmocka.h>

#include <setjmp.h>

#include "support.h"

static size_t page;

/* ---- refused calls --------------------------------------------------------------------------------------------------------- */

static unsigned calls, refused; /* calls since the operation began; the number of the one that fails, from 1 */
static int refusal;             /* 0: none */
static bool counts;

static bool refuses(void) {
    if (!counts || ++calls != refused || refusal == 0) return false;
    errno = refusal;
    return true;
}

#define WRAP(type, name, parameters, arguments, failed)                                                                \
    type __real_##name parameters;                                                                                     \
    type __wrap_##name parameters;                                                                                     \
    type __wrap_##name parameters { return refuses() ? failed : __real_##name arguments; }

WRAP(int, mprotect, (void *at, size_t size, int prot), (at, size, prot), -1)
WRAP(int, madvise, (void *at, size_t size, int advice), (at, size, advice), -1)
WRAP(void *, mremap, (void *at, size_t size, size_t new_size, int flags, void *to), (at, size, new_size, flags, to),
     MAP_FAILED)
WRAP(int, memfd_create, (const char *name, unsigned flags), (name, flags), -1)
WRAP(int, ioctl, (int fd, unsigned long request, void *arg), (fd, request, arg), -1)

/* The C library's declarations may rename these for files beyond 2 GiB; which name is called depends on the system. */
#define WRAP_FILE_CALLS(suffix)                                                                                        \
    WRAP(void *, mmap##suffix, (void *at, size_t size, int prot, int flags, int fd, off_t offset),                     \
         (at, size, prot, flags, fd, offset), MAP_FAILED)                                                              \
    WRAP(ssize_t, pread##suffix, (int fd, void *to, size_t size, off_t offset), (fd, to, size, offset), -1)            \
    WRAP(int, ftruncate##suffix, (int fd, off_t size), (fd, size), -1)                                                 \
    WRAP(int, open##suffix, (const char *path, int flags, mode_t mode), (path, flags, mode), -1)
WRAP_FILE_CALLS()
#ifdef __GLIBC__
WRAP_FILE_CALLS(64)
#endif

static void begin_counting(unsigned which, int error) {
    calls = 0;
    refused = which;
    refusal = error;
    counts = true;
}
static void end_counting(void) { counts = false; }

/* ---- arenas ------------------------------------------------------------------------------------------------------------------ */

enum { PAGES = 40, PART = 12, PART_PAGES = 3 }; /* PART...: a range with a protection of its own */

enum past { FRESH, WRITTEN_SINCE, CLONED_AND_WRITTEN };

struct kind {
    const char *name;
    enum vmarena_tracking way;
    enum vmarena_commit_policy policy;
    bool has_part;
    enum past past;
};

static const struct kind kinds[] = {
    {"file", VMARENA_TRACK_FILE, VMARENA_COMMIT_NORESERVE, false, FRESH},
    {"file by steps", VMARENA_TRACK_FILE, VMARENA_COMMIT_PROTECT, false, FRESH},
    {"file with a range", VMARENA_TRACK_FILE, VMARENA_COMMIT_NORESERVE, true, FRESH},
    {"file by steps with a range", VMARENA_TRACK_FILE, VMARENA_COMMIT_PROTECT, true, FRESH},
    {"file, second", VMARENA_TRACK_FILE, VMARENA_COMMIT_NORESERVE, false, WRITTEN_SINCE},
    {"file with a range, second", VMARENA_TRACK_FILE, VMARENA_COMMIT_NORESERVE, true, WRITTEN_SINCE},
    {"file, copied", VMARENA_TRACK_FILE, VMARENA_COMMIT_NORESERVE, false, CLONED_AND_WRITTEN},
    {"file with a range, copied", VMARENA_TRACK_FILE, VMARENA_COMMIT_PROTECT, true, CLONED_AND_WRITTEN},
    {"scan", VMARENA_TRACK_SCAN, VMARENA_COMMIT_NORESERVE, false, FRESH},
    {"scan, second", VMARENA_TRACK_SCAN, VMARENA_COMMIT_NORESERVE, false, WRITTEN_SINCE},
    {"protect", VMARENA_TRACK_PROTECT, VMARENA_COMMIT_NORESERVE, false, FRESH},
    {"protect, second", VMARENA_TRACK_PROTECT, VMARENA_COMMIT_PROTECT, false, WRITTEN_SINCE},
    {"compare", VMARENA_TRACK_COMPARE, VMARENA_COMMIT_NORESERVE, false, FRESH},
    {"any", VMARENA_TRACK_AUTO, VMARENA_COMMIT_NORESERVE, false, FRESH},
};
enum { KINDS = sizeof kinds / sizeof kinds[0] };
static const int errors[] = {ENOMEM, EIO, EFAULT};
enum { ERRORS = sizeof errors / sizeof errors[0] };

struct subject {
    const struct kind *kind;
    struct vmarena *arena, *clone;
    unsigned char *bytes;
    struct vmarena_snapshot *earlier;
};

#define fail_at(subject, what)                                                                                         \
    fail_msg("%s, call %u refused with error %d: %s (%s)", (subject)->kind->name, refused, refusal, what,              \
             vmarena_explain())

/* Every third page stays untouched, and so zero. */
static void fill(const struct subject *subject, unsigned seed) {
    for (size_t i = 0; i < PAGES; i++) {
        bool in_part = subject->kind->has_part && i >= PART && i < PART + PART_PAGES;
        if (i % 3 != 0 && !in_part) memset(subject->bytes + i * page, (int)(seed + i), page);
    }
}

static bool is_filled(const struct subject *subject, unsigned seed) {
    for (size_t at = 0; at < PAGES * page; at++) {
        size_t i = at / page;
        bool in_part = subject->kind->has_part && i >= PART && i < PART + PART_PAGES;
        unsigned char expected = i % 3 == 0 ? 0 : (unsigned char)((in_part ? 1 : seed) + i);
        if (subject->bytes[at] != expected) return false;
    }
    return true;
}

static bool has_its_protection(const struct subject *subject) {
    struct vmarena_fault fault;
    for (size_t i = 0; i < PAGES; i++) {
        bool in_part = subject->kind->has_part && i >= PART && i < PART + PART_PAGES;
        unsigned char *byte = subject->bytes + i * page, before = *byte;
        int faulted = vmarena_try(poke_body, byte, &fault);
        if (faulted == 0) *byte = before;
        if ((faulted != 0) != in_part) return false;
    }
    return true;
}

static struct subject make(const struct kind *kind) {
    struct subject subject = {.kind = kind};
    struct vmarena_options options = {.reserve = 128 * page,
                                      .commit = 4 * page,
                                      .commit_policy = kind->policy,
                                      .huge = VMARENA_HUGE_NEVER,
                                      .flags = kind->way == VMARENA_TRACK_FILE ? VMARENA_MEMFD : 0};
    assert_int_equal(vmarena_create(&subject.arena, &options), 0);
    subject.bytes = vmarena_alloc(subject.arena, PAGES * page, page);
    assert_non_null(subject.bytes);
    for (size_t i = 0; i < PAGES; i++)
        if (i % 3 != 0) memset(subject.bytes + i * page, (int)(1 + i), page);
    if (kind->has_part)
        assert_int_equal(
            vmarena_protect_range(subject.arena, subject.bytes + PART * page, PART_PAGES * page, VMARENA_READ), 0);
    if (kind->past == FRESH) return subject;
    assert_int_equal(vmarena_snapshot(&subject.earlier, subject.arena, kind->way), 0);
    fill(&subject, 2);
    if (kind->past == CLONED_AND_WRITTEN) {
        assert_int_equal(vmarena_clone(&subject.clone, subject.earlier), 0);
        return subject;
    }
    if (kind->way == VMARENA_TRACK_FILE) {
        vmarena_snapshot_free(subject.earlier);
        subject.earlier = NULL;
    }
    return subject;
}

static unsigned seed_of(const struct kind *kind) { return kind->past == FRESH ? 1 : 2; }

static void end(struct subject *subject) {
    vmarena_snapshot_free(subject->earlier);
    vmarena_destroy(subject->clone);
    vmarena_destroy(subject->arena);
}

static bool is_possible(const struct kind *kind) {
    struct vmarena_snapshot *snapshot;
    if (kind->way == VMARENA_TRACK_FILE && !memory_files_work()) {
        print_message("not here: %s: this system has no memory files (memfd_create(2))\n", kind->name);
        return false;
    }
    struct subject subject = {.kind = kind};
    struct kind fresh = *kind;
    fresh.past = FRESH;
    subject = make(&fresh);
    int error = vmarena_snapshot(&snapshot, subject.arena, kind->way);
    if (error == 0) vmarena_snapshot_free(snapshot);
    else print_message("not here: %s: %s\n", kind->name, vmarena_explain());
    end(&subject);
    return error == 0;
}

/* ---- snapshots --------------------------------------------------------------------------------------------------------------- */

/* The snapshot brings back what there was when it was taken, and no protection but its own. */
static void check_snapshot(struct subject *subject, struct vmarena_snapshot *snapshot, unsigned seed) {
    if (!is_filled(subject, seed)) fail_at(subject, "taking a snapshot changed bytes");
    if (!has_its_protection(subject)) fail_at(subject, "taking a snapshot changed protection");
    fill(subject, 7);
    if (vmarena_restore(subject->arena, snapshot) != 0) fail_at(subject, "restore");
    if (!is_filled(subject, seed)) fail_at(subject, "restored other bytes");
    if (!has_its_protection(subject)) fail_at(subject, "restoring changed protection");
}

static void check_after_failure(struct subject *subject, size_t maps) {
    struct vmarena_snapshot *snapshot;
    if (!is_filled(subject, seed_of(subject->kind))) fail_at(subject, "a failed snapshot changed bytes");
    if (!has_its_protection(subject)) fail_at(subject, "a failed snapshot changed protection");
    if (!UNDER_TSAN && subject->kind->way == VMARENA_TRACK_FILE && count_maps() > maps)
        fail_at(subject, "a failed snapshot left a mapping behind");
    fill(subject, 5); /* what is written now must be in the next snapshot */
    if (vmarena_snapshot(&snapshot, subject->arena, subject->kind->way) != 0) fail_at(subject, "the next snapshot");
    check_snapshot(subject, snapshot, 5);
    vmarena_snapshot_free(snapshot);
}

/* False: the operation makes fewer calls than that. */
static bool refuse_in_snapshot(const struct kind *kind, unsigned which, int error) {
    struct vmarena_snapshot *snapshot;
    struct subject subject = make(kind);
    size_t maps = count_maps();
    begin_counting(which, error);
    int result = vmarena_snapshot(&snapshot, subject.arena, kind->way);
    end_counting();
    bool reached = calls >= which;
    if (result == 0) {
        check_snapshot(&subject, snapshot, seed_of(kind));
        vmarena_snapshot_free(snapshot);
    } else check_after_failure(&subject, maps);
    end(&subject);
    return reached;
}

static void test_every_call_of_a_snapshot_refused(void **state) {
    (void)state;
    skip_where_annotated();
    assert_int_equal(vmarena_fault_reassert(), 0);
    for (size_t i = 0; i < KINDS; i++) {
        if (!is_possible(&kinds[i])) continue;
        for (size_t j = 0; j < ERRORS; j++)
            for (unsigned which = 1; refuse_in_snapshot(&kinds[i], which, errors[j]); which++) {}
    }
}

/* ---- restoring ---------------------------------------------------------------------------------------------------------------- */

static bool refuse_in_restore(const struct kind *kind, unsigned which, int error) {
    struct vmarena_snapshot *snapshot;
    struct subject subject = make(kind);
    assert_int_equal(vmarena_snapshot(&snapshot, subject.arena, kind->way), 0);
    fill(&subject, 7);
    begin_counting(which, error);
    int result = vmarena_restore(subject.arena, snapshot);
    end_counting();
    bool reached = calls >= which;
    if (result != 0 && vmarena_restore(subject.arena, snapshot) != 0) fail_at(&subject, "restoring again");
    check_snapshot(&subject, snapshot, seed_of(kind));
    if (subject.earlier != NULL) { /* whose file is another one */
        if (vmarena_restore(subject.arena, subject.earlier) != 0) fail_at(&subject, "restoring the earlier one");
        if (!is_filled(&subject, 1)) fail_at(&subject, "other bytes of the earlier one");
    }
    vmarena_snapshot_free(snapshot);
    end(&subject);
    return reached;
}

static void test_every_call_of_a_restore_refused(void **state) {
    (void)state;
    skip_where_annotated();
    assert_int_equal(vmarena_fault_reassert(), 0);
    for (size_t i = 0; i < KINDS; i++) {
        if (!is_possible(&kinds[i])) continue;
        for (size_t j = 0; j < ERRORS; j++)
            for (unsigned which = 1; refuse_in_restore(&kinds[i], which, errors[j]); which++) {}
    }
}

/* A sanitizer's own memory exceeds a limit that is set here. */
#define skip_under_limits()                                                                                            \
    do {                                                                                                               \
        if (UNDER_SANITIZER) {                                                                                         \
            print_message("skip: a sanitizer needs more than the limit\n");                                            \
            skip();                                                                                                    \
        }                                                                                                              \
    } while (0)

/* ---- limits of the process ------------------------------------------------------------------------------------------------------ */

/* Private writable memory counts as data, shared memory does not. */
static void snap_beyond_the_data_limit(void *arg) {
    const struct kind *kind = arg;
    struct vmarena_snapshot *snapshot;
    CHECK(vmarena_fault_reassert() == 0);
    struct subject warm = make(kind), subject = make(kind);
    CHECK(vmarena_snapshot(&snapshot, warm.arena, kind->way) == 0);
    size_t maps = count_maps();
    CHECK(setrlimit(RLIMIT_DATA, &(struct rlimit){page, RLIM_INFINITY}) == 0);
    for (int i = 0; i < 5; i++) CHECK(vmarena_snapshot(&snapshot, subject.arena, kind->way) == -ENOMEM);
    CHECK(setrlimit(RLIMIT_DATA, &(struct rlimit){RLIM_INFINITY, RLIM_INFINITY}) == 0);
    check_after_failure(&subject, maps);
}

static void test_data_limit(void **state) {
    (void)state;
    skip_under_limits();
    for (size_t i = 0; i < 4; i++)
        if (is_possible(&kinds[i])) assert_runs(snap_beyond_the_data_limit, (void *)(uintptr_t)&kinds[i]);
}

/* RLIMIT_FSIZE is an error, not a SIGXFSZ. */
static void snap_beyond_the_file_limit(void *arg) {
    (void)arg;
    struct vmarena *none = NULL;
    struct vmarena_snapshot *snapshot;
    struct vmarena_options options = {.reserve = 128 * page, .flags = VMARENA_MEMFD};
    CHECK(vmarena_fault_reassert() == 0);
    struct subject copied = make(&kinds[6]), folded = make(&kinds[4]);
    CHECK(setrlimit(RLIMIT_FSIZE, &(struct rlimit){4 * page, RLIM_INFINITY}) == 0);
    CHECK(vmarena_create(&none, &options) == -EFBIG);
    CHECK(none == NULL);
    CHECK(strstr(vmarena_explain(), "RLIMIT_FSIZE") != NULL);
    options.reserve = 4 * page;
    CHECK(vmarena_create(&none, &options) == 0);
    vmarena_destroy(none);
    options.reserve = 0; /* the default gives way */
    CHECK(setrlimit(RLIMIT_FSIZE, &(struct rlimit){(rlim_t)2 << 20, RLIM_INFINITY}) == 0);
    CHECK(vmarena_create(&none, &options) == 0);
    vmarena_destroy(none);
    CHECK(setrlimit(RLIMIT_FSIZE, &(struct rlimit){4 * page, RLIM_INFINITY}) == 0);
    CHECK(vmarena_snapshot(&snapshot, copied.arena, VMARENA_TRACK_FILE) == -EFBIG); /* another file */
    CHECK(vmarena_snapshot(&snapshot, folded.arena, VMARENA_TRACK_FILE) == -EFBIG); /* written to its own */
    CHECK(setrlimit(RLIMIT_FSIZE, &(struct rlimit){RLIM_INFINITY, RLIM_INFINITY}) == 0);
    check_after_failure(&copied, SIZE_MAX);
    check_after_failure(&folded, SIZE_MAX);
}

static void test_file_size_limit(void **state) {
    (void)state;
    skip_without_memory_files();
    skip_under_limits();
    assert_runs(snap_beyond_the_file_limit, NULL);
}

static int begin(void **state) {
    (void)state;
    page = vmarena_page_size();
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_call_of_a_snapshot_refused),
        cmocka_unit_test(test_every_call_of_a_restore_refused),
        cmocka_unit_test(test_data_limit),
        cmocka_unit_test(test_file_size_limit),
    };
    return cmocka_run_group_tests_name("snapshot failures", tests, begin, NULL);
}
