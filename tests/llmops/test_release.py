"""Release: what the gate is told is measured over the wire, and each fault is refused by name."""

import math
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from llmops import fakes

from diptych.core.evaluation import calibration, stats
from diptych.core.evaluation.gate import Limits, decide
from diptych.llmops import release
from diptych.llmops.client.call_options import CallOptions
from diptych.llmops.client.target import Target
from diptych.llmops.evaluation import checklist, evaluate
from diptych.llmops.prompts import bundle
from diptych.llmops.prompts.prompt import Prompt
from diptych.llmops.prompts.variant import Variant

LABELS = {"type": "string", "enum": ["negative", "positive"]}
PLAIN = Prompt("plain", "films", ("text",), "", "{text}", output=LABELS)
ROWS = pd.DataFrame(
    {
        "id": [f"f{i:03d}" for i in range(80)],
        "text": [f"a {'bad' if i % 2 else 'good'} film {i}" for i in range(80)],
        "label": ["negative" if i % 2 else "positive" for i in range(80)],
        "slice": ["long" if i < 60 else "short" for i in range(80)],
    }
)
TESTS = pd.DataFrame(
    {"name": ["negation", "names"], "value": [0.9, 1.0], "low": 0.8, "high": 1.0, "n": 40}
)
NOTHING = Limits(
    floor=None, max_calibration_error=None, max_latency_ms=None, max_size_mb=None, margin=None,
    slice_margin=None,
)  # fmt: skip


@dataclass
class Reader(fakes.Fake):
    """An endpoint that is wrong about the texts in `wrong`, silent about those in `mute`."""

    wrong: tuple = ()
    mute: tuple = ()

    def words(self, body) -> list[str]:
        text = body["messages"][-1]["content"]
        if text in self.mute:
            return ["I cannot say."]
        bad = ("bad" in text) != (text in self.wrong)
        return ["negative" if bad else "positive"]


@pytest.fixture
def reader(monkeypatch):
    monkeypatch.setenv("TEST_KEY", fakes.KEY)
    with fakes.serving(Reader("openai")) as fake:
        yield fake


@pytest.fixture
def free(reader, tmp_path, monkeypatch):
    """The same endpoint by a name that has a price: nothing."""
    for folder in ("notebooks", "params"):
        (tmp_path / folder).mkdir()
    (tmp_path / "pyproject.toml").touch()
    line = f"here:\n  base_url: {reader.url}\n  key_env: TEST_KEY\n  prices: free\n"
    (tmp_path / "params" / "endpoints.yaml").write_text(line)
    monkeypatch.chdir(tmp_path)
    return Variant(PLAIN, Target("here", "m"))


def measured(variant, calls, rows=ROWS, tests=TESTS, **options):
    given = {"calls": calls, "run": "r", "concurrency": 16} | options
    return release.measure("new", variant, rows, "label", CallOptions(**given), tests)


def test_a_candidate_is_measured_on_the_rows(reader, free, calls):
    reader.wrong = tuple(ROWS["text"][:4])
    found = measured(free, calls)
    assert found.name == "new"
    assert str(found.score) == str(stats.accuracy(np.arange(80) >= 4, np.ones(80, bool)))
    assert {part: own.n for part, own in found.slices.items()} == {"long": 60, "short": 20}
    assert found.slices["long"].value == 56 / 60
    said = evaluate.evaluate([free], ROWS, "label", CallOptions(calls=calls))
    error = calibration.error(said["confidence"], said["correct"])
    assert found.calibration_error == error
    assert found.latency_p95_ms > 0
    assert found.size_mb is None  # it runs elsewhere
    assert found.extra == {
        release.UNREADABLE: 0, release.COST: 0, "share failing negation": pytest.approx(0.1),
        "share failing names": 0,
    }  # fmt: skip
    assert release.figures(found)["score"] == found.score.value
    assert all(np.isfinite(value) for value in release.figures(found).values())


def test_of_a_champion_only_the_rows_are_asked(reader, free, calls):
    found = release.measure("old", free, ROWS, "label", CallOptions(calls=calls, run="r"))
    assert len(reader.seen) == len(ROWS)
    assert (found.calibration_error, found.latency_p95_ms, found.extra) == (None, None, {})
    assert decide(measured(free, calls), replace(found, digest=""), NOTHING).promoted


