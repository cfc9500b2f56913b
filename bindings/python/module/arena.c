/* SPDX-License-Identifier: MIT */
#include "module.h"

#include <errno.h>
#include <unistd.h>

typedef struct vmarena_py_handle Handle;
typedef struct vmarena_py_memory Memory;
typedef struct vmarena_py_number Number;

static PyObject *create(PyObject *module, PyObject *args) {
    Number reserve = {.name = "reserve"}, commit = {.name = "commit"}, guard = {.name = "guard"};
    unsigned huge, fence, guard_kind, commit_policy, flags;
    const char *name;
    if (!PyArg_ParseTuple(args, "O&O&O&O&O&O&O&O&O&:create", vmarena_py_to_size, &reserve, vmarena_py_to_size, &commit,
                          vmarena_py_to_size, &guard, vmarena_py_to_unsigned, &huge, vmarena_py_to_unsigned, &fence,
                          vmarena_py_to_unsigned, &guard_kind, vmarena_py_to_unsigned, &commit_policy,
                          vmarena_py_to_unsigned, &flags, vmarena_py_to_name, &name))
        return NULL;
    struct vmarena_options options = {.reserve = reserve.value,
                                      .commit = commit.value,
                                      .guard = guard.value,
                                      .huge = (enum vmarena_huge)huge,
                                      .fence = (enum vmarena_fence)fence,
                                      .guard_kind = (enum vmarena_guard_kind)guard_kind,
                                      .commit_policy = (enum vmarena_commit_policy)commit_policy,
                                      .flags = flags,
                                      .name = name};
    const struct vmarena_py_state *state = vmarena_py_state(module);
    struct vmarena *arena;
    int error;
    Py_BEGIN_ALLOW_THREADS;
    error = vmarena_create(&arena, &options);
    Py_END_ALLOW_THREADS;
    if (error != 0) return vmarena_py_error(state, error);
    PyObject *object = vmarena_py_wrap(state, VMARENA_PY_ARENA, arena, NULL, VMARENA_READ | VMARENA_WRITE);
    if (object == NULL) return NULL;
    ((Handle *)object)->fenced = fence != VMARENA_FENCE_OFF;
    ((Handle *)object)->memory_file = (flags & VMARENA_MEMFD) != 0;
    if (flags & VMARENA_DONT_FORK) ((Handle *)object)->process = getpid();
    return object;
}

/* ---- allocation -------------------------------------------------------------------------------------------------- */

static void *take_memory(Handle *arena, size_t size, size_t align, bool zeroed) {
    void *start;
    if (!zeroed) return vmarena_alloc(arena->object, size, align);
    Py_BEGIN_ALLOW_THREADS;
    start = vmarena_alloc_zeroed(arena->object, size, align);
    Py_END_ALLOW_THREADS;
    return start;
}

static PyObject *alloc(PyObject *module, PyObject *args) {
    PyObject *object;
    Number size = {.name = "size"}, align = {.name = "align"};
    int zeroed;
    const struct vmarena_py_state *state = vmarena_py_state(module);
    if (!PyArg_ParseTuple(args, "OO&O&p:alloc", &object, vmarena_py_to_size, &size, vmarena_py_to_size, &align,
                          &zeroed))
        return NULL;
    Handle *arena = vmarena_py_enter(object, VMARENA_PY_ARENA);
    if (arena == NULL) return NULL;
    /* The library clears with plain writes and knows the protection of the whole, not of ranges. */
    if (zeroed && !arena->fenced && !vmarena_py_all_allow(arena, VMARENA_WRITE)) {
        (void)vmarena_py_leave(arena, NULL);
        return vmarena_py_refuse(state, -EACCES,
                                 "a range of the arena is not writable: zeroed memory could not be cleared");
    }
    void *start = take_memory(arena, size.value, align.value, zeroed);
    if (start == NULL) return vmarena_py_done(arena, vmarena_last_error());
    return vmarena_py_leave(arena, vmarena_py_memory_new(arena, start, size.value));
}

static PyObject *resize_memory(Handle *arena, Memory *memory, size_t size) {
    char *start;
    if (!vmarena_py_all_allow(arena, VMARENA_READ | VMARENA_WRITE) ||
        (~arena->prot & (VMARENA_READ | VMARENA_WRITE)) != 0)
        return vmarena_py_refuse(vmarena_py_state_of((PyObject *)arena), -EACCES,
                                 "the memory could not be copied: not all of the arena is readable and writable");
    Py_BEGIN_ALLOW_THREADS;
    start = vmarena_resize(arena->object, memory->start, (size_t)memory->size, size);
    Py_END_ALLOW_THREADS;
    if (start == NULL) return vmarena_py_error(vmarena_py_state_of((PyObject *)arena), vmarena_last_error());
    vmarena_py_memory_moved(memory, start, size);
    Py_RETURN_NONE;
}

