// SPDX-License-Identifier: MIT
//
// libvmarena for C++17 and later, header-only: arenas, heaps, views and faults as C++ values. README.md has examples.
//
// The namespace is vmar, as the C library's own handle is called struct vmarena.
//
// Every operation that can fail comes twice: make(...), open(...) and try_...() return a vmar::result and never throw;
// constructors and the plain names throw vmar::error. Compiled with -fno-exceptions these end the program by std::abort().
// Destructors and deallocations report failures through set_defect_handler().
// Thread rules are those of the C headers: one owner an arena, a view, a snapshot; any thread a heap.
#ifndef VMARENA_HPP
#define VMARENA_HPP

#include <vmarena.h>

#include "vmarena/arena.hpp"
#include "vmarena/fault.hpp"
#include "vmarena/fenced.hpp"
#include "vmarena/heap.hpp"
#include "vmarena/inspect.hpp"
#include "vmarena/memory.hpp"
#include "vmarena/result.hpp"
#include "vmarena/snapshot.hpp"
#include "vmarena/view.hpp"

#endif