def test_the_latency_is_of_this_run_and_of_one_request_after_the_other(reader, free, calls):
    release.latency_p95(free, ROWS, CallOptions(run="one"), n=10)
    assert (len(reader.seen), reader.most) == (10, 1)
    release.latency_p95(free, ROWS, CallOptions(run="two"), n=10)
    assert len(reader.seen) == 20


def test_rows_of_one_slice_have_no_slices(free, calls):
    assert measured(free, calls, ROWS.assign(slice="all")).slices == {}


ALL = Limits(
    floor=0.9, max_calibration_error=0.5, max_latency_ms=60_000, max_size_mb=None,
    slice_margin=0.3, extra=release.limits(TESTS, unreadable=0.02, usd=1.0, fails=0.3),
)  # fmt: skip


def test_the_champion_is_refused_as_its_own_successor(free, calls):
    found = measured(free, calls)
    assert refused(decide(found, found, NOTHING)) == ["no worse than champion"]
    other = replace(free, prompt=replace(free.prompt, system="Be brief."))
    assert bundle.digest(other) != bundle.digest(free)
    renamed = replace(free, prompt=replace(free.prompt, name="renamed"))
    assert bundle.digest(renamed) == bundle.digest(free)


def test_what_is_well_is_promoted(free, calls):
    found = measured(free, calls)
    decision = decide(found, replace(found, digest="of another"), ALL)
    assert decision.promoted, decision.reason
    assert set(decision.checks["status"]) == {"pass", "no limit"}


def refused(decision):
    checks = decision.checks
    assert not decision.promoted
    blocking = checks["status"].isin(["fail", "not measured", "inconclusive"])
    return checks.loc[blocking, "rule"].tolist()


@pytest.mark.parametrize(
    ("limits", "rules"),
    [
        ({"floor": 0.99}, ["metric floor"]),
        ({"max_calibration_error": 0.01}, ["calibration error"]),
        ({"max_latency_ms": 1e-6}, ["latency p95"]),
        ({"max_size_mb": 50.0}, ["size"]),  # asked for and not known
    ],
)
def test_each_limit_refuses_by_its_own_rule(free, calls, limits, rules):
    assert refused(decide(measured(free, calls), None, replace(ALL, **limits))) == rules


def test_answers_that_cannot_be_read_are_refused(reader, free, calls):
    reader.mute = tuple(ROWS["text"][:3])
    decision = decide(measured(free, calls), None, replace(ALL, floor=None))
    assert refused(decision) == [release.UNREADABLE]
    assert "is 0.0375, above the limit of 0.02" in decision.reason


def test_a_candidate_whose_calls_failed_is_not_measured_and_refused(reader, free, calls):
    reader.troubles = ["html"] * 3
    found = measured(free, calls, concurrency=1)
    reason = "not measured (3 of 80 failed: the endpoint's answer is not JSON)"
    assert found.score.note == reason
    decision = decide(found, None, ALL)
    assert not decision.promoted
    assert reason in decision.reason
    again = measured(free, calls)
    assert decide(again, None, ALL).promoted, "only what failed is asked, and then all is measured"


@pytest.mark.parametrize("family", ["negation", "names"])
def test_a_family_of_tests_that_fails_is_refused_by_its_name(free, calls, family):
    tests = TESTS.assign(value=[0.6 if name == family else 1.0 for name in TESTS["name"]])
    decision = decide(measured(free, calls, tests=tests), None, ALL)
    assert refused(decision) == [f"share failing {family}"]


def test_a_family_that_was_not_tested_does_not_pass(free, calls):
    found = measured(free, calls, tests=TESTS[:1])
    assert refused(decide(found, None, ALL)) == ["share failing names"]


def test_what_lost_a_slice_is_refused_and_the_slice_named(reader, free, calls):
    old = release.measure("old", free, ROWS, "label", CallOptions(calls=calls))
    reader.wrong = tuple(ROWS["text"][60:70])
    other = Variant(replace(PLAIN, name="other"), replace(free.target, parameters={"top_p": 1}))
    limits = replace(ALL, floor=None, margin=1.0, slice_margin=0.1, max_calibration_error=None)
    decision = decide(measured(other, calls), old, limits)
    assert refused(decision) == ["slice short"]
    assert "On short, new minus old is -0.5" in decision.reason


