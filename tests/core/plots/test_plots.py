import ast
import hashlib
import inspect
import json
import os
import re
import subprocess
import sys
from html import unescape
from pathlib import Path
from urllib.parse import unquote
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest
from page import Page

from diptych.core.plots import html as figures
from diptych.core.plots import plots, style, svg
from diptych.execution.pages.export import TEMPLATES
from diptych.execution.pages.sanitize import Fitter

DRAWING = """
import numpy as np
import pandas as pd
from diptych.core.plots import plots
rng = np.random.default_rng(0)
months = [f"{2025 + i // 12}-{i % 12 + 1:02d}" for i in range(24)]
level = np.r_[np.full(18, 0.92), np.full(6, 0.81)] + rng.normal(0, 0.005, 24)
board = pd.DataFrame({"name": ["a <b> model", "other"], "value": [0.9123, 0.8], "low": [0.9, 0.78],
                      "high": [0.92, np.nan]})
sure = rng.uniform(0.5, 1, 2000)
"""
PLOTS = {
    "interval": 'plots.interval_plot(board, reference=(0.85, "floor"), caption="Two models")',
    "line": """
low, high = np.r_[level, level] - 0.02, np.r_[level, level] + 0.02
series = ["true"] * 24 + ["estimated"] * 24
plots.line_with_band(months * 2, np.r_[level, level + 0.01], low, high, series, xlabel="month",
                     ylabel="accuracy", marks={"2026-07": "alarm", "2026-08": "alarm"})
""",
    "days": """
days = pd.date_range("2026-01-01", periods=5, tz="UTC")
plots.line_with_band(days, [1, 2, 3, 4, 5], xlabel="day", ylabel="calls", reference=(3, "limit"))
""",
    "learning": """
curve = {"rows": [500, 1000], "value": [0.8, 0.9], "low": [0.78, 0.89], "high": [0.82, 0.91]}
plots.learning_curve(pd.DataFrame(curve))
""",
    "reliability": """
plots.reliability_plot({"raw": sure ** 0.5, "calibrated": sure}, rng.random(2000) < sure)
""",
    "load": """
names = ["p50_ms", "p95_ms", "first_token_p50_ms", "requests_per_s", "cpu_ms", "memory_mb"]
curve = pd.DataFrame({name + end: [1.0 + at, 2.0 + at] for at, name in enumerate(names)
                      for end in ("", " low", " high")})
plots.load_curve(curve.assign(concurrency=[1, 8], requests=[32, 32], failed=0))
""",
    "latency": """
plots.latency_plot({"one": rng.lognormal(1, 0.5, 9000), "two": [1, 2, 3]}, limit=9)
""",
    "drift": """
scores = np.outer([0.0, 0.4], np.linspace(0, 1, 24))
frame = pd.DataFrame(scores, index=["length", "words"], columns=months)
plots.drift_plot(frame, 0.2, score="PSI")
""",
}


SHELL = """
import json, sys
from IPython.core.interactiveshell import InteractiveShell
from IPython.utils.capture import capture_output
drawing, plots = json.load(sys.stdin)
shell = InteractiveShell.instance()
shell.run_cell(drawing).raise_error()
found = {}
for name, code in plots.items():
    with capture_output() as got:
        shell.run_cell(code).raise_error()
    found[name] = [output.data for output in got.outputs]
print("found", json.dumps(found))
"""


