# SPDX-License-Identifier: MIT
"""For pytest: the fixture vmarena_fenced, the mark fenced, and the option --vmarena-guard (_pytest_guard.py).

With the fixture a test runs twice, with its input ending at a guard and starting after one:

    def test_checksum(vmarena_fenced):
        data = vmarena_fenced(b"some input")                # any bytes; bytes-like, for ctypes, numpy, extensions
        assert vmarena_fenced.call(checksum, data, len(data)) == 0x1234

An overrun in checksum(), compiled code of whatever origin, fails the test and tells which byte was touched, and how. With
the mark the whole test runs in a child process, twice, and its bytes and arrays lie against a guard:

    @pytest.mark.fenced
    @pytest.mark.parametrize("data", [b"", b"some input"])
    def test_checksum(data):
        checksum(data, len(data))
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

import pytest

from . import _pytest_guard
from . import _vmarena as _c
from ._child import call_with
from ._faults import Error, Memory, Side
from ._fenced import fenced, fenced_memory
from ._numpy import make_array

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from typing_extensions import Buffer

Result = TypeVar("Result")
_stderr_key = pytest.StashKey[int]()


class Fenced:
    """What the fixture vmarena_fenced gives."""

    def __init__(self, side: Side) -> None:
        #: The side at which the guards lie.
        self.side = side
        self._memories: list[Memory] = []

    def __call__(self, data: Buffer, *, align: int = 1, writable: bool = True) -> Memory:
        """A copy of data flush against a guard; writable False: a write to it faults, too."""
        self._memories.append(fenced(data, self.side, align=align, writable=writable))
        return self._memories[-1]

    def array(self, values: Any, dtype: Any = None) -> Any:
        """A copy of an array, or what makes one, as a numpy array flush against a guard."""
        import numpy

        source = numpy.asarray(values, dtype)
        copy = self.zeros(source.shape, source.dtype)
        copy[...] = source
        return copy

    def zeros(self, shape: int | Sequence[int], dtype: Any = float) -> Any:
        """A zeroed numpy array flush against a guard."""
        return make_array(self._allocate, shape, dtype)

    def _allocate(self, size: int, align: int) -> Memory:
        self._memories.append(fenced_memory(size, align, self.side))
        return self._memories[-1]

    def call(
        self, function: Callable[..., Result], /, *args: Any, timeout: float | None = None, **kwargs: Any
    ) -> Result:
        """function(*args, **kwargs) in a child process, as vmarena.call(): for code that may fault.

        What it writes to this fixture's memory and arrays is there afterwards.
        """
        __tracebackhide__ = True
        verdict, result = call_with(self._memories, timeout, _judged(function), args, kwargs)
        if verdict is not None:
            _VERDICTS[verdict](result)
        returned: Result = result
        return returned

    def check(self) -> None:
        """Raises Error where the bytes at the side without a guard were overwritten. So does the test's end."""
        __tracebackhide__ = True
        for memory in self._memories:
            memory.check()


_VERDICTS: dict[str, Callable[[str], NoReturn]] = {
    "Failed": pytest.fail, "Skipped": pytest.skip, "XFailed": pytest.xfail,
}


def _judged(function: Callable[..., Any]) -> Callable[..., tuple[str | None, Any]]:
    """(None, result), or what pytest was told, whose exceptions cannot be pickled."""

    def run(*args: Any, **kwargs: Any) -> tuple[str | None, Any]:
        try:
            return None, function(*args, **kwargs)
        except (pytest.fail.Exception, pytest.skip.Exception, pytest.xfail.Exception) as error:
            return type(error).__name__, str(error.msg)

    run.__name__ = getattr(function, "__name__", None) or str(function)
    return run


def pytest_addoption(parser: pytest.Parser) -> None:
    _pytest_guard.add_options(parser.getgroup("vmarena", "guarded memory"))


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers",
        "fenced(*names, align=1, timeout=None): run the test in a child process, with its buffers and numpy arrays (or those "
        "arguments alone) ending at a guard page, and again with them starting after one",
    )
    _pytest_guard.configure(config)
    # A fault outside of call() ends the process: its report comes first, where pytest's capturing does not reach, as its own
    # faulthandler plug-in does. No handler is installed before a test uses vmarena.
    try:
        config.stash[_stderr_key] = os.dup(sys.stderr.fileno())
    except (AttributeError, OSError, ValueError):
        return
    _c.report_faults(config.stash[_stderr_key], True)


def pytest_unconfigure(config: pytest.Config) -> None:
    stderr = config.stash.get(_stderr_key, -1)
    if stderr >= 0:
        _c.report_faults(-1, False)
        os.close(stderr)
        del config.stash[_stderr_key]


# ---- the mark fenced -------------------------------------------------------------------------------------------------

_fixture_mark = pytest.mark.usefixtures("vmarena_fenced").mark


@pytest.hookimpl(tryfirst=True)
def pytest_pycollect_makeitem(collector: pytest.Module | pytest.Class, name: str, obj: object) -> None:
    """Gives a marked test the fixture, whose parameters are the two sides."""
    marks = getattr(obj, "pytestmark", [])
    marked = any(mark.name == "fenced" for mark in marks) or collector.get_closest_marker("fenced") is not None
    if marked and collector.istestfunction(obj, name) and _fixture_mark not in marks:
        obj.pytestmark = [*marks, _fixture_mark]  # type: ignore[attr-defined]


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    __tracebackhide__ = True
    mark = pyfuncitem.get_closest_marker("fenced")
    if mark is None:
        return None
    fence: Any = pyfuncitem.funcargs["vmarena_fenced"]
    align, timeout = mark.kwargs.get("align", 1), mark.kwargs.get("timeout")
    given: dict[str, Any] = {name: pyfuncitem.funcargs[name] for name in pyfuncitem._fixtureinfo.argnames}
    for name in mark.args or [name for name in given if _is_data(given[name])]:
        given[name] = fence.array(given[name]) if _is_array(given[name]) else fence(given[name], align=align)
    fence.call(_call_with(pyfuncitem.obj, given), timeout=timeout)
    return True


def _call_with(test: Callable[..., object], arguments: dict[str, Any]) -> Callable[[], None]:
    def run() -> None:
        test(**arguments)

    run.__name__ = test.__name__
    return run


def _is_array(value: object) -> bool:
    numpy = sys.modules.get("numpy")
    return numpy is not None and isinstance(value, numpy.ndarray)


def _is_data(value: object) -> bool:
    return _is_array(value) or isinstance(value, (bytes, bytearray, memoryview))


# ---- the fixture -----------------------------------------------------------------------------------------------------


@pytest.fixture(params=list(Side), ids=str)
def vmarena_fenced(request: pytest.FixtureRequest) -> Iterator[Fenced]:
    """Buffers flush against a guard page, at the end and at the start: vmarena_fenced(data), .array(), .call()."""
    fence = Fenced(request.param)
    yield fence
    try:
        fence.check()
    except Error as error:
        pytest.fail(str(error.strerror), pytrace=False)