def test_what_is_worse_than_the_champion_is_refused(reader, free, calls):
    old = release.measure("old", free, ROWS, "label", CallOptions(calls=calls))
    reader.wrong = tuple(ROWS["text"][::4])
    other = replace(free, target=replace(free.target, parameters={"top_p": 1}))
    limits = replace(ALL, floor=None, slice_margin=None, max_calibration_error=None)
    assert refused(decide(measured(other, calls), old, limits)) == ["no worse than champion"]


def test_an_endpoint_that_tells_no_probabilities_has_no_calibration(calls, reader, free):
    reader.honours = frozenset()  # as Anthropic's
    found = measured(free, calls)
    assert math.isnan(found.calibration_error.value)
    reason = decide(found, None, ALL).reason
    assert "gave no log-probabilities for 80 answers; max_calibration_error = 0" in reason
    assert refused(decide(found, None, ALL)) == ["calibration error"]
    assert decide(found, None, replace(ALL, max_calibration_error=None)).promoted


def test_a_price_that_is_not_known_is_no_price_of_nothing(reader, free, calls):
    line = f"paid:\n  base_url: {reader.url}\n  key_env: TEST_KEY\n  prices: openai\n"
    Path("params/endpoints.yaml").write_text(line)
    variant = Variant(PLAIN, Target("paid", "a-model-without-a-price"))
    found = measured(variant, calls)
    assert "give `prices` in params" in found.extra[release.COST].note
    assert refused(decide(found, None, ALL)) == [release.COST]
    assert "USD per 1000 answers" not in release.figures(found)


def test_an_endpoint_that_answers_nothing_passes_nothing(reader, free, calls):
    reader.troubles = ["html"] * 10_000
    found = measured(free, calls, rows=ROWS.head(4))
    assert "4 of 4 failed" in found.score.note
    rules = refused(decide(found, None, ALL))
    assert {"metric floor", "latency p95", release.UNREADABLE, release.COST} <= set(rules)


def test_the_local_model_has_a_size_and_costs_nothing(shared, gguf, calls):
    variant = Variant(PLAIN, Target(server={"model": str(gguf)}))
    found = measured(variant, calls, rows=ROWS.head(6))
    assert found.size_mb == gguf.stat().st_size / 1e6
    assert found.extra[release.COST] == 0
    error = found.calibration_error  # None where the model names no label
    assert error is None or 0 <= error.value <= 1


def test_the_card_says_what_a_reader_must_know(free, calls):
    prompt = replace(PLAIN, system="```\n# Not a heading | <script>", parent="", note="x")
    shown = replace(free, prompt=prompt)
    decision = decide(measured(free, calls), None, ALL)
    card = release.card(shown, decision, TESTS, {"data": "films, version 0"})
    assert decision.reason in card
    for words in ("films, version 0", "provider = here", "negative, positive", prompt.version):
        assert words in card
    for rule in decision.checks["rule"]:
        assert f"| {rule} |" in card
    quoted = card[card.index("    system:") :].strip("\n").splitlines()
    assert all(line.startswith("    ") for line in quoted)  # its own marks end nothing
    assert "    # Not a heading | <script>" in quoted


def test_no_tests_of_behaviour_are_no_families():
    none = checklist.summary(checklist.run(Variant(PLAIN), []))
    assert release.failing(none) == []
    assert set(release.limits(none, 0.1, 1.0, 0.3)) == {release.UNREADABLE, release.COST}


def test_the_card_of_a_prompt_with_pictures_names_them():
    prompt = Prompt("see", "films", ("image",), "", "{image} Good?", images=("image",),
                    examples=(({"image": "data:image/png;base64,AAAA"}, "yes"),))  # fmt: skip
    shown = prompt.without_pictures.messages({"image": "{image}"})
    assert [m["content"] for m in shown] == ["(a picture) Good?", "yes", "{image} Good?"]
