/* SPDX-License-Identifier: MIT */
/*
 * Makes the C library declare everything it has: mmap's flags, the registers in a ucontext, madvise. A compiler in strict
 * mode (-std=c11) asks for ISO C alone. Each file of prim/ includes this header before any other, since a C library
 * decides at its first header; so do the files above prim/ that need more than POSIX. No flag on the compiler's command
 * line is needed.
 */
#ifndef VMARENA_PRIM_FEATURES_H
#define VMARENA_PRIM_FEATURES_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* glibc, musl */
#endif
#ifndef _DARWIN_C_SOURCE
#define _DARWIN_C_SOURCE /* macOS */
#endif
#ifndef _NETBSD_SOURCE
#define _NETBSD_SOURCE /* NetBSD; FreeBSD and OpenBSD hide nothing unless asked to */
#endif
#ifndef _FILE_OFFSET_BITS
#define _FILE_OFFSET_BITS 64 /* files beyond 2 GiB on 32-bit processors */
#endif

#endif
