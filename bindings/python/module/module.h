/* SPDX-License-Identifier: MIT */
/*
 * The extension module vmarena._vmarena: two types, so that no order of calls can crash the interpreter, and functions
 * on them.
 *
 *      Handle    owns an arena, a heap, a view, a snapshot or a set of counters. Once closed, every call refuses it.
 *      Memory    a range of a handle's memory, with the buffer protocol. It keeps its handle alive.
 *
 * A handle knows its live Memory objects, newest first, in a list that a Memory leaves when it dies: neither keeps the
 * other alive for ever, and a rewind visits only what it takes back. Buffers that are out (memoryviews, numpy arrays) and
 * operations under way are counted as exports, and while there are any, whatever would pull their memory away raises
 * BufferError.
 *
 * Modules: each import makes a module with types and exceptions of its own (multi-phase initialisation, PEP 489), and
 * each interpreter has its own. Objects are recognised by what all these types share, so that those of an earlier import
 * stay valid.
 *
 * Threads: all Python objects and the lists between them are used with the GIL held. Calls of the library that may take
 * long run without it, and the lock of their handle makes the calls on one arena one after the other. A thread waits for
 * that lock without the GIL.
 *
 * Functions that return PyObject * return a new reference, or NULL with an exception set.
 */
#ifndef VMARENA_PY_MODULE_H
#define VMARENA_PY_MODULE_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include <vmarena.h>

enum vmarena_py_kind { VMARENA_PY_ARENA, VMARENA_PY_HEAP, VMARENA_PY_VIEW, VMARENA_PY_SNAPSHOT, VMARENA_PY_COUNTERS };

struct vmarena_py_memory;
struct vmarena_py_lock;

/* What an import of the module has for itself. */
struct vmarena_py_state {
    PyObject *handle_type, *memory_type;
    PyObject *error_type; /* vmarena.Error */
    PyObject *fault_type; /* vmarena.Fault, which _faults.py registers; NULL before */
};

/* A range of pages whose protection is not that of the whole arena. */
struct vmarena_py_range {
    uintptr_t start, end;
    unsigned prot;
};

struct vmarena_py_handle {
    PyObject_HEAD enum vmarena_py_kind kind;
    void *object;                     /* struct vmarena *, vmarena_heap *, ...; NULL: closed */
    struct vmarena_py_lock *lock;     /* a snapshot has its arena's */
    struct vmarena_py_memory *newest; /* not owned: they own the handle */
    Py_ssize_t exports;               /* of all of them */
    uint64_t serial;                  /* of the newest Memory so far; in a snapshot, of its arena when it was taken */
    unsigned prot;                    /* of the whole */
    struct vmarena_py_range *ranges;  /* sorted and apart */
    size_t range_count;
    bool fenced;
    bool memory_file;                          /* an arena on a memory file */
    pid_t process;                             /* DONT_FORK: the only one where it exists; 0: all */
    bool demand;                               /* open_on_fault */
    size_t opened;                             /* pages, by it */
    struct vmarena_py_handle *next, *previous; /* all of the process that are open */
};

struct vmarena_py_memory {
    PyObject_HEAD char *start; /* NULL: released */
    Py_ssize_t size;
    Py_ssize_t exports;
    uint64_t serial;
    struct vmarena_py_memory *older, *newer;
    struct vmarena_py_handle *handle;
    PyObject *weak_references;
};

/* ---- the module (module.c) ---- */
struct vmarena_py_state *vmarena_py_state(PyObject *module);
struct vmarena_py_state *
vmarena_py_state_of(PyObject *object); /* of a Handle or a Memory: of the module that made it */
extern PyMethodDef vmarena_py_arena_methods[], vmarena_py_snapshot_methods[], vmarena_py_heap_methods[],
    vmarena_py_view_methods[], vmarena_py_inspect_methods[], vmarena_py_guarded_methods[], vmarena_py_fault_methods[],
    vmarena_py_handle_methods[];

/* ---- arguments and results (arguments.c) ---- */
struct vmarena_py_number {
    const char *name; /* for the exception */
    size_t value;
};
/* Converters for "O&" of PyArg_ParseTuple: 1, or 0 with an exception that names the argument. */
int vmarena_py_to_size(PyObject *value, void *number); /* up to PY_SSIZE_T_MAX */
int vmarena_py_to_any_size(PyObject *value, void *number);
int vmarena_py_to_address(PyObject *value, void *number); /* of an int, or a Memory that is not released */
int vmarena_py_to_unsigned(PyObject *value, void *out);   /* unsigned: flags and members of enumerations */
int vmarena_py_to_name(PyObject *value, void *out);       /* const char *, NULL for None; lives as long as the value */

PyObject *vmarena_py_text(const char *text); /* a str; what is no UTF-8, as a name cut short, is replaced */
PyObject *vmarena_py_error(const struct vmarena_py_state *state,
                           int code); /* NULL: vmarena.Error for a negative errno */
PyObject *vmarena_py_refuse(const struct vmarena_py_state *state, int code, const char *sentence);

