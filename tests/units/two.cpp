/* SPDX-License-Identifier: MIT */
#include "units.h"

extern "C" void touch_in_cpp(void *address) { *static_cast<volatile char *>(address) = 1; }

extern "C" ptrdiff_t catch_in_cpp(void (*body)(void *), void *arg) {
    vmarena_scope scope;
    VMARENA_TRY(&scope) { body(arg); }
    VMARENA_CATCH(fault) { return fault->distance; }
    return 0;
}

extern "C" ptrdiff_t call_in_cpp(void (*body)(void *), void *arg) {
    vmarena_fault fault = {};
    return vmarena_try(body, arg, &fault) == 1 ? fault.distance : 0;
}

extern "C" ptrdiff_t catch_twice(void *first, void *second) {
    vmarena_scope scope;
    volatile ptrdiff_t inner = 0;
    VMARENA_TRY(&scope) {
        inner = catch_in_c(touch_in_cpp, first);
        touch_in_c(second);
    }
    VMARENA_CATCH(fault) { return fault->distance * 1000 + inner; }
    return inner;
}
