/* SPDX-License-Identifier: MIT */
/*
 * The C side of the Python package, vmarena._vmarena: the types of handle.h, and functions on them. A negative errno
 * becomes vmarena.Error, a fault a tuple of which the package makes vmarena.Fault. Python code never runs inside a
 * fault scope: whole operations are guarded in C, and raise afterwards.
 */
%module vmarena

%{
#include "handle.h"
%}

%init %{
    if (vmarena_py_init(m) != 0) return NULL;
%}

%rename("%(regex:/^vmarena_(py_)?(.*)$/\\2/)s") "";

%include "stdint.i"

%typemap(in) size_t { if (vmarena_py_size($input, "$1_name", PY_SSIZE_T_MAX, &$1) != 0) SWIG_fail; }
%typemap(in) size_t any_size { if (vmarena_py_size($input, "size", SIZE_MAX, &$1) != 0) SWIG_fail; }
%typemap(in) uintptr_t { if (vmarena_py_address($input, "$1_name", &$1) != 0) SWIG_fail; }
%typemap(in) uint64_t (size_t number) {
    if (vmarena_py_size($input, "$1_name", PY_SSIZE_T_MAX, &number) != 0) SWIG_fail;
    $1 = number;
}
%typemap(out) size_t { $result = PyLong_FromSize_t($1); }
%typemap(in) struct vmarena_py_handle *arena {
    if (($1 = vmarena_py_handle($input, VMARENA_PY_ARENA)) == NULL) SWIG_fail;
}
%typemap(in) struct vmarena_py_handle *heap {
    if (($1 = vmarena_py_handle($input, VMARENA_PY_HEAP)) == NULL) SWIG_fail;
}
%typemap(in) struct vmarena_py_handle *counters {
    if (($1 = vmarena_py_handle($input, VMARENA_PY_COUNTERS)) == NULL) SWIG_fail;
}
%typemap(in) struct vmarena_py_handle *snapshot {
    if (($1 = vmarena_py_handle($input, VMARENA_PY_SNAPSHOT)) == NULL) SWIG_fail;
}
%typemap(in) struct vmarena_py_handle *view {
    if (($1 = vmarena_py_handle($input, VMARENA_PY_VIEW)) == NULL) SWIG_fail;
}
%typemap(in) struct vmarena_py_memory * { if (($1 = vmarena_py_memory($input)) == NULL) SWIG_fail; }
%typemap(in) const char *name {
    Py_ssize_t size;
    $1 = NULL;
    if ($input != Py_None && ($1 = (char *)PyUnicode_AsUTF8AndSize($input, &size)) == NULL) SWIG_fail;
    if ($1 != NULL && strlen($1) != (size_t)size) {
        PyErr_SetString(PyExc_ValueError, "the name contains a NUL character");
        SWIG_fail;
    }
}
%typemap(in) const char *path {
    $1 = NULL;
    if ($input != Py_None && PyBytes_AsStringAndSize($input, &$1, NULL) != 0) SWIG_fail;
}
%typemap(freearg) const char *name, const char *path ""
%typemap(in) (const void *bytes, size_t length) (Py_buffer view = {0}) {
    if (PyObject_GetBuffer($input, &view, PyBUF_SIMPLE) != 0) SWIG_fail;
    $1 = view.buf;
    $2 = (size_t)view.len;
}
%typemap(freearg) (const void *bytes, size_t length) { if (view$argnum.obj != NULL) PyBuffer_Release(&view$argnum); }

