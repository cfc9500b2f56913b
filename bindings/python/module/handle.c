/* SPDX-License-Identifier: MIT */
#include "module.h"

#include <errno.h>
#include <pthread.h>
#include <unistd.h>

typedef struct vmarena_py_handle Handle;

const char *vmarena_py_kind_name(enum vmarena_py_kind kind) {
    static const char *const names[] = {"arena", "heap", "view", "snapshot", "set of counters"};
    return names[kind];
}

/* ---- all that are open: of every interpreter, whose locks do not exclude each other ------------------------------- */

static Handle *open_handles;
static pthread_mutex_t open_lock = PTHREAD_MUTEX_INITIALIZER;

static void before_fork(void) { (void)pthread_mutex_lock(&open_lock); }
static void after_fork(void) { (void)pthread_mutex_unlock(&open_lock); }
static void after_fork_in_child(void) {
    after_fork();
    vmarena_py_lock_forked();
}

static int fork_error;
static void watch_forks(void) { fork_error = pthread_atfork(before_fork, after_fork, after_fork_in_child); }

int vmarena_py_handles_init(void) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    (void)pthread_once(&once, watch_forks);
    if (fork_error == 0) return 0;
    errno = fork_error;
    (void)PyErr_SetFromErrno(PyExc_OSError);
    return -1;
}

static void link_open(Handle *handle) {
    (void)pthread_mutex_lock(&open_lock);
    handle->next = open_handles;
    if (handle->next != NULL) handle->next->previous = handle;
    open_handles = handle;
    (void)pthread_mutex_unlock(&open_lock);
}

static void unlink_open(Handle *handle) {
    (void)pthread_mutex_lock(&open_lock);
    if (handle->next != NULL) handle->next->previous = handle->previous;
    if (handle->previous != NULL) handle->previous->next = handle->next;
    else open_handles = handle->next;
    (void)pthread_mutex_unlock(&open_lock);
}

int vmarena_py_each_open(int (*function)(Handle *handle)) {
    int result = 0;
    (void)pthread_mutex_lock(&open_lock);
    for (Handle *handle = open_handles; handle != NULL && result == 0; handle = handle->next) result = function(handle);
    (void)pthread_mutex_unlock(&open_lock);
    return result;
}

/* ---- one call after the other ------------------------------------------------------------------------------------ */

/* What was made with DONT_FORK is not there in a child; its addresses may be somebody else's. */
static bool is_elsewhere(const Handle *handle) { return handle->process != 0 && handle->process != getpid(); }

static bool is_usable(const Handle *handle) {
    if (handle->object == NULL) PyErr_Format(PyExc_ValueError, "the %s is closed", vmarena_py_kind_name(handle->kind));
    else if (is_elsewhere(handle))
        PyErr_Format(PyExc_ValueError, "the %s was made with DONT_FORK and is not there in this child process",
                     vmarena_py_kind_name(handle->kind));
    else return true;
    return false;
}

static bool lock_handle(Handle *handle) {
    if (vmarena_py_lock_take(handle->lock)) return true;
    PyErr_Format(PyExc_ValueError, "another thread was changing the %s when this process was forked",
                 vmarena_py_kind_name(handle->kind));
    return false;
}

bool vmarena_py_enter_handle(Handle *handle) {
    if (!lock_handle(handle)) return false;
    if (is_usable(handle)) return true;
    vmarena_py_lock_give(handle->lock);
    return false;
}

static void handle_dealloc(PyObject *object);

static bool is_handle(PyObject *value) {
    return PyType_GetSlot(Py_TYPE(value), Py_tp_dealloc) == (void *)handle_dealloc;
}

Handle *vmarena_py_enter(PyObject *value, enum vmarena_py_kind kind) {
    Handle *handle = (Handle *)value;
    if (!is_handle(value) || handle->kind != kind) {
        PyErr_Format(PyExc_TypeError, "not the handle of an open %s", vmarena_py_kind_name(kind));
        return NULL;
    }
    return vmarena_py_enter_handle(handle) ? handle : NULL;
}

PyObject *vmarena_py_leave(Handle *handle, PyObject *result) {
    vmarena_py_lock_give(handle->lock);
    return result;
}

PyObject *vmarena_py_done(Handle *handle, int code) {
    vmarena_py_lock_give(handle->lock);
    return code < 0 ? vmarena_py_error(vmarena_py_state_of((PyObject *)handle), code) : Py_NewRef(Py_None);
}

/* ---- the memory of a handle -------------------------------------------------------------------------------------- */

bool vmarena_py_may_take(const Handle *handle, uint64_t serial, const char *deed) {
    Py_ssize_t out = 0;
    if (handle->exports == 0) return true;
    for (const struct vmarena_py_memory *memory = handle->newest; memory != NULL && memory->serial > serial;
         memory = memory->older)
        out += memory->exports;
    if (out == 0) return true;
    PyErr_Format(PyExc_BufferError, "cannot %s the %s: %zd buffers of its memory are out", deed,
                 vmarena_py_kind_name(handle->kind), out);
    return false;
}

