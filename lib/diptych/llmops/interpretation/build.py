"""What the outputs of ``llmops/2_build`` show."""

import math
from collections.abc import Mapping, Sequence

import pandas as pd

from diptych.core.data.perturb import MARK
from diptych.core.data.schema import is_number, right_answer
from diptych.core.evaluation import thresholds
from diptych.core.evaluation.metrics import Metric
from diptych.core.evaluation.scored import ScoredRows
from diptych.llmops.evaluation import evaluate
from diptych.llmops.evaluation import judge as judging
from diptych.llmops.interpretation.words import count, figure, is_known, listed, on_unexplained
from diptych.llmops.leaderboard import Leaderboard
from diptych.llmops.prompts.prompt import Prompt
from diptych.llmops.prompts.variant import Variant

MLOPS = " (MLOps)"
UNSURE = 0.9  # a token below this probability may turn with the next wording
FEW = 30  # rows below which the figure of a slice is not to be acted on
MUCH = 0.1  # a fall, or a gap, that calls for action
ALPHA = 0.05


def of_call(
    text: str | None, tokens: pd.DataFrame, read: float | None, row: pd.Series
) -> list[str]:
    """Say what one answer shows: what it cost to read, and how sure the model was.

    Parameters
    ----------
    text : str or None
        The answer.
    tokens : DataFrame
        ``token`` and ``probability``, one line a token of the answer; empty where the endpoint
        gives no log-probabilities.
    read : float or None
        Tokens of the prompt.
    row : Series
        Which was asked about.
    """
    price = f" after reading {count(read, 'token')}" if is_known(read) else ""
    lines = [f"The model wrote {text!r}{price}; a right answer is {right_answer(row)!r}."]
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


def of_rows(valid: pd.DataFrame, test: pd.DataFrame, prompts: Sequence[Prompt]) -> list[str]:
    """Say which rows select, which measure, and what one of them weighs."""
    names = listed((prompt.name for prompt in prompts), 6)
    return [
        f"{count(len(valid), 'validation row')} select among {count(len(prompts), 'prompt')} "
        f"({names}), {count(len(test), 'test row')} measure what was selected.",
        f"One row weighs {1 / max(len(valid), 1):.3f} in the first set and "
        f"{1 / max(len(test), 1):.3f} in the second: a difference of less is none.",
        *on_unexplained(prompts),
    ]


def of_trials(board: Leaderboard, tried: pd.DataFrame, trials: pd.DataFrame) -> list[str]:
    """Say what is selected, and how far apart the variants are beside what one row weighs.

    Parameters
    ----------
    tried, trials : DataFrame
        What `evaluate` returned, and the table of `diptych.llmops.build.pick`.
    """
    known, metric = trials.dropna(subset="validation"), board.task.metric
    if known.empty:
        return ["No variant has a figure: calls of all of them failed. Look at the errors first."]
    rows = tried["id"].nunique()
    order = known.sort_values(["validation", "tokens in"], ascending=[metric.sign < 0, True])
    first, far = order.iloc[0], order.iloc[-1]
    near = known[(known["validation"] - first["validation"]).abs() <= 1 / rows + 1e-9]
    advice = "take the shortest of those, and raise validation_rows before you believe in an order"
    evidence = board.evidence(tried, first["name"])
    if len(known) == 1:
        return [f"{evidence} No other variant was tried.", "What to do: try another wording."]
    return [
        evidence,
        f"{far['name']} is farthest from it, with {far['validation']:.3f} against "
        f"{first['validation']:.3f}."
        if far["validation"] != first["validation"]
        else f"Each of the {len(known)} variants has that figure.",
        f"One row of {rows} weighs {1 / rows:.3f}: {len(near)} of {count(len(known), 'variant')} "
        "lie no farther from the best than that.",
        f"What to do: {advice}."
        if len(near) > 1
        else "What to do: see what sets the best wording apart, and try more like it.",
    ]


def of_leaderboard(ranked: pd.DataFrame, metric: Metric, equal: float) -> list[str]:
    """Say who leads on the test rows, who is shown to be worse, and how many rows would tell.

    Parameters
    ----------
    ranked : DataFrame
        As `diptych.core.evaluation.leaderboard.rank` returns it.
    equal : float
        The p-value that all are equally good, NaN for fewer than three.
    """
    if ranked.empty or ranked["value"].isna().all():
        return [f"The {metric.title} is not defined for these rows; take more, or another metric."]
    best, others = ranked.iloc[0], ranked.iloc[1:]
    lines = [f"{best['name']} has the best {metric.title}: {figure(best)}."]
    if is_known(equal):
        p = f"p = {equal:.2g}, Cochran's or Friedman's test"
        lines.append(f"They differ ({p})." if equal < ALPHA else f"That any differ is open ({p}).")
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


