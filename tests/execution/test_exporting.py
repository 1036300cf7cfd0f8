"""Pages written again: options, where they come from, and PDF."""

import base64
import io
import json
import re
import shutil

import pytest
from click.testing import CliRunner
from execution.pages import kinds
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook
from page import Page
from PIL import Image

from diptych.base.errors import ParameterError
from diptych.cli import cli
from diptych.execution import exporting
from diptych.execution.pages import pdf
from diptych.execution.pages.look import Look
from diptych.execution.runner import prepare

CHART = """from IPython.display import display
schema = 'https://vega.github.io/schema/vega-lite/v6.json'
chart = {'$schema': schema, 'data': {'values': [{'a': 1}]}, 'mark': 'bar'}
display({'application/vnd.vegalite.v6.json': chart}, raw=True)
"""  # as altair names it, which the format of notebooks refuses


@pytest.fixture
def run(tmp_path, monkeypatch):
    """A finished run, as the runner leaves it, and the folder that one works in."""
    (tmp_path / "author").mkdir()
    (tmp_path / "author" / "logo.png").write_bytes(base64.b64decode(kinds.png(8, 8)))
    folder = tmp_path / "runs" / "20261124-001337-weekly-3f9a"
    folder.mkdir(parents=True)
    prose = new_markdown_cell("# Weekly\n\n![logo](logo.png) ![lost](gone.png)")
    cells = [prose, new_code_cell("secret_code = 1"), kinds.shown(image_png=kinds.png(900, 300))]
    kinds.save(new_notebook(cells=cells), folder / "notebook.ipynb")
    manifest = {
        "id": folder.name, "name": "weekly", "status": "ok", "title": "Weekly · region north",
        "path": str(tmp_path / "author" / "weekly.ipynb"), "started": "2026-11-24T00:13:37+00:00",
    }  # fmt: skip
    (folder / "manifest.json").write_text(json.dumps(manifest))
    monkeypatch.chdir(tmp_path)
    return folder


def exported(run, *options) -> str:
    done = CliRunner().invoke(cli, ["export", str(run), *options], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    path = run.parents[1] / "weekly.html"
    assert done.output.strip() == str(path)
    return path.read_text()


def test_a_page_is_written_here_and_the_run_stays_as_it_is(run):
    before = {path: path.read_bytes() for path in run.iterdir()}
    page = Page(exported(run))
    assert {path: path.read_bytes() for path in run.iterdir()} == before
    assert "secret_code" in page.text
    assert page.all("alt")[0] == "logo"
    assert "[lost: the picture gone.png is not on this page: there is no such file]" in page.text


@pytest.mark.parametrize(
    ("models", "box_speaks"),
    [(["local"], True), (["local/diptych?slots=2"], True), (["openai/gpt-5", "local"], True),
     (["local/qwen2.5-coder-0.5b"], False), (["recorded/smollm2-135m"], False), (None, False)],
)  # fmt: skip
def test_the_model_in_the_box_says_what_it_is(run, models, box_speaks, monkeypatch):
    """On the page of a run that asks it, and of one that builds on such a run."""
    monkeypatch.setenv("DIPTYCH_HOME", str(run.parents[1]))
    (run / "result.json").write_text("{}")
    later = run.parent / "20261124-001400-later-1a2b"
    shutil.copytree(run, later)
    first = json.loads((run / "manifest.json").read_text())
    above = {"models": models} if models else {}
    (run / "manifest.json").write_text(json.dumps(first | {"parameters": above}))
    below = first | {"id": later.name, "parameters": {"upstream": run.name}}
    (later / "manifest.json").write_text(json.dumps(below))
    sentence = "it is for tests, teaching and offline starts"
    assert [sentence in Page(exported(folder)).text for folder in (run, later)] == [box_speaks] * 2


def test_options_change_how_it_looks(run):
    (run.parents[1] / "own.css").write_text("h1 { color: teal } /* </style><script> */")
    (run.parents[1] / "own.html.j2").write_text(
        '{% extends "notebook.html.j2" %}{% block footer %}Ours & only ours{% endblock %}'
    )
    html = exported(
        run, "--title", "A 'new' <title>", "--logo", "author/logo.png", "--css", "own.css",
        "--accent", "#0a0", "--template", "own.html.j2", "--no-input",
    )  # fmt: skip
    page = Page(html)
    assert "A 'new' <title>" in page.text
    assert "Weekly" not in page.text
    assert "secret_code" not in html
    assert "h1 { color: teal }" in html
    assert "--accent: #0a0" in html
    assert "script" not in page.names()
    assert "Ours & only ours" in page.text
    assert next(a["alt"] for tag, a in page.tags if tag == "img") == "Logo"


def test_pictures_shrink_only_where_that_is_wanted(run):
    sizes = {}
    for options in ((), ("--shrink-images",)):
        html = exported(run, *options)
        pictures = re.findall(r'src="data:image/(\w+);base64,([^"]+)" alt="Picture', html)
        kind, content = pictures[0]
        sizes[kind] = len(content)
        assert Image.open(io.BytesIO(base64.b64decode(content))).size == (900, 300)
    assert sizes["webp"] < 0.6 * sizes["png"]


def test_options_come_from_the_notebook_a_file_and_the_command(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    nb = new_notebook(cells=[new_code_cell("week: int = 1", metadata={"tags": ["parameters"]})])
    nb.metadata["diptych"] = {"page": {"title": "Of metadata", "no_input": True, "trust": True}}
    kinds.save(nb, tmp_path / "weekly.ipynb")
    (tmp_path / "weekly.yaml").write_text("week: 7\npage:\n  title: Of the file\n")
    assert prepare("weekly.ipynb").look == Look(title="Of metadata", no_input=True)
    prepared = prepare("weekly.ipynb", ["weekly.yaml"])
    assert prepared.look == Look(title="Of the file", no_input=True)
    assert prepared.values["week"] == 7


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"titel": "x"}, "no option 'titel'; there are title, logo"),
        ({"no_input": "yes"}, "no_input is 'yes'; it must be yes or no"),
        ({"accent": "red;} body{}"}, "no colour of CSS"),
        ({"logo": "gone.png"}, "there is no file gone.png"),
    ],
)
def test_wrong_options_are_refused_before_anything_runs(tmp_path, options, message):
    nb = new_notebook(cells=[new_code_cell("", metadata={"tags": ["parameters"]})])
    nb.metadata["diptych"] = {"page": options}
    kinds.save(nb, tmp_path / "weekly.ipynb")
    with pytest.raises(ParameterError, match=re.escape(message)):
        prepare(tmp_path / "weekly.ipynb")


