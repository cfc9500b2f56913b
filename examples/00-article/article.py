# SPDX-License-Identifier: MIT
"""Without the library: map a page, write, make it read-only, write again, and die by SIGSEGV."""

import ctypes
import mmap
import sys

sys.stdout.reconfigure(line_buffering=True)  # what was printed must be out before the end
size = mmap.PAGESIZE
print(f"a page is {size} bytes")

page = mmap.mmap(-1, size, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, mmap.PROT_READ | mmap.PROT_WRITE)
address = ctypes.addressof(ctypes.c_char.from_buffer(page))
print(f"mapped one page at 0x{address:x}, readable and writable")

page[0] = 42
print(f"wrote 42, read {page[0]}")

libc = ctypes.CDLL(None, use_errno=True)
if libc.mprotect(ctypes.c_void_p(address), ctypes.c_size_t(size), mmap.PROT_READ) != 0:
    sys.exit(f"mprotect: errno {ctypes.get_errno()}")
print("protected the page: it is read-only now")
print(f"read {page[0]}: reading is still allowed")

print("writing 43: the CPU faults, the kernel sends SIGSEGV, and the program ends here")
page[0] = 43
print(f"this line is never printed: the page holds {page[0]}")
