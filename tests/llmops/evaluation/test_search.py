"""The search spends what it may, keeps the better arms, and finds a prompt that is better."""

import signal

import numpy as np
import pandas as pd
import pytest
from llmops import fakes

from diptych.core.evaluation.graders import Scoring
from diptych.core.evaluation.metrics import parse
from diptych.llmops import build
from diptych.llmops.client.budget import Budget, BudgetError
from diptych.llmops.client.call_options import CallOptions
from diptych.llmops.client.target import Target
from diptych.llmops.evaluation import search
from diptych.llmops.prompts import candidates, prompt
from diptych.llmops.prompts.prompt import Prompt

LABELS = ["negative", "positive"]
PLAIN = Prompt(
    "plain", "reviews", ("text",), "", "Classify as positive or negative.\n{text}",
    output={"type": "string", "enum": LABELS},
)  # fmt: skip


def arms(means, rows, seed=0):
    """Return a pull over arms that are right with given probabilities, and what was pulled."""
    rng, pulled = np.random.default_rng(seed), []
    right = {name: rng.random(rows) < mean for name, mean in means.items()}

    def pull(names, start, stop):
        pulled.append((list(names), start, stop))
        return {name: right[name][start:stop] for name in names}

    return pull, pulled


def means(n=16, best=0.9, others=0.6):
    return {f"arm {i}": best if i == 11 else others for i in range(n)}


def test_the_best_arm_is_found_within_the_budget():
    winners = []
    for seed in range(20):
        pull, pulled = arms(means(), 2_000, seed)
        found = search.successive_halving(list(means()), pull, 960, 2_000)
        spent = sum(len(names) * (stop - start) for names, start, stop in pulled)
        assert spent == found.pulls <= 960
        winners.append(found.winner)
    assert winners.count("arm 11") >= 19


def test_each_round_asks_the_better_half_about_rows_not_met_before():
    pull, pulled = arms(means(), 2_000)
    found = search.successive_halving(list(means()), pull, 960, 2_000)
    assert [len(names) for names, *_ in pulled] == [16, 8, 4, 2]
    assert [start for _, start, _ in pulled] == [0, *(stop for *_, stop in pulled[:-1])]
    for number in range(1, 4):
        table = found.rounds[found.rounds["round"] == number]
        assert table["value"].is_monotonic_decreasing
        assert set(pulled[number][0]) == set(table["name"][table["selected"]])
        assert table["selected"].sum() == len(table) / 2
    last = found.rounds[found.rounds["round"] == 4]
    assert last["name"][last["selected"]].tolist() == [found.winner]


def test_a_tie_goes_to_the_one_named_first():
    pull, _ = arms(dict.fromkeys("abc", 1.0), 100)
    assert search.successive_halving(list("abc"), pull, 60, 100).winner == "a"
    pull, _ = arms({"a": 0.5}, 100)
    assert search.successive_halving(["a"], pull, 10, 100).winner == "a"


def test_the_metric_of_the_task_selects_once_all_arms_have_it():
    """`never` is right more often, and finds none of the rare class."""
    truth = np.where(np.arange(400) % 8 == 7, "yes", "no")
    said = {"never": np.full(400, "no"), "finds": np.where(np.arange(400) % 4 == 3, "yes", "no")}

    def pull(names, start, stop):
        at = np.arange(start, stop)
        return {name: pd.DataFrame({
            "variant": name, "repeat": 0, "id": [f"{i:03d}" for i in at], "error": "",
            "expected": truth[at], "predicted": said[name][at], "confidence": np.nan,
            "score": 1.0, "correct": truth[at] == said[name][at],
        }) for name in names}  # fmt: skip

    f1 = Scoring(metric=parse("f1:yes"))
    found = search.successive_halving(["never", "finds"], pull, 200, 400, scoring=f1)
    assert found.winner == "finds"
    assert found.rounds["by"].tolist() == ["F1", "F1"]
    # four rows hold none of the class, and only who errs has an F1: the share right decides
    few = search.successive_halving(["finds", "never"], pull, 8, 4, scoring=f1)
    assert (few.winner, set(few.rounds["by"])) == ("never", {"share right"})


