/* SPDX-License-Identifier: MIT */
/*
 * The two objects of the Python binding, so that no order of calls can crash the interpreter:
 *
 *      Handle    owns an arena, a heap, a view or a snapshot. Closed, it is refused everywhere.
 *      Memory    a range of a handle's memory, with the buffer protocol. It keeps its handle alive.
 *
 * A handle knows its live Memory objects, newest first, in a list that a Memory leaves when it dies: neither keeps the
 * other alive for ever, and a rewind visits only what it takes back. Buffers that are out (memoryviews, numpy arrays)
 * are counted, and while there are any, nothing that would pull their memory away is done: BufferError.
 *
 * All functions are called with the GIL held, which makes the calls on one arena one after the other. Those that return
 * PyObject * return a new reference, or NULL with an exception set.
 */
#ifndef VMARENA_PY_HANDLE_H
#define VMARENA_PY_HANDLE_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include <vmarena.h>

enum vmarena_py_kind { VMARENA_PY_ARENA, VMARENA_PY_HEAP, VMARENA_PY_VIEW, VMARENA_PY_SNAPSHOT, VMARENA_PY_COUNTERS };

struct vmarena_py_memory;

/* A range of pages whose protection is not that of the whole arena. */
struct vmarena_py_range {
    uintptr_t start, end;
    unsigned prot;
};

struct vmarena_py_handle {
    PyObject_HEAD enum vmarena_py_kind kind;
    void *object;                     /* struct vmarena *, vmarena_heap *, ...; NULL: closed */
    struct vmarena_py_memory *newest; /* not owned: they own the handle */
    Py_ssize_t exports;               /* of all of them */
    uint64_t serial;                  /* of the newest Memory so far; in a snapshot, of its arena when it was taken */
    unsigned prot;                    /* of the whole */
    struct vmarena_py_range *ranges;  /* sorted and apart */
    size_t range_count;
    bool fenced;
    pid_t process;                             /* DONT_FORK: the only one where it exists; 0: all */
    bool demand;                               /* open_on_fault */
    size_t opened;                             /* pages, by it */
    struct vmarena_py_handle *next, *previous; /* all that are open */
};

struct vmarena_py_memory {
    PyObject_HEAD char *start; /* NULL: released */
    Py_ssize_t size;
    Py_ssize_t exports;
    uint64_t serial;
    struct vmarena_py_memory *older, *newer;
    struct vmarena_py_handle *handle;
};

/* Makes the types and the exception vmarena.Error and adds them to the module: 0, or -1 with an exception. */
int vmarena_py_init(PyObject *module);

/* ---- arguments: 0, or -1 with an exception that names the argument ---- */
int vmarena_py_size(PyObject *value, const char *name, size_t most, size_t *out);
int vmarena_py_address(PyObject *value, const char *name, uintptr_t *out); /* an int, or a Memory */
/* The open handle of that kind. */
struct vmarena_py_handle *vmarena_py_handle(PyObject *value, enum vmarena_py_kind kind);
struct vmarena_py_memory *vmarena_py_memory(PyObject *value); /* one that is not released */

/* None, or for a negative errno NULL with vmarena.Error. */
PyObject *vmarena_py_done(int code);
PyObject *vmarena_py_error(int code);
PyObject *vmarena_py_text(const char *text); /* a str; what is no UTF-8, as a name cut short, is replaced */

/* ---- life ---- */
PyObject *vmarena_py_wrap(enum vmarena_py_kind kind, void *object, unsigned prot); /* takes the object over */
PyObject *vmarena_py_memory_new(struct vmarena_py_handle *handle, void *start, size_t size);
/* Refuses with BufferError and false while buffers of memory newer than serial are out. */
bool vmarena_py_may_take(const struct vmarena_py_handle *handle, uint64_t serial, const char *deed);
void vmarena_py_take(struct vmarena_py_handle *handle, uint64_t serial); /* releases every Memory newer than serial */
PyObject *vmarena_py_close(PyObject *handle);

