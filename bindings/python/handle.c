/* SPDX-License-Identifier: MIT */
#include "handle.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

typedef struct vmarena_py_handle Handle;
typedef struct vmarena_py_memory Memory;

struct vmarena_py_handle *vmarena_py_open_handles;
static PyObject *handle_type, *memory_type, *error_type;
static const char *const kind_names[] = {"arena", "heap", "view", "snapshot", "set of counters"};

/* ---- arguments --------------------------------------------------------------------------------------------------- */

int vmarena_py_size(PyObject *value, const char *name, size_t most, size_t *out) {
    PyObject *number = PyNumber_Index(value);
    if (number == NULL) {
        PyErr_Format(PyExc_TypeError, "%s must be an integer, not %R", name, (PyObject *)Py_TYPE(value));
        return -1;
    }
    size_t size = PyLong_AsSize_t(number);
    bool failed = size == (size_t)-1 && PyErr_Occurred() != NULL;
    if (!failed && size > most) {
        PyErr_Format(PyExc_OverflowError, "%s exceeds the address space", name);
        failed = true;
    } else if (failed) {
        PyErr_Clear();
        PyObject *zero = PyLong_FromLong(0);
        int negative = zero == NULL ? -1 : PyObject_RichCompareBool(number, zero, Py_LT);
        Py_XDECREF(zero);
        if (negative == 1) PyErr_Format(PyExc_ValueError, "%s must not be negative", name);
        else if (negative == 0) PyErr_Format(PyExc_OverflowError, "%s exceeds the address space", name);
    }
    Py_DECREF(number);
    if (failed) return -1;
    *out = size;
    return 0;
}

int vmarena_py_address(PyObject *value, const char *name, uintptr_t *out) {
    if ((PyObject *)Py_TYPE(value) == memory_type) {
        Memory *memory = vmarena_py_memory(value);
        if (memory == NULL) return -1;
        *out = (uintptr_t)memory->start;
        return 0;
    }
    PyObject *number = PyNumber_Index(value);
    if (number == NULL) {
        PyErr_Format(PyExc_TypeError, "%s must be an address or a Memory, not %R", name, (PyObject *)Py_TYPE(value));
        return -1;
    }
    unsigned long long address = PyLong_AsUnsignedLongLong(number);
    Py_DECREF(number);
    if (PyErr_Occurred() == NULL && address <= UINTPTR_MAX) {
        *out = (uintptr_t)address;
        return 0;
    }
    PyErr_Clear();
    PyErr_Format(PyExc_OverflowError, "%s is outside of the address space", name);
    return -1;
}

/* What was made with DONT_FORK is not there in a child; its addresses may be somebody else's. */
static bool is_elsewhere(const Handle *handle) { return handle->process != 0 && handle->process != getpid(); }

static bool is_usable(const Handle *handle) {
    if (handle->object == NULL) PyErr_Format(PyExc_ValueError, "the %s is closed", kind_names[handle->kind]);
    else if (is_elsewhere(handle))
        PyErr_Format(PyExc_ValueError, "the %s was made with DONT_FORK and is not there in this child process",
                     kind_names[handle->kind]);
    else return true;
    return false;
}

Handle *vmarena_py_handle(PyObject *value, enum vmarena_py_kind kind) {
    Handle *handle = (Handle *)value;
    if ((PyObject *)Py_TYPE(value) != handle_type || handle->kind != kind) {
        PyErr_Format(PyExc_TypeError, "not the handle of an open %s", kind_names[kind]);
        return NULL;
    }
    return is_usable(handle) ? handle : NULL;
}

Memory *vmarena_py_memory(PyObject *value) {
    Memory *memory = (Memory *)value;
    if ((PyObject *)Py_TYPE(value) != memory_type) {
        PyErr_Format(PyExc_TypeError, "expected a vmarena.Memory, not %R", (PyObject *)Py_TYPE(value));
        return NULL;
    }
    if (memory->start == NULL) {
        PyErr_SetString(PyExc_ValueError,
                        "the memory was released: it was freed, or its arena was rewound past it, reset or closed");
        return NULL;
    }
    return is_usable(memory->handle) ? memory : NULL;
}

PyObject *vmarena_py_text(const char *text) { return PyUnicode_DecodeUTF8(text, (Py_ssize_t)strlen(text), "replace"); }

