"""Figures of real libraries, drawn in a real browser without a network and without trust."""

import os
import re
import time

import pytest
from execution.pages import kinds
from page import Page

from diptych.execution.pages.export import notebook_to_html
from diptych.execution.pages.look import Look
from diptych.execution.pages.mime import Canvas, bokeh, plotly, vega

pytestmark = pytest.mark.longer
LONG = os.environ.get("DIPTYCH_LONG")
WORDS = {  # what a reader sees of each
    "plotly": ["Of plotly"],
    "plotly_html": ["Before it", "Of html"],
    "plotly_gl": ["Of WebGL"],
    "altair": ["Of altair"],
    "altair_mime": ["Of MIME"],
    "widgets": ["slide", "7", "typed words", "inside the output", "second", "bold words", "tick",
                "in a tab", "tab name"],
    "tqdm": ["counting", "5/5"],
    "styler": ["Of a Styler", "3.000000"],
    "itables": ["x1", "x2"],
}  # fmt: skip
DRAWN = """[...document.querySelectorAll('.chart .plot')].map(plot => {
  const within = root => [...root.querySelectorAll('*')].flatMap(
    node => node.shadowRoot ? [node, ...within(node.shadowRoot)] : [node]);
  return within(plot).filter(node => /^(svg|canvas)$/i.test(node.tagName)).length;
})"""


@pytest.fixture(scope="module")
def made():
    return kinds.run_libraries()


def drawn(chromium, path, charts: int) -> list[int]:
    """Open a page and return the drawings in each chart, once all have one."""
    chromium.open(path, 1200)
    deadline = time.monotonic() + 20
    while True:
        counts = chromium.evaluate(DRAWN)
        if (len(counts) == charts and all(counts)) or time.monotonic() > deadline:
            return counts
        time.sleep(0.1)


def test_every_library_draws_without_network_or_trust(made, chromium, tmp_path):
    names = ("plotly", "plotly_html", "plotly_gl", "altair", "altair_mime", "bokeh")
    path = tmp_path / "page.html"
    cells = [cell for name in made for cell in made[name].cells]
    nb = made["plotly"].copy()
    nb["cells"] = cells
    path.write_text(notebook_to_html(nb, title="All kinds"))
    counts = drawn(chromium, path, len(names))
    assert len(counts) == len(names)
    assert all(counts), dict(zip(names, counts, strict=True))
    text = chromium.evaluate("document.querySelector('main').innerText")
    for name, words in WORDS.items():
        for word in words:
            assert word in text, (name, word)
    assert chromium.evaluate("document.title") == "All kinds"  # no script of an output ran
    assert [
        url for url in chromium.requests if not url.startswith(("file:", "data:", "blob:"))
    ] == []
    assert "Callbacks of this figure were left out" in text
    assert chromium.evaluate("document.querySelectorAll('math').length") == 1
    cell = "getComputedStyle(document.querySelector('.styled td[id$=\"row2_col0\"]'))"
    assert chromium.evaluate(f"{cell}.backgroundImage").startswith("linear-gradient")


def test_a_library_stands_in_the_page_once_and_only_if_it_draws(made):
    html = notebook_to_html(made["plotly"], title="t")
    twice = made["plotly"].copy()
    twice["cells"] = [*made["plotly"].cells, *made["plotly_html"].cells]
    assert len(notebook_to_html(twice, title="t")) < 1.01 * len(html)
    assert "<script" not in notebook_to_html(made["sympy"], title="t")


def test_a_figure_whose_library_is_missing_says_which_package_draws_it(made, monkeypatch):
    monkeypatch.setattr(plotly, "library", lambda: None)
    monkeypatch.setattr(vega, "library", lambda: None)
    monkeypatch.setattr(bokeh, "version", lambda: None)
    for name, package in (
        ("plotly", "plotly"), ("altair", "vl-convert-python"), ("bokeh", "bokeh")
    ):  # fmt: skip
        page = Page(notebook_to_html(made[name], title="t"))
        assert f"the package {package} is installed" in page.text
        assert "script" not in page.names()


def test_no_text_of_a_bokeh_document_is_compiled():
    formatter = {"name": "HTMLTemplateFormatter", "attributes": {"template": "<%= evil() %>"}}
    callback = {"name": "CustomJSHover", "attributes": {"code": "evil()", "args": [formatter]}}
    docs = {"d": {"version": "3.9.2", "roots": [{"name": "Div", "attributes": {"x": callback}}]}}
    canvas = Canvas()
    html = bokeh.document(docs, [{"docid": "d", "roots": {}, "root_ids": ["p1"]}], canvas)
    assert "evil" not in html
    assert "Callbacks of this figure were left out" in html


