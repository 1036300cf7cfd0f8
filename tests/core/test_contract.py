"""What notebooks record, what is declared and what is read are the same names."""

import ast
import dataclasses
import inspect
import re
import textwrap
from pathlib import Path
from types import SimpleNamespace

import nbformat
import numpy as np
import pandas as pd
import pytest
from mlops.samples import fitted, sample

from diptych.base import workspace
from diptych.base.http_load import Load
from diptych.core import contract
from diptych.core.contract import CONTRACTS, Contract, Fact, RecordError, Table, Value
from diptych.core.data import tasks
from diptych.core.evaluation.metrics import METRICS
from diptych.core.evaluation.scored import ScoredRows
from diptych.core.monitoring import windows
from diptych.execution.refresh import in_order
from diptych.llmops import build as llmops_build
from diptych.mlops import build as mlops_build
from diptych.mlops.leaderboard import Leaderboard
from diptych.mlops.serve import Served
from diptych.reporting.contrast import contrast
from diptych.reporting.scenario import Scenario

ROOT = workspace.repo_root()
REPORT = sorted((ROOT / "lib" / "diptych" / "reporting").rglob("*.py"))
READS = ("fact", "parameter", "table", "value")


def outcome():
    """With a loss and a gain, so that all of its names are there."""
    names, right = np.repeat(["a", "d"], 10), np.ones(20)
    scored = {"champion": np.where(names == "a", right, 0), "challenger": right}
    live = windows.LiveRows(
        {name: ScoredRows.of_grades(grades) for name, grades in scored.items()},
        names,
        METRICS["grade"],
    )
    split = SimpleNamespace(learn=["b"], decide=["c"], after=["d"], alarm="b")
    return windows.outcome(live, split)


def before_and_since():
    rows = ScoredRows.of_labels(list("xyxy"), list("xxyy"))
    sure = pd.Series(0.9, list("aabb"))
    quality = windows.Quality.of(METRICS["accuracy"], rows, list("aabb"), sure)
    return quality.before_and_since("b")


def faithful():
    answers = pd.DataFrame({"id": ["r"], "output": ["good"], "variant": "one_line"})
    rows = pd.DataFrame({"id": ["r"], "text": ["good"]})
    return llmops_build.faithful(answers, rows, "rouge_l")


def figures():
    """The prefixes that the function puts before names, and what else it returns."""
    words = re.findall(r'"([a-z -]+,? )"', inspect.getsource(llmops_build.figures))
    return {f"{word}*" for word in words} | set(faithful())


def metrics():
    models, tried = {"logistic": fitted("table", "logistic")}, pd.DataFrame()
    leaderboard = Leaderboard(models, tried, sample("tumours"), tasks.get("tumours"))
    leaderboard.add_metric("agreement", lambda labels, predicted: (labels == predicted).mean())
    return leaderboard.metrics()