static PyObject *resize(PyObject *module, PyObject *args) {
    PyObject *object, *value;
    Number size = {.name = "size"};
    (void)module;
    if (!PyArg_ParseTuple(args, "OOO&:resize", &object, &value, vmarena_py_to_size, &size)) return NULL;
    Handle *arena = vmarena_py_enter(object, VMARENA_PY_ARENA);
    if (arena == NULL) return NULL;
    Memory *memory = vmarena_py_changeable(arena, value, "resize");
    return vmarena_py_leave(arena, memory == NULL ? NULL : resize_memory(arena, memory, size.value));
}

static PyObject *free_memory(PyObject *module, PyObject *args) {
    PyObject *object, *value;
    int error;
    (void)module;
    if (!PyArg_ParseTuple(args, "OO:free", &object, &value)) return NULL;
    Handle *arena = vmarena_py_enter(object, VMARENA_PY_ARENA);
    if (arena == NULL) return NULL;
    Memory *memory = vmarena_py_changeable(arena, value, "free");
    if (memory == NULL) return vmarena_py_leave(arena, NULL);
    Py_BEGIN_ALLOW_THREADS;
    error = vmarena_free(arena->object, memory->start, (size_t)memory->size);
    Py_END_ALLOW_THREADS;
    if (error == 0 || error == -EILSEQ) vmarena_py_memory_release(memory);
    return vmarena_py_done(arena, error);
}

/* ---- marks ------------------------------------------------------------------------------------------------------- */

struct mark {
    struct vmarena_mark mark;
    uint64_t serial;
};
static const char mark_name[] = "vmarena.Mark";

static void free_mark(PyObject *capsule) { PyMem_Free(PyCapsule_GetPointer(capsule, mark_name)); }

static PyObject *take_mark(PyObject *module, PyObject *object) {
    (void)module;
    struct mark *mark = PyMem_Malloc(sizeof *mark);
    if (mark == NULL) return PyErr_NoMemory();
    PyObject *capsule = NULL;
    Handle *arena = vmarena_py_enter(object, VMARENA_PY_ARENA);
    if (arena != NULL) {
        *mark = (struct mark){vmarena_mark(arena->object), arena->serial};
        capsule = vmarena_py_leave(arena, PyCapsule_New(mark, mark_name, free_mark));
    }
    if (capsule == NULL) PyMem_Free(mark);
    return capsule;
}

/* Where the arena went back: ranges protected apart go with the objects that they belonged to. */
static void forget_ranges(Handle *arena) {
    uintptr_t cursor = vmarena_mark(arena->object).cursor;
    size_t count = 0;
    if (!arena->fenced) return;
    while (count < arena->range_count && arena->ranges[count].start <= cursor) count++;
    arena->range_count = count;
}

/* After the library went back, which it does also where it finds something overwritten. */
static PyObject *taken(Handle *arena, uint64_t serial, int error) {
    if (error == 0 || error == -EILSEQ) {
        vmarena_py_take(arena, serial);
        forget_ranges(arena);
    }
    return vmarena_py_done(arena, error);
}

static PyObject *rewind_to(PyObject *module, PyObject *args) {
    PyObject *object, *capsule;
    int error;
    (void)module;
    if (!PyArg_ParseTuple(args, "OO:rewind", &object, &capsule)) return NULL;
    Handle *arena = vmarena_py_enter(object, VMARENA_PY_ARENA);
    if (arena == NULL) return NULL;
    if (!PyCapsule_IsValid(capsule, mark_name)) {
        PyErr_SetString(PyExc_TypeError, "not a mark: Arena.mark() gives one");
        return vmarena_py_leave(arena, NULL);
    }
    const struct mark *mark = PyCapsule_GetPointer(capsule, mark_name);
    bool ours = mark->mark.arena == vmarena_mark(arena->object).arena;
    if (ours && !vmarena_py_may_take(arena, mark->serial, "rewind")) return vmarena_py_leave(arena, NULL);
    Py_BEGIN_ALLOW_THREADS;
    error = vmarena_rewind(arena->object, mark->mark);
    Py_END_ALLOW_THREADS;
    return taken(arena, ours ? mark->serial : UINT64_MAX, error);
}

