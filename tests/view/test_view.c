/* SPDX-License-Identifier: MIT */
/* Files as memory: windows, guards, fences, and what happens when the file changes underneath. */
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>

#include "vmarena.h"

#include <cmocka.h>

#include <sched.h>
#include <setjmp.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "prim/prim.h"
#include "seccomp.h"
#include "support.h"

static size_t page;
static char directory[] = "/tmp/vmarena-view-XXXXXX";
static char path[64];

/* cmocka has displaced the handlers before this test. */
static void ready(void) { assert_int_equal(vmarena_fault_reassert(), 0); }

static int make_directory(void **state) {
    (void)state;
    page = vmarena_page_size();
    if (mkdtemp(directory) == NULL) return -1;
    (void)snprintf(path, sizeof path, "%s/data", directory);
    return 0;
}

static int remove_directory(void **state) {
    (void)state;
    (void)unlink(path);
    return rmdir(directory);
}

/* The byte that belongs at an offset of the test file. */
static unsigned char byte_at(uint64_t offset) { return (unsigned char)(offset * 31 + offset / 251 + 1); }

static void write_bytes(int fd, uint64_t offset, size_t size) {
    unsigned char *bytes = malloc(size + 1);
    assert_non_null(bytes);
    for (size_t i = 0; i < size; i++) bytes[i] = byte_at(offset + i);
    assert_int_equal(pwrite(fd, bytes, size, (off_t)offset), size);
    free(bytes);
}

/* A fresh file of size bytes, open for both. */
static int make_file(size_t size) {
    (void)unlink(path);
    int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    write_bytes(fd, 0, size);
    return fd;
}

static struct vmarena_view *view_of(const struct vmarena_view_options *options) {
    struct vmarena_view *view;
    if (vmarena_view_open_with(&view, path, options) != 0) fail_msg("%s", vmarena_explain());
    return view;
}

static void assert_shows(const struct vmarena_view *view, uint64_t offset, size_t size) {
    assert_int_equal(view->offset, offset);
    assert_int_equal(view->size, size);
    const unsigned char *bytes = view->data;
    for (size_t i = 0; i < size; i++)
        if (bytes[i] != byte_at(offset + i)) fail_msg("byte %zu is %u, not %u", i, bytes[i], byte_at(offset + i));
}

static struct vmarena_fault fault_of(void *address, bool write) {
    struct vmarena_fault fault;
    memset(&fault, 0xee, sizeof fault);
    assert_int_equal(vmarena_try(write ? poke_body : peek_body, address, &fault), 1);
    return fault;
}

static void assert_view_fault(const struct vmarena_view *view, ptrdiff_t at, bool write, int signo,
                              enum vmarena_fault_kind kind, ptrdiff_t distance) {
    char *address = (char *)view->data + at;
    struct vmarena_fault fault = fault_of(address, write);
    assert_fault(&fault, .signo = signo, .address = address, .kind = kind, .object = view->data,
                 .access = write ? VMARENA_ACCESS_WRITE : VMARENA_ACCESS_READ, .object_size = view->size,
                 .distance = distance);
    assert_ptr_equal(fault.owner, view);
    uint64_t offset = at < 0 && (uint64_t)-at > view->offset ? 0 : view->offset + (uint64_t)at;
    assert_int_equal(fault.file_offset, offset);
}

/* ---- what is shown ------------------------------------------------------------------------------------------------------ */

static void test_whole_file(void **state) {
    (void)state;
    size_t sizes[] = {1, 100, page - 1, page, page + 1, 5 * page + 17};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++)
        for (int mode = VMARENA_VIEW_READ; mode <= VMARENA_VIEW_SHARED; mode++) {
            struct vmarena_view *view;
            struct vmarena_view_info info;
            close(make_file(sizes[i]));
            assert_int_equal(vmarena_view_open(&view, path, (enum vmarena_view_mode)mode), 0);
            assert_shows(view, 0, sizes[i]);
            assert_int_equal(vmarena_view_info(view, &info), 0);
            assert_int_equal(info.mode, mode);
            assert_int_equal(info.file_size, sizes[i]);
            assert_int_equal(info.capacity, sizes[i]);
            assert_int_equal(info.guard, page);
            assert_int_equal(info.tail, (page - sizes[i] % page) % page);
            assert_false(info.copied);
            vmarena_view_close(view);
            vmarena_view_close(view);
            assert_int_equal(vmarena_view_sync(view, 0, 0), -EBADF);
            assert_string_equal(vmarena_explain(), "the view was closed");
        }
}

static void test_windows(void **state) {
    (void)state;
    size_t size = 9 * page + 11;
    close(make_file(size));
    uint64_t offsets[] = {0, 1, page - 1, page, page + 1, 3 * page + 7, size - 1};
    size_t lengths[] = {1, 5, page - 1, page, page + 1, 2 * page};
    for (size_t i = 0; i < 7; i++)
        for (size_t j = 0; j < 6; j++)
            for (int fence = VMARENA_FENCE_OFF; fence <= VMARENA_FENCE_START; fence++) {
                struct vmarena_view_options options = {
                    .offset = offsets[i], .length = lengths[j], .fence = (enum vmarena_fence)fence};
                struct vmarena_view *view;
                int error = vmarena_view_open_with(&view, path, &options);
                assert_int_equal(error, offsets[i] + lengths[j] > size ? -ERANGE : 0);
                if (error != 0) continue;
                assert_shows(view, offsets[i], lengths[j]);
                vmarena_view_close(view);
            }
}

static void test_moving(void **state) {
    (void)state;
    size_t size = 20 * page + 5, length = 2 * page + 3;
    close(make_file(size));
    for (int fence = VMARENA_FENCE_OFF; fence <= VMARENA_FENCE_START; fence++) {
        struct vmarena_view_options options = {.length = length, .fence = (enum vmarena_fence)fence};
        struct vmarena_view *view = view_of(&options);
        size_t maps = count_maps();
        for (uint64_t offset = 0; offset < size; offset += 997) {
            assert_int_equal(vmarena_view_move(view, offset, 0), 0);
            assert_shows(view, offset, size - offset < length ? (size_t)(size - offset) : length);
        }
        assert_int_equal(vmarena_view_move(view, 5, 7), 0);
        assert_shows(view, 5, 7);
        assert_true(count_maps() <= maps + 1); /* a window that fills less leaves a hole before or after */
        assert_int_equal(vmarena_view_move(view, size, 0), -ERANGE);
        assert_int_equal(vmarena_view_move(view, 0, length + 1), -ERANGE);
        assert_shows(view, 5, 7);
        vmarena_view_close(view);
    }
}

