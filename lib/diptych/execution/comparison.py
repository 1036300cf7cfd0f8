"""Two runs beside each other: figures, parameters, inputs, code, packages; what changed."""

import difflib
import json
from dataclasses import dataclass, field

from diptych.execution.notebooks import source
from diptych.execution.runs import Run

MISSING = "(none)"
MOST_LINES = 60  # of a difference of code, in words


@dataclass(frozen=True)
class Comparison:
    """What differs between two runs; each part holds pairs (first, second) by name.

    Attributes
    ----------
    first, second : Run
    parameters, inputs, packages, environment : dict of str to (old, new)
        Only what differs; inputs by the digest of their content.
    figures : dict of str to (old, new)
        All that either recorded.
    code : list of str
        The cells' difference, as ``diff -u`` writes it.
    """

    first: Run
    second: Run
    parameters: dict = field(default_factory=dict)
    inputs: dict = field(default_factory=dict)
    packages: dict = field(default_factory=dict)
    environment: dict = field(default_factory=dict)
    figures: dict = field(default_factory=dict)
    code: list = field(default_factory=list)

    @property
    def changed_figures(self) -> dict:
        """The figures that differ."""
        return {name: pair for name, pair in self.figures.items() if pair[0] != pair[1]}


def compare(first: Run, second: Run) -> Comparison:
    """Compare two runs."""
    old, new = first.manifest, second.manifest
    facts = [{"notebook": run.notebook, "commit": run.manifest.get("git"),
              "python": run.manifest.get("python"), "kernel folder": run.manifest.get("cwd"),
              "machine": json.dumps(run.manifest.get("host"), sort_keys=True)}
             for run in (first, second)]  # fmt: skip
    return Comparison(
        first,
        second,
        _different(old.get("parameters", {}), new.get("parameters", {})),
        _different(inputs_of(first), inputs_of(second)),
        _different(old.get("packages", {}), new.get("packages", {})),
        _different(*facts),
        _pairs(figures_of(first), figures_of(second)),
        _code(first, second),
    )


def figures_of(run: Run) -> dict:
    """Return what a run recorded, plain values by name."""
    values = run.result.get("values")
    values = values if isinstance(values, dict) else {}
    return {
        name: entry.get("value") if isinstance(entry, dict) else entry
        for name, entry in values.items()
    }


def inputs_of(run: Run) -> dict[str, str]:
    """Return the digest of every file that a run is known to have read, by its path."""
    facts = run.manifest.get("cache", {})
    inputs = {}
    for files in facts.get("parts", {}).get("data", {}).values():
        inputs |= files
    inputs |= facts.get("parts", {}).get("files", {}) | run.manifest.get("inputs", {})
    return inputs


def as_text(result: Comparison) -> str:
    """Return a comparison in words, what changed first."""
    lines = [f"first:  {_about(result.first)}", f"second: {_about(result.second)}"]
    lines += _section("figures", result.figures, _figure)
    for title, pairs in (
        ("parameters", result.parameters),
        ("inputs", {name: _digests(pair) for name, pair in result.inputs.items()}),
        ("packages", result.packages),
        ("environment", result.environment),
    ):
        lines += _section(title, pairs, lambda old, new: f"{_shown(old)} -> {_shown(new)}")
    if result.code:
        more = len(result.code) - MOST_LINES
        lines += ["", "code"] + [f"  {line}" for line in result.code[:MOST_LINES]]
        lines += [f"  ... {more} lines more"] if more > 0 else []
    parts = {"parameters": result.parameters, "packages": result.packages, "code": result.code}
    if inputs_of(result.first) or inputs_of(result.second):
        parts["inputs"] = result.inputs
    else:
        lines += ["", "inputs: neither run noted what it read"]
    same = [title for title, pairs in parts.items() if not pairs]
    return "\n".join([*lines, "", f"the same: {', '.join(same) or 'nothing'}"])


def as_json(result: Comparison) -> dict:
    """Return a comparison as plain JSON."""
    parts = ("parameters", "inputs", "packages", "environment", "figures", "code")
    return {"first": result.first.id, "second": result.second.id} | {
        part: getattr(result, part) for part in parts
    }


def _pairs(old: dict, new: dict) -> dict:
    return {name: (old.get(name), new.get(name)) for name in {**old, **new}}


def _different(old: dict, new: dict) -> dict:
    pairs = {name: (old.get(name, MISSING), new.get(name, MISSING)) for name in {**old, **new}}
    return {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}


def _code(first: Run, second: Run) -> list[str]:
    """Return how the code cells differ; the cell that the runner set is no code."""
    texts = [_source_of(run) for run in (first, second)]
    names = (first.id, second.id)
    return list(difflib.unified_diff(*texts, *names, n=1, lineterm=""))


def _source_of(run: Run) -> list[str]:
    try:
        cells = json.loads((run.folder / "notebook.ipynb").read_bytes())["cells"]
    except (OSError, ValueError, KeyError):
        return []
    lines = []
    for cell in cells:
        injected = "injected-parameters" in cell.get("metadata", {}).get("tags", [])
        if cell["cell_type"] == "code" and not injected:
            lines += [*source(cell).splitlines(), ""]
    return lines


def _about(run: Run) -> str:
    title = run.manifest.get("title") or run.notebook
    return f"{run.id} ({title}, {run.manifest.get('started', '')[:16]}, {run.status})"


def _section(title: str, pairs: dict, words) -> list[str]:
    if not pairs:
        return []
    width = max(map(len, pairs))
    return ["", title, *(f"  {name:<{width}}  {words(*pair)}" for name, pair in pairs.items())]


def _figure(old, new) -> str:
    if old == new:
        return f"{_shown(old)} (the same)"
    numbers = all(isinstance(v, int | float) and not isinstance(v, bool) for v in (old, new))
    if not numbers:
        return f"{_shown(old)} -> {_shown(new)}"
    share = f", {(new - old) / abs(old):+.1%}" if old else ""
    return f"{_shown(old)} -> {_shown(new)} ({new - old:+.4g}{share})"


def _digests(pair: tuple) -> tuple:
    return tuple(each if each == MISSING or each is None else str(each)[:12] for each in pair)


def _shown(value) -> str:
    if value is None:
        return MISSING
    if isinstance(value, float):
        return f"{value:.6g}"
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 80 else f"{text[:77]}..."
