"""What the outputs of ``llmops/5_monitor`` show."""

from collections.abc import Mapping

import pandas as pd

from diptych.core.evaluation.metrics import Figure
from diptych.llmops.hallucination.detector import Detector
from diptych.llmops.interpretation.words import count, figure, is_known, listed

ALPHA, STRICT = 0.05, 0.001  # of one test, and of one among many
LIKE = 0.6  # letters in common from which a word is a form of another
HALF = 0.5  # a probability from which an answer is called doubtful


def of_log(log: pd.DataFrame, test: pd.DataFrame) -> list[str]:
    """Say how many answers there are, and of how many the label is known."""
    known = int(log["label"].notna().sum())
    return [
        f"{count(len(log), 'answer')} in {count(log['window'].nunique(), 'window')}; of "
        f"{known} the label is known. {count(len(test), 'test row')} are the reference.",
        "What to do without labels: watch drift and confidence; they warn, and prove nothing."
        if known < len(log)
        else "All labels are there, so a fall can be shown and not only suspected.",
    ]


def of_column(statistic: float, p_value: float, n: int) -> list[str]:
    """Say what one test of one column tells, and why a monitor asks for more."""
    if not is_known(float(p_value)):
        return ["The window has no rows, so there is nothing to compare."]
    lines = [
        f"The distributions lie at most {statistic:.3f} apart; by chance {count(n, 'row')} give "
        f"so much with p = {p_value:.2g}."
    ]
    if p_value < STRICT:
        return [*lines, "That is a shift, even for one test among many. What to do: read some of "
                        "those texts."]  # fmt: skip
    if p_value < ALPHA:
        return [*lines, "One test would call it a shift. Among many such tests one in twenty does "
                        "so by chance: it is inconclusive."]  # fmt: skip
    return [*lines, "That is no evidence of a shift in this column; others may have moved."]


def of_drift(drift: pd.DataFrame) -> list[str]:
    """Say which windows drifted, and in what."""
    alarmed = drift[drift["alarm"].isin([True, "yes"])]
    if alarmed.empty:
        return [f"None of {count(len(drift), 'window')} drifted beyond its threshold. What to do: "
                "nothing; labels alone could show a fall that inputs do not."]  # fmt: skip
    first = alarmed.iloc[0]
    worst = alarmed.loc[alarmed["shift"].idxmax()]
    return [
        f"{len(alarmed)} of {count(len(drift), 'window')} drifted, first {first['window']}, most "
        f"of all {worst['worst']} in {worst['window']}: {worst['shift']:.2f} against a threshold "
        f"of {worst['threshold']:.2f}.",
        "Drift is no loss yet. What to do: label rows of these windows first.",
    ]


def of_quality(scores: pd.DataFrame, at_release: Figure, labelled: int) -> list[str]:
    """Say what is left of the figure at release, and whether the estimate would have told."""
    true = scores[scores["kind"] == "true"].dropna(subset="value")
    if true.empty:
        return ["No label is known yet, so the estimate is all there is: it is too high where "
                "the model is sure and wrong."]  # fmt: skip
    last = true.iloc[-1]
    lines = [f"At the release it was {at_release.value:.3f}; in {last['window']} it is "
             f"{figure(last)}. {count(labelled, 'label')} are known."]  # fmt: skip
    guess = scores[(scores["kind"] != "true") & (scores["window"] == last["window"])]
    guess = guess.dropna(subset="value")
    if len(guess):
        gap = guess["value"].iloc[-1] - last["value"]
        lines.append(
            f"The estimate without labels says {guess['value'].iloc[-1]:.3f}, "
            f"{abs(gap):.3f} {'more' if gap > 0 else 'less'}: what it cannot know is where the "
            "model is sure and wrong."
        )
    return lines


def of_alarm(drop: float, alarm: object, window: str | None, rates: pd.DataFrame, alpha: float):
    """Say whether the alarm rang, and what it is worth where the truth is known."""
    rang = f"The alarm rang in {window}" if alarm else "The alarm did not ring"
    lines = [f"{rang}: it looks for a fall of the share of right answers by {drop:g}."]
    known = rates.set_index("name")["value"]
    false = next((known[name] for name in known.index if name.startswith("stable")), None)
    hit = next((known[name] for name in known.index if "detected" in name), None)
    if is_known(false) and is_known(hit):
        lines.append(f"On simulated streams it rings falsely in {false:.1%} (promised: "
                     f"{alpha:.0%}) and finds {hit:.0%} of such falls.")  # fmt: skip
    return [*lines, "What to do: where it finds too few, label more rows; a lower threshold only "
                    "buys them with false alarms."]  # fmt: skip


