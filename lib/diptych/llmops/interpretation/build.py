"""What the outputs of ``llmops/2_build`` show."""

from collections.abc import Sequence

import pandas as pd

from diptych.core.evaluation.metrics import Metric
from diptych.llmops.evaluation import judge as judging
from diptych.llmops.interpretation.words import count, figure, is_known, listed

MLOPS = " (MLOps)"
UNSURE = 0.9  # a token below this probability may turn with the next wording
FEW = 30  # rows below which the figure of a slice is not to be acted on
BARELY, MUCH = 0.02, 0.1  # a fall that can be borne, and one that cannot


def of_call(text: str | None, tokens: pd.DataFrame, read: float | None, label: object) -> list[str]:
    """Say what one answer shows: what it cost to read, and how sure the model was.

    Parameters
    ----------
    text : str or None
        The answer.
    tokens : DataFrame
        ``token``, ``probability`` and ``instead``, one line a token of the answer; empty where
        the endpoint gives no log-probabilities.
    read : float or None
        Tokens of the prompt.
    label : object
        What the row's label is.
    """
    price = f" after reading {count(read, 'token')}" if is_known(read) else ""
    lines = [f"The model wrote {text!r}{price}; the label of this row is {label!r}."]
    if tokens.empty:
        return [*lines, "It gave no log-probabilities, so nothing says how sure it was: repeat "
                        "a question to see whether its answer changes."]  # fmt: skip
    least = tokens.loc[tokens["probability"].idxmin()]
    sure = f"Its least certain token is {least['token']!r}, with a probability of "
    lines.append(f"{sure}{least['probability']:.3f}.")
    advice = (
        "another wording may turn it, so one answer proves nothing"
        if least["probability"] < UNSURE
        else "it is sure, which is not yet right: the calibration below says how far to trust it"
    )
    return [*lines, f"What to do: {advice}."]


def of_trials(trials: pd.DataFrame, rows: int, metric: Metric) -> list[str]:
    """Say how far apart the variants are on the validation set, beside what one row weighs."""
    known = trials.dropna(subset="validation")
    if known.empty or not rows:
        return ["No variant has a figure: calls of all of them failed. Look at the errors first."]
    best = known["validation"].max() if metric.sign > 0 else known["validation"].min()
    short = known.loc[known["selected"] & (known["validation"] == best), "name"]
    first = short.iloc[0] if len(short) else known["name"].iloc[0]
    near = known[(known["validation"] - best).abs() <= 1 / rows + 1e-9]
    far = known.loc[(known["validation"] - best).abs().idxmax()]
    return [
        f"The best {metric.title} on {count(rows, 'validation row')} is {best:.3f}, by {first}; "
        f"{far['name']} is farthest from it, with {far['validation']:.3f}.",
        f"One row weighs {1 / rows:.3f}: {len(near)} of {count(len(known), 'variant')} lie no "
        "farther apart than that.",
        "What to do: take the shortest of those, and raise validation_rows before you believe "
        "in an order among them."
        if len(near) > 1
        else "What to do: read what sets the best wording apart, then try more like it.",
    ]


def of_leaderboard(ranked: pd.DataFrame, metric: Metric) -> list[str]:
    """Say who leads on the test rows, who is shown to be worse, and how many rows would tell.

    Parameters
    ----------
    ranked : DataFrame
        As `diptych.core.evaluation.leaderboard.rank` returns it.
    """
    if ranked.empty or ranked["value"].isna().all():
        return [f"The {metric.title} is not defined for these rows; take more, or another metric."]
    best, others = ranked.iloc[0], ranked.iloc[1:]
    lines = [f"{best['name']} has the best {metric.title}: {figure(best)}."]
    if others.empty:
        return [*lines, "There is nothing to compare it with: add a prompt, or run mlops/2_build."]
    worse = others[others["verdict"] == "worse"]
    lines.append(
        f"Of {count(len(others), 'other')}, {len(worse)} are shown to be worse"
        f"{f' ({listed(worse.name for worse in worse.itertuples())})' if len(worse) else ''}; "
        f"{len(others) - len(worse)} are not."
    )
    needed = others.loc[others["verdict"] == "unclear", "rows_needed"].dropna()
    if len(needed):
        return [*lines, f"What to do: choose among those by cost and latency, or ask about "
                        f"{count(needed.max(), 'row')} instead of {best['n']:,} to tell them "
                        "apart."]  # fmt: skip
    return [*lines, "What to do: keep the best, and drop what is worse."]


