# SPDX-License-Identifier: MIT
import ctypes
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest_plugins = ["pytester"]
ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="session")
def planted(tmp_path_factory):
    """A library with off-by-one errors, compiled with optimisation and without any instrumentation."""
    source = Path(__file__).with_name("planted.c")
    library = tmp_path_factory.mktemp("planted") / "libplanted.so"
    subprocess.run([os.environ.get("CC", "cc"), "-O2", "-shared", "-fPIC", "-o", library, source], check=True)
    return ctypes.CDLL(str(library))


@pytest.fixture
def python():
    """Runs a program in an interpreter of its own."""

    def run(program, *options):
        return subprocess.run([sys.executable, *options, "-c", program], capture_output=True, text=True, timeout=100)

    return run
