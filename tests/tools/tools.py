# SPDX-License-Identifier: MIT
"""Helpers for the tests of the commands that inspect processes."""
import contextlib
import json
import os
import signal
import subprocess
import sys

sys.path.insert(1, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "guard"))
import guarded
from guarded import Skip, equal  # noqa: F401

VMARENA, HOLDER, SHIMS = map(os.path.abspath, sys.argv[1:4])
PAGE = os.sysconf("SC_PAGESIZE")


def report(names):
    """Runs all functions test_NAME of a module in their order."""
    guarded.report([(name[5:].replace("_", " "), value) for name, value in names.items() if name.startswith("test_")])


def run(*arguments, **more):
    more.setdefault("stdin", subprocess.DEVNULL)
    return subprocess.run([VMARENA, *map(str, arguments)], capture_output=True, text=True, timeout=120, **more)


def refused(code, line, *arguments, **more):
    """One line on standard error, nothing on standard output, and the exit code."""
    done = run(*arguments, **more)
    equal((done.returncode, done.stdout, done.stderr), (code, "", f"vmarena {arguments[0]}: {line}\n"), arguments)


@contextlib.contextmanager
def holding(*kinds, stop=True):
    """A stopped process with memory of these kinds."""
    with subprocess.Popen([HOLDER, *kinds], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        line = process.stdout.readline()
        if line.startswith("skip: "):
            raise Skip(line[6:].strip())
        equal(line, "ready\n", kinds)
        if stop:
            os.kill(process.pid, signal.SIGSTOP)
            os.waitid(os.P_PID, process.pid, os.WSTOPPED | os.WNOWAIT)
        try:
            yield process.pid
        finally:
            os.kill(process.pid, signal.SIGCONT)


def ended():
    """The number of a process that has ended."""
    with subprocess.Popen(["true"]) as process:
        process.wait()
    return process.pid


def facts(pid, *options):
    done = run("maps", "--json", *options, pid)
    equal((done.returncode, done.stderr), (0, ""))
    return json.loads(done.stdout)


def maps(pid, *options):
    return facts(pid, *options)["mappings"]


def caps():
    return json.loads(run("caps", "--json").stdout)