static size_t total_pages(void) {
    char text[32] = "";
    int fd = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
    CHECK(fd >= 0 && read(fd, text, sizeof text - 1) > 0);
    close(fd);
    return strtoul(text, NULL, 10);
}

/* There is no room for two windows; what lies outside the one that is shown still faults. */
static void move_in_little_space(void *arg) {
    struct vmarena_view *view = arg;
    struct vmarena_fault fault;
    CHECK(vmarena_fault_reassert() == 0);
    CHECK(vmarena_try(peek_body, view->data, &fault) == 0); /* from here on the thread has its signal stack */
    rlim_t taken = total_pages() * page;
    CHECK(setrlimit(RLIMIT_AS, &(struct rlimit){taken + page, taken + page}) == 0);
    CHECK(vmarena_view_move(view, 3 * page + 1, 0) == 0 && view->size == 4 * page);
    for (size_t i = 0; i < view->size; i++) CHECK(((unsigned char *)view->data)[i] == byte_at(3 * page + 1 + i));
    CHECK(vmarena_view_move(view, 2 * page, page) == 0);
    CHECK(((unsigned char *)view->data)[0] == byte_at(2 * page));
    CHECK(vmarena_try(peek_body, (char *)view->data + page, &fault) == 1 && fault.distance == 1);
}

static void test_moving_in_little_space(void **state) {
    (void)state;
    close(make_file(20 * page));
    struct vmarena_view_options options = {.length = 4 * page};
    struct vmarena_view *view = view_of(&options);
    if (UNDER_SANITIZER) {
        print_message("skip: a sanitizer needs address space of its own\n");
        skip();
    }
    skip_under_valgrind("address space is Valgrind's own");
    assert_runs(move_in_little_space, view);
    vmarena_view_close(view);
}

/* A file larger than anybody would map: 1 TiB of holes with some bytes at its end. */
static void test_file_larger_than_its_window(void **state) {
    (void)state;
    uint64_t far = (uint64_t)1 << 40;
    int fd = make_file(page);
    if (ftruncate(fd, (off_t)far) != 0) {
        close(fd);
        print_message("skip: the file system has no files of 1 TiB\n");
        skip();
    }
    write_bytes(fd, far - 10, 20);
    close(fd);
    struct vmarena_view_options options = {.length = page};
    struct vmarena_view *view = view_of(&options);
    assert_int_equal(vmarena_view_move(view, far - 10, 0), 0);
    assert_shows(view, far - 10, 20);
    vmarena_view_close(view);
}

static void test_modes(void **state) {
    (void)state;
    int fd = make_file(2 * page);
    char byte;
    struct vmarena_view *reader, *private, *shared;
    ready();
    assert_int_equal(vmarena_view_open(&reader, path, VMARENA_VIEW_READ), 0);
    assert_int_equal(vmarena_view_open(&private, path, VMARENA_VIEW_COPY_ON_WRITE), 0);
    assert_int_equal(vmarena_view_open(&shared, path, VMARENA_VIEW_SHARED), 0);
    assert_view_fault(reader, 5, true, SIGSEGV, VMARENA_FAULT_PROTECTED, 0);
    ((char *)private->data)[5] = 'p';
    assert_int_equal(pread(fd, &byte, 1, 5), 1);
    assert_int_equal((unsigned char)byte, byte_at(5));
    ((char *)shared->data)[6] = 's';
    assert_int_equal(vmarena_view_sync(shared, 6, 1), 0);
    assert_int_equal(vmarena_view_sync(shared, 0, 0), 0);
    assert_int_equal(vmarena_view_sync(private, 0, 0), 0);
    assert_int_equal(pread(fd, &byte, 1, 6), 1);
    assert_int_equal(byte, 's');
    assert_int_equal(((char *)reader->data)[6], 's');
    assert_int_not_equal(((char *)private->data)[6], 's'); /* its page was copied before */
    vmarena_view_close(reader);
    vmarena_view_close(private);
    vmarena_view_close(shared);
    close(fd);
}

static void test_descriptor(void **state) {
    (void)state;
    int fd = make_file(3 * page);
    struct vmarena_view *view;
    struct vmarena_view_options shared = {.mode = VMARENA_VIEW_SHARED, .offset = 7, .length = page};
    assert_int_equal(vmarena_view_open_fd(&view, fd, NULL), 0);
    vmarena_view_close(view);
    assert_int_equal(vmarena_view_open_fd(&view, fd, &shared), 0);
    close(fd); /* the view has its own */
    assert_shows(view, 7, page);
    assert_int_equal(vmarena_view_move(view, page, 0), 0);
    assert_shows(view, page, page);
    ready();
    struct vmarena_fault fault = fault_of((char *)view->data - page, false);
    assert_string_equal(fault.owner_name, path); /* found through the descriptor */
    vmarena_view_close(view);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    assert_int_equal(vmarena_view_open_fd(&view, fd, &shared), -EACCES);
    close(fd);
    assert_int_equal(vmarena_view_open_fd(&view, fd, NULL), -EBADF);
    assert_int_equal(vmarena_view_open_fd(&view, -1, NULL), -EBADF);
}

/* ---- guards and fences -------------------------------------------------------------------------------------------------- */

static void test_guards(void **state) {
    (void)state;
    size_t size = 2 * page + 100;
    close(make_file(size));
    ready();
    struct vmarena_view_options options = {.guard = 3 * page, .mode = VMARENA_VIEW_SHARED};
    struct vmarena_view *view = view_of(&options);
    assert_view_fault(view, -1, false, SIGSEGV, VMARENA_FAULT_UNDERRUN, -1);
    assert_view_fault(view, -(ptrdiff_t)(3 * page), true, SIGSEGV, VMARENA_FAULT_UNDERRUN, -(ptrdiff_t)(3 * page));
    for (size_t i = size; i < 3 * page; i++) assert_int_equal(peek((char *)view->data + i), 0); /* the tail */
    assert_view_fault(view, (ptrdiff_t)(3 * page), false, SIGSEGV, VMARENA_FAULT_OVERRUN, (ptrdiff_t)(page - 100) + 1);
    assert_view_fault(view, (ptrdiff_t)(6 * page) - 1, true, SIGSEGV, VMARENA_FAULT_OVERRUN,
                      (ptrdiff_t)(4 * page - 100));
    vmarena_view_close(view);
}

