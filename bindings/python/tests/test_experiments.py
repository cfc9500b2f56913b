# SPDX-License-Identifier: MIT
"""The experiments in Python print the lines of those in C."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
EXPERIMENTS = sorted(path for path in ROOT.glob("examples/[0-9]*/*.py"))


def test_there_are_ten():
    assert [path.parent.name[:2] for path in EXPERIMENTS] == [f"{number:02}" for number in range(10)]


@pytest.mark.parametrize("program", EXPERIMENTS, ids=lambda path: path.parent.name)
def test_experiment(program):
    runner = [sys.executable, ROOT / "tests" / "test_examples", program.with_name("expected"), sys.executable, program]
    done = subprocess.run(runner, capture_output=True, text=True, timeout=200)
    print(done.stdout, done.stderr)
    assert done.returncode == 0
    if "# SKIP" in done.stdout:
        pytest.skip(done.stdout.split("# SKIP ")[1].splitlines()[0])
