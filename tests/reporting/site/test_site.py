"""The site: made of runs only, swapped in whole, every link leading somewhere."""

import multiprocessing
import re
from pathlib import Path
from urllib.parse import unquote

import browser
import pytest
from page import Page

from diptych.base.lazy import import_nbformat
from diptych.execution.runs import Run
from diptych.reporting.site.site import STAGES, ScenarioRuns, build

nbformat = import_nbformat()  # builders import this module anew
v4 = nbformat.v4
EVIL = "<script>document.title = 'taken'</script>"
ACCURACY = {"value": 0.93125, "low": 0.919, "high": 0.942, "unit": ""}


def run_of(root: Path, stage: str, *, panel="mlops", failed=False, values=None, number=0) -> Run:
    """A run folder as the runner leaves it, with a notebook that asks a question."""
    run_id = f"20261124-00133{number}-{panel}-{stage}-3f9a" + ("-failed" if failed else "")
    folder = root / run_id
    folder.mkdir(parents=True)
    cells = [
        v4.new_markdown_cell(
            f"# What of {stage}?\n\n[next](2_build.ipynb) [start](../start_here.ipynb)"
        ),
        v4.new_markdown_cell("## Input\n\nProse."),
        v4.new_code_cell("print(1)", outputs=[v4.new_output("stream", name="stdout", text=EVIL)]),
    ]
    if failed:
        trace = ["Traceback", "ValueError: no rows"]
        error = v4.new_output("error", ename="ValueError", evalue="no rows", traceback=trace)
        cells.append(v4.new_code_cell("f()", outputs=[error]))
    nbformat.write(v4.new_notebook(cells=cells), folder / "notebook.ipynb")
    manifest = {
        "id": run_id,
        "notebook": f"notebooks/{panel}/{stage}.ipynb",
        "name": f"{panel}/{stage}",
        "parameters": {"task": "reviews"},
        "git": "ab" * 20,
        "python": "3.11.9",
        "packages": {"pandas": "3.1.1"},
        "started": f"2026-11-24T00:13:3{number}+00:00",
        "seconds": 12.5,
        "status": "failed" if failed else "ok",
    }
    return Run(run_id, folder, manifest, {"notebook": manifest["name"], "values": values or {}})


def scenario_of(*runs: Run, name="sentiment", title="Sentiment", question="Good or bad?"):
    return ScenarioRuns(name, title, question, list(runs))


@pytest.fixture
def site(tmp_path) -> Path:
    """A site of two scenarios: three stages, the last failed; and one stage."""
    values = {
        "accuracy": ACCURACY,
        "rows": {"value": 24_412, "low": None, "high": None, "unit": ""},
        "p99": {"value": 4.43, "low": 4.1, "high": 5.0, "unit": "ms"},
    }
    runs = [
        run_of(tmp_path / "runs", "1_data", number=1),
        run_of(tmp_path / "runs", "2_build", number=2, values=values),
        run_of(tmp_path / "runs", "3_release", number=3, failed=True),
    ]
    other = run_of(tmp_path / "more", "2_build", number=4)
    asked = f"Is {EVIL} a question?"
    scenarios = [scenario_of(*runs), scenario_of(other, name="tumours", title=EVIL, question=asked)]
    assert build(scenarios, tmp_path / "site") == tmp_path / "site" / "index.html"
    return tmp_path / "site"