const char *vmarena_version(void);
size_t vmarena_page_size(void);
%inline %{
size_t page_round_up(size_t any_size) { return vmarena_page_round_up(any_size); }
PyObject *caps(void) {
    struct vmarena_caps c;
    int error = vmarena_caps(&c);
    if (error != 0) return vmarena_py_error(error);
    return Py_BuildValue("{s:n,s:n,s:K,s:n,s:n,s:n,s:n,s:i,s:N,s:N,s:N,s:N,s:N,s:N,s:N,s:N,s:N,s:N,s:N,s:N,s:N,"
                         "s:N,s:N}",
        "page_size", (Py_ssize_t)c.page_size, "huge_page_size", (Py_ssize_t)c.huge_page_size,
        "thp_sizes", (unsigned long long)c.thp_sizes, "hugetlb_2m_free", (Py_ssize_t)c.hugetlb_2m_free,
        "hugetlb_1g_free", (Py_ssize_t)c.hugetlb_1g_free, "map_entry_limit", (Py_ssize_t)c.map_entry_limit,
        "protection_keys", (Py_ssize_t)c.protection_keys, "thp", (int)c.thp,
        "guard_markers", PyBool_FromLong(c.guard_markers), "vectored_madvise", PyBool_FromLong(c.vectored_madvise),
        "collapse", PyBool_FromLong(c.collapse), "populate", PyBool_FromLong(c.populate),
        "wipe_on_fork", PyBool_FromLong(c.wipe_on_fork), "procmap_query", PyBool_FromLong(c.procmap_query),
        "pagemap_scan", PyBool_FromLong(c.pagemap_scan), "seal", PyBool_FromLong(c.seal),
        "userfaultfd", PyBool_FromLong(c.userfaultfd), "userfaultfd_wp", PyBool_FromLong(c.userfaultfd_wp),
        "perf_counters", PyBool_FromLong(c.perf_counters), "perf_tlb", PyBool_FromLong(c.perf_tlb),
        "vma_names", PyBool_FromLong(c.vma_names), "fault_access", PyBool_FromLong(c.fault_access),
        "strict_overcommit", PyBool_FromLong(c.strict_overcommit));
}
%}

/* ---- arenas ---- */
%inline %{
PyObject *create(size_t reserve, size_t commit, size_t guard, unsigned huge, unsigned fence, unsigned guard_kind,
                 unsigned commit_policy, unsigned flags, const char *name) {
    struct vmarena_options options = {.reserve = reserve,
                                      .commit = commit,
                                      .guard = guard,
                                      .huge = (enum vmarena_huge)huge,
                                      .fence = (enum vmarena_fence)fence,
                                      .guard_kind = (enum vmarena_guard_kind)guard_kind,
                                      .commit_policy = (enum vmarena_commit_policy)commit_policy,
                                      .flags = flags,
                                      .name = name};
    return vmarena_py_create(&options);
}
PyObject *discard(struct vmarena_py_handle *arena, uintptr_t start, size_t length) {
    return vmarena_py_done(vmarena_discard(arena->object, (void *)start, length));
}
PyObject *prefault(struct vmarena_py_handle *arena, size_t size) {
    return vmarena_py_done(vmarena_prefault(arena->object, size));
}
PyObject *seal(struct vmarena_py_handle *arena) { return vmarena_py_done(vmarena_seal(arena->object)); }
bool owns(struct vmarena_py_handle *arena, uintptr_t address) {
    return vmarena_owns(arena->object, (const void *)address);
}
PyObject *stats(struct vmarena_py_handle *arena) {
    struct vmarena_stats s;
    vmarena_stats(arena->object, &s);
    return Py_BuildValue("{s:n,s:n,s:n,s:n,s:n,s:n,s:n,s:n,s:n,s:I,s:I,s:i,s:i,s:i,s:i,s:N,s:N,s:N}",
        "reserved", (Py_ssize_t)s.reserved, "committed", (Py_ssize_t)s.committed, "used", (Py_ssize_t)s.used,
        "peak", (Py_ssize_t)s.peak, "objects", (Py_ssize_t)s.objects, "resident", (Py_ssize_t)s.resident,
        "huge", (Py_ssize_t)s.huge, "guard", (Py_ssize_t)s.guard, "page_size", (Py_ssize_t)s.page_size,
        "prot", s.prot, "flags", s.flags, "huge_asked", (int)s.huge_asked, "huge_obtained", (int)s.huge_obtained,
        "guard_kind", (int)s.guard_kind, "commit_policy", (int)s.commit_policy, "named", PyBool_FromLong(s.named),
        "sealed", PyBool_FromLong(s.sealed), "annotated", PyBool_FromLong(s.annotated));
}
%}
PyObject *vmarena_py_close(PyObject *handle);
PyObject *vmarena_py_alloc(struct vmarena_py_handle *arena, size_t size, size_t align, bool zeroed);
PyObject *vmarena_py_resize(struct vmarena_py_handle *arena, struct vmarena_py_memory *memory, size_t size);
PyObject *vmarena_py_mark(struct vmarena_py_handle *arena);
PyObject *vmarena_py_rewind(struct vmarena_py_handle *arena, PyObject *mark);
PyObject *vmarena_py_reset(struct vmarena_py_handle *arena, size_t keep);
PyObject *vmarena_py_check(struct vmarena_py_handle *arena);
PyObject *vmarena_py_protect(struct vmarena_py_handle *arena, unsigned prot);
PyObject *vmarena_py_protect_range(struct vmarena_py_handle *arena, uintptr_t start, size_t length, unsigned prot);
PyObject *vmarena_py_open_on_fault(struct vmarena_py_handle *arena, bool on);

