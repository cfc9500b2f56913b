/* SPDX-License-Identifier: MIT */
#include "module.h"

#include <stddef.h>
#include <structmember.h>

typedef struct vmarena_py_handle Handle;
typedef struct vmarena_py_memory Memory;

/* ---- what a handle knows of its memory --------------------------------------------------------------------------- */

static void unlink_memory(Memory *memory) {
    if (memory->newer != NULL) memory->newer->older = memory->older;
    else if (memory->handle->newest == memory) memory->handle->newest = memory->older;
    if (memory->older != NULL) memory->older->newer = memory->newer;
    memory->newer = memory->older = NULL;
}

static void link_newest(Memory *memory) {
    Handle *handle = memory->handle;
    memory->serial = ++handle->serial;
    memory->older = handle->newest;
    if (handle->newest != NULL) handle->newest->newer = memory;
    handle->newest = memory;
}

PyObject *vmarena_py_memory_new(Handle *handle, void *start, size_t size) {
    PyTypeObject *type = (PyTypeObject *)vmarena_py_state_of((PyObject *)handle)->memory_type;
    Memory *memory = (Memory *)((allocfunc)PyType_GetSlot(type, Py_tp_alloc))(type, 0);
    if (memory == NULL) return NULL;
    memory->start = start;
    memory->size = (Py_ssize_t)size;
    memory->handle = (Handle *)Py_NewRef((PyObject *)handle);
    link_newest(memory);
    return (PyObject *)memory;
}

void vmarena_py_memory_release(Memory *memory) {
    unlink_memory(memory);
    memory->start = NULL;
    memory->size = 0;
}

/* A mark taken before does not hold what grew or moved after it. */
void vmarena_py_memory_moved(Memory *memory, char *start, size_t size) {
    memory->start = start;
    memory->size = (Py_ssize_t)size;
    unlink_memory(memory);
    link_newest(memory);
}

static void memory_dealloc(PyObject *object);

bool vmarena_py_is_memory(PyObject *value) {
    return PyType_GetSlot(Py_TYPE(value), Py_tp_dealloc) == (void *)memory_dealloc;
}

static bool is_held(const Memory *memory) {
    if (memory->start != NULL) return true;
    PyErr_SetString(PyExc_ValueError,
                    "the memory was released: it was freed, or its arena was rewound past it, reset or closed");
    return false;
}

Memory *vmarena_py_memory(PyObject *value) {
    Memory *memory = (Memory *)value;
    if (!vmarena_py_is_memory(value)) {
        PyErr_Format(PyExc_TypeError, "expected a vmarena.Memory, not %R", (PyObject *)Py_TYPE(value));
        return NULL;
    }
    if (!is_held(memory) || !vmarena_py_enter_handle(memory->handle)) return NULL;
    (void)vmarena_py_leave(memory->handle, NULL);
    return is_held(memory) ? memory : NULL;
}

Memory *vmarena_py_changeable(Handle *handle, PyObject *value, const char *deed) {
    Memory *memory = vmarena_py_memory(value);
    if (memory == NULL) return NULL;
    if (memory->handle != handle)
        PyErr_Format(PyExc_ValueError, "the memory is not of this %s", vmarena_py_kind_name(handle->kind));
    else if (memory->exports != 0)
        PyErr_Format(PyExc_BufferError, "cannot %s the memory: %zd buffers of it are out", deed, memory->exports);
    else return memory;
    return NULL;
}

bool vmarena_py_pin(Memory *memory) {
    if (vmarena_py_memory((PyObject *)memory) == NULL) return false;
    memory->exports++;
    memory->handle->exports++;
    return true;
}

void vmarena_py_unpin(Memory *memory) {
    memory->exports--;
    memory->handle->exports--;
}

/* ---- the end ----------------------------------------------------------------------------------------------------- */

/* Nobody is there to be told: what was overwritten goes to sys.unraisablehook. */
static void free_forgotten(Memory *memory) {
    PyObject *type, *value, *traceback;
    PyErr_Fetch(&type, &value, &traceback);
    if (vmarena_py_enter_handle(memory->handle)) {
        int error = vmarena_heap_free(memory->handle->object, memory->start);
        if (vmarena_py_done(memory->handle, error) == NULL)
            PyErr_WriteUnraisable((PyObject *)Py_TYPE((PyObject *)memory));
        else Py_DECREF(Py_None);
    } else PyErr_Clear(); /* closed while this waited, or absent from this child */
    PyErr_Restore(type, value, traceback);
}