def of_pair(both: pd.DataFrame, p_value: float, first: str, second: str) -> list[str]:
    """Say what the rows tell that only one of two models gets right.

    Parameters
    ----------
    both : DataFrame
        How often the first is right (lines) and the second (columns); False, then True.
    """
    ahead, behind = int(both.loc[True, False]), int(both.loc[False, True])
    rows = int(both.to_numpy().sum())
    if first == second or not rows:
        return ["There is one model only, so there is nothing to compare."]
    lines = [
        f"Only {ahead + behind} of {count(rows, 'row')} tell the two apart: {first} alone is right "
        f"on {ahead}, {second} alone on {behind}; p = {p_value:.2g}."
    ]
    if p_value < ALPHA:
        return [*lines, "What to do: read those rows; they show what the worse one lacks."]
    return [*lines, "That is no evidence for either. What to do: let cost and latency decide, or "
                    "ask about more rows; more models do not help."]  # fmt: skip


def of_costs(costs: pd.DataFrame) -> list[str]:
    """Say what an answer takes: latency, tokens, dollars, and answers that cannot be read."""
    answered = costs.dropna(subset=["p50 ms"])
    if answered.empty:
        return ["No call was answered, so there is neither a latency nor a cost."]
    fast, slow = (answered.loc[getattr(answered["p50 ms"], f"idx{x}")()] for x in ("min", "max"))
    slowest = (f"{slow['name']} takes {slow['p50 ms']:.0f} ms for {slow['tokens in']:.0f} tokens "
               f"in and {slow['tokens out']:.0f} out")  # fmt: skip
    lines = [f"{slowest} at p50."]
    if len(answered) > 1:
        lines = [f"{fast['name']} answers fastest, in {fast['p50 ms']:.0f} ms at p50 after "
                 f"{fast['tokens in']:.0f} tokens; {slowest}."]  # fmt: skip
    if not answered["unreadable"].any():
        lines.append("Every answer could be read, so no figure is a matter of formatting.")
    paid = answered[answered["usd per correct"].fillna(0) > 0]
    if len(paid):
        least = paid.loc[paid["usd per correct"].idxmin()]
        lines.append(f"A correct answer is cheapest from {least['name']}: "
                     f"{least['usd per correct']:.6f} USD.")  # fmt: skip
    return lines


def of_errors(
    answers: pd.DataFrame, confident: pd.DataFrame, slices: pd.DataFrame, scored: ScoredRows
) -> list[str]:
    """Say how often the selected prompt is wrong, how sure it was then, and where it is weak.

    Parameters
    ----------
    answers, confident : DataFrame
        Lines of one variant, all of them and those whose confidence is known.
    slices : DataFrame
        As `diptych.llmops.evaluation.evaluate.by_slice` returns it, with a column for the variant.
    scored : ScoredRows
        The same answers.
    """
    numbers = is_number(answers["expected"])
    if numbers:
        off = (evaluate.counted(answers) - answers["expected"]).abs()
        lines = [
            f"The {count(len(answers), 'answer')} are off by {off.mean():.3g} on average, the "
            f"worst by {off.max():.3g}; {answers['predicted'].isna().sum()} gave no number.",
            "What to do: read the rows farthest off, and say in the prompt what they lack.",
        ]
    else:
        wrong = int((~answers["correct"]).sum())
        lines = [f"{wrong} of {count(len(answers), 'answer')} are wrong."]
    sure = confident.groupby("correct")["confidence"].mean() if len(confident) else {}
    if False in sure and True in sure:
        lines.append(
            f"Its confidence is {sure[False]:.2f} where it is wrong and {sure[True]:.2f} where "
            "it is right: "
            + (
                "answers below a threshold can go to a person."
                if sure[True] - sure[False] > MUCH
                else "it does not know when it errs, so a threshold helps little."
            )
        )
    known = slices.set_index("slice")[[answers["variant"].iloc[0], "n"]].dropna()
    known.columns = ["value", "n"]
    if len(known) > 1:
        name = known["value"].idxmax() if numbers else known["value"].idxmin()
        value, n = known.loc[name]
        figure_of = "a mean error of" if numbers else "a mean score of"
        few = "; so few rows are inconclusive: label more of them before you act"
        lines.append(
            f"Its weakest slice is {name}, with {figure_of} {value:.3f} on {count(n, 'row')}"
            f"{few if n < FEW else ': read those errors first'}."
        )
    return [*lines, thresholds.described(scored)]


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