/* ---- snapshots ---- */
PyObject *vmarena_py_snapshot(struct vmarena_py_handle *arena, unsigned tracking);
PyObject *vmarena_py_restore(struct vmarena_py_handle *arena, struct vmarena_py_handle *snapshot);
PyObject *vmarena_py_clone(struct vmarena_py_handle *snapshot);
PyObject *vmarena_py_counterpart(struct vmarena_py_handle *arena, struct vmarena_py_handle *snapshot,
                                 struct vmarena_py_memory *memory);
PyObject *vmarena_py_dirty_pages(struct vmarena_py_handle *arena, struct vmarena_py_handle *snapshot);
%inline %{
PyObject *snapshot_info(struct vmarena_py_handle *snapshot) {
    struct vmarena_snapshot_info i;
    int error = vmarena_snapshot_info(snapshot->object, &i);
    if (error != 0) return vmarena_py_error(error);
    return Py_BuildValue("(innnK)", (int)i.tracking, (Py_ssize_t)i.used, (Py_ssize_t)i.copied, (Py_ssize_t)i.restored,
                         (unsigned long long)i.restores);
}
%}

/* ---- heaps ---- */
%inline %{
PyObject *heap_create(size_t reserve, size_t align, size_t guard, unsigned guard_kind, unsigned side, unsigned reuse,
                      size_t quarantine_bytes, size_t quarantine_count, size_t check_interval, size_t memory_cap,
                      bool quarantine, const char *name) {
    struct vmarena_heap_options options = {.name = name,
                                           .reserve = reserve,
                                           .align = align,
                                           .guard = guard,
                                           .guard_kind = (enum vmarena_guard_kind)guard_kind,
                                           .side = (enum vmarena_heap_side)side,
                                           .reuse = (enum vmarena_heap_reuse)reuse,
                                           .quarantine_bytes = quarantine_bytes,
                                           .quarantine_count = quarantine_count,
                                           .check_interval = check_interval,
                                           .memory_cap = memory_cap,
                                           .flags = VMARENA_HEAP_NO_STACKS |
                                                    (quarantine ? 0 : VMARENA_HEAP_NO_QUARANTINE)};
    return vmarena_py_heap_create(&options);
}
PyObject *heap_check(struct vmarena_py_handle *heap) { return vmarena_py_done(vmarena_heap_check(heap->object)); }
bool heap_owns(struct vmarena_py_handle *heap, uintptr_t address) {
    return vmarena_heap_owns(heap->object, (const void *)address);
}
PyObject *heap_stats(struct vmarena_py_handle *heap) {
    struct vmarena_heap_stats s;
    vmarena_heap_stats(heap->object, &s);
    return Py_BuildValue("{s:n,s:n,s:n,s:n,s:n,s:n,s:n,s:K,s:K,s:K,s:K,s:K,s:n,s:n,s:n,s:n,s:i,s:n,s:n,s:N,s:N}",
        "live", (Py_ssize_t)s.live, "live_peak", (Py_ssize_t)s.live_peak, "live_bytes", (Py_ssize_t)s.live_bytes,
        "page_bytes", (Py_ssize_t)s.page_bytes, "page_peak", (Py_ssize_t)s.page_peak,
        "quarantined", (Py_ssize_t)s.quarantined, "quarantined_bytes", (Py_ssize_t)s.quarantined_bytes,
        "allocs", (unsigned long long)s.allocs, "frees", (unsigned long long)s.frees,
        "failed", (unsigned long long)s.failed, "errors", (unsigned long long)s.errors,
        "checks", (unsigned long long)s.checks, "reserved", (Py_ssize_t)s.reserved,
        "committed", (Py_ssize_t)s.committed, "record_bytes", (Py_ssize_t)s.record_bytes, "guard", (Py_ssize_t)s.guard,
        "guard_kind", (int)s.guard_kind, "guard_limit", (Py_ssize_t)s.guard_limit,
        "map_entry_limit", (Py_ssize_t)s.map_entry_limit, "unlocked", PyBool_FromLong(s.unlocked),
        "forked", PyBool_FromLong(s.forked));
}
%}
PyObject *vmarena_py_heap_alloc(struct vmarena_py_handle *heap, size_t size, size_t align);
PyObject *vmarena_py_heap_resize(struct vmarena_py_handle *heap, struct vmarena_py_memory *memory, size_t size);
PyObject *vmarena_py_heap_free(struct vmarena_py_handle *heap, struct vmarena_py_memory *memory);

