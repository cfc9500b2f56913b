# SPDX-License-Identifier: MIT
"""Protections are seen changing in /proc/self/maps, where each line is one mapping."""

import sys
from pathlib import Path

import vmarena

sys.path.append(str(Path(__file__).resolve().parents[1]))
from experiment import must_be, must_count, small_page_arena

PAGES = 16
MAPS = Path("/proc/self/maps")


def read_maps(low, high):
    """(first, last, permissions) of each line about a part of the addresses from low to high."""
    found = []
    for line in MAPS.read_text().splitlines():
        start, end = (int(edge, 16) for edge in line.split()[0].split("-"))
        if start < high and end > low:
            found.append((start, end, line.split()[1]))
    return found


def show(what, address, expected):
    permissions = next((found[2] for found in read_maps(address, address + 1)), "none")
    must_be(permissions == expected, "the permissions in /proc/self/maps are those that were set")
    print(f"{what}: {permissions}")


def count_lines():
    """Of the arena: the interpreter's own mappings come and go."""
    return len(read_maps(start - page, start + (PAGES + 1) * page))


if not MAPS.exists():
    print("this system has no /proc/self/maps: nothing is claimed")
    sys.exit(0)
page = vmarena.page_size()
read_write = vmarena.Prot.READ | vmarena.Prot.WRITE
with small_page_arena(PAGES * page, "article") as arena:
    start = arena.alloc(PAGES * page, page).address
    show("a new arena", start, "rw-p")
    arena.protect(vmarena.Prot.READ)
    show("read-only", start, "r--p")
    arena.protect(vmarena.Prot.NONE)
    show("closed to all", start, "---p")
    arena.protect(read_write)
    show("writable again", start, "rw-p")
    show("the guard before it", start - 1, "---p")
    show("the guard after it", start + PAGES * page, "---p")

    before = count_lines()
    arena.protect_range(start + 8 * page, page, vmarena.Prot.READ)
    must_count(count_lines() - before, 2, "more mappings")
    print(f"one page of {PAGES} read-only: the mapping is split in three, {count_lines() - before} lines more")
    arena.protect_range(start + 8 * page, page, read_write)
    must_count(count_lines() - before, 0, "more mappings")
    print("and writable again: it is one mapping, as before")
