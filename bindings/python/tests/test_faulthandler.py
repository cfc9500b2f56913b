# SPDX-License-Identifier: MIT
"""faulthandler before us, after us, off again, and off: a guarded fault is ours, any other is faulthandler's."""

import signal

import pytest

CATCH = """
def catch():
    memory = vmarena.fenced(b"1234")
    try:
        vmarena.read(memory, 5)
    except vmarena.Fault as fault:
        print(fault.kind, fault.distance, flush=True)
"""
CRASH = "import ctypes; ctypes.string_at(0)\n"
BEFORE = "import faulthandler; faulthandler.enable(); import vmarena" + CATCH + "catch(); catch()\n"
AFTER = "import vmarena" + CATCH + "catch(); import faulthandler; faulthandler.enable(); catch(); catch()\n"
OFF_AGAIN = BEFORE + "faulthandler.disable(); catch(); catch()\n"
NEVER = "import vmarena" + CATCH + "catch(); catch()\n"
UNDER_X = NEVER


@pytest.mark.parametrize(
    ("program", "options", "times"),
    [(BEFORE, [], 2), (AFTER, [], 3), (OFF_AGAIN, [], 4), (NEVER, [], 2), (UNDER_X, ["-X", "faulthandler"], 2)],
    ids=["before", "after", "off again", "never", "-X"],
)
def test_ours_is_caught(python, program, options, times):
    done = python(program, *options)
    assert (done.stdout, done.stderr, done.returncode) == ("overrun 1\n" * times, "", 0)


@pytest.mark.parametrize(
    ("program", "options", "traceback"),
    [(BEFORE, [], True), (AFTER, [], True), (OFF_AGAIN, [], False), (NEVER, [], False),
     (UNDER_X, ["-X", "faulthandler"], True)],
    ids=["before", "after", "off again", "never", "-X"],
)
def test_another_is_faulthandlers(python, program, options, traceback):
    done = python(program + CRASH, *options)
    assert done.returncode == -signal.SIGSEGV
    assert done.stderr.count("Fatal Python error: Segmentation fault") == traceback  # once, and no more
    assert done.stderr.count('File "<string>"') == traceback


def test_status_tells_of_displacement(python):
    done = python("""
import vmarena
print(vmarena.handler_status())
vmarena.read(vmarena.fenced(b"x"), 1)
print(vmarena.handler_status())
import faulthandler; faulthandler.enable()
print(vmarena.handler_status())
vmarena.reassert()
print(vmarena.handler_status())
""")
    assert done.stdout.split() == ["absent", "installed", "displaced", "installed"], done.stderr


def test_importing_installs_nothing(python):
    assert python("import vmarena; print(vmarena.handler_status())").stdout == "absent\n"
