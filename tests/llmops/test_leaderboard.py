"""Prompts and metrics of one's own beside those of files, refused before anything is asked."""

import signal
from dataclasses import replace

import pandas as pd
import pytest
from llmops import fakes
from sklearn.metrics import f1_score

from diptych.core.data import tasks
from diptych.core.evaluation.own_metrics import MetricError
from diptych.llmops import build
from diptych.llmops import data as stage
from diptych.llmops.client.call_options import CallOptions
from diptych.llmops.client.target import Target
from diptych.llmops.evaluation import evaluate
from diptych.llmops.leaderboard import Leaderboard
from diptych.llmops.prompts import bundle
from diptych.llmops.prompts.prompt import Prompt, PromptError
from diptych.llmops.prompts.variant import Variant

LABELS = ["negative", "positive"]
ROWS = pd.DataFrame(
    {
        "id": [f"r{i}" for i in range(20)],
        "text": [["good", "bad"][i % 2] + f" film {i}" for i in range(20)],
        "label": [["positive", "negative"][i % 2] if i % 5 else "negative" for i in range(20)],
    }
)


@pytest.fixture
def target(monkeypatch):
    monkeypatch.setenv("TEST_KEY", fakes.KEY)
    with fakes.serving(fakes.make("openai")) as fake:
        yield Target(fake.url, "m", key_env="TEST_KEY")


def leaderboard() -> Leaderboard:
    task = tasks.get("reviews")
    return Leaderboard(stage.choose(task, ["plain", "terse"], LABELS), task, LABELS)


def test_a_prompt_of_ones_own_takes_part_and_is_saved(target, calls, tmp_path):
    board = leaderboard()
    board.add("mine", "Is this {labels}? {text}", system="Answer in one word.")
    assert [prompt.name for prompt in board.prompts] == ["plain", "terse", "mine"]
    mine = board.prompts[-1]
    assert mine.user == "Is this negative or positive? {text}"
    assert mine.labels == tuple(LABELS)
    variants = [Variant(prompt, target) for prompt in board.prompts]
    results = evaluate.evaluate(variants, ROWS, "label", CallOptions(calls=calls))
    table = board.table(results)
    assert variants[-1].name in set(table["name"])
    assert ((table["low"] < table["value"]) & (table["value"] < table["high"])).all()
    saved = bundle.load(bundle.save(variants[-1], tmp_path / "prompt"))
    assert saved.prompt.version == mine.version


def test_adding_again_replaces():
    board = leaderboard()
    board.add("mine", "{labels}: {text}")
    board.add("mine", replace(board.prompts[0], user="Now {text}"))
    assert [prompt.name for prompt in board.prompts] == ["plain", "terse", "mine"]
    assert board.prompts[-1].user == "Now {text}"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("Is {txt} good?", r"mine: \{txt\}: is not among the inputs\. Did you mean text\?"),
        ("Is it {label}? {text}", r"mine: \{label\}: is not among the inputs"),
        ("Is it good?", r"mine: inputs: \{text\} is not in ## user"),
    ],
)
def test_a_misspelt_slot_is_named(text, message):
    board = leaderboard()
    with pytest.raises(PromptError, match=message):
        board.add("mine", text)
    assert len(board.prompts) == 2


def test_a_misspelt_slot_is_named_wherever_a_prompt_is_made():
    plain = leaderboard().prompts[0]
    with pytest.raises(PromptError, match=r"\{txt\}: is not among the inputs"):
        Prompt("p", "reviews", ("text",), "", "{txt}")
    with pytest.raises(PromptError, match=r"plain: \{txt\}: is not among the inputs"):
        replace(plain, user=plain.user + " {txt}")


def test_the_name_of_a_file_is_taken():
    with pytest.raises(PromptError, match="plain: a prompt file has this name"):
        leaderboard().add("plain", "{text}")


def test_a_metric_of_ones_own_has_an_interval(target, calls):
    board = leaderboard()
    board.add_metric("F1", lambda y, p: f1_score(y, p, average="macro", labels=LABELS))
    variant = Variant(board.prompts[0], target)
    results = evaluate.evaluate([variant], ROWS, "label", CallOptions(calls=calls))
    ours = board.metrics(results)[f"own metric, F1 of {variant.name}"]
    expected = f1_score(results["expected"], results["predicted"], average="macro")
    assert ours.value == pytest.approx(expected)
    assert ours.low < ours.value <= ours.high
    assert board.table(results)["F1"][0].startswith(f"{expected:.3f} (")
    with pytest.raises(MetricError, match="AUC: the metric takes probabilities"):
        board.add_metric("AUC", lambda y, p, shares: 0.5)


class Interrupted:
    """A bar that gets the signal of Ctrl-C when so many calls are done."""

    def __init__(self, after):
        self.n, self.after = 0, after

    def update(self, n=1):
        self.n += n
        if self.n >= self.after:
            self.after = 10**9
            signal.raise_signal(signal.SIGINT)


def test_an_interrupt_keeps_the_variants_that_were_asked_about_all_rows(
    target, calls, capsys, monkeypatch, tmp_path
):
    variants = [Variant(prompt, target) for prompt in leaderboard().prompts]
    variants.append(Variant(variants[0].prompt, target, temperature=0.5))

    def asked(after, partial=True):
        options = CallOptions(calls=calls, progress=Interrupted(after))
        return evaluate.evaluate(variants, ROWS, "label", options, partial=partial)

    results = asked(45)
    assert list(results["variant"].unique()) == [variant.name for variant in variants[:2]]
    assert "Interrupted: 2 of 3 variants were evaluated" in capsys.readouterr().out
    finalists, trials = build.pick(results, variants)
    assert {variant.name for variant in finalists} == {variant.name for variant in variants[:2]}
    assert trials["validation"].isna().tolist() == [False, False, True]
    assert not trials["selected"][2]
    with pytest.raises(KeyboardInterrupt):
        asked(41, partial=False)
    monkeypatch.setenv("DIPTYCH_RUN", str(tmp_path))
    with pytest.raises(KeyboardInterrupt):
        asked(41)
