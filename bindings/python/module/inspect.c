/* SPDX-License-Identifier: MIT */
/* The system's view: tuples of what the C structures hold, in their order. */
#include "module.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

typedef unsigned long long number; /* for Py_BuildValue */
typedef struct vmarena_py_number Number;

/* ---- mappings ---------------------------------------------------------------------------------------------------- */

static PyObject *mapping_tuple(const struct vmarena_mapping *m) {
    return Py_BuildValue("(KKKKIIIONiNKKK)", (number)m->start, (number)m->end, (number)m->offset, (number)m->inode,
                         (unsigned)m->device_major, (unsigned)m->device_minor, m->prot, m->shared ? Py_True : Py_False,
                         vmarena_py_text(m->name), (int)m->owner, vmarena_py_text(m->owner_name),
                         (number)m->owner_start, (number)m->owner_end, (number)m->objects);
}

/* The strings of a mapping live as long as the call that tells it. */
static int keep_mapping(const struct vmarena_mapping *mapping, void *list) {
    struct vmarena_mapping kept = *mapping;
    char *name = strdup(mapping->name), *owner_name = strdup(mapping->owner_name);
    kept.name = name;
    kept.owner_name = owner_name;
    if (name != NULL && owner_name != NULL && vmarena_py_append(list, &kept, sizeof kept)) return 0;
    free(name);
    free(owner_name);
    return 1;
}

static void free_mappings(const struct vmarena_py_list *list) {
    const struct vmarena_mapping *mappings = (const struct vmarena_mapping *)(const void *)list->items;
    for (size_t i = 0; i < list->count; i++) {
        free((char *)mappings[i].name);
        free((char *)mappings[i].owner_name);
    }
    free(list->items);
}

static PyObject *mapping_tuples(const struct vmarena_py_list *list) {
    const struct vmarena_mapping *mappings = (const struct vmarena_mapping *)(const void *)list->items;
    PyObject *result = PyList_New((Py_ssize_t)list->count);
    for (size_t i = 0; i < list->count && result != NULL; i++) {
        PyObject *tuple = mapping_tuple(&mappings[i]);
        if (tuple == NULL || PyList_SetItem(result, (Py_ssize_t)i, tuple) != 0) Py_CLEAR(result);
    }
    return result;
}

/* error: what the walk returned, 1 where there was no memory. */
static PyObject *failed(PyObject *module, int error) {
    return error < 0 ? vmarena_py_error(vmarena_py_state(module), error) : PyErr_NoMemory();
}

static PyObject *maps(PyObject *module, PyObject *args) {
    struct vmarena_py_list list = {NULL, 0, 0};
    int pid, error;
    if (!PyArg_ParseTuple(args, "i:maps", &pid)) return NULL;
    Py_BEGIN_ALLOW_THREADS;
    error = vmarena_maps(pid, keep_mapping, &list);
    Py_END_ALLOW_THREADS;
    PyObject *result = error == 0 ? mapping_tuples(&list) : failed(module, error);
    free_mappings(&list);
    return result;
}

static PyObject *mapping_at(PyObject *module, PyObject *args) {
    struct vmarena_mapping mapping;
    char name[PATH_MAX];
    Number address = {.name = "address"};
    int pid, error;
    if (!PyArg_ParseTuple(args, "iO&:mapping_at", &pid, vmarena_py_to_address, &address)) return NULL;
    Py_BEGIN_ALLOW_THREADS;
    error = vmarena_mapping_at(pid, address.value, &mapping, name, sizeof name);
    Py_END_ALLOW_THREADS;
    return error != 0 ? failed(module, error) : mapping_tuple(&mapping);
}

/* ---- pages ------------------------------------------------------------------------------------------------------- */

static int keep_pages(const struct vmarena_pages *pages, void *list) {
    return vmarena_py_append(list, pages, sizeof *pages) ? 0 : 1;
}

