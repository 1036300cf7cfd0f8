"""The live rows through a chain: each answer on record, tied to its row, window and label."""

import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field

import pandas as pd
import pytest
from llmops import fakes

from diptych.core.store.calls import Calls
from diptych.core.store.predictions import Predictions
from diptych.llmops import serve
from diptych.llmops.client.budget import Budget, BudgetError
from diptych.llmops.client.call_options import CallOptions
from diptych.llmops.client.fallback import Link
from diptych.llmops.client.load_test import unused_repeat
from diptych.llmops.client.target import Target
from diptych.llmops.prompts.prompt import Prompt
from diptych.llmops.prompts.variant import Variant

LABELS = {"type": "string", "enum": ["negative", "positive"]}
PLAIN = Prompt("plain", "films", ("text",), "", "{text}", output=LABELS)


@dataclass
class Reader(fakes.Fake):
    """An endpoint that says one label, or nothing of use about the texts in `mute`."""

    mute: tuple = field(default_factory=tuple)

    def words(self, body) -> list[str]:
        text = body["messages"][-1]["content"]
        if text in self.mute:
            return ["No ", "idea."]
        return ["negative" if "bad" in text else "positive"]


def films(n, windows=3):
    """Return live rows: n a window, every third bad."""
    rows = [
        (f"w{w}-{i:03d}", f"2025-{w + 1:02d}", f"a {'good' if i % 3 else 'bad'} film {w} {i}")
        for w in range(windows)
        for i in range(n)
    ]
    frame = pd.DataFrame(rows, columns=["id", "window", "text"])
    frame["label"] = ["negative" if "bad" in text else "positive" for text in frame["text"]]
    return frame


@pytest.fixture
def pair(monkeypatch):
    monkeypatch.setenv("TEST_KEY", fakes.KEY)
    first, second = Reader("openai"), Reader("vllm", needs_key=False)
    with fakes.serving(first), fakes.serving(second):
        yield first, second


@pytest.fixture
def path(tmp_path):
    return tmp_path / "ledger.db"


def links(pair):
    return [Link(Target(fake.url, "m", key_env="TEST_KEY"), 20.0) for fake in pair]


def served(pair, stream, path, **more):
    options = CallOptions(**{"run": "r", "calls": path, "concurrency": 8} | more)
    variant = Variant(PLAIN, Target(pair[0].url, "m"))
    return serve.serve(variant, stream, links(pair), "label", options, name="films/3", ledger=path)


def read(tied, path, run="r"):
    return serve.log(run, tied, calls=path, ledger=path).set_index("id")


def test_each_row_is_answered_on_record_and_tied_to_its_window(pair, path):
    stream = films(10)
    tied = served(pair, stream, path)
    assert tied[["id", "window"]].equals(stream[["id", "window"]])
    assert tied["step"].eq(0).all()
    found = read(tied, path)
    assert found.index.tolist() == stream["id"].tolist()
    assert found["window"].tolist() == stream["window"].tolist()
    assert found["prediction"].tolist() == stream["label"].tolist()
    assert found["output"].tolist() == stream["label"].tolist()
    assert found["probability"].between(0, 1).all()
    assert found["prompt_version"].eq(PLAIN.version).all()
    assert found["prompt_tokens"].tolist() == stream["text"].str.len().tolist()
    assert (found["first_token_ms"] <= found["latency_ms"]).all()
    assert found["label"].isna().all()
    with Predictions(path) as ledger:
        said = ledger.table(endpoint="r")
    assert said["model"].eq("films/3").all()
    assert said["input"].tolist() == [{"text": text} for text in stream["text"]]


def test_windows_are_served_in_order(pair, path):
    stream = films(4).sort_values("text", ignore_index=True)
    served(pair, stream, path, concurrency=1)
    asked = [body["messages"][-1]["content"].split()[3] for body in pair[0].seen]
    assert asked == sorted(asked)


def test_a_late_label_is_joined_to_its_row(pair, path):
    stream = films(3)
    tied = served(pair, stream, path)
    late = dict(zip(stream["id"][:3], ["positive", "negative", "negative"], strict=True))
    with Predictions(path) as ledger:
        ledger.label("r", late)
        ledger.label("another", {stream["id"][4]: "negative"})
    found = read(tied, path)
    assert found["label"].dropna().to_dict() == late
    known = found[found["label"].notna()]
    assert (known["prediction"] == known["label"]).tolist() == [False, False, False]


