# SPDX-License-Identifier: MIT
"""A Cython module: typed memoryviews of arrays that end, and then start, at a guard."""

import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("Cython", reason="Cython is not installed")
numpy = pytest.importorskip("numpy", reason="numpy is not installed")


@pytest.fixture(scope="session")
def smooth(extension, tmp_path_factory):
    source = tmp_path_factory.mktemp("cython") / "smooth.c"
    subprocess.run([sys.executable, "-m", "cython", Path(__file__).with_name("smooth.pyx"), "-o", source], check=True)
    return extension(source).smooth


def test_smooth(vmarena_fenced, smooth):
    values, out = vmarena_fenced.array([1.0, 2.0, 6.0]), vmarena_fenced.zeros(3)
    vmarena_fenced.call(smooth, values, out)
