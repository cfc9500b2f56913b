# SPDX-License-Identifier: MIT
"""Helpers for the tests of `vmarena guard`: running it, and TAP."""
import re
import signal
import subprocess
import sys
import traceback

POINTER = re.compile(r"0x[0-9a-f]+")
TOTALS = re.compile(r"vmarena guard: ([0-9,]+) objects? guarded(?: by [a-z ]+)?, ([0-9,]+) unguarded(?:, ([0-9,]+) not sampled)?"
                    r"(?:, ([0-9,]+) refused)?, peak ([0-9,]+) live in [^,]+, ([0-9,]+) errors?"
                    r"(?:, ([0-9,]+) repeated)?(?:, ([0-9,]+) more places not recorded)?"
                    r"(?:, ([0-9,]+) suppressed)?(?:, ([0-9,]+) processes)?")


# Whoever runs the tests in the background may have them ignored (nohup, a shell's &), and programs would inherit that.
for number in (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT):
    if signal.getsignal(number) == signal.SIG_IGN:
        signal.signal(number, signal.SIG_DFL)


class Skip(Exception):
    pass


class Result:
    def __init__(self, done):
        self.code, self.out, self.err = done.returncode, done.stdout, done.stderr
        self.lines = self.err.splitlines()

    @property
    def headlines(self):
        """The reports' first lines, without the totals."""
        found = [line.removeprefix("vmarena guard: ") for line in self.lines if line.startswith("vmarena guard: ")]
        return [line for line in found if not TOTALS.fullmatch("vmarena guard: " + line)]

    @property
    def totals(self):
        found = [TOTALS.fullmatch(line) for line in self.lines]
        found = [match for match in found if match]
        assert len(found) == 1, "no single line of totals in:\n" + self.err
        names = ("guarded", "unguarded", "unsampled", "refused", "peak", "errors", "repeated", "unrecorded", "suppressed",
                 "processes")
        return {name: int((text or "0").replace(",", "")) for name, text in zip(names, found[0].groups())}

    @property
    def backends(self):
        """Which guards the totals name."""
        found = re.search(r"^vmarena guard: [0-9,]+ objects? guarded by ([a-z ]+), ", self.err, re.M)
        return found[1] if found else ""

    def stack_after(self, start):
        """The frames printed behind the first line that starts so."""
        frames, inside = [], False
        for line in self.lines:
            if inside and not line.startswith("    "):
                break
            if inside:
                frames.append(line.strip())
            inside = inside or line.strip().startswith(start)
        return frames


def run(command, timeout=300, **more):
    more.setdefault("stdin", subprocess.DEVNULL)
    return Result(subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=timeout, **more))


def equal(got, wanted, what="", result=None):
    if got != wanted:
        raise AssertionError(f"{what}: got {got!r}, wanted {wanted!r}" + (f"\n{result.err}" if result else ""))


def report(tests):
    """Runs (name, function) pairs and prints TAP."""
    failed = 0
    print(f"1..{len(tests)}", flush=True)
    for number, (name, function) in enumerate(tests, 1):
        try:
            function()
            print(f"ok {number} - {name}", flush=True)
        except Skip as skip:
            print(f"ok {number} - {name} # SKIP {skip}", flush=True)
        except Exception as error:  # a test that breaks has failed, and the others run
            failed += 1
            print(f"not ok {number} - {name}")
            text = str(error) if isinstance(error, AssertionError) else traceback.format_exc()
            for line in text.splitlines()[:80]:
                print("# " + line, flush=True)
    sys.exit(1 if failed else 0)
