import json
import signal
import subprocess
import sys

import pytest

from diptych import __version__, cli
from diptych.base import workspace


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    """A workspace of the test's own, and the signal handlers as they were."""
    monkeypatch.setenv("DIPTYCH_HOME", str(tmp_path / "home"))
    before = signal.getsignal(signal.SIGTERM)
    yield tmp_path / "home"
    signal.signal(signal.SIGTERM, before)


@pytest.fixture
def repository(tmp_path, monkeypatch):
    """A repository with two notebooks; the working directory is in it."""
    root = tmp_path / "repository"
    (root / "notebooks" / "mlops").mkdir(parents=True)
    (root / "params").mkdir()
    (root / "pyproject.toml").write_text("")
    title = {"cell_type": "markdown", "metadata": {}, "source": ["# Which model?\n", "Goals"]}
    cell = {
        "cell_type": "code",
        "metadata": {"tags": ["parameters"]},
        "source": [
            "max_depth: int = 4  # depth of a tree [1..12]\n",
            'task: str = "reviews"  # a task {reviews | tumours}',
        ],
    }
    for name, cells in (("mlops/2_build", [title, cell]), ("start_here", [title])):
        content = {"cells": cells, "metadata": {}, "nbformat": 4, "nbformat_minor": 5}
        (root / "notebooks" / f"{name}.ipynb").write_text(json.dumps(content))
    monkeypatch.chdir(root)
    return root


@pytest.fixture
def diptych(capsys):
    """Return a function that runs the command: its exit code, stdout and stderr."""

    def diptych(*arguments):
        with pytest.raises(SystemExit) as ended:
            cli.main(list(arguments))
        return ended.value.code, *capsys.readouterr()

    return diptych


def test_version(diptych):
    assert diptych("--version") == (0, f"diptych, version {__version__}\n", "")


def test_help_loads_nothing_heavy():
    heavy = ["papermill", "nbclient", "nbformat", "nbconvert", "pandas", "numpy", "yaml", "tqdm"]
    code = (
        "import sys\nfrom diptych import cli\n"
        "try: cli.main(['--help'])\nexcept SystemExit: pass\n"
        f"print('LOADED', sorted(set({heavy}) & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "LOADED []"
    names = (
        "run sweep runs compare rerun prune archive why list report lab doctor serve"  # as listed
    )
    for command in names.split():
        assert f"\n  {command} " in done.stdout


def test_the_list_of_notebooks(diptych, repository):
    code, out, _ = diptych("list")
    lines = out.splitlines()
    assert code == 0
    assert lines[0].split() == ["notebook", "parameters", "question"]
    assert lines[1].split(maxsplit=2) == ["mlops/2_build", "2", "Which model?"]
    assert lines[2].split(maxsplit=2) == ["start_here", "0", "Which model?"]
    assert "`diptych list mlops/2_build`" in lines[-1]


def test_the_list_of_parameters(diptych, repository):
    code, out, _ = diptych("list", "mlops/2_build")
    assert code == 0
    assert "mlops/2_build: Which model?" in out
    assert "max_depth  int   4          depth of a tree [1..12]" in out
    assert 'task       str   "reviews"  a task {reviews | tumours}' in out
    assert "diptych run mlops/2_build -p max_depth=4" in out
    code, out, _ = diptych("list", "start_here")
    assert code == 0
    assert "no cell tagged `parameters`" in out


def test_the_lists_in_json(diptych, repository):
    _, out, _ = diptych("list", "mlops/2_build", "--json")
    depth, task = json.loads(out)["parameters"]
    assert (depth["name"], depth["minimum"], depth["maximum"]) == ("max_depth", 1, 12)
    assert task["choices"] == ["reviews", "tumours"]
    _, out, _ = diptych("list", "--json")
    assert [each["notebook"] for each in json.loads(out)] == ["mlops/2_build", "start_here"]


def test_a_narrow_terminal_wraps_the_help(diptych, repository, monkeypatch):
    monkeypatch.setenv("COLUMNS", "52")
    _, out, _ = diptych("list", "mlops/2_build")
    lines = out.splitlines()
    at = next(index for index, line in enumerate(lines) if line.startswith("task"))
    assert lines[at].index("a task") == lines[at + 1].index("tumours}")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run", "mlops/2_build", "-p", "max_dept=5"], "Did you mean max_depth?"),
        (["run", "mlops/2_build", "-f", "nobody"], "nobody: no such parameter file."),
        (["run", "mlops/2_bild"], "Did you mean mlops/2_build?"),
        (["list", "mlops/2_bild"], "Did you mean mlops/2_build?"),
        (["run", "mlops/2_build", "--output", "s3:bucket/x"], "Write s3://BUCKET/FOLDER"),
        (["run", "mlops/2_build", "--name", "{regoin}"], "--name: {regoin}: unknown"),
        (["run", "mlops/2_build", "--timeout", "soon"], "'soon' is no time"),
        (["run", "mlops/2_build", "--cwd", "nowhere"], "--cwd nowhere: no such folder"),
        (["run", "mlops/2_build", "-r", "task"], "Write -r NAME=TEXT"),
        (["run", "mlops/2_build", "-b", "%"], "-b: not base64"),
        (["run", "mlops/2_build", "-p", "max_depth", "50"], "above the range"),
        (["sweep", "mlops/2_build", "--engine", "nobody"], "'nobody' is not one of"),
        (["run"], "Missing argument 'NOTEBOOK'"),
        (["nobody"], "No such command"),
    ],
)
def test_bad_input_ends_in_2_and_a_sentence(diptych, repository, home, arguments, message):
    code, out, err = diptych(*arguments)
    assert (code, out) == (2, "")
    assert message in err
    assert "Traceback" not in err
    assert not home.exists()


