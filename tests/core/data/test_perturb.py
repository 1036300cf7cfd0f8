"""Rows made harder keep their ids, and their labels are right by construction."""

import random

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import f1_score

from diptych.core.data import generators, perturb, splits, tasks
from diptych.core.data.generators.grammar import OPPOSITE
from diptych.core.evaluation.metrics import parse


@pytest.fixture(scope="module")
def data():
    frame = generators.reviews(rows=4_000, seed=3).rename(columns={"domain": "slice"})
    return frame.assign(split=splits.assign(frame, ["text"], 0, frame["time"].max()))


@pytest.fixture(scope="module")
def harder(data):
    return perturb.rows(data, tasks.get("reviews"), 60, 0)


def by_way(rows):
    parts = rows["id"].str.split(perturb.MARK, n=1)
    return rows.assign(base=parts.str[0], way=parts.str[1].fillna(""))


def test_each_chosen_row_is_there_as_it_was_and_made_harder(data, harder):
    rows = by_way(harder)
    assert set(rows["way"]) == {"", "typos", "negation"}
    assert rows["id"].is_unique
    as_it_was = rows[rows["way"] == ""]
    assert set(rows["base"]) == set(as_it_was["base"])
    pd.testing.assert_frame_equal(
        as_it_was[list(data)].sort_values("id", ignore_index=True),
        data[data["id"].isin(as_it_was["id"])].sort_values("id", ignore_index=True),
    )
    assert set(as_it_was["split"]) == {"test"}
    assert (rows["way"] == "typos").sum() == 60


def test_what_is_done_depends_on_the_row_and_the_seed_alone(data, harder):
    task = tasks.get("reviews")
    fewer = perturb.rows(data.sample(frac=1, random_state=1), task, 20, 0)
    both = fewer.merge(harder, on="id", suffixes=("", "_of_more"))
    assert len(both) == len(fewer)
    assert (both["text"] == both["text_of_more"]).all()
    other = perturb.rows(data, task, 60, 1)
    assert set(other["id"]) != set(harder["id"])


def test_typing_errors_keep_the_words_in_number_and_the_label(data, harder):
    rows = by_way(harder)
    typed = rows[rows["way"] == "typos"].merge(data, left_on="base", right_on="id")
    assert (typed["text_x"] != typed["text_y"]).mean() > 0.95  # two equal letters may swap
    assert (typed["text_x"].str.split().str.len() == typed["text_y"].str.split().str.len()).all()
    assert (typed["label_x"] == typed["label_y"]).all()


def test_only_the_last_line_is_mistyped():
    told = "Customer: order 48213\nAgent: Thank you.\nCustomer: which order did i give you"
    made = perturb.mistyped(random.Random(0), told)
    assert made.splitlines()[:2] == told.splitlines()[:2]
    assert made != told


def test_a_negated_review_turns_every_one_of_its_opinions(data):
    """The clauses that a review was made of are known: each must be turned, none left."""
    rng, known, turned = random.Random(5), set(perturb._words(" ".join(data["text"]))), 0
    for _ in range(1500):
        label = rng.choice(("positive", "negative"))
        made = generators.review(rng, rng.choice(generators.STABLE), label)
        if (said := perturb.negated(made.text, known)) is not None:
            turned += 1
            shown = [c for c in made.clauses if c.text.lower() in made.text.lower()]
            assert said.count(" not ") == said.count(" at all") >= len(shown)
    assert turned > 30


@pytest.mark.parametrize(
    ("text", "made"),
    [
        ("The soup was great.", "The soup was not great at all."),
        ("The soup was very great!", "The soup was not great at all!"),
        ("It IS awful. We came on friday.", "It is not awful at all. We came on friday."),
        ("The soup was not great.", None),
        ("The soup was great but it was awful.", None),
        ("I loved it. The soup was great.", None),
        ("The soup was greta.", None),
        ("We came on friday.", None),
    ],
)
def test_negation_by_hand(text, made):
    known = perturb._words(
        "The soup was great, very. It is awful; we came on friday. Not but I loved"
    )
    assert perturb.negated(text, set(known)) == made


@pytest.mark.parametrize(
    ("text", "made"),
    [
        ("The soup was\n great.", "The soup was not great at all."),
        ("The soup was é great.", None),  # a letter of another word stands between
        (
            "The soup was great. It was great!",
            "The soup was not great at all. It was not great at all!",
        ),
        ("\u0130 soup was great.", "\u0130 soup was not great at all."),
    ],
)
def test_negation_finds_its_words_in_the_text(text, made):
    known = set(perturb._words("The soup was great. It i"))
    assert perturb.negated(text, known) == made


def test_negation_of_a_long_text_reads_it_a_few_times_only(monkeypatch):
    """Work is counted in characters given to patterns."""
    read = []

    class Counting:
        def __init__(self, pattern):
            self.pattern = pattern

        def __getattr__(self, name):
            def call(*arguments, **options):
                read.append(sum(len(x) for x in arguments if isinstance(x, str)))
                return getattr(self.pattern, name)(*arguments, **options)

            return call

    monkeypatch.setattr(perturb, "WORD", Counting(perturb.WORD))
    monkeypatch.setattr(perturb, "re", Counting(perturb.re))
    text = "The soup was great. " * 500
    assert perturb.negated(text, {"the", "soup", "was", "great"}).count("not great at all") == 500
    assert sum(read) < 4 * len(text)


