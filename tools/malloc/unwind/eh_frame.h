/* SPDX-License-Identifier: MIT */
/* A module's unwind tables (System V ABI for AMD64, 4.2.4; LSB 5.0 core, 10.6). Signal-safe. */
#ifndef VMARENA_MALLOC_UNWIND_EH_FRAME_H
#define VMARENA_MALLOC_UNWIND_EH_FRAME_H

#include <stdbool.h>
#include <stdint.h>

#include "rule.h"

/* The rule for pc by the tables behind a .eh_frame_hdr section; false: they have no entry for pc, or none that is valid. */
bool vmarena_eh_frame_rule(const uint8_t *header, uintptr_t pc, struct vmarena_unwind_rule *rule);

#endif
