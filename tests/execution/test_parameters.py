import ast
import json
import math
import re
import subprocess
import sys

import papermill.cli
import pytest
import yaml
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from papermill.iorw import read_yaml_file
from papermill.translators import PythonTranslator

from diptych.base.secrets import looks_secret
from diptych.execution.declaration import Parameter, read_parameters
from diptych.execution.parameters import (
    WORDS,
    Loader,
    ParameterError,
    load_file,
    load_text,
    parse_override,
    resolve,
)

TEXT = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=30)
SCALARS = {
    "int": st.integers(),
    "float": st.floats(allow_nan=False, allow_infinity=False),
    "str": TEXT.filter(lambda text: not looks_secret("x", text, {})),
    "bool": st.booleans(),
}
KINDS = st.sampled_from(sorted(SCALARS))
VALUES = st.one_of(
    KINDS.flatmap(lambda kind: st.tuples(st.just(kind), SCALARS[kind])),
    KINDS.flatmap(
        lambda kind: st.tuples(st.just(f"list[{kind}]"), st.lists(SCALARS[kind], max_size=3))
    ),
)
NAMES = st.from_regex(r"[a-z][a-z_]{0,12}", fullmatch=True)
REPEATED = settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=100
)


@pytest.fixture
def declared(notebooks):
    return read_parameters(notebooks / "good.ipynb")


@pytest.fixture
def write(tmp_path, monkeypatch):
    """Return a function that writes a parameter file and returns its name."""
    monkeypatch.chdir(tmp_path)

    def write(text, name="p.yaml"):
        content = text if isinstance(text, bytes) else text.encode()
        (tmp_path / name).write_bytes(content)
        return name

    return write


def refusal(declared, files=(), overrides=()):
    """Return the problems found."""
    with pytest.raises(ParameterError) as refused:
        resolve(declared, files, overrides)
    return refused.value.problems


def test_defaults_then_files_in_turn_then_overrides(declared, write):
    first = write("depth: 5\nrate: 0.1\nmode: exact\n", "first.yaml")
    second = write("depth: 6\nrate: 1\n", "second.yaml")
    values = resolve(declared, [first, second], ["depth=7", "names=[c]"])
    assert values == {
        "task": "reviews",
        "depth": 7,
        "rate": 1.0,
        "mode": "exact",
        "shuffle": True,
        "names": ["c"],
        "floor": -1,
        "upstream": "",
    }
    assert isinstance(values["rate"], float)
    assert resolve(declared, [first], {"depth": 8})["depth"] == 8


def test_an_empty_file_and_a_comment_give_nothing(write):
    assert load_file(write("")) == load_file(write("# nothing\n", "c.yaml")) == {}