/* ---- arenas ---- */
PyObject *vmarena_py_create(const struct vmarena_options *options);
PyObject *vmarena_py_alloc(struct vmarena_py_handle *arena, size_t size, size_t align, bool zeroed);
PyObject *vmarena_py_resize(struct vmarena_py_handle *arena, struct vmarena_py_memory *memory, size_t size);
PyObject *vmarena_py_mark(struct vmarena_py_handle *arena);
PyObject *vmarena_py_rewind(struct vmarena_py_handle *arena, PyObject *mark);
PyObject *vmarena_py_reset(struct vmarena_py_handle *arena, size_t keep);
PyObject *vmarena_py_check(struct vmarena_py_handle *arena);
PyObject *vmarena_py_protect(struct vmarena_py_handle *arena, unsigned prot);
PyObject *vmarena_py_protect_range(struct vmarena_py_handle *arena, uintptr_t start, size_t length, unsigned prot);

/* ---- snapshots: what is newer than the snapshot goes with a restore ---- */
PyObject *vmarena_py_snapshot(struct vmarena_py_handle *arena, unsigned tracking);
PyObject *vmarena_py_restore(struct vmarena_py_handle *arena, struct vmarena_py_handle *snapshot);
PyObject *vmarena_py_clone(struct vmarena_py_handle *snapshot);
/* The same bytes in a clone of a snapshot of memory's arena. */
PyObject *vmarena_py_counterpart(struct vmarena_py_handle *arena, struct vmarena_py_handle *snapshot,
                                 struct vmarena_py_memory *memory);
PyObject *vmarena_py_dirty_pages(struct vmarena_py_handle *arena, struct vmarena_py_handle *snapshot);

/* ---- heaps: an object is freed by vmarena_py_heap_free(), or with the last reference to its Memory ---- */
PyObject *vmarena_py_heap_create(const struct vmarena_heap_options *options);
PyObject *vmarena_py_heap_alloc(struct vmarena_py_handle *heap, size_t size, size_t align);
PyObject *vmarena_py_heap_resize(struct vmarena_py_handle *heap, struct vmarena_py_memory *memory, size_t size);
PyObject *vmarena_py_heap_free(struct vmarena_py_handle *heap, struct vmarena_py_memory *memory);

/* ---- views ---- */
PyObject *vmarena_py_view_open(const char *path, int fd,
                               const struct vmarena_view_options *options); /* path NULL: fd */
PyObject *vmarena_py_view_data(struct vmarena_py_handle *view);
PyObject *vmarena_py_view_move(struct vmarena_py_handle *view, uint64_t offset, size_t length);

/* ---- the system's view (inspect.c): tuples of what the C structures hold, in their order ---- */
PyObject *vmarena_py_maps(int pid);
PyObject *vmarena_py_mapping_at(int pid, uintptr_t address);
PyObject *vmarena_py_residency(int pid, uintptr_t start, size_t length, unsigned wanted); /* (known, [pages, ...]) */
PyObject *vmarena_py_totals(int pid);
PyObject *vmarena_py_fault_counts(int pid, bool thread); /* pid 0: this process, or this thread */
PyObject *vmarena_py_counters_open(int pid, unsigned flags);
PyObject *vmarena_py_counters_read(struct vmarena_py_handle *counters); /* {name: value, or the errno} */

/* ---- faults (report.c) ---- */
/* What Fault of _faults.py is made of; the place is told of an instruction that is not the library's own. */
PyObject *vmarena_py_fault(const struct vmarena_fault *fault, bool foreign);
/* (done, fault or None) */
PyObject *vmarena_py_outcome(size_t done, const struct vmarena_fault *fault);
/* Before an operation that may fault: our handlers on top, whoever displaced them. -1 with an exception. */
int vmarena_py_prepare(void);
/*
 * From now on a fault in memory of any handle, open or to come, that no guarded operation waits for, writes to fd: its
 * record, and the process ends (a child that was made for a call); or, in words, a line, and it takes its course.
 */
PyObject *vmarena_py_report_faults(int fd, bool in_words);
int vmarena_py_watch(struct vmarena_py_handle *handle); /* for a new handle: a negative errno */
extern struct vmarena_py_handle *vmarena_py_open_handles;
/* Each page of the arena is opened at its first touch; handle->opened counts them. */
PyObject *vmarena_py_open_on_fault(struct vmarena_py_handle *arena, bool on);

#endif