static void check_fence(enum vmarena_view_mode mode, uint64_t offset, size_t length, enum vmarena_fence fence,
                        bool copied) {
    struct vmarena_view_options options = {.mode = mode, .offset = offset, .length = length, .fence = fence};
    struct vmarena_view_info info;
    struct vmarena_view *view = view_of(&options);
    assert_shows(view, offset, length);
    assert_int_equal(vmarena_view_info(view, &info), 0);
    assert_int_equal(info.copied, copied);
    if (fence == VMARENA_FENCE_END) {
        assert_int_equal(info.tail, 0);
        assert_view_fault(view, (ptrdiff_t)length, false, SIGSEGV, VMARENA_FAULT_OVERRUN, 1);
        assert_view_fault(view, (ptrdiff_t)length, true, SIGSEGV, VMARENA_FAULT_OVERRUN, 1);
    } else assert_view_fault(view, -1, false, SIGSEGV, VMARENA_FAULT_UNDERRUN, -1);
    if (mode == VMARENA_VIEW_READ) assert_view_fault(view, 0, true, SIGSEGV, VMARENA_FAULT_PROTECTED, 0);
    else poke((char *)view->data, 1);
    vmarena_view_close(view);
}

static void test_fences(void **state) {
    (void)state;
    close(make_file(8 * page));
    ready();
    for (int mode = VMARENA_VIEW_READ; mode <= VMARENA_VIEW_COPY_ON_WRITE; mode++) {
        enum vmarena_view_mode how = (enum vmarena_view_mode)mode;
        check_fence(how, 0, 1, VMARENA_FENCE_END, true);
        check_fence(how, 3, 2 * page + 1, VMARENA_FENCE_END, true);
        check_fence(how, 3, 2 * page - 3, VMARENA_FENCE_END, false);
        check_fence(how, 0, 2 * page, VMARENA_FENCE_END, false);
        check_fence(how, 0, 77, VMARENA_FENCE_START, false);
        check_fence(how, 1, 77, VMARENA_FENCE_START, true);
        check_fence(how, page, 2 * page + 1, VMARENA_FENCE_START, false);
    }
    struct vmarena_view *view;
    struct vmarena_view_options shared = {.mode = VMARENA_VIEW_SHARED, .length = 5, .fence = VMARENA_FENCE_END};
    assert_int_equal(vmarena_view_open_with(&view, path, &shared), -EOPNOTSUPP);
    shared.length = page;
    view = view_of(&shared);
    poke(view->data, 1);
    assert_int_equal(vmarena_view_move(view, 1, 0), -EOPNOTSUPP);
    vmarena_view_close(view);
}

/* ---- a file that changes ------------------------------------------------------------------------------------------------- */

static void check_truncation(enum vmarena_view_mode mode) {
    int fd = make_file(4 * page);
    struct vmarena_view *view;
    char text[256], expected[256];
    assert_int_equal(vmarena_view_open(&view, path, mode), 0);
    if (mode != VMARENA_VIEW_READ)
        poke((char *)view->data + 3 * page, 'x'); /* a page of its own, and lost all the same */
    assert_int_equal(ftruncate(fd, (off_t)page + 10), 0);
    assert_view_fault(view, (ptrdiff_t)(2 * page), false, SIGBUS, VMARENA_FAULT_PAST_END_OF_FILE, 0);
    assert_view_fault(view, (ptrdiff_t)(4 * page) - 1, false, SIGBUS, VMARENA_FAULT_PAST_END_OF_FILE, 0);
    if (mode != VMARENA_VIEW_READ)
        assert_view_fault(view, (ptrdiff_t)(3 * page) + 5, true, SIGBUS, VMARENA_FAULT_PAST_END_OF_FILE, 0);
    struct vmarena_fault fault = fault_of((char *)view->data + 2 * page + 9, false);
    vmarena_fault_describe(&fault, text, sizeof text);
    (void)snprintf(
        expected, sizeof expected,
        "past the end of the file: %s inside a %zu-byte object at %p in \"%s\" at file offset %zu (SIGBUS at %p)",
        fault_access_known() ? "read" : "access", 4 * page, view->data, path, 2 * page + 9,
        (void *)((char *)view->data + 2 * page + 9));
    assert_string_equal(text, expected);
    /* The page that holds the new end does not fault: what was cut off reads as zero. */
    for (size_t i = 0; i < 2 * page; i++)
        assert_int_equal(peek((char *)view->data + i), i < page + 10 ? byte_at(i) : 0);
    write_bytes(fd, page + 10, 3 * page - 10);
    assert_shows(view, 0, 4 * page);
    vmarena_view_close(view);
    close(fd);
}

static void test_truncation(void **state) {
    (void)state;
    ready();
    check_truncation(VMARENA_VIEW_READ);
    check_truncation(VMARENA_VIEW_COPY_ON_WRITE);
    check_truncation(VMARENA_VIEW_SHARED);
}

static void test_truncated_window(void **state) {
    (void)state;
    int fd = make_file(8 * page);
    struct vmarena_view_options options = {.offset = 3 * page + 5, .length = 4 * page};
    struct vmarena_view *view = view_of(&options);
    ready();
    assert_int_equal(ftruncate(fd, 0), 0);
    assert_view_fault(view, 0, false, SIGBUS, VMARENA_FAULT_PAST_END_OF_FILE, 0);
    assert_view_fault(view, (ptrdiff_t)(4 * page) - 1, false, SIGBUS, VMARENA_FAULT_PAST_END_OF_FILE, 0);
    assert_int_equal(vmarena_view_move(view, 0, 0), -ERANGE);
    vmarena_view_close(view);
    close(fd);
}

/* A copied window does not show the change. */
static void test_truncated_copy(void **state) {
    (void)state;
    int fd = make_file(2 * page + 1);
    struct vmarena_view_options options = {.fence = VMARENA_FENCE_END};
    struct vmarena_view *view = view_of(&options);
    assert_int_equal(ftruncate(fd, 0), 0);
    assert_shows(view, 0, 2 * page + 1);
    vmarena_view_close(view);
    close(fd);
}