def recorded_of_models():
    """Return the names, or prefixes with a star, in the source of `Leaderboard.recorded`."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(Leaderboard.recorded)))
    texts = [x.value for x in ast.walk(tree) if isinstance(x, ast.Constant)][1:]
    prefixes = {f"{text}*" for text in texts if str(text).endswith(" ")}
    (result,) = [node.value for node in ast.walk(tree) if isinstance(node, ast.Return)]
    return prefixes | {key.value for key in result.keys if key is not None} | set(metrics())


def measures():
    one = np.ones(2)
    load = Load(one, one, 200 * one, [""] * 2, [{}] * 2, 1.0)
    return Served(load, load, 0.1, 10.0).measures()


def counts():
    scenario = Scenario("sentiment", "", "", [], [])
    return contrast.contrast(scenario, [], contrast.Assumptions()).counts()


@pytest.fixture(scope="module")
def names_of_functions(tmp_path_factory):
    """What the functions return whose results notebooks record as they are."""
    saved = mlops_build.save(fitted("table", "logistic"), tmp_path_factory.mktemp("model"))
    made = {"outcome": outcome(), "before_and_since": before_and_since(), "save": saved,
            "faithful": faithful(), "counts": counts(), "metrics": metrics(),
            "figures": figures(), "measures": measures(),
            "recorded": recorded_of_models()}  # fmt: skip
    return {name: set(result) for name, result in made.items()}


class Recorded:
    """The names that a notebook's source records and reads."""

    def __init__(self, path: Path, functions: dict[str, set[str]]):
        cells = nbformat.read(path, as_version=4).cells
        source = "\n".join(cell.source for cell in cells if cell.cell_type == "code")
        self.tree, self.functions = ast.parse(source), functions
        self.calls = [node for node in ast.walk(self.tree) if isinstance(node, ast.Call)]
        self.notebook = path.relative_to(ROOT / "notebooks").with_suffix("").as_posix()
        starts = [call for call in self.calls if getattr(call.func, "id", "") == "start"]
        self.starts = bool(starts)
        after = [word.value.value for call in starts for word in call.keywords if word.arg]
        self.after = after[0] if after else None
        self.values, self.facts, self.tables = set(), set(), set()
        for call in self.calls:
            if getattr(getattr(call.func, "value", None), "id", "") == "run":
                self._record(call)

    def _record(self, call):
        method = call.func.attr
        if method in ("save", "record"):
            target = self.tables if method == "save" else self.values
            target.add(call.args[0].value)
        elif method in ("note", "conclude"):
            target = self.facts if method == "note" else self.values
            for word in call.keywords:
                target |= {word.arg} if word.arg else self._names(word.value)

    def _names(self, node) -> set[str]:
        """Return the names in a mapping, from `estimates` its prefix; fails if none can be told."""
        if isinstance(node, ast.BinOp):
            return self._names(node.left) | self._names(node.right)
        if isinstance(node, ast.Name):
            assigned = [
                part.value
                for part in ast.walk(self.tree)
                if isinstance(part, ast.Assign | ast.AugAssign)
                and node.id
                in [getattr(t, "id", "") for t in getattr(part, "targets", [])]
                + [getattr(getattr(part, "target", None), "id", "")]
            ]
            return set().union(*map(self._names, assigned)) if assigned else self._untold(node)
        if isinstance(node, ast.Call) and node.func.attr == "estimates":
            return {f"{node.args[1].value}*"}
        if isinstance(node, ast.Call) and node.func.attr in self.functions:
            return self.functions[node.func.attr]
        if isinstance(node, ast.DictComp):
            made = [c for c in ast.walk(node) if isinstance(c, ast.Call)]
            known = [c for c in made if getattr(c.func, "attr", "") in self.functions]
            return set().union(*map(self._names, known)) if known else self._untold(node)
        return self._untold(node)

    def _untold(self, node):
        raise AssertionError(f"{self.notebook}: what names does {ast.unparse(node)} hold?")

    def reads(self):
        """Yield the notebook that is read, what is asked for, and its name."""
        for call in self.calls:
            kind = getattr(call.func, "attr", "")
            if kind in READS and call.args and isinstance(call.args[0], ast.Constant):
                source = self._source(call.func.value)
                if source:
                    yield source, kind, call.args[0].value

    def _source(self, node) -> str | None:
        if isinstance(node, ast.Name):
            assigned = [
                part.value
                for part in ast.walk(self.tree)
                if isinstance(part, ast.Assign) and getattr(part.targets[0], "id", "") == node.id
            ]
            return self._source(assigned[0]) if assigned else None
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "run.parent":
            return self.after
        if isinstance(node, ast.Call) and ast.unparse(node.func) in ("run.stage", "find"):
            return node.args[0].value
        return None


def declared_under(value: Value, name: str) -> bool:
    """Say whether a recorded name, or a prefix with a star, falls under a declaration."""
    if name.endswith("*"):
        return bool(value.placeholder) and value.name == name[:-1] + value.placeholder
    return value.part(name) is not None


@pytest.fixture(scope="module")
def recorded(names_of_functions):
    return {one.notebook: one for one in (Recorded(p, names_of_functions) for p in in_order())}


def test_every_notebook_that_records_has_a_contract_and_no_other(recorded):
    assert {name for name, one in recorded.items() if one.starts} == {
        declared.notebook for declared in CONTRACTS
    }


@pytest.mark.parametrize("declared", CONTRACTS, ids=lambda one: one.notebook)
def test_a_notebook_records_what_is_declared_and_nothing_else(declared, recorded):
    own = recorded[declared.notebook]
    for name in own.values:
        matching = [value for value in declared.values if declared_under(value, name)]
        assert len(matching) == 1, f"{name}: {[value.name for value in matching]}"
    for value in declared.values:
        assert any(declared_under(value, name) for name in own.values), f"nobody records {value}"
    assert own.facts == {fact.name for fact in declared.facts}
    assert own.tables == {table.name for table in declared.tables}


def test_a_declaration_that_nobody_records_would_be_found(recorded):
    own = recorded["mlops/2_build"]
    assert not any(declared_under(Value("answer_stability", ""), name) for name in own.values)
    assert any(declared_under(contract.ANSWER_INSTABILITY, name) for name in own.values)
    assert any(declared_under(contract.DROP_UNDER, name) for name in own.values)
    assert not any(declared_under(Value("lost to {name}", ""), name) for name in own.values)


def test_a_notebook_reads_what_an_earlier_one_declares(recorded):
    read = [line for one in recorded.values() for line in one.reads()]
    assert ("llmops/5_monitor", "fact", "version") in read
    assert ("mlops/4_serve", "table", "stream") in read
    for notebook, kind, name in read:
        getattr(contract.of(notebook), kind)(name)