@pytest.mark.parametrize("command", ["run", "sweep"])
def test_a_limit_of_dollars_is_the_parameter_max_usd(diptych, repository, command):
    code, _, err = diptych(command, "mlops/2_build", "--max-usd", "1.0")
    assert code == 2
    assert "max_usd = 1.0: the notebook has no such parameter" in err
    code, _, err = diptych(command, "mlops/2_build", "--max-usd", "-1")
    assert (code, "-1.0 is not in the range" in err) == (2, True)


def test_a_workspace_that_cannot_be_made_is_named(diptych, repository, monkeypatch):
    monkeypatch.setenv("DIPTYCH_HOME", str(repository / "pyproject.toml"))
    code, _, err = diptych("run", "mlops/2_build")
    assert code == 2
    assert err.startswith("DIPTYCH_HOME: ")


def test_a_file_is_inspected(diptych, home, tmp_path):
    path = tmp_path / "rows.csv"
    path.write_text("size;label\n" + "".join(f"{i},5;{'ab'[i % 2]}\n" for i in range(40)))
    code, out, _ = diptych("inspect", str(path))
    assert code == 0
    for words in ("separator", "Columns", "size number", "a 20, b 20", "Next"):
        assert words in " ".join(out.split())
    content = json.loads(diptych("inspect", str(path), "--json")[1])
    assert content["columns"][0]["values"] == "0.5 to 39.5"
    assert content["command"].startswith("diptych run mlops/1_data -p task=")
    code, _, err = diptych("inspect", str(tmp_path / "none.csv"))
    assert (code, "there is no file" in err) == (1, True)


def test_a_column_that_is_not_there_is_refused_before_a_kernel_starts(diptych, home, tmp_path):
    (tmp_path / "my.csv").write_text("age,label\n" + "1,yes\n2,no\n" * 20)
    task = f"task={tmp_path / 'my.csv'}"
    code, out, err = diptych("run", "mlops/1_data", "-p", task, "-p", "label_column=labl")
    assert (code, out) == (2, "")
    assert err == (
        "label_column: there is no column 'labl'; the columns are 'age', 'label'. Did you mean "
        "'label'?\n"
    )
    assert not (home / "runs").exists()


def test_serve_model_names_its_options_and_what_it_needs(diptych):
    code, out, _ = diptych("serve", "model", "--help")
    assert code == 0
    for named in ("FOLDER", "--task", "--host", "--port", "--ledger", "--token-env", "8080"):
        assert named in out
    code, _, err = diptych("serve", "model", "--port", "0")
    assert code == 2
    assert "FOLDER or --task" in err


def test_an_unknown_scenario_is_refused(diptych, home):
    code, _, err = diptych("report", "nobody")
    assert code == 2
    assert err.startswith("nobody: no such scenario.")
    assert not home.exists()


def test_the_doctor_finds_this_installation_well(diptych, home):
    runs = workspace.runs()
    (runs / "20260101-000000-a-1").mkdir()
    (runs / "20260101-000000-a-2-failed").mkdir()
    (runs / ".20260101-000000-a-3.partial").mkdir()
    code, out, _ = diptych("doctor")
    assert code == 0
    assert "MISSING" not in out
    assert f"ok       workspace {home}" in out
    assert "runs: 2, 1 failed; tables: 0" in out
    assert "note     1 unfinished run folders" in out
    assert "mlflow.db: not there yet" in out


def test_the_doctor_names_what_is_broken_and_what_to_do(diptych, home, tmp_path, monkeypatch):
    metadata = tmp_path / "site" / "diptych-9.dist-info"
    metadata.mkdir(parents=True)
    requires = ["nobody-has-this", "click>=999", "pyyaml"]
    lines = ["Metadata-Version: 2.4", "Name: diptych", "Version: 9"]
    lines += [f"Requires-Dist: {each}" for each in requires]
    (metadata / "METADATA").write_text("\n".join(lines) + "\n")
    monkeypatch.syspath_prepend(tmp_path / "site")
    workspace.ledger_path().write_bytes(b"no database, but long enough to look like one" * 99)
    code, out, err = diptych("doctor")
    assert code == 1
    assert "MISSING  nobody-has-this is missing\n         -> run `make setup`" in out
    assert "needed click>=999" in out
    assert "ok       1 of 3 packages: pyyaml" in out
    assert "note     not installed: datasets (tables of the Hugging Face hub)" in out
    assert "pip install 'diptych[hub]'" in out
    assert "MISSING  ledger.db: file is not a database" in out
    assert "do what the arrows say" in err


def test_an_unknown_kernel_is_refused_with_those_there_are(diptych, repository):
    code, _, err = diptych("run", "start_here", "--kernel", "conda-env-gone-py")
    assert code == 2
    assert err.startswith("--kernel conda-env-gone-py: no kernel 'conda-env-gone-py' is installed;")
    assert "python3" in err


@pytest.mark.parametrize(
    "command",
    ["run", "sweep", "report", "rerun", "contrast", "notebooks", "endpoint check", "model record"],
)
def test_every_command_that_can_spend_takes_a_limit(command):
    group = cli.cli
    for word in command.split():
        group = group.commands[word]
    assert "max_usd" in [parameter.name for parameter in group.params]