static void set_error(int code, const char *sentence) {
    PyObject *error = PyObject_CallFunction(error_type, "iN", -code, vmarena_py_text(sentence));
    if (error == NULL) return;
    PyErr_SetObject(error_type, error);
    Py_DECREF(error);
}

PyObject *vmarena_py_error(int code) {
    set_error(code, vmarena_explain());
    return NULL;
}

PyObject *vmarena_py_done(int code) { return code < 0 ? vmarena_py_error(code) : Py_NewRef(Py_None); }

/* ---- protection -------------------------------------------------------------------------------------------------- */

/* What every byte from start to end allows. */
static unsigned prot_between(const Handle *handle, uintptr_t start, uintptr_t end) {
    unsigned prot = ~0u;
    for (size_t i = 0; i < handle->range_count && start < end; i++) {
        const struct vmarena_py_range *range = &handle->ranges[i];
        if (range->end <= start) continue;
        if (range->start >= end) break;
        if (range->start > start) prot &= handle->prot;
        prot &= range->prot;
        start = range->end;
    }
    return start < end ? prot & handle->prot : prot;
}

static unsigned prot_of(const Memory *memory) {
    return prot_between(memory->handle, (uintptr_t)memory->start, (uintptr_t)memory->start + (uintptr_t)memory->size);
}

static bool all_allow(const Handle *handle, unsigned prot) {
    for (size_t i = 0; i < handle->range_count; i++)
        if ((handle->ranges[i].prot & prot) != prot) return false;
    return true;
}

/* The list of ranges with one more, which takes the place of what it covers; NULL: no memory. */
static struct vmarena_py_range *ranges_with(const Handle *handle, struct vmarena_py_range added, size_t *count) {
    struct vmarena_py_range *ranges = PyMem_Malloc((handle->range_count + 2) * sizeof *ranges);
    if (ranges == NULL) return NULL;
    bool placed = added.prot == handle->prot;
    *count = 0;
    for (size_t i = 0; i < handle->range_count; i++) {
        struct vmarena_py_range old = handle->ranges[i];
        if (old.start < added.start)
            ranges[(*count)++] =
                (struct vmarena_py_range){old.start, old.end < added.start ? old.end : added.start, old.prot};
        if (old.end <= added.end) continue;
        if (!placed) ranges[(*count)++] = added;
        placed = true;
        ranges[(*count)++] =
            (struct vmarena_py_range){old.start > added.end ? old.start : added.end, old.end, old.prot};
    }
    if (!placed) ranges[(*count)++] = added;
    return ranges;
}

static void set_ranges(Handle *handle, struct vmarena_py_range *ranges, size_t count) {
    PyMem_Free(handle->ranges);
    handle->ranges = ranges;
    handle->range_count = count;
}

/* Buffers that are out keep what they were given: no byte of theirs may lose reading or writing. */
static bool may_protect(const Handle *handle, uintptr_t start, uintptr_t end, unsigned prot) {
    for (const Memory *memory = handle->newest; memory != NULL && handle->exports != 0; memory = memory->older) {
        uintptr_t first = (uintptr_t)memory->start, last = first + (uintptr_t)memory->size;
        if (memory->exports == 0 || last <= start || first >= end) continue;
        if ((prot_of(memory) & ~prot & (VMARENA_READ | VMARENA_WRITE)) == 0) continue;
        PyErr_Format(PyExc_BufferError, "cannot protect the memory: %zd buffers of it are out", memory->exports);
        return false;
    }
    return true;
}

PyObject *vmarena_py_protect(Handle *arena, unsigned prot) {
    if (!may_protect(arena, 0, UINTPTR_MAX, prot)) return NULL;
    int error = vmarena_protect(arena->object, prot);
    if (error == 0) {
        arena->prot = prot;
        set_ranges(arena, NULL, 0);
    }
    return vmarena_py_done(error);
}

PyObject *vmarena_py_protect_range(Handle *arena, uintptr_t start, size_t length, unsigned prot) {
    uintptr_t end = length <= UINTPTR_MAX - start ? start + length : UINTPTR_MAX;
    if (!may_protect(arena, start, end, prot)) return NULL;
    size_t count;
    struct vmarena_py_range *ranges = ranges_with(arena, (struct vmarena_py_range){start, end, prot}, &count);
    if (ranges == NULL) return PyErr_NoMemory();
    int error = vmarena_protect_range(arena->object, (void *)start, length, prot);
    if (error == 0) set_ranges(arena, ranges, count);
    else PyMem_Free(ranges);
    return vmarena_py_done(error);
}

