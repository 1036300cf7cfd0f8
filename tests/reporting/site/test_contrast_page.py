"""The contrast in the site: each figure leads to its run, and anyone can read it."""

import functools
import json
import re
from pathlib import Path

import axe
import browser
import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output
from page import Page
from reporting.both import NAME, SCENARIO, runs
from reporting.site.test_panels import notebook_into
from reporting.site.test_site import EVIL, run_of, scenario_of, words

from diptych.execution.pages import pdf
from diptych.reporting.contrast import contrast, questions
from diptych.reporting.contrast.breakeven import Workload
from diptych.reporting.contrast.measures import Assumptions
from diptych.reporting.scenario import Scenario
from diptych.reporting.site import fresh
from diptych.reporting.site.site import build

ASSUMPTIONS, WORKLOAD = Assumptions(), Workload()
MODELS = ["openai/gpt-4o", "anthropic/claude-haiku-4-5"]
NAMES = ("sentiment", "tumours")
LOOKED_AT = ("index.html", "contrast.html", "contrast-sentiment.html", "summary-sentiment.html",
             "sentiment/both-2_build.html")  # fmt: skip


def compared_into(folder: Path, *scenarios, assumptions=ASSUMPTIONS):
    """A run of the contrast over (scenario, runs), as its notebook leaves it."""
    run = run_of(folder, "contrast", panel="", number=9)
    made = [
        contrast.contrast(one, own, assumptions, workload=WORKLOAD, models=MODELS)
        for one, own in scenarios
    ]
    contrast.write(made, assumptions, WORKLOAD, run.folder)
    output = new_output("stream", name="stdout", text="1")
    cells = [new_markdown_cell("# When is which?"), new_code_cell("1", outputs=[output])]
    nbformat.write(new_notebook(cells=cells), run.folder / "notebook.ipynb")
    return run


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """A site of two scenarios: one in both panels, one of MLOps alone, all of it hostile."""
    root = tmp_path_factory.mktemp("both")
    both, left = runs(root / "a"), runs(root / "b", without=("llmops/2_build", "llmops/4_serve"))
    for run in both:
        if run.notebook.endswith("2_build"):
            output = new_output("display_data", data={"text/html": f"<p>{EVIL}</p>"})
            text = [new_markdown_cell("# Which?\n\nGoals."), new_markdown_cell("## Make")]
            notebook_into(run, [*text, new_code_cell("1", outputs=[output])])
    other = Scenario("tumours", f"Tumours {EVIL}", f"Is {EVIL} benign?", [], [])
    run = compared_into(root / "c", (SCENARIO, both), (other, left))
    scenarios = [scenario_of(*both), scenario_of(*left, name=other.name, title=other.title)]
    build(scenarios, root / "site", run)
    return root / "site"


def test_what_a_way_costs_stands_with_its_interval_and_measurements(site):
    page = (site / "contrast-sentiment.html").read_text()
    ends = r'[\d.]+<br><small class="note">[\d.]+ to [\d.]+</small><br><small class="note">n = \d+'
    assert re.search(ends, page)


def figures(page: Path) -> list[tuple[str, str]]:
    """Every figure in the tables of verdicts: where it leads and what it says."""
    tables = re.findall(r'<table class="verdicts">.*?</table>', page.read_text(), re.DOTALL)
    cells = re.findall(r'<td class="(?:left|right)">(.*?)</td>', "".join(tables), re.DOTALL)
    shown = [cell for cell in cells if "not recorded" not in cell]
    links = [re.match(r'\s*<a href="([^"]+)">([^<]+)</a>', cell) for cell in shown]
    assert all(links), "a figure leads nowhere"
    return [link.groups() for link in links]


def test_every_figure_leads_to_the_page_of_its_run(site):
    facts = [
        figure
        for one in json.loads(next(site.parent.rglob("contrast.json")).read_bytes())["scenarios"]
        for verdict in one["verdicts"]
        for figure in (verdict["left"], verdict["right"])
        if figure
    ]
    links = [link for name in NAMES for link in figures(site / f"contrast-{name}.html")]
    assert len(links) > 20
    for href, said in links:
        runs_of_it = [fact["runs"][0] for fact in facts if fact["text"] == said]
        text = words((site / href).read_text())
        assert any(run in text for run in runs_of_it), (href, said)
    assert sorted(said for _, said in links) == sorted(fact["text"] for fact in facts)