static void memory_dealloc(PyObject *object) {
    PyTypeObject *type = Py_TYPE(object);
    Memory *memory = (Memory *)object;
    if (memory->weak_references != NULL) PyObject_ClearWeakRefs(object);
    bool forgotten = memory->handle->kind == VMARENA_PY_HEAP && memory->start != NULL;
    unlink_memory(memory);
    if (forgotten) free_forgotten(memory);
    Py_DECREF((PyObject *)memory->handle);
    ((freefunc)PyType_GetSlot(type, Py_tp_free))(object);
    Py_DECREF(type);
}

/* ---- buffers ----------------------------------------------------------------------------------------------------- */

static int memory_buffer(PyObject *object, Py_buffer *view, int flags) {
    Memory *memory = (Memory *)object;
    view->obj = NULL;
    if (!vmarena_py_pin(memory)) return -1;
    unsigned prot = memory->size == 0 ? VMARENA_READ | VMARENA_WRITE : vmarena_py_prot(memory);
    if ((prot & VMARENA_READ) == 0) PyErr_SetString(PyExc_BufferError, "the memory is not readable");
    else if (PyBuffer_FillInfo(view, object, memory->start, memory->size, (prot & VMARENA_WRITE) == 0, flags) == 0)
        return 0;
    vmarena_py_unpin(memory);
    return -1;
}

static void memory_release_buffer(PyObject *object, Py_buffer *view) {
    (void)view;
    vmarena_py_unpin((Memory *)object);
}

/* memoryview(memory).cast(...): elements of another type, and shapes. */
static PyObject *memory_cast(PyObject *object, PyObject *args, PyObject *keywords) {
    PyObject *view = PyMemoryView_FromObject(object);
    if (view == NULL) return NULL;
    PyObject *cast = PyObject_GetAttrString(view, "cast");
    PyObject *result = cast == NULL ? NULL : PyObject_Call(cast, args, keywords);
    Py_XDECREF(cast);
    Py_DECREF(view);
    return result;
}

/* ---- bytes by their index ---------------------------------------------------------------------------------------- */

static Py_ssize_t memory_length(PyObject *object) {
    const Memory *memory = vmarena_py_memory(object);
    return memory == NULL ? -1 : memory->size;
}

static bool is_inside(const Memory *memory, Py_ssize_t index) {
    if (index >= 0 && index < memory->size) return true;
    PyErr_SetString(PyExc_IndexError, "index out of range");
    return false;
}

/* The same as a sequence: iter() ends at the IndexError. */
static PyObject *memory_item(PyObject *object, Py_ssize_t index) {
    const Memory *memory = vmarena_py_memory(object);
    if (memory == NULL || !is_inside(memory, index)) return NULL;
    PyObject *bytes = vmarena_py_read(vmarena_py_state_of(object), memory->start + index, 1);
    if (bytes == NULL) return NULL;
    PyObject *number = PyLong_FromLong((unsigned char)*PyBytes_AsString(bytes));
    Py_DECREF(bytes);
    return number;
}

/* Every step-th byte of all. */
static PyObject *thinned(PyObject *all, Py_ssize_t from, Py_ssize_t step, Py_ssize_t count) {
    PyObject *bytes = PyBytes_FromStringAndSize(NULL, count);
    if (bytes == NULL) return NULL;
    char *to = PyBytes_AsString(bytes);
    const char *source = PyBytes_AsString(all);
    for (Py_ssize_t i = 0; i < count; i++) to[i] = source[from + i * step];
    return bytes;
}

static PyObject *read_slice(Memory *memory, PyObject *slice) {
    Py_ssize_t start, stop, step;
    if (PySlice_Unpack(slice, &start, &stop, &step) != 0) return NULL;
    if (!vmarena_py_pin(memory)) return NULL;
    Py_ssize_t count = PySlice_AdjustIndices(memory->size, &start, &stop, step);
    Py_ssize_t last = count == 0 ? start : start + (count - 1) * step, low = last < start ? last : start;
    size_t span = count == 0 ? 0 : (size_t)((last < start ? start - last : last - start) + 1);
    PyObject *all = vmarena_py_read(vmarena_py_state_of((PyObject *)memory), memory->start + low, span);
    vmarena_py_unpin(memory);
    if (all == NULL || step == 1) return all;
    PyObject *bytes = thinned(all, start - low, step, count);
    Py_DECREF(all);
    return bytes;
}

/* false: neither a slice nor, where there is an exception, an index. Negative ones count from the end. */
static bool to_index(const Memory *memory, PyObject *key, Py_ssize_t *index) {
    if (PyIndex_Check(key) == 0) {
        PyErr_Format(PyExc_TypeError, "indices must be integers or slices, not %R", (PyObject *)Py_TYPE(key));
        return false;
    }
    *index = PyNumber_AsSsize_t(key, PyExc_IndexError);
    if (*index == -1 && PyErr_Occurred() != NULL) return false;
    if (*index < 0) *index += memory->size;
    return is_inside(memory, *index);
}

