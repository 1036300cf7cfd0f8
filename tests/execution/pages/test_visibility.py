"""Tags and metadata that hide or remove parts of a cell, as other tools read them."""

import re

import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output, new_raw_cell
from page import Page

from diptych.execution.pages.export import notebook_to_html
from diptych.execution.pages.look import Look
from diptych.execution.pages.visibility import FOLDED, REMOVED, SHOWN, visibility

CODE, WORDS = "confidential_name = 41 + 1", "words of the output"


def cell_of(source=CODE, tags=(), **metadata):
    output = new_output("stream", name="stdout", text=f"{WORDS}\n")
    return new_code_cell(source, outputs=[output], metadata={"tags": list(tags), **metadata})


def page_of(*cells, **look) -> Page:
    return Page(notebook_to_html(new_notebook(cells=list(cells)), title="t", look=Look(**look)))


REMOVE_INPUT = [
    {"tags": ["remove-input"]},
    {"tags": ["remove_input"]},
    {"tags": [" Remove-Input "]},
    {"hide_input": True},
    {"source": f"#| echo: false\n{CODE}"},
    {"source": f"#|echo: false\n#| label: fig\n{CODE}"},
    {"source": f"\n#| label: 'a: b\n#| echo: false\n{CODE}"},
    {"source": f"//| echo: false\n{CODE}"},
]


@pytest.mark.parametrize("cell", REMOVE_INPUT)
def test_a_removed_input_is_nowhere_in_the_page(cell):
    page = page_of(cell_of(**cell))
    assert "confidential_name" not in page.html
    assert WORDS in page.text


@pytest.mark.parametrize(
    "cell",
    [
        {"tags": ["remove-output"]},
        {"tags": ["remove_output"]},
        {"tags": ["remove-stdout"]},
        {"source": f"#| output: false\n{CODE}"},
    ],
)
def test_a_removed_output_is_nowhere_in_the_page(cell):
    page = page_of(cell_of(**cell))
    assert WORDS not in page.html
    assert "confidential_name" in page.text


@pytest.mark.parametrize(
    "cell",
    [
        {"tags": ["remove-cell"]},
        {"tags": ["remove_cell", "parameters"]},
        {"tags": ["remove-input", "remove-output"]},
        {"nbsphinx": "hidden"},
        {"source": f"#| include: false\n{CODE}"},
        {"source": f"#| hide\n{CODE}"},
    ],
)
def test_a_removed_cell_leaves_nothing(cell):
    page = page_of(cell_of(**cell), new_markdown_cell("After."))
    assert "confidential_name" not in page.html
    assert WORDS not in page.html
    assert "After." in page.text


@pytest.mark.parametrize(
    ("cell", "parts"),
    [
        ({"tags": ["hide-input"]}, (FOLDED, SHOWN)),
        ({"tags": ["hide_output"]}, (SHOWN, FOLDED)),
        ({"tags": ["hide-cell"]}, (FOLDED, FOLDED)),
        ({"jupyter": {"source_hidden": True}}, (FOLDED, SHOWN)),
        ({"jupyter": {"outputs_hidden": True}}, (SHOWN, FOLDED)),
        ({"collapsed": True}, (SHOWN, FOLDED)),
        ({"source": f"#| code-fold: true\n{CODE}"}, (FOLDED, SHOWN)),
        ({"tags": ["hide-input", "remove-output"]}, (FOLDED, REMOVED)),
        ({"source": f"{CODE}\n#| echo: false"}, (SHOWN, SHOWN)),  # options stand at the top
        ({"jupyter": {"other": 1}, "tags": ["other"]}, (SHOWN, SHOWN)),
    ],
)
def test_hidden_parts_are_folded(cell, parts):
    cell = cell_of(**cell)
    seen = visibility(cell)
    assert (seen.input, seen.output) == parts
    page = page_of(cell)
    folds = [attributes for tag, attributes in page.tags if tag == "details"]
    code = [fold for fold in folds if fold.get("class") == "code"]
    assert [("open" in fold) for fold in code] == [parts[0] == SHOWN]
    outputs = [fold for fold in folds if fold.get("class") == "folded"]
    assert len(outputs) == (parts[1] == FOLDED)


def test_front_matter_counts_for_the_whole_notebook():
    front = new_raw_cell("---\ntitle: Sales\nexecute:\n  echo: false\n---")
    page = page_of(front, cell_of(), cell_of(source=f"#| echo: true\n{CODE} + 7"))
    assert "title: Sales" not in page.html
    assert page.text.count("confidential_name") == 1


def test_no_input_leaves_out_all_code_but_not_what_it_shows():
    page = page_of(cell_of(), cell_of(tags=["parameters"]), no_input=True)
    assert "confidential_name" not in page.html
    assert page.text.count(WORDS) == 2


def test_prose_is_removed_and_folded_too():
    removed = new_markdown_cell("Secret prose.", metadata={"tags": ["remove-cell"]})
    folded = new_markdown_cell("Folded prose.", metadata={"tags": ["hide-input"]})
    page = page_of(removed, folded)
    assert "Secret" not in page.html
    assert re.search(r"<details class=\"cell folded\">.*Folded prose\.", page.html, re.DOTALL)


def test_a_traceback_quotes_no_code_that_is_removed():
    lines = ["\x1b[32m      1\x1b[39m confidential_name = 41 + 1", "----> 2 f(confidential_name)"]
    error = new_output("error", ename="ValueError", evalue="bad", traceback=["\n".join(lines)])
    cell = new_code_cell(
        f"{CODE}\nf(confidential_name)", outputs=[error], metadata={"tags": ["remove-input"]}
    )
    page = page_of(cell)
    assert "confidential_name" not in page.html
    assert "ValueError" in page.text


def test_parameters_of_a_removed_cell_are_not_in_the_footer_either():
    manifest = {"status": "ok", "parameters": {"token": "tulip-field"}, "seconds": 1.0}
    for tags, there in ((["parameters"], True), (["parameters", "remove-cell"], False)):
        nb = new_notebook(cells=[cell_of(source="token = ''", tags=tags)])
        html = notebook_to_html(nb, title="t", manifest=manifest)
        assert ("tulip-field" in html) is there


def test_the_banner_follows_the_manifest():
    error = new_output("error", ename="KeyError", evalue="'gone'", traceback=["KeyError"])
    expected = new_code_cell("{}['gone']", outputs=[error], metadata={"tags": ["raises-exception"]})
    nb = new_notebook(cells=[expected])
    fine = Page(notebook_to_html(nb, title="t", manifest={"status": "ok"}))
    assert "This run failed" not in fine.text
    assert "This error was expected" in fine.text
    failed = {"status": "failed", "error": {"ename": "Interrupted", "evalue": "stopped"}}
    text = Page(notebook_to_html(nb, title="t", manifest=failed)).text
    assert "This run failed. Interrupted: stopped" in " ".join(text.split())
    assert "This run failed" not in Page(notebook_to_html(nb, title="t")).text
