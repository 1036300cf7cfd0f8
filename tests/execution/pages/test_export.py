"""Pages made of notebooks: safe, self-contained, and readable in a real browser."""

import base64
import copy
import itertools
import re
import time
from html import escape

import browser
import nbformat
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output
from page import Page

from diptych.execution.pages import limits, sanitize
from diptych.execution.pages.export import Nav, Step, body, notebook_to_html

EVIL = "<script>document.title = 'taken'</script>"
PIXEL = (
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk"
    "+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
FIGURE = (
    '<figure role="figure" aria-label="Accuracy"><div class="scroll"><svg class="figure" role="img"'
    ' aria-label="Accuracy rises" viewBox="0 0 540 100" fill="currentColor"><defs><clipPath id="c">'
    '<rect x="0" y="0" width="9" height="9"/></clipPath></defs><path d="M0 0 L9 9" stroke="#12796d"'
    ' clip-path="url(#c)"/><text x="9" y="20">0.9</text></svg></div><details><summary>Table of the '
    "same data</summary><table><tr><th>a</th></tr><tr><td>1</td></tr></table></details></figure>"
)


def shows(html="", **data):
    kinds = {kind.replace("_", "/"): value for kind, value in data.items()}
    return new_output("display_data", {**({"text/html": html} if html else {}), **kinds})


def prints(text, name="stdout"):
    return new_output("stream", name=name, text=text)


def code(source, *outputs, tags=()):
    metadata = {"tags": list(tags)} if tags else {}
    return new_code_cell(source, outputs=list(outputs), metadata=metadata)


def notebook(*cells):
    return new_notebook(cells=list(cells))


def page_of(*cells, **options) -> Page:
    return Page(notebook_to_html(notebook(*cells), **{"title": "A page", **options}))


def full_notebook():
    """One of everything a notebook can hold, each kind of hostile text included."""
    wide = "<table><tr>" + "<td>a wide cell</td>" * 40 + "</tr></table>"
    error = new_output(
        "error", ename="ValueError", evalue="bad", traceback=["\x1b[31mValueError\x1b[39m: bad"]
    )
    return notebook(
        new_markdown_cell(f"# Is it good?\n\nProse and {EVIL}.\n\n## Input\n\n### Rows"),
        code('task: str = "reviews"  # ' + "a task by its name " * 9, tags=["parameters"]),
        code(f'task = "{"x" * 80}"', tags=["injected-parameters"]),
        code("x = 'a long line of code '" + " + 'that goes on and on'" * 20, shows(FIGURE)),
        new_markdown_cell("## Measure\n\n" + "word" * 80 + "\n\n```python\nx = 1\n```"),
        code("show(review)", shows(f"<p>{EVIL}</p><img src=x onerror=\"document.title='taken'\">")),
        code("wide", shows(wide), prints("y" * 4_000), prints("careful", "stderr")),
        code("picture", shows(image_png=PIXEL), error),
    )


def manifest(**more):
    made = {"id": "a-run", "notebook": "notebooks/mlops/2_build.ipynb", "status": "ok"}
    return made | {"parameters": {"task": EVIL}, "seconds": 25.34} | more


NAV = Nav(
    trail=[("Sentiment", "../index.html")],
    steps=[Step("1 Data", "1_data.html"), Step("2 Build", "2_build.html", current=True)],
    previous=Step("1 Data", "1_data.html"),
)


@pytest.fixture(scope="module")
def full() -> str:
    options = {"title": "Is it good?", "manifest": manifest(), "nav": NAV, "home_link": "../i.html"}
    return notebook_to_html(full_notebook(), **options)


def test_a_page_needs_nothing_but_itself(full):
    page = Page(full)
    assert not page.loads()
    assert not {"script", "iframe", "link", "object", "embed", "base", "form"} & page.names()
    assert not [name for _, attributes in page.tags for name in attributes if name[:2] == "on"]
    assert "@import" not in full
    assert not re.search(r"url\(\s*[^#)]", full)


def test_a_page_has_the_bones_of_a_document(full):
    page = Page(full)
    assert [tag for tag, _ in page.tags].count("h1") == 1
    for landmark in ("header", "nav", "main", "footer"):
        assert landmark in page.names()
    ids = page.all("id")
    assert len(ids) == len(set(ids))
    assert all(target[1:] in ids for target in page.all("href") if target.startswith("#"))
    assert all(attributes.get("alt") for tag, attributes in page.tags if tag == "img")
    levels = [int(tag[1]) for tag, _ in page.tags if re.fullmatch("h[1-6]", tag)]
    assert all(after <= before + 1 for before, after in itertools.pairwise(levels))
    assert page.tags[0] == ("html", {"lang": "en", "class": "left"})


def test_the_contents_are_the_sections_of_the_prose(full):
    toc = full[full.index('class="toc"') : full.index("<main")]
    assert re.findall(r'href="#([\w-]+)">(\w+)', toc) == [
        ("input", "Input"),
        ("measure", "Measure"),
    ]


def test_hostile_text_is_shown_as_text(full):
    page = Page(full)
    # in the prose and in the parameters of the footer; a script that was displayed is left out
    assert page.text.count(EVIL) == 2
    assert page.text.count("Of this output a script was left out") == 1
    assert "<img" not in page.text


def test_the_notebook_given_is_left_as_it_is():
    nb = full_notebook()
    before = copy.deepcopy(nb)
    notebook_to_html(nb, title="x", manifest=manifest())
    assert nb == before
    nbformat.validate(nb)


def test_a_page_is_the_same_each_time(full):
    options = {"title": "Is it good?", "manifest": manifest(), "nav": NAV, "home_link": "../i.html"}
    assert notebook_to_html(full_notebook(), **options) == full


def test_parameters_show_the_value_used_and_the_default_it_replaces():
    page = page_of(
        code("trials: int = 4  # settings tried [1..64]\nseed: int = 0", tags=["parameters"]),
        code("# Parameters\ntrials = 8\n", tags=["injected-parameters"]),
    )
    assert re.search(r"trials\s+int\s+8\s+default\s+4\s+settings tried \[1\.\.64\]", page.text)
    assert re.search(r"seed\s+int\s+0\s", page.text)
    assert "# Parameters" not in page.text


def test_a_failed_cell_is_told_at_the_top_and_in_place():
    error = new_output(
        "error", ename="KeyError", evalue="'label'", traceback=["\x1b[38;5;196mKeyError\x1b[0m"]
    )
    html = notebook_to_html(notebook(new_markdown_cell("# T"), code("f()", error)), title="x")
    text = Page(html).text
    assert "This run failed. KeyError: 'label'" in re.sub(r"\s+", " ", text)
    assert "This cell failed" in text
    assert '<span class="ansi-red-fg">KeyError</span>' in html


@pytest.mark.parametrize(
    ("codes", "name"),
    [
        ("31", "red"),
        ("38;5;28;01", "green"),  # 28 is (0, 135, 0) in the cube
        ("38;5;4", "blue"),
        ("38;2;200;190;10", "yellow"),
    ],
)
def test_terminal_colours_become_classes_without_fixed_colours(codes, name):
    html = sanitize.terminal(f"\x1b[{codes}mword\x1b[0m <b>")
    assert re.search(rf"ansi-{name}-(intense-)?fg", html)
    assert "style=" not in html
    assert "&lt;b&gt;" in html


def test_long_output_keeps_its_ends_and_counts_the_rest():
    text = "\n".join(f"line {i}." for i in range(12_000))
    page = page_of(code("loop()", prints(text)))
    assert "line 0." in page.text
    assert "line 11999." in page.text
    left_out = 12_000 - len(re.findall(r"line \d+\.", page.text))
    assert left_out == 12_000 - limits.LINES
    assert f"{left_out:,} lines left out here" in page.text


def test_heavy_figures_stay_and_the_page_says_what_it_weighs():
    heavy = base64.b64encode(bytes(range(256)) * 4_000).decode()  # 1.4 MB
    page = page_of(*(code("a", shows(image_png=heavy)) for _ in range(6)))
    assert [tag for tag, _ in page.tags].count("img") == 6
    assert re.search(r"This page weighs 8\.\d MB \(pictures 8\.\d", page.text)
    assert "--shrink-images" in page.text
    assert "weighs" not in page_of(code("a", shows(image_png=heavy))).text


def test_of_many_large_outputs_as_many_stay_as_a_page_holds():
    row = "<td>0.12</td>" * 200
    tables = [f"<table><tr>{row}</tr><tr><td>{i}</td></tr></table>" for i in range(400)]
    nb = notebook(code("many()", *map(shows, tables)))
    size = sum(map(len, tables))
    limits.drop_largest(nb, size // 2)
    dropped = [output for output in nb.cells[0].outputs if output["output_type"] == "stream"]
    assert 200 <= len(dropped) < 204
    assert all("An output of 3 kB was left out of the page" in output["text"] for output in dropped)


def test_pictures_say_what_the_notebook_says_of_them():
    described = shows(image_png=PIXEL)
    described.metadata["image/png"] = {"alt": 'A "red" dot'}
    page = page_of(code("a", described), code("b", shows(image_png=PIXEL)))
    alts = [attributes["alt"] for tag, attributes in page.tags if tag == "img"]
    assert alts == ['A "red" dot', "Picture from code cell 2, not described"]


def test_widgets_give_way_to_their_text():
    output = shows("<input type=range><button>go</button>", text_plain="Slider(value=3)")
    page = page_of(code("slider", output))
    assert "Slider(value=3)" in page.text
    assert "button" not in page.text


def test_links_outside_become_their_address_and_notebook_links_find_their_page():
    prose = new_markdown_cell(
        "[paper](https://arxiv.org/abs/2411.00640) [next](3_release.ipynb) [lost](gone.ipynb) "
        "[run](javascript:alert(1)) ![dot](https://example.org/dot.png)"
    )
    page = page_of(prose, resolve={"3_release.ipynb": "3_release.html"}.get)
    assert "paper (https://arxiv.org/abs/2411.00640)" in page.text
    assert "3_release.html" in page.all("href")
    assert not [href for href in page.all("href") if href[:1] != "#" and href != "3_release.html"]
    assert page.all("src") == []
    assert "[dot: the picture https://example.org/dot.png is not on this page" in page.text


def test_only_one_first_heading_and_outputs_stay_below_the_sections():
    rendered = body(
        notebook(
            new_markdown_cell("# One"),
            new_markdown_cell("# Two\n\n## Input"),
            new_markdown_cell("## Input"),
            code("card", shows("<h1>Model card</h1><h2>Use</h2>")),
        )
    )
    assert rendered.title == "One"
    assert [(level, text) for level, _, text in rendered.headings] == [
        (1, "One"),
        (2, "Two"),
        (2, "Input"),
        (2, "Input"),
    ]
    assert [name for _, name, _ in rendered.headings][2:] == ["input", "input-2"]
    assert "<h3>Model card</h3><h4>Use</h4>" in rendered.html


def test_two_notebooks_can_share_a_page():
    left = body(full_notebook(), prefix="left-")
    right = body(full_notebook(), prefix="right-")
    page = Page(left.html + right.html)
    ids = page.all("id")
    assert len(ids) == len(set(ids))
    targets = re.findall(r'(?:url\(|href=")#([\w-]+)', left.html + right.html)
    assert targets
    assert set(targets) <= set(ids)
    assert [text for _, _, text in left.headings] == [text for _, _, text in right.headings]


def test_columns_of_numbers_stand_to_the_right():
    frame = "<table><tr><th></th><th>name</th><th>p</th></tr><tr><th>0</th><td>a</td><td>0.5</td>"
    page = page_of(code("frame", shows(frame + "</tr></table>")))
    assert [attributes.get("class") for tag, attributes in page.tags if tag in ("td", "th")] == [
        None,
        None,
        "num",
        None,
        None,
        "num",
    ]
    boxes = [attributes for tag, attributes in page.tags if attributes.get("class") == "scroll"]
    assert [box["tabindex"] for box in boxes] == ["0"]


def test_the_footer_tells_what_the_page_was_made_from():
    made = manifest(git="0123456789" * 4, started="2026-11-24T00:13:37+00:00", packages={"a": "1"})
    html = notebook_to_html(notebook(new_markdown_cell("# T")), title="x", manifest=made)
    footer = dict(re.findall(r"<dt>(.*?)</dt><dd>(.*?)</dd>", html))
    assert footer.pop("Parameters") == f"task {escape(EVIL, quote=False)}".replace("'", "&#39;")
    assert footer == {
        "Run": "a-run",
        "Notebook": "notebooks/mlops/2_build.ipynb",
        "Status": "ok",
        "Date": "24 November 2026, 00:13 UTC",
        "Took": "25 s",
        "Commit": "012345678901",
        "Packages": "a 1",
    }


NASTY = [
    *("<script>", "</script>", "<svg onload=alert(1)>", "<svg>", "</svg>", "<math><mtext>"),
    *("<style>", "</style>", "<a href='javascript:alert(1)'>", "</a>", "<img src=x onerror=a()>"),
    *(
        "<iframe srcdoc='<script>'>",
        "<table><td>",
        "</table>",
        "<!--",
        "-->",
        "<p title='\">",
        "'>",
    ),
    *(
        "<use href='data:x'>",
        "<svg><path style='fill:url(//e)'>",
        "<details ontoggle=a() open>",
        "text",
        "&lt;",
    ),
    *(
        "<h2 id=main>",
        "</h2>",
        "<title>",
        "<noscript>",
        "<foreignObject>",
        "<annotation-xml>",
        "\0",
    ),
]


@settings(max_examples=150, deadline=None)
@given(st.lists(st.sampled_from(NASTY), max_size=8).map("".join))
def test_no_markup_gets_anything_to_run_or_load(html):
    for clean in (sanitize.Fitter().output(html), sanitize.Fitter().prose(html)):
        page = Page(clean)
        allowed = {tag.lower() for tag in sanitize.TAGS}
        assert page.names() <= allowed
        assert not [n for _, attributes in page.tags for n in attributes if n[:2] == "on"]
        assert not page.loads()
        assert "javascript:" not in " ".join(page.all("href"))


@settings(max_examples=100, deadline=None)
@given(st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=60))
def test_printed_text_comes_through_to_the_letter(text):
    html = sanitize.terminal(text)
    assert Page(html).text == text
    assert Page(html).names() == set()


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", [390, 1440])
def test_a_browser_shows_the_page_as_meant(chromium, full, tmp_path, width, dark):
    path = tmp_path / "page.html"
    path.write_text(full)
    chromium.open(path, width, dark=dark)
    assert chromium.evaluate("document.title") == "Is it good?"  # no script of a review ran
    assert chromium.evaluate("document.documentElement.scrollWidth") <= width
    assert chromium.evaluate("document.querySelector('.scroll svg').clientWidth") > 300
    assert [url for url in chromium.requests if not url.startswith(("file:", "data:"))] == []
    ratio, text = chromium.evaluate(browser.CONTRAST)
    assert ratio >= 4.5, text
    paper = chromium.evaluate("getComputedStyle(document.documentElement).backgroundColor")
    assert (sum(map(int, re.findall(r"\d+", paper)[:3])) < 200) is dark


def test_a_cell_of_a_nested_table_aligns_only_its_own_column():
    inner = "<table><tr><td>1</td></tr><tr><td>2</td></tr></table>"
    html = f"<table><tr><th></th><td>word</td><td>{inner}</td></tr></table>"
    fitted = sanitize.Fitter().output(html)
    assert fitted.count('class="num"') == 2
    assert fitted.count("<td") == fitted.count("</td>") == 5
    assert "<th" not in fitted  # the empty corner


def test_styles_go_with_their_content_unless_they_never_end():
    fitted = sanitize.Fitter().output("a<style>p {}</style>b<STYLE x>q</style >c<style>d")
    assert fitted == "abc&lt;style&gt;d"


def test_a_very_long_printed_line_keeps_its_ends():
    page = page_of(code("1", prints("start " + "\tx" * 600_000 + " end")))
    assert "start" in page.text
    assert " end" in page.text
    assert re.search(r"\d\d\d,\d\d\d characters left out here", page.text)


def nested(n):
    return "<table><tr><td>1" * n + "</td></tr></table>" * n


@pytest.mark.parametrize(
    ("html", "n"),
    [
        (nested, 30),
        (lambda n: "<style " * n, 1_000),
        (lambda n: "<p id='x'>a</p>" * n, 1_000),
        (lambda n: "<table>" + "<tr><td>1</td></tr>" * n + "</table>", 300),
        (lambda n: "<table><tr>" + "<td>1" * n, 300),
        (lambda n: "<div>" * n + "<table></table>" * n, 30),
        (lambda n: " " * n + "x" + "<table></table>" + " " * n + "x", 1_000),
        (lambda n: "<style>a{}" * n + "</style>", 300),
        (lambda n: "<body " * n, 1_000),
    ],
)
def test_ten_times_the_output_takes_about_ten_times_as_long(html, n):
    few, many = (least_cpu_s(html(size)) for size in (n, 10 * n))
    assert many < 40 * few + 0.5


def least_cpu_s(html):
    """Return the least of three times, so that a collection of other tests' garbage is none."""
    took = []
    for _ in range(3):
        began = time.process_time()
        sanitize.Fitter().output(html)
        took.append(time.process_time() - began)
    return min(took)


@pytest.mark.long
def test_a_page_of_a_thousand_displays_is_written_in_seconds():
    """200 took 403 s: the page was rendered anew for each output left out (many-displays-page)."""
    rows = "".join(f"<tr><th>{i}</th>{'<td>0.123456</td>' * 5}</tr>" for i in range(50))
    frame = shows(f"<table><tbody>{rows}</tbody></table>")
    began = time.perf_counter()
    page = notebook_to_html(notebook(*(code("frame", frame) for _ in range(1_000))), title="many")
    assert time.perf_counter() - began < 30  # 10 on a machine that does nothing else
    assert page.count("<table") == 1_000