def test_rows_that_run_out_are_not_asked_twice():
    pull, pulled = arms(means(), 50)
    found = search.successive_halving(list(means()), pull, 100_000, 50)
    assert max(stop for *_, stop in pulled) == 50
    assert found.rounds["rows"].max() == 50


def test_a_budget_too_small_is_refused_and_one_that_ends_keeps_the_best_so_far():
    pull, pulled = arms(means(), 100)
    with pytest.raises(ValueError, match="calls: 63 are too few for 16 prompts in 4 rounds; give"):
        search.successive_halving(list(means()), pull, 63, 100)
    assert not pulled

    def poor(names, start, stop):
        if len(pulled) == 2:
            raise BudgetError("budget: max_usd is 1")
        return pull(names, start, stop)

    found = search.successive_halving(list(means()), poor, 640, 100)
    assert found.stopped == "budget: max_usd is 1"
    assert found.rounds["round"].max() == 2
    assert found.winner == found.rounds[found.rounds["round"] == 2]["name"].iloc[0]
    pulled[:] = [None, None]
    with pytest.raises(BudgetError):
        search.successive_halving(list(means()), poor, 640, 100)


def test_wordings_change_the_words_and_nothing_else():
    made = candidates.ours(PLAIN, 40, seed=0)
    assert len(made) == 40 == len({one.version for one in made}) == len({one.name for one in made})
    assert made == candidates.ours(PLAIN, 40, seed=0) != candidates.ours(PLAIN, 40, seed=1)
    for one in made:
        assert (one.inputs, one.output, one.task, one.parent) == (
            PLAIN.inputs, PLAIN.output, PLAIN.task, "plain",
        )  # fmt: skip
        messages = one.messages({"text": "It {broke}."})
        assert sum("It {broke}." in m["content"] for m in messages) == 1
        assert prompt.parse(prompt.to_text(one)).version == one.version
    own = Prompt("p", "t", ("size", "age"), "", "Sort it.\nsize {size}, age {age}",
                 output={"type": "string", "enum": ["a", "b", "c"]})  # fmt: skip
    for one in candidates.ours(own, 30, seed=0):
        assert "size 3, age 4" in one.messages({"size": 3, "age": 4})[-1]["content"]
        said = one.system + one.user
        assert "a, b or c" in said or "c, b or a" in said


