/* SPDX-License-Identifier: MIT */
#include "module.h"

#include <unistd.h>

typedef struct vmarena_py_handle Handle;
typedef struct vmarena_py_number Number;

static PyObject *view_open(PyObject *module, PyObject *args) {
    Number offset = {.name = "offset"}, length = {.name = "length"}, guard = {.name = "guard"};
    unsigned mode, fence, huge, flags;
    PyObject *path_bytes;
    char *path = NULL;
    const char *name;
    int fd, error;
    if (!PyArg_ParseTuple(args, "OiO&O&O&O&O&O&O&O&:view_open", &path_bytes, &fd, vmarena_py_to_unsigned, &mode,
                          vmarena_py_to_unsigned, &fence, vmarena_py_to_unsigned, &huge, vmarena_py_to_unsigned, &flags,
                          vmarena_py_to_size, &offset, vmarena_py_to_size, &length, vmarena_py_to_size, &guard,
                          vmarena_py_to_name, &name))
        return NULL;
    if (path_bytes != Py_None && PyBytes_AsStringAndSize(path_bytes, &path, NULL) != 0) return NULL;
    struct vmarena_view_options options = {.mode = (enum vmarena_view_mode)mode,
                                           .fence = (enum vmarena_fence)fence,
                                           .huge = (enum vmarena_huge)huge,
                                           .flags = flags,
                                           .offset = offset.value,
                                           .length = length.value,
                                           .guard = guard.value,
                                           .name = name};
    const struct vmarena_py_state *state = vmarena_py_state(module);
    struct vmarena_view *view;
    Py_BEGIN_ALLOW_THREADS;
    error = path != NULL ? vmarena_view_open_with(&view, path, &options) : vmarena_view_open_fd(&view, fd, &options);
    Py_END_ALLOW_THREADS;
    if (error != 0) return vmarena_py_error(state, error);
    unsigned prot = mode == VMARENA_VIEW_READ ? VMARENA_READ : VMARENA_READ | VMARENA_WRITE;
    PyObject *object = vmarena_py_wrap(state, VMARENA_PY_VIEW, view, NULL, prot);
    if (object != NULL && (flags & VMARENA_DONT_FORK)) ((Handle *)object)->process = getpid();
    return object;
}

static PyObject *window_memory(Handle *view) {
    const struct vmarena_view *window = view->object;
    return vmarena_py_memory_new(view, window->data, window->size);
}

static PyObject *view_data(PyObject *module, PyObject *object) {
    (void)module;
    Handle *view = vmarena_py_enter(object, VMARENA_PY_VIEW);
    return view == NULL ? NULL : vmarena_py_leave(view, window_memory(view));
}

static PyObject *view_move(PyObject *module, PyObject *args) {
    PyObject *object;
    Number offset = {.name = "offset"}, length = {.name = "length"};
    int error;
    (void)module;
    if (!PyArg_ParseTuple(args, "OO&O&:view_move", &object, vmarena_py_to_size, &offset, vmarena_py_to_size, &length))
        return NULL;
    Handle *view = vmarena_py_enter(object, VMARENA_PY_VIEW);
    if (view == NULL) return NULL;
    if (!vmarena_py_may_take(view, 0, "move")) return vmarena_py_leave(view, NULL);
    Py_BEGIN_ALLOW_THREADS;
    error = vmarena_view_move(view->object, offset.value, length.value);
    Py_END_ALLOW_THREADS;
    if (error != 0) return vmarena_py_done(view, error);
    vmarena_py_take(view, 0);
    return vmarena_py_leave(view, window_memory(view));
}

static PyObject *view_offset(PyObject *module, PyObject *object) {
    (void)module;
    Handle *view = vmarena_py_enter(object, VMARENA_PY_VIEW);
    if (view == NULL) return NULL;
    uint64_t offset = ((struct vmarena_view *)view->object)->offset;
    return vmarena_py_leave(view, PyLong_FromUnsignedLongLong(offset));
}

/* ---- ranges ------------------------------------------------------------------------------------------------------ */

