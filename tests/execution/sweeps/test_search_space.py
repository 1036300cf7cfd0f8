import math

import pytest

from diptych.base.errors import ParameterError
from diptych.execution.sweeps.search_space import plan_sweep

NAME = "mlops/2_build"


def file(repository, text):
    path = repository / "params" / "sweep.yaml"
    path.write_text(text)
    return [path]


def test_a_grid_is_every_combination_the_last_name_fastest(repository):
    found = plan_sweep(NAME, (), (), ["depth=2,4", "mode=fast,exact", "names=[a],[b, c]"])
    points = found.points()
    assert len(points) == 8
    assert points[0] == {"depth": 2, "mode": "fast", "names": ["a"]}
    assert points[1] == {"depth": 2, "mode": "fast", "names": ["b", "c"]}
    assert points[-1] == {"depth": 4, "mode": "exact", "names": ["b", "c"]}


def test_spans_and_types(repository):
    assert plan_sweep(NAME, (), (), ["depth=2..5"]).grid == {"depth": [2, 3, 4, 5]}
    (values,) = plan_sweep(NAME, (), (), ["rate=0, 1"]).grid.values()
    assert [type(value) for value in values] == [float, float]
    assert plan_sweep(NAME, (), (), ["shuffle=true,false"]).grid == {"shuffle": [True, False]}
    assert plan_sweep(NAME, (), (), ["task=no, yes"]).grid == {"task": ["no", "yes"]}


def test_a_file_gives_grid_options_and_what_all_share(repository):
    text = """
    rate: 0.5
    sweep:
      grid: {depth: [2, 3], mode: [fast, exact]}
      metric: accuracy
      minimize: true
      random: 3
      halving: {floor: [1, 2]}
    """
    found = plan_sweep(NAME, file(repository, text), (), ["depth=7"], random=None, metric=None)
    assert found.grid == {"depth": [7], "mode": ["fast", "exact"]}, "the command wins"
    assert (found.metric, found.minimize, found.random) == ("accuracy", True, 3)
    assert found.halving == ("floor", [1, 2])
    assert found.base.values["rate"] == 0.5
    assert plan_sweep(NAME, file(repository, text), metric="loss").metric == "loss"


def test_a_draw_has_no_repeats_and_is_the_same_for_a_seed(repository):
    grid = [f"depth=1..{12}", "rate=0,0.1,0.2,0.3", "mode=fast,exact"]
    draws = [plan_sweep(NAME, (), (), grid, random=20, seed=seed).points() for seed in (0, 0, 1)]
    assert draws[0] == draws[1] != draws[2]
    assert len({tuple(point.values()) for point in draws[0]}) == 20
    everything = plan_sweep(NAME, (), (), grid).points()
    assert all(point in everything for point in draws[0])
    assert plan_sweep(NAME, (), (), ["depth=1,2"], random=20).points() == [
        {"depth": 1},
        {"depth": 2},
    ]


def test_a_huge_grid_is_drawn_from_without_being_made(repository):
    names = {"floor": list(range(10_000)), "rate": [i / 1000 for i in range(1000)]}
    found = plan_sweep(NAME, (), (), names, random=5)
    assert len(found.points()) == 5
    with pytest.raises(ParameterError, match=r"10,000,000 points. Draw some"):
        plan_sweep(NAME, (), (), names)
    assert math.prod(map(len, names.values())) == 10_000_000


@pytest.mark.parametrize(
    ("grid", "message"),
    [
        (["dept=2,4"], r"grid: dept = 2: .* Did you mean depth\?"),
        (["depth=2,x"], 'grid: depth = "x": text, not a whole number'),
        (["depth=2,99"], "grid: depth = 99: above the range. Write 1 to 12"),
        (["mode=fast,slow"], 'mode = "slow": not a choice. Write one of fast, exact'),
        (["depth=2,2"], "depth = 2: given twice"),
        (["depth"], "--grid depth: no values. Write --grid name=a,b,c"),
        (["depth="], "--grid depth=: no values"),
        (["depth=2", "depth=3"], "--grid depth: given twice"),
        (["names=a,b"], 'names = "a": text, not a list'),
        (["depth=[1"], "no list of YAML values"),
        ([], "nothing to vary"),
    ],
)
def test_a_bad_grid_is_refused_before_anything_is_made(repository, home, grid, message):
    with pytest.raises(ParameterError, match=message):
        plan_sweep(NAME, (), (), grid)
    assert not home.exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"halving": "depth=2,4"}, "halving: it keeps the best. Name the recorded value"),
        ({"halving": "depth=4,2", "metric": "a"}, "two or more numbers, rising"),
        ({"halving": "depth=4", "metric": "a"}, "two or more numbers, rising"),
        ({"halving": "mode=fast,exact", "metric": "a"}, "two or more numbers, rising"),
        ({"halving": "floor=0,2", "metric": "a"}, "rising from above 0"),
        ({"halving": "rate=0.1,0.2", "metric": "a"}, "rate is varied by the grid too"),
        ({"random": -1}, "random = -1: below 0"),
        ({"overrides": ["rate=0.5"]}, "rate: fixed by -p and varied"),
    ],
)
def test_options_that_do_not_fit_are_refused(repository, options, message):
    overrides = options.pop("overrides", ())
    with pytest.raises(ParameterError, match=message):
        plan_sweep(NAME, (), overrides, ["rate=0.1,0.3"], **options)


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ("sweep: {gird: {depth: [1]}}", r"gird: unknown. Did you mean grid\?"),
        ("sweep: {grid: [depth]}", "grid: no mapping"),
        ("sweep: {grid: {depth: 3}}", "depth: no values. Write a list"),
        ("sweep: {random: many}", "random = 'many': not int"),
        ("sweep: [1]", "sweep: no mapping"),
        ("other: {a: 1}", "other = .*no such parameter"),
    ],
)
def test_a_bad_section_is_named(repository, section, message):
    with pytest.raises(ParameterError, match=message):
        plan_sweep(NAME, file(repository, section), (), ["rate=0.1"])


