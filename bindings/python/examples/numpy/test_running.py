# SPDX-License-Identifier: MIT
"""An extension that works on numpy's arrays through their C interface."""

from pathlib import Path

import pytest

numpy = pytest.importorskip("numpy", reason="numpy is not installed")


@pytest.fixture(scope="session")
def running_sum(extension):
    return extension(Path(__file__).with_name("running.c"), f"-I{numpy.get_include()}").running_sum


@pytest.mark.fenced
@pytest.mark.parametrize("values", [numpy.array([1.0, 2.0, 3.0]), numpy.array([1, 2, 3], "f4")], ids=["double", "float"])
def test_running_sum(running_sum, values):
    expected = numpy.cumsum(values)
    running_sum(values)
    assert (values == expected).all()
