"""A real JupyterLab, opened in Chromium as `make lab` opens it."""

import json
import os
import subprocess
import sys
import urllib.request

import lab
import pytest

from diptych.base.errors import ParameterError
from diptych.execution import lab as started
from diptych.execution.refresh import in_order


def get(opened, path: str):
    with urllib.request.urlopen(f"{opened.address}/{path}") as answer:
        return answer.geturl(), answer.read()


def test_the_entrance_opens_and_the_parameters_are_in_sight(opened):
    address, _ = get(opened, "")
    assert address.endswith("/lab/tree/notebooks/start_here.ipynb")
    names = {entry["name"] for entry in json.loads(get(opened, "api/contents")[1])["content"]}
    assert {"notebooks", "params"} <= names


def test_opening_and_saving_changes_nothing_and_asks_nothing(opened):
    opened.open("start_here")
    opened.command("docmanager:save")
    assert lab.git(opened.folder, "status", "--short") == ""
    assert opened.js("document.querySelectorAll('.jp-Dialog, .Toastify__toast').length") == 0
    outside = [url for url in opened.chromium.requests if not url.startswith(opened.address)]
    assert [url for url in outside if not url.startswith(("data:", "blob:"))] == []


def test_the_kernel_is_warm_and_has_the_commands_and_widgets(opened):
    opened.open("start_here")
    cell = opened.insert(
        "import os, shutil, sys, warnings\n"
        "warnings.simplefilter('error')\n"
        "import ipympl, tqdm.auto\n"
        "is_child = os.environ['JPY_PARENT_PID'] == str(os.getppid())\n"
        "print(is_child, shutil.which('diptych'), sep='|')\n"
        "!diptych --version"
    )
    opened.run(cell)
    assert opened.errors() == []
    found, version = opened.text(cell).split("\n", 1)
    parent, command = found.strip().split("|")
    # a kernel started afresh is a child of the server
    assert (parent, command) == ("False", os.path.join(os.path.dirname(sys.executable), "diptych"))
    assert version.strip().startswith("diptych, version")


def test_a_terminal_has_the_commands_although_the_server_has_none_itself(opened, tmp_path):
    note = tmp_path / "which"
    line = json.dumps(f"command -v diptych > {note}.part; mv {note}.part {note}\r")
    opened.js(
        "jupyterapp.serviceManager.terminals.startNew()"
        f".then(session => session.send({{type: 'stdin', content: [{line}]}}))"
    )
    lab.until(note.exists)
    assert note.read_text().strip() == str(lab.Path(sys.executable).with_name("diptych"))


@pytest.mark.long
def test_the_theme_follows_the_system_as_figures_do(opened):
    for dark, name in ((True, "JupyterLab Dark"), (False, "JupyterLab Light")):
        opened.open("start_here", dark=dark, ready=False)
        lab.until(lambda name=name: opened.js("document.body?.dataset.jpThemeName") == name)


def test_the_version_of_python_in_git_stays(tmp_path):
    class Contents:
        root_dir = str(tmp_path)

    for stored, saved in (("3.14.1", "3.14.1"), (None, "3.11.7")):
        language = {"version": stored} if stored else {}
        (tmp_path / "a.ipynb").write_text(json.dumps({"metadata": {"language_info": language}}))
        content = {"metadata": {"language_info": {"version": "3.11.7"}}}
        model = {"type": "notebook", "content": content}
        started.keep_language(model=model, path="/a.ipynb", contents_manager=Contents())
        assert content["metadata"]["language_info"]["version"] == saved


def test_root_is_told_what_to_do(monkeypatch):
    monkeypatch.setattr(started.os, "geteuid", lambda: 0)
    monkeypatch.setattr(started, "CONTAINER", ())
    monkeypatch.delenv("container", raising=False)
    with pytest.raises(ParameterError, match="make lab ARGS=--allow-root"):
        started.as_root([])
    assert not started.as_root(["--allow-root"])
    monkeypatch.setenv("container", "podman")
    assert started.as_root([])


def test_no_browser_is_opened_where_none_can_show():
    code = "from diptych.execution.lab import defaults; print('--no-browser' in defaults())"
    for variables, expected in (({}, "True"), ({"DISPLAY": ":0"}, "False")):
        there = {k: v for k, v in os.environ.items() if k not in ("DISPLAY", "BROWSER")}
        there.pop("WAYLAND_DISPLAY", None)
        done = subprocess.run(
            [sys.executable, "-c", code], env=there | variables, capture_output=True, text=True
        )
        if sys.platform == "linux":
            assert done.stdout.strip() == expected


def test_every_notebook_names_the_kernel_that_jupyterlab_makes_warm():
    for path in in_order():
        spec = json.loads(path.read_text())["metadata"]["kernelspec"]
        assert spec["name"] == "python3"
