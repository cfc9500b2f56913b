/* SPDX-License-Identifier: MIT */
#include "module.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

static void too_large(const char *name) { PyErr_Format(PyExc_OverflowError, "%s exceeds the address space", name); }

static bool is_negative(PyObject *number) {
    PyObject *zero = PyLong_FromLong(0);
    int negative = zero == NULL ? 0 : PyObject_RichCompareBool(number, zero, Py_LT);
    Py_XDECREF(zero);
    return negative == 1;
}

static int to_size(PyObject *value, struct vmarena_py_number *out, size_t most) {
    PyObject *number = PyNumber_Index(value);
    if (number == NULL) {
        PyErr_Format(PyExc_TypeError, "%s must be an integer, not %R", out->name, (PyObject *)Py_TYPE(value));
        return 0;
    }
    out->value = PyLong_AsSize_t(number);
    bool fits = out->value != (size_t)-1 || PyErr_Occurred() == NULL;
    if (!fits) PyErr_Clear();
    if (!fits && is_negative(number)) PyErr_Format(PyExc_ValueError, "%s must not be negative", out->name);
    else if (!fits || out->value > most) too_large(out->name);
    Py_DECREF(number);
    return PyErr_Occurred() == NULL;
}

int vmarena_py_to_size(PyObject *value, void *number) { return to_size(value, number, PY_SSIZE_T_MAX); }
int vmarena_py_to_any_size(PyObject *value, void *number) { return to_size(value, number, SIZE_MAX); }

static int address_of(PyObject *value, struct vmarena_py_number *out) {
    const struct vmarena_py_memory *memory = vmarena_py_memory(value);
    if (memory == NULL) return 0;
    out->value = (uintptr_t)memory->start;
    return 1;
}

int vmarena_py_to_address(PyObject *value, void *out) {
    struct vmarena_py_number *address = out;
    if (vmarena_py_is_memory(value)) return address_of(value, address);
    PyObject *number = PyNumber_Index(value);
    if (number == NULL) {
        PyErr_Format(PyExc_TypeError, "%s must be an address or a Memory, not %R", address->name,
                     (PyObject *)Py_TYPE(value));
        return 0;
    }
    address->value = PyLong_AsSize_t(number);
    Py_DECREF(number);
    if (PyErr_Occurred() == NULL) return 1;
    PyErr_Clear();
    PyErr_Format(PyExc_OverflowError, "%s is outside of the address space", address->name);
    return 0;
}

int vmarena_py_to_unsigned(PyObject *value, void *out) {
    PyObject *number = PyNumber_Index(value);
    if (number == NULL) return 0;
    unsigned long bits = PyLong_AsUnsignedLong(number);
    Py_DECREF(number);
    if (PyErr_Occurred() != NULL) return 0;
    if (bits > UINT_MAX) {
        PyErr_SetString(PyExc_OverflowError, "the flags exceed an unsigned int");
        return 0;
    }
    *(unsigned *)out = (unsigned)bits;
    return 1;
}

int vmarena_py_to_name(PyObject *value, void *out) {
    const char **name = out;
    Py_ssize_t size;
    *name = NULL;
    if (value == Py_None) return 1;
    *name = PyUnicode_AsUTF8AndSize(value, &size);
    if (*name == NULL) return 0;
    if (strlen(*name) == (size_t)size) return 1;
    PyErr_SetString(PyExc_ValueError, "the name contains a NUL character");
    return 0;
}

PyObject *vmarena_py_text(const char *text) { return PyUnicode_DecodeUTF8(text, (Py_ssize_t)strlen(text), "replace"); }

PyObject *vmarena_py_refuse(const struct vmarena_py_state *state, int code, const char *sentence) {
    PyObject *error = PyObject_CallFunction(state->error_type, "iN", -code, vmarena_py_text(sentence));
    if (error == NULL) return NULL;
    PyErr_SetObject(state->error_type, error);
    Py_DECREF(error);
    return NULL;
}

PyObject *vmarena_py_error(const struct vmarena_py_state *state, int code) {
    return vmarena_py_refuse(state, code, vmarena_explain());
}

bool vmarena_py_append(struct vmarena_py_list *list, const void *item, size_t size) {
    if (list->count == list->room) {
        size_t room = list->room == 0 ? 64 : 2 * list->room;
        char *items = room > SIZE_MAX / size ? NULL : realloc(list->items, room * size);
        if (items == NULL) return false;
        list->items = items;
        list->room = room;
    }
    memcpy(list->items + list->count++ * size, item, size);
    return true;
}
