/* SPDX-License-Identifier: MIT */
/* An object of a heap is freed by heap_free(), or with the last reference to its Memory. */
#include "module.h"

#include <errno.h>

typedef struct vmarena_py_handle Handle;
typedef struct vmarena_py_memory Memory;
typedef struct vmarena_py_number Number;

static PyObject *heap_create(PyObject *module, PyObject *args) {
    Number reserve = {.name = "reserve"}, align = {.name = "align"}, guard = {.name = "guard"};
    Number bytes = {.name = "quarantine_bytes"}, count = {.name = "quarantine_count"};
    Number interval = {.name = "check_interval"}, cap = {.name = "memory_cap"};
    unsigned guard_kind, side, reuse;
    int quarantine;
    const char *name;
    if (!PyArg_ParseTuple(args, "O&O&O&O&O&O&O&O&O&O&pO&:heap_create", vmarena_py_to_size, &reserve, vmarena_py_to_size,
                          &align, vmarena_py_to_size, &guard, vmarena_py_to_unsigned, &guard_kind,
                          vmarena_py_to_unsigned, &side, vmarena_py_to_unsigned, &reuse, vmarena_py_to_size, &bytes,
                          vmarena_py_to_size, &count, vmarena_py_to_size, &interval, vmarena_py_to_size, &cap,
                          &quarantine, vmarena_py_to_name, &name))
        return NULL;
    struct vmarena_heap_options options = {.name = name,
                                           .reserve = reserve.value,
                                           .align = align.value,
                                           .guard = guard.value,
                                           .guard_kind = (enum vmarena_guard_kind)guard_kind,
                                           .side = (enum vmarena_heap_side)side,
                                           .reuse = (enum vmarena_heap_reuse)reuse,
                                           .quarantine_bytes = bytes.value,
                                           .quarantine_count = count.value,
                                           .check_interval = interval.value,
                                           .memory_cap = cap.value,
                                           .flags =
                                               VMARENA_HEAP_NO_STACKS | (quarantine ? 0 : VMARENA_HEAP_NO_QUARANTINE)};
    const struct vmarena_py_state *state = vmarena_py_state(module);
    struct vmarena_heap *heap;
    int error;
    Py_BEGIN_ALLOW_THREADS;
    error = vmarena_heap_create(&heap, &options);
    Py_END_ALLOW_THREADS;
    return error != 0 ? vmarena_py_error(state, error)
                      : vmarena_py_wrap(state, VMARENA_PY_HEAP, heap, NULL, VMARENA_READ | VMARENA_WRITE);
}

static PyObject *heap_alloc(PyObject *module, PyObject *args) {
    PyObject *object;
    Number size = {.name = "size"}, align = {.name = "align"};
    (void)module;
    if (!PyArg_ParseTuple(args, "OO&O&:heap_alloc", &object, vmarena_py_to_size, &size, vmarena_py_to_size, &align))
        return NULL;
    Handle *heap = vmarena_py_enter(object, VMARENA_PY_HEAP);
    if (heap == NULL) return NULL;
    void *start = vmarena_heap_alloc(heap->object, size.value, align.value);
    if (start == NULL) return vmarena_py_done(heap, vmarena_last_error());
    PyObject *memory = vmarena_py_memory_new(heap, start, size.value);
    if (memory == NULL) (void)vmarena_heap_free(heap->object, start);
    return vmarena_py_leave(heap, memory);
}

static PyObject *heap_resize(PyObject *module, PyObject *args) {
    PyObject *object, *value;
    Number size = {.name = "size"};
    char *start;
    (void)module;
    if (!PyArg_ParseTuple(args, "OOO&:heap_resize", &object, &value, vmarena_py_to_size, &size)) return NULL;
    Handle *heap = vmarena_py_enter(object, VMARENA_PY_HEAP);
    if (heap == NULL) return NULL;
    Memory *memory = vmarena_py_changeable(heap, value, "resize");
    if (memory == NULL) return vmarena_py_leave(heap, NULL);
    Py_BEGIN_ALLOW_THREADS;
    start = vmarena_heap_realloc(heap->object, memory->start, size.value);
    Py_END_ALLOW_THREADS;
    if (start != NULL) vmarena_py_memory_moved(memory, start, size.value);
    return vmarena_py_done(heap, start == NULL ? vmarena_last_error() : 0);
}

