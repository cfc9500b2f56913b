/* SPDX-License-Identifier: MIT */
/* The store of call stacks when it is full, and threads that fill it at the same time. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>
#include <pthread.h>
#include <semaphore.h>
#include <ucontext.h>

#include "vmarena.h"

#include "support.h"

#include "heap/heap.h"

#define FRAMES 64

static struct vmarena_stacks stacks;
static size_t size; /* of the store: one page */

/* A stack of so many frames, unlike all others of the test. */
static uint32_t store(uintptr_t name, size_t count) {
    void *frames[FRAMES];
    for (size_t i = 0; i < count; i++) frames[i] = (void *)(name * 1000 + i + 1);
    return vmarena_stacks_store(&stacks, frames, count);
}

static void assert_stored(uint32_t id, uintptr_t name, size_t count) {
    void *frames[FRAMES];
    assert_int_not_equal(id, 0);
    assert_int_equal(vmarena_stacks_frames(&stacks, id, frames, FRAMES), count);
    for (size_t i = 0; i < count; i++) assert_int_equal((uintptr_t)frames[i], name * 1000 + i + 1);
}

static void open_store(void) {
    memset(&stacks, 0, sizeof stacks);
    size = vmarena_page_size();
    assert_int_equal(vmarena_stacks_open(&stacks, size), 0);
}

static void test_full_store(void **state) {
    uint32_t ids[1000];
    size_t count = 0;
    (void)state;
    open_store();
    while ((ids[count] = store(count + 1, 2)) != 0) count++;
    assert_int_equal(count, (size - 16) / 32);
    assert_true(stacks.used <= size);
    for (size_t i = 0; i < count; i++) {
        assert_stored(ids[i], i + 1, 2);
        assert_int_equal(store(i + 1, 2), ids[i]); /* what is stored is found in a full store, too */
    }
    assert_int_equal(stacks.count, count);
    vmarena_stacks_close(&stacks);
}

#if defined(__x86_64__) && defined(__linux__)

/*
 * A thread that is stopped as soon as an instruction of its call has raised `used` above the store's size, if one does:
 * the CPU's trap flag has it raise SIGTRAP after each instruction.
 */
#define TRAP_FLAG 0x100

struct stepped {
    pthread_t thread;
    uintptr_t name;
    size_t count;
    size_t before; /* `used` before the call */
    uint32_t id;
    sem_t stopped_or_done, go;
};
static _Thread_local struct stepped *stepping;

static void after_instruction(int signo, siginfo_t *info, void *context) {
    greg_t *flags = &((ucontext_t *)context)->uc_mcontext.gregs[REG_EFL];
    struct stepped *self = stepping;
    (void)signo, (void)info;
    if (self == NULL || stacks.used == self->before || stacks.used <= size) return;
    *flags &= ~(greg_t)TRAP_FLAG;
    sem_post(&self->stopped_or_done);
    sem_wait(&self->go);
}

static void *step(void *arg) {
    struct stepped *self = arg;
    stepping = self;
    __asm__ volatile("pushfq; orq $0x100, (%%rsp); popfq" : : : "memory", "cc");
    self->id = store(self->name, self->count);
    __asm__ volatile("pushfq; andq $~0x100, (%%rsp); popfq" : : : "memory", "cc");
    stepping = NULL;
    sem_post(&self->stopped_or_done);
    return NULL;
}

static void start_stepping(struct stepped *self, uintptr_t name, size_t count) {
    *self = (struct stepped){.name = name, .count = count, .before = stacks.used};
    sem_init(&self->stopped_or_done, 0, 0);
    sem_init(&self->go, 0, 0);
    assert_int_equal(pthread_create(&self->thread, NULL, step, self), 0);
    sem_wait(&self->stopped_or_done);
}

static void let_finish(struct stepped *self) {
    sem_post(&self->go);
    assert_int_equal(pthread_join(self->thread, NULL), 0);
}

/*
 * Two threads find no room. The first has taken back what it reserved while the second has not, and two smaller stacks
 * come in between and after: they must not lie over each other.
 */
static void test_two_threads_find_no_room(void **state) {
    struct sigaction action = {.sa_sigaction = after_instruction, .sa_flags = SA_SIGINFO}, before;
    struct stepped first, second;
    uintptr_t name = 1;
    (void)state;
    if (UNDER_SANITIZER) {
        print_message("skip: a sanitizer must not be stopped at any instruction\n");
        skip();
    }
    open_store();
    while (size - stacks.used > 160) (void)store(name++, 2);
    assert_int_equal(sigaction(SIGTRAP, &action, &before), 0);
    start_stepping(&first, name++, 64); /* 528 bytes */
    start_stepping(&second, name++, 4); /* 48 bytes: there is no room while the first has its 528 */
    let_finish(&first);
    uint32_t third = store(name, 2); /* lies behind the second's bytes */
    let_finish(&second);
    uint32_t fourth = store(name + 1, 2);
    assert_int_equal(first.id, 0);
    assert_stored(third, name, 2);
    assert_stored(fourth, name + 1, 2);
    if (second.id != 0) assert_stored(second.id, second.name, 4);
    assert_true(stacks.used <= size);
    assert_int_equal(sigaction(SIGTRAP, &before, NULL), 0);
    vmarena_stacks_close(&stacks);
}

#else

static void test_two_threads_find_no_room(void **state) {
    (void)state;
    print_message("skip: stepping through instructions is written for Linux on x86-64\n");
    skip();
}

#endif

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_full_store),
        cmocka_unit_test(test_two_threads_find_no_room),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
