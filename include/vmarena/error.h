/* SPDX-License-Identifier: MIT */
#ifndef VMARENA_ERROR_H
#define VMARENA_ERROR_H

#include "export.h"

VMARENA_BEGIN_DECLS

/*
 * A sentence about the calling thread's last failure in this library, for people: which call, which limit, what to do.
 * "" before the first failure. A later success leaves it alone, as with errno. The text belongs to the thread and
 * stands until that thread's next failure. Some sentences are made only when they are asked for, and may then read
 * /proc/self/maps, which takes milliseconds in a process with very many mappings. errno stays as it was. Not safe in a
 * signal handler.
 */
VMARENA_API const char *vmarena_explain(void);

/*
 * The negative errno of the failure that vmarena_explain() describes, for functions that return NULL instead of it; 0
 * before the calling thread's first failure. Not safe in a signal handler.
 */
VMARENA_API int vmarena_last_error(void);

VMARENA_END_DECLS

#endif