def displayed(folder: Path, codes: dict[str, str], **variables) -> dict[str, dict]:
    """Return what each piece of code displays in a shell of IPython, one output each."""
    done = subprocess.run(
        [sys.executable, "-c", SHELL],
        input=json.dumps([DRAWING, codes]),
        env={**os.environ, "IPYTHONDIR": str(folder), **variables},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    outputs = json.loads(done.stdout.rpartition("found ")[2])
    assert {name: len(each) for name, each in outputs.items()} == dict.fromkeys(codes, 1)
    return {name: each[0] for name, each in outputs.items()}


@pytest.fixture(scope="module")
def shown(tmp_path_factory) -> dict[str, dict]:
    """What each ready-made plot displays."""
    return displayed(tmp_path_factory.mktemp("ipython"), PLOTS)


@pytest.fixture(scope="module")
def live(tmp_path_factory) -> dict[str, dict]:
    """What tables display in a notebook that a person works in."""
    codes = {
        "mixed": """
values = [1200.5, 7.25, np.nan, *range(1, 28)]
names = [f"model {n}" for n in range(30)]
plots.table(pd.DataFrame({"name": names, "value": values}), rows=20)
""",
        "long": 'plots.table(pd.DataFrame({"x": range(1_100)}), rows=10)',
    }
    folder = tmp_path_factory.mktemp("ipython")
    return displayed(folder, codes, JPY_SESSION_NAME="a.ipynb")


def curve(values=(1, 3, 2)):
    fig, axes = plots.figure()
    axes.plot(values, "o-", label="a")
    axes.legend(frameon=False)
    return fig


def svg_of(html: str) -> ElementTree.Element:
    """Return the picture in a figure's address, its names without their space."""
    (picture,) = [attributes["src"] for tag, attributes in Page(html).tags if tag == "img"]
    kind, _, text = picture.partition(",")
    assert kind == "data:image/svg+xml"
    root = ElementTree.fromstring(unquote(text))
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    for node in root.iter():
        node.tag = node.tag.partition("}")[2]
    return root


def test_a_figure_without_a_description_is_refused():
    with pytest.raises(ValueError, match="alt: it is empty; describe"):
        plots.show(curve(), "  ")


def test_every_plot_is_drawn_here():
    functions = inspect.getmembers(plots, inspect.isfunction)
    own = {name for name, function in functions if function.__module__ == plots.__name__}
    drawn = set(re.findall(r"plots\.(\w+)\(", " ".join(PLOTS.values())))
    shown = {name for name in own if not name.startswith("_") and not name.endswith("_html")}
    assert shown == drawn


@pytest.mark.parametrize("name", PLOTS)
def test_each_plot_shows_one_picture_with_words_numbers_and_a_table(shown, name):
    data = shown[name]
    assert set(data) == {"text/html", "text/plain"}
    page = Page(data["text/html"])
    (picture,) = [attributes for tag, attributes in page.tags if tag == "img"]
    assert picture["alt"] == data["text/plain"]
    assert re.search(r"\d", data["text/plain"])
    assert "Table of the same data" in page.text
    assert "table" in [tag for tag, _ in page.tags]
    assert len(picture["src"]) <= 40_000


def test_a_line_of_many_points_has_no_markers_and_stays_small(tmp_path):
    code = "plots.line_with_band(range(480), np.arange(480.0), xlabel='row', ylabel='sum')"
    html = displayed(tmp_path, {"many": code})["many"]["text/html"]
    root = svg_of(html)
    assert len(list(root.iter("use"))) < 20  # of the axes
    assert len(Page(html).all("src")[0]) < 20_000


def test_alarms_are_marked_by_shape_and_word_and_spoken(shown):
    html = shown["line"]["text/html"]
    assert "Marked: alarm at 2026-07, alarm at 2026-08." in shown["line"]["text/plain"]
    texts = [element.text for element in svg_of(html).iter("text")]
    assert texts.count("alarm") == 1  # neighbours share one label
    assert Page(html).text.count("alarm") == 4  # the table has both windows of both lines


def test_drift_names_what_is_over_the_threshold(shown):
    # 0.4 * i / 23 reaches 0.2 from i = 12, the first month of 2026
    windows = ", ".join(f"2026-{month:02d}" for month in range(1, 13))
    assert shown["drift"]["text/plain"].endswith(f"At 0.2 or more: words in {windows}.")


def test_latency_speaks_the_percentiles(shown):
    # of 1, 2, 3 linearly interpolated: 2, 2.9 and 2.98
    assert "two: p50 2, p95 2.9, p99 2.98 ms" in shown["latency"]["text/plain"]


def test_the_same_figure_is_the_same_text_in_another_process():
    program = (
        "import hashlib, sys; from diptych.core.plots import html, plots\n"
        "fig, axes = plots.figure(); axes.plot([1, 3, 2], 'o-', label='a')\n"
        "axes.legend(frameon=False)\n"
        "print(hashlib.sha256(html.figure_html(fig, 'a curve').encode()).hexdigest())"
    )
    environment = {**os.environ, "PYTHONHASHSEED": "7"}
    done = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True
    )
    here = figures.figure_html(curve(), "a curve")
    assert hashlib.sha256(here.encode()).hexdigest() == done.stdout.strip()