static void test_guarded_copy_counts_to_the_page(void **state) {
    (void)state;
    int fd = make_file(4 * page);
    struct vmarena_view *view;
    struct vmarena_fault fault;
    char *buffer = malloc(4 * page);
    ready();
    assert_int_equal(vmarena_view_open(&view, path, VMARENA_VIEW_READ), 0);
    assert_int_equal(ftruncate(fd, (off_t)page + 1), 0);
    for (size_t from = 0; from < 33; from++) {
        size_t done = vmarena_copy(buffer, (char *)view->data + 2 * page - from, page, &fault);
        assert_int_equal(done, from);
        assert_int_equal(fault.kind, VMARENA_FAULT_PAST_END_OF_FILE);
        assert_int_equal(fault.file_offset, 2 * page);
    }
    vmarena_view_close(view);
    close(fd);
    free(buffer);
}

struct regrow {
    int fd;
    size_t size, calls;
    uint64_t offset;
};

static bool regrow(const struct vmarena_fault *fault, void *arg) {
    struct regrow *what = arg;
    what->calls++;
    what->offset = fault->file_offset;
    return fault->kind == VMARENA_FAULT_PAST_END_OF_FILE && ftruncate(what->fd, (off_t)what->size) == 0;
}

static void test_regrown_by_a_repair_function(void **state) {
    (void)state;
    if (vmarena_prim_annotating() && !UNDER_SANITIZER) {
        print_message(
            "skip: Valgrind goes on with a wrong stack after a handler that lets a fault in a function's first "
            "instruction be tried again\n");
        skip();
    }
    struct regrow what = {.fd = make_file(4 * page), .size = 4 * page};
    struct vmarena_view *view;
    struct vmarena_fault fault;
    assert_int_equal(vmarena_view_open(&view, path, VMARENA_VIEW_SHARED), 0);
    assert_int_equal(vmarena_view_on_fault(view, regrow, &what), 0);
    ready();
    assert_int_equal(ftruncate(what.fd, 0), 0);
    assert_int_equal(peek((char *)view->data + 2 * page + 3), 0); /* outside any scope */
    assert_int_equal(what.calls, 1);
    assert_int_equal(what.offset, 2 * page + 3);
    assert_int_equal(vmarena_view_on_fault(view, NULL, NULL), 0);
    assert_int_equal(ftruncate(what.fd, 0), 0);
    assert_int_equal(vmarena_try_in((const struct vmarena *)(const void *)view, peek_body, view->data, &fault), 1);
    assert_int_equal(what.calls, 1);
    vmarena_view_close(view);
    close(what.fd);
}

/* ---- errors ---------------------------------------------------------------------------------------------------------------- */

#define assert_refused(call, error, sentence)                                                                          \
    do {                                                                                                               \
        struct vmarena_view *view_ = (void *)1;                                                                        \
        size_t maps_ = count_maps();                                                                                   \
        assert_int_equal(call, error);                                                                                 \
        assert_string_equal(vmarena_explain(), sentence);                                                              \
        assert_ptr_equal(view_, (void *)1);                                                                            \
        assert_maps(maps_);                                                                                            \
    } while (0)

