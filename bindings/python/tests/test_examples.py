# SPDX-License-Identifier: MIT
"""Each example finds its planted bug, and says so in the words that the README quotes."""

import re
import subprocess
import sys

import pytest

import vmarena
from conftest import ROOT

EXAMPLES = ROOT / "bindings/python/examples"
READS = "read" if vmarena.caps().fault_access else "access"

# Folder, module that it needs, outcomes in pytest's words, the first fault, and where: a static function has no name.
FOUND = [
    ("ctypes", None, "1 failed, 1 passed", rf"overrun: {READS} 1 byte past the end of a 10-byte object", r"checksum\+0x\w+ in checksum.so"),
    ("cffi", "cffi", "1 failed, 1 passed", rf"overrun: {READS} 1 byte past the end of a 13-byte object", r"count_words\+0x\w+ in words.so"),
    ("cython", "Cython", "2 failed", rf"overrun: {READS} 1 byte past the end of a 24-byte object", r".*smooth.so\b"),
    ("numpy", None, "2 failed, 2 passed", rf"overrun: {READS} 1 byte past the end of a 12-byte object", r".*running.so\b"),
]


def run(folder):
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", EXAMPLES, folder]
    return subprocess.run(command, cwd=EXAMPLES, capture_output=True, text=True, timeout=300).stdout


@pytest.mark.parametrize(("folder", "needs", "outcomes", "fault", "place"), FOUND, ids=[found[0] for found in FOUND])
def test_the_planted_bug_is_found(folder, needs, outcomes, fault, place):
    if needs is not None:
        pytest.importorskip(needs, reason=f"{needs} is not installed")
    said = run(folder)
    assert f"{outcomes} in" in said, said
    assert re.search(rf"E\s+vmarena\.Fault: {fault} .*\n(E\s+|\s+)in {place}", said), said
