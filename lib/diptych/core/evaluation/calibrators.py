"""Maps of a probability to how often it comes true: Platt scaling and isotonic regression.

Platt 1999, "Probabilistic outputs for support vector machines"; Zadrozny and Elkan 2002,
"Transforming classifier scores into accurate multiclass probability estimates". A fitted one is
two lists of numbers, so it is stored as JSON and applied without scikit-learn.
"""

from dataclasses import dataclass

import numpy as np

PLATT, ISOTONIC = "platt", "isotonic"
FOLDS = 5
FEWEST = {PLATT: 20, ISOTONIC: 100}  # rows of the rarer class; of isotonic also ROWS in all
ROWS = 1_000  # with fewer, isotonic regression follows chance
LEAST = 1e-12


@dataclass(frozen=True)
class Calibrator:
    """A fitted map of the probability of one of two classes.

    Attributes
    ----------
    method : str
        `PLATT`: the logit becomes ``x[0] * logit + y[0]``. `ISOTONIC`: the probability is
        interpolated between the points ``x``, ``y``, both rising.
    """

    method: str
    x: tuple[float, ...]
    y: tuple[float, ...]

    def __post_init__(self) -> None:
        points = np.array([self.x, self.y], float)  # refuses lists of different length
        sorted_points = (np.diff(points, axis=1) >= 0).all()
        inside = self.method == PLATT or ((points >= 0) & (points <= 1)).all()
        single = self.method == ISOTONIC or len(self.x) == 1
        known = self.method in (PLATT, ISOTONIC) and len(self.x) and np.isfinite(points).all()
        if not (known and sorted_points and inside and single):
            raise ValueError(f"calibration: {self.method!r} with these numbers is no map")

    def __call__(self, probability: np.ndarray) -> np.ndarray:
        """Return calibrated probabilities, shape (n,)."""
        if self.method == PLATT:
            return _sigmoid(self.x[0] * _logit(probability) + self.y[0])
        return np.interp(probability, self.x, self.y)

    def to_dict(self) -> dict:
        """Return what `Calibrator` takes by name, as JSON holds it."""
        return {"method": self.method, "x": list(self.x), "y": list(self.y)}


def fit(method: str, probability: np.ndarray, yes: np.ndarray) -> Calibrator:
    """Fit a calibrator to held-out rows.

    Parameters
    ----------
    probability : ndarray, shape (n,)
        Of the class.
    yes : ndarray of bool, shape (n,)
        Whether it is the class.
    """
    if method == PLATT:
        from sklearn.linear_model import LogisticRegression

        model = LogisticRegression(C=1e6, max_iter=1000).fit(_logit(probability)[:, None], yes)
        return Calibrator(PLATT, (float(model.coef_[0, 0]),), (float(model.intercept_[0]),))
    from sklearn.isotonic import IsotonicRegression

    least = 1 / (len(yes) + 2)  # never sure of what so few rows cannot show
    model = IsotonicRegression(y_min=least, y_max=1 - least, out_of_bounds="clip")
    model.fit(probability, yes)
    x, y = model.X_thresholds_, model.y_thresholds_
    return Calibrator(ISOTONIC, tuple(x.tolist()), tuple(y.tolist()))


def choose(probability: np.ndarray, yes: np.ndarray, seed: int = 0) -> Calibrator | None:
    """Return the calibrator that is shown to be better than a temperature; None if none is.

    Each is fitted on four fifths of the rows and has its log loss on the others, in turn: the
    paired gain over a temperature must lie above 0 with its whole 95 % interval.
    """
    from sklearn.model_selection import StratifiedKFold

    rare = int(min(yes.sum(), (~yes).sum()))
    able = [PLATT] if rare >= FEWEST[PLATT] else []
    able += [ISOTONIC] if rare >= FEWEST[ISOTONIC] and len(yes) >= ROWS else []
    if not able or np.ptp(probability) == 0:
        return None
    losses = np.zeros((1 + len(able), len(yes)))
    for train, rest in StratifiedKFold(FOLDS, shuffle=True, random_state=seed).split(yes, yes):
        scaled = _sigmoid(_logit(probability[rest]) / _temperature(probability[train], yes[train]))
        losses[0, rest] = _loss(scaled, yes[rest])
        for number, method in enumerate(able, 1):
            mapped = fit(method, probability[train], yes[train])(probability[rest])
            losses[number, rest] = _loss(mapped, yes[rest])
    best = int(losses[1:].mean(axis=1).argmin())
    gain = losses[0] - losses[1 + best]
    if gain.mean() <= 1.96 * gain.std(ddof=1) / np.sqrt(len(yes)):
        return None
    return fit(able[best], probability, yes)


def _temperature(probability: np.ndarray, yes: np.ndarray) -> float:
    from scipy.optimize import minimize_scalar

    logit = _logit(probability)

    def loss(log_temperature: float) -> float:
        return float(_loss(_sigmoid(logit / np.exp(log_temperature)), yes).mean())

    return float(np.exp(minimize_scalar(loss, bounds=(-2, 2), method="bounded").x))


def _loss(probability: np.ndarray, yes: np.ndarray) -> np.ndarray:
    return -np.log(np.clip(np.where(yes, probability, 1 - probability), LEAST, None))


def _logit(probability: np.ndarray) -> np.ndarray:
    inside = np.clip(probability, LEAST, 1 - LEAST)
    return np.log(inside) - np.log1p(-inside)


def _sigmoid(logit: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-np.clip(logit, -700, 700)))
