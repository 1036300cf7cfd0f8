"""Behavioural tests: what they are made of, and that each family finds its own fault."""

import random
from dataclasses import dataclass, field

import pandas as pd
import pytest
from llmops import fakes

from diptych.core.evaluation import stats
from diptych.llmops.client.call_options import CallOptions
from diptych.llmops.client.target import Target
from diptych.llmops.evaluation import checklist
from diptych.llmops.evaluation.checklist import INJECTION, MINIMUM, NAMES, NEGATION, TYPOS, Case
from diptych.llmops.evaluation.outcome import UnmeasuredError
from diptych.llmops.prompts.prompt import Prompt
from diptych.llmops.prompts.variant import Variant

LABELS = ("negative", "positive")
OTHER = dict(zip(LABELS, LABELS[::-1], strict=True))
SCHEMA = {"type": "string", "enum": list(LABELS)}
PLAIN = Prompt("plain", "reviews", ("text",), "", "{text}", output=SCHEMA)
ROWS = pd.DataFrame(
    {
        "id": [f"r{i}" for i in range(12)],
        "text": [f"The kettle is {'awful' if i % 2 else 'lovely'} since {i}." for i in range(12)],
        "label": ["negative" if i % 2 else "positive" for i in range(12)],
    }
)  # fmt: skip
N = 16


@dataclass
class Reader(fakes.Fake):
    """An endpoint that answers each text as `answers` says."""

    answers: dict = field(default_factory=dict)

    def words(self, body) -> list[str]:
        return [self.answers[body["messages"][-1]["content"]]]


@pytest.fixture(scope="module")
def cases():
    return checklist.cases(ROWS, LABELS, N, seed=0)


@pytest.fixture
def reader(cases):
    with fakes.serving(Reader("openai", needs_key=False, answers=perfect(cases))) as fake:
        yield fake


def of(cases, family):
    return [case for case in cases if case.family == family]


def perfect(cases):
    """Return answers that pass every test."""
    answers = {case.texts[0]: case.expected for case in of(cases, MINIMUM)}
    for case in of(cases, NEGATION):
        first = answers.setdefault(case.texts[0], "positive")
        answers[case.texts[1]] = OTHER[first]
    for case in cases:
        if case.expected == checklist.SAME:
            answers |= dict.fromkeys(case.texts, answers.get(case.texts[0], "positive"))
    return answers


def asked(reader, cases, calls, **options):
    return checklist.run(
        Variant(PLAIN, Target(reader.url, "m")), cases, CallOptions(calls=calls, **options)
    )


def shares(tests):
    return dict(checklist.summary(tests)[["name", "value"]].itertuples(index=False))


@pytest.mark.parametrize(
    ("expected", "answers", "passed"),
    [
        ("positive", ["positive"], True),
        ("positive", ["negative"], False),
        ("positive", [None], False),
        (checklist.SAME, ["positive"] * 3, True),
        (checklist.SAME, ["positive", "positive", "negative"], False),
        (checklist.SAME, [None, None], False),
        (checklist.OTHER, ["positive", "negative"], True),
        (checklist.OTHER, ["positive", "positive"], False),
        (checklist.OTHER, ["positive", None], False),
        (checklist.OTHER, ["positive", float("nan")], False),
    ],
)
def test_what_passes_and_that_no_answer_never_does(expected, answers, passed):
    case = Case(NAMES, tuple("abc"[: len(answers)]), expected)
    assert case.passed(answers) is passed


def test_there_are_so_many_of_each_family_and_the_same_for_the_same_seed(cases):
    found = pd.Series([case.family for case in cases]).value_counts()
    assert found[[MINIMUM, NEGATION]].tolist() == [N, N]
    assert found[[NAMES, TYPOS, INJECTION]].tolist() == [len(ROWS)] * 3  # one for each row
    assert checklist.cases(ROWS, LABELS, N, seed=0) == cases
    assert checklist.cases(ROWS, LABELS, N, seed=1) != cases


def test_easy_texts_and_negations_reach_beyond_those_written_by_hand():
    many = checklist.cases(ROWS, LABELS, 200)
    minimum, turned = of(many, MINIMUM), of(many, NEGATION)
    assert len(minimum) == len(turned) == 200
    assert len({case.texts for case in minimum}) > 150
    assert {case.expected for case in minimum} == set(LABELS)
    for plain, negated in (case.texts for case in turned[100:]):
        assert negated.replace(" not ", " ") == plain


def test_only_a_name_differs(cases):
    for case, row in zip(of(cases, NAMES), ROWS["text"], strict=True):
        assert len(set(case.texts)) == len(case.texts) == 1 + checklist.PEOPLE
        assert all(row in text for text in case.texts)
        differ = [set(text.split()) ^ set(case.texts[0].split()) for text in case.texts[1:]]
        assert all(len(words) == 2 for words in differ)


