"""Model families that plugins add: a function that returns a scikit-learn estimator."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from diptych.base import plugins
from diptych.base.plugins import PluginError

KINDS = ("text", "table", "image")
# families that come with Diptych, see `diptych.mlops.models.model`
TAKEN = ("auto", "baseline", "logistic", "embeddings", "xgboost", "xgboost_linear", "cnn", "ridge",
         "lead", "ranker", "own")  # fmt: skip


@dataclass(frozen=True)
class Added:
    """A family of a plugin.

    Attributes
    ----------
    name : str
    make : callable
        Returns an unfitted estimator; takes the settings by name, and ``seed`` if it has one.
    kinds : tuple of str
        The data that it suits, of `KINDS`.
    settings : mapping of str to list
        What is tuned; the first of each list is the default.
    numbers : bool
        Whether it predicts numbers, in place of classes.
    trusted : tuple of str
        Types of its package that a saved model may hold.

    Raises
    ------
    PluginError
        If `make` is no function, or a kind or a list of settings is none.
    """

    name: str
    make: Callable[..., Any]
    kinds: tuple[str, ...] = KINDS
    settings: Mapping[str, Sequence] = field(default_factory=dict, hash=False)
    numbers: bool = False
    trusted: tuple[str, ...] = ()

    def __post_init__(self):
        if not callable(self.make):
            raise PluginError(
                f"estimator: {self.name!r} is no function that returns an unfitted estimator"
            )
        if not self.kinds or set(self.kinds) - set(KINDS):
            raise PluginError(
                f"estimator: {self.name!r} suits {', '.join(self.kinds) or 'nothing'}; there are "
                f"{', '.join(KINDS)}"
            )
        for setting, values in self.settings.items():
            if isinstance(values, str) or not isinstance(values, Sequence) or not len(values):
                raise PluginError(
                    f"estimator: {self.name!r} has {setting}={values!r}; give a list of values, "
                    "the default first"
                )

    def new(self, setting: Mapping[str, Any], seed: int) -> Any:
        """Return an unfitted estimator."""
        import inspect

        takes = inspect.signature(self.make).parameters
        seeded = {"seed": seed} if "seed" in takes else {}
        return self.make(**setting, **seeded)


def read_added(name: str, entry: object) -> Added:
    """Return the family that a package's entry point gives: one, its function, or its class.

    Raises
    ------
    PluginError
        If it is none of these.
    """
    return entry if isinstance(entry, Added) else Added(name, entry)  # type: ignore[arg-type]


FAMILIES: plugins.Registry[Added] = plugins.Registry("estimator", {}, read_added, taken=TAKEN)


def suiting(kind: str, regression: bool) -> tuple[str, ...]:
    """Return the names of those that suit a kind of data."""
    return tuple(
        name
        for name, family in FAMILIES.items()
        if kind in family.kinds and family.numbers == regression
    )


def trusted() -> tuple[str, ...]:
    """Return the types that plugins trust in a saved model."""
    return tuple(name for family in FAMILIES.values() for name in family.trusted)
