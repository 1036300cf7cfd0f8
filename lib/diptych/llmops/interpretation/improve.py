"""What the outputs of ``llmops/6_improve`` show."""

import numpy as np
import pandas as pd

from diptych.core.evaluation.gate import Decision
from diptych.core.evaluation.metrics import Metric
from diptych.core.monitoring.windows import WindowSplit
from diptych.llmops.evaluation.search import Search
from diptych.llmops.finetuning import Tuned
from diptych.llmops.improve import TUNED, Lessons
from diptych.llmops.interpretation.words import count, figure, is_known, listed
from diptych.llmops.prompts.prompt import Prompt

FEW = 30  # rows below which the figure of a search is hardly one
EDGE = 5  # steps at either end of the training whose mean loss is compared
RISEN = 2  # times the loss of the first step: training that comes so high did not go well,
ASTRAY = 1.0  # if the loss is above this too, in nats: the right token is then 1 in 2.7, or less


def of_lessons(lessons: Lessons, plan: WindowSplit, method: str) -> list[str]:
    """Say why there is a retraining, from which windows it learns and which decide."""
    how = {"none": "nothing is tuned", "api": "an endpoint tunes its model"}
    return [
        f"The reason is: {plan.reason}. {count(lessons.labels, 'row')} of {listed(plan.learn)} "
        f"are learnt from, and {listed(plan.decide)} decides, which no row of them has seen.",
        f"The method is {method}: {how.get(method, 'the local model is tuned')}. What to do if "
        "labels are dear: lower the parameter labels, and see below how much less is gained.",
    ]


def of_search(search: Search, champion: Prompt, best: Prompt) -> list[str]:
    """Say what the search chose, on how many rows, and why its figure is too high."""
    if search.rounds.empty:
        return [f"The search asked nothing: {search.stopped or 'there was one prompt only'}."]
    won = search.rounds[search.rounds["name"] == search.winner].iloc[-1]
    same = "the champion's own" if best.version == champion.version else f"{best.name}"
    lines = [
        f"{count(search.rounds['name'].nunique(), 'prompt')} took part in "
        f"{count(search.pulls, 'question')}; what is left is {same}, with {figure(won)} on "
        f"{count(won['rows'], 'row')}."
    ]
    why = "It was selected by this figure, which is therefore too high"
    few = ", and the rows are few" if won["rows"] < FEW else ""
    return [*lines, f"{why}{few}. What to do: believe only what it does on rows it has not seen, "
                    "below."]  # fmt: skip


def of_tuning(tuned: Tuned | None, method: str) -> list[str]:
    """Say what the training took, and how far its loss fell."""
    if tuned is None:
        return [f"Nothing was tuned: the method is {method}. Below only prompts compete."]
    lines = [
        f"{count(tuned.rows, 'row')} were learnt in {tuned.seconds:.0f} s, "
        f"{count(tuned.left_out, 'row')} left out as too long."
    ]
    if "rate" in tuned.facts:
        lines.append(
            "The settings: rank {rank}, alpha {alpha}, {epochs:g} passes over the rows, {batch} a "
            "step, a highest rate of {rate:g}.".format(**tuned.facts)
        )
    if not tuned.losses:
        return [*lines, "The endpoint tells no loss; the rows below are the only evidence."]
    first, last = np.mean(tuned.losses[:EDGE]), np.mean(tuned.losses[-EDGE:])
    highest = pd.Series(tuned.losses).rolling(EDGE, min_periods=1).mean().max()
    lines.append(
        f"The loss goes from {first:.3f} to {last:.3f} nats a token of the answer, so the right "
        f"token's probability from about {np.exp(-first):.2f} to {np.exp(-last):.2f}."
    )
    if last >= first:
        return [*lines, "It did not fall. What to do: lower the rate, or look for labels that "
                        "contradict each other."]  # fmt: skip
    if highest > max(RISEN * tuned.losses[0], ASTRAY):
        return [*lines, f"On the way it rose to {highest:.3f}, so the rate is too high for this "
                        "model. What to do: lower it, and tune again."]  # fmt: skip
    return [*lines, "That is the loss on what it learns from: only rows it has not seen say "
                    "whether it learnt or memorized."]  # fmt: skip


def of_choice(compared: pd.DataFrame, name: str, metric: Metric) -> list[str]:
    """Say which way is the challenger, and whether it stands apart from the champion."""
    lines = compared.set_index("name") if len(compared) else compared
    if name not in lines.index or "champion" not in lines.index:
        return [f"{name} is the challenger; its {metric.title} has no interval on these rows."]
    new, old = lines.loc[name], lines.loc["champion"]
    apart = new["low"] > old["high"] if metric.sign > 0 else new["high"] < old["low"]
    return [
        f"The challenger is {name}, with {figure(new)} against {figure(old)} of the champion.",
        "The intervals do not even overlap."
        if apart
        else "The intervals overlap, which decides nothing: the two answered the same rows, so "
        "look at their difference, next.",
        *_of_harm(lines, metric),
    ]


