/* SPDX-License-Identifier: MIT */
#include "vmarena/version.h"

#define TEXT(number) #number
#define DOTTED(major, minor, patch) TEXT(major) "." TEXT(minor) "." TEXT(patch)

const char *vmarena_version(void) {
    return DOTTED(VMARENA_VERSION_MAJOR, VMARENA_VERSION_MINOR, VMARENA_VERSION_PATCH);
}