static PyObject *reset(PyObject *module, PyObject *args) {
    PyObject *object;
    Number keep = {.name = "keep"};
    int error;
    (void)module;
    if (!PyArg_ParseTuple(args, "OO&:reset", &object, vmarena_py_to_size, &keep)) return NULL;
    Handle *arena = vmarena_py_enter(object, VMARENA_PY_ARENA);
    if (arena == NULL) return NULL;
    if (!vmarena_py_may_take(arena, 0, "reset")) return vmarena_py_leave(arena, NULL);
    Py_BEGIN_ALLOW_THREADS;
    error = vmarena_reset(arena->object, keep.value);
    Py_END_ALLOW_THREADS;
    return taken(arena, 0, error);
}

/* ---- pages ------------------------------------------------------------------------------------------------------- */

static PyObject *protect(PyObject *module, PyObject *args) {
    PyObject *object;
    unsigned prot;
    int error;
    (void)module;
    if (!PyArg_ParseTuple(args, "OO&:protect", &object, vmarena_py_to_unsigned, &prot)) return NULL;
    Handle *arena = vmarena_py_enter(object, VMARENA_PY_ARENA);
    if (arena == NULL) return NULL;
    if (!vmarena_py_may_protect(arena, 0, UINTPTR_MAX, prot)) return vmarena_py_leave(arena, NULL);
    Py_BEGIN_ALLOW_THREADS;
    error = vmarena_protect(arena->object, prot);
    Py_END_ALLOW_THREADS;
    if (error == 0) {
        arena->prot = prot;
        vmarena_py_set_ranges(arena, NULL, 0);
    }
    return vmarena_py_done(arena, error);
}

static PyObject *protect_pages(Handle *arena, struct vmarena_py_range pages) {
    size_t count;
    int error;
    if (!vmarena_py_may_protect(arena, pages.start, pages.end, pages.prot)) return vmarena_py_leave(arena, NULL);
    struct vmarena_py_range *ranges = vmarena_py_ranges_with(arena, pages, &count);
    if (ranges == NULL) return vmarena_py_leave(arena, PyErr_NoMemory());
    Py_BEGIN_ALLOW_THREADS;
    error = vmarena_protect_range(arena->object, (void *)pages.start, pages.end - pages.start, pages.prot);
    Py_END_ALLOW_THREADS;
    if (error == 0) vmarena_py_set_ranges(arena, ranges, count);
    else PyMem_Free(ranges);
    return vmarena_py_done(arena, error);
}

static PyObject *protect_range(PyObject *module, PyObject *args) {
    PyObject *object;
    Number start = {.name = "start"}, length = {.name = "length"};
    unsigned prot;
    (void)module;
    if (!PyArg_ParseTuple(args, "OO&O&O&:protect_range", &object, vmarena_py_to_address, &start, vmarena_py_to_size,
                          &length, vmarena_py_to_unsigned, &prot))
        return NULL;
    Handle *arena = vmarena_py_enter(object, VMARENA_PY_ARENA);
    if (arena == NULL) return NULL;
    uintptr_t room = UINTPTR_MAX - start.value;
    uintptr_t end = start.value + (length.value < room ? length.value : room);
    return protect_pages(arena, (struct vmarena_py_range){start.value, end, prot});
}

static PyObject *discard(PyObject *module, PyObject *args) {
    PyObject *object;
    Number start = {.name = "start"}, length = {.name = "length"};
    int error;
    (void)module;
    if (!PyArg_ParseTuple(args, "OO&O&:discard", &object, vmarena_py_to_address, &start, vmarena_py_to_size, &length))
        return NULL;
    Handle *arena = vmarena_py_enter(object, VMARENA_PY_ARENA);
    if (arena == NULL) return NULL;
    Py_BEGIN_ALLOW_THREADS;
    error = vmarena_discard(arena->object, (void *)start.value, length.value);
    Py_END_ALLOW_THREADS;
    return vmarena_py_done(arena, error);
}

static PyObject *prefault(PyObject *module, PyObject *args) {
    PyObject *object;
    Number size = {.name = "size"};
    int error;
    (void)module;
    if (!PyArg_ParseTuple(args, "OO&:prefault", &object, vmarena_py_to_size, &size)) return NULL;
    Handle *arena = vmarena_py_enter(object, VMARENA_PY_ARENA);
    if (arena == NULL) return NULL;
    Py_BEGIN_ALLOW_THREADS;
    error = vmarena_prefault(arena->object, size.value);
    Py_END_ALLOW_THREADS;
    return vmarena_py_done(arena, error);
}

