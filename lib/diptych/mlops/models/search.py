"""Which settings of a family to try: the defaults, then what Optuna proposes from their scores."""

import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

STARTUP = 6  # settings spread evenly before the scores count
REPEATS = 50  # proposals in a row that were tried already: nothing else is left


@dataclass(frozen=True)
class Range:
    """Numbers to draw from; whole ones if the default is one.

    Attributes
    ----------
    default, low, high : float or int
        Both ends are drawn, too.
    log : bool
        Whether as many are drawn from 1 to 10 as from 10 to 100.
    """

    default: float
    low: float
    high: float
    log: bool = True


Space = Mapping[str, Range | Sequence]  # of a list, the first entry is the default


class Search:
    """Settings one by one: ask for one, tell its score.

    By Optuna: the first are spread evenly (a scrambled Sobol sequence), then the tree-structured
    Parzen estimator proposes (Bergstra et al. 2011, "Algorithms for hyper-parameter optimization";
    Watanabe 2023, arXiv 2304.11127). Seeded: equal scores give equal settings. None is tried twice.

    Parameters
    ----------
    space : Space
    trials : int
        At most so many settings; fewer if there are no more.
    seed : int
    """

    def __init__(self, space: Space, trials: int, seed: int):
        self.space, self.seed = dict(space), seed
        self.trials = min(trials, _size(self.space))
        self._scores: dict[str, float] = {}
        self._study = self._trial = None

    def ask(self) -> dict | None:
        """Return the next setting, None if there is none."""
        if len(self._scores) >= self.trials:
            return None
        if not self._scores:
            return {name: _default(values) for name, values in self.space.items()}
        for _ in range(REPEATS):
            self._trial = self._proposals().ask(self._distributions())
            setting = {name: _short(self._trial.params[name]) for name in self.space}
            if str(setting) not in self._scores:
                return setting
            self._tell(self._scores[str(setting)])
        self.trials = len(self._scores)
        return None

    def tell(self, setting: dict, score: float) -> None:
        """Give the score of the setting that `ask` returned last; NaN where it failed."""
        self._scores[str(setting)] = score
        if self._trial is not None:
            self._tell(score)
        elif self.trials > 1:
            self._first = setting, score

    def _proposals(self):
        """Return Optuna's study, which knows the defaults and their score."""
        if self._study is None:
            import optuna

            optuna.logging.set_verbosity(optuna.logging.WARNING)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
                spread = optuna.samplers.QMCSampler(
                    seed=self.seed, scramble=True, warn_independent_sampling=False
                )
                self._sampler = optuna.samplers.TPESampler(
                    seed=self.seed, multivariate=True, n_startup_trials=0
                )
            self._study = optuna.create_study(direction="maximize", sampler=spread)
            self._study.enqueue_trial(self._first[0])
            self._trial = self._study.ask(self._distributions())
            self._tell(self._first[1])
        elif len(self._study.trials) >= STARTUP:
            self._study.sampler = self._sampler
        return self._study

    def _distributions(self) -> dict:
        from optuna import distributions

        drawn = {}
        for name, values in self.space.items():
            if not isinstance(values, Range):
                drawn[name] = distributions.CategoricalDistribution(tuple(values))
            elif isinstance(values.default, int):
                drawn[name] = distributions.IntDistribution(values.low, values.high, values.log)
            else:
                drawn[name] = distributions.FloatDistribution(values.low, values.high, values.log)
        return drawn

    def _tell(self, score: float) -> None:
        from optuna.trial import TrialState

        failed = math.isnan(score)
        state = TrialState.FAIL if failed else TrialState.COMPLETE
        self._study.tell(self._trial, None if failed else score, state)
        self._trial = None


def _size(space: Space) -> float:
    """Return how many settings there are, infinity where numbers are drawn."""
    if any(isinstance(values, Range) for values in space.values()):
        return math.inf
    return math.prod(len(values) for values in space.values())


def _default(values):
    return values.default if isinstance(values, Range) else values[0]


def _short(value):
    """Return a number with three digits, which are enough to tell settings apart."""
    return float(f"{value:.3g}") if isinstance(value, float) else value
