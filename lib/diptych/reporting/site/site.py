"""Write the site: a landing page, and one page a run, readable from disk by any browser.

Everything shown comes from the runs: a panel without runs says that it is not yet measured. The
pages are built beside the old ones and take their place at the end, so a build that fails changes
nothing.
"""

import posixpath
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from diptych.base.lazy import import_nbformat
from diptych.core import contract
from diptych.core.contract import LLMOPS, MLOPS, STAGES
from diptych.execution.notebooks import title
from diptych.execution.pages.export import Nav, Step, notebook_to_html, provenance, render
from diptych.execution.runs import Run
from diptych.llmops.server.listing import speakers
from diptych.reporting.format import interval, label, with_unit
from diptych.reporting.site import contrast_page, fresh
from diptych.reporting.site.panels import Side, pair_to_html
from diptych.reporting.site.publish import refuse_foreign, replace_site

TEMPLATES = Path(__file__).parents[1] / "templates"
PANELS = {MLOPS: "left", LLMOPS: "right"}


@dataclass(frozen=True)
class ScenarioRuns:
    """A scenario and the runs that measured it, in order.

    Attributes
    ----------
    name : str
        Of the scenario's folder in the site.
    title, question : str
        How the pages call it.
    runs : list of Run
        Of either panel; failed ones are shown as failed.
    """

    name: str
    title: str
    question: str
    runs: Sequence[Run]


@dataclass
class Page:
    """One run's page.

    Attributes
    ----------
    file : str
        In the scenario's folder, such as ``"2_build.html"``.
    notebook : dict
        The executed notebook.
    """

    run: Run
    file: str
    notebook: dict = field(repr=False)

    @property
    def stage(self) -> str:
        """Such as ``"2_build"``."""
        return self.run.notebook.rpartition("/")[2]

    @property
    def step(self) -> Step:
        """The page as a step among the stages."""
        return Step(label(self.stage), self.file, "done" if self.run.status == "ok" else "failed")


@dataclass
class Value:
    """A measured value, ready to read, and the page of its run.

    Attributes
    ----------
    spark : tuple of float or None
        Low, value and high as shares of a scale, for a small drawing.
    """

    stage: str
    href: str
    name: str
    text: str
    interval: str
    spark: tuple[float, float, float] | None = None


def build(scenarios: Sequence[ScenarioRuns], site: Path, contrast: Run | None = None) -> Path:
    """Write the pages of all scenarios, in place of an earlier site.

    Parameters
    ----------
    scenarios : sequence of ScenarioRuns
    site : Path
        The folder to write; missing, empty or an earlier site.
    contrast : Run, optional
        The run that compared the panels; without it no verdict is shown.

    Returns
    -------
    Path
        The landing page.

    Raises
    ------
    ValueError
        If there is nothing to show, `site` holds something else, or a run lacks its notebook.
    LookupError
        If the contrast's run wrote nothing that can be read.
    """
    site = Path(site).absolute()
    if not any(scenario.runs for scenario in scenarios):
        raise ValueError("scenarios: no run to show; run one first")
    refuse_foreign(site)
    digest = fresh.made_from(scenarios, contrast)
    if fresh.holds(site, digest):
        return site / "index.html"
    site.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{site.name}-", dir=site.parent) as beside:
        new = Path(beside) / "new"
        _write(scenarios, new, contrast)
        fresh.mark(site, new, digest)
        replace_site(new, site, Path(beside))
    return site / "index.html"


