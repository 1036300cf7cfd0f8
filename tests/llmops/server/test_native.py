"""A build for this processor is used where it lies, and what hinders one is named."""

import os
import subprocess
import sys

import pytest

from diptych.llmops.server import native

LOADED = "from diptych.llmops.server import native; native.activate(); import xllamacpp as x; "


def loaded(**environment):
    command = [sys.executable, "-c", LOADED + "print(x.__file__)"]
    done = subprocess.run(command, env=os.environ | environment, capture_output=True, text=True,
                          check=True)  # fmt: skip
    return done.stdout.strip()


def test_a_build_is_used_unless_it_is_switched_off(tmp_path, monkeypatch):
    monkeypatch.setenv("DIPTYCH_MODELS", str(tmp_path / "models"))
    assert not native.activate()
    package = native.folder() / native.PACKAGE
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("")
    assert loaded() == str(package / "__init__.py")
    assert loaded(DIPTYCH_NATIVE="0") != str(package / "__init__.py")


def test_a_missing_compiler_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(native.NativeError, match=r"cmake, c\+\+: not on this machine; install it"):
        native.build()


def test_a_build_that_fails_leaves_nothing(tmp_path, monkeypatch):
    monkeypatch.setenv("DIPTYCH_MODELS", str(tmp_path / "models"))
    for tool in native.TOOLS:
        (tmp_path / tool).write_text("#!/bin/sh\nexit 1\n")
        (tmp_path / tool).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", "")
    with pytest.raises(native.NativeError, match="was not built; the lines above say why"):
        native.build()
    assert not list(native.folder().parent.iterdir())
