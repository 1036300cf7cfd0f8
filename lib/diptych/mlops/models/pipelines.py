"""Pipelines that a notebook spells out: what of them is tuned, and which family fits the same.

A pipeline runs as it stands. One whose parts are those of a family of the same name is fitted by
that family, from the same vectorizer, estimator and settings: it is then saved as plain arrays,
served without scikit-learn, and a setting fitted before is not fitted again.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from diptych.mlops.models.estimators import SPARSE_BINS, ModelError
from diptych.mlops.models.networks import is_network, layers_of
from diptych.mlops.models.search import Range, Space

ADDRESS = re.compile(r" at 0x[0-9a-f]+")  # by which Python tells objects apart
# of the last step: its parameter, and what the family calls it
LOGISTIC = {"C": "strength", "class_weight": "class_weight"}
RIDGE = {"alpha": "strength"}
TREES = {
    "n_estimators": "rounds", "max_depth": "max_depth", "learning_rate": "learning_rate",
    "min_child_weight": "min_child_weight", "colsample_bytree": "colsample_bytree",
    "subsample": "subsample", "reg_lambda": "reg_lambda",
}  # fmt: skip
NAMES = {
    "LogisticRegression": ("logistic", LOGISTIC), "Ridge": ("ridge", RIDGE),
    "XGBClassifier": ("xgboost", TREES), "XGBRegressor": ("xgboost", TREES),
}  # fmt: skip
# what else may be set of the last step, and to what, without a difference to the family
ELSE = {
    "logistic": {"max_iter": (2000,)},
    "ridge": {},
    "xgboost": {"n_jobs": None, "early_stopping_rounds": None, "max_bin": (SPARSE_BINS,)},
}


@dataclass(frozen=True)
class Candidate:
    """An unfitted estimator that takes part in a search.

    Attributes
    ----------
    name : str
    estimator : object
        With scikit-learn's interface, such as a ``Pipeline``; it is never fitted itself.
    settings : mapping or None
        What is searched, by names of the estimator's ``set_params``, or of its family; None leaves
        it to the family.
    family : str
        The family that fits the same, "" where there is none.
    """

    name: str
    estimator: Any = field(repr=False)
    settings: Space | None = field(default_factory=dict, hash=False)
    family: str = ""

    def new(self, setting: Mapping[str, Any], seed: int) -> Any:
        """Return an unfitted copy with a setting; where it is random, with the seed."""
        from sklearn.base import clone

        copy = clone(self.estimator)
        unset = [
            name
            for name, value in copy.get_params().items()
            if value is None and name.rpartition("__")[2] == "random_state"
        ]
        return copy.set_params(**dict.fromkeys(unset, seed), **setting)


def candidates(
    pipelines: Mapping[str, Any], spaces: Mapping[str, Mapping], kind: str, numbers: bool = False
) -> dict[str, Candidate]:
    """Return what takes part in a search, by name.

    Parameters
    ----------
    pipelines : mapping of str to estimator
        Unfitted.
    spaces : mapping of str to mapping
        Of some of them: Optuna's distributions, or lists, by parameter; the estimator's own values
        are the defaults, which are tried first.
    kind : str
        The task's.
    numbers : bool
        Whether the label is a number: then regressors take part, else all others.

    Raises
    ------
    ModelError
        If an entry is no estimator, a space belongs to none or names no parameter of it, or does
        not hold its default.
    """
    from sklearn.base import is_regressor

    if unknown := sorted(set(spaces) - set(pipelines)):
        raise ModelError(
            f"spaces: {unknown[0]!r} is none of the pipelines {', '.join(pipelines) or '(none)'}"
        )
    read = {
        name: _candidate(name, one, spaces.get(name, {}), kind) for name, one in pipelines.items()
    }
    return {
        name: one
        for name, one in read.items()
        if numbers == (not is_network(one.estimator) and is_regressor(one.estimator))
    }


def _candidate(name: str, estimator: Any, space: Mapping, kind: str) -> Candidate:
    if is_network(estimator):
        return _network(name, estimator, kind)
    if not hasattr(estimator, "fit") or not hasattr(estimator, "get_params"):
        raise ModelError(
            f"pipelines: {name!r} is a {type(estimator).__name__}; give an unfitted estimator with "
            "fit and get_params, such as make_pipeline(...)"
        )
    values = estimator.get_params()
    if unknown := sorted(set(space) - set(values)):
        last = sorted(key for key in values if key.startswith(unknown[0].partition("__")[0]))
        near = f"; it has {', '.join(last[:8])}" if last else ""
        raise ModelError(f"spaces: {name!r} has no parameter {unknown[0]!r}{near}")
    settings = {key: _searched(name, key, values[key], over) for key, over in space.items()}
    same = _as_family(name, estimator, settings, kind)
    return Candidate(name, estimator, settings) if same is None else same


def _network(name: str, network: Any, kind: str) -> Candidate:
    """Return the candidate of a network of torch, fitted as the family ``cnn`` is."""
    if name != "cnn" or kind != "image":
        raise ModelError(
            f"pipelines: {name!r} is a network of torch; it reads images, under the name 'cnn'"
        )
    learning = Range(0.002, 0.0005, 0.008)
    return Candidate(name, network, {"layers": [layers_of(network)], "learning_rate": learning},
                     name)  # fmt: skip


def _searched(name: str, key: str, default: Any, over: Any) -> Range | list:
    """Return Optuna's distribution, or a list, as a search takes it."""
    if hasattr(over, "low") and hasattr(over, "high"):
        whole = type(over).__name__ == "IntDistribution"
        if default is None or not over.low <= default <= over.high:
            raise ModelError(
                f"spaces: {key} of {name!r} is {default} in its pipeline, outside {over.low} to "
                f"{over.high}; the pipeline's value is tried first, so let the space hold it"
            )
        return Range(int(default) if whole else float(default), over.low, over.high, over.log)
    choices = list(getattr(over, "choices", over))
    if not choices:
        raise ModelError(f"spaces: {key} of {name!r} has no value to try")
    return [default, *(x for x in choices if x != default)] if default in choices else choices


