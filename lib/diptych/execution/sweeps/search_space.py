"""What a sweep tries: lists of values, every one checked before a kernel starts.

They come from ``--grid name=a,b,c`` and from the section ``sweep`` of a parameter file:

    task: reviews
    sweep:
      grid: {family: [logistic, xgboost], trials: [1, 5]}
      metric: calibration_error
      minimize: true
"""

import math
import random
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import yaml

from diptych.base.errors import ParameterError
from diptych.execution.notebooks import nearest
from diptych.execution.parameters import Parameter, checked, display, load_section
from diptych.execution.runner import PreparedRun, prepare

SECTION = "sweep"
MOST = 100_000  # points of a grid that is tried whole
SPAN = re.compile(r"\s*(-?\d+)\.\.(-?\d+)\s*")


@dataclass(frozen=True)
class SweepPlan:
    """A sweep, checked.

    Attributes
    ----------
    base : PreparedRun
        The notebook with what all points share.
    grid : dict
        The values to try, by parameter.
    metric : str
        Name of the recorded value to compare points by; "" compares none.
    minimize : bool
        Whether less of it is better.
    random : int
        So many points drawn from the grid without repeats; 0 takes all.
    halving : tuple of (str, list)
        A parameter that stands for effort, and its values in rising order; ("", []) for none.
    seed : int
        Of the draw.
    """

    base: PreparedRun
    grid: dict[str, list]
    metric: str = ""
    minimize: bool = False
    random: int = 0
    halving: tuple[str, list] = ("", [])
    seed: int = 0

    @property
    def varied(self) -> list[str]:
        """The names of what differs from point to point."""
        return [*self.grid, *filter(None, [self.halving[0]])]

    def points(self) -> list[dict]:
        """Return the points in order, or those drawn (random search: Bergstra and Bengio 2012)."""
        total = math.prod(map(len, self.grid.values()))
        chosen = range(total)
        if self.random and self.random < total:
            chosen = random.Random(self.seed).sample(chosen, self.random)
        return [self._point(number) for number in chosen]

    def run_at(self, point: Mapping) -> PreparedRun:
        """Return the notebook with a point's values."""
        return replace(self.base, values={**self.base.values, **point})

    def _point(self, number: int) -> dict:
        point = {}
        for name, values in reversed(self.grid.items()):  # the last name varies fastest
            number, place = divmod(number, len(values))
            point[name] = values[place]
        return {name: point[name] for name in self.grid}


@dataclass
class _Request:
    """What the files and the command request, unchecked."""

    grid: dict = field(default_factory=dict)
    metric: str = ""
    minimize: bool = False
    random: int = 0
    halving: dict = field(default_factory=dict)
    seed: int = 0


def plan_sweep(
    notebook: str | Path,
    files: Iterable[str | Path] = (),
    overrides: Iterable[str] | Mapping[str, object] = (),
    grid: Iterable[str] | Mapping[str, list] = (),
    *,
    halving: str | Mapping[str, list] = "",
    metric: str | None = None,
    minimize: bool | None = None,
    random: int | None = None,
    seed: int | None = None,
) -> SweepPlan:
    """Check a sweep as far as that goes without a kernel.

    Parameters
    ----------
    notebook, files, overrides
        As `diptych.execution.runner.prepare` takes them; a file may have a section ``sweep``.
    grid : iterable of "name=a,b,c", or mapping of lists by name
        Wins over the files, name by name.
    halving : "name=a,b,c", or mapping of one name to a list
    metric, minimize, random, seed : optional
        As in `SweepPlan`; None takes what the files say.

    Raises
    ------
    ParameterError
        With every problem found.
    """
    files = tuple(files)
    base = prepare(notebook, files, overrides, sections=(SECTION,))
    declared = {parameter.name: parameter for parameter in base.declared}
    problems: list[str] = []
    options = {"metric": metric, "minimize": minimize, "random": random, "seed": seed}
    chosen = {name: value for name, value in options.items() if value is not None}
    request = replace(_from_files(files, problems), **chosen)
    request.grid |= _lists(grid, "--grid", declared, problems)
    if isinstance(halving, str):
        halving = [halving] if halving else []
    request.halving = _lists(halving, "--halving", declared, problems) or request.halving
    values = _values(request.grid, "grid", declared, problems)
    effort = _values(request.halving, "halving", declared, problems)
    if not isinstance(overrides, Mapping):
        fixed = {text.partition("=")[0].strip() for text in overrides}
        problems += [f"{name}: fixed by -p and varied. Leave one out."
                     for name in fixed & {*values, *effort}]  # fmt: skip
    problems += _refusals(request, values, effort, declared)
    if problems:
        raise ParameterError(problems)
    levels = next(iter(effort.items()), ("", []))
    return SweepPlan(
        base, values, request.metric, request.minimize, request.random, levels, request.seed
    )