def of_repeats(steady: pd.DataFrame, answers: pd.DataFrame) -> list[str]:
    """Say how many answers change when a question is repeated.

    Parameters
    ----------
    steady, answers : DataFrame
        As `diptych.llmops.evaluation.evaluate` has them in `repeated` and `evaluate`.
    """
    known, failed = steady.dropna(subset="changed"), _failures(answers)
    if known.empty:
        unknown = "No row was answered every time, so the answer instability is not known."
        return [*failed, unknown]
    each = "; ".join(f"{x.changed:.1%} of {count(x.rows, 'row')} for {x.name}"
                     for x in known.itertuples())  # fmt: skip
    wide = (known["highest"] - known["lowest"]).max()
    return [
        *failed,
        f"The answer changes for {each}.",
        f"By chance alone the figure of one run moves by up to {wide:.3f}: a smaller difference "
        "between two prompts is no news."
        if wide > 0
        else "Repeats give the same figure here, so differences between prompts are not chance "
        "of the decoding; they may still be chance of the rows.",
    ]


def of_perturbed(lost: pd.DataFrame, results: pd.DataFrame, numbers: bool = False) -> list[str]:
    """Say which model falls most under which perturbation, and to what.

    Parameters
    ----------
    lost : DataFrame
        As `diptych.llmops.build.accuracy_drop` returns it.
    results : DataFrame
        The answers to the perturbed rows.
    numbers : bool
        Whether the label is a number; then it is the error that rises.
    """
    lines = _failures(results)
    if lost.empty:
        return [*lines, "No row could be perturbed in a way that keeps its label certain."]
    way = results["id"].str.split(MARK, n=1).str[1]
    left = results["correct"].groupby([way, results["variant"]]).mean()
    parts = lost["name"].str.split(", ", n=1, expand=True)
    for way, group in lost.assign(way=parts[0], model=parts[1]).groupby("way", sort=False):
        worst = group.loc[group["value"].idxmax()]
        if numbers:
            lines.append(f"Under {way} the mean error of {worst['model']} rises most: by "
                         f"{figure(worst)}.")  # fmt: skip
            continue
        share = left.get((way, worst["model"]), math.nan)
        lines.append(f"Under {way} {worst['model']} loses most: {figure(worst)}, and is right on "
                     f"{share:.2f} of those rows.")  # fmt: skip
        lines += [f"{x['model']} loses {figure(x)}."
                  for x in group[~group["model"].str.endswith(MLOPS)].to_dict("records")
                  if x["model"] != worst["model"]]  # fmt: skip
    if lost["value"].max() > MUCH and not numbers:
        return [*lines, "What to do: put such rows into the training set, or keep them from the "
                        "model, before users send them."]  # fmt: skip
    return [*lines, "What to do: nothing urgent; watch for such rows in 5_monitor."]


def of_selection(champion: Variant, results: pd.DataFrame, written_here: Mapping) -> list[str]:
    """Say what was selected, on how many rows it is measured, and where your prompts ended."""
    measured = results[results["variant"] == champion.name]
    mine = f" Of your own prompts ({listed(written_here)}) "
    which = "this is one." if champion.prompt.name in written_here else "none was selected."
    return [
        f"Selected is {champion.name}, version {champion.prompt.version}, with "
        f"{count(champion.shots + len(champion.prompt.examples), 'example')}; "
        f"{count(len(measured), 'test row')} measure it.{mine + which if written_here else ''}",
        "What to do: 3_release puts it before the gate; nothing serves it before.",
    ]


def of_hand_written(
    hand: pd.DataFrame, test: pd.DataFrame, metric: Metric, answers: pd.DataFrame
) -> list[str]:
    """Say what is left of each model's figure on texts that a person wrote.

    Parameters
    ----------
    hand, test : DataFrame
        Leaderboards of the hand-written and of the test rows.
    answers : DataFrame
        To the hand-written rows.
    """
    both = hand[["name", "value"]].merge(test[["name", "value"]], on="name", suffixes=("", " test"))
    both = both[~both["name"].str.startswith("baseline")].dropna()
    lines = _failures(answers)
    if both.empty and lines:
        return lines
    if both.empty:
        return ["This task has no hand-written rows: the test rows above are all the evidence. "
                "Write fifty yourself before you trust it."]  # fmt: skip
    moved = both.assign(fall=metric.sign * (both["value test"] - both["value"]))
    lines += [f"On hand-written text {x['name']} goes from {x['value test']:.2f} to "
             f"{x['value']:.2f}."
             for x in moved.nlargest(2, "fall").to_dict("records")]  # fmt: skip
    if moved["fall"].max() > MUCH and metric.sign > 0:
        return [*lines, "The test rows come from the same source as the training set, and "
                        "flatter. What to do: decide by rows like your users'."]  # fmt: skip
    return [*lines, "The test rows tell the truth about hand-written ones. What to do: release."]


def _failures(results: pd.DataFrame) -> list[str]:
    """Say whose calls failed, and why the first of them did."""
    counts = results["variant"].value_counts()
    return [
        f"{len(lines):,} of {count(counts[name], 'call')} of {name} failed, so figures over them "
        f"are left out. The first one: {lines['error'].iloc[0].rstrip('.')}."
        for name, lines in results[results["outcome"] == "failed"].groupby("variant", sort=False)
    ]
