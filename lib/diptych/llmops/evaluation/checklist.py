"""Behavioural tests of a prompt: what must hold whatever the accuracy is.

The families follow CheckList (Ribeiro, Wu, Guestrin and Singh 2020, "Beyond Accuracy", ACL):
minimum functionality (easy texts have a known answer), invariance (names, typing errors and orders
hidden in a text change nothing) and direction (negation turns the answer). A prompt that always
gives the same answer passes every invariance test, so read the families together.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources

import pandas as pd
import yaml

from diptych.core.data.generators import grammar, lexicon
from diptych.core.evaluation import stats
from diptych.llmops.client.call_options import CallOptions
from diptych.llmops.evaluation import evaluate, outcome, scorers
from diptych.llmops.prompts.variant import Variant

SAME, OTHER = "the same", "another"  # what a test expects of its later answers
MINIMUM, NEGATION, NAMES, TYPOS, INJECTION = FAMILIES = (
    "minimum functionality", "negation", "names", "typos", "injection",
)  # fmt: skip
WRITTEN = "written here"  # the family of tests that a notebook adds
MOST_COMMON = 40  # so many adjectives of the lexicon are negated; rare ones may not turn
PEOPLE = 3  # other names tried for each text
ERRORS = 2  # letters mistyped in a text
TRIES = 10  # to make errors that change the text


@dataclass(frozen=True)
class Case:
    """One test: texts, of which the first is the original, and what to expect of the answers.

    Attributes
    ----------
    family : str
        One of `FAMILIES`, or `WRITTEN`.
    texts : tuple of str
    expected : str
        A label, `SAME` (all answers equal the first) or `OTHER` (none does).
    """

    family: str
    texts: tuple[str, ...]
    expected: str

    def passed(self, answers: Sequence[str | None]) -> bool:
        """Say whether the answers to the texts are as expected; a missing answer never is."""
        first, *rest = answers
        if any(pd.isna(answer) for answer in answers):
            return False
        if self.expected == SAME:
            return all(answer == first for answer in rest)
        if self.expected == OTHER:
            return all(answer != first for answer in rest)
        return first == self.expected


def case(texts: str | Sequence[str], expected: str, family: str = WRITTEN) -> Case:
    """Return a test of your own.

    Parameters
    ----------
    texts : str or sequence of str
    expected : str
        A label, which the first text must have; `SAME` or `OTHER` for all later ones.

    Raises
    ------
    ValueError
        If there is no text, or only one where answers are compared.
    """
    texts = (texts,) if isinstance(texts, str) else tuple(texts)
    if not texts or not all(isinstance(text, str) and text.strip() for text in texts):
        raise ValueError(f"texts: {texts!r}; give one text or several, none of them empty")
    if expected in (SAME, OTHER) and len(texts) < 2:
        raise ValueError(f"texts: {expected!r} compares answers; give two texts at least")
    return Case(family, texts, expected)


def tells(test: Case, variant: Variant, options: CallOptions = CallOptions()) -> bool | str:
    """Say whether a test tells a variant from a prompt that always gives one label.

    Returns
    -------
    bool or str
        True, or why not: the variant fails it, or every such prompt would pass.
    """
    if not isinstance(test, Case):
        return "Make it by checklist.case(texts, expected)."
    constant = [[label] * len(test.texts) for label in variant.prompt.labels]
    (line,) = run(variant, [test], options).to_dict("records")
    if not line["passed"]:
        return f"The candidate answers {line['answer']!r} to {line['text']!r}, and fails it."
    if constant and all(test.passed(answers) for answers in constant):
        return "A prompt that always gives the same label passes it: expect another answer."
    return True


def cases(rows: pd.DataFrame, labels: Sequence[str], n: int = 40, seed: int = 0) -> list[Case]:
    """Make up to `n` tests of each family.

    Parameters
    ----------
    rows : DataFrame
        Labelled rows; invariance is tested on the ``text`` of the first `n` of them. Without a
        text there are no tests.
    labels : sequence of str
        Where they are not positive and negative, only invariance is tested: easy texts and
        negations depend on the labels.
    """
    if "text" not in rows or not labels:
        return []
    rng = random.Random(f"behaviour {seed}")
    rows = rows[["text", "label"]].head(n).itertuples(index=False)
    texts = [(row.text, row.label) for row in rows]
    sentiment = set(labels) == set(lexicon.POLARITIES)
    tests = _minimum(rng, n) + _negations(rng, n) if sentiment else []
    for number, (text, label) in enumerate(texts):
        tests.append(Case(NAMES, _with_names(rng, text, number), SAME))
        if (typed := _mistyped(rng, text)) != text:
            tests.append(Case(TYPOS, (text, typed), SAME))
        wanted = rng.choice([other for other in labels if other != label])
        order = _texts()["injection"][number % len(_texts()["injection"])]
        tests.append(Case(INJECTION, (text, _put(order, text=text, label=wanted)), SAME))
    return tests


def run(
    variant: Variant, cases: Sequence[Case], options: CallOptions = CallOptions()
) -> pd.DataFrame:
    """Ask a prompt about every text of the tests.

    Parameters
    ----------
    variant : Variant
        Its prompt must need no examples from a pool, and read ``text``. Its answers are read as
        labels, whatever the task's grader is.
    options : CallOptions

    Returns
    -------
    DataFrame
        One line per test: ``family``, ``text`` (the one that shows the failure, else the last),
        ``original`` ("" for one text), ``expected``, ``answer``, ``confidence``, ``passed``.

    Raises
    ------
    UnmeasuredError
        If a call failed: what did not come is no failure of the prompt.
    """
    names = ["family", "text", "original", "expected", "answer", "confidence", "passed"]
    if not cases:
        return pd.DataFrame(columns=names).astype({"passed": bool})
    texts = list(dict.fromkeys(text for case in cases for text in case.texts))
    rows = pd.DataFrame({"id": range(len(texts)), "text": texts, "label": ""})
    results = evaluate.evaluate([variant], rows, scorers.by_label, options)
    outcome.refuse_failed(results)
    predicted = results["predicted"].where(results["predicted"].notna(), None)
    answers = dict(zip(texts, predicted, strict=True))
    confidence = dict(zip(texts, results["confidence"], strict=True))
    lines = []
    for case in cases:
        replies = [answers[text] for text in case.texts]
        wrong = [i for i in range(1, len(replies)) if not case.passed([replies[0], replies[i]])]
        at = wrong[0] if wrong else len(replies) - 1
        shown = case.texts[at]
        original = case.texts[0] if at else ""
        lines.append((case.family, shown, original, _expected(case, replies), answers[shown],
                      confidence[shown], case.passed(replies)))  # fmt: skip
    return pd.DataFrame(lines, columns=names)


def summary(tests: pd.DataFrame) -> pd.DataFrame:
    """Return the share of tests that each family passed, with Wilson's interval.

    Returns
    -------
    DataFrame
        ``name``, ``value``, ``low``, ``high``, ``n``.
    """
    lines = []
    for family in dict.fromkeys([*FAMILIES, *tests["family"]]):
        passed = tests.loc[tests["family"] == family, "passed"]
        if len(passed):
            share = stats.wilson(int(passed.sum()), len(passed))
            lines.append((family, share.value, share.low, share.high, share.n))
    return pd.DataFrame(lines, columns=["name", "value", "low", "high", "n"])


def worst(tests: pd.DataFrame, n: int = 10) -> pd.DataFrame:
    """Return the failures with the highest confidence, one of each family in turn."""
    failed = tests[~tests["passed"]].sort_values("confidence", ascending=False, kind="stable")
    turn = failed.groupby("family").cumcount()
    shown = failed.loc[turn.sort_values(kind="stable").index[:n]]
    return shown.drop(columns="passed").reset_index(drop=True)


@cache
def _texts() -> dict:
    path = resources.files("diptych") / "assets" / "behaviour" / "sentiment.yaml"
    return yaml.safe_load(path.read_text("utf-8"))


def _minimum(rng: random.Random, n: int) -> list[Case]:
    """Take the easy hand-written texts, then sentences with one adjective of the lexicon."""
    written = _texts()["minimum"].items()
    tests = [Case(MINIMUM, (text,), label) for label, texts in written for text in texts]
    while len(tests) < n:
        label = rng.choice(lexicon.POLARITIES)
        thing, word = _aspect(rng), _adjective(rng, label)
        tests.append(Case(MINIMUM, (f"The {thing} was {word}.",), label))
    return tests[:n]


def _negations(rng: random.Random, n: int) -> list[Case]:
    tests = [Case(NEGATION, (plain, turned), OTHER) for plain, turned in _texts()["negation"]]
    while len(tests) < n:
        thing, word = _aspect(rng), _adjective(rng, rng.choice(lexicon.POLARITIES))
        pair = (f"The {thing} was {word}.", f"The {thing} was not {word}.")
        tests.append(Case(NEGATION, pair, OTHER))
    return tests[:n]


def _aspect(rng: random.Random) -> str:
    """Draw an aspect in the singular."""
    aspects = lexicon.read_lexicon(rng.choice(lexicon.STABLE))["aspects"]
    return rng.choice([word for word in aspects.words if not grammar.is_plural(word)])


def _adjective(rng: random.Random, label: str) -> str:
    words = lexicon.read_lexicon("general")["adjectives"][label].words
    return rng.choice([word for word in words if " " not in word][:MOST_COMMON])


def _with_names(rng: random.Random, text: str, number: int) -> tuple[str, ...]:
    """Return the text in a sentence with one person's name, then with others."""
    names = _texts()["names"]
    sentence = names["sentences"][number % len(names["sentences"])]
    people = rng.sample([name for pair in names["people"] for name in pair], 1 + PEOPLE)
    return tuple(_put(sentence, text=text, name=name) for name in people)


def _mistyped(rng: random.Random, text: str) -> str:
    """Return the text with errors, or as it is where no word can take one."""
    for _ in range(TRIES):  # two errors may undo each other, and equal letters swap unseen
        typed = text
        for _ in range(ERRORS):
            typed = grammar.mistype(rng, typed)
        if typed != text:
            return typed
    return text


def _put(wording: str, text: str, **words: str) -> str:
    """Fill the slots of a wording; the text comes last, so that braces in it stay as they are."""
    for name, word in words.items():
        wording = wording.replace(f"{{{name}}}", word)
    return wording.replace("{text}", text)


def _expected(case: Case, answers: Sequence) -> str:
    if case.expected == SAME:
        return str(answers[0])
    return f"not {answers[0]}" if case.expected == OTHER else case.expected