def _write(scenarios: Sequence[ScenarioRuns], folder: Path, contrast: Run | None) -> None:
    cards, hrefs = [], {}
    facts = contrast_page.read_verdicts(contrast) if contrast else {"scenarios": []}
    verdicts = {one["name"]: one["verdicts"] for one in facts["scenarios"]}
    for scenario in scenarios:
        pages = _pages(scenario)
        (folder / scenario.name).mkdir(parents=True)
        for page in pages:
            html = _page(scenario, pages, page)
            (folder / scenario.name / page.file).write_text(html, encoding="utf-8")
            hrefs[page.run.id] = f"{scenario.name}/{page.file}"
        for file, html in _pairs(scenario, pages, verdicts.get(scenario.name, ())):
            (folder / scenario.name / file).write_text(html, encoding="utf-8")
        cards.append(_card(scenario, pages))
    compared = _contrast(contrast, facts, hrefs, cards, folder) if contrast else {}
    runs = [run for scenario in scenarios for run in scenario.runs]
    manifests = [run.manifest for run in [*runs, *([contrast] if contrast else [])]]
    newest = max(manifests, key=lambda manifest: manifest.get("started", ""))
    shown = ("started", "git", "python", "packages", "host")
    made_from = {key: newest[key] for key in shown if key in newest} | {"runs": len(manifests)}
    html = render(
        "landing.html.j2",
        TEMPLATES,
        title="Diptych: MLOps and LLMOps side by side",
        panel="",
        cards=cards,
        compared=compared,
        matrix=contrast_page.matrix(compared) if len(compared) > 1 else [],
        runs=len(runs),
        provenance=provenance(made_from),
    )
    (folder / "index.html").write_text(html, encoding="utf-8")


def _contrast(
    run: Run, facts: dict, hrefs: dict[str, str], cards: list[dict], folder: Path
) -> dict[str, dict]:
    """Write the pages of the contrast and of its notebook; return what the landing page shows."""
    nbformat = import_nbformat()

    compared = contrast_page.shown(facts, {**hrefs, run.id: "contrast-run.html"})
    by_name = {card["scenario"].name: card for card in cards}
    for file, html in contrast_page.pages(run, facts, compared, by_name, TEMPLATES).items():
        (folder / file).write_text(html, encoding="utf-8")
    html = notebook_to_html(
        nbformat.read(run.folder / "notebook.ipynb", as_version=4),
        title="The contrast, computed",
        home_link="index.html",
        manifest=run.manifest,
        nav=Nav(trail=[("The contrast", "contrast.html")]),
    )
    (folder / "contrast-run.html").write_text(html, encoding="utf-8")
    return compared


def _pages(scenario: ScenarioRuns) -> list[Page]:
    """Read each run's notebook and give it a file name of its own."""
    nbformat = import_nbformat()

    pages, taken = [], set()
    for run in scenario.runs:
        panel, _, stage = run.notebook.rpartition("/")
        stem = name = stage if panel in ("", MLOPS) else f"{panel}-{stage}".replace("/", "-")
        count = 1
        while name in taken:
            count += 1
            name = f"{stem}-{count}"
        taken.add(name)
        try:
            notebook = nbformat.read(run.folder / "notebook.ipynb", as_version=4)
        except (OSError, ValueError, nbformat.reader.NotJSONError) as error:
            raise ValueError(
                f"{run.id}: its notebook.ipynb cannot be read ({error}). Run it again."
            ) from error
        pages.append(Page(run, f"{name}.html", notebook))
    return pages


def _page(scenario: ScenarioRuns, pages: list[Page], page: Page) -> str:
    panel = page.run.notebook.rpartition("/")[0]
    beside = [other for other in pages if other.run.notebook.rpartition("/")[0] == panel]
    steps = _steps(beside)
    for step in steps:
        step.current = step.href == page.file
    place = beside.index(page)
    nav = Nav(
        trail=[(scenario.title, f"../index.html#{scenario.name}")],
        steps=steps,
        previous=beside[place - 1].step if place else None,
        next=beside[place + 1].step if place + 1 < len(beside) else None,
        note=_speakers(beside) if panel == LLMOPS else "",
    )
    return notebook_to_html(
        page.notebook,
        title=f"{label(page.stage)}: {scenario.title}",
        home_link="../index.html",
        manifest=page.run.manifest or {"id": page.run.id, "status": page.run.status},
        nav=nav,
        resolve=lambda link: _resolved(link, panel, pages),
    )


def _speakers(pages: list[Page]) -> str:
    """Return who the language models of these pages are, "" where none is."""
    chosen = [page.run.manifest.get("parameters", {}).get("models", []) for page in pages]
    return speakers([model for models in chosen for model in models])


def _both(pages: list[Page]) -> dict[str, tuple[Page, Page]]:
    """Return the stages that were run in both panels: the newest page of each."""
    panels = {panel: {} for panel in PANELS}
    for page in pages:
        panel, _, stage = page.run.notebook.rpartition("/")
        if panel in panels:
            panels[panel][stage] = page
    left, right = panels.values()
    return {
        stage: (left[stage], right[stage]) for stage in STAGES if stage in left and stage in right
    }