def test_a_picture_loads_nothing_and_what_it_refers_to_is_in_it():
    root = svg_of(figures.figure_html(curve(), "a curve"))
    text = ElementTree.tostring(root, encoding="unicode")
    ids = {element.get("id") for element in root.iter()}
    referred = set(re.findall(r"(?:url\(|href=\")#([^)\"]+)", text))
    assert referred
    assert referred <= ids
    assert not re.search(r"url\([^#]|@import|http(?!://www.w3.org/2000/svg)|DejaVu", text)


def test_numbers_written_in_a_picture_keep_their_digits():
    fig, axes = plots.figure()
    words = """p = 0.123456 <i> "50 %" & 'a' #7"""
    axes.text(0.5, 0.5, words)
    html = figures.figure_html(fig, "words")
    assert words in [element.text for element in svg_of(html).iter("text")]


def luminance(colour: str) -> float:
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    r, g, b = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts)
    return 0.2126 * r + 0.7152 * g + 0.0722 * b


def contrast(colour: str, paper: str) -> float:
    """WCAG 2.2, 1.4.3."""
    light, dark = sorted((luminance(colour), luminance(paper)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def over(colour: str, opacity: float, paper: str) -> str:
    parts = [[int(c[i : i + 2], 16) for i in (1, 3, 5)] for c in (colour, paper)]
    mixed = (round(opacity * a + (1 - opacity) * b) for a, b in zip(*parts, strict=True))
    return "#" + "".join(f"{part:02x}" for part in mixed)


def painted(node: ElementTree.Element, inherited: dict) -> list[tuple[str, str, float]]:
    """Return what is drawn: whether it is line, area or text, its colour and how opaque it is."""
    here = {**inherited, **node.attrib}
    here["opacity"] = float(inherited.get("opacity", 1)) * float(node.get("opacity", 1))
    if node.tag in ("defs", "style") or node.get("class") == "paper":
        return []
    drawn = [line for child in node for line in painted(child, here)]
    kinds = {"text": ("fill",), "path": ("stroke", "fill"), "use": ("stroke", "fill")}
    for key in kinds.get(node.tag, ()):
        opacity = here["opacity"] * float(here.get(f"{key}-opacity", 1))
        kind = "text" if node.tag == "text" else "line" if key == "stroke" else "area"
        if (colour := here.get(key, "none")) != "none":
            drawn.append((kind, colour, opacity))
    return drawn


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("name", PLOTS)
def test_what_must_be_seen_is_seen_on_its_paper(shown, name, dark):
    colours = style.DARK if dark else style.LIGHT
    inks = dict(zip(style.SERIES, style.DARK_SERIES if dark else style.SERIES, strict=True))
    inks["currentColor"] = colours["ink"]
    drawn = set(painted(svg_of(shown[name]["text/html"]), {}))
    assert {"text", "line"} <= {kind for kind, _, _ in drawn}
    for kind, colour, opacity in drawn:
        # the cells of the map of drift are as faint as the drift is little; its dots tell
        if opacity > style.FAINT and not (name == "drift" and kind == "area" and opacity < 1):
            seen = contrast(over(inks[colour], opacity, colours["paper"]), colours["paper"])
            assert seen >= (4.5 if kind == "text" else 3), (kind, colour, opacity)
    if name == "drift":  # and are seen on the darkest cell
        darkest = max(opacity for _, colour, opacity in drawn if colour == style.SERIES[1])
        cell = over(inks[style.SERIES[1]], darkest, colours["paper"])
        assert contrast(colours["ink"], cell) >= 3


def test_papers_and_inks_are_those_of_the_pages():
    css = (TEMPLATES / "diptych.css").read_text()
    for name in ("paper", "ink"):
        of_pages = re.findall(rf"--{name}: (#[0-9a-f]{{6}});", css)
        assert of_pages == [style.LIGHT[name], style.DARK[name]]


def test_what_users_wrote_stays_text_everywhere():
    evil = "<script>alert(1)</script> & <img src=x onerror=alert(1)>"
    frame = pd.DataFrame({evil: [evil]}, index=pd.Index([evil], name="review"))
    html = figures.figure_html(curve(), evil, frame, caption=evil) + figures.table_html(frame, evil)
    page = Page(html)
    assert [tag for tag, _ in page.tags if tag in ("script", "img")] == ["img"]  # the figure
    assert not [name for _, attributes in page.tags for name in attributes if name[:2] == "on"]
    assert page.text.count(evil) == 8  # two tables of heading, index and cell, and two captions
    assert evil in page.all("alt")


def cells_of(frame: pd.DataFrame, **options) -> list[str]:
    html = figures.table_html(frame, **options)
    return [unescape(cell) for cell in re.findall(r"<td[^>]*>(.*?)</td>", html)]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([0.12345, 1.0], ["0.123", "1.000"]),
        ([12.345, 1.5], ["12.35", "1.50"]),  # 12.345 is stored a little above
        ([0.5, 1e-9], ["0.500", "<0.001"]),
        ([0.5, np.nan], ["0.500", "—"]),
        ([2.0, 3.0], ["2", "3"]),
        ([13.0, 0.9444, np.nan], ["13", "0.944", "—"]),
        ([2024, 7], ["2024", "7"]),
        ([24_000, 7], ["24,000", "7"]),
        ([True, False], ["yes", "no"]),
        (["x", None], ["x", "—"]),
        (pd.to_datetime(["2026-01-02", "2026-03-04"]), ["2026-01-02", "2026-03-04"]),
    ],
)
def test_numbers_are_rounded_for_reading(values, expected):
    assert cells_of(pd.DataFrame({"x": values})) == expected