/* ---- the whole --------------------------------------------------------------------------------------------------- */

static PyObject *on_whole(PyObject *object, int (*function)(struct vmarena *)) {
    int error;
    Handle *arena = vmarena_py_enter(object, VMARENA_PY_ARENA);
    if (arena == NULL) return NULL;
    Py_BEGIN_ALLOW_THREADS;
    error = function(arena->object);
    Py_END_ALLOW_THREADS;
    return vmarena_py_done(arena, error);
}

static int check_arena(struct vmarena *arena) { return vmarena_check(arena); }

static PyObject *check(PyObject *module, PyObject *object) {
    (void)module;
    return on_whole(object, check_arena);
}

static PyObject *seal(PyObject *module, PyObject *object) {
    (void)module;
    return on_whole(object, vmarena_seal);
}

static PyObject *owns(PyObject *module, PyObject *args) {
    PyObject *object;
    Number address = {.name = "address"};
    (void)module;
    if (!PyArg_ParseTuple(args, "OO&:owns", &object, vmarena_py_to_address, &address)) return NULL;
    Handle *arena = vmarena_py_enter(object, VMARENA_PY_ARENA);
    if (arena == NULL) return NULL;
    bool owned = vmarena_owns(arena->object, (const void *)address.value);
    return vmarena_py_leave(arena, PyBool_FromLong(owned));
}

static PyObject *figures(PyObject *object, void (*read)(const struct vmarena *, struct vmarena_stats *)) {
    struct vmarena_stats s;
    Handle *arena = vmarena_py_enter(object, VMARENA_PY_ARENA);
    if (arena == NULL) return NULL;
    Py_BEGIN_ALLOW_THREADS;
    read(arena->object, &s);
    Py_END_ALLOW_THREADS;
    (void)vmarena_py_leave(arena, NULL);
    return Py_BuildValue("{s:n,s:n,s:n,s:n,s:n,s:n,s:n,s:n,s:n,s:I,s:I,s:i,s:i,s:i,s:i,s:N,s:N,s:N}", "reserved",
                         (Py_ssize_t)s.reserved, "committed", (Py_ssize_t)s.committed, "used", (Py_ssize_t)s.used,
                         "peak", (Py_ssize_t)s.peak, "objects", (Py_ssize_t)s.objects, "resident",
                         (Py_ssize_t)s.resident, "huge", (Py_ssize_t)s.huge, "guard", (Py_ssize_t)s.guard, "page_size",
                         (Py_ssize_t)s.page_size, "prot", s.prot, "flags", s.flags, "huge_asked", (int)s.huge_asked,
                         "huge_obtained", (int)s.huge_obtained, "guard_kind", (int)s.guard_kind, "commit_policy",
                         (int)s.commit_policy, "named", PyBool_FromLong(s.named), "sealed", PyBool_FromLong(s.sealed),
                         "annotated", PyBool_FromLong(s.annotated));
}

static PyObject *stats(PyObject *module, PyObject *object) { return (void)module, figures(object, vmarena_stats); }
static PyObject *info(PyObject *module, PyObject *object) { return (void)module, figures(object, vmarena_info); }

PyMethodDef vmarena_py_arena_methods[] = {
    {"create", create, METH_VARARGS, NULL},
    {"alloc", alloc, METH_VARARGS, NULL},
    {"resize", resize, METH_VARARGS, NULL},
    {"free", free_memory, METH_VARARGS, NULL},
    {"mark", take_mark, METH_O, NULL},
    {"rewind", rewind_to, METH_VARARGS, NULL},
    {"reset", reset, METH_VARARGS, NULL},
    {"protect", protect, METH_VARARGS, NULL},
    {"protect_range", protect_range, METH_VARARGS, NULL},
    {"discard", discard, METH_VARARGS, NULL},
    {"prefault", prefault, METH_VARARGS, NULL},
    {"check", check, METH_O, NULL},
    {"seal", seal, METH_O, NULL},
    {"owns", owns, METH_VARARGS, NULL},
    {"stats", stats, METH_O, NULL},
    {"info", info, METH_O, NULL},
    {NULL, NULL, 0, NULL},
};