def _from_files(files: tuple, problems: list[str]) -> _Request:
    request, kinds = _Request(), {"metric": str, "minimize": bool, "random": int, "seed": int}
    known = (*kinds, "grid", "halving")
    for file in files:
        for name, value in load_section(file, SECTION).items():
            where = f"{file}: {SECTION}: {name}"
            if name not in known:
                hint = nearest(str(name), known)
                problems.append(f"{where}: unknown. {hint}It takes {', '.join(known)}.")
            elif name in kinds:
                if type(value) is kinds[name]:
                    setattr(request, name, value)
                else:
                    problems.append(f"{where} = {value!r}: not {kinds[name].__name__}.")
            elif not isinstance(value, dict):
                problems.append(f"{where}: no mapping. Write `name: [a, b]` below it.")
            else:
                setattr(request, name, {**getattr(request, name), **value})
    return request


def _lists(texts, option: str, declared: Mapping[str, Parameter], problems: list[str]) -> dict:
    """Return lists of values by name from ``name=a,b,c``."""
    if isinstance(texts, Mapping):
        return dict(texts)
    lists = {}
    for text in texts:
        name, equals, listed = text.partition("=")
        name = name.strip()
        if not equals or not listed.strip():
            problems.append(f"{option} {text}: no values. Write {option} name=a,b,c.")
        elif name in lists:
            problems.append(f"{option} {name}: given twice. Put all its values into one.")
        else:
            try:
                lists[name] = _parsed(listed, declared.get(name))
            except (yaml.YAMLError, ValueError):
                problems.append(f"{option} {name} = {listed}: no list of YAML values.")
    return lists


def _parsed(text: str, parameter: Parameter | None) -> list:
    if parameter is not None and parameter.type == "str":
        return [part.strip() for part in text.split(",")]
    if parameter is not None and parameter.type == "int" and (span := SPAN.fullmatch(text)):
        low, high = map(int, span.groups())
        return list(range(low, high + 1))
    return yaml.safe_load(f"[{text}]")


def _values(
    grid: Mapping, part: str, declared: Mapping[str, Parameter], problems: list[str]
) -> dict[str, list]:
    """Return the lists with every value checked against its parameter."""
    good = {}
    for name, values in grid.items():
        if not isinstance(values, list) or not values:
            problems.append(f"{part}: {name}: no values. Write a list such as [1, 2].")
            continue
        good[name], seen = [], set()
        for value in values:
            try:
                value = checked(declared, name, value)
                if repr(value) in seen:
                    raise ValueError("given twice. Leave one out")
                good[name].append(value)
                seen.add(repr(value))
            except ValueError as error:
                problems.append(f"{part}: {name} = {display(name, value)}: {error}.")
    return good


def _refusals(request: _Request, values: dict, effort: dict, declared: Mapping) -> list[str]:
    """Return the problems of a sweep whose values are right one by one."""
    problems = []
    if not request.grid and not request.halving:
        problems.append("grid: nothing to vary. Give --grid name=a,b,c or a file with `sweep:`.")
    if request.random < 0:
        problems.append(f"random = {request.random}: below 0. Write how many points to draw.")
    total = math.prod(map(len, values.values()))
    if total > MOST and not request.random:
        problems.append(f"grid: {total:,} points. Draw some of them: --random 100.")
    if len(request.halving) > 1:
        problems.append(f"halving: {', '.join(request.halving)}: give one parameter.")
    for name, levels in effort.items():
        number = name in declared and declared[name].type in ("int", "float")
        rising = number and levels == sorted(levels) and levels[0] > 0
        if name in values:
            problems.append(f"halving: {name} is varied by the grid too. Leave one out.")
        elif not rising or len(levels) < 2:
            problems.append(f"halving: {name} = {levels}: write two or more numbers, rising from "
                            "above 0.")  # fmt: skip
    if request.halving and not request.metric:
        problems.append("halving: it keeps the best. Name the recorded value: --metric NAME.")
    return problems