/* ---- Memory ------------------------------------------------------------------------------------------------------ */

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
    allocfunc allocate = (allocfunc)PyType_GetSlot((PyTypeObject *)memory_type, Py_tp_alloc);
    Memory *memory = (Memory *)allocate((PyTypeObject *)memory_type, 0);
    if (memory == NULL) return NULL;
    memory->start = start;
    memory->size = (Py_ssize_t)size;
    memory->handle = (Handle *)Py_NewRef((PyObject *)handle);
    link_newest(memory);
    return (PyObject *)memory;
}

bool vmarena_py_may_take(const Handle *handle, uint64_t serial, const char *deed) {
    Py_ssize_t out = 0;
    if (handle->exports == 0) return true;
    for (const Memory *memory = handle->newest; memory != NULL && memory->serial > serial; memory = memory->older)
        out += memory->exports;
    if (out == 0) return true;
    PyErr_Format(PyExc_BufferError, "cannot %s the %s: %zd buffers of its memory are out", deed,
                 kind_names[handle->kind], out);
    return false;
}

static void release(Memory *memory) {
    unlink_memory(memory);
    memory->start = NULL;
    memory->size = 0;
}

void vmarena_py_take(Handle *handle, uint64_t serial) {
    while (handle->newest != NULL && handle->newest->serial > serial) release(handle->newest);
}

/* Nobody is there to be told: what was overwritten goes to sys.unraisablehook. */
static void free_forgotten(const Memory *memory) {
    PyObject *type, *value, *traceback;
    int error = vmarena_heap_free(memory->handle->object, memory->start);
    if (error == 0) return;
    PyErr_Fetch(&type, &value, &traceback);
    (void)vmarena_py_error(error);
    PyErr_WriteUnraisable(memory_type);
    PyErr_Restore(type, value, traceback);
}

static void memory_dealloc(PyObject *object) {
    PyTypeObject *type = Py_TYPE(object);
    const Memory *memory = (Memory *)object;
    unlink_memory((Memory *)object);
    if (memory->handle->kind == VMARENA_PY_HEAP && memory->start != NULL) free_forgotten(memory);
    Py_DECREF((PyObject *)((Memory *)object)->handle);
    ((freefunc)PyType_GetSlot(type, Py_tp_free))(object);
    Py_DECREF(type);
}

static int memory_buffer(PyObject *object, Py_buffer *view, int flags) {
    Memory *memory = vmarena_py_memory(object);
    view->obj = NULL;
    if (memory == NULL) return -1;
    unsigned prot = memory->size == 0 ? VMARENA_READ | VMARENA_WRITE : prot_of(memory);
    if ((prot & VMARENA_READ) == 0) {
        PyErr_SetString(PyExc_BufferError, "the memory is not readable");
        return -1;
    }
    if (PyBuffer_FillInfo(view, object, memory->start, memory->size, (prot & VMARENA_WRITE) == 0, flags) != 0)
        return -1;
    memory->exports++;
    memory->handle->exports++;
    return 0;
}

static void memory_release_buffer(PyObject *object, Py_buffer *view) {
    (void)view;
    ((Memory *)object)->exports--;
    ((Memory *)object)->handle->exports--;
}

static Py_ssize_t memory_length(PyObject *object) {
    Memory *memory = vmarena_py_memory(object);
    return memory == NULL ? -1 : memory->size;
}

static PyObject *memory_repr(PyObject *object) {
    Memory *memory = (Memory *)object;
    if (memory->start == NULL) return PyUnicode_FromString("<vmarena.Memory, released>");
    return PyUnicode_FromFormat("<vmarena.Memory of %zd bytes at %p>", memory->size, (void *)memory->start);
}

