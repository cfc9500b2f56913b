/* SPDX-License-Identifier: MIT */
/*
 * libvmarena for every language that SWIG knows: the public headers as they are, and helpers.h for what C hands out through
 * pointers. README.md says how to build it and what is left out.
 */
%module vmarena_raw

%{
#include "helpers.h"

#include <stdlib.h>
#include <string.h>
%}

%include "stdint.i"
%include "exception.i"
typedef int pid_t;
typedef long ptrdiff_t; /* where a language has no typemap of its own */

/* ---- names: function create, constant FENCE_END, class HeapOptions ---- */

%rename("%(regex:/^(?:vmarena_(?:swig_)?|VMARENA_)(.*)$/\\1/)s") "";
%rename("%(regex:/^vmarena_([a-z])([a-z]*)_?([a-z]?)([a-z]*)$/\\u\\1\\2\\u\\3\\4/)s", %$isclass) "";
%rename("%(regex:/^vmarena_([a-z])([a-z]*)_?([a-z]?)([a-z]*)$/\\u\\1\\2\\u\\3\\4/)s", %$isconstructor) "";
%rename("%(regex:/^vmarena_([a-z])([a-z]*)_?([a-z]?)([a-z]*)$/\\u\\1\\2\\u\\3\\4/)s", %$isenum) "";
%rename(Arena) vmarena;
/* "end" is a keyword of Lua and Ruby. */
%rename(start_address) vmarena_mapping::start;
%rename(end_address) vmarena_mapping::end;

/* ---- what helpers.h replaces ---- */

%define %ignore_function(NAME)
%rename("$ignore", %$isfunction, fullname=1) NAME;
%enddef
%ignore vmarena_swig_take_failure;
%ignore_function(vmarena_huge_page_sizes)
%ignore_function(vmarena_caps)
%ignore_function(vmarena_create)
%ignore_function(vmarena_stats)
%ignore_function(vmarena_info)
%ignore_function(vmarena_mark)
%ignore_function(vmarena_snapshot)
%ignore_function(vmarena_clone)
%ignore_function(vmarena_snapshot_info)
%ignore_function(vmarena_read)
%ignore_function(vmarena_write)
%ignore_function(vmarena_fault_describe)
%ignore_function(vmarena_fault_explain)
%ignore_function(vmarena_heap_create)
%ignore_function(vmarena_heap_stats)
%ignore_function(vmarena_heap_find)
%ignore_function(vmarena_heap_stack)
%ignore_function(vmarena_view_open)
%ignore_function(vmarena_view_open_with)
%ignore_function(vmarena_view_open_fd)
%ignore_function(vmarena_view_info)
%ignore_function(vmarena_mapping_at)
%ignore_function(vmarena_totals)
%ignore_function(vmarena_frame)
%ignore_function(vmarena_fault_counts)
%ignore_function(vmarena_process_fault_counts)

/* ---- what is left out: README.md says why ---- */

%ignore vmarena_try;
%ignore vmarena_try_in;
%ignore vmarena_try_any;
%ignore vmarena_scope;
%ignore vmarena_scope_enter;
%ignore vmarena_scope_leave;
%ignore vmarena_scope_leave_;
%ignore vmarena_scope_fault;
%ignore vmarena_scope_top;
%ignore vmarena_scope_unwind;
%ignore vmarena_claims_registered;
%ignore vmarena_claims_any;
%ignore vmarena_fault_host;
%ignore vmarena_handle_signal;
%ignore vmarena_on_fault;
%ignore vmarena_heap_on_fault;
%ignore vmarena_view_on_fault;
%ignore vmarena_maps;
%ignore vmarena_residency;
%ignore vmarena_dirty_pages;
%ignore vmarena_heap_for_each;
%ignore vmarena_heap_capture_frames;
%ignore vmarena_heap_fallback;
%ignore vmarena_heap_report;
%ignore vmarena_heap_options::capture;
%ignore vmarena_heap_options::capture_arg;
%ignore vmarena_heap_options::report;
%ignore vmarena_heap_options::report_arg;
%ignore vmarena_heap_options::fallback;
%ignore vmarena_pages;
%ignore vmarena_pages::end;
%ignore vmarena_scratch;
%ignore vmarena_scratch_begin;
%ignore vmarena_scratch_end;
%ignore vmarena_thread_fault_counts;
%ignore vmarena_counters_open;
%ignore vmarena_counters_read;
%ignore vmarena_counters_close;
%ignore vmarena_counter_name;
%ignore vmarena_counts;
%ignore vmarena_alloc_fast_;
%ignore vmarena_alloc_slow;
%rename("$ignore", regextarget=1, fullname=1) "::(spare|reserved)$";
%ignore vmarena_fault::reserved;

/* ---- handles: only the library makes them and frees them ---- */

%nodefaultctor vmarena;
%nodefaultdtor vmarena;
%ignore vmarena::cursor;
%ignore vmarena::limit;
%nodefaultctor vmarena_view;
%nodefaultdtor vmarena_view;
%immutable vmarena_view::data;
%immutable vmarena_view::size;
%immutable vmarena_view::offset;