def test_without_a_browser_one_sentence_says_what_to_install(run, monkeypatch):
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr(pdf, "PLACES", ())
    done = CliRunner().invoke(cli, ["export", str(run), "--pdf"])
    assert done.exit_code == 1
    assert "install one (Debian: `apt install chromium`)" in done.output
    assert not list(run.parents[1].glob("*.pdf"))


@pytest.mark.skipif(pdf.find_browser() is None, reason="no browser that prints")
def test_a_pdf_holds_the_page(run):
    path = exporting.export(str(run), {"title": "On paper"}, pdf=True)
    assert path == run.parents[1] / "weekly.pdf"
    content = path.read_bytes()
    assert content.startswith(b"%PDF-")
    assert content.rstrip().endswith(b"%%EOF")
    assert len(re.findall(rb"/Type\s*/Page\b", content)) >= 1
    assert not list(run.parents[1].glob(".*partial"))


def test_a_run_without_input_is_remembered_and_written_so_again(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DIPTYCH_HOME", str(tmp_path / "home"))
    cells = [new_code_cell("week = 1", metadata={"tags": ["parameters"]}),
             new_code_cell("confidential = 'in' + 'sight'\nprint(confidential)"),
             new_code_cell("import ipywidgets\nipywidgets.Text('of a widget')"),
             new_code_cell(CHART)]  # fmt: skip
    kinds.save(new_notebook(cells=cells), tmp_path / "weekly.ipynb")
    arguments = ["run", "weekly.ipynb", "--no-input"]
    done = CliRunner().invoke(cli, arguments, obj={}, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    folder = next((tmp_path / "home" / "runs").glob("*weekly*"))
    again = exporting.export(str(folder), {})
    for path in (folder / "notebook.html", again):
        page = Page(path.read_text())
        assert "confidential" not in page.html
        assert "insight" in page.text
        assert "of a widget" in page.text  # its state is stored with the notebook
        assert [tag for tag, a in page.tags if a.get("class") == "chart vega"]
