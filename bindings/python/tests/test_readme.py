# SPDX-License-Identifier: MIT
"""Every example of the README and of the docstrings runs, in an empty folder, and prints what stands below it."""

import doctest
import os
import re
import subprocess
import sys

import pytest

import vmarena
from conftest import ROOT

README = (ROOT / "bindings/python/README.md").read_text()
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```$", README, re.S | re.M)
PROGRAMS = [
    (code, BLOCKS[index + 1][1] if index + 1 < len(BLOCKS) and BLOCKS[index + 1][0] == "text" else "")
    for index, (language, code) in enumerate(BLOCKS) if language == "python"
]


def run(folder, *command):
    return subprocess.run([sys.executable, *command], cwd=folder, capture_output=True, text=True, timeout=300)


def test_the_readme_has_examples():
    assert len(PROGRAMS) == 6 and sum(language == "text" for language, _ in BLOCKS) == 4


@pytest.mark.parametrize("number", [number for number, (code, _) in enumerate(PROGRAMS) if "def test_" not in code])
def test_programs(number, tmp_path):
    code, printed = PROGRAMS[number]
    done = run(tmp_path, "-c", code)
    if not vmarena.caps().fault_access:
        printed = printed.replace("overrun read", "overrun unknown").replace(": read ", ": access ")
    expected = re.escape(printed).replace(r"0x\.\.\.", "0x[0-9a-f]+")
    assert re.fullmatch(expected, done.stdout), done.stdout + done.stderr
    assert done.returncode == 0 and done.stderr == ""


@pytest.mark.parametrize("number", [number for number, (code, _) in enumerate(PROGRAMS) if "def test_" in code])
def test_tests(number, tmp_path):
    code, _ = PROGRAMS[number]
    if "hypothesis" in code:
        pytest.importorskip("hypothesis", reason="hypothesis is not installed")
    (tmp_path / "test_example.py").write_text(code)
    done = run(tmp_path, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-W", "error", "--strict-markers")
    assert done.returncode == 0, done.stdout + done.stderr


def test_docstrings():
    """The example at the top of the package."""
    if not vmarena.caps().fault_access:
        pytest.skip("this CPU does not tell reads from writes, as the example prints")
    failed, tried = doctest.testmod(vmarena)
    assert failed == 0 and tried > 3


def test_links():
    for target in re.findall(r"\]\(([^)#:]+)\)", README):
        assert os.path.exists(ROOT / "bindings/python" / target), target
