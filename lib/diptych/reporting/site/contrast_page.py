"""The contrast as pages show it: read from its run, each figure leading to the run it came from."""

import json
from collections.abc import Mapping
from itertools import groupby

from markupsafe import Markup

from diptych.execution.pages.export import Nav, provenance, render
from diptych.execution.pages.sanitize import Fitter
from diptych.execution.runs import Run

FILE = "contrast.json"  # in the folder of the contrast's run
LEFT, RIGHT, TIE, UNMEASURED = WINNERS = ("MLOps", "LLMOps", "tie", "not measured")
SIDES = {LEFT: "left", RIGHT: "right", TIE: "even", UNMEASURED: "open"}  # as the style knows them
SAID = {
    "margin": "Differences of a share within it are a tie",
    "ratio": "Amounts that differ by less than this share of the larger one are a tie",
    "goal": "Quality whose price in labels is asked for",
    "usd_per_cpu_hour": "US dollars for an hour of one CPU",
    "usd_per_label": "US dollars for a label",
    "build_hours": "Hours of work for a model of your own, beyond those for a prompt",
    "usd_per_hour": "US dollars for an hour of that work",
    "months": "Months over which labels and work are written off",
    "cpus": "CPUs of the machine that serves, paid used or not",
    "seed": "Seed of the intervals",
}


def read(run: Run) -> dict:
    """Return what the contrast wrote into its run's folder.

    Raises
    ------
    LookupError
        If there is nothing, or it cannot be read.
    """
    try:
        return json.loads((run.folder / FILE).read_bytes())
    except (OSError, ValueError) as error:
        told = f"its {FILE} cannot be read ({error}). Run it again."
        raise LookupError(f"{run.id}: {told}") from error


def shown(facts: Mapping, hrefs: Mapping[str, str]) -> dict[str, dict]:
    """Return the contrast of each scenario, ready for a template, by the scenario's name.

    Parameters
    ----------
    facts : mapping
        What `read` returns.
    hrefs : mapping of str to str
        The page of each run, by its id.
    """
    return {one["name"]: _scenario(one, hrefs) for one in facts["scenarios"]}


def _scenario(one: Mapping, hrefs: Mapping[str, str]) -> dict:
    verdicts = [_verdict(own, hrefs) for own in one["verdicts"]]
    known = [own for own in verdicts if own["left"] and own["right"]]
    return one | {
        "verdicts": verdicts,
        "groups": [(name, list(own)) for name, own in groupby(verdicts, lambda v: v["group"])],
        "known": [(name, list(own)) for name, own in groupby(known, lambda v: v["group"])],
        "missing": [own for own in verdicts if own not in known],
        "by": {SIDES[w]: [own for own in verdicts if own["winner"] == w] for w in WINNERS},
        "figure": _fitted(one["name"], one["figure"]),
        "bought": _fitted(f"{one['name']}-labels", one["bought"]),
    }


def _fitted(prefix: str, figure: str) -> Markup:
    """Return a figure whose ids no other on the page has."""
    return Markup(Fitter(f"{prefix}-").output(figure)) if figure else Markup()


def _verdict(own: Mapping, hrefs: Mapping[str, str]) -> dict:
    linked = {
        side: own[side] and own[side] | {"href": hrefs.get(own[side]["runs"][0], "")}
        for side in ("left", "right")
    }
    runs = [(run, hrefs.get(run, "")) for run in own["runs"]]
    return {**own, **linked, "side": SIDES[own["winner"]], "word": word(own), "runs": runs}


def word(own: Mapping) -> str:
    """Return a verdict as it is shown: with both sides measured, only rows can be lacking."""
    undecided = own["winner"] == UNMEASURED and own["left"] and own["right"]
    return "too few rows" if undecided else own["winner"]


def matrix(scenarios: Mapping[str, Mapping]) -> list[dict]:
    """Return a line per dimension with its verdict in each scenario, in the order of the ledger."""
    names: dict[str, str] = {}
    for one in scenarios.values():
        names |= {own["key"]: own["name"] for own in one["verdicts"]}
    keyed = {n: {own["key"]: own for own in one["verdicts"]} for n, one in scenarios.items()}
    return [
        {"key": key, "name": name, "cells": [(n, own.get(key)) for n, own in keyed.items()]}
        for key, name in names.items()
    ]


def page(run: Run, facts: Mapping, scenarios: Mapping[str, Mapping], templates) -> str:
    """Return the page of the contrast; `scenarios` as `shown` returns them."""
    assumed = [(SAID.get(name, name), value) for name, value in facts["assumptions"].items()]
    return render(
        "contrast.html.j2",
        templates,
        title="When is which the better choice?",
        panel="",
        home="index.html",
        nav=Nav(trail=[("The contrast", "")]),
        scenarios=list(scenarios.values()),
        matrix=matrix(scenarios),
        options=facts["options"],
        assumed=assumed,
        provenance=provenance(run.manifest),
    )
