"""Answers as models write them: one label is read, or none; labels that look alike stay apart."""

import pytest

from diptych.llmops.evaluation.label_reading import read_label, without_thoughts

PN = ("positive", "negative")
ANSWERS = [
    ("A*", ["A", "A*"], "A*"),
    ("C#", ["C", "C#"], "C#"),
    ("5*", ["5", "5*"], "5*"),
    ("POS", ["POS", "Pos"], "POS"),
    ("Pos", ["POS", "Pos"], "Pos"),
    ("The label is Pos.", ["POS", "Pos"], "Pos"),
    ("isn\u2019t spam", ["spam", "ham"], None),
    ("<think>\nAt first it looks negative.\n</think>\n\nPos.", PN, "positive"),
    ("<think>\nIt seems negative at first", PN, None),
    ("**A**", ["A", "A*"], "A"),
    ("**A***", ["A", "A*"], "A*"),
    ("The grade is A*.", ["A", "A*"], "A*"),
    ("The grade is A.", ["A", "A*"], "A"),
    ("I prefer C++ here", ["C", "C++", "C#"], "C++"),
    ("Negative. This was not a positive experience", PN, "negative"),
    ("positive, not negative", PN, "positive"),
    ("It is positive rather than negative.", PN, "positive"),
    ("not positive", PN, None),
    ("neither positive nor negative", PN, None),
    ("positive or negative?", PN, None),
    ("Positive/Negative", PN, None),
    ('{"label": "negative", "reason": "it says positive things but…"}', PN, "negative"),
    ('```json\n{"sentiment": "Positive", "confidence": 0.9}\n```', PN, "positive"),
    (
        'Here is the result:\n```json\n{"reason": "not positive", "answer": "negative"}\n```',
        PN,
        "negative",
    ),
    ('{"positive": 0.9, "negative": 0.1}', PN, "positive"),
    (
        "The sentiment of this review is **negative**, although it mentions a positive start.",
        PN,
        "negative",
    ),
    ("At first positive, but in the end:\nnegative", PN, "negative"),
    ("Negative\nAlthough it starts positive.", PN, "negative"),
    ("The review expresses a positive sentiment.", PN, "positive"),
    ("I do not like it so negative", PN, "negative"),
    ("Answer: positive or negative", PN, None),
    ("order_status", ["order status", "refund"], "order status"),
    ("Order-Status.", ["order_status", "refund"], "order_status"),
    ("</think>\nnegative", PN, "negative"),
    ("hmm positive</think>negative", PN, "negative"),
    (
        "<|channel|>analysis<|message|>positive?<|end|><|start|>assistant<|channel|>final<|message|>negative<|return|>",
        PN,
        "negative",
    ),
    ("not_spam", ["spam", "not_spam"], "not_spam"),
    ("This is not spam.", ["spam", "not spam"], "not spam"),
    ("It is not spam", ["spam", "ham"], None),
    ("3", ["1", "2", "3", "4", "5"], "3"),
    ("3/5", ["1", "2", "3", "4", "5"], None),
    ("I'd rate it 4 stars", ["1", "2", "3", "4", "5"], "4"),
    ("yes", ["yes", "no"], "yes"),
    ("No, because yes would be wrong", ["yes", "no"], None),
    ("No.", ["yes", "no"], "no"),
    ("No. There is no evidence", ["yes", "no"], "no"),
    ("Yes, it is.", ["yes", "no"], "yes"),
    ("'negative'", PN, "negative"),
    ("“Negative”", PN, "negative"),
    ("NEGATIVE!!!", PN, "negative"),
    ("", PN, None),
    ("I cannot help with that.", PN, None),
    ("-", ["+", "-"], "-"),
    ("+", ["+", "-"], "+"),
    ("a - b", ["+", "-"], None),
    ("not positive, it's negative", PN, "negative"),
    ("Sentiment: negative. Reason: positive words are sarcastic.", PN, "negative"),
    ("Label = negative", PN, "negative"),
    ("neg", PN, "negative"),
    ("n", PN, None),
    ("mixed: positive and negative", PN, None),
    ('"negative"', PN, "negative"),
    ('["negative"]', PN, "negative"),
    ("Sci/Tech", ["World", "Sports", "Business", "Sci/Tech"], "Sci/Tech"),
    (
        "The category is Sci/Tech, not Business.",
        ["World", "Sports", "Business", "Sci/Tech"],
        "Sci/Tech",
    ),
    ("The world of business", ["World", "Sports", "Business", "Sci/Tech"], None),
    ("非常好", ["非常好", "差"], "非常好"),
    ("It doesn't seem positive", PN, None),
    ("Positive: no. Negative: yes.", PN, None),
    ("No label fits; positive", PN, "positive"),
]


@pytest.mark.parametrize(("text", "labels", "label"), ANSWERS)
def test_an_answer_names_the_label(text, labels, label):
    assert read_label(text, labels) == label


ALIKE = [
    ("A", "A*"), ("C", "C#", "C++"), ("POS", "Pos", "pos"), ("5", "5*"), ("not_spam", "spam"),
    ("+", "-"), ("a b", "a"),
]  # fmt: skip
FRAMES = [
    "{}", " {}\n", "**{}**", "`{}`", '"{}"', "Answer: {}", "<think>no</think>{}",
    '{{"label": "{}"}}',
]  # fmt: skip


@pytest.mark.parametrize("labels", ALIKE)
@pytest.mark.parametrize("frame", FRAMES)
def test_labels_that_look_alike_are_kept_apart_in_every_frame(frame, labels):
    for name in labels:
        read = read_label(frame.format(name), labels)
        assert read == name or (read is None and name in "+-"), (frame, name)


def test_thinking_that_was_cut_is_not_read():
    assert without_thoughts("<think>I would say") is None
    assert without_thoughts("<think>a</think> b").strip() == "b"
    assert read_label("<think>it is positive", PN) is None


def test_long_answers_take_linear_work():
    long = "it is not a very " * 20_000
    assert read_label(long + "positive", PN) is None
    assert read_label("x" * 1_000_000, PN) is None
    assert read_label("**" * 100_000, PN) is None
    assert read_label("the answer is " * 20_000, PN) is None