def _pairs(scenario: ScenarioRuns, pages: list[Page], verdicts: Sequence[dict]):
    """Yield file name and page of every stage that was run in both panels."""
    both = _both(pages)
    steps = [Step(label(stage), _pair_file(stage) if stage in both else "",
                  "done" if stage in both else "missing") for stage in STAGES]  # fmt: skip
    for stage, sides in both.items():
        place = STAGES.index(stage)
        marked = [replace(step, current=number == place) for number, step in enumerate(steps)]
        before = [step for step in steps[:place] if step.href]
        after = [step for step in steps[place + 1 :] if step.href]
        nav = Nav(
            trail=[(scenario.title, f"../index.html#{scenario.name}")],
            steps=marked,
            previous=before[-1] if before else None,
            next=after[0] if after else None,
            note=_speakers(pages),
        )
        left, right = (
            Side(page.run, page.notebook, page.file, partial(_resolved, panel=panel, pages=pages))
            for page, panel in zip(sides, PANELS, strict=True)
        )
        title = f"{label(stage)}, side by side: {scenario.title}"
        yield (
            _pair_file(stage),
            pair_to_html(
                left, right, title=title, home_link="../index.html", nav=nav, verdicts=verdicts
            ),
        )


def _pair_file(stage: str) -> str:
    return f"both-{stage}.html"


def _resolved(link: str, panel: str, pages: list[Page]) -> str | None:
    """Return the page of the notebook that a link in a notebook of `panel` leads to."""
    target, _, anchor = link.partition("#")
    name = posixpath.normpath(posixpath.join(panel, target)).removesuffix(".ipynb")
    if name == "start_here":
        return "../index.html"
    files = [page.file for page in pages if page.run.notebook == name]
    return files[0] + (f"#{anchor}" if anchor else "") if files else None


def _steps(pages: list[Page]) -> list[Step]:
    """Return the six stages, those without a run too, and whatever else was run."""
    steps = []
    for stage in dict.fromkeys((*STAGES, *(page.stage for page in pages))):
        run = [page.step for page in pages if page.stage == stage]
        steps += run or [Step(label(stage), state="missing")]
    return steps


def _card(scenario: ScenarioRuns, pages: list[Page]) -> dict:
    """Return what the landing page shows of a scenario."""
    panels = {}
    for panel, side in PANELS.items():
        of_panel = [page for page in pages if page.run.notebook.startswith(f"{panel}/")]
        asks = {page.file: title(page.notebook) for page in of_panel}
        panels[side] = {
            "steps": _steps(of_panel), "asks": asks, "measured": bool(of_panel),
            "speakers": _speakers(of_panel) if panel == LLMOPS else "",
        }  # fmt: skip
    values = [_value(scenario.name, page, *item) for page in pages for item in _values(page)]
    key = [value for value in values if value.interval]
    return {
        "scenario": scenario,
        "panels": panels,
        "values": key,
        "scale": _zoom(key),
        "others": [value for value in values if value not in key],
        "pairs": [Step(label(stage), _pair_file(stage)) for stage in _both(pages)],
    }


def _values(page: Page):
    return page.run.result.get("values", {}).items()


def _value(folder: str, page: Page, name: str, entry: dict) -> Value:
    value, low, high = entry["value"], entry.get("low"), entry.get("high")
    known, spark = low is not None and high is not None, None
    if known and min(low, value) >= 0 and max(high, value) <= 1:
        spark = (low, value, high)
    href = f"{folder}/{page.file}"
    meaning = contract.label(page.run.notebook, name)
    return Value(label(page.stage), href, meaning, with_unit(entry), interval(entry), spark)


def _zoom(values: list[Value]) -> str:
    """Draw shares on one scale that starts near the lowest of them; return the scale in words."""
    lowest = min((value.spark[0] for value in values if value.spark), default=0.0)
    start = int(min(lowest, 0.9) * 10) / 10
    for value in values:
        if value.spark:
            value.spark = tuple((share - start) / (1 - start) for share in value.spark)
    return f"{start:g} to 1"