/* A list that grows without the GIL. items is NULL or from malloc(3). */
struct vmarena_py_list {
    char *items;
    size_t count, room;
};
bool vmarena_py_append(struct vmarena_py_list *list, const void *item, size_t size); /* false: no memory */

/* ---- locks (lock.c) ---- */
struct vmarena_py_lock *vmarena_py_lock_new(void); /* NULL with an exception */
struct vmarena_py_lock *vmarena_py_lock_share(struct vmarena_py_lock *lock);
void vmarena_py_lock_drop(struct vmarena_py_lock *lock);
/*
 * Waits for other threads without the GIL; a thread may take what it holds again. false, without an exception: the thread
 * that holds it did not come along into this child of fork(2), and left what it worked on halfway.
 */
bool vmarena_py_lock_take(struct vmarena_py_lock *lock);
void vmarena_py_lock_give(struct vmarena_py_lock *lock);
void vmarena_py_lock_forked(void); /* in a child of fork(2), first */

/* ---- handles (handle.c) ---- */
extern PyType_Spec vmarena_py_handle_spec;
int vmarena_py_handles_init(void); /* once for the process: 0, or -1 with an exception */
/* Takes the object over, also where it fails. lock: shared with another handle, or NULL for a new one. */
PyObject *vmarena_py_wrap(const struct vmarena_py_state *state, enum vmarena_py_kind kind, void *object,
                          struct vmarena_py_lock *lock, unsigned prot);
/* The open handle of that kind, locked; NULL with an exception. vmarena_py_leave() unlocks it. */
struct vmarena_py_handle *vmarena_py_enter(PyObject *value, enum vmarena_py_kind kind);
bool vmarena_py_enter_handle(struct vmarena_py_handle *handle);
PyObject *vmarena_py_leave(struct vmarena_py_handle *handle, PyObject *result); /* returns result */
PyObject *vmarena_py_done(struct vmarena_py_handle *handle, int code); /* leaves; None, or for a negative errno Error */
const char *vmarena_py_kind_name(enum vmarena_py_kind kind);
/* BufferError and false while there are exports of memory newer than serial. */
bool vmarena_py_may_take(const struct vmarena_py_handle *handle, uint64_t serial, const char *deed);
void vmarena_py_take(struct vmarena_py_handle *handle, uint64_t serial); /* releases every Memory newer than serial */
/* Calls function for every open handle of the process until it returns another result than 0, which it returns. */
int vmarena_py_each_open(int (*function)(struct vmarena_py_handle *handle));

/* ---- memory (memory.c) ---- */
extern PyType_Spec vmarena_py_memory_spec;
bool vmarena_py_is_memory(PyObject *value);
PyObject *vmarena_py_memory_new(struct vmarena_py_handle *handle, void *start, size_t size);
struct vmarena_py_memory *vmarena_py_memory(PyObject *value); /* one that is not released, or NULL with an exception */
/* The same, of this handle, without exports. */
struct vmarena_py_memory *vmarena_py_changeable(struct vmarena_py_handle *handle, PyObject *value, const char *deed);
void vmarena_py_memory_release(struct vmarena_py_memory *memory);
void vmarena_py_memory_moved(struct vmarena_py_memory *memory, char *start, size_t size); /* now the newest */
/* Counts an export, as a buffer is, until unpin: the memory stays where it is. false with an exception. */
bool vmarena_py_pin(struct vmarena_py_memory *memory);
void vmarena_py_unpin(struct vmarena_py_memory *memory);

/* ---- protection (protection.c): what is known of the pages' protection ---- */
unsigned vmarena_py_prot(const struct vmarena_py_memory *memory); /* what every byte of it allows */
bool vmarena_py_all_allow(const struct vmarena_py_handle *handle, unsigned prot);
bool vmarena_py_may_protect(const struct vmarena_py_handle *handle, uintptr_t start, uintptr_t end, unsigned prot);
/* The list of ranges with one more; NULL: no memory. */
struct vmarena_py_range *vmarena_py_ranges_with(const struct vmarena_py_handle *handle, struct vmarena_py_range added,
                                                size_t *count);
void vmarena_py_set_ranges(struct vmarena_py_handle *handle, struct vmarena_py_range *ranges, size_t count);

/* ---- operations that survive a fault (guarded.c) ---- */
PyObject *vmarena_py_read(const struct vmarena_py_state *state, const char *start, size_t size); /* bytes, or Fault */
int vmarena_py_write(const struct vmarena_py_state *state, char *to, const void *data, size_t size); /* -1: Fault */
/* Index of the first byte that differs; size: none does; -1: Fault. */
Py_ssize_t vmarena_py_compare(const struct vmarena_py_state *state, const char *left, const char *right, size_t size);

/* ---- faults (faults.c) ---- */
/* NULL, with vmarena.Fault, or Error where there was no fault: of an operation that had done so many bytes. */
PyObject *vmarena_py_raise_fault(const struct vmarena_py_state *state, const struct vmarena_fault *fault, size_t done);
/* Before an operation that may fault: our handlers on top, whoever displaced them. -1 with an exception. */
int vmarena_py_prepare(const struct vmarena_py_state *state);
int vmarena_py_watch(struct vmarena_py_handle *handle); /* for a new handle: a negative errno */

#endif