/* ---- views ---- */
%inline %{
PyObject *view_open(const char *path, int fd, unsigned mode, unsigned fence, unsigned huge, unsigned flags,
                    uint64_t offset, size_t length, size_t guard, const char *name) {
    struct vmarena_view_options options = {.mode = (enum vmarena_view_mode)mode,
                                           .fence = (enum vmarena_fence)fence,
                                           .huge = (enum vmarena_huge)huge,
                                           .flags = flags,
                                           .offset = offset,
                                           .length = length,
                                           .guard = guard,
                                           .name = name};
    return vmarena_py_view_open(path, fd, &options);
}
size_t view_offset(struct vmarena_py_handle *view) { return (size_t)((struct vmarena_view *)view->object)->offset; }
PyObject *view_sync(struct vmarena_py_handle *view, size_t start, size_t length) {
    return vmarena_py_done(vmarena_view_sync(view->object, start, length));
}
PyObject *view_advise(struct vmarena_py_handle *view, size_t start, size_t length, unsigned advice) {
    return vmarena_py_done(vmarena_view_advise(view->object, start, length, (enum vmarena_view_advice)advice));
}
PyObject *view_populate(struct vmarena_py_handle *view, size_t start, size_t length) {
    return vmarena_py_done(vmarena_view_populate(view->object, start, length));
}
PyObject *view_lock(struct vmarena_py_handle *view, size_t start, size_t length) {
    return vmarena_py_done(vmarena_view_lock(view->object, start, length));
}
PyObject *view_unlock(struct vmarena_py_handle *view, size_t start, size_t length) {
    return vmarena_py_done(vmarena_view_unlock(view->object, start, length));
}
PyObject *view_info(struct vmarena_py_handle *view) {
    struct vmarena_view_info i;
    int error = vmarena_view_info(view->object, &i);
    if (error != 0) return vmarena_py_error(error);
    return Py_BuildValue("{s:i,s:i,s:i,s:K,s:n,s:n,s:n,s:n,s:n,s:N}", "mode", (int)i.mode, "huge_asked",
        (int)i.huge_asked, "huge_obtained", (int)i.huge_obtained, "file_size", (unsigned long long)i.file_size,
        "capacity", (Py_ssize_t)i.capacity, "resident", (Py_ssize_t)i.resident, "huge", (Py_ssize_t)i.huge,
        "guard", (Py_ssize_t)i.guard, "tail", (Py_ssize_t)i.tail, "copied", PyBool_FromLong(i.copied));
}
%}
PyObject *vmarena_py_view_data(struct vmarena_py_handle *view);
PyObject *vmarena_py_view_move(struct vmarena_py_handle *view, uint64_t offset, size_t length);