def test_scripts_of_outputs_run_with_trust_only(chromium, tmp_path):
    cells = [
        kinds.shown(text_html="<p>a</p><script>document.title = 'ran'</script>"),
        kinds.shown(text_html="<img src=x onerror=\"document.title = 'ran'\">"),
        kinds.shown(application_javascript="document.title = 'ran'"),
        kinds.shown(text_html="<iframe srcdoc='<p>a map</p>'></iframe>"),
    ]
    path = tmp_path / "page.html"
    for trust in (False, True):
        nb = kinds.new_notebook(cells=cells)
        path.write_text(notebook_to_html(nb, title="still", look=Look(trust=trust)))
        chromium.open(path, 800)
        assert chromium.evaluate("document.title") == ("ran" if trust else "still")
        text = chromium.evaluate("document.body.innerText")
        assert ("Scripts of this notebook run on this page" in text) is trust
        assert ("was left out; `diptych export RUN --trust`" in text) is not trust
        assert "document.title" not in text  # no screens of script


def test_the_policy_of_a_page_lets_nothing_else_run_or_load(chromium, tmp_path):
    nb = kinds.new_notebook(cells=[kinds.new_markdown_cell("# T")])
    html = notebook_to_html(nb, title="still")
    attack = "<script>document.title = 1</script><img src='https://e.example/a.png'>"
    path = tmp_path / "page.html"
    path.write_text(html.replace("</main>", f"{attack}</main>"))
    chromium.open(path, 800)
    assert chromium.evaluate("document.title") == "still"
    assert not re.search("unsafe-eval|unsafe-inline' *;? *script", html)


# what stands on nbconvert's page: its words, and how many pictures, tables and the like
SEEN = """(() => {
  const root = document.querySelector('main') ?? document.body;
  for (const node of document.querySelectorAll('details')) node.open = true;
  for (const node of document.querySelectorAll('.jp-InputPrompt, .jp-OutputPrompt')) node.remove();
  const count = names => root.querySelectorAll(names).length;
  return {words: root.innerText, img: count('img, svg'), table: count('table'),
          media: count('video, audio'), math: count('math')};
})()"""
QUICK = ("attachments", "pictures", "errors", "cards", "other_kernel", "media")
ALL = (
    "attachments", "pictures", "large_figures", "svg", "wide_table", "many_displays", "latex",
    "media", "javascript", "json", "errors", "colours", "raw", "other_kernel", "cards", "printed",
    "markdown_output", "mermaid", "tasks",
)  # fmt: skip
OBJECTS = {"<Javascript", "<JSON", "object>"}  # no reader misses them


@pytest.mark.parametrize("name", ALL if LONG else QUICK)
def test_nothing_that_nbconvert_shows_is_missing(name, chromium, tmp_path):
    from nbconvert import HTMLExporter

    nb = kinds.notebooks(tmp_path)[name]
    kinds.save(nb, tmp_path / "nb.ipynb")
    theirs, _ = HTMLExporter(embed_images=True).from_filename(str(tmp_path / "nb.ipynb"))
    pages = {
        "theirs": re.sub(r"<script\b.*?</script>", "", theirs, flags=re.DOTALL),
        "ours": notebook_to_html(nb, title="t", folders=[tmp_path]),
    }
    seen = {}
    for whose, html in pages.items():
        path = tmp_path / f"{whose}.html"
        path.write_text(html)
        chromium.open(path, 1200)
        seen[whose] = chromium.evaluate(SEEN)
    formula = re.compile(r"\$\$[^$]*\$\$|\$[^$]*\$")  # MathJax is not there to draw it
    words = set(formula.sub("", seen["theirs"]["words"]).replace("¶", "").split()) - OBJECTS
    assert words <= set(seen["ours"]["words"].split())
    for kind in ("img", "table", "media"):
        assert seen["ours"][kind] >= seen["theirs"][kind], kind
    assert seen["ours"]["math"] >= len(formula.findall(seen["theirs"]["words"]))


def test_a_line_of_a_hundred_megabytes_makes_a_light_page():
    cell = kinds.new_code_cell("x", outputs=[])
    cell.outputs = [{"output_type": "stream", "name": "stdout", "text": "x" * 100_000_000}]
    html = notebook_to_html(kinds.new_notebook(cells=[cell]), title="t")
    assert len(html) < 2_000_000
    assert "characters left out here" in html
