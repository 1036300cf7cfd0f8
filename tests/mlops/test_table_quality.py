"""On tables as people have them, the best trained model ranks as a tuned pipeline does."""

import pandas as pd
import pytest
from sklearn.compose import make_column_transformer
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, StandardScaler

from diptych.core.data import stratify
from diptych.core.data.column import CATEGORY, TEXT, TIME
from diptych.core.data.generators import tables
from diptych.core.data.tasks import Task
from diptych.core.data.typing import infer, label_column
from diptych.mlops import build

LABELS = {"churn": "churned", "claims": "fraud"}
MARGIN = 0.01


def task_of(name: str):
    """Return a generated table as a task, and its rows."""
    raw, label = getattr(tables, name)(), LABELS[name]
    typed = infer(raw, exclude=[label])
    frame = typed.read(raw)
    labels = label_column(raw[label], label)[0].read_series(raw[label])
    ids = [str(row) for row in range(len(frame))]
    units = pd.util.hash_array(pd.Series(ids).to_numpy(dtype=object))
    split = stratify.assign(units, labels.to_numpy(dtype=object), 0).split
    data = frame.assign(id=ids, label=labels, slice="", split=split)
    features = [column.name for column in typed.columns]
    return Task(name, "table", features, "", lambda _: data, columns=tuple(typed.columns)), data


def references(task: Task, data) -> dict[str, float]:
    """Return the areas of scikit-learn's pipelines, their settings tuned by hand."""
    features = data[task.features].copy()
    names = [c.name for c in task.columns if c.kind in (CATEGORY, TEXT)]
    numbers = [name for name in task.features if name not in names]
    for column in task.columns:
        values = features[column.name]
        if column.kind == TIME:
            features[column.name] = values.astype("int64") / 8.64e10
        elif column.name in names:
            features[column.name] = values.astype(object).where(values.notna(), "?")
        else:
            features[column.name] = values.astype("Float64").astype("float64")
    scaled = make_pipeline(SimpleImputer(add_indicator=True), StandardScaler())
    onehot = OneHotEncoder(handle_unknown="ignore", min_frequency=2)
    codes = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1, max_categories=60)
    pipelines = {
        "logistic": make_pipeline(
            make_column_transformer((scaled, numbers), (onehot, names)),
            LogisticRegression(C=0.3, max_iter=2_000),
        ),
        "trees": make_pipeline(
            make_column_transformer(("passthrough", numbers), (codes, names)),
            HistGradientBoostingClassifier(
                max_depth=3, learning_rate=0.06, max_iter=150, random_state=0
            ),
        ),
    }
    train, test = (data["split"] == name for name in ("train", "test"))
    yes = data["label"] == "yes"
    return {
        name: roc_auc_score(
            yes[test],
            pipeline.fit(features[train], yes[train]).predict_proba(features[test])[:, 1],
        )
        for name, pipeline in pipelines.items()
    }


@pytest.mark.parametrize("name", LABELS)
def test_the_best_model_is_within_the_margin_of_a_tuned_pipeline(name):
    task, data = task_of(name)
    test = build.part(data, "test")
    areas = {}
    for family in ("logistic", "xgboost"):
        model, _ = build.tune(data, task, family, 1, 0)
        shares = model.predict_proba(model.rows_of(test))[:, model.classes.index("yes")]
        areas[family] = roc_auc_score(test["label"] == "yes", shares)
    theirs = references(task, data)
    assert max(areas.values()) >= max(theirs.values()) - MARGIN, (areas, theirs)
    assert areas["xgboost"] >= theirs["trees"] - MARGIN, (areas, theirs)
    assert areas["logistic"] >= theirs["logistic"] - MARGIN, (areas, theirs)