typedef int range_function(struct vmarena_view *view, size_t from, size_t length);

static PyObject *on_range(PyObject *args, range_function *function) {
    PyObject *object;
    Number start = {.name = "start"}, length = {.name = "length"};
    int error;
    if (!PyArg_ParseTuple(args, "OO&O&", &object, vmarena_py_to_size, &start, vmarena_py_to_size, &length)) return NULL;
    Handle *view = vmarena_py_enter(object, VMARENA_PY_VIEW);
    if (view == NULL) return NULL;
    Py_BEGIN_ALLOW_THREADS;
    error = function(view->object, start.value, length.value);
    Py_END_ALLOW_THREADS;
    return vmarena_py_done(view, error);
}

static PyObject *view_sync(PyObject *module, PyObject *args) {
    (void)module;
    return on_range(args, vmarena_view_sync);
}

static PyObject *view_populate(PyObject *module, PyObject *args) {
    (void)module;
    return on_range(args, vmarena_view_populate);
}

static PyObject *view_lock(PyObject *module, PyObject *args) {
    (void)module;
    return on_range(args, vmarena_view_lock);
}

static PyObject *view_unlock(PyObject *module, PyObject *args) {
    (void)module;
    return on_range(args, vmarena_view_unlock);
}

static PyObject *view_advise(PyObject *module, PyObject *args) {
    PyObject *object;
    Number start = {.name = "start"}, length = {.name = "length"};
    unsigned advice;
    int error;
    (void)module;
    if (!PyArg_ParseTuple(args, "OO&O&O&:view_advise", &object, vmarena_py_to_size, &start, vmarena_py_to_size, &length,
                          vmarena_py_to_unsigned, &advice))
        return NULL;
    Handle *view = vmarena_py_enter(object, VMARENA_PY_VIEW);
    if (view == NULL) return NULL;
    Py_BEGIN_ALLOW_THREADS;
    error = vmarena_view_advise(view->object, start.value, length.value, (enum vmarena_view_advice)advice);
    Py_END_ALLOW_THREADS;
    return vmarena_py_done(view, error);
}

static PyObject *view_info(PyObject *module, PyObject *object) {
    struct vmarena_view_info i;
    int error;
    (void)module;
    Handle *view = vmarena_py_enter(object, VMARENA_PY_VIEW);
    if (view == NULL) return NULL;
    Py_BEGIN_ALLOW_THREADS;
    error = vmarena_view_info(view->object, &i);
    Py_END_ALLOW_THREADS;
    if (error != 0) return vmarena_py_done(view, error);
    (void)vmarena_py_leave(view, NULL);
    return Py_BuildValue("{s:i,s:i,s:i,s:K,s:n,s:n,s:n,s:n,s:n,s:N}", "mode", (int)i.mode, "huge_asked",
                         (int)i.huge_asked, "huge_obtained", (int)i.huge_obtained, "file_size",
                         (unsigned long long)i.file_size, "capacity", (Py_ssize_t)i.capacity, "resident",
                         (Py_ssize_t)i.resident, "huge", (Py_ssize_t)i.huge, "guard", (Py_ssize_t)i.guard, "tail",
                         (Py_ssize_t)i.tail, "copied", PyBool_FromLong(i.copied));
}

PyMethodDef vmarena_py_view_methods[] = {
    {"view_open", view_open, METH_VARARGS, NULL},
    {"view_data", view_data, METH_O, NULL},
    {"view_move", view_move, METH_VARARGS, NULL},
    {"view_offset", view_offset, METH_O, NULL},
    {"view_sync", view_sync, METH_VARARGS, NULL},
    {"view_populate", view_populate, METH_VARARGS, NULL},
    {"view_lock", view_lock, METH_VARARGS, NULL},
    {"view_unlock", view_unlock, METH_VARARGS, NULL},
    {"view_advise", view_advise, METH_VARARGS, NULL},
    {"view_info", view_info, METH_O, NULL},
    {NULL, NULL, 0, NULL},
};
