# SPDX-License-Identifier: MIT
"""A library called by cffi: from_buffer() hands the memory over without a copy."""

from pathlib import Path

import pytest

cffi = pytest.importorskip("cffi", reason="cffi is not installed")


@pytest.fixture(scope="session")
def library(compiled):
    ffi = cffi.FFI()
    ffi.cdef("size_t count_words(const char *text, size_t size);")
    return ffi, ffi.dlopen(str(compiled(Path(__file__).with_name("words.c"))))


@pytest.mark.fenced
@pytest.mark.parametrize("text", [b"one two three"])
def test_words(library, text):
    ffi, words = library
    assert words.count_words(ffi.from_buffer(text), len(text)) == 3