static PyObject *memory_address(PyObject *object, void *unused) {
    (void)unused;
    Memory *memory = vmarena_py_memory(object);
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

static PyObject *memory_check(PyObject *object, PyObject *unused) {
    (void)unused;
    Memory *memory = vmarena_py_memory(object);
    if (memory == NULL) return NULL;
    if (memory->handle->kind == VMARENA_PY_ARENA) return vmarena_py_check(memory->handle);
    if (memory->handle->kind == VMARENA_PY_VIEW) Py_RETURN_NONE;
    return vmarena_py_done(vmarena_heap_check_object(memory->handle->object, memory->start));
}

static PyGetSetDef memory_getset[] = {
    {"address", memory_address, NULL, "Address of the first byte.", NULL},
    {"exports", memory_exports, NULL, "Buffers of it that are out: memoryviews, numpy arrays and the like.", NULL},
    {"released", memory_released, NULL, "Whether it was taken back: by free, rewind, reset, move or close.", NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyMethodDef memory_methods[] = {
    {"check", memory_check, METH_NOARGS,
     "Raises Error (EILSEQ) where a byte around an object of its arena was overwritten."},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot memory_slots[] = {
    {Py_tp_dealloc, memory_dealloc},
    {Py_tp_repr, memory_repr},
    {Py_bf_getbuffer, memory_buffer},
    {Py_bf_releasebuffer, memory_release_buffer},
    {Py_sq_length, memory_length},
    {Py_tp_getset, memory_getset},
    {Py_tp_methods, memory_methods},
    {Py_tp_doc, "Bytes in guarded memory: pass it where a buffer is taken. Made by Arena.alloc, vmarena.fenced, ..."},
    {0, NULL},
};

static PyType_Spec memory_spec = {"vmarena.Memory", sizeof(Memory), 0,
                                  Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION, memory_slots};

/* ---- Handle ------------------------------------------------------------------------------------------------------ */

static void destroy_object(enum vmarena_py_kind kind, void *object) {
    if (kind == VMARENA_PY_ARENA) vmarena_destroy(object);
    else if (kind == VMARENA_PY_HEAP) vmarena_heap_destroy(object);
    else if (kind == VMARENA_PY_VIEW) vmarena_view_close(object);
    else if (kind == VMARENA_PY_SNAPSHOT) vmarena_snapshot_free(object);
    else vmarena_counters_close(object);
}

static void destroy(Handle *handle) {
    void *object = handle->object;
    if (object == NULL) return;
    handle->object = NULL;
    if (handle->next != NULL) handle->next->previous = handle->previous;
    if (handle->previous != NULL) handle->previous->next = handle->next;
    else vmarena_py_open_handles = handle->next;
    if (!is_elsewhere(handle)) destroy_object(handle->kind, object);
}

PyObject *vmarena_py_wrap(enum vmarena_py_kind kind, void *object, unsigned prot) {
    allocfunc allocate = (allocfunc)PyType_GetSlot((PyTypeObject *)handle_type, Py_tp_alloc);
    Handle *handle = (Handle *)allocate((PyTypeObject *)handle_type, 0);
    if (handle == NULL) {
        destroy_object(kind, object);
        return NULL;
    }
    handle->kind = kind;
    handle->object = object;
    handle->prot = prot;
    handle->next = vmarena_py_open_handles;
    if (handle->next != NULL) handle->next->previous = handle;
    vmarena_py_open_handles = handle;
    int error = vmarena_py_watch(handle);
    if (error == 0) return (PyObject *)handle;
    Py_DECREF((PyObject *)handle);
    return vmarena_py_error(error);
}

static void handle_dealloc(PyObject *object) {
    PyTypeObject *type = Py_TYPE(object);
    destroy((Handle *)object);
    set_ranges((Handle *)object, NULL, 0);
    ((freefunc)PyType_GetSlot(type, Py_tp_free))(object);
    Py_DECREF(type);
}

PyObject *vmarena_py_close(PyObject *object) {
    Handle *handle = (Handle *)object;
    if ((PyObject *)Py_TYPE(object) != handle_type) {
        PyErr_SetString(PyExc_TypeError, "not a handle");
        return NULL;
    }
    if (handle->object == NULL) Py_RETURN_NONE;
    if (!vmarena_py_may_take(handle, 0, "close")) return NULL;
    vmarena_py_take(handle, 0);
    destroy(handle);
    return Py_NewRef(Py_None);
}

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

static PyGetSetDef handle_getset[] = {
    {"closed", handle_closed, NULL, NULL, NULL},
    {"exports", handle_exports, NULL, NULL, NULL},
    {"opened", handle_opened, NULL, NULL, NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyType_Slot handle_slots[] = {
    {Py_tp_dealloc, handle_dealloc},
    {Py_tp_getset, handle_getset},
    {0, NULL},
};

static PyType_Spec handle_spec = {"vmarena._vmarena.Handle", sizeof(Handle), 0,
                                  Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION, handle_slots};

/* ---- arenas ------------------------------------------------------------------------------------------------------ */

PyObject *vmarena_py_create(const struct vmarena_options *options) {
    struct vmarena *arena;
    int error = vmarena_create(&arena, options);
    if (error != 0) return vmarena_py_error(error);
    PyObject *object = vmarena_py_wrap(VMARENA_PY_ARENA, arena, VMARENA_READ | VMARENA_WRITE);
    if (object == NULL) return NULL;
    ((Handle *)object)->fenced = options->fence != VMARENA_FENCE_OFF;
    if (options->flags & VMARENA_DONT_FORK) ((Handle *)object)->process = getpid();
    return object;
}

static PyObject *refuse(const char *sentence) {
    set_error(-EACCES, sentence);
    return NULL;
}

/* vmarena_alloc only says NULL. */
static int why_no_memory(const Handle *arena, size_t size, size_t align, bool writes) {
    struct vmarena_stats stats;
    vmarena_stats(arena->object, &stats);
    size_t need = arena->fenced ? vmarena_page_round_up(size) + stats.guard : size;
    if (size == 0 || align == 0 || (align & (align - 1)) != 0 || align > stats.reserved) return -EINVAL;
    if (writes && (arena->prot & VMARENA_WRITE) == 0) return -EACCES;
    return need < size || need > stats.reserved - stats.used || align - 1 > stats.reserved - stats.used - need
               ? -ENOSPC
               : -ENOMEM;
}

PyObject *vmarena_py_alloc(Handle *arena, size_t size, size_t align, bool zeroed) {
    /* The library clears with plain writes and knows the protection of the whole, not of ranges. */
    if (zeroed && !arena->fenced && !all_allow(arena, VMARENA_WRITE))
        return refuse("a range of the arena is not writable: zeroed memory could not be cleared");
    void *start = zeroed ? vmarena_alloc_zeroed(arena->object, size, align) : vmarena_alloc(arena->object, size, align);
    if (start == NULL) return vmarena_py_error(why_no_memory(arena, size, align, zeroed || arena->fenced));
    return vmarena_py_memory_new(arena, start, size);
}

/* A mark taken before does not hold what grew or moved after it. */
static PyObject *moved(Memory *memory, char *start, size_t size) {
    memory->start = start;
    memory->size = (Py_ssize_t)size;
    unlink_memory(memory);
    link_newest(memory);
    Py_RETURN_NONE;
}

/* Whether memory is the handle's and without buffers. */
static bool may_change(const Handle *handle, const Memory *memory, const char *deed) {
    if (memory->handle != handle)
        PyErr_Format(PyExc_ValueError, "the memory is not of this %s", kind_names[handle->kind]);
    else if (memory->exports != 0)
        PyErr_Format(PyExc_BufferError, "cannot %s the memory: %zd buffers of it are out", deed, memory->exports);
    else return true;
    return false;
}

PyObject *vmarena_py_resize(Handle *arena, Memory *memory, size_t size) {
    if (!may_change(arena, memory, "resize")) return NULL;
    if (!all_allow(arena, VMARENA_READ | VMARENA_WRITE) || (~arena->prot & (VMARENA_READ | VMARENA_WRITE)) != 0)
        return refuse("the memory could not be copied: not all of the arena is readable and writable");
    char *start = vmarena_resize(arena->object, memory->start, (size_t)memory->size, size);
    if (start == NULL) return vmarena_py_error(why_no_memory(arena, size, 1, true));
    return moved(memory, start, size);
}

struct mark {
    struct vmarena_mark mark;
    uint64_t serial;
};
static const char mark_name[] = "vmarena.Mark";

static void free_mark(PyObject *capsule) { PyMem_Free(PyCapsule_GetPointer(capsule, mark_name)); }

PyObject *vmarena_py_mark(Handle *arena) {
    struct mark *mark = PyMem_Malloc(sizeof *mark);
    if (mark == NULL) return PyErr_NoMemory();
    *mark = (struct mark){vmarena_mark(arena->object), arena->serial};
    PyObject *capsule = PyCapsule_New(mark, mark_name, free_mark);
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

static PyObject *taken(Handle *arena, uint64_t serial, int error) {
    if (error == 0 || error == -EILSEQ) {
        vmarena_py_take(arena, serial);
        forget_ranges(arena);
    }
    return vmarena_py_done(error);
}

PyObject *vmarena_py_rewind(Handle *arena, PyObject *object) {
    if (!PyCapsule_IsValid(object, mark_name)) {
        PyErr_SetString(PyExc_TypeError, "not a mark: Arena.mark() gives one");
        return NULL;
    }
    const struct mark *mark = PyCapsule_GetPointer(object, mark_name);
    bool ours = mark->mark.arena == vmarena_mark(arena->object).arena;
    if (ours && !vmarena_py_may_take(arena, mark->serial, "rewind")) return NULL;
    return taken(arena, ours ? mark->serial : UINT64_MAX, vmarena_rewind(arena->object, mark->mark));
}

PyObject *vmarena_py_reset(Handle *arena, size_t keep) {
    if (!vmarena_py_may_take(arena, 0, "reset")) return NULL;
    return taken(arena, 0, vmarena_reset(arena->object, keep));
}

PyObject *vmarena_py_check(Handle *arena) { return vmarena_py_done(vmarena_check(arena->object)); }

/* ---- snapshots --------------------------------------------------------------------------------------------------- */

/*
 * Not by protection: where another handler displaces ours, which faulthandler does, a write to a page not written yet
 * would end the interpreter. So AUTO leaves it out.
 */
static int take_snapshot(struct vmarena_snapshot **out, struct vmarena *arena, unsigned tracking) {
    struct vmarena_snapshot_info info;
    int error = vmarena_snapshot(out, arena, (enum vmarena_tracking)tracking);
    if (error != 0 || tracking != VMARENA_TRACK_AUTO) return error;
    error = vmarena_snapshot_info(*out, &info);
    if (error == 0 && info.tracking != VMARENA_TRACK_PROTECT) return 0;
    vmarena_snapshot_free(*out);
    return error != 0 ? error : vmarena_snapshot(out, arena, VMARENA_TRACK_COMPARE);
}

PyObject *vmarena_py_snapshot(Handle *arena, unsigned tracking) {
    struct vmarena_snapshot *snapshot;
    int error = take_snapshot(&snapshot, arena->object, tracking);
    if (error != 0) return vmarena_py_error(error);
    PyObject *object = vmarena_py_wrap(VMARENA_PY_SNAPSHOT, snapshot, 0);
    if (object == NULL) return NULL;
    ((Handle *)object)->serial = arena->serial;
    ((Handle *)object)->process = arena->process;
    return object;
}

PyObject *vmarena_py_restore(Handle *arena, Handle *snapshot) {
    if (!vmarena_py_may_take(arena, snapshot->serial, "restore")) return NULL;
    int error = vmarena_restore(arena->object, snapshot->object);
    return taken(arena, error == 0 ? snapshot->serial : UINT64_MAX, error);
}

PyObject *vmarena_py_clone(Handle *snapshot) {
    struct vmarena *arena;
    struct vmarena_stats stats;
    int error = vmarena_clone(&arena, snapshot->object);
    if (error != 0) return vmarena_py_error(error);
    vmarena_stats(arena, &stats);
    PyObject *object = vmarena_py_wrap(VMARENA_PY_ARENA, arena, stats.prot);
    if (object != NULL && (stats.flags & VMARENA_DONT_FORK)) ((Handle *)object)->process = getpid();
    return object;
}

/* The first byte of an arena without fences. */
static char *start_of(const Handle *arena) {
    struct vmarena_stats stats;
    vmarena_stats(arena->object, &stats);
    return (char *)(vmarena_mark(arena->object).cursor + 1 - stats.used);
}

PyObject *vmarena_py_counterpart(Handle *arena, Handle *snapshot, Memory *memory) {
    struct vmarena_stats stats;
    vmarena_stats(arena->object, &stats);
    size_t offset = (size_t)(memory->start - start_of(memory->handle));
    if (memory->handle->kind != VMARENA_PY_ARENA || memory->serial > snapshot->serial || offset > stats.used ||
        (size_t)memory->size > stats.used - offset) {
        PyErr_SetString(PyExc_ValueError, "the memory was not in the arena when the snapshot was taken");
        return NULL;
    }
    return vmarena_py_memory_new(arena, start_of(arena) + offset, (size_t)memory->size);
}

static int add_range(const struct vmarena_pages *pages, void *list) {
    PyObject *range = Py_BuildValue("(KK)", (unsigned long long)pages->start, (unsigned long long)pages->end);
    if (range == NULL) return 1;
    int failed = PyList_Append(list, range);
    Py_DECREF(range);
    return failed != 0;
}

PyObject *vmarena_py_dirty_pages(Handle *arena, Handle *snapshot) {
    PyObject *list = PyList_New(0);
    if (list == NULL) return NULL;
    int error = vmarena_dirty_pages(arena->object, snapshot->object, add_range, list);
    if (error == 0) return list;
    Py_DECREF(list);
    return error < 0 ? vmarena_py_error(error) : NULL;
}

/* ---- heaps ------------------------------------------------------------------------------------------------------- */

PyObject *vmarena_py_heap_create(const struct vmarena_heap_options *options) {
    struct vmarena_heap *heap;
    int error = vmarena_heap_create(&heap, options);
    return error != 0 ? vmarena_py_error(error) : vmarena_py_wrap(VMARENA_PY_HEAP, heap, VMARENA_READ | VMARENA_WRITE);
}

/* vmarena_heap_alloc only says NULL. */
static int why_no_object(size_t align) { return (align & (align - 1)) != 0 ? -EINVAL : -ENOMEM; }

PyObject *vmarena_py_heap_alloc(Handle *heap, size_t size, size_t align) {
    void *start = vmarena_heap_alloc(heap->object, size, align);
    if (start == NULL) return vmarena_py_error(why_no_object(align));
    PyObject *memory = vmarena_py_memory_new(heap, start, size);
    if (memory == NULL) (void)vmarena_heap_free(heap->object, start);
    return memory;
}

PyObject *vmarena_py_heap_resize(Handle *heap, Memory *memory, size_t size) {
    if (!may_change(heap, memory, "resize")) return NULL;
    char *start = vmarena_heap_realloc(heap->object, memory->start, size);
    return start == NULL ? vmarena_py_error(-ENOMEM) : moved(memory, start, size);
}

PyObject *vmarena_py_heap_free(Handle *heap, Memory *memory) {
    if (!may_change(heap, memory, "free")) return NULL;
    int error = vmarena_heap_free(heap->object, memory->start);
    if (error == 0 || error == -EILSEQ) release(memory);
    return vmarena_py_done(error);
}

/* ---- views ------------------------------------------------------------------------------------------------------- */

static PyObject *wrap_view(struct vmarena_view *view, const struct vmarena_view_options *options) {
    unsigned prot = options->mode == VMARENA_VIEW_READ ? VMARENA_READ : VMARENA_READ | VMARENA_WRITE;
    PyObject *object = vmarena_py_wrap(VMARENA_PY_VIEW, view, prot);
    if (object != NULL && (options->flags & VMARENA_DONT_FORK)) ((Handle *)object)->process = getpid();
    return object;
}

PyObject *vmarena_py_view_open(const char *path, int fd, const struct vmarena_view_options *options) {
    struct vmarena_view *view;
    int error = path != NULL ? vmarena_view_open_with(&view, path, options) : vmarena_view_open_fd(&view, fd, options);
    return error != 0 ? vmarena_py_error(error) : wrap_view(view, options);
}

PyObject *vmarena_py_view_data(Handle *view) {
    const struct vmarena_view *window = view->object;
    return vmarena_py_memory_new(view, window->data, window->size);
}

PyObject *vmarena_py_view_move(Handle *view, uint64_t offset, size_t length) {
    if (!vmarena_py_may_take(view, 0, "move")) return NULL;
    int error = vmarena_view_move(view->object, offset, length);
    if (error != 0) return vmarena_py_error(error);
    vmarena_py_take(view, 0);
    return vmarena_py_view_data(view);
}

/* ---- the module -------------------------------------------------------------------------------------------------- */

int vmarena_py_init(PyObject *module) {
    handle_type = PyType_FromSpec(&handle_spec);
    memory_type = PyType_FromSpec(&memory_spec);
    error_type = PyErr_NewExceptionWithDoc(
        "vmarena.Error", "A failure of the library: errno, and the library's sentence.", PyExc_OSError, NULL);
    if (handle_type == NULL || memory_type == NULL || error_type == NULL) return -1;
    if (PyModule_AddObjectRef(module, "Handle", handle_type) != 0 ||
        PyModule_AddObjectRef(module, "Memory", memory_type) != 0)
        return -1;
    return PyModule_AddObjectRef(module, "Error", error_type);
}
