/* SPDX-License-Identifier: MIT */
#include "module.h"

#include <dlfcn.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

typedef struct vmarena_py_handle Handle;

/* ---- faults as Python objects ------------------------------------------------------------------------------------ */

/* "function+0x12 in library.so"; left alone where the dynamic linker knows nothing of it. */
static void name_place(const void *pc, char *text, size_t size) {
    Dl_info info;
    if (pc == NULL || dladdr(pc, &info) == 0 || info.dli_fname == NULL) return;
    const char *slash = strrchr(info.dli_fname, '/'), *file = slash != NULL ? slash + 1 : info.dli_fname;
    const char *symbol = info.dli_sname != NULL ? info.dli_sname : file;
    const void *base = info.dli_sname != NULL ? info.dli_saddr : info.dli_fbase;
    const char *in = info.dli_sname != NULL ? " in " : "";
    (void)snprintf(text, size, "%s+0x%zx%s%s", symbol, (size_t)((uintptr_t)pc - (uintptr_t)base), in,
                   info.dli_sname != NULL ? file : "");
}

/* What Fault of _faults.py is made of; the place is that of an instruction outside the library. */
static PyObject *fault_fields(const struct vmarena_fault *fault, bool foreign) {
    char text[512], place[256] = "";
    (void)vmarena_fault_describe(fault, text, sizeof text);
    if (foreign) name_place(fault->pc, place, sizeof place);
    return Py_BuildValue("(NiiKKiiKnnNKN)", vmarena_py_text(text), fault->signo, fault->code,
                         (unsigned long long)(uintptr_t)fault->address, (unsigned long long)(uintptr_t)fault->pc,
                         (int)fault->access, (int)fault->kind, (unsigned long long)(uintptr_t)fault->object,
                         (Py_ssize_t)fault->object_size, (Py_ssize_t)fault->distance,
                         vmarena_py_text(fault->owner_name), (unsigned long long)fault->file_offset,
                         vmarena_py_text(place));
}

PyObject *vmarena_py_raise_fault(const struct vmarena_py_state *state, const struct vmarena_fault *fault, size_t done) {
    if (fault->signo == 0) return vmarena_py_error(state, fault->code); /* no scope: nothing was done */
    PyObject *type = state->fault_type != NULL ? state->fault_type : PyExc_RuntimeError;
    PyObject *fields = fault_fields(fault, false);
    PyObject *error = fields == NULL ? NULL : PyObject_CallFunction(type, "Nn", fields, (Py_ssize_t)done);
    if (error == NULL) return NULL;
    PyErr_SetObject(type, error);
    Py_DECREF(error);
    return NULL;
}

static PyObject *decode_fault(PyObject *module, PyObject *record) {
    struct vmarena_fault fault;
    (void)module;
    if (!PyBytes_Check(record) || PyBytes_Size(record) != (Py_ssize_t)sizeof fault) {
        PyErr_SetString(PyExc_ValueError, "not a fault's record");
        return NULL;
    }
    memcpy(&fault, PyBytes_AsString(record), sizeof fault);
    return fault_fields(&fault, true);
}

static PyObject *use_fault_type(PyObject *module, PyObject *type) {
    struct vmarena_py_state *state = vmarena_py_state(module);
    Py_XDECREF(state->fault_type);
    state->fault_type = Py_NewRef(type);
    Py_RETURN_NONE;
}

/* ---- the handlers ------------------------------------------------------------------------------------------------ */

static int put_on_top(void) {
    return vmarena_fault_status() == VMARENA_HANDLER_DISPLACED ? vmarena_fault_reassert() : 0;
}

/* faulthandler and others put a handler of their own over ours, and take it away again, whenever they like. */
int vmarena_py_prepare(const struct vmarena_py_state *state) {
    int error = put_on_top();
    if (error == 0) return 0;
    (void)vmarena_py_error(state, error);
    return -1;
}

static PyObject *fault_status(PyObject *module, PyObject *unused) {
    (void)module, (void)unused;
    return PyLong_FromLong(vmarena_fault_status());
}

static PyObject *fault_reassert(PyObject *module, PyObject *unused) {
    int error = vmarena_fault_reassert();
    (void)unused;
    return error < 0 ? vmarena_py_error(vmarena_py_state(module), error) : Py_NewRef(Py_None);
}

/* ---- faults nobody waits for: for all interpreters of the process ------------------------------------------------ */

static int record_fd = -1;  /* send_faults() */
static int pending_fd = -1; /* report_faults(), before there is anything that could fault */

/*
 * In the signal handler. A guarded operation, where one is open, gets its fault as ever. Otherwise the fault goes on to
 * faulthandler, which writes Python's traceback, and the process dies of it.
 */
