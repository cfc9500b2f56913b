/* SPDX-License-Identifier: MIT */
/*
 * The functions of the SWIG interface that differ from the C API: what C hands out through a pointer, these return, because
 * not every language has out-parameters. SWIG reads this file, too; it drops the prefix "vmarena_swig_".
 *
 * vmarena.i asks vmarena_swig_take_failure() after each call and turns a failure into an error of the language. What the
 * functions named "get" return belongs to the caller and is freed with free(3); the languages do so themselves. Threads and
 * signals: as the function of the C API that each is named after.
 */
#ifndef VMARENA_SWIG_HELPERS_H
#define VMARENA_SWIG_HELPERS_H

#include <vmarena.h>

/* NULL if no function below has failed in the calling thread since the last call of this one; otherwise why the last of them
 * did, in a sentence, which is valid until the thread's next failure in the library. */
const char *vmarena_swig_take_failure(void);

/* ---- addresses ---- */

/* Not every language computes with pointers, and some have no integers of 64 bits. */
void *vmarena_swig_offset(void *pointer, ptrdiff_t bytes);
uint64_t vmarena_swig_address(const void *pointer);
void *vmarena_swig_at(uint64_t address);

/* ---- the system ---- */

/* The size of the hugetlb pages with that index, from 0 and ascending; 0 beyond the last. */
size_t vmarena_swig_huge_page_size(size_t index);
struct vmarena_caps *vmarena_swig_get_caps(void);

/* ---- arenas and snapshots ---- */

struct vmarena *vmarena_swig_create(const struct vmarena_options *options);
struct vmarena_stats *vmarena_swig_get_stats(const struct vmarena *arena);
struct vmarena_stats *vmarena_swig_get_info(const struct vmarena *arena);
struct vmarena_mark *vmarena_swig_get_mark(const struct vmarena *arena);
struct vmarena_snapshot *vmarena_swig_snapshot(struct vmarena *arena, enum vmarena_tracking tracking);
struct vmarena *vmarena_swig_clone(struct vmarena_snapshot *snapshot);
struct vmarena_snapshot_info *vmarena_swig_get_snapshot_info(const struct vmarena_snapshot *snapshot);

/* ---- faults ---- */

/* Load and store 1, 2, 4 or 8 bytes as an unsigned number. fault->signo is not 0 if the access faulted, and the number is 0. */
uint64_t vmarena_swig_read(const void *address, size_t size, struct vmarena_fault *fault);
void vmarena_swig_write(void *address, uint64_t value, size_t size, struct vmarena_fault *fault);
/* As vmarena_copy() from the bytes of a string. */
size_t vmarena_swig_write_bytes(void *to, const char *bytes, size_t length, struct vmarena_fault *fault);
/* Texts of the calling thread, valid until its next call of the same function. */
const char *vmarena_swig_fault_describe(const struct vmarena_fault *fault);
const char *vmarena_swig_fault_explain(const struct vmarena_fault *fault);

/* ---- heaps ---- */

struct vmarena_heap *vmarena_swig_heap_create(const struct vmarena_heap_options *options);
struct vmarena_heap_stats *vmarena_swig_get_heap_stats(const struct vmarena_heap *heap);
/* NULL: the heap knows no object there, which is no failure. */
struct vmarena_heap_object *vmarena_swig_get_heap_object(const struct vmarena_heap *heap, const void *address);
/* One return address of a stack, the innermost at index 0; NULL beyond the last. */
void *vmarena_swig_heap_frame(const struct vmarena_heap *heap, uint32_t stack, size_t index);

/* ---- views ---- */

/* options may be NULL. */
struct vmarena_view *vmarena_swig_view_open(const char *path, const struct vmarena_view_options *options);
struct vmarena_view *vmarena_swig_view_open_fd(int fd, const struct vmarena_view_options *options);
struct vmarena_view_info *vmarena_swig_get_view_info(const struct vmarena_view *view);

/* ---- inspection ---- */

/* The result and its two strings are one block of memory. */
struct vmarena_mapping *vmarena_swig_get_mapping(int pid, uint64_t address);
struct vmarena_totals *vmarena_swig_get_totals(int pid);
uint64_t vmarena_swig_frame(const void *address);
uint64_t vmarena_swig_minor_faults(int pid);
uint64_t vmarena_swig_major_faults(int pid);

#endif
