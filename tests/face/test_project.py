"""The wheel in an empty folder, and the project that `diptych init` writes."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

import diptych
from diptych.base import groups
from diptych.base.errors import NotebookFailed, ParameterError
from diptych.face import project

HIDING = """
import sys
class Hidden:
    def find_spec(self, name, *_):
        if name.partition(".")[0] in {!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Hidden())
"""
ROOT = Path(diptych.__file__).parents[2]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """The wheel, unpacked as pip unpacks it; its dependencies are those of this environment."""
    source, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    for name in ("lib", *project.COPIED):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("*.egg-info"))
    for name in ("pyproject.toml", "setup.py", "MANIFEST.in", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "-q",
         "-w", str(out), str(source)],
        check=True, capture_output=True,
    )  # fmt: skip
    [built] = out.glob("*.whl")
    assert built.stat().st_size < 40e6
    site = tmp_path_factory.mktemp("site")
    zipfile.ZipFile(built).extractall(site)
    return site


@pytest.fixture
def rows(tmp_path) -> Path:
    draw = np.random.default_rng(1)
    age, fee = draw.normal(45, 12, 400).round(1), draw.gamma(3, 9, 400).round(2)
    churned = np.where(age / 20 + fee / 30 + draw.normal(0, 0.6, 400) > 3.2, "yes", "no")
    path = tmp_path / "my churn.csv"
    pd.DataFrame({"age": age, "fee": fee, "churned": churned}).to_csv(path, index=False)
    return path


def call(site: Path, folder: Path, *words: str, without: str = "") -> subprocess.CompletedProcess:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, [without, str(site)]))}
    environment.pop("DIPTYCH_HOME", None)
    return subprocess.run(words, cwd=folder, env=environment, capture_output=True, text=True)


def cli(site: Path, folder: Path, *words: str, **options) -> subprocess.CompletedProcess:
    return call(site, folder, sys.executable, "-m", "diptych", *words, **options)


def test_the_wheel_works_in_an_empty_folder_with_the_core_alone(wheel, tmp_path, rows):
    """Packages of groups are hidden, in kernels too; the part that needs one says so."""
    core = tmp_path / "core"
    core.mkdir()
    (core / "sitecustomize.py").write_text(HIDING.format(set(groups.PACKAGES)))
    here = tmp_path / "empty"
    here.mkdir()
    shutil.copy(rows, here / "my.csv")
    listed = cli(wheel, here, "list", "--json", without=str(core))
    assert "mlops/2_build" in listed.stdout, listed.stderr
    assert "sentiment" in cli(wheel, here, "scenarios", without=str(core)).stdout
    words = ("-p", "task=my.csv", "-p", "text_column=", "-p", "label_column=churned")
    run = cli(wheel, here, "run", "mlops/1_data", *words, without=str(core))
    assert run.returncode == 0, run.stderr
    assert Path(run.stdout.strip()).is_relative_to(here / ".diptych")
    lab = cli(wheel, here, "lab", without=str(core))
    assert lab.returncode == 2
    assert "pip install 'diptych[lab]'" in lab.stderr
    assert (wheel / "diptych/project/docs/plugins.md").is_file()
    assert not list((wheel / "diptych" / "project").rglob(".diptych"))


@pytest.mark.long
def test_a_project_has_all_that_make_needs(wheel, tmp_path, rows):
    done = cli(wheel, tmp_path, "init", "mine", "--from", str(rows), "--text-column", "",
               "--label-column", "churned")  # fmt: skip
    assert done.returncode == 0, done.stderr
    mine = tmp_path / "mine"
    task = yaml.safe_load((mine / "params/tasks/my_churn.yaml").read_text())
    assert task == {"task": "data/my churn.csv", "text_column": "", "label_column": "churned"}
    assert yaml.safe_load((mine / ".github/workflows/test.yml").read_text())["jobs"]
    assert "@" not in (mine / "Makefile").read_text().replace("\t@", "")
    tested = call(wheel, mine, "make", "test", f"PY={sys.executable}")
    assert tested.returncode == 0, tested.stdout + tested.stderr
    assert "Ran 2 tests" in tested.stderr
    assert (mine / ".diptych" / "runs").is_dir()
    (mine / "plugins.py").write_text("import nothing_of_this_name\n")
    broken = call(wheel, mine, "make", "test", f"PY={sys.executable}")
    assert broken.returncode
    assert "nothing_of_this_name" in broken.stderr


@pytest.mark.long
@pytest.mark.parametrize("label", ["churned", "fee"])  # a class, a number
def test_a_project_makes_its_report(wheel, tmp_path, rows, label):
    words = ("--text-column", "", "--label-column", label)
    cli(wheel, tmp_path, "init", "mine", "--from", str(rows), *words)
    done = call(wheel, tmp_path / "mine", "make", "report", f"PY={sys.executable}")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "mine" / "site" / "index.html").is_file()


def test_a_folder_that_holds_something_is_left_alone(tmp_path, rows):
    with pytest.raises(ParameterError, match="is there already and not empty; name a new folder"):
        project.init(tmp_path)


def test_rows_that_cannot_be_used_write_nothing(tmp_path, rows):
    with pytest.raises(ParameterError, match="gone"):
        project.init(tmp_path / "new", rows, text_column="", label_column="gone")
    assert not (tmp_path / "new").exists()


def test_a_column_that_the_table_lacks_is_refused(tmp_path, rows):
    with pytest.raises(
        ParameterError, match=r"text_column: 'message' is no column.*age, fee, chur"
    ):
        project.init(tmp_path / "new", rows, text_column="message", label_column="churned")


def test_texts_get_a_scenario_of_both_sides(tmp_path):
    lines = [f"{'good' if n % 3 else 'bad'} thing {n},{n % 3 > 0},2026-0{1 + n % 6}-11\n"
             for n in range(90)]  # fmt: skip
    table = tmp_path / "notes.csv"
    table.write_text("note,liked,day\n" + "".join(lines))
    columns = {"text_column": "note", "label_column": "liked", "time_column": "day"}
    project.init(tmp_path / "mine", table, **columns)
    scenario = yaml.safe_load((tmp_path / "mine/params/scenarios/notes.yaml").read_text())
    assert {"mlops/6_improve", "llmops/6_improve"} < set(scenario["notebooks"])


def test_every_link_of_a_project_leads_somewhere(tmp_path):
    project.init(tmp_path / "mine")
    pages = [path for path in (tmp_path / "mine").rglob("*") if path.suffix in (".md", ".ipynb")]
    links = [
        (page, link)
        for page in pages
        for link in re.findall(r"\]\((\.{0,2}[\w/][^)#\s:]*)[^)\s:]*\)", page.read_text("utf-8"))
    ]
    assert len(links) > 10
    lost = [(page.name, link) for page, link in links if not (page.parent / link).exists()]
    assert lost == []


def test_make_takes_the_python_that_has_diptych(tmp_path):
    """The shell's; else its own; and the command that is shown names one that the shell lacks."""
    project.init(tmp_path / "my shop")
    tools = tmp_path / "bin"
    tools.mkdir()
    for name in ("make", "sh", "grep", "env"):
        (tools / name).symlink_to(shutil.which(name))

    def made(*words: str) -> str:
        environment = {"PATH": str(tools), "PYTHONPATH": str(ROOT / "lib")}
        return subprocess.run(
            ["make", "-n", "report", *words], cwd=tmp_path / "my shop", env=environment,
            capture_output=True, text=True, check=True,
        ).stdout  # fmt: skip

    assert '".venv/bin/python" -m diptych report' in made()
    word = shlex.split(project.next_step(tmp_path / "my shop"))[-1]
    assert word in ("report", f"PY={sys.executable}")
    (tools / "python").write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
    (tools / "python").chmod(0o755)
    assert '"python" -m diptych report' in made()


def test_what_is_missing_names_its_installation():
    error = ModuleNotFoundError("No module named 'torch.nn'", name="torch.nn")
    assert groups.remedy(error).endswith("pip install 'diptych[torch]'")
    assert groups.remedy("No module named 'theirs'") == ""
    failed = NotebookFailed(3, "ModuleNotFoundError", "No module named 'peft'", "")
    assert "pip install 'diptych[torch]'" in str(failed)


def test_scenarios_are_listed(capsys):
    done = cli(ROOT / "lib", ROOT, "scenarios", "--json")
    assert {each["name"] for each in json.loads(done.stdout)} >= {"sentiment", "chatbot"}
