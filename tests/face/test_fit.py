"""`dt.fit` takes any estimator of scikit-learn's interface; what it fits is saved and loaded."""

import numpy as np
import pandas as pd
import pytest
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import HistGradientBoostingClassifier, VotingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder
from sklearn.svm import LinearSVC
from xgboost import XGBClassifier

import diptych as dt
from diptych.mlops.models import model as models

COLUMNS = ColumnTransformer(
    [("plan", OneHotEncoder(handle_unknown="ignore"), ["plan"])], remainder="passthrough"
)
ESTIMATORS = {
    "boosted trees, which take no text labels": XGBClassifier(n_estimators=5, n_jobs=1),
    "histograms": HistGradientBoostingClassifier(max_iter=5),
    "a search": GridSearchCV(LogisticRegression(), {"C": [0.1, 1.0]}, cv=3),
    "a vote": VotingClassifier([("a", GaussianNB()), ("b", LogisticRegression())], voting="soft"),
    "without probabilities": LinearSVC(),
}


@pytest.fixture(scope="module")
def task():
    draw = np.random.default_rng(0)
    age, plan = draw.normal(45, 12, 300).round(1), draw.choice(["basic", "pro"], 300)
    stays = age / 20 + (plan == "pro") + draw.normal(0, 0.4, 300) > 2.7
    frame = pd.DataFrame({"age": age, "plan": plan, "churn": np.where(stays, "stays", "leaves")})
    return dt.Task.from_frame(frame, label_column="churn", name="plans")


@pytest.mark.parametrize("name", ESTIMATORS)
def test_any_estimator_behind_a_column_transformer(name, task, tmp_path):
    model = dt.fit(make_pipeline(COLUMNS, ESTIMATORS[name]), task)
    assert model.score.value > 0.7
    rows = task.load().head(20)
    predicted = list(model.predict(rows))
    assert set(predicted) <= {"stays", "leaves"}
    model.save(tmp_path)
    assert list(models.load(tmp_path).predict(rows)) == predicted
    assert "<img" in model._repr_html_()
