"""The environment that processes share: read and written in one module."""

import ast
import os
from pathlib import Path

from diptych.base import process_environment, workspace

SHARED = {"DIPTYCH_RUN", "DIPTYCH_HOME", "DIPTYCH_ENGINE", "DIPTYCH_LEDGER"}
WRITERS = {
    "base/process_environment.py",
    "core/store/registry.py",  # MLflow is told by variables alone
    "execution/kernels/kernel.py",  # a forked kernel takes the environment of its caller
    "execution/kernels/zygote.py",  # no kernel is asked for yet
}


def is_environ(node):
    return isinstance(node, ast.Attribute) and node.attr == "environ"


def first(node):
    """Return a call's first argument if it is a constant."""
    return node.args[0].value if node.args and isinstance(node.args[0], ast.Constant) else ""


def uses(tree):
    """Yield whether os.environ is written, and the name of the variable if it is written there."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Subscript) and is_environ(node.value):
            name = node.slice.value if isinstance(node.slice, ast.Constant) else ""
            yield not isinstance(node.ctx, ast.Load), name
        if (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Attribute)
            and is_environ(node.func.value)
        ):
            name = (
                node.args[0].value if node.args and isinstance(node.args[0], ast.Constant) else ""
            )
            yield node.func.attr in ("setdefault", "update", "pop", "clear"), name


def modules():
    for path in sorted(workspace.PACKAGE.rglob("*.py")):
        yield path.relative_to(workspace.PACKAGE).as_posix(), ast.parse(path.read_bytes())


def test_only_one_module_reads_what_processes_share():
    readers = {name for name, tree in modules() for _, variable in uses(tree) if variable in SHARED}
    assert readers == {"base/process_environment.py"}


def test_nobody_else_writes_the_environment():
    writers = {name for name, tree in modules() for writes, _ in uses(tree) if writes}
    assert writers == WRITERS


def test_a_kernel_is_given_only_what_is_known(tmp_path):
    variables = process_environment.for_kernel(tmp_path, "")
    assert variables == {"DIPTYCH_HOME": str(tmp_path)}
    run = tmp_path / ".a.partial"
    variables = process_environment.for_kernel(tmp_path, "papermill", run)
    assert variables == {
        "DIPTYCH_HOME": str(tmp_path), "DIPTYCH_ENGINE": "papermill", "DIPTYCH_RUN": str(run),
    }  # fmt: skip


def test_what_a_kernel_is_given_is_read_back(tmp_path, monkeypatch):
    for name, value in process_environment.for_kernel(tmp_path, "x", tmp_path / "run").items():
        monkeypatch.setenv(name, value)
    assert process_environment.workspace_folder() == tmp_path
    assert process_environment.engine_name() == "x"
    assert process_environment.run_folder() == tmp_path / "run"
    assert "DIPTYCH_RUN" not in process_environment.without_run()
    assert process_environment.without_run()["DIPTYCH_ENGINE"] == "x"


def test_a_worker_keeps_what_the_user_set(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "environ", {"OMP_NUM_THREADS": "7"})
    process_environment.limit_threads(2)
    process_environment.set_default_workspace(tmp_path)
    assert os.environ["OMP_NUM_THREADS"] == "7"
    assert os.environ["MKL_NUM_THREADS"] == "2"
    process_environment.set_default_workspace(Path("elsewhere"))
    assert os.environ["DIPTYCH_HOME"] == str(tmp_path)
