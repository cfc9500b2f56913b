/* SPDX-License-Identifier: MIT */
/*
 * For test programs, with any framework: expectations that a statement faults or does not, inputs that lie flush against a
 * guard, and a guarded heap for one test.
 *
 *      #define VMARENA_TEST_FAIL(message) fail_msg("%s", message)        (cmocka; GoogleTest: FAIL() << (message))
 *      #include <vmarena/testing.h>
 *
 *      unsigned char *input = vmarena_fenced_copy(bytes, length, VMARENA_FENCE_END);
 *      VMARENA_EXPECT_NO_FAULT(parse(input, length));
 *      VMARENA_EXPECT_FAULT_LIKE(parse(input, length + 1), .kind = VMARENA_FAULT_OVERRUN, .distance = 1);
 *      vmarena_fenced_free(input);
 *
 * A failed expectation runs VMARENA_TEST_FAIL(message); message is a const char *. Define the macro before you include this
 * header; by default it prints the message to stderr and aborts. It may return normally, jump away, or execute `return;`.
 *
 * The statement of an expectation is a guarded body: fault.h says what it may do and which local variables must be volatile.
 * break, continue and goto must not leave it. If an assertion of the framework inside it jumps away, the expectation's scope
 * stays open: call vmarena_testing_begin() at the beginning of each test.
 *
 * Each expectation first sets the fault handlers again, because frameworks such as cmocka set their own around every test.
 * If that fails, the expectation fails.
 */
#ifndef VMARENA_TESTING_H
#define VMARENA_TESTING_H

#include "export.h"

#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "arena.h"
#include "crash_lines.h"
#include "error.h"
#include "fault.h"
#include "heap.h"
#include "page.h"

VMARENA_BEGIN_DECLS

#ifndef VMARENA_TEST_FAIL
#define VMARENA_TEST_FAIL(message) vmarena_testing_abort_(message)
#endif

static inline void vmarena_testing_abort_(const char *message) {
    fprintf(stderr, "%s\n", message);
    abort();
}

/* Bytes of a failure's message; a longer one is cut. */
#define VMARENA_TESTING_MESSAGE 768

/* What is expected of a fault. A member that is 0 (NULL, UNKNOWN, OTHER) matches anything. */
struct vmarena_expected {
#ifdef __cplusplus
#define VMARENA_TESTING_ANY_ = {}
#else
#define VMARENA_TESTING_ANY_
#endif
    enum vmarena_fault_kind kind VMARENA_TESTING_ANY_;
    ptrdiff_t distance VMARENA_TESTING_ANY_; /* +1: the first byte past the object; -1: the last before it */
    const void *object VMARENA_TESTING_ANY_;
    size_t object_size VMARENA_TESTING_ANY_;
    enum vmarena_access access VMARENA_TESTING_ANY_;
    const void *address VMARENA_TESTING_ANY_;
    int signo VMARENA_TESTING_ANY_;
#undef VMARENA_TESTING_ANY_
};

/* ---- expectations ------------------------------------------------------------------------------------------------ */

/* The statement must fault, at any address and in any way. It may contain commas. A read needs a volatile object: compilers
 * leave out a read whose value is not used. */
