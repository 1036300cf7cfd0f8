"""The contrast as pages show it: read from its run, each figure with a link to its own run."""

import json
from collections.abc import Mapping
from itertools import groupby

from markupsafe import Markup

from diptych.core.contract import OUTCOMES
from diptych.execution.pages.export import Nav, provenance, render
from diptych.execution.pages.sanitize import Fitter
from diptych.execution.runs import Run
from diptych.reporting.format import plain

FILE = "contrast.json"  # in the folder of the contrast's run
SIDES = dict(zip(OUTCOMES, ("left", "right", "even", "open", "open"), strict=True))  # in the style
SIDES |= {"either": SIDES["tie"], "cascade": "both", "by slice": "both"}
WAY_SIDES = {
    "mlops": ("left", "MLOps"),
    "llmops": ("right", "LLMOps"),
    "cascade": ("both", "cascade"),
}
FIGURES = ("forest", "frontier", "by labels", "cascade", "figure", "bought", "reactions")
ASSUMED = {
    "margin": "Differences of a share within it are a tie",
    "ratio": "Amounts that differ by less than this share of the larger one are a tie",
    "goal": "Quality whose labels are counted",
    "usd_per_cpu_hour": "US dollars for an hour of one CPU",
    "usd_per_label": "US dollars for a label",
    "build_hours": "Hours of work for a model of your own, beyond those for a prompt",
    "usd_per_hour": "US dollars for an hour of that work",
    "months": "Months over which labels and work are written off",
    "seed": "Seed of the intervals",
}


def read_verdicts(run: Run) -> dict:
    """Return what the contrast wrote into its run's folder.

    Raises
    ------
    LookupError
        If there is nothing, or it cannot be read.
    """
    try:
        return json.loads((run.folder / FILE).read_bytes())
    except (OSError, ValueError) as error:
        message = f"its {FILE} cannot be read ({error}). Run it again."
        raise LookupError(f"{run.id}: {message}") from error


def shown(facts: Mapping, hrefs: Mapping[str, str]) -> dict[str, dict]:
    """Return the contrast of each scenario, ready for a template, by the scenario's name.

    Parameters
    ----------
    facts : mapping
        What `read_verdicts` returns.
    hrefs : mapping of str to str
        The page of each run, by its id.
    """
    return {one["name"]: _scenario(one, hrefs) for one in facts["scenarios"]}


def _scenario(one: Mapping, hrefs: Mapping[str, str]) -> dict:
    verdicts = [_verdict(verdict, hrefs) for verdict in one["verdicts"]]
    figures = {
        name: _fitted(f"{one['name']}-{name.replace(' ', '-')}", one[name]) for name in FIGURES
    }
    return one | figures | {
        "answers": [answer | {"side": SIDES[answer["outcome"]]} for answer in one["answers"]],
        "groups": [(name, list(group)) for name, group in groupby(verdicts, lambda v: v["group"])],
        "ways": [_way(way, hrefs) for way in one["ways"]],
    }  # fmt: skip


def _way(way: Mapping, hrefs: Mapping[str, str]) -> dict:
    side, name = WAY_SIDES[way["panel"]]
    usd = "not measured" if way["usd"] is None else plain(way["usd"])
    ends = ()  # lines of a narrow cell
    if way["usd low"] is not None:
        ends = f"{plain(way['usd low'])} to {plain(way['usd high'])}", f"n = {way['usd n']:.0f}"
    return {**way, "href": hrefs.get(way["run"], ""), "side": side, "side_name": name, "usd": usd,
            "usd_ends": ends}  # fmt: skip


def _fitted(prefix: str, figure: str) -> Markup:
    """Return a figure whose ids no other on the page has."""
    return Markup(Fitter(f"{prefix}-").output(figure)) if figure else Markup()


def _verdict(verdict: Mapping, hrefs: Mapping[str, str]) -> dict:
    linked = {
        side: verdict[side] and verdict[side] | {"href": hrefs.get(verdict[side]["runs"][0], "")}
        for side in ("left", "right")
    }
    runs = [(run, hrefs.get(run, "")) for run in verdict["runs"]]
    return {**verdict, **linked, "side": SIDES[verdict["winner"]], "runs": runs}


def matrix(scenarios: Mapping[str, Mapping]) -> list[dict]:
    """Return a line per topic of a question with its answer in each scenario, in their order."""
    topics: dict[str, str] = {}
    for one in scenarios.values():
        topics |= {answer["key"]: answer["topic"] for answer in one["answers"]}
    keyed = {n: {a["key"]: a for a in one["answers"]} for n, one in scenarios.items()}
    return [
        {"key": key, "name": topic, "cells": [(n, by_key.get(key)) for n, by_key in keyed.items()]}
        for key, topic in topics.items()
    ]


def pages(
    run: Run, facts: Mapping, scenarios: Mapping[str, Mapping], cards: Mapping[str, Mapping],
    templates,
) -> dict[str, str]:  # fmt: skip
    """Return the pages of the contrast by file: the whole, and each scenario's two.

    Parameters
    ----------
    scenarios : mapping
        As `shown` returns them.
    cards : mapping
        What the runs of each scenario recorded, as the landing page has it.
    """
    assumed = [(ASSUMED.get(name, name), value) for name, value in facts["assumptions"].items()]
    common = {"panel": "", "home": "index.html", "provenance": provenance(run.manifest),
             "assumed": assumed}  # fmt: skip
    whole = render(
        "contrast.html.j2",
        templates,
        title="When is which the better choice?",
        nav=Nav(trail=[("The contrast", "")]),
        scenarios=list(scenarios.values()),
        matrix=matrix(scenarios),
        options=facts["options"],
        **common,
    )
    html = {"contrast.html": whole}
    for name, one in scenarios.items():
        trail = [("The contrast", "contrast.html"), (one["title"], "")]
        shown_of = {"one": one, "card": cards.get(name, {"values": [], "others": []})}
        for kind, title in (("contrast", "the contrast"), ("summary", "a summary of two pages")):
            html[f"{kind}-{name}.html"] = render(
                TEMPLATES[kind],
                templates,
                title=f"{one['title']}: {title}",
                nav=Nav(trail=trail),
                **common,
                **shown_of,
            )
    return html


TEMPLATES = {"contrast": "scenario.html.j2", "summary": "summary.html.j2"}