def test_every_answer_of_the_landing_page_leads_to_its_line(site):
    answers = re.findall(r'<table class="answers">.*?</table>', (site / "index.html").read_text(),
                         re.DOTALL)  # fmt: skip
    links = re.findall(r'href="(contrast-[a-z]+.html)#([^"]+)"', "".join(answers))
    assert len(links) == 2 * len(questions.QUESTIONS)
    for name in NAMES:
        lines = Page((site / f"contrast-{name}.html").read_text()).all("id")
        assert {line for page, line in links if page == f"contrast-{name}.html"} <= set(lines)


def test_the_hinge_of_a_stage_holds_the_verdicts_on_its_two_runs(site):
    html = (site / "sentiment" / "both-2_build.html").read_text()
    (table,) = re.findall(r'<table class="hinge">.*?</table>', html, re.DOTALL)
    rows = [words(row).strip() for row in re.findall(r"<tr>.*?</tr>", table, re.DOTALL)]
    assert "0.970 0.951 to 0.982accuracy on the test set MLOps 0.800 0.763 to 0.833" in rows
    assert "0.000 0.000 to 0.008answer instability inconclusive 0.000 0.000 to 0.090" in rows
    assert not [row for row in rows if "share of rows whose answer changes" in row]  # told once
    served = words((site / "sentiment" / "both-4_serve.html").read_text())
    assert "latency of one request at a time, p50 MLOps" in served
    assert "accuracy on the test set" not in served


def test_what_is_not_measured_says_so_and_shows_no_verdict(site):
    text = words((site / "index.html").read_text())
    assert "no run of LLMOps recorded it" in text
    part = (site / "contrast-tumours.html").read_text()
    quality = re.search(r'<tr class="for-open" id="tumours-quality">.*?</tr>', part, re.DOTALL)[0]
    assert "not measured" in quality
    assert "not recorded" in quality


def test_what_was_measured_and_is_open_is_inconclusive(site):
    part = (site / "contrast-sentiment.html").read_text()
    typos = part.split('id="sentiment-perturbed-typos">')[1].split("</tr>")[0]
    chip = re.search(r'<span class="chip open">.*?</span>', typos, re.DOTALL)
    assert words(chip[0]).strip() == "inconclusive"


def test_the_landing_page_answers_each_question_after_the_gate(site):
    part = (site / "index.html").read_text().split('id="sentiment"')[1]
    text = words(part)
    assert text.index("LLMOps would not be released") < text.index("Which answers sooner?")
    html = part.split('<table class="answers">')[1].split("</table>")[0]
    rows = [words(row) for row in re.findall(r"<tr>.*?</tr>", html, re.DOTALL)]
    (sooner,) = [row for row in rows if "Which answers sooner?" in row]
    assert "MLOps" in sooner
    assert "latency of one request at a time, p50: " in sooner
    assert " ms, LLMOps takes 5.0 (4.4 to 5.7) times" in sooner


def test_the_pages_stand_alone_and_every_link_leads_somewhere(site):
    read = functools.cache(lambda path: Page(path.read_text()))
    for path in site.glob("*.html"):
        page = read(path)
        assert not page.loads()
        assert "script" not in page.names()
        assert path.stat().st_size <= 400_000  # a page of ours is light
        ids = page.all("id")
        assert len(ids) == len(set(ids))
        for link in page.all("href"):
            file, _, anchor = link.partition("#")
            target = (path.parent / file).resolve() if file else path
            assert target.exists(), link
            assert not anchor or anchor in read(target).all("id"), link


def test_the_pages_tell_options_assumptions_forecast_and_what_they_were_made_from(site):
    text = words((site / "contrast.html").read_text())
    for said in ("Amazon SageMaker AI", "not known", "genai-prices",
                 "US dollars for an hour of one CPU0.04", "20261124-001339"):  # fmt: skip
        assert said in text
    html = (site / "contrast-sentiment.html").read_text()
    text = words(html)
    for said in ("A forecast, not a measure", "is cheaper than openai/gpt-4o from",
                 "Every way to do it, on the same rows", "20261124-001339"):  # fmt: skip
        assert said in text
    # forest, frontier by cost and by labels, the reaction to drift, labels, break-even
    assert html.count('<img class="figure"') == html.count("Table of the same data") == 6
    assert "dashed upright: the first drift alarm" in text