def test_numbers_stand_to_the_right_and_words_to_the_left():
    html = figures.table_html(pd.DataFrame({"name": ["a"], "value": [0.5]}), "A table")
    sides = re.findall(r"<t[hd][^>]*text-align:(\w+)", html)
    assert sides == ["left", "right", "left", "right"]


def test_a_long_table_says_how_much_it_leaves_out():
    html = figures.table_html(pd.DataFrame({"x": range(1_100)}), rows=10)
    assert html.count("<tr>") == 11
    assert "and 1,090 more rows" in html


def test_a_table_in_a_live_notebook_is_sorted_filtered_and_paged(chromium, tmp_path, live):
    names, html = [f"model {n}" for n in range(30)], live["mixed"]["text/html"]
    (tmp_path / "page.html").write_text(f"<!doctype html><meta charset=utf-8>{html}")
    chromium.open(tmp_path / "page.html")
    column = "[...document.querySelectorAll('tbody tr')].map(row => row.cells[{}].textContent)"
    click = "void document.querySelectorAll('{}')[{}].click()"
    assert chromium.evaluate(column.format(0)) == names[:20]
    chromium.evaluate(click.format("button", 1))
    assert chromium.evaluate(column.format(0)) == names[20:]
    chromium.evaluate(click.format("th", 1))
    assert chromium.evaluate(column.format(1))[:2] == ["1", "2"]
    chromium.evaluate(click.format("th", 1))
    assert chromium.evaluate(column.format(1))[:2] == ["1,200", "27"]
    chromium.evaluate(click.format("button", 1))
    assert chromium.evaluate(column.format(1))[-1] == "—"  # last in either order
    write = "box = document.querySelector('input'); box.value = 'MODEL 2'; void box.oninput()"
    chromium.evaluate(write)
    assert len(chromium.evaluate(column.format(0))) == 11
    assert "11 of 11" in chromium.evaluate("document.body.innerText")


def test_a_long_table_reads_without_its_script_and_pages_leave_the_script_out(live):
    page = Page(Fitter().output(live["long"]["text/html"]))
    rows = [attributes for tag, attributes in page.tags if tag == "tr"]
    assert ["hidden" in attributes for attributes in rows] == [False] * 11 + [True] * 490
    assert "and 1,090 more rows" in page.text
    assert "document" not in page.text


def test_a_meaningful_index_is_a_column_and_a_row_number_is_not():
    frame = pd.DataFrame({"x": [1, 2]})
    assert cells_of(pd.concat([frame, frame])) == ["1", "2", "1", "2"]
    assert cells_of(frame.set_index(pd.Index(["a", "b"]))) == ["a", "1", "b", "2"]


def test_a_script_prints_the_description(capsys):
    plots.show(curve(), "A curve up and down.")
    assert capsys.readouterr().out == "A curve up and down.\n"


def test_plots_know_nothing_of_the_lifecycle():
    for module in (plots, figures, svg):
        tree = ast.parse(Path(module.__file__).read_text())
        froms = [n.module for n in ast.walk(tree) if isinstance(n, ast.ImportFrom)]
        ours = {name.split(".")[1] for name in froms if name.startswith("diptych.")}
        assert ours <= {"base", "core"}


def test_a_column_of_whole_numbers_may_hold_gaps_only():
    frame = pd.DataFrame({"rows": pd.array([None, None], dtype="Int64")})
    assert figures.table_html(frame).count("<tr>") == 3
