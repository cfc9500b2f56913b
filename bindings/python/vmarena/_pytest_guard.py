# SPDX-License-Identifier: MIT
"""pytest --vmarena-guard: tests under "vmarena guard", each in a process of its own, its reports attached to it.

The session that the user started (Outer) collects the tests, reports on them and runs none. It starts a second one under
the guard (Inner), which forks for each test. What a test's own reports say comes through a pipe as it happens; what the
guard found is read at the end, and told to the tests by their process numbers.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import pytest
from _pytest.runner import runtestprotocol  # as pytest-xdist and pytest-forked do: there is no public way

_MARK = "vmarena_guard"
_HELP = """run all tests under "vmarena guard", which puts each object of malloc against a guard page: what compiled code
does wrong fails the test with the stacks of the access, the allocation and the free"""


def add_options(group: pytest.OptionGroup) -> None:
    group.addoption("--vmarena-guard", action="store_true", help=_HELP)
    group.addoption("--vmarena-guard-marked", action="store_true", help=f"the same for the tests marked {_MARK}")
    group.addoption("--vmarena-guard-options", default="", metavar="OPTIONS", help='such as "--side=start --align=1"')
    group.addoption("--vmarena-command", default=os.environ.get("VMARENA", "vmarena"), metavar="PATH",
                    help="the command vmarena (default: $VMARENA, or vmarena on the PATH)")
    group.addoption("--vmarena-guarded", help="for the plug-in's own use")


def configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", f"{_MARK}: run under \"vmarena guard\" with --vmarena-guard-marked")
    if config.getoption("--vmarena-guarded"):
        config.pluginmanager.register(_Inner(config), "vmarena-guarded")
    elif config.getoption("--vmarena-guard") or config.getoption("--vmarena-guard-marked"):
        config.pluginmanager.register(_Outer(config), "vmarena-guard")


# ---- the session that the user started -------------------------------------------------------------------------------


class _Outer:
    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._processes: dict[int, str] = {}
        command = shutil.which(config.getoption("--vmarena-command"))
        if config.getoption("dist", "no") != "no":
            raise pytest.UsageError("--vmarena-guard runs the tests in processes of its own, without pytest-xdist's")
        if command is None:
            raise pytest.UsageError(
                f"--vmarena-guard: there is no command {config.getoption('--vmarena-command')!r}: install libvmarena's "
                "tools, or name it by --vmarena-command or $VMARENA"
            )
        self._command = command

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool | None:
        if session.config.option.collectonly or session.testsfailed:
            return None
        every = session.config.getoption("--vmarena-guard")
        guarded = [item for item in session.items if every or item.get_closest_marker(_MARK)]
        plain = [item for item in session.items if item not in guarded]
        for item, following in zip(plain, [*plain[1:], None]):
            item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
            _stop_if_wanted(session)
        if guarded:
            self._run(session, [item.nodeid for item in guarded])
        return True

    def _run(self, session: pytest.Session, nodeids: list[str]) -> None:
        with tempfile.TemporaryDirectory(prefix="vmarena-guard-") as folder:
            work = Path(folder)
            (work / "tests.json").write_text(json.dumps(nodeids))
            status = self._run_inner(work)
            for found in map(json.loads, (work / "found.json").read_text().splitlines()):
                if found["kind"] != "totals":
                    self._tell(found)
            if status not in (0, 1, 2, 99) and not session.testsfailed:
                raise pytest.UsageError(f"the guarded session ended with status {status}:\n" + (work / "log").read_text())
        _stop_if_wanted(session)

    def _run_inner(self, work: Path) -> int:
        reader, writer = os.pipe()
        (work / "found.json").touch()
        command = [
            self._command, "guard", f"--report={work / 'found.json'}", "--format=json", "--quiet",
            *shlex.split(self._config.getoption("--vmarena-guard-options")), "--",
            sys.executable, "-m", "pytest", *self._arguments(), f"--vmarena-guarded={writer}:{work / 'tests.json'}",
        ]
        with open(work / "log", "wb") as log:
            output = None if self._config.getoption("capture") == "no" else log
            inner = subprocess.Popen(command, pass_fds=[writer], stdout=output, stderr=output)
        os.close(writer)
        with open(reader, encoding="utf-8") as lines:
            for line in lines:
                self._replay(json.loads(line))
        return inner.wait()

    def _arguments(self) -> list[str]:
        """Those of this session, from its folder."""
        mine = [argument for argument in self._config.invocation_params.args if not argument.startswith("--vmarena-")]
        return [*mine, "-p", "vmarena.pytest_plugin"] if not self._is_installed() else mine

    def _is_installed(self) -> bool:
        return any(plugin.entry_points.select(group="pytest11", name="vmarena")
                   for _, plugin in self._config.pluginmanager.list_plugin_distinfo())

    def _replay(self, message: dict[str, Any]) -> None:
        hook = self._config.hook
        self._processes[message["process"]] = message["nodeid"]
        hook.pytest_runtest_logstart(nodeid=message["nodeid"], location=tuple(message["location"]))
        for data in message["reports"]:
            hook.pytest_runtest_logreport(report=_restored(self._config, data))
        hook.pytest_runtest_logfinish(nodeid=message["nodeid"], location=tuple(message["location"]))

    def _tell(self, found: dict[str, Any]) -> None:
        nodeid = self._processes.get(found["process"], "outside of the tests")
        report = pytest.TestReport(
            nodeid=nodeid, location=(nodeid.split("::")[0], None, nodeid.split("::")[-1]), keywords={}, outcome="failed",
            longrepr=describe(found), when="teardown", user_properties=[("vmarena guard", found["text"])],
        )
        self._config.hook.pytest_runtest_logreport(report=report)


def _stop_if_wanted(session: pytest.Session) -> None:
    if session.shouldfail:
        raise session.Failed(session.shouldfail)
    if session.shouldstop:
        raise session.Interrupted(session.shouldstop)


# ---- the session under the guard -------------------------------------------------------------------------------------


class _Inner:
    def __init__(self, config: pytest.Config) -> None:
        writer, path = config.getoption("--vmarena-guarded").split(":", 1)
        self._writer = int(writer)
        os.set_inheritable(self._writer, False)
        self._wanted = {nodeid: index for index, nodeid in enumerate(json.loads(Path(path).read_text()))}

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        items[:] = sorted((item for item in items if item.nodeid in self._wanted),
                          key=lambda item: self._wanted[item.nodeid])

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> bool:
        reader, writer = os.pipe()
        child = os.fork()
        if child == 0:
            _run_test(item, writer)
        os.close(writer)
        with open(reader, "rb") as answer:
            reports = json.loads(answer.read() or b"[]")
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        if not reports:
            reports = [_serialised(item.config, _death(item, status))]
        self._send({"nodeid": item.nodeid, "location": item.location, "process": child, "reports": reports})
        for data in reports:  # for -x and --maxfail
            item.ihook.pytest_runtest_logreport(report=_restored(item.config, data))
        return True

    def _send(self, message: dict[str, Any]) -> None:
        left = memoryview(json.dumps(message).encode() + b"\n")
        while left:
            left = left[os.write(self._writer, left):]


def _run_test(item: pytest.Item, writer: int) -> None:
    """In the child, which ends without what a normal end of Python runs; the guard checks its objects at _exit()."""
    try:
        reports = [_serialised(item.config, report) for report in runtestprotocol(item, nextitem=None, log=False)]
        with open(writer, "wb") as answer:
            answer.write(json.dumps(reports).encode())
    finally:
        os._exit(0)


def _serialised(config: pytest.Config, report: pytest.TestReport) -> Any:
    return config.hook.pytest_report_to_serializable(config=config, report=report)


def _restored(config: pytest.Config, data: dict[str, Any]) -> Any:
    if isinstance(data["longrepr"], list):  # of a skip: JSON has no tuples
        data = {**data, "longrepr": tuple(data["longrepr"])}
    return config.hook.pytest_report_from_serializable(config=config, data=data)


def _death(item: pytest.Item, status: int) -> pytest.TestReport:
    how = f"was killed by {signal.Signals(-status).name}" if status < 0 else f"ended its process with status {status}"
    return pytest.TestReport(
        nodeid=item.nodeid, location=item.location, keywords=dict.fromkeys(item.keywords, 1), outcome="failed",
        longrepr=f"{item.name} {how}", when="call",
    )


# ---- in words --------------------------------------------------------------------------------------------------------


def describe(found: dict[str, Any]) -> str:
    """A report of the guard, one object of its JSON, as the command's own text has it, without the bytes around."""
    lines = [f"vmarena guard: {found['text']}", *_stack("accessed by:", found.get("stack"))]
    if thing := found.get("object"):
        lines.append(f"  object of {thing['size']} bytes at {thing['address']}, {thing['state']}")
    lines += _stack("allocated by:", found.get("alloc_stack"))
    lines += _stack("freed by:", found.get("free_stack"))
    return "\n".join(lines)


def _stack(title: str, frames: Sequence[dict[str, Any]] | None) -> Iterable[str]:
    if frames:
        yield f"  {title}"
        yield from (f"    {_frame(frame)}" for frame in frames)


def _frame(frame: dict[str, Any]) -> str:
    where = f" at {Path(frame['file']).name}:{frame['line']}" if "file" in frame else ""
    module = f" ({Path(frame['module']).name}+{frame['offset']})" if "module" in frame else ""
    return f"{frame.get('function') or frame['pc']}{where}{module}"
