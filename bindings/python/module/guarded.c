/* SPDX-License-Identifier: MIT */
#include "module.h"

#include <string.h>

typedef struct vmarena_py_memory Memory;
typedef const struct vmarena_py_state State;

/* ---- with or without the GIL ------------------------------------------------------------------------------------- */

struct job {
    enum { COPY, FILL, COMPARE } kind;
    char *to; /* COMPARE: what is compared */
    const char *from;
    int byte;
    size_t size;
};

static size_t perform(const struct job *job, struct vmarena_fault *fault) {
    if (job->kind == COPY) return vmarena_copy(job->to, job->from, job->size, fault);
    if (job->kind == FILL) return vmarena_fill(job->to, job->byte, job->size, fault);
    return vmarena_compare(job->to, job->from, job->size, fault);
}

/* Few bytes are done sooner than a thread gets the GIL back, unless they come from a device. */
static size_t run(const struct job *job, bool waits, struct vmarena_fault *fault) {
    size_t done;
    if (!waits && job->size <= 16384) return perform(job, fault);
    Py_BEGIN_ALLOW_THREADS;
    done = perform(job, fault);
    Py_END_ALLOW_THREADS;
    return done;
}

/* Bytes done, or -1 with an exception. */
static Py_ssize_t finish(State *state, const struct job *job, bool waits) {
    struct vmarena_fault fault;
    if (vmarena_py_prepare(state) != 0) return -1;
    size_t done = run(job, waits, &fault);
    if (fault.signo == 0 && fault.code >= 0) return (Py_ssize_t)done;
    (void)vmarena_py_raise_fault(state, &fault, done);
    return -1;
}

static PyObject *read_bytes(State *state, const char *start, size_t size, bool waits) {
    PyObject *bytes = PyBytes_FromStringAndSize(NULL, (Py_ssize_t)size);
    if (bytes == NULL) return NULL;
    struct job job = {COPY, PyBytes_AsString(bytes), start, 0, size};
    if (finish(state, &job, waits) >= 0) return bytes;
    Py_DECREF(bytes);
    return NULL;
}

PyObject *vmarena_py_read(State *state, const char *start, size_t size) {
    return read_bytes(state, start, size, false);
}

int vmarena_py_write(State *state, char *to, const void *data, size_t size) {
    struct job job = {COPY, to, data, 0, size};
    return finish(state, &job, false) < 0 ? -1 : 0;
}

Py_ssize_t vmarena_py_compare(State *state, const char *left, const char *right, size_t size) {
    struct job job = {COMPARE, (char *)left, right, 0, size};
    return finish(state, &job, false);
}

/* ---- arguments: any address, or a Memory, which stays where it is until leave_place() ------------------------------ */

struct place {
    const char *name;
    char *address;
    Memory *pinned; /* NULL: a plain address */
};

static int to_place(PyObject *value, void *out) {
    struct place *place = out;
    struct vmarena_py_number number = {place->name, 0};
    if (value == NULL) { /* a later argument was refused */
        if (place->pinned != NULL) vmarena_py_unpin(place->pinned);
        return 1;
    }
    if (vmarena_py_is_memory(value)) {
        if (!vmarena_py_pin((Memory *)value)) return 0;
        place->pinned = (Memory *)value;
        place->address = place->pinned->start;
        return Py_CLEANUP_SUPPORTED;
    }
    if (vmarena_py_to_address(value, &number) == 0) return 0;
    place->address = (char *)number.value;
    return Py_CLEANUP_SUPPORTED;
}

static void leave_place(const struct place *place) {
    if (place->pinned != NULL) vmarena_py_unpin(place->pinned);
}

static bool waits_for_a_device(const struct place *place) {
    return place->pinned != NULL && place->pinned->handle->kind == VMARENA_PY_VIEW;
}

/* ---- the functions ----------------------------------------------------------------------------------------------- */

/* Two places, the second of which is read, and a size. */
static PyObject *on_two(PyObject *module, PyObject *args, struct place first, struct place second, struct job job) {
    struct vmarena_py_number size = {.name = "size"};
    if (!PyArg_ParseTuple(args, "O&O&O&", to_place, &first, to_place, &second, vmarena_py_to_size, &size)) return NULL;
    job.to = first.address;
    job.from = second.address;
    job.size = size.value;
    Py_ssize_t done = finish(vmarena_py_state(module), &job, waits_for_a_device(&first) || waits_for_a_device(&second));
    leave_place(&first);
    leave_place(&second);
    return done < 0 ? NULL : PyLong_FromSsize_t(done);
}

static PyObject *copy(PyObject *module, PyObject *args) {
    return on_two(module, args, (struct place){.name = "to"}, (struct place){.name = "from_"},
                  (struct job){.kind = COPY});
}

static PyObject *compare(PyObject *module, PyObject *args) {
    return on_two(module, args, (struct place){.name = "left"}, (struct place){.name = "right"},
                  (struct job){.kind = COMPARE});
}

static PyObject *fill(PyObject *module, PyObject *args) {
    struct place to = {.name = "to"};
    struct vmarena_py_number byte = {.name = "byte"}, size = {.name = "size"};
    if (!PyArg_ParseTuple(args, "O&O&O&:fill", to_place, &to, vmarena_py_to_size, &byte, vmarena_py_to_size, &size))
        return NULL;
    Py_ssize_t done = -1;
    struct job job = {FILL, to.address, NULL, (int)(byte.value & 255), size.value};
    if (byte.value > 255) PyErr_SetString(PyExc_ValueError, "byte must be in range(0, 256)");
    else done = finish(vmarena_py_state(module), &job, waits_for_a_device(&to));
    leave_place(&to);
    return done < 0 ? NULL : PyLong_FromSsize_t(done);
}

static PyObject *read_at(PyObject *module, PyObject *args) {
    struct place start = {.name = "start"};
    struct vmarena_py_number size = {.name = "size"}, offset = {.name = "offset"};
    if (!PyArg_ParseTuple(args, "O&O&|O&:read", to_place, &start, vmarena_py_to_size, &size, vmarena_py_to_size,
                          &offset))
        return NULL;
    PyObject *bytes =
        read_bytes(vmarena_py_state(module), start.address + offset.value, size.value, waits_for_a_device(&start));
    leave_place(&start);
    return bytes;
}

static PyObject *write_at(PyObject *module, PyObject *args) {
    struct place to = {.name = "to"};
    struct vmarena_py_number offset = {.name = "offset"};
    PyObject *source;
    Py_buffer data;
    Py_ssize_t done = -1;
    if (!PyArg_ParseTuple(args, "O&O|O&:write", to_place, &to, &source, vmarena_py_to_size, &offset)) return NULL;
    if (PyObject_GetBuffer(source, &data, PyBUF_SIMPLE) == 0) {
        struct job job = {COPY, to.address + offset.value, data.buf, 0, (size_t)data.len};
        done = finish(vmarena_py_state(module), &job, waits_for_a_device(&to));
        PyBuffer_Release(&data);
    }
    leave_place(&to);
    return done < 0 ? NULL : Py_NewRef(Py_None);
}

PyMethodDef vmarena_py_guarded_methods[] = {
    {"copy", copy, METH_VARARGS, NULL},
    {"compare", compare, METH_VARARGS, NULL},
    {"fill", fill, METH_VARARGS, NULL},
    {"read_bytes", read_at, METH_VARARGS, NULL},
    {"write_bytes", write_at, METH_VARARGS, NULL},
    {NULL, NULL, 0, NULL},
};