def files_of(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def words(html: str) -> str:
    return re.sub(r"\s+", " ", Page(html).text)


def test_a_site_is_a_landing_page_and_one_page_a_run(site):
    assert files_of(site) == {
        "index.html",
        "sentiment/1_data.html",
        "sentiment/2_build.html",
        "sentiment/3_release.html",
        "tumours/2_build.html",
    }


def test_every_page_stands_alone_and_every_link_leads_somewhere(site):
    pages = {path: Page(path.read_text()) for path in site.rglob("*.html")}
    for path, page in pages.items():
        assert not page.loads()
        assert "script" not in page.names()
        assert [tag for tag, _ in page.tags].count("h1") == 1
        ids = page.all("id")
        assert len(ids) == len(set(ids))
        assert path.stat().st_size <= 400_000  # a page of ours is light
        for link in page.all("href"):
            file, _, anchor = unquote(link).partition("#")
            target = (path.parent / file).resolve() if file else path
            assert target in pages, f"{path}: {link}"
            assert not anchor or anchor in pages[target].all("id"), f"{path}: {link}"


def test_the_landing_page_shows_the_stages_and_what_they_ask(site):
    text = words((site / "index.html").read_text())
    for stage in STAGES:
        assert stage[2:].capitalize() in text
    assert "Good or bad?" in text
    assert "What of 1_data?" in text
    assert "Release failed What of 3_release?" in text
    assert "Monitor not run" in text


def test_measured_values_stand_with_their_interval_and_lead_to_their_page(site):
    html = (site / "index.html").read_text()
    rows = [words(row) for row in re.findall(r"<tr>.*?</tr>", html, re.DOTALL)]
    assert " accuracy 2 Build 0.931 0.919 to 0.942 " in rows
    assert " p99 2 Build 4.43 ms 4.10 to 5.00 " in rows
    assert " rows 2 Build 24,412 " in rows
    assert '<a href="sentiment/2_build.html">accuracy</a>' in html
    assert html.index(">accuracy</a>") < html.index("<details") < html.index(">rows</a>")


def test_a_panel_without_runs_shows_no_figure(site, tmp_path):
    text = words((site / "index.html").read_text())
    assert text.count("Not yet measured.") == 2
    both = scenario_of(
        run_of(tmp_path / "both", "2_build", values={"accuracy": ACCURACY}),
        run_of(tmp_path / "both", "2_build", panel="llmops", values={"accuracy": ACCURACY}),
    )
    build([both], site)
    assert "Not yet measured" not in words((site / "index.html").read_text())
    assert (site / "sentiment" / "llmops-2_build.html").exists()


def test_a_failed_run_is_shown_as_failed(site):
    text = words((site / "sentiment" / "3_release.html").read_text())
    assert "This run failed. ValueError: no rows" in text
    assert "failed" in words((site / "sentiment" / "1_data.html").read_text())  # in its strip


def test_pages_lead_home_back_and_on(site):
    html = (site / "sentiment" / "2_build.html").read_text()
    links = re.findall(r'<a[^>]* rel="(prev|next)" href="([^"]+)"', html)
    assert links == [("prev", "1_data.html"), ("next", "3_release.html")]
    assert '<a class="brand" href="../index.html">' in html
    assert '<a href="../index.html">start</a>' in html  # a link in the notebook's prose


def test_titles_and_questions_are_escaped(site):
    assert words((site / "index.html").read_text()).count(EVIL) == 3  # the title twice


def test_the_footer_dates_the_report_by_its_newest_run(site):
    text = words((site / "index.html").read_text())
    footer = text[text.index("What this report was made from") :]
    for said in ("24 November 2026, 00:13 UTC", "Commitabababababab ", "pandas 3.1.1", "Runs4"):
        assert said in footer


def test_the_same_stage_twice_makes_two_pages(tmp_path):
    runs = [run_of(tmp_path, "2_build", number=n) for n in (1, 2)]
    build([scenario_of(*runs)], tmp_path / "site")
    names = files_of(tmp_path / "site")
    assert names == {"index.html", "sentiment/2_build.html", "sentiment/2_build-2.html"}


def test_a_build_that_fails_leaves_the_old_site(site, tmp_path):
    before = {name: (site / name).read_text() for name in files_of(site)}
    good, broken = run_of(tmp_path / "a", "1_data"), run_of(tmp_path / "a", "2_build")
    (broken.folder / "notebook.ipynb").write_text("{ half a noteb")
    with pytest.raises(ValueError, match=rf"{broken.id}: its notebook.ipynb cannot be read"):
        build([scenario_of(good, broken)], site)
    assert {name: (site / name).read_text() for name in files_of(site)} == before
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


def test_a_new_build_replaces_the_old_one_whole(site, tmp_path):
    build([scenario_of(run_of(tmp_path / "b", "1_data"))], site)
    assert files_of(site) == {"index.html", "sentiment/1_data.html"}
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


def test_a_folder_of_someone_else_is_not_replaced(tmp_path):
    theirs = tmp_path / "site"
    theirs.mkdir()
    (theirs / "index.html").write_text("<h1>My holidays</h1>")
    with pytest.raises(ValueError, match="holds something that is not a site of Diptych"):
        build([scenario_of(run_of(tmp_path, "1_data"))], theirs)
    assert (theirs / "index.html").read_text() == "<h1>My holidays</h1>"


def test_nothing_to_show_is_refused(tmp_path):
    with pytest.raises(ValueError, match="no run to show"):
        build([scenario_of()], tmp_path / "site")


def _build_often(root: Path, name: str) -> None:
    scenario = scenario_of(run_of(root / name, "1_data"), name=name)
    for _ in range(4):
        build([scenario], root / "site")


def test_builds_at_once_leave_one_whole_site(tmp_path):
    context = multiprocessing.get_context("spawn")
    builders = [context.Process(target=_build_often, args=(tmp_path, name)) for name in ("a", "b")]
    for builder in builders:
        builder.start()
    for builder in builders:
        builder.join()
    assert [builder.exitcode for builder in builders] == [0, 0]
    assert files_of(tmp_path / "site") in (
        {"index.html", "a/1_data.html"},
        {"index.html", "b/1_data.html"},
    )
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


def test_a_browser_shows_the_landing_page_as_meant(chromium, site):
    for width in (390, 1440):
        for dark in (False, True):
            chromium.open(site / "index.html", width, dark=dark)
            assert chromium.evaluate("document.title").startswith("Diptych")
            assert chromium.evaluate("document.documentElement.scrollWidth") <= width
            assert all(url.startswith("file:") for url in chromium.requests)
            ratio, text = chromium.evaluate(browser.CONTRAST)
            assert ratio >= 4.5, text
    panels = "[...document.querySelectorAll('.panel')].map(p => p.getBoundingClientRect().top)"
    left, right = chromium.evaluate(panels)[:2]
    assert left == right  # side by side where there is room
    chromium.open(site / "index.html", 390)
    left, right = chromium.evaluate(panels)[:2]
    assert left < right


def test_who_speaks_stands_at_the_head_of_each_page_of_llmops(tmp_path):
    runs = [run_of(tmp_path / "runs", stage, panel=panel) for panel, stage in
            (("mlops", "2_build"), ("llmops", "2_build"), ("llmops", "3_release"))]  # fmt: skip
    runs[1].manifest["parameters"]["models"] = ["local", "local/qwen2.5-coder-0.5b", "openai/gpt-5"]
    build([scenario_of(*runs)], tmp_path / "site")
    folder = tmp_path / "site" / "sentiment"
    for page in (folder / "llmops-2_build.html", folder / "llmops-3_release.html",
                 folder / "both-2_build.html", tmp_path / "site" / "index.html"):  # fmt: skip
        text = page.read_text("utf-8")
        assert "The language model in the box has 3.44M parameters" in text
        assert "Qwen2.5-Coder 0.5B Instruct (Q4_K_M) of Qwen, Alibaba Cloud, 494 M param" in text
        assert "Answers come from openai/gpt-5." in text
    assert "in the box" not in (folder / "2_build.html").read_text("utf-8")
