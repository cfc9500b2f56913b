/* SPDX-License-Identifier: MIT */
#include "prim/prim.h"

#include "fault/fault.h"

_Thread_local struct vmarena_fault_thread vmarena_fault_thread;