/* ---- options: the name in them is a copy of their own ---- */

%typemap(memberin) const char *name {
    free((void *)$1);
    $1 = NULL;
    if ($input != NULL) $1 = strdup($input);
}
%define %free_name(OPTIONS)
%extend OPTIONS {
    ~OPTIONS() {
        free((void *)$self->name);
        free($self);
    }
}
%enddef
%free_name(vmarena_options)
%free_name(vmarena_heap_options)
%free_name(vmarena_view_options)

/* ---- failures ---- */

/* A function that returns 0 or a negative errno, or NULL for a failure. */
%define %raise_negative(NAME)
%exception NAME {
    $action
    if (result < 0) SWIG_exception(SWIG_RuntimeError, vmarena_explain());
}
%enddef
%define %raise_null(NAME)
%exception NAME {
    $action
    if (result == NULL) SWIG_exception(SWIG_RuntimeError, vmarena_explain());
}
%enddef

%raise_null(vmarena_alloc)
%raise_null(vmarena_alloc_array)
%raise_null(vmarena_alloc_zeroed)
%raise_null(vmarena_resize)
%raise_null(vmarena_heap_alloc)
%raise_null(vmarena_heap_calloc)
%raise_null(vmarena_heap_realloc)
%raise_negative(vmarena_free)
%raise_negative(vmarena_rewind)
%raise_negative(vmarena_reset)
%raise_negative(vmarena_discard)
%raise_negative(vmarena_check)
%raise_negative(vmarena_protect)
%raise_negative(vmarena_protect_range)
%raise_negative(vmarena_protect_push)
%raise_negative(vmarena_protect_pop)
%raise_negative(vmarena_prefault)
%raise_negative(vmarena_seal)
%raise_negative(vmarena_restore)
%raise_negative(vmarena_fault_install)
%raise_negative(vmarena_fault_uninstall)
%raise_negative(vmarena_fault_status)
%raise_negative(vmarena_fault_reassert)
%raise_negative(vmarena_report_faults)
%raise_negative(vmarena_heap_free)
%raise_negative(vmarena_heap_free_sized)
%raise_negative(vmarena_heap_check)
%raise_negative(vmarena_heap_check_object)
%raise_negative(vmarena_heap_expose)
%raise_negative(vmarena_heap_rearm)
%raise_negative(vmarena_view_move)
%raise_negative(vmarena_view_sync)
%raise_negative(vmarena_view_advise)
%raise_negative(vmarena_view_populate)
%raise_negative(vmarena_view_lock)
%raise_negative(vmarena_view_unlock)

/* ---- the languages ---- */

#ifdef SWIGLUA
/* SWIG takes and returns numbers as floats, which print as 4096.0 and are inexact beyond 53 bits. */
%typemap(out) int, short, long, long long, unsigned int, unsigned short, unsigned long, unsigned long long,
              size_t, ptrdiff_t, enum SWIGTYPE %{ lua_pushinteger(L, (lua_Integer)$1); SWIG_arg++; %}
%typemap(in, checkfn="lua_isinteger") uint64_t, ptrdiff_t %{ $1 = ($1_ltype)lua_tointeger(L, $input); %}
%typemap(in, checkfn="lua_isstring") (const char *bytes, size_t length) %{ $1 = (char *)lua_tolstring(L, $input, &$2); %}
#elif defined(SWIGPYTHON)
%include "pybuffer.i"
%pybuffer_binary(const char *bytes, size_t length);
#else
%apply (char *STRING, size_t LENGTH) { (const char *bytes, size_t length) };
#endif

/* ---- the C API ---- */

#define VMARENA_API
#define VMARENA_BEGIN_DECLS
#define VMARENA_END_DECLS
#define VMARENA_UNLIKELY(condition) (condition)

%immutable;
%include "vmarena/types.h"
%mutable;
%include "vmarena/version.h"
%include "vmarena/error.h"
%include "vmarena/page.h"
%include "vmarena/arena.h"
%include "vmarena/fault.h"
%include "vmarena/inspect.h"
%include "vmarena/snapshot.h"
%include "vmarena/heap.h"
%include "vmarena/view.h"
/* SWIG ignores a macro with a cast. */
%constant unsigned long HEAP_QUARANTINE_COUNT = VMARENA_HEAP_QUARANTINE_COUNT;

/* Results that the language frees. */
%newobject vmarena_swig_get_caps;
%newobject vmarena_swig_get_stats;
%newobject vmarena_swig_get_info;
%newobject vmarena_swig_get_mark;
%newobject vmarena_swig_get_snapshot_info;
%newobject vmarena_swig_get_heap_stats;
%newobject vmarena_swig_get_heap_object;
%newobject vmarena_swig_get_view_info;
%newobject vmarena_swig_get_mapping;
%newobject vmarena_swig_get_totals;

%exception {
    $action
    const char *failure = vmarena_swig_take_failure();
    if (failure != NULL) SWIG_exception(SWIG_RuntimeError, failure);
}
%include "helpers.h"
%exception;
