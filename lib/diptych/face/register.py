"""Decorators by which plugins add names: ``@dt.register.metric("near")``.

A plugin is known by a line of ``params/plugins.yaml``, or by an entry point; docs/plugins.md has an
example of each kind. In a notebook a cell registers for this kernel alone.
"""

import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from diptych.base import plugins

F = TypeVar("F", bound=Callable[..., Any])

__all__ = ["drift", "estimator", "format", "metric", "prompt", "scorer", "task"]


def task(name: str, **columns: Any) -> Callable[[F], F]:
    """Register a task: a function that returns its rows, or a `Task`.

    Parameters
    ----------
    name : str
        What ``-p task=`` takes.
    **columns
        Of a DataFrame: ``text_column``, ``label_column``, ``time_column``, ``group_column``,
        ``metric``, ``datasheet``. Where answers are texts: ``grader``, a scorer's name;
        ``reference_column``, with the right answers; ``replies``, the answer that a trained model
        gives for each label.

    Raises
    ------
    PluginError
        If the name is there already; the message lists all.

    Examples
    --------
    >>> import pandas as pd
    >>> @dt.register.task("shop", label_column="bought")
    ... def shop():
    ...     visits = [i * 37 % 83 for i in range(80)]
    ...     return pd.DataFrame({"visits": visits, "bought": ["no", "yes"] * 40})
    >>> dt.task("shop").features
    ['visits']
    """
    from diptych.core.data import added_tasks

    def decorate(function: F) -> F:
        builder = added_tasks.builder(name, function, **columns)
        plugins.registry("task").add(name, builder, _source(function))
        return function

    return decorate


def metric(
    name: str,
    *,
    title: str = "",
    needs: str = "labels",
    higher_is_better: bool = True,
    per_row: bool = False,
    low: float = 0.0,
    high: float = 1.0,
) -> Callable[[F], F]:
    """Register a metric: a function of true and predicted labels (or numbers, or probabilities).

    It selects, ranks, gates and monitors as the others do, with an interval (jackknife; of a
    `per_row` metric Hall's).

    Parameters
    ----------
    name : str
        What ``-p metric=`` takes.
    title : str
        What pages call it.
    needs : {"labels", "probabilities", "numbers"}
        What the function gets as its second argument; probabilities are those of the positive
        class, shape (n,), or of all, shape (n, classes).
    higher_is_better : bool
    per_row : bool
        The function returns one loss or gain a row, and the metric is their mean.
    low, high : float
        Its range.

    Raises
    ------
    PluginError
        If the name is there already, or `needs` is unknown.

    Examples
    --------
    >>> @dt.register.metric("within_one", needs="numbers", per_row=True)
    ... def within_one(true, predicted):
    ...     return abs(true - predicted) <= 1
    """
    from diptych.core.evaluation import added_metrics

    def decorate(function: F) -> F:
        entry = added_metrics.of_function(
            name, function, title=title, needs=needs, higher_is_better=higher_is_better,
            per_row=per_row, low=low, high=high,
        )  # fmt: skip
        plugins.registry("metric").add(name, entry, _source(function))
        return function

    return decorate


def scorer(name: str, *, title: str = "", compares_with: str = "reference") -> Callable[[F], F]:
    """Register a grader of answers: a function of an answer and what is expected, from 0 to 1.

    Parameters
    ----------
    name : str
        What a task names as its ``grader``, and a prompt as ``graded:``.
    title : str
        What reports call the mean grade.
    compares_with : {"reference", "label"}
        The column that an answer is compared with.

    Examples
    --------
    >>> @dt.register.scorer("same_length")
    ... def same_length(answer, expected):
    ...     return float(len(answer) == len(expected))
    """
    from diptych.core.evaluation import graders

    def decorate(function: F) -> F:
        grader = graders.Grader(name, title or name, compares_with, function)
        plugins.registry("scorer").add(name, grader, _source(function))
        return function

    return decorate


