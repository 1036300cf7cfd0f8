"""Formulas become MathML; what cannot be converted stays readable; nothing gets in with them."""

from xml.etree import ElementTree

import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output
from page import Page

from diptych.execution.pages.export import notebook_to_html
from diptych.execution.pages.mime.latex import TAGS, Formulas, draw, mathml


def prose(source: str) -> Page:
    nb = new_notebook(cells=[new_markdown_cell(source)])
    return Page(notebook_to_html(nb, title="t"))


@pytest.mark.parametrize(
    "source",
    [
        r"$\frac{a}{b}$",
        "$$\\sum_{i=1}^n i$$",
        "text\n\n\\begin{align}\na &= b \\\\\nc &= d\n\\end{align}\n\nmore",
        "\\begin{equation}\\label{eq:a}\nE = mc^2\n\\end{equation}",
        r"$a_{1} < b & c_{2} * d * e$".replace("&", r"\&"),
    ],
)
def test_formulas_of_markdown_are_mathml(source):
    page = prose(source)
    assert [tag for tag, _ in page.tags].count("math") == 1
    assert "$" not in page.text
    assert "\\begin" not in page.text


def test_money_and_code_are_no_formulas():
    page = prose("It costs 5 dollars.\n\n```\n$x$\n```\n\n`$y$` and \\$5 to \\$6")
    assert "math" not in page.names()
    assert "$x$" in page.text
    assert "$y$" in page.text


def test_macros_hold_in_later_cells():
    cells = [new_markdown_cell(r"$\newcommand{\R}{\mathbb{R}}\newcommand{\of}[2]{#1(#2)}$"),
             new_markdown_cell(r"$x \in \R$ and $\of{f}{x}$")]  # fmt: skip
    html = notebook_to_html(new_notebook(cells=cells), title="t")
    page = Page(html)
    assert "\u211d" in page.text
    assert [tag for tag, _ in page.tags].count("math") == 2
    assert "tex" not in page.all("class")


def test_what_cannot_be_converted_stays_as_source():
    page = prose(r"$\unknowncommand{x}$ and $\left( x$")
    codes = [attributes for tag, attributes in page.tags if attributes.get("class") == "tex"]
    assert len(codes) == 2
    assert r"\unknowncommand{x}" in page.text


@pytest.mark.parametrize(
    "source",
    [
        r"\text{<script>alert(1)</script>}",
        r"\text{<img src=x onerror=alert(1)>}",
        r"\href{javascript:alert(1)}{x}",
        r"\style{background:url(//e)}{x}",
        r"\text{</math><svg onload=alert(1)>}",
        r"\class{a}{x}\cssId{main}{y}",
        r"\mathrm{&lt;script&gt;}",
    ],
)
def test_nothing_comes_in_with_a_formula(source):
    for html in (mathml(source, True), draw(f"${source}$"), prose(f"${source}$").html):
        fragment = html[html.find("<math") : html.find("</math>") + 7] if "<math" in html else ""
        for node in ElementTree.fromstring(fragment).iter() if fragment else ():
            assert node.tag in TAGS
            assert not [n for n in node.attrib if n[:2] == "on" or n in ("href", "style", "class")]
        assert not {"script", "img", "svg", "iframe"} & Page(draw(f"${source}$")).names()


def test_a_heading_with_a_formula_is_readable_in_the_contents():
    html = prose("# A\n\n## Loss $L_2$").html
    contents = html[html.index('class="toc"') : html.index("<main")]
    assert "Loss L_2" in contents
    assert "\ue000" not in html


def test_a_latex_output_is_drawn_with_its_text():
    data = {"text/latex": r"Area: $\displaystyle \pi r^{2}$ <b>", "text/plain": "pi*r**2"}
    nb = new_notebook(cells=[new_code_cell("x", outputs=[new_output("display_data", data)])])
    page = Page(notebook_to_html(nb, title="t"))
    assert "math" in page.names()
    assert "Area:" in page.text
    assert "b" not in page.names()
    table = {"text/latex": r"\begin{tabular}{l} a \\ \end{tabular}"}
    nb = new_notebook(cells=[new_code_cell("x", outputs=[new_output("display_data", table)])])
    assert r"\begin{tabular}" in Page(notebook_to_html(nb, title="t")).text


def test_macros_that_grow_without_end_come_to_one():
    formulas = Formulas()
    formulas.define(r"\newcommand{\a}{\b\b\b\b\b\b\b\b}\newcommand{\b}{\a\a\a\a\a\a\a\a}")
    assert len(formulas.define(r"\a" * 1_000)) < 3_000_000