def test_labels_of_negated_rows_are_the_opposite(data, harder):
    rows = by_way(harder)
    turned = rows[rows["way"] == "negation"].merge(data, left_on="base", right_on="id")
    assert len(turned) >= 10
    assert (turned["label_x"] == turned["label_y"].map(OPPOSITE)).all()


@pytest.mark.parametrize(
    ("name", "ways"),
    [
        ("reviews", {"typos", "negation"}),
        ("support", {"typos"}),
        ("tumours", {"noise", "missing"}),
        ("digits", {"noise", "shift"}),
    ],
)
def test_the_ways_are_those_tested_here(name, ways):
    assert set(perturb._ways(tasks.get(name))) == ways


def numbers(name, way):
    task = tasks.get(name)
    frame = task.load()
    rows = by_way(perturb.rows(frame, task, 40, 0))
    made = rows[rows["way"] == way].set_index("base")
    was = frame.set_index("id").loc[made.index]
    return rows, was[task.features].to_numpy(), made[task.features].to_numpy()


def test_a_table_gets_noise_within_its_bounds_and_gaps():
    _, was, made = numbers("tumours", "noise")
    assert (made >= 0).all()
    assert (was != made).mean() > 0.9
    _, was, made = numbers("tumours", "missing")
    gaps = np.isnan(made)
    assert gaps.mean() == pytest.approx(perturb.MISSING, abs=0.05)
    np.testing.assert_array_equal(was[~gaps], made[~gaps])
    assert made.dtype == np.float32


def test_a_typed_table_gets_noise_in_numbers_and_gaps_in_all_columns():
    task = tasks.get("churn")
    frame = task.load()
    rows = by_way(perturb.rows(frame, task, 60, 0))
    numbers = [column.name for column in task.columns if column.kind == "number"]
    others = [name for name in task.features if name not in numbers]
    known = frame.set_index("id")
    noisy = rows[rows["way"] == "noise"].set_index("base")
    before = known.loc[noisy.index]
    same = (noisy[others] == before[others]) | (noisy[others].isna() & before[others].isna())
    assert same.to_numpy().all()
    present = before[numbers].notna()
    assert (noisy[numbers] != before[numbers])[present].to_numpy()[present.to_numpy()].all()
    lacking = rows[rows["way"] == "missing"].set_index("base")
    before = known.loc[lacking.index]
    new = lacking[task.features].isna() & before[task.features].notna()
    assert (new.sum() > 0).all()
    assert new.to_numpy().mean() == pytest.approx(perturb.MISSING, abs=0.05)
    assert lacking[task.features].dtypes.equals(before[task.features].dtypes)


def test_an_image_gets_noise_in_its_own_levels_and_moves_by_one_pixel():
    _, was, made = numbers("digits", "noise")
    assert (made == made.round()).all()
    assert made.min() >= 0
    assert made.max() <= 16
    _, was, made = numbers("digits", "shift")
    for old, new in zip(was.reshape(-1, 8, 8), made.reshape(-1, 8, 8), strict=True):
        moved = [(old[1:], new[:-1], new[-1]), (old[:-1], new[1:], new[0]),
                 (old[:, 1:], new[:, :-1], new[:, -1]),
                 (old[:, :-1], new[:, 1:], new[:, 0])]  # fmt: skip
        assert any((a == b).all() and (edge == 0).all() for a, b, edge in moved)


def test_your_own_texts_are_never_negated(tmp_path):
    path = tmp_path / "own.csv"
    rows = [f"The soup number {i} was great.,{('negative', 'positive')[i % 2]}" for i in range(80)]
    path.write_text("\n".join(["text,label", *rows]))
    task = tasks.get(str(path))
    assert set(by_way(perturb.rows(task.load(), task, 10, 0))["way"]) == {"", "typos"}


def test_harm_compares_each_row_with_itself():
    said = pd.DataFrame(
        {"family": "x", "id": ["a", "b", "c", "a~typos", "b~typos"],
         "correct": [True, True, False, False, True]}
    )  # fmt: skip
    (lost,) = perturb.accuracy_drop(said, "family", 0).itertuples()
    assert (lost.name, lost.value, lost.n) == ("typos, x", 0.5, 2)
    assert lost.low < 0.5 < lost.high
    assert perturb.accuracy_drop(said.head(3), "family", 0).empty


def test_harm_is_of_the_metric_of_the_task():
    draws = np.random.default_rng(0)
    truth = np.where(draws.uniform(size=80) < 0.3, "no", "yes")
    answers = {way: np.where(draws.uniform(size=80) < at, truth, "yes")
               for way, at in (("", 0.9), ("~typos", 0.5))}  # fmt: skip
    said = pd.concat([
        pd.DataFrame({"family": "x", "id": [f"{i}{way}" for i in range(80)], "label": truth,
                      "predicted": answer, "correct": truth == answer, "confidence": np.nan,
                      "probabilities": None})
        for way, answer in answers.items()
    ])  # fmt: skip
    (lost,) = perturb.accuracy_drop(said, "family", 0, parse("f1:no")).itertuples()
    figures = [f1_score(truth, answer, pos_label="no") for answer in answers.values()]
    assert lost.value == pytest.approx(figures[0] - figures[1])
    assert lost.low < lost.value < lost.high
    assert perturb.accuracy_drop(said, "family", 0, parse("brier")).empty  # no probabilities
    (right,) = perturb.accuracy_drop(said, "family", 0, parse("accuracy")).itertuples()
    shares = [(truth == answer).mean() for answer in answers.values()]
    assert right.value == pytest.approx(shares[0] - shares[1])
