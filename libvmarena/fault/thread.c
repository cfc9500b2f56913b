/* SPDX-License-Identifier: MIT */
/* What a thread's scopes and its handler share. */
#include "prim/prim.h"

#include "fault/fault.h"

_Thread_local struct vmarena_fault_thread vmarena_fault_thread;

/* Only their addresses count. */
const char vmarena_claims_registered[1], vmarena_claims_any[1], vmarena_claims_operands[1];