void vmarena_py_take(Handle *handle, uint64_t serial) {
    while (handle->newest != NULL && handle->newest->serial > serial) vmarena_py_memory_release(handle->newest);
}

/* ---- life -------------------------------------------------------------------------------------------------------- */

static void destroy_object(enum vmarena_py_kind kind, void *object) {
    if (kind == VMARENA_PY_ARENA) vmarena_destroy(object);
    else if (kind == VMARENA_PY_HEAP) vmarena_heap_destroy(object);
    else if (kind == VMARENA_PY_VIEW) vmarena_view_close(object);
    else if (kind == VMARENA_PY_SNAPSHOT) vmarena_snapshot_free(object);
    else vmarena_counters_close(object);
}

/* Locked. Whoever waits for the lock finds a closed handle. */
static void destroy(Handle *handle) {
    void *object = handle->object;
    if (object == NULL) return;
    handle->object = NULL;
    unlink_open(handle);
    if (is_elsewhere(handle)) return;
    Py_BEGIN_ALLOW_THREADS;
    destroy_object(handle->kind, object);
    Py_END_ALLOW_THREADS;
}

PyObject *vmarena_py_wrap(const struct vmarena_py_state *state, enum vmarena_py_kind kind, void *object,
                          struct vmarena_py_lock *lock, unsigned prot) {
    PyTypeObject *type = (PyTypeObject *)state->handle_type;
    Handle *handle = (Handle *)((allocfunc)PyType_GetSlot(type, Py_tp_alloc))(type, 0);
    if (handle != NULL) handle->lock = lock != NULL ? vmarena_py_lock_share(lock) : vmarena_py_lock_new();
    if (handle == NULL || handle->lock == NULL) {
        Py_XDECREF((PyObject *)handle);
        destroy_object(kind, object);
        return NULL;
    }
    handle->kind = kind;
    handle->object = object;
    handle->prot = prot;
    link_open(handle);
    int error = vmarena_py_watch(handle);
    if (error == 0) return (PyObject *)handle;
    Py_DECREF((PyObject *)handle);
    return vmarena_py_error(state, error);
}

/* Nobody can reach the object any more, but a snapshot's arena may be at work in another thread. */
static void handle_dealloc(PyObject *object) {
    Handle *handle = (Handle *)object;
    PyTypeObject *type = Py_TYPE(object);
    if (handle->lock != NULL && handle->object != NULL && vmarena_py_lock_take(handle->lock)) {
        destroy(handle);
        vmarena_py_lock_give(handle->lock);
    }
    if (handle->lock != NULL) vmarena_py_lock_drop(handle->lock);
    vmarena_py_set_ranges(handle, NULL, 0);
    ((freefunc)PyType_GetSlot(type, Py_tp_free))(object);
    Py_DECREF(type);
}

static PyObject *close_handle(PyObject *module, PyObject *object) {
    Handle *handle = (Handle *)object;
    (void)module;
    if (!is_handle(object)) {
        PyErr_SetString(PyExc_TypeError, "not a handle");
        return NULL;
    }
    if (!lock_handle(handle)) return NULL;
    if (!vmarena_py_may_take(handle, 0, "close")) return vmarena_py_leave(handle, NULL);
    vmarena_py_take(handle, 0);
    destroy(handle);
    return vmarena_py_done(handle, 0);
}

/* ---- the type ---------------------------------------------------------------------------------------------------- */

static PyObject *handle_closed(PyObject *object, void *unused) {
    (void)unused;
    return PyBool_FromLong(((Handle *)object)->object == NULL);
}

static PyObject *handle_exports(PyObject *object, void *unused) {
    (void)unused;
    return PyLong_FromSsize_t(((Handle *)object)->exports);
}

static PyObject *handle_opened(PyObject *object, void *unused) {
    (void)unused;
    return PyLong_FromSize_t(((Handle *)object)->opened);
}

static PyGetSetDef getset[] = {
    {"closed", handle_closed, NULL, NULL, NULL},
    {"exports", handle_exports, NULL, NULL, NULL},
    {"opened", handle_opened, NULL, NULL, NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyType_Slot slots[] = {
    {Py_tp_dealloc, handle_dealloc},
    {Py_tp_getset, getset},
    {0, NULL},
};

PyType_Spec vmarena_py_handle_spec = {"vmarena._vmarena.Handle", sizeof(Handle), 0,
                                      Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION, slots};

PyMethodDef vmarena_py_handle_methods[] = {
    {"close", close_handle, METH_O, NULL},
    {NULL, NULL, 0, NULL},
};
