"""Small samples of the built-in tasks and models fitted on them, made once a session.

The frames are shared: a test that changes one works on a copy.
"""

import functools
import json

import minilm
import pandas as pd

from diptych.base import hashing
from diptych.core.data import tasks
from diptych.mlops import build
from diptych.mlops.models import model as models

ROWS = {"train": 1_500, "valid": 400, "test": 500, "live": 3_600}
# enough to learn from, little enough for a test
QUICK = {"xgboost": {"rounds": 30}, "xgboost_linear": {"rounds": 5}, "cnn": {"epochs": 3}}
TASKS = {"text": "reviews", "table": "tumours", "image": "digits"}
CASES = [
    (kind, family)
    for kind, known in models.FAMILIES.items()
    for family in known
    if family != "embeddings" or not minilm.REASON  # it cannot be fitted where there is no encoder
]


@functools.cache
def sample(task: str) -> pd.DataFrame:
    """Return some canonical rows of a built-in task, every slice and month among them."""
    rows = tasks.get(task).load()
    parts = [
        part.sample(min(len(part), ROWS[split]), random_state=0)
        for split, part in rows.groupby("split")
        if split in ROWS
    ]
    return pd.concat(parts).sort_values("id", ignore_index=True)


@functools.cache
def fitted(kind: str, family: str) -> models.Model:
    """Return a quickly fitted model of a family, calibrated."""
    task = tasks.get(TASKS[kind])
    data = sample(task.name)
    train, valid = build.part(data, "train"), build.part(data, "valid")
    model = models.fit(
        build.task_rows(train, task),
        train["label"],
        family=family,
        kind=kind,
        features=task.features,
        parameters=QUICK.get(family, {}),
    )
    model.calibrate(build.task_rows(valid, task), valid["label"])
    return model


def inputs(kind: str, split: str = "test"):
    """Return what a model of this kind reads of one split, and the labels."""
    task = tasks.get(TASKS[kind])
    rows = build.part(sample(task.name), split)
    return build.task_rows(rows, task), rows["label"]


def reseal(folder, **changes) -> None:
    """Change facts of a saved model's card, and make its checksum right again."""
    card = json.loads((folder / "model.json").read_text()) | changes
    card.pop("card", None)
    (folder / "model.json").write_text(json.dumps(card | {"card": hashing.of_json(card)}))