def of_costs(costs: pd.DataFrame) -> list[str]:
    """Say what an answer takes: latency, tokens, dollars, and answers that cannot be read."""
    asked = costs.dropna(subset=["p50 ms"])
    if asked.empty:
        return ["No call was answered, so there is neither a latency nor a cost."]
    fast, slow = (asked.loc[getattr(asked["p50 ms"], f"idx{x}")()] for x in ("min", "max"))
    lines = [
        f"{fast['name']} answers fastest, in {fast['p50 ms']:.0f} ms at p50 after "
        f"{fast['tokens in']:.0f} tokens; {slow['name']} takes {slow['p50 ms']:.0f} ms for "
        f"{slow['tokens in']:.0f} tokens in and {slow['tokens out']:.0f} out."
    ]
    unread = asked[asked["unreadable"] > 0]
    lines.append(
        f"Unreadable are {count(unread['unreadable'].sum(), 'answer')}, of {listed(unread['name'])}"
        ": a program would have to guess. Name the labels in the prompt, or constrain the decoding."
        if len(unread)
        else "Every answer could be read, so no figure above is a matter of formatting."
    )
    paid = asked[asked["usd per correct"].fillna(0) > 0]
    if len(paid):
        least = paid.loc[paid["usd per correct"].idxmin()]
        lines.append(f"A correct answer is cheapest from {least['name']}: "
                     f"{least['usd per correct']:.6f} USD.")  # fmt: skip
    return lines


def of_errors(answers: pd.DataFrame, confident: pd.DataFrame, slices: pd.DataFrame) -> list[str]:
    """Say how often the selected prompt is wrong, how sure it was then, and where it is weak.

    Parameters
    ----------
    answers, confident : DataFrame
        Lines of one variant, all of them and those whose confidence is known.
    slices : DataFrame
        ``slice``, ``n`` and the variant's mean score as ``value``.
    """
    wrong = answers[~answers["correct"]]
    lines = [f"{len(wrong)} of {count(len(answers), 'answer')} are wrong."]
    sure = confident.groupby("correct")["confidence"].mean() if len(confident) else {}
    if False in sure and True in sure:
        lines.append(
            f"Its mean confidence is {sure[False]:.2f} where it is wrong and {sure[True]:.2f} where "
            "it is right: "
            + (
                "answers below a threshold can go to a person."
                if sure[True] - sure[False] > MUCH
                else "it does not know when it errs, so a threshold helps little."
            )
        )
    known = slices.dropna(subset="value")
    if len(known) > 1:
        weak = known.loc[known["value"].idxmin()]
        few = f"; with {weak['n']:.0f} rows that is inconclusive, so label more of them"
        lines.append(
            f"Its lowest slice is {weak['slice']}, with {weak['value']:.3f} of "
            f"{weak['n']:.0f} rows{few if weak['n'] < FEW else '; read those errors first'}."
        )
    return lines


def of_judge(trusted: pd.DataFrame) -> list[str]:
    """Say whether the judge agrees with itself, and what a judge that does not is worth."""
    lines = trusted.set_index("name") if len(trusted) else trusted
    if trusted.empty or judging.SAME not in lines.index or not lines.loc[judging.SAME, "n"]:
        return ["No pair was judged, so nothing is known of the judge; do not use it yet."]
    same = lines.loc[judging.SAME]
    agreed = round(same["value"] * same["n"])
    first = (
        f"Asked in both orders, the judge agrees with itself on {agreed} of "
        f"{count(same['n'], 'pair')}; a coin would on half of them."
    )
    if judging.verdict(trusted).startswith("The judge can"):
        return [first, "What to do: use it, and compare it with labels by hand from time to time."]
    reason = (
        "it follows the place of an answer, not its content: that is no judge"
        if not same["low"] > judging.CHANCE
        else "where the right answer is known it is not shown to be better than a coin"
    )
    return [first, f"So {reason}. What to do: grade by labels, or let a larger model judge."]