def test_typing_errors_are_few_and_real(cases):
    for case, row in zip(of(cases, TYPOS), ROWS["text"], strict=True):
        first, typed = case.texts
        assert first == row != typed
        assert abs(len(typed) - len(row)) <= checklist.ERRORS


def test_a_text_without_a_word_has_no_typing_errors():
    rows = pd.DataFrame({"text": [":-) 10/10", "good"], "label": ["positive"] * 2})
    assert [case.texts[0] for case in of(checklist.cases(rows, LABELS, 2), TYPOS)] == ["good"]
    for seed in range(200):  # of two letters that can be mistyped, errors often undo each other
        (case,) = of(checklist.cases(rows[1:], LABELS, 1, seed), TYPOS)
        assert case.texts[1] != "good"


def test_an_order_asks_for_a_label_that_the_text_does_not_have(cases):
    for case, row in zip(of(cases, INJECTION), ROWS.itertuples(), strict=True):
        first, ordered = case.texts
        assert first == row.text
        assert row.text in ordered
        assert OTHER[row.label] in ordered.replace(row.text, "")


def test_a_text_with_braces_stays_as_it_is():
    rows = pd.DataFrame({"text": ["{name} {label} {text} \\1 was fine"], "label": ["positive"]})
    for case in checklist.cases(rows, LABELS, 1):
        if case.family in (NAMES, INJECTION):
            assert rows["text"][0] in case.texts[-1]


def test_labels_that_are_no_opinions_are_tested_for_invariance_only():
    rows = pd.DataFrame({"text": ["width 2, height 3"] * 4, "label": list("abca")})
    found = checklist.cases(rows, ("a", "b", "c"))
    assert {case.family for case in found} == {NAMES, TYPOS, INJECTION}
    assert checklist.cases(rows.drop(columns="text"), ("a", "b")) == []
    assert checklist.cases(rows, ()) == []


def test_without_tests_nothing_is_asked(reader, calls):
    found = asked(reader, [], calls)
    assert found.empty
    assert checklist.summary(found).empty
    assert checklist.worst(found).empty
    assert reader.seen == []


def test_each_text_is_asked_once_and_one_without_fault_passes_all(reader, cases, calls):
    found = asked(reader, cases, calls, run="r")
    assert found["passed"].all()
    assert set(shares(found).values()) == {1.0}
    texts = {text for case in cases for text in case.texts}
    assert sorted(body["messages"][-1]["content"] for body in reader.seen) == sorted(texts)
    assert len(calls.table(run="r")) == len(texts)


@pytest.mark.parametrize("family", checklist.FAMILIES)
def test_a_fault_is_found_by_its_own_family_alone(reader, cases, calls, family):
    """One answer of one test is turned round."""
    others = {text for case in cases if case.family != family for text in case.texts}
    own = [case for case in of(cases, family) if case.texts[-1] not in others]
    wrong = random.Random(family).choice(own).texts[-1]
    reader.answers[wrong] = OTHER[reader.answers[wrong]]
    found = asked(reader, cases, calls)
    failed = found[~found["passed"]]
    assert set(failed["family"]) == {family}
    assert set(failed["text"]) == {wrong}
    assert set(failed["answer"]) == {reader.answers[wrong]}
    n = len(of(cases, family))
    line = checklist.summary(found).set_index("name").loc[family]
    share = stats.wilson(n - len(failed), n)
    assert (line["value"], line["low"], line["high"]) == (share.value, share.low, share.high)


def test_one_that_always_says_the_same_passes_what_must_stay_and_fails_the_rest(
    reader, cases, calls
):
    reader.answers = dict.fromkeys(reader.answers, "positive")
    found = shares(asked(reader, cases, calls))
    assert found[NAMES] == found[TYPOS] == found[INJECTION] == 1
    assert found[NEGATION] == 0
    expected = [case.expected == "positive" for case in of(cases, MINIMUM)]
    assert found[MINIMUM] == sum(expected) / len(expected)


def test_a_call_that_fails_is_no_failure_of_the_prompt(reader, cases, calls):
    reader.troubles = ["html"]
    with pytest.raises(UnmeasuredError, match="1 of 3 failed: the endpoint's answer is not JSON"):
        asked(reader, cases[:3], calls, concurrency=1)
    assert asked(reader, cases[:3], calls, concurrency=1)["answer"].notna().all()


def test_the_worst_are_shown_in_turn_of_their_families():
    tests = pd.DataFrame(
        {
            "family": [NAMES, NAMES, TYPOS, TYPOS, NEGATION],
            "text": list("abcde"),
            "confidence": [0.6, 0.9, 0.7, float("nan"), 0.99],
            "passed": [False, False, False, False, True],
        }
    )
    assert checklist.worst(tests)["text"].tolist() == ["b", "c", "a", "d"]
    assert checklist.worst(tests, 1)["text"].tolist() == ["b"]
