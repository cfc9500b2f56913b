/* SPDX-License-Identifier: MIT */
/* libvmarena: memory with walls. Everything but testing.h, which is for test programs. */
#ifndef VMARENA_H
#define VMARENA_H

#include "vmarena/export.h"

#include "vmarena/arena.h"
#include "vmarena/error.h"
#include "vmarena/fault.h"
#include "vmarena/heap.h"
#include "vmarena/inspect.h"
#include "vmarena/page.h"
#include "vmarena/snapshot.h"
#include "vmarena/version.h"
#include "vmarena/view.h"

#endif