def test_the_next_answers_and_a_row_that_none_answered_is_a_failed_one(pair, path):
    stream = films(4, windows=1)
    pair[0].troubles = ["overloaded", "overloaded"]
    pair[1].troubles = ["html"]  # streamed: no answer either
    tied = served(pair, stream, path, concurrency=1)
    assert tied["step"].tolist() == [-1, 1, 0, 0]
    found = read(tied, path)
    assert found["status"].tolist() == ["failed", "ok", "ok", "ok"]
    assert pd.isna(found["prediction"].iloc[0])
    assert found["error"].iloc[0]
    assert found["endpoint"].tolist() == [fake.url for fake in (pair[1], *pair[::-1], pair[0])]
    with Predictions(path) as ledger:
        assert ledger.table("r")["status"].tolist() == ["failed", "ok", "ok", "ok"]


def test_an_answer_without_a_label_is_an_answer_without_a_prediction(pair, path):
    stream = films(2, windows=1)
    pair[0].mute = (stream["text"][1],)
    found = read(served(pair, stream, path), path)
    assert found["output"].tolist() == ["negative", "No idea."]
    assert found["status"].tolist() == ["ok", "ok"]
    assert found["prediction"].isna().tolist() == [False, True]


def test_rows_of_one_text_are_rows_of_their_own(pair, path):
    stream = films(2).assign(text="a good film")
    tied = served(pair, stream, path)
    found = read(tied, path)
    assert len(found) == len(stream) == 6
    assert found["request"].nunique() == 1
    assert len(pair[0].seen) == 1


def test_what_is_served_is_asked_now_and_told_apart_from_other_calls(pair, path):
    stream = films(3, windows=1)
    variant = Variant(PLAIN, Target(pair[0].url, "m", key_env="TEST_KEY"))
    tied = served(pair, stream, path)
    with Calls(path) as calls:
        from diptych.llmops.client.ask import ask_many

        pair[0].mute = tuple(stream["text"])  # a load test of the same run, say
        options = CallOptions(calls=calls, run="r", repeat=unused_repeat("r load"))
        ask_many(variant.requests(stream.to_dict("records")), variant.target, options)
    assert read(tied, path)["output"].tolist() == stream["label"].tolist()
    again = served(pair, stream, path, run="another")
    assert len(pair[0].seen) == 9
    assert read(again, path, "another")["output"].eq("No idea.").all()


def test_the_budget_holds_and_what_was_answered_is_on_record(pair, path):
    stream = films(10)
    with pytest.raises(BudgetError, match="max_tokens is 400"):
        served(pair, stream, path, budget=Budget(max_tokens=400), concurrency=2)
    with Predictions(path) as ledger, Calls(path) as calls:
        said, made = ledger.table("r"), calls.table(run="r")
    assert 0 < len(said) < len(stream)
    assert len(said) % 10 == 0  # whole windows
    assert len(said) <= len(made) < len(stream)


RUN = """
import sys
from diptych.llmops import serve
from llmops.test_serve import CallOptions, Link, PLAIN, Target, Variant, films
variant = Variant(PLAIN, Target(sys.argv[1], "m", key_env="TEST_KEY"))
options = CallOptions(run="r", concurrency=2, calls=sys.argv[2])
serve.serve(variant, films(10), [Link(variant.target, 20.0)], "label", options, ledger=sys.argv[2])
"""


def test_killed_while_it_serves_no_answer_on_record_is_lost(pair, path):
    first, stream = pair[0], films(10)
    first.delay = 0.05
    env = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    process = subprocess.Popen([sys.executable, "-c", RUN, first.url, str(path)], env=env)
    until = time.monotonic() + 120
    while len(first.seen) < 15:
        assert time.monotonic() < until, "it never asked"
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    first.delay, asked = 0.0, len(first.seen)
    with Predictions(path) as ledger, Calls(path) as calls:
        said, made = ledger.table("r"), calls.table(run="r")
    assert len(said) == 10  # the first window was whole
    assert asked - 4 <= len(made) <= asked
    tied = served(pair, stream, path)  # the same run taken up
    assert len(first.seen) - asked == len(stream) - len(made)
    assert tied["id"].tolist() == stream["id"].tolist()


def test_the_local_model_serves(shared, gguf, path):
    variant = Variant(PLAIN, Target(server={"model": str(gguf)}))
    stream = films(2)
    options = CallOptions(run="r", calls=path)
    tied = serve.serve(variant, stream, [Link(variant.target, 60)], "label", options, ledger=path)
    found = read(tied, path)
    assert found["status"].eq("ok").all()
    assert found["usd"].eq(0).all()
    assert found["endpoint"].eq("local").all()
