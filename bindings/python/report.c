/* SPDX-License-Identifier: MIT */
#include "handle.h"

#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

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

PyObject *vmarena_py_fault(const struct vmarena_fault *fault, bool foreign) {
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

PyObject *vmarena_py_outcome(size_t done, const struct vmarena_fault *fault) {
    if (fault->signo == 0 && fault->code < 0) return vmarena_py_error(fault->code); /* no scope: nothing was done */
    PyObject *tuple = fault->signo != 0 ? vmarena_py_fault(fault, false) : Py_NewRef(Py_None);
    return tuple == NULL ? NULL : Py_BuildValue("(nN)", (Py_ssize_t)done, tuple);
}

/* faulthandler and others put a handler of their own over ours, and take it away again, whenever they like. */
int vmarena_py_prepare(void) {
    int error = vmarena_fault_status() == VMARENA_HANDLER_DISPLACED ? vmarena_fault_reassert() : 0;
    if (error == 0) return 0;
    (void)vmarena_py_error(error);
    return -1;
}

/* ---- faults nobody waits for ------------------------------------------------------------------------------------- */

static int report_fd = -1;
static bool report_in_words;

/* Both run in the signal handler. A guarded operation, where one is open, gets its fault as ever. */
static bool send_record(const struct vmarena_fault *fault, void *arg) {
    (void)arg;
    if (vmarena_scope_top() != NULL) return false;
    char record[1 + sizeof *fault] = {'F'};
    memcpy(record + 1, fault, sizeof *fault);
    _exit(write(report_fd, record, sizeof record) == (ssize_t)sizeof record ? 0 : 1);
}

static bool say(const struct vmarena_fault *fault, void *arg) {
    char line[640] = "\nvmarena: ";
    (void)arg;
    if (vmarena_scope_top() != NULL) return false;
    size_t length = strlen(line);
    length += vmarena_fault_describe(fault, line + length, sizeof line - length - 1);
    if (length > sizeof line - 2) length = sizeof line - 2;
    line[length] = '\n';
    if (write(report_fd, line, length + 1) < 0) return false;
    return false;
}

static int set_repair(const struct vmarena_py_handle *handle, vmarena_fault_fn *function, void *arg) {
    if (handle->kind == VMARENA_PY_ARENA) return vmarena_on_fault(handle->object, function, arg);
    if (handle->kind == VMARENA_PY_HEAP) return vmarena_heap_on_fault(handle->object, function, arg);
    if (handle->kind == VMARENA_PY_VIEW) return vmarena_view_on_fault(handle->object, function, arg);
    return 0;
}

int vmarena_py_watch(struct vmarena_py_handle *handle) {
    if (report_fd < 0 || handle->demand) return 0;
    int error = vmarena_fault_status() == VMARENA_HANDLER_DISPLACED ? vmarena_fault_reassert() : 0;
    return error != 0 ? error : set_repair(handle, report_in_words ? say : send_record, NULL);
}

PyObject *vmarena_py_report_faults(int fd, bool in_words) {
    report_fd = fd;
    report_in_words = in_words;
    for (struct vmarena_py_handle *handle = vmarena_py_open_handles; handle != NULL; handle = handle->next) {
        int error = fd >= 0 || handle->demand ? vmarena_py_watch(handle) : set_repair(handle, NULL, NULL);
        if (error != 0) return vmarena_py_error(error);
    }
    Py_RETURN_NONE;
}

/* ---- demand paging ----------------------------------------------------------------------------------------------- */

/* In the signal handler. In a guard this fails, and the fault goes on. */
static bool open_page(const struct vmarena_fault *fault, void *arg) {
    struct vmarena_py_handle *arena = arg;
    size_t page = vmarena_page_size();
    if (fault->kind != VMARENA_FAULT_PROTECTED || fault->access == VMARENA_ACCESS_EXEC) return false;
    char *start = (char *)fault->address - (uintptr_t)fault->address % page;
    if (vmarena_protect_range(arena->object, start, page, VMARENA_READ | VMARENA_WRITE) != 0) return false;
    arena->opened++;
    return true;
}

PyObject *vmarena_py_open_on_fault(struct vmarena_py_handle *arena, bool on) {
    if (vmarena_py_prepare() != 0) return NULL;
    int error = set_repair(arena, on ? open_page : NULL, arena);
    if (error != 0) return vmarena_py_error(error);
    if (on) arena->opened = 0;
    arena->demand = on;
    return vmarena_py_done(vmarena_py_watch(arena));
}