def _as_family(name: str, estimator: Any, settings: Space, kind: str) -> Candidate | None:
    """Return the candidate of the family that fits the same, None if the pipeline is another."""
    steps = getattr(estimator, "steps", ())
    if len(steps) != 2:
        return None
    (_, features), (prefix, last) = steps
    family, names = NAMES.get(type(last).__name__, ("", {}))
    if family != name or _written(features) not in _features(family, kind):
        return None
    changed = _changed(last)
    searched = {key.removeprefix(f"{prefix}__"): over for key, over in settings.items()}
    if not _same_apart_from(names, family, changed) or set(searched) - set(names):
        return None
    values = {key: last.get_params()[key] for key in (*names, "n_estimators") if key in changed}
    if family == "xgboost":
        values.setdefault("n_estimators", 100)  # XGBoost's default, which is not the family's
    setting = {
        called: searched.get(key, [values.get(key)])
        for key, called in names.items()
        if key in searched or key in values
    }
    return Candidate(name, estimator, setting, family)


def _same_apart_from(names: Mapping[str, str], family: str, changed: Mapping[str, Any]) -> bool:
    """Whether what is set of a last step, apart from these parameters, is what the family has."""
    others = {key: value for key, value in changed.items() if key not in names}
    needed = {"logistic": "max_iter", "xgboost": "early_stopping_rounds"}.get(family)
    allowed = ELSE[family]
    return (needed is None or bool(others.get(needed))) and all(
        key in allowed and (allowed[key] is None or value in allowed[key])
        for key, value in others.items()
    )


def _changed(step: Any) -> dict[str, Any]:
    """Return the parameters of a step that are not its defaults."""
    defaults = type(step)().get_params()
    return {
        key: value
        for key, value in step.get_params().items()
        if value != defaults.get(key) and value == value  # NaN stands for a missing value
    }


def _written(step: Any) -> str:
    """Return how scikit-learn writes a step, whole; of selectors of columns what they select."""
    try:
        text = step.__repr__(N_CHAR_MAX=1_000_000)
    except TypeError:  # it is none of scikit-learn's
        return ""
    selectors = [where for *_, where in getattr(step, "transformers", ()) if callable(where)]
    return f"{ADDRESS.sub('', text)} {[vars(selector) for selector in selectors]}"


def _features(family: str, kind: str) -> set[str]:
    """Return how the features are written that a family has, too."""
    if kind != "text":
        return {_written(table_columns())}
    words, letters = text_features()
    if family == "xgboost":
        return {_written(words)}
    from sklearn.pipeline import make_union

    return {_written(make_union(words, letters))}


def text_features() -> tuple[Any, Any]:
    """Return scikit-learn's vectorizers that give what `TextFeatures` does: words and letters."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    words = TfidfVectorizer(
        token_pattern=r"[\w']+|[!?]", ngram_range=(1, 2), min_df=2, sublinear_tf=True
    )
    letters = TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 5), min_df=3, sublinear_tf=True)
    return words, letters


def table_columns() -> Any:
    """Return scikit-learn's transformer of columns that stands for what tables are encoded by."""
    from sklearn.compose import make_column_selector, make_column_transformer
    from sklearn.impute import SimpleImputer
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    numbers = make_pipeline(SimpleImputer(keep_empty_features=True), StandardScaler())
    return make_column_transformer(
        (numbers, make_column_selector(dtype_include="number")),
        (OneHotEncoder(handle_unknown="ignore"), make_column_selector(dtype_exclude="number")),
    )
