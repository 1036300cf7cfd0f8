"""Hostile names of notebooks and prompts in a real JupyterLab and in a report: text, never markup.

They come with a repository of somebody else. `make test-lab` runs it.
"""

import json
import os
import re
import subprocess
import sys
from html import escape

import lab
import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

pytestmark = pytest.mark.skipif(
    not os.environ.get("DIPTYCH_LONG"), reason="takes minutes: make test-lab"
)
OWN = "window.owned=1"
NAMES = (
    f"<img src=x onerror={OWN}>",
    f'"><svg onload={OWN}>',
    f"a'b\"c`d ${{{OWN}}} {{{{{OWN}}}}}",
    "new\nline",
    "\N{RIGHT-TO-LEFT OVERRIDE}ipynb.exe",
    "..\\..\\up",
    "%3Cb%3E &lt;b&gt; #a?b=c",
    "*[x](javascript:alert)*",
)
SHOWN = """
import pandas as pd
import diptych as dt
from diptych.core.plots import plots
from diptych.execution import listing
from diptych.llmops.prompts.prompt import every

plots.table(pd.DataFrame(listing.every())[["notebook", "title"]], caption="Notebooks")
prompts = every("reviews")
plots.table(pd.DataFrame({"prompt": [p.name for p in prompts], "note": [p.note for p in prompts]}))
run = dt.run(NAME, progress=False)
display(*prompts, run, dt.runs())
print(run.folder)
"""
SCENARIO = """\
title: Films
question: Which prompt?
files: [tasks/reviews]
notebooks:
  - llmops/1_data validation_rows=10 rows=20
  - llmops/2_build validation_rows=10 rows=20 perturbed_rows=4 repeat_rows=2 repeats=2 shots=[0]
"""
DIALOG = ".jp-Dialog"  # JupyterLab itself cannot open every name, and says so
OPENED = f"""{lab.PANEL}?.context?.path === PATH
  || document.querySelectorAll('{DIALOG}').length > 0"""
HARMLESS = """[
  typeof window.owned,
  document.querySelectorAll('[onerror], [onload]').length,
  document.querySelectorAll('script[src^="http:"], script[src^="https:"]').length,
]"""


def is_harmless(chromium) -> bool:
    """Return whether no name has become an element or a script of a page."""
    return chromium.evaluate(HARMLESS)[:2] == ["undefined", 0]


@pytest.fixture(scope="module")
def named(opened):
    """The repository with notebooks and prompts of hostile names."""
    prompts = opened.folder / "params" / "prompts" / "reviews"
    prompt = (prompts / "plain.md").read_text()
    for name in NAMES:
        cells = [
            new_markdown_cell(f"# {name}"),
            new_code_cell("x: int = 1  # a number"),
            new_code_cell("print(x)"),
        ]
        cells[1].metadata["tags"] = ["parameters"]
        path = opened.folder / "notebooks" / f"{name}.ipynb"
        nbformat.write(new_notebook(cells=cells), path)
        (prompts / f"{name}.md").write_text(prompt)
    return opened


def test_a_notebook_of_any_name_opens_and_its_name_is_text(named):
    named.open("start_here")
    for name in NAMES:
        path = f"notebooks/{name}.ipynb"
        named.begin("docmanager:open", path=path)
        lab.until(lambda path=path: named.js(OPENED.replace("PATH", json.dumps(path))))
        assert is_harmless(named.chromium), name
        named.js(f"void document.querySelectorAll('{DIALOG} .jp-mod-accept')[0]?.click()")
    opened_as = named.js(
        "[...jupyterapp.shell.widgets('main')].map(widget => widget.context?.path)"
    )
    assert f"notebooks/{NAMES[0]}.ipynb" in opened_as
    names = named.js(
        "fetch('/api/contents/notebooks').then(answer => answer.json())"
        ".then(folder => folder.content.map(entry => entry.name))"
    )
    assert {f"{name}.ipynb" for name in NAMES if ".." not in name} <= set(names)
    named.command("filebrowser:go-to-path", path="notebooks")
    listed = ".jp-DirListing-itemText"
    lab.until(lambda: named.js(f"[...document.querySelectorAll('{listed}')].length") > len(NAMES))
    assert is_harmless(named.chromium)
    named.screenshot("hostile-names")


def test_what_a_notebook_shows_of_them_is_text(named):
    named.open("start_here")
    name = NAMES[0]
    cell = named.insert(SHOWN.replace("NAME", repr(f"{name}.ipynb")))
    named.run(cell)
    assert named.errors() == []
    text = named.text(cell)
    for hostile in NAMES:
        words = " ".join(hostile.split())
        assert words in " ".join(text.split()), hostile
    assert is_harmless(named.chromium)
    named.screenshot("hostile-names-in-tables")
    folder = lab.Path(text.strip().splitlines()[-1])
    named.chromium.open(folder / "notebook.html")
    assert is_harmless(named.chromium)
    assert named.chromium.evaluate("document.title").startswith("<img src=x onerror")


def test_a_report_of_hostile_prompts_shows_their_names(named):
    scenario = named.folder / "params" / "scenarios" / "hostile.yaml"
    prompts = json.dumps(NAMES[:4])
    scenario.write_text(SCENARIO)
    command = [sys.executable, "-m", "diptych", "report", str(scenario), "-p", f"prompts={prompts}"]
    environment = os.environ | {
        "PYTHONPATH": str(lab.ROOT / "lib"), "DIPTYCH_HOME": str(named.folder / ".diptych"),
    }  # fmt: skip
    done = subprocess.run(
        command, cwd=named.folder, env=environment, capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0, done.stderr[-3000:]
    pages = sorted((named.folder / "site").rglob("*.html"))
    assert pages
    for page in pages:
        named.chromium.open(page)
        assert is_harmless(named.chromium), page.name
    built = next(page for page in pages if "2_build" in page.name).read_text()
    assert escape(NAMES[0], quote=False) in built
    assert not re.search(r"<(img src=x|svg onload)", built)
