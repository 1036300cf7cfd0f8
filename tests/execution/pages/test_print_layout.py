"""Tables on paper: no column is cut, however wide, and small ones stay upright."""

import pandas as pd
import pytest
from nbformat.v4 import new_notebook

from diptych.execution.pages import print_layout
from diptych.execution.pages.export import notebook_to_html

from execution.pages import kinds  # isort: skip

CUT = """[...document.querySelectorAll('th, td')].filter(cell => {
  const box = cell.getBoundingClientRect(), zoom = cell.closest('table').currentCSSZoom ?? 1;
  return box.right > window.innerWidth + 1 || cell.scrollWidth > cell.clientWidth + 1;
}).length"""


def table(columns: int, word="heading") -> str:
    frame = pd.DataFrame({f"{word} {i}": [1.5 * i, 12345.678] for i in range(columns)})
    return frame.to_html()


@pytest.mark.parametrize(
    ("columns", "names"), [(4, ["whole"]), (9, ["whole", "smaller"]), (18, ["whole", "turned"])]
)
def test_a_table_gets_the_sheet_it_fits(columns, names):
    marked = print_layout.fitted(table(columns))
    assert marked.split('class="')[1].split('"')[0].split()[:-1] == names


def test_words_that_nobody_can_measure_may_break():
    assert "whole" not in print_layout.fitted(table(2, word="x" * 60))
    assert "whole" not in print_layout.fitted(table(80))


@pytest.mark.parametrize("columns", [5, 9, 18, 40, 90])
def test_no_column_is_cut_on_paper(chromium, tmp_path, columns):
    nb = new_notebook(cells=[kinds.shown(text_html=table(columns, "a long heading"))])
    path = tmp_path / "page.html"
    path.write_text(notebook_to_html(nb, title="t"))
    width = print_layout.TURNED if columns > 9 else print_layout.UPRIGHT
    chromium.open(path, width)
    chromium.call("Emulation.setEmulatedMedia", media="print")
    try:
        assert chromium.evaluate("document.querySelectorAll('thead th, thead td').length") > columns
        assert chromium.evaluate(CUT) == 0
        assert chromium.evaluate("document.documentElement.scrollWidth") <= width
    finally:
        chromium.call("Emulation.setEmulatedMedia", media="")
