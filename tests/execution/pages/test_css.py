"""Styles of outputs: kept where they do no harm, in their own output only."""

import pytest
from page import Page

from diptych.execution.pages import css, plain_tables, sanitize
from diptych.execution.pages.sanitize import Fitter

LOADS = [
    "url(https://e.example/a.png)",
    "URL(https://e.example/a.png)",
    r"ur\6c (https://e.example/a.png)",
    "image-set('https://e.example/a.png' 1x)",
    r"\75rl(//e.example)",
    "linear-gradient(red, url(//e.example))",
    "expression(alert(1))",
    "var(--x)",
]


@pytest.mark.parametrize("value", LOADS)
def test_nothing_loads_however_it_is_written(value):
    styled = f"<style>#a {{ color: red; background: {value} }}</style>"
    inline = f'<p id="a" style="background: {value}">text</p>'
    drawing = f'<svg><path d="M0 0" fill="{value}" style="fill: {value}"></path></svg>'
    for html in (styled + inline, inline, drawing):
        fitted = Fitter().output(html)
        assert "e.example" not in fitted
        assert "expression" not in fitted
        assert "var(" not in fitted


@pytest.mark.parametrize("value", ["URL(#c)", "url(#c)", "url('#c')", "rotate(3 4 5)", "#fff"])
def test_a_drawing_keeps_what_points_into_the_page(value):
    assert css.stays_inside(value)


@pytest.mark.parametrize("value", ["url(x.png)", "url(#a, //e)", "url(data:x)", r"\75 rl(//e)"])
def test_a_drawing_points_nowhere_else(value):
    assert not css.stays_inside(value)


def test_a_styled_table_keeps_its_colours_inside_its_output():
    html = (
        "<style type='text/css'>#T_Ab1_row0_col0, #T_Ab1 th:hover { background-color: #fde725; "
        "position: fixed; color: black }\n@import 'https://e.example/x.css'; "
        "body { color: white } p { font-size: 99px }</style>"
        "<table id='T_Ab1'><tr><td id='T_Ab1_row0_col0'>0.5</td></tr></table>"
    )
    fitted = Fitter("left-").output(html)
    rules = fitted[fitted.index("<style>") + 7 : fitted.index("</style>")].splitlines()
    page = Page(fitted)
    scope = next(a["id"] for tag, a in page.tags if "styled" in a.get("class", ""))
    cell = next(a["id"] for tag, a in page.tags if tag == "td")
    assert rules[0].startswith(f"#{scope} #{cell}, #{scope} #left-t_ab1 th:hover {{")
    assert "background-color: #fde725" in rules[0]
    assert all(rule.startswith(f"#{scope} ") for rule in rules)
    assert "position" not in fitted
    assert "e.example" not in fitted
    assert "white" not in fitted


def test_an_output_with_colours_stands_on_white_paper():
    assert 'class="styled paper"' in Fitter().output('<p style="color: #333">a</p>')
    assert "paper" not in Fitter().output('<p style="text-align: right">a</p>')
    assert "paper" not in Fitter().output('<p style="background: transparent">a</p>')


def test_a_style_cannot_end_its_element():
    html = "<style>#a::before { font-family: '</styl\\65><img src=x>' }</style><p id=a>text</p>"
    fitted = Fitter().output(html)
    assert fitted.count("<style>") == fitted.count("</style>") == 1
    assert "<img" not in fitted


TABLES = [
    "<table><thead><tr><th></th><th>a</th></tr></thead><tbody><tr><th>0</th><td>1.5</td></tr>"
    "</tbody></table>",
    "<div>\n<style scoped>\n  .dataframe tbody tr th { vertical-align: top; }\n</style>\n<table "
    'border="1" class="dataframe">\n  <thead>\n    <tr style="text-align: right;">\n      <th></th>'
    "\n      <th>a &lt; b</th>\n    </tr>\n  </thead>\n  <tbody>\n    <tr>\n      <th>x</th>\n"
    "      <td>-3,000</td>\n    </tr>\n  </tbody>\n</table>\n<p>1 rows \u00d7 1</p>\n</div>",
    "<table><tbody><tr><td>&lt;script&gt;</td><td>&amp; 7</td><td> 5 % </td></tr></tbody></table>",
    "<table><tbody><tr><td>1</td></tr><tr><td>two</td></tr></tbody></table>",
]


@pytest.mark.parametrize("html", TABLES)
def test_the_short_way_for_plain_tables_is_the_long_one(html, monkeypatch):
    short = plain_tables.fitted(html)
    assert short is not None
    monkeypatch.setattr(sanitize.plain_tables, "fitted", lambda html: None)
    assert words(short) == words(Fitter().output(html))


def words(html: str) -> list:
    page = Page(html)
    kept = ("class", "aria-label", "tabindex", "role")  # an alignment that pandas writes is ours
    tags = [(tag, {k: v for k, v in a.items() if k in kept}) for tag, a in page.tags]
    return [tags, "".join(page.text.split())]


@pytest.mark.parametrize(
    "html",
    [
        "<table><tbody><tr><td>1</td></tbody></table>",
        "<table><tbody><tr><td><script>x</script></td></tr></tbody></table>",
        "<table><tbody><tr><td>a & b</td></tr></tbody></table>",
        "<table><tbody><tr><td>1</td></tr></tbody></table></div>",
        '<table onclick="x"><tbody><tr><td>1</td></tr></tbody></table>',
        "<table><tr><td>1</td></tr></table>",
        "<table><tbody><tr><td>1</th></tr></tbody></table>",
        "<table><tbody><tr><tr><td>1</td></tr></tr></tbody></table>",
        "text <table><tbody><tr><td>1</td></tr></tbody></table>",
    ],
)
def test_a_table_that_is_written_otherwise_takes_the_long_way(html):
    assert plain_tables.fitted(html) is None


def test_prose_keeps_its_own_colours_and_shows_no_markup_of_a_whole_document():
    fitted = Fitter().prose("<center><p style='color: red'>a</p></center><style>p {}</style>")
    assert '<p style="color: red">a</p>' in fitted
    assert "paper" in fitted
    assert "center" not in fitted
    assert "{}" not in fitted
