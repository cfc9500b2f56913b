/* SPDX-License-Identifier: MIT */
/* What owners of regions need of the fault handling. */
#ifndef VMARENA_INTERNAL_FAULT_H
#define VMARENA_INTERNAL_FAULT_H

#include "vmarena/fault.h"

/* Handlers installed, and an alternate stack for the calling thread: what the first scope of a thread does. Explained. */
int vmarena_fault_ready(void);

#endif
