"""The two-panel page: aligned by headings, hinged by what both measured, readable everywhere."""

import re

import browser
import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output
from page import Page
from reporting.site.test_site import ACCURACY, EVIL, run_of, scenario_of, words

from diptych.execution.pages.limits import LIMIT
from diptych.reporting.site.panels import hinge, sections
from diptych.reporting.site.site import build


def cells_of(text):
    return [new_markdown_cell(part) for part in text.split("\n\n\n")]


def notebook_into(run, cells):
    nbformat.write(new_notebook(cells=cells), run.folder / "notebook.ipynb")
    return run


@pytest.fixture
def site(tmp_path):
    """Stage 2 in both panels, LLMOps with a heading of its own; stage 1 in MLOps alone."""
    left = cells_of("# Which model?\n\n*Goals*\n\n\n## Input\n\nRows.\n\n\n## Make\n\nLeft made.")
    right = cells_of(
        "# Which prompt?\n\n\n## Input\n\nTexts.\n\n\n## Ask\n\nAsked.\n\n\n## Make\n\nx"
    )
    right[1:1] = [new_code_cell("1", outputs=[new_output("stream", name="stdout", text=EVIL)])]
    values = {"accuracy": ACCURACY, "trees": {"value": 3, "low": None, "high": None, "unit": ""}}
    runs = [
        run_of(tmp_path / "a", "1_data"),
        notebook_into(run_of(tmp_path / "b", "2_build", values=values), left),
        notebook_into(
            run_of(tmp_path / "c", "2_build", panel="llmops", values={"accuracy": ACCURACY}), right
        ),
    ]
    build([scenario_of(*runs)], tmp_path / "site")
    return tmp_path / "site"


def test_cells_are_grouped_by_heading_without_title_and_headings():
    nb = {"cells": cells_of("# Why?\n\nGoals.\n\n\n## Input\n\nRows.\n\n\nMore.\n\n\n## Make")}
    found = {name: [c["source"].strip() for c in cells] for name, cells in sections(nb).items()}
    assert found == {"": ["Goals."], "Input": ["Rows.", "More."], "Make": []}


def test_a_stage_of_both_panels_has_one_page_aligned_by_headings(site):
    assert not (site / "sentiment" / "both-1_data.html").exists()
    html = (site / "sentiment" / "both-2_build.html").read_text()
    headings = re.findall(r'<h2 class="row" id="[^"]+"><span>(.+?)</span>', html)
    assert headings == ["Input", "Make", "Ask"]
    rows = html.split('<h2 class="row"')
    assert "Left made." in rows[2]
    assert "No such section in this panel." in rows[3]
    assert rows[1].index("Rows.") < rows[1].index("Texts.")  # MLOps first


def test_the_hinge_holds_what_both_measured(site, tmp_path):
    html = (site / "sentiment" / "both-2_build.html").read_text()
    (table,) = re.findall(r'<table class="hinge">.*?</table>', html, re.DOTALL)
    assert words(table).count("0.931 0.919 to 0.942") == 2
    assert "trees" not in table
    one, other = (run_of(tmp_path / "x", "2_build", panel=p) for p in ("mlops", "llmops"))
    assert [row["name"] for row in hinge(one, other)] == ["the run took"]


def test_it_stands_alone_and_its_links_lead_somewhere(site):
    path = site / "sentiment" / "both-2_build.html"
    page = Page(path.read_text())
    assert not page.loads()
    assert "script" not in page.names()
    assert [tag for tag, _ in page.tags].count("h1") == 1
    ids = page.all("id")
    assert len(ids) == len(set(ids))
    for link in page.all("href"):
        file, _, anchor = link.partition("#")
        target = (path.parent / file).resolve() if file else path
        assert target.exists(), link
        assert not anchor or anchor in Page(target.read_text()).all("id"), link
    assert 'href="sentiment/both-2_build.html"' in (site / "index.html").read_text()


def test_the_largest_outputs_go_first_where_a_page_would_be_too_large(tmp_path):
    large = new_output("display_data", data={"text/html": f"<p>{'y' * 6_000_000}</p>"})
    small = new_output("stream", name="stdout", text="kept")
    runs = [
        notebook_into(
            run_of(tmp_path / panel, "2_build", panel=panel),
            [*cells_of("# What?\n\n\n## Make"), new_code_cell("1", outputs=[small, large])],
        )
        for panel in ("mlops", "llmops")
    ]
    build([scenario_of(*runs)], tmp_path / "site")
    page = tmp_path / "site" / "sentiment" / "both-2_build.html"
    assert page.stat().st_size <= LIMIT
    assert page.read_text().count("was left out of the page") == 1
    assert page.read_text().count("kept") == 2


def test_a_browser_shows_it_side_by_side_or_stacked_with_labels(chromium, site):
    page = site / "sentiment" / "both-2_build.html"
    tops = "[...document.querySelectorAll('section .side')].map(p => p.getBoundingClientRect().top)"
    for width in (390, 1440):
        for dark in (False, True):
            chromium.open(page, width, dark=dark)
            assert chromium.evaluate("document.documentElement.scrollWidth") <= width
            ratio, text = chromium.evaluate(browser.CONTRAST)
            assert ratio >= 4.5, text
            left, right = chromium.evaluate(tops)[:2]
            assert (left == right) == (width == 1440)
    label = "getComputedStyle(document.querySelector('.side-name')).position"
    chromium.open(page, 390)
    assert chromium.evaluate(label) == "static"
    assert chromium.evaluate("document.title").startswith("2 Build, side by side")


def test_two_headings_in_one_cell_are_two_sections():
    cell = {
        "cell_type": "markdown",
        "source": "## The other lifecycle\n\nAs there.\n\n## Your turn\n\n1.",
    }
    parts = sections({"cells": [cell]})
    assert [cell["source"].strip() for cell in parts["The other lifecycle"]] == ["As there."]
    assert [cell["source"].strip() for cell in parts["Your turn"]] == ["1."]
