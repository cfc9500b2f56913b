/* SPDX-License-Identifier: MIT */
/*
 * The gate between the program's threads and the heap, which fork(2) closes.
 *
 * A lock that is held over a fork can deadlock: between the fork handlers and the fork itself the C library takes locks of
 * its own (of stdio's list of files, of the name service), and a thread that holds one of these may call malloc. So the
 * forking thread does not lock the heap while others want it. It closes the gate and waits for the threads inside, which
 * wait only for each other. Then the heap's locks are free, and the child gets a consistent heap. A thread that finds the
 * gate closed waits briefly, because most forks take little time, and is then served by the C library's allocator.
 *
 * The lock of stdio's list can be held for long, by fflush(NULL). So it is taken before the gate is closed; glibc's fork
 * also takes it before its malloc's locks.
 */
#ifndef VMARENA_MALLOC_FORK_GATE_H
#define VMARENA_MALLOC_FORK_GATE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

/* Each thread is counted in one of several stripes, so that threads seldom share a cache line. */
#define VMARENA_GATE_STRIPES 256
struct vmarena_gate_stripe {
    _Atomic uint32_t inside;
    char pad[60];
};
struct vmarena_gate {
    _Atomic uint32_t closed; /* forks that are going on */
    struct vmarena_gate_stripe stripes[VMARENA_GATE_STRIPES];
};
extern struct vmarena_gate vmarena_gate;

/* A thread's part; all zero when the thread starts. */
struct vmarena_gate_pass {
    bool inside;     /* a call made now, by a signal handler, must not enter */
    uint16_t stripe; /* its number + 1 */
    bool forks;      /* this thread closed the gate */
    uint8_t fork;    /* how the fork was begun: see fork_gate.c */
};

uint16_t vmarena_gate_stripe_number(void);
/* Waits briefly for a closed gate. Returns true if it was opened. */
bool vmarena_gate_wait(const struct vmarena_gate_pass *pass);

static inline void vmarena_gate_leave(struct vmarena_gate_pass *pass) {
    (void)atomic_fetch_sub_explicit(&vmarena_gate.stripes[pass->stripe - 1].inside, 1, memory_order_release);
    atomic_signal_fence(memory_order_seq_cst);
    pass->inside = false;
}

/* Returns false if the gate stays closed, or if this thread is inside already. Count and gate are accessed in sequentially
 * consistent order: either the forking thread sees this one inside, or this one sees the gate closed. */
static inline bool vmarena_gate_enter(struct vmarena_gate_pass *pass) {
    if (__builtin_expect(pass->inside, 0)) return false;
    if (__builtin_expect(pass->stripe == 0, 0)) pass->stripe = vmarena_gate_stripe_number();
    for (;;) {
        pass->inside = true;
        atomic_signal_fence(memory_order_seq_cst);
        (void)atomic_fetch_add(&vmarena_gate.stripes[pass->stripe - 1].inside, 1);
        if (__builtin_expect(atomic_load(&vmarena_gate.closed) == 0, 1)) return true;
        vmarena_gate_leave(pass);
        if (!vmarena_gate_wait(pass)) return false;
    }
}

#endif