@pytest.mark.parametrize("path", in_order(), ids=lambda path: path.stem)
def test_a_notebook_reads_records_through_the_contract_alone(path):
    cells = nbformat.read(path, as_version=4).cells
    source = "\n".join(cell.source for cell in cells if cell.cell_type == "code")
    attributes = [n.attr for n in ast.walk(ast.parse(source)) if isinstance(n, ast.Attribute)]
    assert not {"facts", "values"} & set(attributes)


@pytest.mark.parametrize("path", REPORT, ids=lambda path: path.stem)
def test_the_report_names_no_stage_and_no_record_by_a_string(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Constant):
            assert node.value not in contract.STAGES, f"line {node.lineno}"
        if isinstance(node, ast.Call) and getattr(node.func, "attr", "") in (
            "fact",
            "table",
            "value",
        ):
            words = [arg for arg in node.args if isinstance(arg, ast.Constant)]
            assert not words or path.parent.name != "contrast", f"line {node.lineno}"
        if isinstance(node, ast.Attribute) and ast.unparse(node).startswith("contract."):
            assert hasattr(contract, node.attr), f"line {node.lineno}"


@pytest.mark.parametrize("declared", CONTRACTS, ids=lambda one: one.notebook)
def test_a_contract_is_whole(declared):
    for one in (*declared.values, *declared.facts, *declared.tables):
        assert one.meaning, one
    for names in (declared.values, declared.facts, declared.tables):
        assert len({one.name for one in names}) == len(names)
    for value in declared.values:
        assert value.kind in (float, int, bool)
        assert value.placeholder in value.meaning
        assert value.name.count("{") <= 1


def test_parameters_that_are_read_are_parameters_of_the_notebook():
    from diptych.execution.declaration import read_parameters

    for declared in CONTRACTS:
        path = ROOT / "notebooks" / f"{declared.notebook}.ipynb"
        assert set(declared.parameters) <= {one.name for one in read_parameters(path)}


SMALL = Contract(
    "a/1",
    (Value("size", "size", "MB"), Value("accuracy of {name}", "{name}", interval=True),
     Value("rows", "rows", kind=int), Value("good", "is good", kind=bool)),
    (Fact("alarm", "window", str | None),),
    (Table("stream", "rows", ("id", "window")),),
)  # fmt: skip


@pytest.mark.parametrize(
    ("ask", "name", "message"),
    [
        ("value", "sizes", r"sizes: a/1 declares no such value. Did you mean size\?"),
        ("value", "accuracy of ", "declares no such value"),
        ("fact", "alarms", r"declares no such fact. Did you mean alarm\?"),
        ("table", "streams", r"declares no such table. Did you mean stream\?"),
        ("parameter", "seed", "declares no such parameter to read. It declares none"),
    ],
)
def test_an_unknown_name_is_refused_with_what_is_near(ask, name, message):
    with pytest.raises(RecordError, match=message):
        getattr(SMALL, ask)(name)


def test_a_pattern_stands_for_its_names():
    value = SMALL.value("accuracy of k=4 (MLOps)")
    assert value.part("accuracy of k=4 (MLOps)") == "k=4 (MLOps)"
    assert value.label("accuracy of k=4 (MLOps)") == "k=4 (MLOps)"
    assert SMALL.fact("parameters") is contract.PARAMETERS
    assert contract.label("mlops/4_serve", "p50_ms") == "latency, p50"
    assert contract.label("somebody/else", "p50_ms") == "p50 ms"


@pytest.mark.parametrize(
    ("name", "figures", "message"),
    [
        ("size", ("large", None, None), "'large' is str; it is declared as float"),
        ("size", (True, None, None), "True is bool; it is declared as float"),
        ("rows", (1.5, None, None), "1.5 is float; it is declared as int"),
        ("good", (1, None, None), "1 is int; it is declared as bool"),
        ("size", (1.0, 0.5, 1.5), "declared without an interval"),
        ("accuracy of {name}", (0.5, None, None), "declared with an interval"),
    ],
)
def test_a_figure_of_another_kind_is_refused(name, figures, message):
    value = next(value for value in SMALL.values if value.name == name)
    with pytest.raises(RecordError, match=message):
        value.check(*figures)
    value.check(None, None, None)  # not measured


def test_what_a_complete_run_lacks_is_named():
    assert SMALL.missing(["size"], [], []) == ["rows", "good", "alarm", "stream"]
    assert SMALL.missing(["size", "rows", "good"], ["alarm"], ["stream"]) == []
    seldom = dataclasses.replace(SMALL.values[0], always=False)
    assert Contract("a/2", (seldom,)).missing([], [], []) == []