REFUSALS = {
    "unknown": ("dept: 5", ["dept = 5", "no such parameter", "Did you mean depth?", "task, depth"]),
    "text for int": ("depth: five", ['depth = "five"', "text, not a whole number", "such as 3"]),
    "float for int": ("depth: 5.0", ["depth = 5.0", "a number, not a whole number"]),
    "bool for int": ("depth: yes", ["depth = true", "true or false, not a whole number"]),
    "bool for float": ("rate: on", ["rate = true", "not a number"]),
    "YAML 1.1 exponent": ("rate: 1e-3", ['rate = "1e-3"', "text, not a number", "1.0e-3"]),
    "nan": ("rate: .nan", ["rate = NaN", "not a finite number"]),
    "infinity": ("rate: -.inf", ["rate = -Infinity", "not a finite number"]),
    "a float's worth": ("rate: 1" + "0" * 400, ["rate = 1000", "not a finite number"]),
    "number for text": ("task: 3", ["task = 3", "a whole number, not text", "in quotes"]),
    "a word YAML takes for false": ("task: no", ["task = false", "not text", "in quotes"]),
    "nothing for text": ("task:", ["task = null", "nothing, not text", "in quotes"]),
    "text for bool": ("shuffle: maybe", ['shuffle = "maybe"', "Write true or false"]),
    "text for list": ("names: a", ['names = "a"', "not a list", "Write [a, b]"]),
    "number in list": ("names: [a, 3]", ['names = ["a", 3]', "a whole number, not text"]),
    "list for text": ("task: [a]", ['task = ["a"]', "a list, not text"]),
    "below": ("depth: 0", ["depth = 0", "below the range", "Write 1 to 12"]),
    "above": ("depth: 13", ["depth = 13", "above the range", "Write 1 to 12"]),
    "below an open range": ("floor: -2", ["floor = -2", "Write -1 or more"]),
    "no choice": ("mode: slow", ['mode = "slow"', "not a choice", "Write one of fast, exact"]),
    "a key": ("task: sk-Ab3dEf6hAb3dEf6hAb3d", ["task = (hidden, 23 char", "name of an env"]),
    "a key's name": ("api_key: hunter2", ["api_key = (hidden, 7 characters)", "no such"]),
    "lone surrogate": (r'task: "\ud800"', ["task =", "Unicode", "Remove"]),
    "nested": ("depth: {depth: 5}", ["depth", "a mapping, not a whole number"]),
    "nested list": ("names: [[a]]", ["names", "a list, not text"]),
    "merged": ("<<: {depth: 30}", ["depth = 30", "above the range"]),
    "twice": ("depth: 3\ndepth: 4", ["line 2", "depth", "given twice", "Keep one"]),
    "a name that is no text": ("on: 3", ["line 1", "on", "the name is not text"]),
    "a list of values": ("- depth", ["line 1", "not a mapping", "name: value"]),
    "a word": ("depth", ["line 1", "not a mapping"]),
    "broken": ("depth: 3\nrate: [1", ["broken YAML at line 2, column 9"]),
    "a tab": ("depth: 3\n\trate: 1", ["broken YAML at line 2, column 1"]),
    "an object": ("task: !!python/object:os.x {}", ["broken YAML at line 1, column 7"]),
    "a tagged word": ("task: !!python/name:os.system x", ["broken YAML at line 1, column 7"]),
    "two documents": ("depth: 3\n---\nrate: 1", ["broken YAML at line 2"]),
    "deep": ("names: " + "[" * 5000, ["not YAML"]),
    "not UTF-8": (b"task: \xff", ["not YAML in UTF-8"]),
    "binary": (b"task: \x00", ["broken YAML"]),
}


@pytest.mark.parametrize(("text", "words"), REFUSALS.values(), ids=REFUSALS)
def test_each_refusal_names_the_file_the_key_the_value_and_the_remedy(declared, write, text, words):
    (problem,) = refusal(declared, [write(text)])
    assert problem.startswith("p.yaml: ")
    assert problem.endswith(".")
    for word in words:
        assert word in problem
    assert "hunter2" not in problem
    assert "sk-" not in problem


def test_overrides_are_refused_the_same_way(declared):
    given = ["dept=5", "depth=0", "rate=fast", "mode", "=3", "names=[a", "shuffle="]
    problems = refusal(declared, overrides=given)
    expected = [
        "-p: dept = 5: the notebook has no such parameter. Did you mean depth?",
        "-p: depth = 0: below the range. Write 1 to 12.",
        '-p: rate = "fast": text, not a number.',
        '-p: "mode": no value. Write -p name=value.',
        '-p: "=3": no value. Write -p name=value.',
        '-p: names = "[a": not a YAML value.',
        '-p: shuffle = "": text, not true or false.',
    ]
    assert len(problems) == len(expected)
    assert all(map(str.startswith, problems, expected))


def test_all_problems_of_all_sources_are_told_at_once(declared, write):
    one, two = write("dept: 5\nrate: 7\n", "one.yaml"), write("a: [", "two.yaml")
    problems = refusal(declared, [one, two, "tasks/nobody"], ["depth=0"])
    starts = ["one.yaml: dept", "one.yaml: rate", "two.yaml: broken", "tasks/nobody: no such", "-p"]
    assert sorted(problems) == sorted(
        problem for start in starts for problem in problems if problem.startswith(start)
    )
    assert len(problems) == len(starts)


