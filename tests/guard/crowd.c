/* SPDX-License-Identifier: MIT */
/*
 * crowd THREADS OPERATIONS [fork]: threads allocate, write, resize, exchange and free objects of mixed sizes. Each object
 * begins with its size and ends with a mark, which the receiving thread checks, so that lost or mixed-up objects are found.
 * With fork, children are forked meanwhile and continue to allocate. Prints the number of lost objects; damage aborts.
 */
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define SHELF 1024
static _Atomic(unsigned char *) shelf[SHELF]; /* objects on their way to another thread */
static _Atomic size_t made, ended;
static size_t operations;

static uint64_t next(uint64_t *state) {
    *state = *state * UINT64_C(6364136223846793005) + 1442695040888963407U;
    return *state >> 33;
}

static void mark(unsigned char *object, size_t size) {
    memcpy(object, &size, sizeof size);
    object[size - 1] = (unsigned char)(size * 7);
}

static void check(const unsigned char *object) {
    size_t size;
    memcpy(&size, object, sizeof size);
    if (size < 16 || size > 1 << 20 || object[size - 1] != (unsigned char)(size * 7)) abort();
}

static size_t pick_size(uint64_t *state) {
    uint64_t pick = next(state);
    return 16 + (pick % 64 == 0 ? next(state) % 100000 : pick % 8 == 0 ? next(state) % 4096 : next(state) % 200);
}

static unsigned char *make(uint64_t *state) {
    size_t size = pick_size(state);
    void *object = NULL;
    uint64_t way = next(state) % 8;
    if (way == 0) object = calloc(1, size);
    else if (way == 1 && posix_memalign(&object, (size_t)32 << next(state) % 8, size) != 0) abort();
    else if (way != 1) object = malloc(size);
    if (object == NULL) abort();
    atomic_fetch_add(&made, 1);
    mark(object, size);
    return object;
}

static unsigned char *resize(unsigned char *object, uint64_t *state) {
    size_t size = pick_size(state), before;
    memcpy(&before, object, sizeof before);
    object = realloc(object, size);
    if (object == NULL) abort();
    memcpy(&before, object, sizeof before);
    mark(object, size);
    return object;
}

static void drop(unsigned char *object) {
    if (object == NULL) return;
    check(object);
    free(object);
    atomic_fetch_add(&ended, 1);
}

static void *work(void *number) {
    uint64_t state = (uintptr_t)number * 977 + 1;
    for (size_t i = 0; i < operations; i++) {
        unsigned char *object = atomic_exchange(&shelf[next(&state) % SHELF], NULL);
        if (object == NULL) object = make(&state);
        else if (next(&state) % 4 == 0) {
            drop(object);
            continue;
        } else if (next(&state) % 4 == 0) object = resize(object, &state);
        check(object);
        drop(atomic_exchange(&shelf[next(&state) % SHELF], object));
    }
    return NULL;
}

/* The child's heap must be consistent, whatever the other threads were doing. */
static void fork_one(void) {
    int status;
    pid_t child = fork();
    if (child == 0) {
        operations = 2000;
        work((void *)99);
        exit(0);
    }
    if (waitpid(child, &status, 0) != child || status != 0) abort();
}

int main(int count, char **arguments) {
    pthread_t threads[64];
    size_t number = count > 2 ? (size_t)atoi(arguments[1]) : 0;
    if (number == 0 || number > 64) return 2;
    operations = (size_t)atol(arguments[2]);
    for (size_t i = 0; i < number; i++)
        if (pthread_create(&threads[i], NULL, work, (void *)(uintptr_t)(i + 1)) != 0) return 1;
    for (int i = 0; i < 10 && count > 3; i++) fork_one();
    for (size_t i = 0; i < number; i++) pthread_join(threads[i], NULL);
    for (size_t i = 0; i < SHELF; i++) drop(atomic_exchange(&shelf[i], NULL));
    printf("lost %zu\n", atomic_load(&made) - atomic_load(&ended));
    return 0;
}
