/* SPDX-License-Identifier: MIT */
#ifndef VMARENA_VERSION_H
#define VMARENA_VERSION_H

#include "export.h"

/* The version's one place: meson.build reads it here, and the test "version" holds the other places to it. */
#define VMARENA_VERSION_MAJOR 0
#define VMARENA_VERSION_MINOR 1
#define VMARENA_VERSION_PATCH 0

VMARENA_BEGIN_DECLS

/*
 * The version of the library that is linked, "MAJOR.MINOR.PATCH", which may differ from the header's.
 * A static string. Any thread; safe in a signal handler.
 */
VMARENA_API const char *vmarena_version(void);

VMARENA_END_DECLS

#endif