def test_every_problem_is_told_at_once(repository):
    with pytest.raises(ParameterError) as refused:
        plan_sweep(NAME, (), (), ["dept=1", "rate=7", "mode=slow"])
    assert len(refused.value.problems) == 3


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ('"a,b",c', ["a,b", "c"]),
        ("'a,b' , c", ["a,b", "c"]),
        ('"say ""hi""",x', ['say "hi"', "x"]),
        ("a, b", ["a", "b"]),
        ("a,", ["a", ""]),
        ("[x],y", ["[x]", "y"]),
    ],
)
def test_a_list_is_a_line_of_csv(repository, text, values):
    assert plan_sweep(NAME, (), (), [f"task={text}"]).grid == {"task": values}


def test_quotation_marks_that_do_not_close_are_refused(repository):
    with pytest.raises(ParameterError, match="--grid task"):
        plan_sweep(NAME, (), (), ['task="a,b'])


def test_a_range_is_drawn_from_and_the_same_seed_draws_the_same(repository):
    grid = ["rate=loguniform(1e-4, 1)", "depth=int(2,9)", "mode=fast,exact"]
    plan = plan_sweep(NAME, (), (), grid, random=200)
    points = plan.points()
    assert points == plan_sweep(NAME, (), (), grid, random=200).points()
    assert points != plan_sweep(NAME, (), (), grid, random=200, seed=1).points()
    assert {point["depth"] for point in points} == set(range(2, 10))
    assert {point["mode"] for point in points} == {"fast", "exact"}
    rates = sorted(point["rate"] for point in points)
    assert 1e-4 <= rates[0] < rates[-1] <= 1
    assert sum(rate < 1e-2 for rate in rates) == pytest.approx(100, abs=35)  # half the logarithm
    assert plan.varied == ["mode", "rate", "depth"]
    assert plan.described()["rate"] == "loguniform(0.0001, 1)"


@pytest.mark.parametrize(
    ("grid", "random", "message"),
    [
        ("rate=uniform(0,1)", None, "drawn from. Say how often"),
        ("rate=uniform(1,0)", 5, "do not rise"),
        ("rate=loguniform(0,1)", 5, "has no logarithm"),
        ("rate=uniform(0,7)", 5, "above the range"),
        ("depth=uniform(0.5,1.5)", 5, "not a whole number"),
        ("depth=int(1,x)", 5, '"x" is not a whole number'),
        ("floor=1..999999999999", None, "999,999,999,999 points. Draw some"),
        ("depth=1..999999999999", None, "above the range"),
    ],
)
def test_a_range_that_cannot_be_tried_is_refused(repository, grid, random, message):
    with pytest.raises(ParameterError, match=message):
        plan_sweep(NAME, (), (), [grid], random=random)


def test_a_huge_range_is_drawn_from_without_being_made(repository):
    grid = ["floor=1..999999999999", "upstream=a,b"]
    plan = plan_sweep(NAME, (), (), grid, random=3)
    assert len({point["floor"] for point in plan.points()}) == 3
    many = plan_sweep(NAME, (), (), ["floor=-1..9223372036854775000", "upstream=a,b"], random=3)
    assert len(many.points()) == 3
    assert plan.described()["floor"] == "1..999999999999"


LAYERS = ", ".join(
    f"&{after} [{', '.join([f'*{before}'] * 9)}]"
    for before, after in zip("abcdefgh", "bcdefghi", strict=True)
)


@pytest.mark.parametrize(
    "values", [f"[&a [1, 2], {LAYERS}]", "[&a [*a]]", "[" * 1500, f"[&a 1{', *a' * 20_000}]"]
)
def test_values_that_explode_are_refused(repository, values):
    """Aliases of aliases, a list that holds itself, lists without end."""
    with pytest.raises(ParameterError, match=r"--grid depth = .*: no list of YAML values") as error:
        plan_sweep(NAME, (), (), [f"depth={values}"])
    assert len(str(error.value)) < 400
    with pytest.raises(ParameterError):
        plan_sweep(NAME, (), [f"depth={values}"], ["rate=0,1"])
    with pytest.raises(ParameterError):
        plan_sweep(NAME, file(repository, f"sweep: {{grid: {{depth: {values}}}}}"))
