# SPDX-License-Identifier: MIT
"""Files as memory."""

import errno
import os

import pytest

import vmarena
from vmarena import Advice, Kind, Mode, View

PAGE = vmarena.page_size()
DATA = bytes(range(256)) * 64 + b"the end"


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(DATA)
    return path


def test_every_way_to_name_a_file(path):
    with open(path, "rb") as file:
        for name in (path, str(path), os.fsencode(path), file.fileno(), file):
            with View(name) as view:
                assert len(view) == len(DATA) and bytes(view.data) == view.read() == DATA
                assert memoryview(view.data).readonly
    with View(path, Mode.READ) as view:
        assert view.read(256, 3) == b"\0\1\2" and view.read(len(DATA)) == b""


def test_windows(path):
    with View(path, offset=100, length=1000) as view:
        assert view.read() == DATA[100:1100] and view.offset == 100
        view.move(3000, 500)
        assert view.read() == DATA[3000:3500] and (len(view), view.offset) == (500, 3000)
        view.move(len(DATA) - 7)
        assert view.read() == b"the end"
        with memoryview(view.data), pytest.raises(BufferError):
            view.move(0)
        old = view.data
        view.move(0)
        assert old.released


def test_modes(path):
    with View(path) as view, pytest.raises(vmarena.Fault) as caught:
        view.write(0, b"x")
    assert caught.value.kind == Kind.PROTECTED
    with View(path, "copy on write") as view:
        view.write(0, b"xyz")
        memoryview(view.data)[3] = 0
        assert view.read(0, 4) == b"xyz\0" and path.read_bytes() == DATA
    with View(path, Mode.SHARED) as view:
        view.write(0, b"xyz")
        view.sync()
        assert path.read_bytes()[:4] == b"xyz\3"
        assert view.info().mode == Mode.SHARED


def test_fenced(path):
    for mode in (Mode.READ, Mode.COPY_ON_WRITE):
        with View(path, mode, fence="end") as view:
            assert view.read() == DATA
            with pytest.raises(vmarena.Fault) as caught:
                vmarena.read(view.data, len(DATA) + 1)
            assert (caught.value.kind, caught.value.distance) == (Kind.OVERRUN, 1)
    with View(path, fence="start", offset=10) as view, pytest.raises(vmarena.Fault) as caught:
        vmarena.read(view.data.address - 1, 1)
    assert (caught.value.kind, caught.value.distance) == (Kind.UNDERRUN, -1)


def test_a_file_cut_short(path):
    with View(path) as view:
        os.truncate(path, 0)
        with pytest.raises(vmarena.Fault) as caught:
            view.read(PAGE + 5, 10)
        fault = caught.value
        assert (fault.kind, fault.file_offset, fault.done) == (Kind.PAST_END_OF_FILE, PAGE + 5, 0)
        assert fault.signal.name == "SIGBUS" and "file" in fault.owner_name
        path.write_bytes(DATA)
        assert view.read() == DATA


def test_a_file_cut_short_under_foreign_code(path):
    with View(path) as view:
        os.truncate(path, 0)
        with pytest.raises(vmarena.Fault) as caught:
            vmarena.call(bytes, view.data)
        assert caught.value.kind == Kind.PAST_END_OF_FILE


def test_advice_and_residency(path):
    with View(path) as view:
        for advice in Advice:
            view.advise(advice)
        view.advise("will need", 10, 100)
        view.populate()
        info = view.info()
        assert info.file_size == len(DATA) and info.resident == vmarena.page_round_up(len(DATA))
        view.lock(0, 10)
        view.unlock()


@pytest.mark.parametrize(
    ("name", "code"),
    [("/nonexistent/file", errno.ENOENT), ("/", errno.EISDIR), ("/dev/null", errno.ENODEV), (-1, errno.EBADF),
     (12345, errno.EBADF)],
)
def test_files_that_cannot_be(name, code):
    with pytest.raises(vmarena.Error) as caught:
        View(name)
    assert caught.value.errno == code and caught.value.strerror


def test_a_closed_file(path):
    file = open(path, "rb")  # noqa: SIM115
    file.close()
    with pytest.raises(ValueError, match="closed"):
        View(file)


def test_wrong_arguments(path):
    for wrong in (None, 1.5, object()):
        with pytest.raises(TypeError):
            View(wrong)
    with pytest.raises(ValueError, match="null"):
        View(b"a\0b")
    with pytest.raises(OverflowError):
        View(1 << 40)
    with pytest.raises(ValueError):
        View(path, "readonly")
    for keywords in ({"offset": -1}, {"length": -1}, {"guard": -1}):
        with pytest.raises(ValueError):
            View(path, **keywords)
    for keywords in ({"offset": len(DATA)}, {"length": len(DATA) + 1}, {"offset": 1 << 62}):
        with pytest.raises(vmarena.Error) as caught:
            View(path, **keywords)
        assert caught.value.errno == errno.ERANGE
    with View(path) as view:
        for start, size in ((-1, 1), (0, -1), (0, len(DATA) + 1), (len(DATA) + 1, 0), (1 << 70, 1)):
            with pytest.raises(ValueError, match="leave the view"):
                view.read(start, size)
        with pytest.raises(ValueError, match="leave the view"):
            view.write(len(DATA) - 1, b"xy")
        for use in (lambda: view.sync(len(DATA) + 1), lambda: view.lock(0, len(DATA) + 1),
                    lambda: view.populate(len(DATA), 1)):
            with pytest.raises(vmarena.Error) as caught:
                use()
            assert caught.value.errno == errno.ERANGE
        with pytest.raises(ValueError):
            view.advise("never")


def test_an_empty_file(tmp_path):
    (tmp_path / "empty").touch()
    with pytest.raises(vmarena.Error) as caught:
        View(tmp_path / "empty")
    assert caught.value.errno == errno.ENODATA


def test_no_close_under_a_buffer(path):
    view = View(path)
    with memoryview(view.data), pytest.raises(BufferError):
        view.close()
    view.close()
    data = View(path).data
    assert bytes(data) == DATA
