# SPDX-License-Identifier: MIT
"""The package builds from its source distribution in an empty folder, to one self-contained wheel for every CPython."""

import os
import platform
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

import vmarena

ROOT = Path(__file__).resolve().parents[3]
FILES = {
    "__init__.py", "_arena.py", "_child.py", "_faults.py", "_fenced.py", "_heap.py", "_inspect.py", "_numpy.py",
    "_owner.py", "_pytest_guard.py", "_view.py", "_vmarena.abi3.so", "_vmarena.pyi", "py.typed", "pytest_plugin.py",
    "strategies.py",
}


# meson, ninja and swig may be in the environment of the interpreter that runs this.
ENVIRONMENT = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}


def run(*command, cwd, **more):
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, cwd=cwd, env={**ENVIRONMENT, **more})
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """The source distribution, unpacked."""
    if not (ROOT / ".git").exists() or shutil.which("git") is None:
        pytest.skip("a source distribution is made of a git checkout")
    pytest.importorskip("mesonpy", reason="the build back end is not installed")
    folder = tmp_path_factory.mktemp("packed")
    run(sys.executable, "-c", f"import mesonpy; mesonpy.build_sdist({str(folder)!r})", cwd=ROOT)
    (packed,) = folder.glob("*.tar.gz")
    shutil.unpack_archive(packed, folder)
    return folder / packed.name.removesuffix(".tar.gz")


@pytest.fixture(scope="module")
def wheel(source, tmp_path_factory):
    folder = tmp_path_factory.mktemp("built")
    make = (sys.executable, "-m", "pip", "wheel", "-q", "--no-build-isolation", "--no-deps", "-w", folder, source)
    run(*make, cwd=folder)
    (wheel,) = folder.glob("*.whl")
    return wheel


def test_the_source_distribution_holds_every_file(source):
    """What lies behind a link, too: an archive of this kind has no links that leave their folder."""
    tracked = run("git", "ls-tree", "-r", "HEAD", cwd=ROOT).splitlines()
    links = {name for mode, name in ((line.split()[0], line.split("\t")[1]) for line in tracked) if mode == "120000"}
    assert links, "the test is about links"
    names = {line.split("\t")[1] for line in tracked}
    for link in links:
        target = os.path.normpath(os.path.join(os.path.dirname(link), os.readlink(ROOT / link)))
        behind = {link + name.removeprefix(target) for name in names if name == target or name.startswith(target + "/")}
        assert behind
        names = (names - {link}) | behind
    assert {str(path.relative_to(source)) for path in source.rglob("*") if not path.is_dir()} == names | {"PKG-INFO"}
    assert not any(path.is_symlink() for path in source.rglob("*"))


def test_the_wheel_is_for_every_cpython(wheel):
    assert wheel.name.startswith(f"vmarena-{vmarena.__version__}-cp311-abi3-linux_")


def test_the_wheel_holds_the_package_and_nothing_else(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.removeprefix("vmarena/") for name in names if name.startswith("vmarena/")} == FILES
    others = {name.split("/")[0] for name in names if not name.startswith("vmarena/")}
    assert others == {f"vmarena-{vmarena.__version__}.dist-info"}
    assert any(name.endswith("licenses/LICENSE") for name in names)


def test_the_wheel_works_by_itself(wheel, tmp_path):
    run(sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", tmp_path / "site", wheel, cwd=tmp_path)
    program = (
        "import vmarena\n"
        "try: vmarena.read(vmarena.fenced(b'1234'), 5)\n"
        "except vmarena.Fault as fault: print(vmarena.__file__, fault.kind, fault.distance)"
    )
    said = run(sys.executable, "-c", program, cwd=tmp_path, PYTHONPATH=str(tmp_path / "site"), LD_LIBRARY_PATH="")
    assert said.split() == [str(tmp_path / "site" / "vmarena" / "__init__.py"), "overrun", "1"]


def test_no_library_is_needed_and_none_exposed(wheel, tmp_path):
    if shutil.which("readelf") is None or shutil.which("nm") is None:
        pytest.skip("no readelf and nm here")
    module = zipfile.ZipFile(wheel).extract("vmarena/_vmarena.abi3.so", tmp_path)
    needed = [line for line in run("readelf", "-d", module, cwd=tmp_path).splitlines() if "NEEDED" in line]
    assert not any("vmarena" in line for line in needed)
    exported = {line.split()[-1] for line in run("nm", "-D", "--defined-only", module, cwd=tmp_path).splitlines()}
    assert exported == {"PyInit__vmarena"}


def settings():
    return tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["cibuildwheel"]


def test_the_wheels_are_for_the_oldest_glibc_that_has_the_symbols(tmp_path):
    """Linked against that glibc, as Zig has it; the module needs a symbol that the image before (2.17) has not."""
    pytest.importorskip("ziglang", reason="Zig, which links against glibc of any version, is not installed")
    machine = platform.machine()
    image = settings()[f"manylinux-{machine}-image"]
    wanted = tuple(map(int, image.removeprefix("manylinux_").split("_")))
    compiler = f"{sys.executable} -m ziglang cc -target {machine}-linux-gnu.{wanted[0]}.{wanted[1]}"
    options = ["-Dpython=enabled", *(f"-D{part}=disabled" for part in ("tests", "examples", "bench", "tools"))]
    run("meson", "setup", tmp_path / "build", ROOT, "--default-library=static", *options, cwd=tmp_path, CC=compiler)
    run("ninja", "-C", tmp_path / "build", "bindings/python/_vmarena.abi3.so", cwd=tmp_path)
    names = run("readelf", "-V", tmp_path / "build/bindings/python/_vmarena.abi3.so", cwd=tmp_path)
    needed = max(tuple(map(int, version.split("."))) for version in re.findall(r"GLIBC_([0-9.]+)", names))
    assert (2, 17) < needed <= wanted


def test_cibuildwheel_takes_its_settings():
    pytest.importorskip("cibuildwheel", reason="cibuildwheel is not installed")
    said = run(sys.executable, "-m", "cibuildwheel", "--print-build-identifiers", "--platform", "linux", cwd=ROOT)
    assert said.split() == [f"cp311-{kind}_{machine}" for kind in ("manylinux", "musllinux")
                            for machine in ("x86_64", "aarch64")]