def of_repeats(steady: pd.DataFrame) -> list[str]:
    """Say how many answers change when a question is repeated."""
    known = steady.dropna(subset="changed")
    if known.empty:
        return ["No row was answered every time, so the answer instability is not known."]
    each = "; ".join(f"{x.changed:.1%} of {count(x.rows, 'row')} for {x.name}"
                     for x in known.itertuples())  # fmt: skip
    wide = (known["highest"] - known["lowest"]).max()
    return [
        f"The answer changes for {each}.",
        f"By chance alone the figure of one run moves by up to {wide:.3f}: a smaller difference "
        "between two prompts is no news."
        if wide > 0
        else "Repeats give the same figure here, so differences between prompts are not chance "
        "of the decoding; they may still be chance of the rows.",
    ]


def of_perturbed(lost: pd.DataFrame, before: pd.DataFrame, numbers: bool = False) -> list[str]:
    """Say which model falls most under which perturbation, and to what.

    Parameters
    ----------
    lost : DataFrame
        As `diptych.llmops.build.accuracy_drop` returns it.
    before : DataFrame
        ``name`` and ``value`` on the test rows as they are.
    numbers : bool
        Whether the label is a number; then it is the error that rises.
    """
    if lost.empty:
        return ["No row could be perturbed in a way that keeps its label certain."]
    lines, thing = [], "the mean error rises by" if numbers else "the accuracy falls by"
    parts = lost["name"].str.split(", ", n=1, expand=True)
    for way, group in lost.assign(way=parts[0], model=parts[1]).groupby("way", sort=False):
        worst = group.loc[group["value"].idxmax()]
        asked = group[~group["model"].str.endswith(MLOPS)]
        prompt = f"; for {asked['model'].iloc[0]} by {figure(asked.iloc[0])}" if len(asked) else ""
        if len(asked) and asked.index[0] == worst.name:
            prompt = ""
        lines.append(
            f"Under {way}, {thing} {figure(worst)} for {worst['model']}"
            f"{_left(worst, before, numbers)}{prompt}."
        )
    hard = lost["value"].max() > MUCH and not numbers
    return [*lines, "What to do: put such rows into the training or the test set before users "
                    "send them." if hard else "What to do: nothing urgent; watch for such rows in "
                    "5_monitor."]  # fmt: skip


def _left(worst: pd.Series, before: pd.DataFrame, numbers: bool) -> str:
    """Return what about is left of the test rows' figure."""
    known = before.loc[before["name"] == worst["model"], "value"].dropna()
    if numbers or known.empty or worst["value"] < BARELY:
        return ""
    return f", which had {known.iloc[0]:.2f} on all test rows"


def of_hand_written(hand: pd.DataFrame, test: pd.DataFrame, metric: Metric) -> list[str]:
    """Say what is left of each model's figure on texts that a person wrote.

    Parameters
    ----------
    hand, test : DataFrame
        Leaderboards of the hand-written and of the test rows.
    """
    both = hand[["name", "value"]].merge(test[["name", "value"]], on="name", suffixes=("", " test"))
    both = both[~both["name"].str.startswith("baseline")].dropna()
    if both.empty:
        return ["This task has no hand-written rows: the test rows above are all the evidence. "
                "Write fifty yourself before you trust it."]  # fmt: skip
    moved = both.assign(fall=metric.sign * (both["value test"] - both["value"]))
    lines = [f"On hand-written text {x['name']} goes from {x['value test']:.2f} to {x['value']:.2f}."
             for x in moved.nlargest(2, "fall").to_dict("records")]  # fmt: skip
    if moved["fall"].max() > MUCH and metric.sign > 0:
        return [*lines, "The test rows come from the same generator as the training set, so they "
                        "flatter. What to do: decide by rows like your users', not by these."]  # fmt: skip
    return [*lines, "The test rows tell the truth about hand-written ones. What to do: release."]
