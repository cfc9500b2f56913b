/* SPDX-License-Identifier: MIT */
#include "prim/prim.h"

#include "base/table.h"

#include "base/rounding.h"

int vmarena_table_open(struct vmarena_table *table, size_t size) {
    size_t page = vmarena_prim_page_size();
    void *base;
    table->size = vmarena_round_up(size, page);
    atomic_store_explicit(&table->committed, 0, memory_order_relaxed);
    int error = vmarena_prim_map(&base, table->size, page, VMARENA_NONE, false);
    if (error == 0) table->base = base;
    return error;
}

void vmarena_table_close(struct vmarena_table *table) { (void)vmarena_prim_unmap(table->base, table->size); }

/* Doubles up to this, so that small tables cost a handful of calls and big ones waste no accounted memory. */
#define STEP ((size_t)1 << 20)

int vmarena_table_reach(struct vmarena_table *table, size_t bytes) {
    size_t committed = atomic_load_explicit(&table->committed, memory_order_relaxed);
    if (bytes <= committed) return 0;
    size_t page = vmarena_prim_page_size(), wanted = vmarena_round_up(bytes, page);
    size_t ahead = committed < STEP ? committed : STEP;
    if (wanted - committed < ahead) wanted = committed + ahead;
    if (wanted > table->size) wanted = table->size;
    int error = vmarena_prim_protect(table->base, wanted, VMARENA_READ | VMARENA_WRITE);
    if (error == 0) atomic_store_explicit(&table->committed, wanted, memory_order_release);
    return error;
}