#define VMARENA_EXPECT_FAULT(...)                                                                                      \
    VMARENA_EXPECT_BEGIN_(vmarena_expected_any_()) { __VA_ARGS__; }                                                    \
    VMARENA_EXPECT_END_(true, #__VA_ARGS__)

/* The statement must not fault. It may contain commas. */
#define VMARENA_EXPECT_NO_FAULT(...)                                                                                   \
    VMARENA_EXPECT_BEGIN_(vmarena_expected_any_()) { __VA_ARGS__; }                                                    \
    VMARENA_EXPECT_END_(false, #__VA_ARGS__)

/*
 * The statement must fault as the members of struct vmarena_expected say: .kind = ..., .distance = ... They are evaluated
 * before the statement. C++ before C++20 has no designators: there, give the values without names, in the order above. A
 * statement that contains a comma needs parentheses around it.
 */
#define VMARENA_EXPECT_FAULT_LIKE(statement, ...)                                                                      \
    VMARENA_EXPECT_BEGIN_({__VA_ARGS__}) { statement; }                                                                \
    VMARENA_EXPECT_END_(true, #statement)

/* ---- fenced copies ----------------------------------------------------------------------------------------------- */

/*
 * Returns a copy of length bytes that ends (VMARENA_FENCE_END) or starts (VMARENA_FENCE_START) exactly at a guard page: it
 * is not aligned. The copy is writable. For length 0 every access on either side of the pointer faults. If bytes is NULL, the
 * copy is all zero. Each copy is an arena of its own, named "fenced copy". If it cannot be made, the test fails, and the
 * function returns NULL if VMARENA_TEST_FAIL returns. Any thread.
 */
static inline unsigned char *vmarena_fenced_copy(const void *bytes, size_t length, enum vmarena_fence side);

/* Frees the copy. The test fails if something was written beside it, where there is no guard. copy may be NULL. Any thread. */
static inline void vmarena_fenced_free(void *copy);

/*
 * Runs body(copy, length, arg) twice: with a fenced copy that ends at a guard, then with one that starts at one. The test
 * fails if the body faults or writes beside the copy; the message names the side. The body is a guarded body, as a statement
 * is.
 */
typedef void vmarena_fenced_body(unsigned char *copy, size_t length, void *arg);
#define VMARENA_RUN_FENCED(body, bytes, length, arg)                                                                   \
    vmarena_run_fenced_((body), (bytes), (length), (arg), __FILE__, __LINE__)

/* ---- a heap for one test ----------------------------------------------------------------------------------------- */

/*
 * A heap (heap.h) that exists during one test, for code that takes its allocator from the caller:
 *
 *      struct vmarena_testing_heap test;
 *      struct vmarena_heap *heap = vmarena_testing_heap_begin(&test, NULL);
 *      VMARENA_EXPECT_NO_FAULT(tree_insert(&tree, my_allocator(heap), key));
 *      vmarena_testing_heap_end(&test);
 *
 * An access past an object faults at once. vmarena_testing_heap_end() checks the slack of all objects, destroys the heap, and
 * fails the test if it or the heap found an error: a double, interior or invalid free, or overwritten slack. The message is
 * the first error's report: what, where, and where the object was allocated and freed, for addr2line(1). Objects that are
 * still live are no error; vmarena_heap_stats() counts them.
 */
struct vmarena_testing_heap {
    struct vmarena_heap *heap;             /* NULL: no heap */
    unsigned errors;                       /* found so far */
    char message[VMARENA_TESTING_MESSAGE]; /* of the first */
};

/* options: as for vmarena_heap_create(), or NULL; `report` is overwritten. If the heap cannot be made, the test fails, and the
 * function returns NULL if VMARENA_TEST_FAIL returns. *test must not move until vmarena_testing_heap_end(). */
static inline struct vmarena_heap *vmarena_testing_heap_begin(struct vmarena_testing_heap *test,
                                                              const struct vmarena_heap_options *options);
static inline void vmarena_testing_heap_end(struct vmarena_testing_heap *test);

/* ---- set-up ------------------------------------------------------------------------------------------------------ */

/*
 * For a set-up function: closes the scopes that a test left open by jumping away, sets the fault handlers again, and has
 * faults in memory of the library that no expectation catches reported on standard error, with the lines of source where
 * addr2line(1) is installed, before they kill the program or fail the test.
 */
static inline void vmarena_testing_begin(void);

/* ---- implementation ---------------------------------------------------------------------------------------------- */

/* An expectation in progress. */
struct vmarena_expectation_ {
    struct vmarena_scope scope;
    struct vmarena_fault fault; /* signo 0: none */
    int error;                  /* the statement was not run */
    char message[VMARENA_TESTING_MESSAGE];
};

#define VMARENA_EXPECT_BEGIN_(...)                                                                                     \
    do {                                                                                                               \
        const struct vmarena_expected vmarena_expected_ = __VA_ARGS__;                                                 \
        struct vmarena_expectation_ vmarena_expectation_;                                                              \
        vmarena_expectation_begin_(&vmarena_expectation_);                                                             \
    VMARENA_TRY_ANY(&vmarena_expectation_.scope)

#define VMARENA_EXPECT_END_(faults, text)                                                                              \
    VMARENA_CATCH(vmarena_caught_) vmarena_expectation_.fault = *vmarena_caught_;                                      \
    if (!vmarena_expectation_holds_(&vmarena_expectation_, (faults) ? &vmarena_expected_ : NULL, text, __FILE__,       \
                                    __LINE__)) {                                                                       \
        VMARENA_TEST_FAIL(vmarena_expectation_.message);                                                               \
    }                                                                                                                  \
    }                                                                                                                  \
    while (0)

static inline struct vmarena_expected vmarena_expected_any_(void) {
    static struct vmarena_expected any; /* zero in both languages, without a word that only one of them knows */
    return any;
}

/* For functions that return a value: VMARENA_TEST_FAIL may be a return without one. */
static inline void vmarena_testing_fail_(const char *message) { VMARENA_TEST_FAIL(message); }

static inline void vmarena_testing_begin(void) {
    vmarena_scope_unwind(NULL);
    if (vmarena_fault_status() != VMARENA_HANDLER_INSTALLED) (void)vmarena_crash_lines_install();
    (void)vmarena_fault_reassert();
    (void)vmarena_report_faults(2);
}

static inline void vmarena_expectation_begin_(struct vmarena_expectation_ *expectation) {
    memset(&expectation->fault, 0, sizeof expectation->fault);
    expectation->error = vmarena_fault_reassert();
}

__attribute__((format(printf, 2, 3))) static inline void vmarena_testing_add_(char *message, const char *format, ...) {
    size_t length = strlen(message);
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(message + length, VMARENA_TESTING_MESSAGE - length, format, arguments);
    va_end(arguments);
}

static inline void vmarena_testing_add_fault_(char *message, const struct vmarena_fault *fault) {
    size_t length = strlen(message);
    (void)vmarena_fault_describe(fault, message + length, VMARENA_TESTING_MESSAGE - length);
}

static inline const char *vmarena_kind_name_(enum vmarena_fault_kind kind) {
    static const char *const names[] = {"a fault",
                                        "an overrun",
                                        "an underrun",
                                        "a use after free",
                                        "a protected access",
                                        "an access to unmapped memory",
                                        "an access past the end of a file",
                                        "a hardware memory error"};
    return (size_t)kind < sizeof names / sizeof names[0] ? names[kind] : names[0];
}

static inline const char *vmarena_access_name_(enum vmarena_access access) {
    return access == VMARENA_ACCESS_READ    ? "a read"
           : access == VMARENA_ACCESS_WRITE ? "a write"
           : access == VMARENA_ACCESS_EXEC  ? "an execution"
                                            : "an access";
}

/* Names what the caller expects, and nothing that matches anything. */
static inline void vmarena_testing_add_expected_(char *message, const struct vmarena_expected *expected) {
    vmarena_testing_add_(message, "%s", vmarena_kind_name_(expected->kind));
    if (expected->access != VMARENA_ACCESS_UNKNOWN)
        vmarena_testing_add_(message, " by %s", vmarena_access_name_(expected->access));
    if (expected->distance != 0) vmarena_testing_add_(message, " at distance %+td", expected->distance);
    if (expected->object != NULL || expected->object_size != 0) vmarena_testing_add_(message, " of an object");
    if (expected->object_size != 0) vmarena_testing_add_(message, " of %zu bytes", expected->object_size);
    if (expected->object != NULL) vmarena_testing_add_(message, " at %p", (void *)(uintptr_t)expected->object);
    if (expected->address != NULL) vmarena_testing_add_(message, ", touching %p", (void *)(uintptr_t)expected->address);
    if (expected->signo != 0) vmarena_testing_add_(message, ", by signal %d", expected->signo);
}

static inline bool vmarena_fault_is_like_(const struct vmarena_fault *fault, const struct vmarena_expected *expected) {
    return (expected->kind == VMARENA_FAULT_OTHER || expected->kind == fault->kind) &&
           (expected->distance == 0 || expected->distance == fault->distance) &&
           (expected->object == NULL || expected->object == fault->object) &&
           (expected->object_size == 0 || expected->object_size == fault->object_size) &&
           (expected->access == VMARENA_ACCESS_UNKNOWN || expected->access == fault->access) &&
           (expected->address == NULL || expected->address == fault->address) &&
           (expected->signo == 0 || expected->signo == fault->signo);
}

/* expected NULL: no fault. On false the message says what was expected and what happened. */
static inline bool vmarena_expectation_holds_(struct vmarena_expectation_ *expectation,
                                              const struct vmarena_expected *expected, const char *text,
                                              const char *file, int line) {
    const struct vmarena_fault *fault = &expectation->fault;
    char *message = expectation->message;
    bool faulted = fault->signo != 0, unwatched = expectation->error != 0 || (!faulted && fault->code < 0);
    if (!unwatched && (expected != NULL ? faulted && vmarena_fault_is_like_(fault, expected) : !faulted)) return true;
    message[0] = '\0';
    vmarena_testing_add_(message, "%s:%d: %.200s: ", file, line, text);
    if (unwatched) {
        vmarena_testing_add_(message, "faults cannot be watched: %s", vmarena_explain());
        return false;
    }
    vmarena_testing_add_(message, "expected ");
    if (expected != NULL) vmarena_testing_add_expected_(message, expected);
    else vmarena_testing_add_(message, "no fault");
    if (!faulted) vmarena_testing_add_(message, ", but nothing faulted");
    else vmarena_testing_add_(message, ", but got: ");
    if (faulted) vmarena_testing_add_fault_(message, fault);
    return false;
}

/*
 * The label says which arena a fenced copy belongs to. The arena's first object is a page that ends with the label; a guard
 * and the copy's pages follow. So the label can be found from any address in the copy's first page.
 *
 *      guard │ ......... label │ guard │ copy's pages │ guard
 */
struct vmarena_fenced_label_ {
    struct vmarena *arena;
    unsigned char *copy;
};

static inline struct vmarena_fenced_label_ *vmarena_fenced_label_(const void *copy) {
    size_t page = vmarena_page_size();
    uintptr_t start = (uintptr_t)copy & ~(uintptr_t)(page - 1);
    return (struct vmarena_fenced_label_ *)(start - page - sizeof(struct vmarena_fenced_label_));
}

static inline unsigned char *vmarena_fenced_place_(struct vmarena *arena, size_t length) {
    size_t page = vmarena_page_size();
    unsigned char *first = (unsigned char *)vmarena_alloc(arena, length != 0 ? page : 2 * page, 1);
    if (first == NULL || length != 0) return first != NULL ? (unsigned char *)vmarena_alloc(arena, length, 1) : NULL;
    /* An empty copy lies between two guards: the second page of the first object, made inaccessible, and that object's. */
    return vmarena_protect_range(arena, first + page, page, VMARENA_NONE) == 0 ? first + 2 * page : NULL;
}

static inline unsigned char *vmarena_fenced_copy(const void *bytes, size_t length, enum vmarena_fence side) {
    char message[VMARENA_TESTING_MESSAGE] = "";
    struct vmarena_options options;
    struct vmarena *arena = NULL;
    memset(&options, 0, sizeof options);
    options.reserve = length < SIZE_MAX / 2 ? length + 4 * vmarena_page_size() : length;
    options.fence = side;
    options.name = "fenced copy";
    int error = side != VMARENA_FENCE_OFF ? vmarena_create(&arena, &options) : -EINVAL;
    unsigned char *copy = error == 0 ? vmarena_fenced_place_(arena, length) : NULL;
    if (copy == NULL) {
        vmarena_testing_add_(message, "no fenced copy of %zu bytes: %s", length,
                             side != VMARENA_FENCE_OFF ? vmarena_explain() : "the side is neither end nor start");
        vmarena_destroy(arena);
        vmarena_testing_fail_(message);
        return NULL;
    }
    struct vmarena_fenced_label_ *label = vmarena_fenced_label_(copy);
    label->arena = arena;
    label->copy = copy;
    if (length != 0 && bytes != NULL) memcpy(copy, bytes, length);
    return copy;
}

static inline void vmarena_fenced_free(void *copy) {
    char message[VMARENA_TESTING_MESSAGE] = "";
    if (copy == NULL) return;
    struct vmarena *arena = vmarena_fenced_label_(copy)->arena;
    if (vmarena_fenced_label_(copy)->copy != copy)
        vmarena_testing_add_(message, "vmarena_fenced_free: %p is not the start of a fenced copy", copy);
    else if (vmarena_check(arena) != 0) vmarena_testing_add_(message, "%s", vmarena_explain());
    if (vmarena_fenced_label_(copy)->copy == copy) vmarena_destroy(arena);
    if (message[0] != '\0') vmarena_testing_fail_(message);
}

static inline void vmarena_run_side_(vmarena_fenced_body *body, const void *bytes, size_t length, void *arg,
                                     enum vmarena_fence side, const char *file, int line) {
    const char *text = side == VMARENA_FENCE_END ? "the body, with its input ending at a guard"
                                                 : "the body, with its input starting at a guard";
    unsigned char *copy = vmarena_fenced_copy(bytes, length, side);
    if (copy == NULL) return;
    struct vmarena_expectation_ expectation;
    vmarena_expectation_begin_(&expectation);
    VMARENA_TRY_ANY(&expectation.scope) body(copy, length, arg);
    VMARENA_CATCH(caught) expectation.fault = *caught;
    bool holds = vmarena_expectation_holds_(&expectation, NULL, text, file, line);
    if (!holds) vmarena_destroy(vmarena_fenced_label_(copy)->arena);
    else vmarena_fenced_free(copy);
    if (!holds) vmarena_testing_fail_(expectation.message);
}

static inline void vmarena_run_fenced_(vmarena_fenced_body *body, const void *bytes, size_t length, void *arg,
                                       const char *file, int line) {
    vmarena_run_side_(body, bytes, length, arg, VMARENA_FENCE_END, file, line);
    vmarena_run_side_(body, bytes, length, arg, VMARENA_FENCE_START, file, line);
}

/* Adds the innermost caller of a stack that the heap kept. */
static inline void vmarena_testing_add_caller_(char *message, const struct vmarena_heap *heap, const char *words,
                                               uint32_t stack) {
    void *caller;
    if (vmarena_heap_stack(heap, stack, &caller, 1) > 0) vmarena_testing_add_(message, "%s%p", words, caller);
}

/* The heap's options.report: runs in any thread, when vmarena_explain() has the sentence about the error. */
static inline void vmarena_testing_note_(const struct vmarena_heap_report *report, void *arg) {
    struct vmarena_testing_heap *test = (struct vmarena_testing_heap *)arg;
    const struct vmarena_heap_object *object = &report->object;
    if (report->kind == VMARENA_HEAP_NEAR_LIMIT || __atomic_fetch_add(&test->errors, 1, __ATOMIC_RELAXED) != 0) return;
    vmarena_testing_add_(test->message, "%s", vmarena_explain());
    if (object->state == VMARENA_HEAP_NONE) return;
    vmarena_testing_add_(test->message, "; it was allocation %llu", (unsigned long long)object->alloc_number);
    vmarena_testing_add_caller_(test->message, test->heap, ", at ", object->alloc_stack);
    vmarena_testing_add_caller_(test->message, test->heap, ", freed at ", object->free_stack);
}

static inline struct vmarena_heap *vmarena_testing_heap_begin(struct vmarena_testing_heap *test,
                                                              const struct vmarena_heap_options *options) {
    struct vmarena_heap_options own;
    memset(test, 0, sizeof *test);
    memset(&own, 0, sizeof own);
    if (options != NULL) own = *options;
    if (own.name == NULL) own.name = "test";
    own.report = vmarena_testing_note_;
    own.report_arg = test;
    if (vmarena_heap_create(&test->heap, &own) == 0) return test->heap;
    vmarena_testing_add_(test->message, "no heap for the test: %s", vmarena_explain());
    vmarena_testing_fail_(test->message);
    return NULL;
}

static inline void vmarena_testing_heap_end(struct vmarena_testing_heap *test) {
    char message[VMARENA_TESTING_MESSAGE] = "";
    struct vmarena_heap *heap = test->heap;
    if (heap == NULL) return;
    (void)vmarena_heap_check(heap);
    test->heap = NULL;
    vmarena_heap_destroy(heap);
    if (test->errors > 1) vmarena_testing_add_(message, "%u errors, the first: ", test->errors);
    vmarena_testing_add_(message, "%s", test->message);
    if (test->errors != 0) vmarena_testing_fail_(message);
}

VMARENA_END_DECLS

#endif