static void test_files_that_have_no_view(void **state) {
    (void)state;
    char other[80];
    const char *unmappable = "this is a directory, and only a regular file has a view";
    assert_refused(vmarena_view_open(&view_, directory, VMARENA_VIEW_READ), -EISDIR, unmappable);
    assert_refused(vmarena_view_open(&view_, directory, VMARENA_VIEW_SHARED), -EISDIR, unmappable);
    assert_refused(vmarena_view_open(&view_, "/dev/null", VMARENA_VIEW_READ), -ENODEV,
                   "this is a character device, and only a regular file has a view");
    (void)snprintf(other, sizeof other, "%s/none", directory);
    assert_refused(vmarena_view_open(&view_, other, VMARENA_VIEW_READ), -ENOENT, "open: No such file or directory");
    (void)snprintf(other, sizeof other, "%s/fifo", directory);
    assert_int_equal(mkfifo(other, 0600), 0);
    assert_refused(vmarena_view_open(&view_, other, VMARENA_VIEW_READ), -ENODEV,
                   "this is a pipe or FIFO, and only a regular file has a view");
    assert_int_equal(unlink(other), 0);
    int ends[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
    assert_refused(vmarena_view_open_fd(&view_, ends[0], NULL), -ENODEV,
                   "this is a socket, and only a regular file has a view");
    close(ends[0]);
    close(ends[1]);
    const char *empty = "the file is empty (or, as in /proc, made up as it is read): there is nothing to map";
    close(make_file(0));
    assert_refused(vmarena_view_open(&view_, path, VMARENA_VIEW_READ), -ENODATA, empty);
    if (access("/proc/self/maps", R_OK) == 0)
        assert_refused(vmarena_view_open(&view_, "/proc/self/maps", VMARENA_VIEW_READ), -ENODATA, empty);
}

static void test_wrong_arguments(void **state) {
    (void)state;
    close(make_file(10));
    struct vmarena_view_options options = {.offset = 4, .length = 7};
    assert_refused(vmarena_view_open(NULL, path, VMARENA_VIEW_READ), -EINVAL,
                   "vmarena_view_open: nowhere to put the view");
    assert_refused(vmarena_view_open(&view_, NULL, VMARENA_VIEW_READ), -EINVAL, "vmarena_view_open: no path (NULL)");
    assert_refused(vmarena_view_open(&view_, path, (enum vmarena_view_mode)3), -EINVAL,
                   "vmarena_view_open: mode, fence or huge has no such value");
    assert_refused(vmarena_view_open_with(&view_, path, &options), -ERANGE,
                   "7 bytes from offset 4 on leave the file of 10 bytes");
    options = (struct vmarena_view_options){.offset = 10};
    assert_refused(vmarena_view_open_with(&view_, path, &options), -ERANGE,
                   "0 bytes from offset 10 on leave the file of 10 bytes");
    options = (struct vmarena_view_options){.offset = UINT64_MAX, .length = SIZE_MAX};
    assert_int_equal(vmarena_view_open_with(&(struct vmarena_view *){NULL}, path, &options), -ERANGE);
    options = (struct vmarena_view_options){.guard = SIZE_MAX};
    assert_int_equal(vmarena_view_open_with(&(struct vmarena_view *){NULL}, path, &options), -ENOMEM);
    options = (struct vmarena_view_options){.flags = VMARENA_ALLOW_EXEC};
    assert_refused(vmarena_view_open_with(&view_, path, &options), -EINVAL,
                   "vmarena_view_open: bits 0x20 in flags mean nothing to a view");
    assert_int_equal(vmarena_view_sync(NULL, 0, 0), -EBADF);
    assert_string_equal(vmarena_explain(), "no view (NULL)");
    vmarena_view_close(NULL);
}

static void test_ranges(void **state) {
    (void)state;
    close(make_file(10));
    struct vmarena_view *view = view_of(NULL);
    assert_int_equal(vmarena_view_sync(view, 10, 0), 0);
    assert_int_equal(vmarena_view_sync(view, 0, 10), 0);
    assert_int_equal(vmarena_view_sync(view, 11, 0), -ERANGE);
    assert_int_equal(vmarena_view_populate(view, 1, 10), -ERANGE);
    assert_string_equal(vmarena_explain(), "10 bytes from 1 on leave the window of 10 bytes");
    assert_int_equal(vmarena_view_lock(view, 2, SIZE_MAX), -ERANGE);
    assert_int_equal(vmarena_view_advise(view, 0, 0, (enum vmarena_view_advice)5), -EINVAL);
    assert_int_equal(vmarena_view_info(view, NULL), -EINVAL);
    vmarena_view_close(view);
}

static void test_sealed_memory_file(void **state) {
    (void)state;
    skip_without_memory_files();
    struct vmarena_view *view;
    int fd = memfd_create("sealed", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    write_bytes(fd, 0, page);
    assert_int_equal(fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE), 0);
    struct vmarena_view_options options = {.mode = VMARENA_VIEW_SHARED};
    assert_int_equal(vmarena_view_open_fd(&view, fd, &options), -EPERM);
    assert_string_equal(vmarena_explain(), "mmap: the file is sealed against writing (fcntl(2), F_SEAL_WRITE)");
    assert_int_equal(vmarena_view_open_fd(&view, fd, NULL), 0); /* reading is no writing, on any kernel */
    assert_shows(view, 0, page);
    vmarena_view_close(view);
    options.mode = VMARENA_VIEW_COPY_ON_WRITE;
    assert_int_equal(vmarena_view_open_fd(&view, fd, &options), 0);
    assert_shows(view, 0, page);
    vmarena_view_close(view);
    close(fd);
}

/* The file shrinks between fstat and mmap: the caller must not get a window in which pages fault from the start. */
static _Atomic bool stop;
struct shrinking {
    int fd;
    size_t least;
};
static void *shrink_and_grow(void *arg) {
    int fd = ((struct shrinking *)arg)->fd;
    off_t least = (off_t)((struct shrinking *)arg)->least;
    while (!stop)
        if (ftruncate(fd, least) != 0 || ftruncate(fd, (off_t)(64 * page)) != 0) return arg;
    return NULL;
}

static void open_while_it_shrinks(int fd, unsigned *opened, unsigned *shrunk) {
    struct vmarena_view *view;
    struct vmarena_view_options options = {.fence = *opened % 2 ? VMARENA_FENCE_OFF : VMARENA_FENCE_END};
    int error = vmarena_view_open_fd(&view, fd, &options);
    if (error == -EAGAIN) {
        assert_non_null(strstr(vmarena_explain(), "the file shrank to 1 bytes while "));
        ++*shrunk;
        return;
    }
    assert_int_equal(error, 0);
    assert_true(view->size == 1 || view->size == 64 * page);
    vmarena_view_close(view);
    ++*opened;
}

static void test_file_that_shrinks_while_opened(void **state) {
    (void)state;
    int fd = nameless_file();
    struct shrinking shrinking = {fd, 1};
    pthread_t thread;
    void *result;
    unsigned opened = 0, shrunk = 0;
    stop = false;
    assert_int_equal(ftruncate(fd, 1), 0);
    assert_int_equal(pthread_create(&thread, NULL, shrink_and_grow, &shrinking), 0);
    for (unsigned i = 0; i < 100000 && (i < 2000 || shrunk == 0); i++) open_while_it_shrinks(fd, &opened, &shrunk);
    stop = true;
    assert_int_equal(pthread_join(thread, &result), 0);
    assert_null(result);
    close(fd);
    assert_true(opened > 0);
    if (shrunk == 0) {
        print_message("skip: in %u attempts the file never shrank at the right moment\n", opened);
        skip();
    }
}

static void move_while_it_shrinks(struct vmarena_view *view, unsigned *moved, unsigned *shrunk) {
    unsigned char *bytes = view->data;
    bytes[5] = 'x';
    int error = vmarena_view_move(view, page, 60 * page);
    if (error == 0) {
        assert_int_equal(view->offset, page);
        ++*moved;
        assert_int_equal(vmarena_view_move(view, 0, page), 0);
        assert_int_not_equal(((unsigned char *)view->data)[5], 'x'); /* a change that was lost, as it should be */
        return;
    }
    assert_true(error == -EAGAIN || error == -ERANGE);
    *shrunk += error == -EAGAIN;
    assert_ptr_equal(view->data, bytes);
    assert_int_equal(view->offset, 0);
    assert_int_equal(view->size, page);
    assert_int_equal(bytes[5], 'x');
}

/* A move that fails leaves the window and the changes in it, whether it is mapped or copied. */
static void check_failing_moves(int fd, enum vmarena_fence fence) {
    struct vmarena_view *view;
    struct vmarena_view_options options = {.mode = VMARENA_VIEW_COPY_ON_WRITE, .fence = fence, .length = 64 * page};
    pthread_t thread;
    struct shrinking shrinking = {fd, page};
    unsigned moved = 0, shrunk = 0;
    void *result;
    assert_int_equal(ftruncate(fd, (off_t)(64 * page)), 0);
    assert_int_equal(vmarena_view_open_fd(&view, fd, &options), 0);
    assert_int_equal(vmarena_view_move(view, 0, page), 0);
    stop = false;
    assert_int_equal(pthread_create(&thread, NULL, shrink_and_grow, &shrinking), 0);
    for (unsigned i = 0; i < 20000 && (i < 300 || shrunk == 0); i++) move_while_it_shrinks(view, &moved, &shrunk);
    stop = true;
    assert_int_equal(pthread_join(thread, &result), 0);
    assert_null(result);
    assert_int_equal(ftruncate(fd, (off_t)(64 * page)), 0);
    move_while_it_shrinks(view, &moved, &shrunk);
    print_message("%u moves worked, in %u the file shrank\n", moved, shrunk);
    assert_true(moved > 0); /* the last one, if no other */
    vmarena_view_close(view);
}

static void test_moving_while_it_shrinks(void **state) {
    (void)state;
    int fd = nameless_file();
    check_failing_moves(fd, VMARENA_FENCE_OFF);
    check_failing_moves(fd, VMARENA_FENCE_END);
    close(fd);
}

/* A descriptor that cannot be read is refused before anything else is tried. */
static void test_descriptors_that_cannot_read(void **state) {
    (void)state;
    enum vmarena_fence fences[] = {VMARENA_FENCE_OFF, VMARENA_FENCE_END};
    int flags[] = {O_WRONLY, O_PATH};
    close(make_file(10));
    for (size_t i = 0; i < 2; i++)
        for (size_t j = 0; j < 2; j++) {
            int fd = open(path, flags[i] | O_CLOEXEC);
            struct vmarena_view_options options = {.fence = fences[j]};
            assert_refused(vmarena_view_open_fd(&view_, fd, &options), -EACCES,
                           "the descriptor is not open for reading");
            close(fd);
        }
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    struct vmarena_view_options shared = {.mode = VMARENA_VIEW_SHARED};
    assert_refused(vmarena_view_open_fd(&view_, fd, &shared), -EACCES,
                   "the descriptor is not open for writing, as a SHARED view must be");
    close(fd);
    fd = memfd_create("hugetlb", MFD_CLOEXEC | MFD_HUGETLB);
    if (fd < 0) return; /* no such pages in this kernel */
    assert_refused(vmarena_view_open_fd(&view_, fd, NULL), -ENODEV,
                   "this is a file on hugetlbfs, and only a regular file has a view");
    close(fd);
}

static void test_what_is_read_ends_with_the_file(void **state) {
    (void)state;
    struct vmarena_prim_file file;
    int fd = make_file(2 * page);
    struct vmarena_view *view = view_of(NULL);
    assert_int_equal(vmarena_prim_file_stat(fd, &file), 0);
    assert_int_equal(file.size, 2 * page);
    assert_int_equal(ftruncate(fd, 5), 0);
    size_t got;
    char bytes[8];
    assert_int_equal(vmarena_prim_file_read(fd, bytes, sizeof bytes, 0, &got), 0);
    assert_int_equal(got, 5);
    vmarena_view_close(view);
    close(fd);
}

/* ---- pages ------------------------------------------------------------------------------------------------------------------- */

static size_t resident(const struct vmarena_view *view) {
    struct vmarena_view_info info;
    assert_int_equal(vmarena_view_info(view, &info), 0);
    return info.resident;
}

struct absent {
    struct vmarena_view *view;
    void *data; /* of the view, as the parent had it */
};

static void *map_in_place_of(const struct absent *absent, int prot) {
    void *other = mmap(absent->data, page, prot, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
    CHECK(other == absent->data); /* free, and only in the child */
    return other;
}

/* What the child maps there is its own: the view's calls leave it alone. */
static void closes_an_absent_view(void *arg) {
    const struct absent *absent = arg;
    unsigned char *other = map_in_place_of(absent, PROT_READ | PROT_WRITE);
    *other = 0x5a;
    CHECK(vmarena_view_populate(absent->view, 0, 0) == -EBADF);
    CHECK(strstr(vmarena_explain(), "VMARENA_DONT_FORK") != NULL);
    CHECK(vmarena_view_move(absent->view, 0, 0) == -EBADF && vmarena_view_lock(absent->view, 0, 0) == -EBADF);
    CHECK(*other == 0x5a);
    vmarena_view_close(absent->view);
    vmarena_view_close(absent->view);
    CHECK(*other == 0x5a);
}

/* And a fault in it is not the library's to claim. */
static void faults_in_place_of_an_absent_view(void *arg) {
    void *other = map_in_place_of(arg, PROT_NONE);
    CHECK(vmarena_fault_reassert() == 0);
    (void)vmarena_try(peek_body, other, NULL);
}

static void test_absent_in_a_child(void **state) {
    (void)state;
    skip_under_valgrind("Valgrind takes memory that MADV_DONTFORK leaves out for mapped in the child");
    struct absent absent;
    int fd = make_file(3 * page);
    struct vmarena_view_options options = {.flags = VMARENA_DONT_FORK, .name = "absent"};
    assert_int_equal(vmarena_view_open_fd(&absent.view, fd, &options), 0);
    absent.data = absent.view->data;
    assert_runs(closes_an_absent_view, &absent);
    assert_dies(faults_in_place_of_an_absent_view, &absent, SIGSEGV);
    assert_int_equal(vmarena_view_populate(absent.view, 0, 0), 0);
    vmarena_view_close(absent.view);
    close(fd);
}

/* As on Linux before 5.14, with the fault handlers displaced: pages that were cut off give an error and no signal. */
static void populates_a_cut_view(void *arg) {
    struct vmarena_view *view;
    size_t *kept = arg;
    int fd = nameless_file();
    CHECK(fd >= 0 && ftruncate(fd, (off_t)(100 * page)) == 0 && vmarena_view_open_fd(&view, fd, NULL) == 0);
    if (!filter_call_with(SYS_madvise, 2, MADV_POPULATE_READ, SECCOMP_RET_ERRNO | EINVAL)) _exit(NO_SECCOMP);
    CHECK(vmarena_view_populate(view, 0, 0) == 0);
    struct vmarena_view_info info;
    CHECK(vmarena_view_info(view, &info) == 0);
    CHECK(info.resident == 100 * page || info.resident == 0); /* 0: the system does not tell */
    CHECK(ftruncate(fd, (off_t)(*kept * page)) == 0);
    default_handlers();
    CHECK(vmarena_view_populate(view, 0, *kept * page) == 0);
    CHECK(vmarena_view_populate(view, 0, 0) == -EFAULT);
    CHECK(strcmp(vmarena_explain(), "the file no longer reaches to where it was to be populated") == 0);
    int next = open("/dev/null", O_RDONLY | O_CLOEXEC); /* no descriptor was left open */
    CHECK(next == fd + 2);
}

static void test_populate_without_handlers(void **state) {
    (void)state;
    skip_under_valgrind("seccomp would filter Valgrind's own calls");
    for (size_t kept = 1; kept < 100; kept += 49) {
        int status = run_child(populates_a_cut_view, &kept);
        skip_without_seccomp(status);
        assert_status(status, 0);
    }
}

static void test_populate_and_lock(void **state) {
    (void)state;
    struct vmarena_caps caps;
    int fd = make_file(64 * page);
    struct vmarena_view *view = view_of(NULL);
    struct vmarena_view_options options = {.flags = VMARENA_PREFAULT};
    assert_int_equal(vmarena_caps(&caps), 0);
    assert_int_equal(vmarena_view_populate(view, 0, 0), 0);
    if (caps.pagemap_scan) assert_int_equal(resident(view), 64 * page);
    assert_int_equal(vmarena_view_advise(view, 0, 0, VMARENA_VIEW_DONT_NEED), 0);
    if (caps.pagemap_scan) assert_int_equal(resident(view), 0);
    int error = vmarena_view_lock(view, 1, page);
    if (error == 0) {
        if (caps.pagemap_scan && !UNDER_SANITIZER) assert_true(resident(view) >= 2 * page);
        assert_int_equal(vmarena_view_unlock(view, 1, page), 0);
    } else assert_true(error == -EPERM || error == -ENOMEM);
    vmarena_view_close(view);
    view = view_of(&options);
    if (caps.pagemap_scan) assert_int_equal(resident(view), 64 * page);
    assert_int_equal(ftruncate(fd, (off_t)page), 0);
    assert_int_equal(vmarena_view_populate(view, 0, page), 0);
    assert_int_equal(vmarena_view_populate(view, 0, 0), -EFAULT);
    assert_string_equal(vmarena_explain(), "the file no longer reaches to where it was to be populated");
    if (!UNDER_SANITIZER) assert_int_equal(vmarena_view_lock(view, 0, 0), -ENOMEM); /* which locks nothing */
    vmarena_view_close(view);
    close(fd);
}

static void test_advice(void **state) {
    (void)state;
    close(make_file(3 * page + 10));
    struct vmarena_view_options options = {.mode = VMARENA_VIEW_COPY_ON_WRITE};
    struct vmarena_view *view = view_of(&options);
    char *bytes = view->data;
    for (int advice = VMARENA_VIEW_NORMAL; advice <= VMARENA_VIEW_WILL_NEED; advice++)
        assert_int_equal(vmarena_view_advise(view, 0, 0, (enum vmarena_view_advice)advice), 0);
    for (size_t i = 0; i < 4; i++) bytes[i * page + 5] = 'x';
    /* Only pages that lie wholly in the range lose their changes; the last page ends with the window. */
    assert_int_equal(vmarena_view_advise(view, 1, page - 1, VMARENA_VIEW_DONT_NEED), 0);
    assert_int_equal(vmarena_view_advise(view, page + 1, page + 1, VMARENA_VIEW_DONT_NEED), 0);
    for (size_t i = 0; i < 4; i++) assert_int_equal(bytes[i * page + 5], 'x');
    assert_int_equal(vmarena_view_advise(view, 2 * page - 1, 0, VMARENA_VIEW_DONT_NEED), 0);
    assert_int_equal(bytes[5], 'x');
    assert_int_equal(bytes[page + 5], 'x');
    assert_int_equal((unsigned char)bytes[2 * page + 5], byte_at(2 * page + 5));
    assert_int_equal((unsigned char)bytes[3 * page + 5], byte_at(3 * page + 5));
    vmarena_view_close(view);
}

static void test_huge_pages_on_a_memory_file(void **state) {
    (void)state;
    size_t huge = vmarena_prim_huge_page_size();
    struct vmarena_view *view;
    struct vmarena_view_info info;
    if (huge == 0) {
        print_message("skip: this system has no huge pages\n");
        skip();
    }
    skip_without_memory_files();
    int fd = memfd_create("huge", MFD_CLOEXEC);
    assert_int_equal(ftruncate(fd, (off_t)(4 * huge)), 0);
    struct vmarena_view_options options = {
        .mode = VMARENA_VIEW_SHARED, .huge = VMARENA_HUGE_TRANSPARENT, .offset = huge / 2, .length = 3 * huge};
    assert_int_equal(vmarena_view_open_fd(&view, fd, &options), 0);
    /* The address is congruent to the offset, so that huge pages are possible, whether or not the kernel gives some. */
    assert_int_equal(((uintptr_t)view->data - huge / 2) % huge, 0);
    memset(view->data, 1, view->size);
    assert_int_equal(vmarena_view_info(view, &info), 0);
    assert_int_equal(info.huge_asked, VMARENA_HUGE_TRANSPARENT);
    print_message("obtained %d, huge %zu of %zu\n", (int)info.huge_obtained, info.huge, view->size);
    ready();
    assert_view_fault(view, -1, false, SIGSEGV, VMARENA_FAULT_UNDERRUN, -1);
    vmarena_view_close(view);
    close(fd);
}

/* Mounts a tmpfs for the child alone on the test's directory, which takes root, and opens a file of size bytes in it. */
#define MAY_NOT_MOUNT 77
#define NO_HUGE_PAGE 78
static int file_on_tmpfs(const char *options, size_t size) {
    if (unshare(CLONE_NEWNS) != 0 || mount("none", "/", "none", MS_REC | MS_PRIVATE, NULL) != 0 ||
        mount("vmarena", directory, "tmpfs", 0, options) != 0)
        _exit(MAY_NOT_MOUNT);
    int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    CHECK(fd >= 0 && ftruncate(fd, (off_t)size) == 0);
    return fd;
}

static void assert_runs_on_tmpfs(void (*body)(void *), void *arg) {
    int status = run_child(body, arg);
    if (status == MAY_NOT_MOUNT << 8) {
        print_message("skip: only root may mount a tmpfs\n");
        skip();
    }
    if (status == NO_HUGE_PAGE << 8) {
        print_message("skip: the kernel has no huge pages to give now\n");
        skip();
    }
    assert_status(status, 0);
}

static void show_on_huge_pages(void *arg) {
    size_t huge = vmarena_prim_huge_page_size();
    struct vmarena_view_options options = {.mode = *(enum vmarena_view_mode *)arg,
                                           .huge = VMARENA_HUGE_TRANSPARENT,
                                           .length = 2 * huge,
                                           .flags = VMARENA_PREFAULT};
    struct vmarena_view *view;
    struct vmarena_view_info info;
    int fd = file_on_tmpfs("huge=always", 4 * huge);
    for (size_t at = 0; at < 4 * huge; at += page) CHECK(pwrite(fd, "x", 1, (off_t)at) == 1);
    CHECK(vmarena_view_open_fd(&view, fd, &options) == 0);
    CHECK(vmarena_view_info(view, &info) == 0 && info.huge_obtained == VMARENA_HUGE_TRANSPARENT);
    CHECK(info.resident == 2 * huge);
    if (info.huge < 2 * huge) _exit(NO_HUGE_PAGE);
    CHECK(vmarena_view_move(view, 2 * huge, 0) == 0);
    CHECK(vmarena_view_info(view, &info) == 0 && info.resident == 2 * huge);
    if (info.huge < 2 * huge) _exit(NO_HUGE_PAGE);
    vmarena_view_close(view);
}

static void test_huge_pages_on_tmpfs(void **state) {
    (void)state;
    struct vmarena_caps caps;
    assert_int_equal(vmarena_caps(&caps), 0);
    if (caps.huge_page_size == 0 || !caps.pagemap_scan || UNDER_SANITIZER) {
        print_message("skip: no huge pages, no telling of them, or a sanitizer that keeps them off\n");
        skip();
    }
    for (int mode = VMARENA_VIEW_READ; mode <= VMARENA_VIEW_SHARED; mode++) {
        enum vmarena_view_mode how = (enum vmarena_view_mode)mode;
        assert_runs_on_tmpfs(show_on_huge_pages, &how);
    }
}

/* Writing to a hole when the file system is full: the file reaches there, but there is no page for it. */
static void fill_the_file_system(void *arg) {
    (void)arg;
    struct vmarena_view *view;
    struct vmarena_fault fault;
    size_t room = 16 * page;
    char size[40];
    CHECK(vmarena_fault_reassert() == 0);
    (void)snprintf(size, sizeof size, "huge=never,size=%zu", room);
    close(file_on_tmpfs(size, 4 * room));
    CHECK(vmarena_view_open(&view, path, VMARENA_VIEW_SHARED) == 0);
    CHECK(vmarena_fill(view->data, 1, 4 * room, &fault) == room);
    CHECK(fault.signo == SIGBUS && fault.kind == VMARENA_FAULT_PAST_END_OF_FILE && fault.file_offset == room);
    CHECK(strcmp(fault.owner_name, path) == 0);
    CHECK(((volatile char *)view->data)[room - 1] == 1);
    vmarena_view_close(view);
}

static void test_full_file_system(void **state) {
    (void)state;
    assert_runs_on_tmpfs(fill_the_file_system, NULL);
}

static void drop_view(void *arg) {
    struct vmarena_view *view = arg;
    CHECK(((volatile unsigned char *)view->data)[0] == byte_at(0));
    ((volatile char *)view->data)[0] = 'c';
    vmarena_view_close(view);
}

static void test_fork(void **state) {
    (void)state;
    close(make_file(page));
    struct vmarena_view_options options = {.mode = VMARENA_VIEW_COPY_ON_WRITE};
    struct vmarena_view *view = view_of(&options);
    assert_runs(drop_view, view);
    assert_shows(view, 0, page);
    vmarena_view_close(view);
    options.flags = VMARENA_DONT_FORK | VMARENA_DONT_DUMP;
    view = view_of(&options);
    assert_dies(drop_view, view, SIGSEGV);
    vmarena_view_close(view);
}

static void test_long_names(void **state) {
    (void)state;
    close(make_file(page));
    struct vmarena_view_options options = {.name = "a name of more than thirty-one bytes in all"};
    struct vmarena_view *view = view_of(&options);
    ready();
    struct vmarena_fault fault = fault_of((char *)view->data - 1, false);
    assert_string_equal(fault.owner_name, "a name of more than thirty-one ");
    vmarena_view_close(view);
    char long_path[128];
    (void)snprintf(long_path, sizeof long_path, "%s/././././././././././data", directory);
    assert_int_equal(vmarena_view_open(&view, long_path, VMARENA_VIEW_READ), 0);
    fault = fault_of((char *)view->data - 1, false);
    assert_string_equal(fault.owner_name, "data");
    vmarena_view_close(view);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_whole_file),
        cmocka_unit_test(test_windows),
        cmocka_unit_test(test_moving),
        cmocka_unit_test(test_moving_in_little_space),
        cmocka_unit_test(test_file_larger_than_its_window),
        cmocka_unit_test(test_modes),
        cmocka_unit_test(test_descriptor),
        cmocka_unit_test(test_guards),
        cmocka_unit_test(test_fences),
        cmocka_unit_test(test_truncation),
        cmocka_unit_test(test_truncated_window),
        cmocka_unit_test(test_truncated_copy),
        cmocka_unit_test(test_guarded_copy_counts_to_the_page),
        cmocka_unit_test(test_regrown_by_a_repair_function),
        cmocka_unit_test(test_files_that_have_no_view),
        cmocka_unit_test(test_wrong_arguments),
        cmocka_unit_test(test_ranges),
        cmocka_unit_test(test_sealed_memory_file),
        cmocka_unit_test(test_file_that_shrinks_while_opened),
        cmocka_unit_test(test_moving_while_it_shrinks),
        cmocka_unit_test(test_descriptors_that_cannot_read),
        cmocka_unit_test(test_what_is_read_ends_with_the_file),
        cmocka_unit_test(test_absent_in_a_child),
        cmocka_unit_test(test_populate_without_handlers),
        cmocka_unit_test(test_populate_and_lock),
        cmocka_unit_test(test_advice),
        cmocka_unit_test(test_huge_pages_on_a_memory_file),
        cmocka_unit_test(test_huge_pages_on_tmpfs),
        cmocka_unit_test(test_full_file_system),
        cmocka_unit_test(test_fork),
        cmocka_unit_test(test_long_names),
    };
    return cmocka_run_group_tests_name("view", tests, make_directory, remove_directory);
}
