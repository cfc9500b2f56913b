/* SPDX-License-Identifier: MIT */
#include "handle.h"

#include <limits.h>

typedef unsigned long long number; /* for Py_BuildValue */

static PyObject *mapping_tuple(const struct vmarena_mapping *m) {
    return Py_BuildValue("(KKKKIIIONiNKKK)", (number)m->start, (number)m->end, (number)m->offset, (number)m->inode,
                         (unsigned)m->device_major, (unsigned)m->device_minor, m->prot, m->shared ? Py_True : Py_False,
                         vmarena_py_text(m->name), (int)m->owner, vmarena_py_text(m->owner_name),
                         (number)m->owner_start, (number)m->owner_end, (number)m->objects);
}

/* 1: an exception ends the walk. */
static int append(PyObject *list, PyObject *item) {
    if (item == NULL) return 1;
    int failed = PyList_Append(list, item);
    Py_DECREF(item);
    return failed != 0;
}

static int add_mapping(const struct vmarena_mapping *mapping, void *list) {
    return append(list, mapping_tuple(mapping));
}

/* The list, or what went wrong: an exception where result is 1. */
static PyObject *walked(PyObject *list, int result) {
    if (result == 0) return list;
    Py_DECREF(list);
    return result < 0 ? vmarena_py_error(result) : NULL;
}

PyObject *vmarena_py_maps(int pid) {
    PyObject *list = PyList_New(0);
    return list == NULL ? NULL : walked(list, vmarena_maps(pid, add_mapping, list));
}

PyObject *vmarena_py_mapping_at(int pid, uintptr_t address) {
    struct vmarena_mapping mapping;
    char name[PATH_MAX];
    int error = vmarena_mapping_at(pid, address, &mapping, name, sizeof name);
    return error != 0 ? vmarena_py_error(error) : mapping_tuple(&mapping);
}

static int add_pages(const struct vmarena_pages *pages, void *list) {
    return append(list, Py_BuildValue("(KKI)", (number)pages->start, (number)pages->end, pages->state));
}

PyObject *vmarena_py_residency(int pid, uintptr_t start, size_t length, unsigned wanted) {
    unsigned known = 0;
    PyObject *list = PyList_New(0);
    if (list == NULL) return NULL;
    list = walked(list, vmarena_residency(pid, start, length, wanted, &known, add_pages, list));
    return list == NULL ? NULL : Py_BuildValue("(IN)", known, list);
}

PyObject *vmarena_py_totals(int pid) {
    struct vmarena_totals t;
    int error = vmarena_totals(pid, &t);
    if (error != 0) return vmarena_py_error(error);
    return Py_BuildValue("(KKKKKKKKKKK)", (number)t.rss, (number)t.pss, (number)t.shared_clean, (number)t.shared_dirty,
                         (number)t.private_clean, (number)t.private_dirty, (number)t.anonymous, (number)t.huge,
                         (number)t.hugetlb, (number)t.swap, (number)t.locked);
}

PyObject *vmarena_py_fault_counts(int pid, bool thread) {
    uint64_t minor, major;
    int error = thread     ? vmarena_thread_fault_counts(&minor, &major)
                : pid == 0 ? vmarena_fault_counts(&minor, &major)
                           : vmarena_process_fault_counts(pid, &minor, &major);
    return error != 0 ? vmarena_py_error(error) : Py_BuildValue("(KK)", (number)minor, (number)major);
}

PyObject *vmarena_py_counters_open(int pid, unsigned flags) {
    struct vmarena_counters *counters;
    int error = vmarena_counters_open(&counters, pid, flags);
    return error != 0 ? vmarena_py_error(error) : vmarena_py_wrap(VMARENA_PY_COUNTERS, counters, 0);
}

PyObject *vmarena_py_counters_read(struct vmarena_py_handle *counters) {
    struct vmarena_counts counts;
    int error = vmarena_counters_read(counters->object, &counts);
    if (error != 0) return vmarena_py_error(error);
    PyObject *values = PyDict_New();
    for (int i = 0; i < VMARENA_COUNTERS && values != NULL; i++) {
        PyObject *value =
            counts.error[i] == 0 ? PyLong_FromUnsignedLongLong((number)counts.value[i]) : Py_NewRef(Py_None);
        if (value == NULL || PyDict_SetItemString(values, vmarena_counter_name((enum vmarena_counter)i), value) != 0)
            Py_CLEAR(values);
        Py_XDECREF(value);
    }
    return values;
}