static PyObject *pages_tuples(const struct vmarena_py_list *list) {
    const struct vmarena_pages *pages = (const struct vmarena_pages *)(const void *)list->items;
    PyObject *result = PyList_New((Py_ssize_t)list->count);
    for (size_t i = 0; i < list->count && result != NULL; i++) {
        PyObject *tuple = Py_BuildValue("(KKI)", (number)pages[i].start, (number)pages[i].end, pages[i].state);
        if (tuple == NULL || PyList_SetItem(result, (Py_ssize_t)i, tuple) != 0) Py_CLEAR(result);
    }
    return result;
}

/* (known, [pages, ...]) */
static PyObject *residency(PyObject *module, PyObject *args) {
    struct vmarena_py_list list = {NULL, 0, 0};
    Number start = {.name = "start"}, length = {.name = "length"};
    unsigned wanted, known = 0;
    int pid, error;
    if (!PyArg_ParseTuple(args, "iO&O&O&:residency", &pid, vmarena_py_to_address, &start, vmarena_py_to_size, &length,
                          vmarena_py_to_unsigned, &wanted))
        return NULL;
    Py_BEGIN_ALLOW_THREADS;
    error = vmarena_residency(pid, start.value, length.value, wanted, &known, keep_pages, &list);
    Py_END_ALLOW_THREADS;
    PyObject *pages = error == 0 ? pages_tuples(&list) : failed(module, error);
    free(list.items);
    return pages == NULL ? NULL : Py_BuildValue("(IN)", known, pages);
}

static PyObject *frame(PyObject *module, PyObject *args) {
    Number address = {.name = "address"};
    uint64_t found;
    if (!PyArg_ParseTuple(args, "O&:frame", vmarena_py_to_address, &address)) return NULL;
    int error = vmarena_frame((const void *)address.value, &found);
    return error != 0 ? failed(module, error) : PyLong_FromUnsignedLongLong(found);
}

/* ---- totals and counts ------------------------------------------------------------------------------------------- */

static PyObject *totals(PyObject *module, PyObject *args) {
    struct vmarena_totals t;
    int pid, error;
    if (!PyArg_ParseTuple(args, "i:totals", &pid)) return NULL;
    Py_BEGIN_ALLOW_THREADS;
    error = vmarena_totals(pid, &t);
    Py_END_ALLOW_THREADS;
    if (error != 0) return failed(module, error);
    return Py_BuildValue("(KKKKKKKKKKK)", (number)t.rss, (number)t.pss, (number)t.shared_clean, (number)t.shared_dirty,
                         (number)t.private_clean, (number)t.private_dirty, (number)t.anonymous, (number)t.huge,
                         (number)t.hugetlb, (number)t.swap, (number)t.locked);
}

/* fault_counts(pid, thread): pid 0: this process, or this thread. */
static PyObject *fault_counts(PyObject *module, PyObject *args) {
    uint64_t minor, major;
    int pid, thread;
    if (!PyArg_ParseTuple(args, "ip:fault_counts", &pid, &thread)) return NULL;
    int error = thread     ? vmarena_thread_fault_counts(&minor, &major)
                : pid == 0 ? vmarena_fault_counts(&minor, &major)
                           : vmarena_process_fault_counts(pid, &minor, &major);
    return error != 0 ? failed(module, error) : Py_BuildValue("(KK)", (number)minor, (number)major);
}

static PyObject *counters_open(PyObject *module, PyObject *args) {
    struct vmarena_counters *counters;
    unsigned flags;
    int pid;
    if (!PyArg_ParseTuple(args, "iO&:counters_open", &pid, vmarena_py_to_unsigned, &flags)) return NULL;
    int error = vmarena_counters_open(&counters, pid, flags);
    return error != 0 ? failed(module, error)
                      : vmarena_py_wrap(vmarena_py_state(module), VMARENA_PY_COUNTERS, counters, NULL, 0);
}

static PyObject *counts_by_name(const struct vmarena_counts *counts) {
    PyObject *values = PyDict_New();
    for (int i = 0; i < VMARENA_COUNTERS && values != NULL; i++) {
        PyObject *value =
            counts->error[i] == 0 ? PyLong_FromUnsignedLongLong((number)counts->value[i]) : Py_NewRef(Py_None);
        if (value == NULL || PyDict_SetItemString(values, vmarena_counter_name((enum vmarena_counter)i), value) != 0)
            Py_CLEAR(values);
        Py_XDECREF(value);
    }
    return values;
}