static bool send_record(const struct vmarena_fault *fault, void *arg) {
    (void)arg;
    if (vmarena_scope_top() != NULL) return false;
    char record[1 + sizeof *fault] = {'F'};
    memcpy(record + 1, fault, sizeof *fault);
    if (write(record_fd, record, sizeof record) != (ssize_t)sizeof record) _exit(1);
    return false;
}

static int set_repair(const Handle *handle, vmarena_fault_fn *function, void *arg) {
    if (handle->kind == VMARENA_PY_ARENA) return vmarena_on_fault(handle->object, function, arg);
    if (handle->kind == VMARENA_PY_HEAP) return vmarena_heap_on_fault(handle->object, function, arg);
    if (handle->kind == VMARENA_PY_VIEW) return vmarena_view_on_fault(handle->object, function, arg);
    return 0;
}

static int start_reports(void) {
    int fd = pending_fd;
    pending_fd = -1;
    return fd < 0 ? 0 : vmarena_report_faults(fd);
}

int vmarena_py_watch(Handle *handle) {
    int error = start_reports();
    if (error != 0 || record_fd < 0 || handle->demand) return error;
    error = put_on_top();
    return error != 0 ? error : set_repair(handle, send_record, NULL);
}

/*
 * report_faults(fd, later): from now on, or from the first arena, heap or view on, the library writes to fd about each
 * fault in its memory that nobody waits for. fd -1: no longer.
 */
static PyObject *report_faults(PyObject *module, PyObject *args) {
    int fd, later;
    if (!PyArg_ParseTuple(args, "ip:report_faults", &fd, &later)) return NULL;
    pending_fd = later ? fd : -1;
    int error = later ? 0 : vmarena_report_faults(fd);
    if (error == 0 && !later) error = put_on_top();
    return error != 0 ? vmarena_py_error(vmarena_py_state(module), error) : Py_NewRef(Py_None);
}

/*
 * send_faults(fd): from now on such a fault, in memory of any handle, open or to come, writes its record to fd and no
 * report: in a child that was made for a call.
 */
static PyObject *send_faults(PyObject *module, PyObject *args) {
    if (!PyArg_ParseTuple(args, "i:send_faults", &record_fd)) return NULL;
    pending_fd = -1;
    int error = vmarena_report_faults(-1);
    if (error == 0) error = vmarena_py_each_open(vmarena_py_watch);
    return error != 0 ? vmarena_py_error(vmarena_py_state(module), error) : Py_NewRef(Py_None);
}

/* ---- demand paging ----------------------------------------------------------------------------------------------- */

/* In the signal handler. In a guard this fails, and the fault goes on. */
static bool open_page(const struct vmarena_fault *fault, void *arg) {
    Handle *arena = arg;
    size_t page = vmarena_page_size();
    if (fault->kind != VMARENA_FAULT_PROTECTED || fault->access == VMARENA_ACCESS_EXEC) return false;
    char *start = (char *)fault->address - (uintptr_t)fault->address % page;
    if (vmarena_protect_range(arena->object, start, page, VMARENA_READ | VMARENA_WRITE) != 0) return false;
    arena->opened++;
    return true;
}

static int set_demand(Handle *arena, bool on) {
    int error = put_on_top();
    if (error == 0) error = set_repair(arena, on ? open_page : NULL, arena);
    if (error != 0) return error;
    if (on) arena->opened = 0;
    arena->demand = on;
    return vmarena_py_watch(arena);
}

/* open_on_fault(arena, on): each page of the arena is opened at its first touch; `opened` counts them. */
static PyObject *open_on_fault(PyObject *module, PyObject *args) {
    PyObject *object;
    int on;
    (void)module;
    if (!PyArg_ParseTuple(args, "Op:open_on_fault", &object, &on)) return NULL;
    Handle *arena = vmarena_py_enter(object, VMARENA_PY_ARENA);
    return arena == NULL ? NULL : vmarena_py_done(arena, set_demand(arena, on != 0));
}

PyMethodDef vmarena_py_fault_methods[] = {
    {"decode_fault", decode_fault, METH_O, NULL},         {"use_fault_type", use_fault_type, METH_O, NULL},
    {"fault_status", fault_status, METH_NOARGS, NULL},    {"fault_reassert", fault_reassert, METH_NOARGS, NULL},
    {"report_faults", report_faults, METH_VARARGS, NULL}, {"send_faults", send_faults, METH_VARARGS, NULL},
    {"open_on_fault", open_on_fault, METH_VARARGS, NULL}, {NULL, NULL, 0, NULL},
};
