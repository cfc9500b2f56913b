/* SPDX-License-Identifier: MIT */
#include "units.h"

void touch_in_c(void *address) { *(volatile char *)address = 1; }

ptrdiff_t catch_in_c(void (*body)(void *), void *arg) {
    struct vmarena_scope scope;
    VMARENA_TRY(&scope) { body(arg); }
    VMARENA_CATCH(fault) { return fault->distance; }
    return 0;
}