def test_a_value_is_refused_even_where_a_later_file_wins(declared, write):
    files = [write("depth: 99", "one.yaml"), write("depth: 3", "two.yaml")]
    (problem,) = refusal(declared, files)
    assert problem.startswith("one.yaml: depth = 99")


def test_long_values_are_cut(declared):
    (problem,) = refusal(declared, overrides=["mode=" + "word " * 100])
    assert len(problem) < 160


@pytest.mark.parametrize(
    ("text", "kind", "value"),
    [
        ("no", "str", "no"),
        ("3", "str", "3"),
        ("", "str", ""),
        ("# tag", "str", "# tag"),
        ("a: b", "str", "a: b"),
        ('"3"', "str", "3"),
        ("'it''s'", "str", "it's"),
        (r'"\ud83d\ude00"', "str", "\U0001f600"),
        ("1e-3", "float", 0.001),
        ("true", "bool", True),
        ("False", "bool", False),
        ("[a, b]", "list[str]", ["a", "b"]),
        ("[1e-3, 2]", "list[float]", [0.001, 2.0]),
        ("-3", "int", -3),
        ("None", "str | None", None),
        ("no", "str | None", "no"),
        ("None", "int | None", None),
        ("3", "int | str", 3),
        ("2026-01-31", "date", "2026-01-31"),
        ("{a: [1, 2]}", "dict[str, list[int]]", {"a": [1, 2]}),
        ("[1, x]", "tuple[int, str]", [1, "x"]),
        ("[1, None]", "list[int | None]", [1, None]),
        ("{'a': None}", "dict[str, int | None]", {"a": None}),
    ],
)
def test_what_an_override_means(text, kind, value):
    parameter = Parameter("x", kind, None)
    found = resolve([parameter], overrides=[f"x={text}"])["x"]
    assert found == value
    assert type(found) is type(value)


def test_nothing_for_text_is_no_word(declared):
    (problem,) = refusal(declared, overrides=["task=None"])
    assert problem.startswith("-p: task = null: nothing, not text")


@given(TEXT | st.integers().map(str) | st.floats().map(str) | st.sampled_from([*WORDS, " 5", ""]))
def test_without_a_type_a_value_is_what_papermill_makes_of_it(text):
    expected = papermill.cli._resolve_type(text)
    for default in (None, 1, "a"):
        value = parse_override(text, Parameter("x", "unknown", default, typed=False))
        assert repr(value) == repr(expected)


def test_a_list_and_a_mapping_without_a_type_may_be_given_anew():
    untyped = Parameter("x", "list", [1], typed=False)
    assert parse_override("[2, a]", untyped) == [2, "a"]
    assert parse_override("2", untyped) == 2
    assert parse_override("[1, 'a', None]", untyped) == [1, "a", None]
    assert parse_override("{'a': None, 'b': (1, 'None')}", untyped) == {"a": None, "b": [1, "None"]}
    assert parse_override("{a: true}", untyped) == {"a": True}


def test_files_may_be_nested_and_merged(write):
    text = "base: &base {a: 1, b: [[1], {c: 2}]}\nx:\n  <<: *base\n  a: 3\n"
    assert load_file(write(text))["x"] == {"a": 3, "b": [[1], {"c": 2}]}


def test_pairs_are_taken_as_they_are_and_yaml_texts_are_read(declared):
    assert resolve(declared, overrides=[("task", "None"), ("depth", 5)])["task"] == "None"
    assert load_text("{depth: 5, names: [a]}") == {"depth": 5, "names": ["a"]}
    with pytest.raises(ParameterError, match=r"-y: .*not a mapping"):
        load_text("[1]")


def test_any_name_is_taken_where_no_cell_declares_them():
    assert resolve([], overrides=["a=1", "b=x"], free=True) == {"a": 1, "b": "x"}


@REPEATED
@given(VALUES)
def test_any_value_survives_the_file_the_injected_cell_and_papermill(write, kind_value):
    kind, value = kind_value
    name = write(yaml.safe_dump({"x": value}, allow_unicode=True))
    found = resolve([Parameter("x", kind, value)], [name])["x"]
    assert found == value
    assert type(found) is type(value)
    assert ast.literal_eval(PythonTranslator.translate(found)) == value
    assert read_yaml_file(name) == {"x": value}


