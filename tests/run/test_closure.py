"""What a notebook uses is read from its code."""

import ast

import pytest

from diptych.run import closure, workspace


def names(*cells, folders=()):
    modules, _ = closure.used_by(cells, folders)
    base = workspace.PACKAGE
    return {p.relative_to(base).as_posix() if p.is_relative_to(base) else p.name for p in modules}


def test_what_is_imported_counts_and_what_that_imports():
    used = names("from diptych.core import board\nboard.compare({})")
    assert {"__init__.py", "core/__init__.py", "core/board.py", "core/stats.py"} <= used
    assert not [name for name in used if name.startswith(("mlops", "llmops", "report"))]


def test_imports_inside_functions_and_modules_run_by_name_count():
    assert "core/stats.py" in names("def f():\n    from diptych.core.stats import wilson")
    assert "llmops/serve.py" in names('run(["python", "-m", "diptych.llmops.serve"])')
    assert "llmops/transport.py" in names("from diptych.llmops import endpoint")


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
    (package / "__init__.py").write_text("from diptych.run import digests")
    assert "run/digests.py" in names("import own", folders=[tmp_path])
    package = workspace.PACKAGE / "run" / "x.py"
    tree = ast.parse("from . import a\nfrom ..core import b\nfrom .c import d")
    found = closure._facts(tree, closure._module_name(package), False)
    assert found.imports == ("diptych.run.a", "diptych.core.b", "diptych.run.c.d")


def test_code_that_cannot_be_read_uses_everything():
    everything = {p.relative_to(workspace.PACKAGE).as_posix()
                  for p in workspace.PACKAGE.rglob("*.py")}  # fmt: skip
    assert names("def broken(:") == everything
    assert names("%%bash\nls | wc -l") == set()


def test_files_that_modules_read_are_named():
    _, read = closure.used_by(["from diptych.llmops import prompts, providers"])
    inside = {p.relative_to(workspace.repo_root()).as_posix() for p in read}
    assert {"params/prompts", "params/endpoints.yaml"} <= inside
    _, read = closure.used_by(["from diptych.core import tasks"])
    inside = {p.relative_to(workspace.PACKAGE).as_posix() for p in read}
    assert {"assets/lexicon", "assets/datasheets", "assets/reviews_handwritten.csv"} <= inside


def test_what_was_parsed_is_remembered_and_a_damaged_memory_is_not_missed(tmp_path):
    (tmp_path / "own.py").write_text("import beside")
    (tmp_path / "beside.py").write_text("")
    closure._known.cache_clear()
    first = names("import own", folders=[tmp_path])
    closure.remember()
    stored = workspace.home() / "cache" / "imports.json"
    for damage in (None, b"{", b"[1]", b'{"own": 1}'):
        if damage is not None:
            stored.write_bytes(damage)
        closure._known.cache_clear()
        assert names("import own", folders=[tmp_path]) == first
    (tmp_path / "own.py").write_text("")
    assert names("import own", folders=[tmp_path]) == {"own.py"}
