# SPDX-License-Identifier: MIT
"""A library called by ctypes: the argument is the memory's address."""

import ctypes
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def checksum(compiled):
    function = ctypes.CDLL(str(compiled(Path(__file__).with_name("checksum.c")))).checksum
    function.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
    return function


def test_checksum(vmarena_fenced, checksum):
    data = vmarena_fenced(b"some input")
    vmarena_fenced.call(checksum, data.address, len(data))
