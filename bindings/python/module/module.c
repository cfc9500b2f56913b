/* SPDX-License-Identifier: MIT */
#include "module.h"

struct vmarena_py_state *vmarena_py_state(PyObject *module) {
    return PyModule_GetState(module);
}

struct vmarena_py_state *vmarena_py_state_of(PyObject *object) {
    return PyType_GetModuleState(Py_TYPE(object));
}

static int make_types(PyObject *module, struct vmarena_py_state *state) {
    state->handle_type = PyType_FromModuleAndSpec(module, &vmarena_py_handle_spec, NULL);
    state->memory_type = PyType_FromModuleAndSpec(module, &vmarena_py_memory_spec, NULL);
    state->error_type = PyErr_NewExceptionWithDoc(
        "vmarena.Error", "A failure of the library: errno, and the library's sentence.", PyExc_OSError, NULL);
    return state->handle_type == NULL || state->memory_type == NULL || state->error_type == NULL ? -1 : 0;
}

static int add_functions(PyObject *module) {
    PyMethodDef *const groups[] = {vmarena_py_arena_methods, vmarena_py_snapshot_methods, vmarena_py_heap_methods,
                                   vmarena_py_view_methods,  vmarena_py_inspect_methods,  vmarena_py_guarded_methods,
                                   vmarena_py_fault_methods, vmarena_py_handle_methods};
    for (size_t i = 0; i < sizeof groups / sizeof *groups; i++)
        if (PyModule_AddFunctions(module, groups[i]) != 0) return -1;
    return 0;
}

static int execute(PyObject *module) {
    struct vmarena_py_state *state = vmarena_py_state(module);
    if (vmarena_py_handles_init() != 0 || make_types(module, state) != 0 || add_functions(module) != 0) return -1;
    if (PyModule_AddObjectRef(module, "Handle", state->handle_type) != 0 ||
        PyModule_AddObjectRef(module, "Memory", state->memory_type) != 0)
        return -1;
    return PyModule_AddObjectRef(module, "Error", state->error_type);
}

static int traverse(PyObject *module, visitproc visit, void *arg) {
    struct vmarena_py_state *state = vmarena_py_state(module);
    Py_VISIT(state->handle_type);
    Py_VISIT(state->memory_type);
    Py_VISIT(state->error_type);
    Py_VISIT(state->fault_type);
    return 0;
}

/*
 * The types stay: objects outlive their module, whose state they then still use. A type holds its module, so that it goes
 * with the last of them.
 */
static int clear(PyObject *module) {
    Py_CLEAR(vmarena_py_state(module)->fault_type);
    return 0;
}

static void free_state(void *module) {
    struct vmarena_py_state *state = vmarena_py_state(module);
    Py_CLEAR(state->handle_type);
    Py_CLEAR(state->memory_type);
    Py_CLEAR(state->error_type);
    Py_CLEAR(state->fault_type);
}

/* The second is for 3.12 and later: older ones refuse a slot that they do not know. */
static PyModuleDef_Slot slots[] = {{Py_mod_exec, (void *)execute}, {0, NULL}, {0, NULL}};

static struct PyModuleDef definition = {
    .m_base = PyModuleDef_HEAD_INIT,
    .m_name = "_vmarena",
    .m_doc = "The C side of the package vmarena.",
    .m_size = sizeof(struct vmarena_py_state),
    .m_slots = slots,
    .m_traverse = traverse,
    .m_clear = clear,
    .m_free = free_state,
};

PyMODINIT_FUNC PyInit__vmarena(void) {
    /* Py_mod_multiple_interpreters and Py_MOD_PER_INTERPRETER_GIL_SUPPORTED, of Python 3.12's moduleobject.h. */
    if (Py_Version >= 0x030c0000) slots[1] = (PyModuleDef_Slot){3, (void *)2};
    return PyModuleDef_Init(&definition);
}
