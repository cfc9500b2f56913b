# SPDX-License-Identifier: MIT
"""Foreign code in a child process: a fault in guarded memory comes back as an exception."""

from __future__ import annotations

import contextlib
import os
import pickle
import resource
import select
import signal
import sys
import tempfile
import time
import traceback
import warnings
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

from . import _vmarena as _c
from ._faults import Fault, Memory, write

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

Result = TypeVar("Result")

# What comes down the pipe: a fault's record, written by the signal handler; or a pickled result or exception with its
# traceback in words, and what became of the memories.
_FAULT, _RESULT, _EXCEPTION = b"F", b"R", b"E"
_PLUGIN = os.path.join(os.path.dirname(__file__), "pytest_plugin.py")


class Crash(Exception):
    """Foreign code ended its child process, other than by a fault in guarded memory."""

    __module__ = "vmarena"

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message, status)
        #: Of waitpid(2), as os.waitstatus_to_exitcode() gives it: a negative signal number or an exit status.
        self.status = status
        self.signal = signal.Signals(-status) if status < 0 else None

    def __str__(self) -> str:
        return str(self.args[0])


def call(function: Callable[..., Result], /, *args: Any, timeout: float | None = None, **kwargs: Any) -> Result:
    """function(*args, **kwargs) in a forked child process; its result comes back pickled.

    A fault in the memory of an arena or view (its guards, what was freed, what is protected) raises Fault here. A crash
    elsewhere raises Crash with the signal. Both have Python's stack at that moment in a note. An exception is raised here, with the child's traceback in a note. What the
    function changes in memory stays in the child. timeout is in seconds: the child is killed, and TimeoutError raised.
    """
    __tracebackhide__ = True
    return call_with((), timeout, function, args, kwargs)


def call_with(
    memories: Sequence[Memory],
    timeout: float | None,
    function: Callable[..., Result],
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
) -> Result:
    """As call(). Afterwards what surrounds the memories is checked, and what was written to them comes back."""
    __tracebackhide__ = True
    if timeout is not None and not timeout >= 0:
        raise ValueError(f"timeout must be a number of seconds, not {timeout}")
    with tempfile.TemporaryFile() as trace:
        reader, writer = os.pipe()
        child = _fork()
        if child == 0:
            _run(writer, trace.fileno(), memories, function, args, kwargs)
        os.close(writer)
        try:
            message = _receive(reader, child, timeout)
        except BaseException:
            os.kill(child, signal.SIGKILL)
            raise
        finally:
            os.close(reader)
            status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        trace.seek(0)  # the child moved the offset, which is both's
        result: Result = _take(message, status, memories, _name(function), _stack(trace.read().decode()))
        return result


def _stack(traceback: str) -> str:
    """Of what faulthandler wrote, the frames of the function that was called."""
    lines = [line for line in traceback.splitlines() if line.startswith("  File ")]
    ours = next((index for index, line in enumerate(lines) if line.startswith(f'  File "{__file__}"')), len(lines))
    frames = [line for line in lines[:ours] if f'"{_PLUGIN}"' not in line]
    return "\n".join(["In the child process (most recent call first):", *frames]) if frames else ""


def _name(function: Callable[..., Any]) -> str:
    return str(getattr(function, "__name__", None) or function)


def _fork() -> int:
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            stream.flush()
    with warnings.catch_warnings():
        # "use of fork() may lead to deadlocks": numpy starts threads when it is imported; the child does not use them.
        warnings.simplefilter("ignore", DeprecationWarning)
        return os.fork()


def _exit_watch(child: int) -> int:
    """A descriptor that is readable once the child has ended; -1: this system has none (before Linux 5.3)."""
    try:
        return os.pidfd_open(child)
    except OSError:
        return -1