def test_the_landing_page_says_who_the_language_model_is(site):
    html = (site / "index.html").read_text()
    box = "LLMOps is here: the model in the box (3.44M parameters, trained on generated sentences"
    assert words(html).count(box) == len(questions.QUESTIONS)  # of the scenario that ran it
    assert html.count('<img class="figure"') == 4  # of each scenario the forest and the frontier


def test_no_page_counts_wins_and_the_first_shows_no_further_line_on_amounts(site):
    """ "15 : 3" once stood there, most of it that a smaller model takes less."""
    tally = re.compile(r"\b\d+ : \d+\b|\b(?:MLOps|LLMOps|tie) \d+\b|\b\d+ (?:wins|lines)\b")
    for page in site.glob("*.html"):
        if page.name != "contrast-run.html":  # the notebook, as anyone may have edited it
            assert not tally.findall(words(page.read_text())), page.name
    landing = words((site / "index.html").read_text())
    assert "latency of one request at a time, p50" in landing
    for further in ("at a time, p95", "under load, p95", "equal utilisation", "requests a second",
                    "cost of 1,000 correct answers", "size of the model"):  # fmt: skip
        assert further not in landing


def test_a_summary_prints_on_two_pages(site, tmp_path):
    for name in NAMES:
        page = site / f"summary-{name}.html"
        text = words(page.read_text())
        for part in ("Method", "Limits", "Assumptions", "paired 95 % interval"):
            assert part in text
        pdf.print_page(page, tmp_path / f"{name}.pdf")
        printed = (tmp_path / f"{name}.pdf").read_bytes()
        assert len(re.findall(rb"/Type\s*/Page\b", printed)) <= 2


def test_a_printed_summary_does_not_make_the_site_stale(site):
    digest = "made from this"
    fresh.mark(site, site, digest)
    (site / "summary-sentiment.pdf").write_bytes(b"%PDF")
    assert fresh.holds(site, digest)
    (site / "summary-sentiment.pdf").unlink()


def test_a_contrast_that_cannot_be_read_leaves_the_old_site(site, tmp_path):
    left, run = run_of(tmp_path, "1_data"), run_of(tmp_path, "contrast", panel="", number=9)
    (run.folder / "contrast.json").write_text("{ half")
    before = (site / "index.html").read_bytes()
    with pytest.raises(LookupError, match=r"contrast\.json cannot be read"):
        build([scenario_of(left)], site, run)
    assert (site / "index.html").read_bytes() == before


def test_a_browser_finds_them_readable_at_every_width_and_runs_nothing(chromium, site):
    for name in LOOKED_AT:
        for width, dark in ((1440, False), (390, True)):
            chromium.open(site / name, width, dark=dark)
            assert chromium.evaluate("document.documentElement.scrollWidth") <= width
            ratio, text = chromium.evaluate(browser.CONTRAST)
            assert ratio >= 4.5, text
            assert "taken" not in chromium.evaluate("document.title")
            assert all(url.startswith(("file:", "data:")) for url in chromium.requests)
    assert chromium.evaluate("document.body.innerText.includes('a script was left out')")


def test_the_landing_page_of_five_scenarios_fits_five_thousand_pixels(chromium, site):
    chromium.open(site / "index.html", 1440)
    height = chromium.evaluate("document.documentElement.scrollHeight")
    assert height <= 1_250 + 750 * len(NAMES)
    assert (site / "index.html").stat().st_size <= 50_000 * (1 + len(NAMES))
    (top,) = chromium.evaluate("[document.querySelector('.pictures').getBoundingClientRect().top]")
    assert top < 900  # a picture in the first screen


@pytest.mark.parametrize(("width", "dark"), [(1440, False), (390, True)])
def test_axe_finds_nothing(chromium, site, width, dark):
    for name in LOOKED_AT:
        chromium.open(site / name, width, dark=dark)
        assert axe.violations(chromium) == [], name


def test_axe_would_find_something(chromium, tmp_path):
    page = tmp_path / "bad.html"
    page.write_text("<html><body><img src='x.png'><p style='color:#ccc'>pale</p></body></html>")
    chromium.open(page)
    found = " ".join(axe.violations(chromium))
    assert "image-alt" in found
    assert "color-contrast" in found
    assert NAME not in found
