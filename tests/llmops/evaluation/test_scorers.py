"""What is read from an answer, and how it is graded."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from diptych.core.evaluation import graders
from diptych.llmops.evaluation import scorers
from diptych.llmops.evaluation.judge import Judge
from diptych.llmops.prompts.prompt import Prompt, PromptError

LABELS = ("negative", "positive")
PROMPT = Prompt("p", "reviews", ("text",), "", "{text}", output={"enum": list(LABELS)})


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("positive", "positive"),
        (" Positive.\n", "positive"),
        ("**NEGATIVE**", "negative"),
        ("\uff30ositive", "positive"),
        ('{"sentiment": "negative"}', "negative"),
        ('```json\n{"sentiment": "positive", "score": 1}\n```', "positive"),
        ('"positive"', "positive"),
        ("The sentiment is positive, clearly positive.", "positive"),
        ("positive or negative", None),
        ("not positive", None),
        ("It isn't positive.", None),
        ("non-negative", None),
        ("The sentiment is positive, not negative.", "positive"),
        ("positively", None),
        ("I cannot say.", None),
        ("", None),
        (None, None),
        ("[" * 2000, None),
    ],
)
def test_an_answer_names_a_label_or_none(text, found):
    assert scorers.read_label(text, LABELS) == found


def test_labels_that_hold_each_other_are_told_apart():
    labels = ("worth it", "not worth it", "C++", "Ünder")
    for name in labels:
        assert scorers.read_label(f"I say: {name.upper()}!", labels) == name
    assert scorers.read_label("not not worth it", ("worth it", "not worth it")) in (
        None,
        "not worth it",
    )


@given(st.text(), st.lists(st.text(min_size=1), min_size=1, max_size=4))
def test_any_answer_is_read_without_an_error(text, labels):
    assert scorers.read_label(text, labels) in (None, *labels)


def test_by_label_grades_each_row():
    rows = [{"label": "positive"}] * 3
    found = scorers.by_label(PROMPT, rows, ["Positive", "negative", None])
    assert [(grade.predicted, grade.score) for grade in found] == [
        ("positive", 1.0), ("negative", 0.0), (None, 0.0),
    ]  # fmt: skip


def test_exact_forgives_case_and_space_only():
    rows = [{"label": "two words"}] * 3
    found = scorers.exact(PROMPT, rows, [" Two  words\n", "two words.", None])
    assert [grade.score for grade in found] == [1, 0, 0]


def test_a_pattern_with_a_group_is_compared_with_the_label():
    rows = [{"label": "7"}, {"label": "7"}, {"label": "7"}, {"label": "7"}]
    texts = ["Answer: 7", "Answer: 8", "seven", None]
    found = scorers.matches(r"Answer: (\d)")(PROMPT, rows, texts)
    assert [(g.predicted, g.score) for g in found] == [("7", 1), ("8", 0), (None, 0), (None, 0)]
    found = scorers.matches(r"\d")(PROMPT, rows, texts)
    assert [g.score for g in found] == [1, 1, 0, 0]
    with pytest.raises(ValueError, match=r"pattern: '\(' is no regular expression"):
        scorers.matches("(")


def test_json_keeps_to_its_schema_or_not():
    schema = {"type": "object", "required": ["a"], "properties": {"a": {"enum": ["x"]}}}
    texts = ['{"a": "x"}', '{"a": "y"}', "{}", "a: x", None, "[" * 100_000]
    found = scorers.valid_json(schema)(PROMPT, [{}] * len(texts), texts)
    assert [g.score for g in found] == [1, 0, 0, 0, 0, 0]
    with pytest.raises(ValueError, match="schema: "):
        scorers.valid_json({"type": "objekt"})


@pytest.mark.parametrize(
    ("grader", "text", "score"),
    [("label", "positive", 1), ("label", "so good", 0), ("contains", "It is So Good.", 1),
     ("contains", "positive", 0), ("contains", None, 0), ("rouge_l", "good", 2 / 3),
     ("rouge_l", None, 0)],
)  # fmt: skip
def test_a_grader_grades_answers_to_a_prompt(grader, text, score):
    rows = [{"label": "positive", "reference": "so good\nso bad"}]
    (grade,) = scorers.scorer_of(grader)(PROMPT, rows, [text])
    assert grade.score == pytest.approx(score)


def test_labels_that_differ_in_case_only_are_read_to_the_letter():
    assert [scorers.read_label(text, ("A", "a")) for text in ("A", "a")] == ["A", "a"]


@pytest.mark.parametrize("stated", ["", "contains"])
def test_a_prompt_may_state_its_tasks_grader_or_none(stated):
    scorers.check_prompt(replace(PROMPT, graded=stated), "contains")


def test_a_prompt_for_another_grader_is_refused_with_its_file_and_both_names(tmp_path):
    path = tmp_path / "short.md"
    prompt = replace(PROMPT, graded="contains", path=path)
    with pytest.raises(PromptError, match=r"short\.md: graded: is contains, .* by rouge_l; take"):
        scorers.check_prompt(prompt, "rouge_l")
    with pytest.raises(PromptError, match="p: output: names no labels"):
        scorers.check_prompt(replace(PROMPT, output={}), "label")
    with pytest.raises(graders.GraderError, match=r"'rouge' is no grader\. Did you mean 'rouge_l'"):
        scorers.check_prompt(PROMPT, "rouge")


def test_results_name_a_scorer_of_ones_own():
    names = [scorers.exact, scorers.matches("x+"), scorers.valid_json({}), Judge(), "contains"]
    assert [scorers.name_of(one) for one in names] == [
        "exact", "matches x+", "valid JSON", "Judge", "contains",
    ]  # fmt: skip


def test_an_answer_that_repeats_the_policy_is_none():
    policy = "You answer the customers of a shop. For a refund ask for the order number."
    prompt = Prompt("p", "support", ("text",), policy, "{text}")
    rows = [{"text": "money back", "label": "refund", "reference": "order number"}] * 4
    texts = [policy, "Sure! " + policy.lower(), "Please send me your order number.",
             "For a refund I need your order number, please."]  # fmt: skip
    grades = scorers.scorer_of("contains")(prompt, rows, texts)
    assert [grade.score for grade in grades] == [0, 0, 1, 1]
    assert [grade.predicted is None for grade in grades] == [True, True, False, False]
