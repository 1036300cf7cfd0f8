"""What a sweep tries: lists of values, every one checked before a kernel starts.

They come from ``--grid name=a,b,c`` and from the section ``sweep`` of a parameter file:

    task: reviews
    sweep:
      grid: {family: [logistic, xgboost], trials: [1, 5]}
      metric: calibration_error
      minimize: true

A random search draws from ranges too: ``rate=loguniform(1e-4,1)``, ``depth=1..1000``.
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
from diptych.execution.parameters import (
    Loader,
    Overrides,
    Parameter,
    checked,
    display,
    load_section,
    parse_override,
)
from diptych.execution.runner import PreparedRun, prepare
from diptych.execution.sweeps import ranges
from diptych.execution.sweeps.ranges import Range

SECTION = "sweep"
MOST = 100_000  # points of a grid that is tried whole
SPAN = re.compile(r"\s*(-?\d+)\.\.(-?\d+)\s*")
FIELD = re.compile(r"""\s*(?:"((?:[^"]|"")*)"|'((?:[^']|'')*)'|([^,]*))\s*(?:,|$)""")


@dataclass(frozen=True)
class SweepPlan:
    """A sweep, checked.

    Attributes
    ----------
    base : PreparedRun
        The notebook with what all points share.
    grid : dict
        The values to try, by parameter: a list, or a `range` of whole numbers.
    ranges : dict of str to Range
        What is drawn from continuously, by parameter.
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
    ranges: dict[str, Range] = field(default_factory=dict)

    @property
    def varied(self) -> list[str]:
        """The names of what differs from point to point."""
        return [*self.grid, *self.ranges, *filter(None, [self.halving[0]])]

    def points(self) -> list[dict]:
        """Return the points in order, or those drawn (random search: Bergstra and Bengio 2012)."""
        total = math.prod(map(len, self.grid.values()))
        rng = random.Random(self.seed)
        if self.ranges:
            drawn = [{name: r.draw(rng) for name, r in self.ranges.items()}
                     for _ in range(self.random)]  # fmt: skip
            return [self._point(rng.randrange(total)) | point for point in drawn]
        if not self.random or self.random >= total:
            return [self._point(number) for number in range(total)]
        if total < 2**63:  # the most that `sample` takes
            return [self._point(number) for number in rng.sample(range(total), self.random)]
        chosen: dict[int, None] = {}
        while len(chosen) < self.random:
            chosen[rng.randrange(total)] = None
        return [self._point(number) for number in chosen]

    def described(self) -> dict:
        """Return the grid as plain JSON: a range in words, a list as it is."""
        grid = {
            name: f"{values[0]}..{values[-1]}" if isinstance(values, range) else values
            for name, values in self.grid.items()
        }
        return grid | {name: str(each) for name, each in self.ranges.items()}

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
    overrides: Overrides = (),
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
    drawn = ranges.take(request.grid, declared, problems)
    values = _values(request.grid, "grid", declared, problems)
    effort = _values(request.halving, "halving", declared, problems)
    problems += _fixed(overrides, {*values, *effort, *drawn})
    problems += _refusals(request, values, effort, declared)
    if not (drawn or request.grid or request.halving):
        problems.append("grid: nothing to vary. Give --grid name=a,b,c or a file with `sweep:`.")
    if drawn and not request.random:
        problems.append(f"{', '.join(drawn)}: a range is drawn from. Say how often: --random 100.")
    if problems:
        raise ParameterError(problems)
    levels = next(iter(effort.items()), ("", []))
    return SweepPlan(
        base, values, request.metric, request.minimize, request.random, levels, request.seed, drawn
    )


def _fixed(overrides: Overrides, varied: set[str]) -> list[str]:
    """Return the problems of what is both given and varied."""
    if isinstance(overrides, Mapping):
        return []
    names = {(each.partition("=")[0] if isinstance(each, str) else each[0]).strip()
             for each in overrides}  # fmt: skip
    return [f"{name}: fixed by -p and varied. Leave one out." for name in names & varied]


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
            shown = display("", text).strip('"')
            problems.append(f"{option} {shown}: no values. Write {option} name=a,b,c.")
        elif name in lists:
            problems.append(f"{option} {name}: given twice. Put all its values into one.")
        else:
            try:
                lists[name] = _parsed(listed, declared.get(name))
            except (yaml.YAMLError, ValueError, RecursionError):
                listed = display(name, listed)
                problems.append(f"{option} {name} = {listed}: no list of YAML values.")
    return lists


def _parsed(text: str, parameter: Parameter | None) -> list | range | str:
    """Return the values of a list as CSV has it; lists and mappings are written as in YAML."""
    is_text = parameter is not None and parameter.annotation.is_text and parameter.typed
    if ranges.is_range(text) and not is_text:
        return text
    whole = parameter is not None and (not parameter.typed or parameter.type == "int")
    if whole and (span := SPAN.fullmatch(text)):
        low, high = map(int, span.groups())
        return range(low, high + 1)
    if re.search(r"[\[{]", text) and not is_text:
        return yaml.load(f"[{text}]", Loader=Loader)
    return [_value(*field, parameter) for field in _fields(text)]


def _fields(text: str) -> list[tuple[str, bool]]:
    """Return the fields of a line of CSV, each with whether it stood in quotes.

    Raises
    ------
    ValueError
        If text follows a closing quotation mark.
    """
    fields, at = [], 0
    while at < len(text) or not fields or text[at - 1] == ",":
        match = FIELD.match(text, at)
        if not match or (match[3] or "").lstrip()[:1] in ('"', "'"):
            raise ValueError("quotation marks that do not close")
        double, single, bare = match.groups()
        if bare is None:
            inner = double.replace('""', '"') if double is not None else single.replace("''", "'")
            fields.append((inner, True))
        else:
            fields.append((bare.strip(), False))
        at = match.end()
        if at == len(text) and not match[0].endswith(","):
            break
    return fields


def _value(text: str, quoted: bool, parameter: Parameter | None):
    """Return what a field stands for: as of ``-p``, and text where it stood in quotes."""
    return text if quoted else parse_override(text, parameter)


def _values(
    grid: Mapping, part: str, declared: Mapping[str, Parameter], problems: list[str]
) -> dict[str, list]:
    """Return the lists with every value checked against its parameter."""
    good = {}
    for name, values in grid.items():
        if isinstance(values, range) and len(values) > MOST:
            good[name] = _huge(name, values, part, declared, problems)
            continue
        if not isinstance(values, list | range) or not values:
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


def _huge(name: str, values: range, part: str, declared: Mapping, problems: list[str]) -> range:
    """Return a long range of whole numbers as it is, its ends checked."""
    for end in (values[0], values[-1]):
        try:
            checked(declared, name, end)
        except ValueError as error:
            problems.append(f"{part}: {name} = {display(name, end)}: {error}.")
    return values


def _refusals(request: _Request, values: dict, effort: dict, declared: Mapping) -> list[str]:
    """Return the problems of a sweep whose values are right one by one."""
    problems = []
    if request.random < 0:
        problems.append(f"random = {request.random}: below 0. Write how many points to draw.")
    total = math.prod(map(len, values.values()))
    if total > MOST and not request.random:
        problems.append(f"grid: {total:,} points. Draw some of them: --random 100.")
    if len(request.halving) > 1:
        problems.append(f"halving: {', '.join(request.halving)}: give one parameter.")
    for name, levels in effort.items():
        levels = list(levels[:MOST])
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