static PyObject *memory_subscript(PyObject *object, PyObject *key) {
    Py_ssize_t index;
    Memory *memory = vmarena_py_memory(object);
    if (memory == NULL) return NULL;
    if (PySlice_Check(key)) return read_slice(memory, key);
    return to_index(memory, key, &index) ? memory_item(object, index) : NULL;
}

static int write_byte(const Memory *memory, PyObject *key, PyObject *value) {
    Py_ssize_t index;
    if (!to_index(memory, key, &index)) return -1;
    Py_ssize_t number = PyNumber_AsSsize_t(value, PyExc_ValueError);
    if (number == -1 && PyErr_Occurred() != NULL) return -1;
    if (number < 0 || number > 255) {
        PyErr_SetString(PyExc_ValueError, "byte must be in range(0, 256)");
        return -1;
    }
    char byte = (char)number;
    return vmarena_py_write(vmarena_py_state_of((PyObject *)memory), memory->start + index, &byte, 1);
}

static int write_bytes(const Memory *memory, const Py_buffer *data, Py_ssize_t start, Py_ssize_t step) {
    const struct vmarena_py_state *state = vmarena_py_state_of((PyObject *)memory);
    const char *bytes = data->buf;
    if (step == 1) return vmarena_py_write(state, memory->start + start, bytes, (size_t)data->len);
    for (Py_ssize_t i = 0; i < data->len; i++)
        if (vmarena_py_write(state, memory->start + start + i * step, bytes + i, 1) != 0) return -1;
    return 0;
}

static bool overlaps(const Memory *memory, const Py_buffer *data) {
    uintptr_t start = (uintptr_t)memory->start, other = (uintptr_t)data->buf;
    return other < start + (uintptr_t)memory->size && start < other + (uintptr_t)data->len;
}

/* The library's copy is for bytes apart. */
static int write_apart(const Memory *memory, const Py_buffer *data, Py_ssize_t start, Py_ssize_t step) {
    if (!overlaps(memory, data)) return write_bytes(memory, data, start, step);
    PyObject *bytes = vmarena_py_read(vmarena_py_state_of((PyObject *)memory), data->buf, (size_t)data->len);
    if (bytes == NULL) return -1;
    Py_buffer copy = {.buf = PyBytes_AsString(bytes), .len = data->len};
    int failed = write_bytes(memory, &copy, start, step);
    Py_DECREF(bytes);
    return failed;
}

static int write_slice(Memory *memory, PyObject *slice, PyObject *value) {
    Py_ssize_t start, stop, step;
    Py_buffer data;
    int failed = -1;
    if (PySlice_Unpack(slice, &start, &stop, &step) != 0) return -1;
    if (PyObject_GetBuffer(value, &data, PyBUF_SIMPLE) != 0) return -1;
    if (vmarena_py_pin(memory)) {
        Py_ssize_t count = PySlice_AdjustIndices(memory->size, &start, &stop, step);
        if (count == data.len) failed = write_apart(memory, &data, start, step);
        else PyErr_Format(PyExc_ValueError, "%zd bytes do not fit in a slice of %zd", data.len, count);
        vmarena_py_unpin(memory);
    }
    PyBuffer_Release(&data);
    return failed;
}

static int memory_assign(PyObject *object, PyObject *key, PyObject *value) {
    Memory *memory = vmarena_py_memory(object);
    if (memory == NULL) return -1;
    if (value == NULL) {
        PyErr_SetString(PyExc_TypeError, "memory cannot be deleted");
        return -1;
    }
    return PySlice_Check(key) ? write_slice(memory, key, value) : write_byte(memory, key, value);
}

/* ---- equality: of the bytes -------------------------------------------------------------------------------------- */

/* 1, 0, or -1 with an exception. */
static int equals_bytes(Memory *memory, const void *bytes, Py_ssize_t size) {
    if (!vmarena_py_pin(memory)) return -1;
    Py_ssize_t same = memory->size != size ? -2
                                           : vmarena_py_compare(vmarena_py_state_of((PyObject *)memory), memory->start,
                                                                bytes, (size_t)size);
    vmarena_py_unpin(memory);
    return same == -1 ? -1 : same == size;
}

static int equals_memory(Memory *left, Memory *right) {
    if (left->start == NULL || right->start == NULL) return 0; /* as a released memoryview */
    if (!vmarena_py_pin(right)) return -1;
    int equal = equals_bytes(left, right->start, right->size);
    vmarena_py_unpin(right);
    return equal;
}