def _receive(reader: int, child: int, timeout: float | None) -> bytes:
    """What the child wrote until it ended. A process of its own may hold the pipe open for longer."""
    __tracebackhide__ = True
    pieces: list[bytes] = []
    deadline = None if timeout is None else time.monotonic() + timeout
    poll, ended = select.poll(), _exit_watch(child)
    poll.register(reader, select.POLLIN)
    if ended >= 0:
        poll.register(ended, select.POLLIN)
    try:
        while True:
            left = None if deadline is None else max(0.0, deadline - time.monotonic()) * 1000
            ready = [fd for fd, _ in poll.poll(left)]
            if not ready:
                raise TimeoutError(f"no answer from the child process within {timeout} s")
            if reader not in ready:
                return b"".join(pieces)
            pieces.append(os.read(reader, 1 << 20))
            if not pieces[-1]:
                poll.unregister(reader)
                if ended < 0:
                    return b"".join(pieces)
    finally:
        if ended >= 0:
            os.close(ended)


def _take(message: bytes, status: int, memories: Sequence[Memory], name: str, stack: str) -> Any:
    __tracebackhide__ = True
    tag, body = message[:1], message[1:]
    if tag == _FAULT:
        fault = Fault(_c.decode_fault(body))
        fault.add_note(f"in {fault.place or name}, which {name} called" if fault.place else f"in {name}")
        raise _with_stack(fault, stack)
    if status < 0:
        words = f"{name} was killed by {signal.Signals(-status).name}, outside of guarded memory"
        raise _with_stack(Crash(words, status), stack)
    if not tag or status != 0:
        raise Crash(f"{name} ended its process with status {status}", status)
    if tag == _EXCEPTION:
        error, text = pickle.loads(body)
        error.add_note(f"In the child process:\n{text}")
        raise error
    result, changed = pickle.loads(body)
    for index, data in changed.items():
        write(memories[index], data)
    return result


def _with_stack(error: Exception, stack: str) -> Exception:
    if stack:
        error.add_note(stack)
    return error


# ---- in the child ----------------------------------------------------------------------------------------------------


def _run(
    writer: int,
    trace: int,
    memories: Sequence[Memory],
    function: Callable[..., Any],
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
) -> NoReturn:
    """Ends the process without what a normal end runs: exit functions and buffered files are the parent's."""
    import faulthandler  # which subinterpreters with a GIL of their own refuse; they do not fork, either

    try:
        faulthandler.enable(trace, all_threads=False)
        _drop_cores()
        _send(writer, _answer(writer, memories, function, args, kwargs))
        for stream in (sys.stdout, sys.stderr):
            if stream is not None:
                stream.flush()
    finally:
        os._exit(0)


def _drop_cores() -> None:
    """A limit of 1 byte keeps the kernel from writing a core dump, to a file or to a program: core(5)."""
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_CORE, (1, resource.getrlimit(resource.RLIMIT_CORE)[1]))


def _answer(
    writer: int,
    memories: Sequence[Memory],
    function: Callable[..., Any],
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
) -> bytes:
    try:
        before = [_contents(memory) for memory in memories]
        _c.send_faults(writer)
        result = function(*args, **kwargs)
        for memory in memories:
            if not memory.released:
                memory.check()
        changed = {index: now for index, memory in enumerate(memories) if (now := _contents(memory)) != before[index]}
        try:
            return _RESULT + pickle.dumps((result, changed))
        except Exception as error:
            raise TypeError(f"the result of {_name(function)} cannot be pickled: {error}") from None
    except BaseException as error:
        return _EXCEPTION + _pickled_error(error)


def _contents(memory: Memory) -> bytes:
    return b"" if memory.released else bytes(memory)


def _pickled_error(error: BaseException) -> bytes:
    text = "".join(traceback.format_exception(error))
    # What would end this process as well, or cannot make the way, comes in words.
    if not isinstance(error, (SystemExit, KeyboardInterrupt, GeneratorExit)):
        try:
            message = pickle.dumps((error, text))
            pickle.loads(message)
            return message
        except Exception:
            pass
    return pickle.dumps((RuntimeError(f"{type(error).__name__}: {error}"), text))


def _send(writer: int, message: bytes) -> None:
    left = memoryview(message)
    while left:
        left = left[os.write(writer, left):]
