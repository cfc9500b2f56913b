# SPDX-License-Identifier: MIT
"""Compiles the examples as an ordinary release build does: optimised, and without a sanitizer."""

import importlib.util
import os
import subprocess
import sys
import sysconfig

import pytest


@pytest.fixture(scope="session")
def compiled(tmp_path_factory):
    """compiled(source, option, ...): the path of a shared library."""

    def build(source, *options):
        library = tmp_path_factory.mktemp("built") / f"{source.stem}.so"
        compiler = os.environ.get("CC", "cc")
        subprocess.run([compiler, "-O2", "-g", "-shared", "-fPIC", source, "-o", library, *options], check=True)
        return library

    return build


@pytest.fixture(scope="session")
def extension(compiled):
    """extension(source, option, ...): a module of CPython."""

    def load(source, *options):
        path = compiled(source, f"-I{sysconfig.get_paths()['include']}", *options)
        spec = importlib.util.spec_from_file_location(source.stem, path)
        module = sys.modules[source.stem] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module

    return load
