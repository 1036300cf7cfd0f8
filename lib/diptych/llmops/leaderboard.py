"""The prompts of one task side by side: those of files, prompts and metrics of your own."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from diptych.core.data.tasks import Task
from diptych.core.evaluation import baseline, own_metrics, stats
from diptych.core.evaluation.graders import LABEL
from diptych.core.evaluation.metrics import MetricError
from diptych.llmops.data import numbers_of
from diptych.llmops.evaluation import evaluate, outcome, scorers
from diptych.llmops.prompts import prompt as prompts
from diptych.llmops.prompts.prompt import Prompt, PromptError

INPUTS = ("text",)  # what a row has for a prompt


class Leaderboard:
    """Prompts that are compared on the same rows, as the models of `diptych.mlops.leaderboard` are.

    Parameters
    ----------
    chosen : list of Prompt
        As `diptych.llmops.data.choose` returns them.
    task : Task
    labels : sequence of str
        Labels of the data.
    margin : float
        Differences within it are a tie.
    seed : int
        Of the bootstraps.
    data : DataFrame, optional
        Canonical rows, for the constant answer; needed where the label is a number.

    Attributes
    ----------
    prompts : list of Prompt
        What takes part.
    """

    def __init__(
        self,
        chosen: Sequence[Prompt],
        task: Task,
        labels: Sequence[str],
        margin: float = 0.02,
        seed: int = 0,
        data: pd.DataFrame | None = None,
    ):
        self.prompts, self.task, self.labels = list(chosen), task, list(labels)
        self.margin, self.seed = margin, seed
        self.numbers = numbers_of(task, data) if task.regression else None
        self.train = None if data is None else data.loc[data["split"] == "train", "label"]
        self._files = {prompt.name for prompt in chosen}
        self._metrics: dict[str, Callable] = {}
        self._texts: dict[str, str] = {}

    def with_own(self, texts: Mapping[str, str]) -> "Leaderboard":
        """Let prompts of your own take part, by name, see `add`; return the leaderboard."""
        for name, text in texts.items():
            self.add(name, text)
        return self

    @property
    def written_here(self) -> dict[str, dict]:
        """Prompts that were added: ``text`` and ``version``, a digest of what the model reads."""
        return {
            prompt.name: {"text": self._texts[prompt.name], "version": prompt.version}
            for prompt in self.prompts
            if prompt.name in self._texts
        }

    def add(self, name: str, prompt: str | Prompt, system: str = "") -> None:
        """Let a prompt of your own take part, under a name; one added before is replaced.

        Parameters
        ----------
        name : str
        prompt : str or Prompt
            The question, with ``{text}`` where the row's text belongs, and ``{labels}`` where the
            task's labels do, if they are to be named. Where the label is a number, ``{target}`` is
            its name, and ``{low}``, ``{mean}`` and ``{high}`` say how it lies.
        system : str
            The system message, "" for none.

        Raises
        ------
        PromptError
            If the name is that of a prompt file, a slot is misspelt or missing, or the prompt
            cannot be graded as the task is. Nothing is asked before.
        """
        if name in self._files:
            raise PromptError(f"{name}: a prompt file has this name; give your prompt another")
        mine = replace(prompt, name=name) if isinstance(prompt, Prompt) else self._made(
            name, prompt, system
        )  # fmt: skip
        scorers.check_prompt(mine, self.task.grader, self.task.regression)
        self.prompts = [one for one in self.prompts if one.name != name] + [mine]
        self._texts[name] = prompt if isinstance(prompt, str) else mine.user

    def _made(self, name: str, text: str, system: str) -> Prompt:
        labelled, numbers = self.task.grader == LABEL, self.numbers
        output = {"type": "number" if numbers else "string"} if labelled else {}
        kind = prompts.NUMBER if numbers else prompts.ANY
        generic = Prompt(name, kind, INPUTS, system, text, output=output)
        if labelled:
            return prompts.made_for(generic, self.task.base, self.labels, numbers)
        return replace(generic, task=self.task.base)

    def add_metric(self, name: str, function: Callable) -> None:
        """Let a metric of your own be reported beside the accuracy; it decides nothing.

        Parameters
        ----------
        name : str
        function : callable
            Takes the expected and the given labels, "" where an answer names none, or numbers;
            returns a number.

        Raises
        ------
        MetricError
            If it takes probabilities, which an answer does not have for each label.
        """
        if own_metrics.takes_probabilities(function):
            raise own_metrics.MetricError(
                f"{name}: the metric takes probabilities, which answers do not have for each "
                "label; take labels and predictions alone"
            )
        self._metrics[name] = function

    def evidence(self, tried: pd.DataFrame, name: str) -> str:
        """Say whether a variant is shown to be better than the constant answer.

        Paired on the validation set, where it was selected.

        Parameters
        ----------
        tried : DataFrame
            What `evaluate` returned for the validation set.
        """
        if self.train is None:
            return f"{name} is selected."
        scored = evaluate.scored_rows(tried[tried["variant"] == name], self.task.scoring)[name]
        constant = baseline.rows(self.train, scored.truth, self.task.scoring)
        if constant is None:
            return f"{name} is selected."
        metric = self.task.metric
        try:
            gap = metric.improvement(scored, constant)
        except MetricError as error:
            return f"{name} is selected; it is not compared with the constant answer: {error}."
        gain = f"{gap.value:.3f} ({gap.low:.3f} to {gap.high:.3f}) in {metric.title}"
        if gap.reliable and gap.low > 0:
            return f"{name} is selected; it beats the constant answer by {gain}."
        why = f": {gap.note}" if gap.note else ""
        return (
            f"Nothing is shown to beat the constant answer{why}. {name} gains {gain} over "
            f"{len(scored)} rows of the validation set; on rows so few the gate would not promote "
            "it."
        )

    def table(self, results: pd.DataFrame) -> pd.DataFrame:
        """Rank what was asked, see `diptych.llmops.evaluation.evaluate.leaderboard`.

        Metrics of your own are its last columns, each with its interval.
        """
        table = evaluate.leaderboard(results, self.margin, self.seed, scoring=self.task.scoring)
        for metric in self._metrics:
            estimates = [self._measured(metric, results, name) for name in table["name"]]
            table[metric] = [own_metrics.shown(x) for x in estimates]
        return table

    def metrics(
        self, results: pd.DataFrame, prefix: str = "own metric, "
    ) -> dict[str, stats.Estimate]:
        """Return metrics of your own, by metric and variant."""
        return {
            f"{prefix}{metric} of {name}": self._measured(metric, results, name)
            for metric in self._metrics
            for name in results["variant"].unique()
            if name not in outcome.unmeasured(results)
        }

    def _measured(self, metric: str, results: pd.DataFrame, name: str) -> stats.Estimate:
        answers = results[results["variant"] == name]
        if outcome.unmeasured(answers):
            return stats.Estimate(np.nan, np.nan, np.nan, len(answers))
        if self.task.regression:
            arrays = [answers["expected"].to_numpy(), evaluate.counted(answers).to_numpy()]
        else:
            labels = answers["predicted"].astype(object).where(answers["predicted"].notna(), "")
            arrays = [answers["expected"].to_numpy(object), np.asarray(labels, dtype=object)]
        return own_metrics.measure(metric, self._metrics[metric], arrays, self.seed)
