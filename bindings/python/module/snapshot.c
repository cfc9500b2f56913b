/* SPDX-License-Identifier: MIT */
#include "module.h"

#include <stdlib.h>
#include <unistd.h>

typedef struct vmarena_py_handle Handle;
typedef struct vmarena_py_memory Memory;

/* A snapshot has its arena's lock: locking either locks both. */
static bool enter_both(PyObject *arena_object, PyObject *snapshot_object, Handle **arena, Handle **snapshot) {
    *arena = vmarena_py_enter(arena_object, VMARENA_PY_ARENA);
    if (*arena == NULL) return false;
    *snapshot = vmarena_py_enter(snapshot_object, VMARENA_PY_SNAPSHOT);
    if (*snapshot != NULL && (*snapshot)->lock == (*arena)->lock) return true;
    if (*snapshot != NULL) {
        (void)vmarena_py_leave(*snapshot, NULL);
        PyErr_SetString(PyExc_ValueError, "the snapshot was taken of another arena");
    }
    (void)vmarena_py_leave(*arena, NULL);
    return false;
}

/*
 * Not by protection: where another handler displaces ours, which faulthandler does, a write to a page not written yet
 * would end the interpreter. So AUTO leaves it out.
 */
static int take(struct vmarena_snapshot **out, struct vmarena *arena, unsigned tracking) {
    struct vmarena_snapshot_info info;
    int error = vmarena_snapshot(out, arena, (enum vmarena_tracking)tracking);
    if (error != 0 || tracking != VMARENA_TRACK_AUTO) return error;
    error = vmarena_snapshot_info(*out, &info);
    if (error == 0 && info.tracking != VMARENA_TRACK_PROTECT) return 0;
    vmarena_snapshot_free(*out);
    return error != 0 ? error : vmarena_snapshot(out, arena, VMARENA_TRACK_COMPARE);
}

/*
 * The mapping of a memory file is exchanged, and is absent for a moment: another thread's write through a buffer would end
 * the interpreter. While there are buffers, the GIL keeps Python's threads from it.
 */
static PyThreadState *let_others_run(const Handle *arena) {
    return arena->memory_file && arena->exports != 0 ? NULL : PyEval_SaveThread();
}

static void stop_others(PyThreadState *thread) {
    if (thread != NULL) PyEval_RestoreThread(thread);
}

static PyObject *snapshot_arena(PyObject *module, PyObject *args) {
    PyObject *object;
    unsigned tracking;
    struct vmarena_snapshot *taken;
    if (!PyArg_ParseTuple(args, "OO&:snapshot", &object, vmarena_py_to_unsigned, &tracking)) return NULL;
    Handle *arena = vmarena_py_enter(object, VMARENA_PY_ARENA);
    if (arena == NULL) return NULL;
    PyThreadState *thread = let_others_run(arena);
    int error = take(&taken, arena->object, tracking);
    stop_others(thread);
    if (error != 0) return vmarena_py_done(arena, error);
    PyObject *snapshot = vmarena_py_wrap(vmarena_py_state(module), VMARENA_PY_SNAPSHOT, taken, arena->lock, 0);
    if (snapshot != NULL) {
        ((Handle *)snapshot)->serial = arena->serial;
        ((Handle *)snapshot)->process = arena->process;
    }
    return vmarena_py_leave(arena, snapshot);
}

static PyObject *restore(PyObject *module, PyObject *args) {
    PyObject *arena_object, *snapshot_object, *result = NULL;
    Handle *arena, *snapshot;
    (void)module;
    if (!PyArg_ParseTuple(args, "OO:restore", &arena_object, &snapshot_object) ||
        !enter_both(arena_object, snapshot_object, &arena, &snapshot))
        return NULL;
    if (vmarena_py_may_take(arena, snapshot->serial, "restore")) {
        PyThreadState *thread = let_others_run(arena);
        int error = vmarena_restore(arena->object, snapshot->object);
        stop_others(thread);
        if (error == 0) vmarena_py_take(arena, snapshot->serial);
        result = error == 0 ? Py_NewRef(Py_None) : vmarena_py_error(vmarena_py_state_of(arena_object), error);
    }
    return vmarena_py_leave(arena, vmarena_py_leave(snapshot, result));
}

/* ---- clones ------------------------------------------------------------------------------------------------------ */

static PyObject *clone_snapshot(PyObject *module, PyObject *object) {
    struct vmarena *arena;
    struct vmarena_stats stats;
    int error;
    Handle *snapshot = vmarena_py_enter(object, VMARENA_PY_SNAPSHOT);
    if (snapshot == NULL) return NULL;
    Py_BEGIN_ALLOW_THREADS;
    error = vmarena_clone(&arena, snapshot->object);
    Py_END_ALLOW_THREADS;
    if (error != 0) return vmarena_py_done(snapshot, error);
    (void)vmarena_py_leave(snapshot, NULL);
    vmarena_info(arena, &stats);
    PyObject *made = vmarena_py_wrap(vmarena_py_state(module), VMARENA_PY_ARENA, arena, NULL, stats.prot);
    if (made == NULL) return NULL;
    ((Handle *)made)->memory_file = (stats.flags & VMARENA_MEMFD) != 0;
    if (stats.flags & VMARENA_DONT_FORK) ((Handle *)made)->process = getpid();
    return made;
}

