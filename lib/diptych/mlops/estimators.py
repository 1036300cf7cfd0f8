"""The estimators behind the model families, each saved as arrays or XGBoost UBJSON."""

from pathlib import Path

import numpy as np

# a TF-IDF column is zero nearly everywhere: more bins cost time and change nothing
SPARSE_BINS = 8
# below it, threads spend longer waiting for each other than working
FEW_ROWS = 50_000


class Prior:
    """The baseline: every row gets the class shares of the training rows."""

    def __init__(self, seed: int = 0):
        self.shares = None

    def fit(self, matrix, codes: np.ndarray, classes: int) -> None:
        """Count the classes."""
        self.shares = np.bincount(codes, minlength=classes) / len(codes)

    def predict_proba(self, matrix) -> np.ndarray:
        """Return the shares for each row, shape (n, classes)."""
        return np.tile(self.shares, (matrix.shape[0], 1))

    def save(self, folder: Path) -> None:
        """Write the shares."""
        np.savez(folder / "weights.npz", shares=self.shares)

    @classmethod
    def load(cls, folder: Path) -> "Prior":
        """Rebuild what `save` wrote."""
        estimator = cls()
        estimator.shares = np.load(folder / "weights.npz", allow_pickle=False)["shares"]
        return estimator


class Logistic:
    """Logistic regression with an L2 penalty (scikit-learn), `strength` being its C."""

    def __init__(self, strength: float = 1.0, seed: int = 0):
        self.strength, self.seed = strength, seed

    def fit(self, matrix, codes: np.ndarray, classes: int) -> None:
        """Fit by L-BFGS."""
        from sklearn.linear_model import LogisticRegression

        model = LogisticRegression(C=self.strength, max_iter=2000, random_state=self.seed)
        model.fit(matrix, codes)
        self.weights = model.coef_.T.astype(np.float32)
        self.bias = model.intercept_.astype(np.float32)

    def predict_proba(self, matrix) -> np.ndarray:
        """Return class probabilities, shape (n, classes)."""
        scores = np.asarray(matrix @ self.weights + self.bias, dtype=np.float64)
        if scores.shape[1] == 1:
            scores = np.hstack([np.zeros_like(scores), scores])
        scores = np.exp(scores - scores.max(axis=1, keepdims=True))
        return scores / scores.sum(axis=1, keepdims=True)

    def save(self, folder: Path) -> None:
        """Write weights and bias."""
        np.savez_compressed(folder / "weights.npz", weights=self.weights, bias=self.bias)

    @classmethod
    def load(cls, folder: Path) -> "Logistic":
        """Rebuild what `save` wrote."""
        estimator = cls()
        stored = np.load(folder / "weights.npz", allow_pickle=False)
        estimator.weights, estimator.bias = stored["weights"], stored["bias"]
        return estimator


class Boosted:
    """XGBoost: trees by default, a linear booster as the subclass below."""

    booster = "gbtree"

    def __init__(self, rounds: int = 250, seed: int = 0, **parameters):
        self.rounds = rounds
        self.parameters = {"booster": self.booster, "seed": seed, "verbosity": 0, **parameters}

    def fit(self, matrix, codes: np.ndarray, classes: int) -> None:
        """Boost for `rounds` rounds."""
        import xgboost

        goal = (
            {"objective": "binary:logistic"}
            if classes == 2
            else {"objective": "multi:softprob", "num_class": classes}
        )
        settings = {"max_bin": SPARSE_BINS} if hasattr(matrix, "tocsr") else {}
        if matrix.shape[0] < FEW_ROWS:
            settings["nthread"] = 1
        data = xgboost.DMatrix(matrix, codes)
        self.model = xgboost.train({**settings, **self.parameters, **goal}, data, self.rounds)

    def predict_proba(self, matrix) -> np.ndarray:
        """Return class probabilities, shape (n, classes)."""
        scores = np.asarray(self._scores(matrix), dtype=np.float64)
        return np.column_stack([1 - scores, scores]) if scores.ndim == 1 else scores

    def _scores(self, matrix):
        return self.model.inplace_predict(matrix)

    def save(self, folder: Path) -> None:
        """Write UBJSON."""
        self.model.save_model(folder / "model.ubj")

    @classmethod
    def load(cls, folder: Path) -> "Boosted":
        """Rebuild what `save` wrote."""
        import xgboost

        estimator = cls()
        estimator.model = xgboost.Booster(model_file=folder / "model.ubj")
        return estimator


class BoostedLinear(Boosted):
    """XGBoost's linear booster: an elastic-net linear model fitted by coordinate descent."""

    booster = "gblinear"

    def __init__(self, rounds: int = 30, seed: int = 0, **parameters):
        super().__init__(rounds, seed, updater="coord_descent", **parameters)

    def _scores(self, matrix):
        import xgboost

        return self.model.predict(xgboost.DMatrix(matrix))


ESTIMATORS = {
    "baseline": Prior,
    "logistic": Logistic,
    "xgboost": Boosted,
    "xgboost_linear": BoostedLinear,
}
