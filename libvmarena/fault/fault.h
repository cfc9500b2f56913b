/* SPDX-License-Identifier: MIT */
/* What owners of regions and guarded operations need of the fault handling. */
#ifndef VMARENA_FAULT_FAULT_H
#define VMARENA_FAULT_FAULT_H

#include "vmarena/fault.h"

/* Handlers installed, and an alternate stack for the calling thread: what the first scope of a thread does. Explained. */
int vmarena_fault_ready(void);

/* For bodies that do nothing but access operands of their own: any address, and faults for which the kernel names none. */
extern const char vmarena_claims_operands[1];
int vmarena_try_claiming(void (*body)(void *), void *arg, struct vmarena_fault *fault, const void *claims);

#endif
