/* SPDX-License-Identifier: MIT */
#include "prim/prim.h"

#include "prim/internal.h"

#ifdef VMARENA_HAVE_VALGRIND
#include <valgrind/memcheck.h>
#endif

/* Weak: they are there only in a process that runs under AddressSanitizer, so that one build serves both cases. */
#if defined(__GNUC__) && !defined(__APPLE__)
void __asan_poison_memory_region(const volatile void *address, size_t size) __attribute__((weak));
void __asan_unpoison_memory_region(const volatile void *address, size_t size) __attribute__((weak));
static bool under_asan(void) { return __asan_poison_memory_region != NULL && __asan_unpoison_memory_region != NULL; }
#else
static bool under_asan(void) { return false; }
static void __asan_poison_memory_region(const volatile void *address, size_t size) { (void)address, (void)size; }
static void __asan_unpoison_memory_region(const volatile void *address, size_t size) { (void)address, (void)size; }
#endif

static bool under_valgrind(void) {
#ifdef VMARENA_HAVE_VALGRIND
    return RUNNING_ON_VALGRIND != 0;
#else
    return false;
#endif
}

bool vmarena_prim_annotating(void) { return under_asan() || under_valgrind(); }

void vmarena_prim_poison(const void *address, size_t size) {
    if (under_asan()) __asan_poison_memory_region(address, size);
#ifdef VMARENA_HAVE_VALGRIND
    (void)VALGRIND_MAKE_MEM_NOACCESS(address, size);
#endif
}

void vmarena_prim_unpoison(const void *address, size_t size) {
    if (under_asan()) __asan_unpoison_memory_region(address, size);
#ifdef VMARENA_HAVE_VALGRIND
    (void)VALGRIND_MAKE_MEM_UNDEFINED(address, size);
#endif
}

void vmarena_prim_defined(const void *address, size_t size) {
    if (under_asan()) __asan_unpoison_memory_region(address, size);
#ifdef VMARENA_HAVE_VALGRIND
    (void)VALGRIND_MAKE_MEM_DEFINED(address, size);
#endif
}

void vmarena_prim_forget_frames(uintptr_t fault_stack, uintptr_t landing_stack) {
    uintptr_t low = fault_stack < landing_stack ? fault_stack : landing_stack;
    if (landing_stack - low > (uintptr_t)64 << 20) low = landing_stack; /* the fault was on another stack */
    low -= VMARENA_RED_ZONE;
    vmarena_prim_unpoison((const void *)low, landing_stack + sizeof(void *) - low);
}
