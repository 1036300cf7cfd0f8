"""What a notebook uses is read from its code."""

import ast

import pytest

from diptych.base import workspace
from diptych.execution.cache import import_graph


def names(*cells, folders=()):
    modules, _ = import_graph.used_by(cells, folders)
    base = workspace.PACKAGE
    return {p.relative_to(base).as_posix() if p.is_relative_to(base) else p.name for p in modules}


def test_what_is_imported_counts_and_what_that_imports():
    used = names("from diptych.core.evaluation import leaderboard\nleaderboard.compare({})")
    assert {
        "core/__init__.py",
        "core/evaluation/leaderboard.py",
        "core/evaluation/stats.py",
    } <= used
    assert not [name for name in used if name.startswith(("mlops", "llmops", "reporting"))]


def test_imports_inside_functions_and_modules_run_by_name_count():
    assert "core/evaluation/stats.py" in names(
        "def f():\n    from diptych.core.evaluation.stats import wilson"
    )
    assert "llmops/server/llama.py" in names('run(["python", "-m", "diptych.llmops.server.llama"])')
    assert "llmops/client/local_transport.py" in names("from diptych.llmops.client import endpoint")


@pytest.mark.parametrize(
    "cell",
    [
        "%matplotlib inline\nimport own",
        "%%time\nimport own",
        "files = !ls\nown?\nimport own",
        "await f()\nimport own",
        "if True:\n    %time import numpy\n    import own",
        "import own.part",
        "%run own.py",
    ],
)
def test_the_users_own_modules_are_found_under_any_magic(cell, tmp_path):
    (tmp_path / "own.py").write_text("from beside import x\nimport numpy")
    (tmp_path / "beside.py").write_text("")
    (tmp_path / "unused.py").write_text("")
    assert names(cell, folders=[tmp_path]) == {"own.py", "beside.py"}


def test_relative_imports_are_followed(tmp_path):
    package = tmp_path / "own"
    package.mkdir()
    (package / "__init__.py").write_text("from diptych.base import hashing")
    assert "base/hashing.py" in names("import own", folders=[tmp_path])
    package = workspace.PACKAGE / "execution" / "x.py"
    tree = ast.parse("from . import runner\nfrom ..core import data\nfrom .cache import entries")
    found = import_graph._facts(tree, import_graph._module_name(package), False)
    assert found.imports == (
        "diptych.execution.runner", "diptych.core.data", "diptych.execution.cache.entries",
    )  # fmt: skip


def test_code_that_cannot_be_read_uses_everything():
    everything = {p.relative_to(workspace.PACKAGE).as_posix()
                  for p in workspace.PACKAGE.rglob("*.py")}  # fmt: skip
    assert names("def broken(:") == everything
    assert names("%%bash\nls | wc -l") == set()


def test_files_that_modules_read_are_named():
    _, read = import_graph.used_by(
        ["from diptych.llmops.client import providers\nfrom diptych.llmops.prompts import prompt"]
    )
    inside = {p.relative_to(workspace.repo_root()).as_posix() for p in read}
    assert {"params/prompts", "params/endpoints.yaml"} <= inside
    _, read = import_graph.used_by(["from diptych.core.data import tasks"])
    inside = {p.relative_to(workspace.PACKAGE).as_posix() for p in read}
    assert {"assets/lexicon", "assets/datasheets", "assets/reviews_handwritten.csv"} <= inside


def test_what_was_parsed_is_remembered_and_a_damaged_memory_is_not_missed(tmp_path):
    (tmp_path / "own.py").write_text("import beside")
    (tmp_path / "beside.py").write_text("")
    import_graph._known.cache_clear()
    first = names("import own", folders=[tmp_path])
    import_graph.remember()
    stored = workspace.home() / "cache" / "imports-2.json"
    for damage in (None, b"{", b"[1]", b'{"own": 1}'):
        if damage is not None:
            stored.write_bytes(damage)
        import_graph._known.cache_clear()
        assert names("import own", folders=[tmp_path]) == first
    (tmp_path / "own.py").write_text("")
    assert names("import own", folders=[tmp_path]) == {"own.py"}
