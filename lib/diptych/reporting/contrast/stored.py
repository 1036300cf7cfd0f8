"""Ways that were measured once and come with the package, so that a report shows them offline.

`measure` makes them anew (``make report FULL=1``): for the classical families and for embeddings a
curve of the task's metric by number of labels, and of embeddings what they answer to each row.
"""

import json
import lzma
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd

from diptych.base import workspace
from diptych.core.data import embeddings, tasks, versions
from diptych.llmops.client.recordings import processor

TASKS = {"sentiment": "reviews", "structured": "tumours"}  # by scenario
LABELS = (10, 30, 100, 300, 1_000)  # and all there are
SEEDS = 5
DRAWS = 2_000
ALONE = 200  # rows that are answered one at a time to see what an answer takes
FOLDER = workspace.PACKAGE / "assets" / "ways"


@cache
def of(scenario: str, task: str = "") -> Mapping:
    """Return what is stored of a scenario, {} where nothing is or its task is another.

    Returns
    -------
    mapping
        ``task``, ``data`` (digest of the rows), ``date``, ``machine``, ``curves`` (lines of
        ``family``, ``labels``, ``value``, ``low``, ``high``, ``n``, ``seeds``), ``cpu_ms`` by
        family with its interval, ``answers`` by family: of a row's id the probability of each of
        ``classes``.
    """
    file = FOLDER / f"{scenario}.json.xz"
    if not file.is_file() or (task and TASKS.get(scenario) != task):
        return {}
    return json.loads(lzma.decompress(file.read_bytes()))


def measure(scenario: str, progress: bool = True) -> Path:
    """Measure the ways of a scenario on this machine and store them.

    Raises
    ------
    EmbeddingsError
        If the scenario's rows are texts and their encoder is not on this machine.
    """
    from diptych.mlops import build

    task = tasks.get(TASKS[scenario])
    version = versions.ingest(task, why="rows of the stored ways")
    data = versions.read(task.name)
    names = [name for name in build.families("auto", task) if name != "cnn"]
    if task.kind == "text":
        embeddings.encoder()
        names.append(build.FAMILY)
    content = {
        "task": task.name, "data": version.digest[:12], "metric": task.metric.spec,
        "date": f"{datetime.now(UTC):%Y-%m-%d}", "machine": processor(),
        "classes": sorted(data["label"].unique().tolist()),
        "curves": [], "cpu_ms": {}, "answers": {},
    }  # fmt: skip
    for name in names:
        lines, model = _curve(name, data, task)
        content["curves"] += lines
        content["cpu_ms"][name] = _cpu_ms(model, build.part(data, "test"))
        if name == build.FAMILY:
            content["answers"][name] = _answers(model, data)
        if progress:
            print(name, *(f"{one['labels']}: {one['value']:.3f}" for one in lines), sep="  ")
    FOLDER.mkdir(exist_ok=True)
    file = FOLDER / f"{scenario}.json.xz"
    text = json.dumps(content, ensure_ascii=False, separators=(",", ":"))
    workspace.write_atomic(file, lzma.compress(text.encode("utf-8"), preset=9))
    return file


def _curve(family: str, data: pd.DataFrame, task) -> tuple[list[dict], object]:
    """Return the figures of a family by number of labels, and its model of all of them."""
    from diptych.mlops import build

    train, test = build.part(data, "train"), build.part(data, "test")
    lines = []
    for n in (*(n for n in LABELS if n < len(train)), len(train)):
        seeds = SEEDS if n < len(train) else 1
        scores = []
        for seed in range(seeds):
            model = _fit(family, _drawn(train, n, seed), task, seed)
            scores.append(build.evaluate(model, test, task.scoring).rows)
        figures = [task.metric.estimate(rows).value for rows in scores]
        low, high = _interval(scores, task.metric)
        lines.append({"family": family, "labels": n, "value": round(float(np.mean(figures)), 4),
                      "low": round(low, 4), "high": round(high, 4), "n": len(test),
                      "seeds": seeds})  # fmt: skip
    return lines, model


def _drawn(train: pd.DataFrame, n: int, seed: int) -> pd.DataFrame:
    """Draw rows so that each class has its share, and two rows at least."""
    if n >= len(train):
        return train
    shuffled = train.sample(frac=1.0, random_state=seed)
    first = shuffled.groupby("label").head(2)
    rest = shuffled.drop(first.index)
    return pd.concat([first, rest.head(max(0, n - len(first)))])


def _fit(family: str, rows: pd.DataFrame, task, seed: int):
    """Fit a family with its defaults."""
    from diptych.mlops import build
    from diptych.mlops.models import model as models
    from diptych.mlops.models.search import Range
    from diptych.mlops.own_models import task_rows

    space = build.space(family, bool(task.columns), task.regression)
    setting = {
        name: one.default if isinstance(one, Range) else one[0] for name, one in space.items()
    }
    return models.fit(
        task_rows(rows, task), rows["label"], family=family, kind=task.kind,
        features=task.features, parameters=setting, seed=seed, columns=task.columns,
    )  # fmt: skip


def _interval(scores: list, metric) -> tuple[float, float]:
    """Return a 95 % interval of the mean over samples of labels.

    Samples and test rows are both drawn with replacement (Owen 2007, "The pigeonhole bootstrap").
    """
    rng = np.random.default_rng(0)
    n, count = len(scores[0]), len(scores)
    if metric.name == "accuracy":
        right = np.array([rows.truth == rows.predicted for rows in scores], dtype=float)
        weights = rng.multinomial(n, np.full(n, 1 / n), size=DRAWS) / n
        by_sample = weights @ right.T  # of each draw of rows, the accuracy of each sample
    else:
        draws = [rng.integers(0, n, n) for _ in range(DRAWS // 10)]
        by_sample = np.array([[metric.estimate(rows.take(one)).value for rows in scores]
                              for one in draws])  # fmt: skip
    picked = rng.integers(0, count, (len(by_sample), count))
    means = np.take_along_axis(by_sample, picked, axis=1).mean(axis=1)
    low, high = np.nanquantile(means, [0.025, 0.975])
    return float(low), float(high)


def _cpu_ms(model, rows: pd.DataFrame) -> list[float]:
    """Return the CPU time of an answer to one row at a time, with its interval, in ms."""
    import time

    from diptych.core.evaluation import stats

    some = rows.head(ALONE)
    spent = []
    for start in range(0, len(some), ALONE // 5):
        part, before = some.iloc[start : start + ALONE // 5], time.process_time()
        for place in range(len(part)):
            model.predict_proba(model.rows_of(part.iloc[place : place + 1]))
        spent.append(1000 * (time.process_time() - before) / len(part))
    each = stats.repeated(spent)
    return [round(value, 4) for value in (each.value, each.low, each.high)]


def _answers(model, data: pd.DataFrame) -> dict[str, list[float]]:
    rows = data[data["split"].isin(["test", "valid", "handwritten"])]
    shares = model.predict_proba(model.rows_of(rows))
    return dict(zip(rows["id"].astype(str), np.round(shares, 3).tolist(), strict=True))


def names() -> Iterator[str]:
    """Return the scenarios of which ways can be measured."""
    return iter(TASKS)


if __name__ == "__main__":
    for one in names():
        print(measure(one))