/* -2: other is no buffer of plain bytes. */
static int equals(Memory *memory, PyObject *other) {
    Py_buffer data;
    if ((PyObject *)memory == other) return 1;
    if (vmarena_py_is_memory(other)) return equals_memory(memory, (Memory *)other);
    if (PyObject_GetBuffer(other, &data, PyBUF_SIMPLE) != 0) {
        PyErr_Clear();
        return -2;
    }
    int equal = memory->start == NULL ? 0 : equals_bytes(memory, data.buf, data.len);
    PyBuffer_Release(&data);
    return equal;
}

static PyObject *memory_compare(PyObject *object, PyObject *other, int operation) {
    if (operation != Py_EQ && operation != Py_NE) return Py_NewRef(Py_NotImplemented);
    int equal = equals((Memory *)object, other);
    if (equal == -2) return Py_NewRef(Py_NotImplemented);
    return equal < 0 ? NULL : PyBool_FromLong(equal == (operation == Py_EQ));
}

/* ---- the type ---------------------------------------------------------------------------------------------------- */

static PyObject *memory_repr(PyObject *object) {
    const Memory *memory = (Memory *)object;
    if (memory->start == NULL) return PyUnicode_FromString("<vmarena.Memory, released>");
    return PyUnicode_FromFormat("<vmarena.Memory of %zd bytes at %p>", memory->size, (void *)memory->start);
}

static PyObject *memory_address(PyObject *object, void *unused) {
    (void)unused;
    const Memory *memory = vmarena_py_memory(object);
    return memory == NULL ? NULL : PyLong_FromVoidPtr(memory->start);
}

static PyObject *memory_exports(PyObject *object, void *unused) {
    (void)unused;
    return PyLong_FromSsize_t(((Memory *)object)->exports);
}

static PyObject *memory_released(PyObject *object, void *unused) {
    (void)unused;
    return PyBool_FromLong(((Memory *)object)->start == NULL);
}

/* Of the whole arena, as its objects do not stand alone; of one object of a heap. */
static int check(Handle *handle, const Memory *memory) {
    int error = 0;
    Py_BEGIN_ALLOW_THREADS;
    if (handle->kind == VMARENA_PY_ARENA) error = vmarena_check(handle->object);
    if (handle->kind == VMARENA_PY_HEAP) error = vmarena_heap_check_object(handle->object, memory->start);
    Py_END_ALLOW_THREADS;
    return error;
}

static PyObject *memory_check(PyObject *object, PyObject *unused) {
    Memory *memory = (Memory *)object;
    (void)unused;
    if (!vmarena_py_pin(memory)) return NULL;
    PyObject *result =
        vmarena_py_enter_handle(memory->handle) ? vmarena_py_done(memory->handle, check(memory->handle, memory)) : NULL;
    vmarena_py_unpin(memory);
    return result;
}

static PyGetSetDef getset[] = {
    {"address", memory_address, NULL, "Address of the first byte.", NULL},
    {"exports", memory_exports, NULL,
     "Buffers of it that are out (memoryviews, numpy arrays and the like), and operations of other threads on it.",
     NULL},
    {"released", memory_released, NULL, "Whether it was taken back: by free, rewind, reset, move or close.", NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyMemberDef members[] = {
    {"__weaklistoffset__", T_PYSSIZET, offsetof(Memory, weak_references), READONLY, NULL},
    {NULL, 0, 0, 0, NULL},
};

static PyMethodDef methods[] = {
    {"check", memory_check, METH_NOARGS,
     "Raises Error (EILSEQ) where a byte around an object of its arena was overwritten."},
    {"cast", (PyCFunction)(void (*)(void))memory_cast, METH_VARARGS | METH_KEYWORDS,
     "memoryview(self).cast(format, shape): its bytes as numbers, without a copy."},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot slots[] = {
    {Py_tp_dealloc, memory_dealloc},
    {Py_tp_repr, memory_repr},
    {Py_tp_richcompare, memory_compare},
    {Py_tp_iter, PySeqIter_New},
    {Py_bf_getbuffer, memory_buffer},
    {Py_bf_releasebuffer, memory_release_buffer},
    {Py_sq_length, memory_length},
    {Py_sq_item, memory_item},
    {Py_mp_length, memory_length},
    {Py_mp_subscript, memory_subscript},
    {Py_mp_ass_subscript, memory_assign},
    {Py_tp_getset, getset},
    {Py_tp_members, members},
    {Py_tp_methods, methods},
    {Py_tp_doc, "Bytes in guarded memory: pass it where a buffer is taken. Made by Arena.alloc, vmarena.fenced, ..."},
    {0, NULL},
};

PyType_Spec vmarena_py_memory_spec = {"vmarena.Memory", sizeof(Memory), 0,
                                      Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION, slots};