/* ---- the system's view ---- */
PyObject *vmarena_py_maps(int pid);
PyObject *vmarena_py_mapping_at(int pid, uintptr_t address);
PyObject *vmarena_py_residency(int pid, uintptr_t start, size_t length, unsigned wanted);
PyObject *vmarena_py_totals(int pid);
PyObject *vmarena_py_fault_counts(int pid, bool thread);
PyObject *vmarena_py_counters_open(int pid, unsigned flags);
PyObject *vmarena_py_counters_read(struct vmarena_py_handle *counters);
%inline %{
PyObject *frame(uintptr_t address) {
    uint64_t number;
    int error = vmarena_frame((const void *)address, &number);
    return error != 0 ? vmarena_py_error(error) : PyLong_FromUnsignedLongLong(number);
}
%}

/* ---- guarded operations: (bytes done, fault or None) ---- */
%inline %{
PyObject *copy(uintptr_t to, uintptr_t from_, size_t size) {
    struct vmarena_fault fault;
    if (vmarena_py_prepare() != 0) return NULL;
    size_t done = vmarena_copy((void *)to, (const void *)from_, size, &fault);
    return vmarena_py_outcome(done, &fault);
}
PyObject *write_bytes(uintptr_t to, const void *bytes, size_t length) {
    struct vmarena_fault fault;
    if (vmarena_py_prepare() != 0) return NULL;
    size_t done = vmarena_copy((void *)to, bytes, length, &fault);
    return vmarena_py_outcome(done, &fault);
}
PyObject *fill(uintptr_t to, size_t byte, size_t size) {
    struct vmarena_fault fault;
    if (byte > 255) return PyErr_Format(PyExc_ValueError, "byte must be in range(0, 256)");
    if (vmarena_py_prepare() != 0) return NULL;
    size_t done = vmarena_fill((void *)to, (int)byte, size, &fault);
    return vmarena_py_outcome(done, &fault);
}
PyObject *compare(uintptr_t left, uintptr_t right, size_t size) {
    struct vmarena_fault fault;
    if (vmarena_py_prepare() != 0) return NULL;
    size_t done = vmarena_compare((const void *)left, (const void *)right, size, &fault);
    return vmarena_py_outcome(done, &fault);
}
/* (bytes, how many of them were read, fault or None) */
PyObject *read_bytes(uintptr_t start, size_t size) {
    struct vmarena_fault fault;
    if (vmarena_py_prepare() != 0) return NULL;
    PyObject *bytes = PyBytes_FromStringAndSize(NULL, (Py_ssize_t)size);
    if (bytes == NULL) return NULL;
    size_t done = vmarena_copy(PyBytes_AsString(bytes), (const void *)start, size, &fault);
    PyObject *outcome = vmarena_py_outcome(done, &fault);
    return outcome == NULL ? (Py_DECREF(bytes), NULL) : Py_BuildValue("(NN)", bytes, outcome);
}
%}

/* ---- the handlers ---- */
%inline %{
int fault_status(void) { return vmarena_fault_status(); }
PyObject *fault_reassert(void) { return vmarena_py_done(vmarena_fault_reassert()); }
PyObject *decode_fault(const void *bytes, size_t length) {
    struct vmarena_fault fault;
    if (length != sizeof fault) return PyErr_Format(PyExc_ValueError, "not a fault's record");
    memcpy(&fault, bytes, sizeof fault);
    return vmarena_py_fault(&fault, true);
}
%}
PyObject *vmarena_py_report_faults(int fd, bool in_words);