static PyObject *counters_read(PyObject *module, PyObject *object) {
    struct vmarena_counts counts;
    (void)module;
    struct vmarena_py_handle *counters = vmarena_py_enter(object, VMARENA_PY_COUNTERS);
    if (counters == NULL) return NULL;
    int error = vmarena_counters_read(counters->object, &counts);
    if (error != 0) return vmarena_py_done(counters, error);
    return vmarena_py_leave(counters, counts_by_name(&counts));
}

/* ---- the system -------------------------------------------------------------------------------------------------- */

static PyObject *caps(PyObject *module, PyObject *unused) {
    struct vmarena_caps c;
    int error;
    (void)unused;
    Py_BEGIN_ALLOW_THREADS;
    error = vmarena_caps(&c);
    Py_END_ALLOW_THREADS;
    if (error != 0) return failed(module, error);
    return Py_BuildValue(
        "{s:n,s:n,s:K,s:n,s:n,s:n,s:n,s:i,s:N,s:N,s:N,s:N,s:N,s:N,s:N,s:N,s:N,s:N,s:N,s:N,s:N,s:N,s:N}", "page_size",
        (Py_ssize_t)c.page_size, "huge_page_size", (Py_ssize_t)c.huge_page_size, "thp_sizes", (number)c.thp_sizes,
        "hugetlb_2m_free", (Py_ssize_t)c.hugetlb_2m_free, "hugetlb_1g_free", (Py_ssize_t)c.hugetlb_1g_free,
        "map_entry_limit", (Py_ssize_t)c.map_entry_limit, "protection_keys", (Py_ssize_t)c.protection_keys, "thp",
        (int)c.thp, "guard_markers", PyBool_FromLong(c.guard_markers), "vectored_madvise",
        PyBool_FromLong(c.vectored_madvise), "collapse", PyBool_FromLong(c.collapse), "populate",
        PyBool_FromLong(c.populate), "wipe_on_fork", PyBool_FromLong(c.wipe_on_fork), "procmap_query",
        PyBool_FromLong(c.procmap_query), "pagemap_scan", PyBool_FromLong(c.pagemap_scan), "seal",
        PyBool_FromLong(c.seal), "userfaultfd", PyBool_FromLong(c.userfaultfd), "userfaultfd_wp",
        PyBool_FromLong(c.userfaultfd_wp), "perf_counters", PyBool_FromLong(c.perf_counters), "perf_tlb",
        PyBool_FromLong(c.perf_tlb), "vma_names", PyBool_FromLong(c.vma_names), "fault_access",
        PyBool_FromLong(c.fault_access), "strict_overcommit", PyBool_FromLong(c.strict_overcommit));
}

static PyObject *page_size(PyObject *module, PyObject *unused) {
    (void)module, (void)unused;
    return PyLong_FromSize_t(vmarena_page_size());
}

static PyObject *page_round_up(PyObject *module, PyObject *value) {
    Number size = {.name = "size"};
    (void)module;
    return vmarena_py_to_any_size(value, &size) == 0 ? NULL : PyLong_FromSize_t(vmarena_page_round_up(size.value));
}

static PyObject *version(PyObject *module, PyObject *unused) {
    (void)module, (void)unused;
    return PyUnicode_FromString(vmarena_version());
}

PyMethodDef vmarena_py_inspect_methods[] = {
    {"maps", maps, METH_VARARGS, NULL},
    {"mapping_at", mapping_at, METH_VARARGS, NULL},
    {"residency", residency, METH_VARARGS, NULL},
    {"frame", frame, METH_VARARGS, NULL},
    {"totals", totals, METH_VARARGS, NULL},
    {"fault_counts", fault_counts, METH_VARARGS, NULL},
    {"counters_open", counters_open, METH_VARARGS, NULL},
    {"counters_read", counters_read, METH_O, NULL},
    {"caps", caps, METH_NOARGS, NULL},
    {"page_size", page_size, METH_NOARGS, NULL},
    {"page_round_up", page_round_up, METH_O, NULL},
    {"version", version, METH_NOARGS, NULL},
    {NULL, NULL, 0, NULL},
};
