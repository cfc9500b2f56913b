/* SPDX-License-Identifier: MIT */
/* An array that grows in a reservation of its own and never moves, so that a signal handler can read it at any time. */
#ifndef VMARENA_TABLE_H
#define VMARENA_TABLE_H

#include <stdatomic.h>
#include <stddef.h>

struct vmarena_table {
    char *base;
    size_t size;
    _Atomic size_t committed; /* bytes from base on that may be touched; zero until written */
};

/* Reserves size bytes of address space. A negative errno as mmap(2) gave it, not explained. */
int vmarena_table_open(struct vmarena_table *table, size_t size);
void vmarena_table_close(struct vmarena_table *table);

/* Makes the first `bytes` usable; at most the size. A negative errno as mprotect(2) gave it, not explained. */
int vmarena_table_reach(struct vmarena_table *table, size_t bytes);

#endif
