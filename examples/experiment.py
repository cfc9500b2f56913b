# SPDX-License-Identifier: MIT
"""What the experiments in Python have in common: each checks what it claims, and ends with a line where it is not."""

import resource
import sys

import vmarena


def must_be(so, sentence):
    """Ends the program with the sentence unless it is so."""
    if not so:
        sys.exit(f"not as expected: {sentence}")


def must_count(found, expected, what):
    """The same for a count that must be exact."""
    if found != expected:
        sys.exit(f"not as expected: {found} {what} instead of {expected}")


def small_page_arena(size, name):
    """An arena of the given size on small pages, so that each page counts by itself."""
    return vmarena.Arena(size, huge="never", name=name)


def access_is(fault, access):
    """Whether the fault was for this access, as far as the CPU tells at all."""
    return fault.access == (access if vmarena.caps().fault_access else vmarena.Access.UNKNOWN)


def fault_of(function, *arguments):
    """The fault of function(*arguments), or None."""
    try:
        function(*arguments)
    except vmarena.Fault as fault:
        return fault
    return None


def minor_faults():
    """Page faults of this process that needed no disk, so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