def _of_harm(lines: pd.DataFrame, metric: Metric) -> list[str]:
    """Say that the tuned model does worse than the champion, where it does."""
    if TUNED not in lines.index:
        return []
    tuned, old = lines.loc[TUNED], lines.loc["champion"]
    if metric.sign * (tuned["value"] - old["value"]) >= 0:
        return []
    surely = tuned["high"] < old["low"] if metric.sign > 0 else tuned["low"] > old["high"]
    how = "made the model worse" if surely else "did not show a gain"
    return [
        f"Tuning {how}: {figure(tuned)} on these rows, which it did not learn from, where the "
        f"champion has {figure(old)}. What to do: a lower rate, fewer epochs, or no tuning."
    ]


def of_gains(gains: pd.DataFrame, name: str) -> list[str]:
    """Say what the challenger gains, ground by ground, and what it pays on the old one."""
    lines = []
    parts = gains["name"].str.rsplit(", ", n=1, expand=True) if len(gains) else gains
    for ground in ("later windows", "new ground", "old ground"):
        here = gains[(parts[0] == name) & (parts[1] == ground)] if len(gains) else gains
        if here.empty or not is_known(float(here["value"].iloc[0])):
            continue
        line = here.iloc[0]
        word = "a gain" if line["low"] > 0 else "a loss" if line["high"] < 0 else "inconclusive"
        lines.append(f"On {ground} {name} differs by {figure(line)}: {word}.")
    if not lines:
        return ["No difference could be measured: a ground has no rows, or calls failed."]
    advice = "what is inconclusive on few rows needs more labels, not another tuning"
    return [*lines, f"What to do: weigh the first against the last, which is the price; {advice}."]


def of_gate(decision: Decision, look: int) -> list[str]:
    """Say how the gate decided, how many rules the rows left open, and at which look."""
    status = decision.checks["status"]
    opened = decision.checks[status == "inconclusive"]
    slices = opened["rule"].str.startswith("slice ").sum()
    lines = [decision.reason]
    if len(opened):
        most = opened["rows_needed"].max()
        needed = (
            f"; {count(most, 'labelled row')} would decide the last of them" if most == most else ""
        )
        lines.append(
            f"{count(len(opened), 'rule')} {'is' if len(opened) == 1 else 'are'} inconclusive, "
            f"{slices} of them slices: they passed for want of rows, not by merit{needed}."
        )
    return [*lines, f"This is look {look} at these labels, and the intervals are as wide as that "
                    "asks: whoever looks often enough finds something."]  # fmt: skip


def of_windows(table: pd.DataFrame, plan: WindowSplit, metric: Metric) -> list[str]:
    """Say how the two do after the decision, on windows that neither has seen."""
    after = table[table["window"].isin(plan.after)].dropna(subset="value")
    if after.empty:
        return ["No window lies after the decision, so the outcome is open: serve, and run "
                "5_monitor again."]  # fmt: skip
    means = after.groupby("model")["value"].mean()
    windows = count(after["window"].nunique(), "window")
    each = " and ".join(f"{value:.3f} for the {name}" for name, value in means.items())
    lines = [f"After the decision the mean {metric.title} of {windows} is {each}."]
    wins = metric.sign * (means.get("challenger", 0) - means.get("champion", 0)) > 0
    return [*lines, "The lead holds where nobody chose by it. What to do: put it into service."
            if wins else "The lead does not hold there. What to do: keep the champion, and label "
                         "more recent rows."]  # fmt: skip


def of_promotion(decision: Decision, version: int, in_service: object) -> list[str]:
    """Say what serves now, and that the way back was tried."""
    if not decision.promoted:
        return [f"Version {version} is registered and not promoted; what served before still does. "
                "What to do: read the gate's reason, and label the rows it asks for."]  # fmt: skip
    back = "the way back was rehearsed" if in_service else "there is no version to go back to"
    return [f"Version {version} is the champion, and {back}. The history cannot be changed: it is "
            "what an audit reads."]  # fmt: skip


def of_record(verdict: pd.DataFrame) -> list[str]:
    """Say what of the loss came back, and at what price."""
    values = dict(zip(verdict["measured"], verdict["value"], strict=True))
    share = values.get("recovered")
    lines = [
        f"{share:.0%} of the lost quality came back."
        if is_known(share)
        else "No loss was large enough to say what share of it came back."
    ]
    price = f"{values.get('labels', 0):,} labels and {values.get('minutes', 0):.1f} minutes"
    return [*lines, f"The price was {price} of training. What to do: weigh it against refitting "
                    "in mlops/6_improve, which the contrast does."]  # fmt: skip