def test_examples_are_balanced_and_from_the_pool():
    pool = [({"text": f"text {i}"}, LABELS[i % 2]) for i in range(20)]
    made = candidates.with_examples(candidates.ours(PLAIN, 6, 0), pool, (0, 2, 4), seed=0)
    assert [len(one.examples) for one in made] == [0, 2, 4, 0, 2, 4]
    for one in made:
        assert all(example in pool for example in one.examples)
        assert sorted(label for _, label in one.examples) == sorted(
            LABELS * (len(one.examples) // 2)
        )
        assert len({inputs["text"] for inputs, _ in one.examples}) == len(one.examples)
    assert len({one.version for one in made}) == 6


class Writer(fakes.Fake):
    """Writes instructions, of which two can be used; it labels rightly only if asked to decide."""

    def words(self, body):
        said = body["messages"][-1]["content"]
        if "New instruction:" in said:
            return [[
                "Decide: positive or negative?\n{text}", "`Positive or negative: {text}`",
                "Decide: positive or negative?", "Good or bad?\n{text}",
                "Is {review} positive or negative? {text}",
            ][body["seed"] % 5]]  # fmt: skip
        right = "positive" if "superb" in said else "negative"
        wrong = "negative" if "superb" in said else "positive"
        return [right if "Decide" in said or "row 1" in said else wrong]


@pytest.fixture
def writer(home):
    with fakes.serving(Writer("vllm", needs_key=False)) as fake:
        yield fake


def test_what_a_model_writes_is_used_if_it_keeps_inputs_and_labels(writer):
    made = candidates.written(PLAIN, 10, Target(writer.url, "m"))
    assert len(writer.seen) == 10
    assert {one.user for one in made} == {
        "Decide: positive or negative?\n{text}", "Positive or negative: {text}",
    }  # fmt: skip
    assert all(one.parent == "plain" and one.labels == PLAIN.labels for one in made)


ROWS = pd.DataFrame(
    [
        {"id": f"r{i}", "text": f"row {i % 4}, {['dull', 'superb'][i % 2]}", "label": LABELS[i % 2]}
        for i in range(80)
    ]
)


def test_the_best_prompt_is_found_written_and_read_again(writer, tmp_path):
    champion = build.Variant(PLAIN, Target(writer.url, "m"))
    others = [
        *candidates.ours(PLAIN, 6, 0),
        *candidates.written(PLAIN, 10, Target(writer.url, "m")),
    ]
    others = [one for one in others if "Decide" not in one.user[1:]]
    winner, found = search.optimise(champion, others, ROWS, "label", budget=200)
    assert winner.user.startswith("Decide")
    assert winner.parent == "plain"
    assert str(found.pulls) in winner.note
    assert found.pulls <= 200
    path = prompt.write(winner, tmp_path / f"{winner.name}.md")
    assert prompt.parse(path.read_text(), path).version == winner.version


def test_a_champion_that_none_beats_stays_as_it_is(writer):
    best = Prompt("best", "reviews", ("text",), "", "Decide.\n{text}", output=PLAIN.output)
    champion = build.Variant(best, Target(writer.url, "m"))
    winner, _ = search.optimise(champion, candidates.ours(PLAIN, 3, 0), ROWS, "label", budget=100)
    assert winner == best
    assert not winner.parent


def test_the_search_keeps_to_the_budget_of_tokens(writer, tmp_path):
    champion = build.Variant(PLAIN, Target(writer.url, "m"))
    others, whole = candidates.ours(PLAIN, 3, 0), Budget(max_tokens=10**9)
    rows = ROWS.assign(text=ROWS["id"] + ROWS["text"])  # equal questions are asked once
    options = CallOptions(calls=tmp_path / "one", budget=whole)
    _, found = search.optimise(champion, others, rows, "label", 300, options=options)
    assert not found.stopped
    most = whole.tokens * 2 // 3  # the first of two rounds takes half
    money = Budget(max_tokens=most)
    options = CallOptions(calls=tmp_path / "two", budget=money)
    _, poor = search.optimise(champion, others, rows, "label", 300, options=options)
    assert f"max_tokens is {most:,}" in poor.stopped
    assert poor.pulls < found.pulls
    assert money.tokens <= most


def test_an_interrupt_ends_the_search_with_the_rounds_that_are_done(monkeypatch, tmp_path):
    def interrupted_in(number):
        pull, pulled = arms(means(), 2_000)

        def interrupted(names, start, stop):
            if len(pulled) == number:
                signal.raise_signal(signal.SIGINT)
            return pull(names, start, stop)

        return search.successive_halving(list(means()), interrupted, 960, 2_000)

    stopped = interrupted_in(2)
    assert stopped.stopped.startswith("Interrupted after 2 of 4 rounds")
    assert stopped.rounds["round"].max() == 2
    assert stopped.winner == stopped.rounds[stopped.rounds["round"] == 2]["name"].iloc[0]
    with pytest.raises(KeyboardInterrupt):
        interrupted_in(0)
    monkeypatch.setenv("DIPTYCH_RUN", str(tmp_path))
    with pytest.raises(KeyboardInterrupt):
        interrupted_in(2)