def of_health(log: pd.DataFrame, bill: pd.DataFrame, budget_usd: float) -> list[str]:
    """Say what became of the calls, and what they cost beside the budget."""
    failed = float((log["status"] != "ok").mean())
    answered = float((log["outcome"] == "answered").mean())
    lines = [f"{answered:.1%} of the rows have an answer that could be read, {failed:.1%} failed."]
    spent = float(log["usd"].sum())
    over = "over" if spent > budget_usd else "within"
    lines.append(f"They cost {spent:.4f} USD, {over} the budget of {budget_usd:g}.")
    if answered < 1 - ALPHA:
        return [*lines, "What to do: read the refused and unreadable ones before the accuracy."]
    return [*lines, "What to do: nothing; set the budget so that a runaway client meets it."]


def of_words(doubtful: pd.DataFrame, words: int) -> list[str]:
    """Say which words of an answer its source lacks, and which of them are only other forms."""
    if doubtful.empty:
        return [f"The source has all {words} words of the answer, which proves nothing: a false "
                "statement can be made of its words."]  # fmt: skip
    forms, new = (doubtful[x] for x in (doubtful["alike"] >= LIKE, doubtful["alike"] < LIKE))
    lines = [f"{len(doubtful)} of {words} words are not in the source."]
    if len(forms):
        pairs = map("{} (like {})".format, forms["word"], forms["most like"])
        lines.append(f"Other forms or misspellings are {listed(pairs)}.")
    if len(new):
        lines.append(f"Like nothing there: {listed(new['word'], 6)}.")
    return [*lines, "What to do: read the sentence with these words beside the source; a "
                    "paraphrase has new words, too."]  # fmt: skip


def of_support(shown: Mapping, support: Detector) -> list[str]:
    """Say which of the example answers the detector doubts, and where it errs."""
    parts = shown["source"], shown["question"]
    scores = {x["kind"]: support.score(parts[0], x["text"], parts[1]) for x in shown["answers"]}
    doubted = [kind for kind, score in scores.items() if score >= HALF]
    return [
        f"It doubts {len(doubted)} of {len(shown['answers'])} answers: {listed(doubted, 6)}.",
        "It flags true paraphrases and misses false statements in the source's words. What to "
        "do: let it choose what a person reads, never what is deleted.",
    ]


def of_methods(answers: pd.DataFrame, ways: pd.DataFrame) -> list[str]:
    """Say which method tells inventions best, what it costs, and whether that beats chance."""
    share, known = float(answers["invented"].mean()), ways.dropna(subset="value")
    lines = [f"{share:.1%} of {count(len(answers), 'answer')} are invented."]
    if known.empty:
        return [*lines, "With none or all of them invented nothing can be ranked: ask more."]
    best = known.loc[known["value"].idxmax()]
    chance = known.loc[known["low"] <= HALF, "name"]
    lines.append(f"{best['name']} ranks them best, with an AUROC of {figure(best)}, for "
                 f"{best['calls']:.0f} more calls an answer.")  # fmt: skip
    if len(chance):
        lines.append(f"Not shown to beat chance: {listed(chance)}.")
    return [*lines, "What to do: take the cheapest whose interval is not below the best one's."]


def of_decision(
    alarms: Mapping[str, str | None], way: str, flags: pd.Series, invented: pd.Series
) -> list[str]:
    """Say which alarm there is, and how many of the flagged answers were rightly flagged."""
    rung = ", ".join(f"{name} in {window}" for name, window in alarms.items() if window)
    right = int((flags & invented).sum())
    return [
        f"Alarms: {rung or 'none'}. {way} flags {int(flags.sum())} of "
        f"{count(len(flags), 'answer')}, {right} of them rightly.",
        f"What to do: {'run 6_improve' if rung else 'run this again after the next window'}.",
    ]


def of_record(verdict: pd.DataFrame) -> list[str]:
    """Say how many windows raised an alarm."""
    values = dict(zip(verdict["measured"], verdict["value"], strict=True))
    return [
        f"{values.get('alarms', 0):.0f} of {count(values.get('windows', 0), 'window')} drifted, "
        f"{values.get('quality_alarms', 0):.0f} fell.",
        "What to do: if windows drift and none falls, the threshold of drift is too low for you.",
    ]