/* The first byte of an arena without fences. */
static char *start_of(const Handle *arena) {
    struct vmarena_stats stats;
    vmarena_info(arena->object, &stats);
    return (char *)(vmarena_mark(arena->object).cursor + 1 - stats.used);
}

static PyObject *find_counterpart(Handle *arena, const Handle *snapshot, const Memory *memory) {
    struct vmarena_stats stats;
    vmarena_info(arena->object, &stats);
    size_t offset = memory->handle->kind == VMARENA_PY_ARENA ? (size_t)(memory->start - start_of(memory->handle)) : 0;
    if (memory->handle->kind == VMARENA_PY_ARENA && memory->serial <= snapshot->serial && offset <= stats.used &&
        (size_t)memory->size <= stats.used - offset)
        return vmarena_py_memory_new(arena, start_of(arena) + offset, (size_t)memory->size);
    PyErr_SetString(PyExc_ValueError, "the memory was not in the arena when the snapshot was taken");
    return NULL;
}

/* counterpart(arena, snapshot, memory): the same bytes in a clone, which no other thread knows yet. */
static PyObject *counterpart(PyObject *module, PyObject *args) {
    PyObject *clone_object, *snapshot_object, *value;
    (void)module;
    if (!PyArg_ParseTuple(args, "OOO:counterpart", &clone_object, &snapshot_object, &value)) return NULL;
    Handle *made = vmarena_py_enter(clone_object, VMARENA_PY_ARENA);
    if (made == NULL) return NULL;
    (void)vmarena_py_leave(made, NULL);
    Handle *snapshot = vmarena_py_enter(snapshot_object, VMARENA_PY_SNAPSHOT);
    if (snapshot == NULL) return NULL;
    const Memory *memory = vmarena_py_memory(value);
    return vmarena_py_leave(snapshot, memory == NULL ? NULL : find_counterpart(made, snapshot, memory));
}

/* ---- what was written -------------------------------------------------------------------------------------------- */

static int add_pages(const struct vmarena_pages *pages, void *list) {
    return vmarena_py_append(list, pages, sizeof *pages) ? 0 : 1;
}

static PyObject *tuples(const struct vmarena_py_list *list) {
    const struct vmarena_pages *pages = (const struct vmarena_pages *)(const void *)list->items;
    PyObject *result = PyList_New((Py_ssize_t)list->count);
    for (size_t i = 0; i < list->count && result != NULL; i++) {
        PyObject *range = Py_BuildValue("(KK)", (unsigned long long)pages[i].start, (unsigned long long)pages[i].end);
        if (range == NULL || PyList_SetItem(result, (Py_ssize_t)i, range) != 0) Py_CLEAR(result);
    }
    return result;
}

static PyObject *dirty_pages(PyObject *module, PyObject *args) {
    PyObject *arena_object, *snapshot_object, *result;
    Handle *arena, *snapshot;
    struct vmarena_py_list list = {NULL, 0, 0};
    int error;
    if (!PyArg_ParseTuple(args, "OO:dirty_pages", &arena_object, &snapshot_object) ||
        !enter_both(arena_object, snapshot_object, &arena, &snapshot))
        return NULL;
    Py_BEGIN_ALLOW_THREADS;
    error = vmarena_dirty_pages(arena->object, snapshot->object, add_pages, &list);
    Py_END_ALLOW_THREADS;
    (void)vmarena_py_leave(arena, vmarena_py_leave(snapshot, NULL));
    result = error < 0    ? vmarena_py_error(vmarena_py_state(module), error)
             : error == 0 ? tuples(&list)
                          : PyErr_NoMemory();
    free(list.items);
    return result;
}

static PyObject *snapshot_info(PyObject *module, PyObject *object) {
    struct vmarena_snapshot_info i;
    (void)module;
    Handle *snapshot = vmarena_py_enter(object, VMARENA_PY_SNAPSHOT);
    if (snapshot == NULL) return NULL;
    int error = vmarena_snapshot_info(snapshot->object, &i);
    if (error != 0) return vmarena_py_done(snapshot, error);
    return vmarena_py_leave(snapshot,
                            Py_BuildValue("(innnK)", (int)i.tracking, (Py_ssize_t)i.used, (Py_ssize_t)i.copied,
                                          (Py_ssize_t)i.restored, (unsigned long long)i.restores));
}

PyMethodDef vmarena_py_snapshot_methods[] = {
    {"snapshot", snapshot_arena, METH_VARARGS, NULL},
    {"restore", restore, METH_VARARGS, NULL},
    {"clone", clone_snapshot, METH_O, NULL},
    {"counterpart", counterpart, METH_VARARGS, NULL},
    {"dirty_pages", dirty_pages, METH_VARARGS, NULL},
    {"snapshot_info", snapshot_info, METH_O, NULL},
    {NULL, NULL, 0, NULL},
};