static PyObject *heap_free(PyObject *module, PyObject *args) {
    PyObject *object, *value;
    int error;
    (void)module;
    if (!PyArg_ParseTuple(args, "OO:heap_free", &object, &value)) return NULL;
    Handle *heap = vmarena_py_enter(object, VMARENA_PY_HEAP);
    if (heap == NULL) return NULL;
    Memory *memory = vmarena_py_changeable(heap, value, "free");
    if (memory == NULL) return vmarena_py_leave(heap, NULL);
    Py_BEGIN_ALLOW_THREADS;
    error = vmarena_heap_free(heap->object, memory->start);
    Py_END_ALLOW_THREADS;
    if (error == 0 || error == -EILSEQ) vmarena_py_memory_release(memory);
    return vmarena_py_done(heap, error);
}

static PyObject *heap_check(PyObject *module, PyObject *object) {
    int error;
    (void)module;
    Handle *heap = vmarena_py_enter(object, VMARENA_PY_HEAP);
    if (heap == NULL) return NULL;
    Py_BEGIN_ALLOW_THREADS;
    error = vmarena_heap_check(heap->object);
    Py_END_ALLOW_THREADS;
    return vmarena_py_done(heap, error);
}

static PyObject *heap_owns(PyObject *module, PyObject *args) {
    PyObject *object;
    Number address = {.name = "address"};
    (void)module;
    if (!PyArg_ParseTuple(args, "OO&:heap_owns", &object, vmarena_py_to_address, &address)) return NULL;
    Handle *heap = vmarena_py_enter(object, VMARENA_PY_HEAP);
    if (heap == NULL) return NULL;
    bool owned = vmarena_heap_owns(heap->object, (const void *)address.value);
    return vmarena_py_leave(heap, PyBool_FromLong(owned));
}

static PyObject *heap_stats(PyObject *module, PyObject *object) {
    struct vmarena_heap_stats s;
    (void)module;
    Handle *heap = vmarena_py_enter(object, VMARENA_PY_HEAP);
    if (heap == NULL) return NULL;
    Py_BEGIN_ALLOW_THREADS;
    vmarena_heap_stats(heap->object, &s);
    Py_END_ALLOW_THREADS;
    (void)vmarena_py_leave(heap, NULL);
    return Py_BuildValue(
        "{s:n,s:n,s:n,s:n,s:n,s:n,s:n,s:K,s:K,s:K,s:K,s:K,s:n,s:n,s:n,s:n,s:i,s:n,s:n,s:N,s:N,s:K}", "live",
        (Py_ssize_t)s.live, "live_peak", (Py_ssize_t)s.live_peak, "live_bytes", (Py_ssize_t)s.live_bytes, "page_bytes",
        (Py_ssize_t)s.page_bytes, "page_peak", (Py_ssize_t)s.page_peak, "quarantined", (Py_ssize_t)s.quarantined,
        "quarantined_bytes", (Py_ssize_t)s.quarantined_bytes, "allocs", (unsigned long long)s.allocs, "frees",
        (unsigned long long)s.frees, "failed", (unsigned long long)s.failed, "errors", (unsigned long long)s.errors,
        "checks", (unsigned long long)s.checks, "reserved", (Py_ssize_t)s.reserved, "committed",
        (Py_ssize_t)s.committed, "record_bytes", (Py_ssize_t)s.record_bytes, "guard", (Py_ssize_t)s.guard, "guard_kind",
        (int)s.guard_kind, "guard_limit", (Py_ssize_t)s.guard_limit, "map_entry_limit", (Py_ssize_t)s.map_entry_limit,
        "unlocked", PyBool_FromLong(s.unlocked), "forked", PyBool_FromLong(s.forked), "unfenced",
        (unsigned long long)s.unfenced);
}

PyMethodDef vmarena_py_heap_methods[] = {
    {"heap_create", heap_create, METH_VARARGS, NULL}, {"heap_alloc", heap_alloc, METH_VARARGS, NULL},
    {"heap_resize", heap_resize, METH_VARARGS, NULL}, {"heap_free", heap_free, METH_VARARGS, NULL},
    {"heap_check", heap_check, METH_O, NULL},         {"heap_owns", heap_owns, METH_VARARGS, NULL},
    {"heap_stats", heap_stats, METH_O, NULL},         {NULL, NULL, 0, NULL},
};
