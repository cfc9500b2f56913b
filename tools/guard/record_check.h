/* SPDX-License-Identifier: MIT */
/*
 * The one place where a record from the report channel becomes trusted. The guarded program can write to the channel, by
 * accident or on purpose, at any time.
 */
#ifndef VMARENA_TOOLS_RECORD_CHECK_H
#define VMARENA_TOOLS_RECORD_CHECK_H

#include <stdbool.h>

#include "record.h"

/*
 * Copies a record, so that it cannot change any more, and checks the copy: enumerations and indices are in range, strings
 * end, and files are named by absolute paths. False: *field names what is wrong.
 */
bool vmarena_record_take(struct vmarena_report *copy, const struct vmarena_report *shared, const char **field);

#endif