@given(VALUES)
def test_any_value_survives_an_override_in_json(kind_value):
    kind, value = kind_value
    found = resolve([Parameter("x", kind, None)], overrides=[f"x={json.dumps(value)}"])["x"]
    assert found == value
    assert type(found) is type(value)


@given(TEXT.filter(lambda text: text[:1] not in ("'", '"')))
def test_text_needs_no_quotes_in_an_override(text):
    assert parse_override(text, Parameter("x", "str", "")) == text


@given(NAMES, st.lists(NAMES, max_size=4), VALUES)
def test_an_unknown_name_is_always_refused(name, known, kind_value):
    assume(name not in known)
    parameters = [Parameter(each, "int", 0) for each in known]
    (problem,) = refusal(parameters, overrides={name: kind_value[1]})
    assert problem.startswith(f"-p: {name} = ")
    assert "no such parameter" in problem


@given(VALUES, KINDS)
def test_another_type_is_always_refused_but_int_for_float(kind_value, kind):
    given_kind, value = kind_value
    assume(given_kind != kind)
    parameter = Parameter("x", kind, None)
    if (given_kind, kind) == ("int", "float"):
        assume(abs(value) < 2**53)
        assert resolve([parameter], overrides={"x": value})["x"] == value
    else:
        (problem,) = refusal([parameter], overrides={"x": value})
        assert re.match("-p: x = .*, not ", problem, re.DOTALL)


@given(st.integers(-50, 50), st.integers(-50, 50), st.integers(-60, 60))
def test_a_range_allows_its_ends_and_nothing_outside(low, high, value):
    parameter = Parameter("x", "int", 0, "", low, high)
    if low <= value <= high:
        assert parameter.check(value) == value
    else:
        (problem,) = refusal([parameter], overrides={"x": value})
        assert f"Write {low} to {high}" in problem


def test_infinities_reach_no_notebook():
    for value in (math.inf, -math.inf, math.nan):
        assert "finite" in refusal([Parameter("x", "float", 0.0)], overrides={"x": value})[0]


def test_bare_papermill_takes_the_same_file(write, notebooks, declared):
    name = write("depth: 7\nrate: 1.0e-3\nnames: [x, y]\ntask: 'no'\nshuffle: false\n")
    command = [sys.executable, "-m", "papermill", str(notebooks / "good.ipynb"), "out.ipynb"]
    subprocess.run([*command, "-f", name, "--prepare-only"], check=True, capture_output=True)
    with open("out.ipynb") as file:
        injected = json.load(file)["cells"][2]
    assert injected["metadata"]["tags"] == ["injected-parameters"]
    theirs = {}
    exec("".join(injected["source"]), theirs)
    ours = resolve(declared, [name])
    assert {key: theirs[key] for key in load_file(name)} == {
        key: ours[key] for key in load_file(name)
    }


BOMB = "&a [x, x, x, x, x, x, x, x, x]"
for name, before in zip("bcdefgh", "abcdefg", strict=True):
    BOMB += f", &{name} [{', '.join(['*' + before] * 9)}]"


@pytest.mark.parametrize("text", [f"[{BOMB}]", "&a [*a]"])
def test_aliases_that_explode_are_refused(tmp_path, text):
    with pytest.raises(yaml.YAMLError, match="aliases make more than 10,000 values"):
        yaml.load(text, Loader=Loader)
    path = tmp_path / "bomb.yaml"
    path.write_text(f"parameters:\n  task: {text}\n")
    with pytest.raises(ParameterError, match=r"bomb\.yaml: broken YAML"):
        load_file(path, ("parameters",))


def test_aliases_of_a_usual_size_are_read():
    assert yaml.load("{a: &a [1, 2], b: *a}", Loader=Loader) == {"a": [1, 2], "b": [1, 2]}


def test_yaml_nested_too_deep_is_a_sentence():
    with pytest.raises(ParameterError, match=r"-y: broken YAML"):
        load_text("a: " + "[" * 50_000)