def estimator(
    name: str,
    *,
    kinds: Sequence[str] = ("text", "table", "image"),
    settings: Mapping[str, Sequence] | None = None,
    numbers: bool = False,
    trusted: Sequence[str] = (),
) -> Callable[[F], F]:
    """Register a model family: a function that returns an unfitted scikit-learn estimator.

    It may be a whole Pipeline; it reads a list of texts, or a DataFrame of the task's columns. It
    is saved by skops, never by pickle.

    Parameters
    ----------
    name : str
        What ``-p family=`` takes.
    kinds : sequence of {"text", "table", "image"}
        The data that it suits; with ``family=auto`` it takes part there.
    settings : mapping of str to list, optional
        Arguments of the function that are tuned; the first of each is the default.
    numbers : bool
        Whether it predicts numbers, in place of classes.
    trusted : sequence of str
        Your own types that a saved model may hold, by full name, such as ``"my_package.Words"``.

    Examples
    --------
    >>> from sklearn.ensemble import ExtraTreesClassifier
    >>> @dt.register.estimator("extra_trees", kinds=["table"], settings={"n_estimators": [50, 200]})
    ... def extra_trees(n_estimators=50, seed=0):
    ...     return ExtraTreesClassifier(n_estimators, random_state=seed)
    """
    from diptych.mlops.models import families

    def decorate(function: F) -> F:
        family = families.Added(
            name, function, tuple(kinds), dict(settings or {}), numbers, tuple(trusted)
        )
        plugins.registry("estimator").add(name, family, _source(function))
        return function

    return decorate


def prompt(name: str, text: str | Path) -> None:
    """Register a prompt: the text of a prompt file, or the path of one.

    Parameters
    ----------
    name : str
        What ``-p prompts=`` takes; its ``task:`` says for which task, ``any`` for all.
    text : str or Path

    Raises
    ------
    PluginError
        If the name is there already.
    PromptError
        If the prompt is wrong: field, value and remedy.

    Examples
    --------
    >>> dt.register.prompt("curt", '''---
    ... task: any
    ... inputs: [text]
    ... output: {type: string}
    ... ---
    ... ## user
    ... {text}
    ... One word, {labels}:''')
    """
    from diptych.llmops.prompts import prompt as prompts

    read = prompts.read_added(name, text)
    plugins.registry("prompt").add(name, read, _caller())


def drift(name: str) -> Callable[[F], F]:
    """Register a drift statistic: a function of two histograms, a column of every drift table.

    It is reported beside the others; the alarm stays that of the shift, whose rate of false alarms
    is known.

    Parameters
    ----------
    name : str
        The column.

    Examples
    --------
    >>> import numpy as np
    >>> @dt.register.drift("hellinger")
    ... def hellinger(reference, current):
    ...     return np.sqrt(((np.sqrt(reference) - np.sqrt(current)) ** 2).sum() / 2)
    """

    def decorate(function: F) -> F:
        plugins.registry("drift").add(name, function, _source(function))
        return function

    return decorate


def format(name: str, module: Any) -> None:
    """Register a wire format: a module or an object as `diptych.llmops.client.formats.Format`.

    Parameters
    ----------
    name : str
        What ``format:`` in ``params/endpoints.yaml`` takes.
    module : Format

    Raises
    ------
    PluginError
        If the name is there already, or a function is missing.

    Examples
    --------
    >>> from diptych.llmops.client.formats import chat_completions
    >>> dt.register.format("chat_completions_too", chat_completions)
    """
    from diptych.llmops.client import providers

    plugins.registry("format").add(name, providers.checked(name, module), _caller())


def _caller() -> str:
    """Return the module that registers, where no function tells it."""
    return str(sys._getframe(2).f_globals.get("__name__", "a cell"))


def _source(function: Callable[..., Any]) -> str:
    return f"{function.__module__}.{getattr(function, '__qualname__', function)}"
