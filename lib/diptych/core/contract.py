"""Every value, fact and table that our notebooks record, declared once.

A notebook records against its contract (`diptych.core.store.records`), and later stages and the
report ask for what is declared here: a name that only one of them knows is an error, so that a
renamed value cannot pass for one that was not measured. A notebook without a contract records
whatever it likes.
"""

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cached_property
from types import UnionType
from typing import Any

from diptych.base.errors import Plain
from diptych.execution.notebooks import nearest

MLOPS, LLMOPS = PANELS = ("mlops", "llmops")
STAGES = ("1_data", "2_build", "3_release", "4_serve", "5_monitor", "6_improve")
DATA, BUILD, RELEASE, SERVE, MONITOR, IMPROVE = STAGES
OUTCOMES = ("MLOps", "LLMOps", "tie", "inconclusive", "not measured")  # of a dimension


class RecordError(Plain, LookupError):
    """A run or a recorded name is not there; the message says what is, or how to make it."""


@dataclass(frozen=True)
class Value:
    """One figure, or a family of figures whose name has one part in braces.

    Attributes
    ----------
    name : str
        As it is recorded: ``"size_mb"``, or a pattern such as ``"accuracy of {name}"``.
    meaning : str
        A phrase that pages show in place of the name, with the same part in braces if it has one.
    unit : str
        Such as ``"ms"``; "" for a count, a share or a yes or no.
    kind : type
        ``float``, ``int`` or ``bool``. None is recorded for what could not be measured.
    interval : bool
        Whether it comes with its 95 % interval.
    always : bool
        Whether every complete run has it; no pattern is asked for.
    """

    name: str
    meaning: str
    unit: str = ""
    kind: type = float
    interval: bool = False
    always: bool = True

    @cached_property
    def placeholder(self) -> str:
        """The part in braces, "" if there is none."""
        match = re.search(r"\{\w+\}", self.name)
        return match[0] if match else ""

    def part(self, name: str) -> str | None:
        """Return what stands for the part in braces in a recorded name, None for another name."""
        if not self.placeholder:
            return "" if name == self.name else None
        before, after = self.name.split(self.placeholder)
        inside = name.startswith(before) and name.endswith(after)
        return (name[len(before) : len(name) - len(after)] or None) if inside else None

    def label(self, name: str) -> str:
        """Return the meaning of a name that is recorded under this one."""
        part = self.part(name) or ""
        return self.meaning.replace(self.placeholder, part) if self.placeholder else self.meaning

    def check(self, value: Any, low: Any, high: Any) -> None:
        """Refuse a figure of another kind, or one whose interval is missing or unexpected.

        Raises
        ------
        RecordError
        """
        if value is None:
            return
        kinds = (int, float) if self.kind is float else self.kind
        if not isinstance(value, kinds) or (isinstance(value, bool) and self.kind is not bool):
            raise RecordError(
                f"{self.name}: {value!r} is {type(value).__name__}; "
                f"it is declared as {self.kind.__name__}"
            )
        if self.interval != (low is not None and high is not None):
            word = "with" if self.interval else "without"
            raise RecordError(f"{self.name}: it is declared {word} an interval; got {low}, {high}")


@dataclass(frozen=True)
class Fact:
    """Plain JSON for a later stage or the report.

    Attributes
    ----------
    name, meaning : str
    kind : type or union of types
    """

    name: str
    meaning: str
    kind: type | UnionType = str


@dataclass(frozen=True)
class Table:
    """A table in the run's folder.

    Attributes
    ----------
    name, meaning : str
    columns : tuple of str
        Those that must be there; it may have more.
    """

    name: str
    meaning: str
    columns: tuple[str, ...]


@dataclass(frozen=True)
class Contract:
    """What one notebook records.

    Attributes
    ----------
    notebook : str
        Such as ``"mlops/2_build"``.
    values, facts, tables : tuple
    parameters : tuple of str
        Those of its parameters that a later stage or the report reads.
    """

    notebook: str
    values: tuple[Value, ...]
    facts: tuple[Fact, ...] = ()
    tables: tuple[Table, ...] = ()
    parameters: tuple[str, ...] = ()

    def value(self, name: str) -> Value:
        """Return the declaration that a recorded name falls under.

        Raises
        ------
        RecordError
            If there is none; names the nearest.
        """
        for value in self.values:
            if value.part(name) is not None:
                return value
        raise self._unknown(name, "value", [value.name for value in self.values])

    def fact(self, name: str) -> Fact:
        """Return a fact's declaration; raises as `value` does."""
        return self._named(name, "fact", (*self.facts, PARAMETERS))

    def table(self, name: str) -> Table:
        """Return a table's declaration; raises as `value` does."""
        return self._named(name, "table", self.tables)

    def parameter(self, name: str) -> str:
        """Return the name of a parameter that may be read; raises as `value` does."""
        if name not in self.parameters:
            raise self._unknown(name, "parameter to read", self.parameters)
        return name

    def check_fact(self, name: str, content: Any) -> None:
        """Refuse a fact that is not declared, or of another kind; raises `RecordError`."""
        kind = self.fact(name).kind
        if not isinstance(content, kind):
            named = getattr(kind, "__name__", str(kind))
            raise RecordError(
                f"{name}: {content!r} is {type(content).__name__}; "
                f"{self.notebook} declares it as {named}"
            )

    def check_columns(self, name: str, columns: Collection[str]) -> None:
        """Refuse a table that is not declared, or lacks a column; raises `RecordError`."""
        missing = [column for column in self.table(name).columns if column not in columns]
        if missing:
            raise RecordError(
                f"{name}: this table of {self.notebook} lacks {', '.join(missing)}; "
                f"it has {', '.join(map(str, columns)) or 'no columns'}"
            )

    def missing(
        self, values: Collection[str], facts: Collection[str], tables: Collection[str]
    ) -> list[str]:
        """Return the names that a complete run must have and that are not among these."""
        always = [v.name for v in self.values if v.always and not v.placeholder]
        return [
            *(name for name in always if name not in values),
            *(fact.name for fact in self.facts if fact.name not in facts),
            *(table.name for table in self.tables if table.name not in tables),
        ]

    def _named(self, name: str, what: str, known: tuple) -> Any:
        for one in known:
            if one.name == name:
                return one
        raise self._unknown(name, what, [one.name for one in known])

    def _unknown(self, name: str, what: str, known: Collection[str]) -> RecordError:
        return RecordError(
            f"{name}: {self.notebook} declares no such {what}. {nearest(name, known)}"
            f"It declares {', '.join(known) or 'none'}"
        )


# What several notebooks record means the same in each of them.
SCORE = Value("score", "the metric on the test set", interval=True)
ACCURACY_OF = Value(
    "accuracy of {name}", "share of right answers of {name} on the test set", interval=True
)
SCORE_OF = Value("score of {name}", "the metric of {name} on the test set", interval=True)
HAND_WRITTEN_OF = Value(
    "hand-written, {name}", "the metric of {name} on the hand-written test set", interval=True
)
DROP_UNDER = Value(
    "accuracy drop under {perturbation}", "accuracy drop under {perturbation}", interval=True
)
RISE_UNDER = Value(
    "error rise under {perturbation}", "rise of the mean absolute error under {perturbation}",
    interval=True,
)  # fmt: skip
WORSE_UNDER = Value(
    "quality drop under {perturbation}",
    "how much worse the metric gets under {perturbation}, where it is not the accuracy",
    interval=True,
)
ANSWER_INSTABILITY = Value(
    "answer_instability", "answer instability: share of rows whose answer changes when repeated",
    interval=True,
)  # fmt: skip
VALIDATION = Value(
    "validation", "quality on the validation set, of what was selected", always=False
)
OWN_METRIC = Value("own metric, {name}", "a metric of your own, {name}", interval=True)
CALIBRATION_ERROR = Value(
    "calibration_error", "calibration error, the bias of few rows taken out", interval=True
)
COVERAGE = Value(
    "interval coverage of {name}", "share of true numbers in the prediction interval of {name}",
    interval=True,
)  # fmt: skip
PROMOTED = Value("promoted", "promoted to champion", kind=bool)
SIZE = Value("size_mb", "size of the model", "MB")
CPU_PER_REQUEST = Value("cpu_ms_per_request", "CPU time of a request", "ms")
MEMORY = Value("memory_mb", "memory while serving", "MB")
REQUESTS = Value("requests", "requests sent", kind=int)
FAILED = Value("failed", "failed requests", kind=int)
P50 = Value("p50_ms", "latency, p50", "ms")
P95 = Value("p95_ms", "latency, p95", "ms")
P99 = Value("p99_ms", "latency, p99", "ms")
# of one request at a time: none waits for another, as it does where many are under way
SERVICE_P50, SERVICE_P95, SERVICE_P99 = (
    Value(f"service_p{percent}_ms", f"service time, p{percent}: one request at a time", "ms")
    for percent in (50, 95, 99)
)
QUEUEING = Value("queueing_p50_ms", "queueing time, p50: what others under way add", "ms")
BETWEEN_TOKENS = Value("between_tokens_p50_ms", "time between tokens, p50", "ms")
FIRST_TOKEN = Value("first_token_p50_ms", "time to first token (TTFT), p50", "ms")
THROUGHPUT = Value("requests_per_s", "throughput in requests a second")
WINDOWS = Value("windows", "windows watched", kind=int)
ALARMS = Value("alarms", "windows with a drift alarm", kind=int)
QUALITY_ALARMS = Value("quality_alarms", "windows with a quality alarm", kind=int)
REFERENCE = Value("reference", "the metric of the served version on the test set", interval=True)
TRUE_BEFORE, TRUE_SINCE, ESTIMATED_BEFORE, ESTIMATED_SINCE = (
    Value(
        f"{kind} score {when} alarm",
        f"{'the metric' if kind == 'true' else 'estimated accuracy'} {when} the drift alarm",
        interval=True,
        always=False,
    )
    for kind in ("true", "estimated")
    for when in ("before", "since")
)
CHAMPION = Value("champion", "the metric of the champion on later windows", interval=True)
CHALLENGER = Value("challenger", "the metric of the challenger on later windows", interval=True)
CHAMPION_AFTERWARDS = Value(
    "champion afterwards", "the metric of the champion after the decision", interval=True,
    always=False,
)  # fmt: skip
CHALLENGER_AFTERWARDS = Value(
    "challenger afterwards", "the metric of the challenger after the decision", interval=True,
    always=False,
)  # fmt: skip
RECOVERED = Value("recovered", "share of the lost metric that came back", always=False)
LABELS = Value("labels", "new labels used to react to drift", "labels", kind=int)
MINUTES = Value("minutes", "time to train", "min")
USD = Value("usd", "cost of all calls", "USD")
TRAIN_ROWS = Value("train_rows", "rows of the training set", kind=int)

NAME = Fact("name", "name of the task")
VERSION = Fact("version", "version in the registry", int)
WAS_PROMOTED = Fact("promoted", "whether it was promoted to champion", bool)
ENDPOINT = Fact("endpoint", "name under which the ledger has the predictions")
DRIFT_ALARM = Fact("drift_alarm", "window of the first drift alarm", str | None)
ALARMED = Fact("alarmed_windows", "windows with a drift alarm", list)
QUALITY_ALARM = Fact("quality_alarm", "window in which the metric was shown to fall", str | None)
MEANING_ALARM = Fact(
    "meaning_alarm", "first window whose texts mean other things; none, too, where not measured",
    str | None,
)  # fmt: skip
METRIC = Fact("metric", "what selects, gates and monitors, such as accuracy or f1:yes")
FAMILY = Fact("family", "family of the selected model")
VARIANT = Fact("name", "name of the selected prompt with its settings")
EXAMPLES_SHOWN = Fact("examples_shown", "number of examples in the prompt of each variant", dict)
TUNED = Fact("tuned", "labels and metric of the tuned model on the test set, or empty", dict)
PARAMETERS = Fact("parameters", "the notebook's parameters", dict)  # every notebook has it

ANSWERS = (
    "variant", "id", "repeat", "output", "predicted", "expected", "score", "correct", "confidence",
    "probabilities", "error", "prompt_tokens", "completion_tokens", "usd", "first_token_ms",
    "latency_ms", "cached", "grader",
)  # fmt: skip
PREDICTIONS = Table(
    "test_predictions",
    "predictions of every model on test rows, perturbed and hand-written ones too",
    (
        "family",
        "id",
        "label",
        "predicted",
        "output",
        "confidence",
        "probabilities",
        "correct",
        "score",
        "grader",
    ),
)
LEARNING_CURVE = Table(
    "learning_curve",
    "the metric of the selected model by training rows",
    ("rows", "value", "low", "high"),
)
RESULTS = Table("results", "answers to test rows, both panels", ANSWERS)
PERTURBED_RESULTS = Table("perturbed_results", "answers to perturbed test rows", ANSWERS)
HAND_WRITTEN_RESULTS = Table("hand_written_results", "answers to the hand-written set", ANSWERS)
STREAM = Table("stream", "the window in which each live row was sent", ("id", "window"))
UNDER_LOAD = (
    "p50_ms", "p95_ms", "first_token_p50_ms", "requests_per_s", "cpu_ms", "memory_mb",
)  # fmt: skip
LOAD_CURVE = Table(
    "load_curve",
    "latency, throughput and what the server takes, by requests under way, with intervals",
    (
        "concurrency",
        "rounds",
        "requests",
        "failed",
        *(f"{name}{end}" for name in UNDER_LOAD for end in ("", " low", " high")),
    ),
)
OUTCOME = Table(
    "outcome",
    "the metric of champion and challenger by window",
    ("window", "model", "value", "low", "high"),
)
WINDOW_SCORES = Table(
    "scores",
    "the metric by window; where it is the accuracy, estimated, too",
    ("window", "kind", "value", "low", "high", "n", "reason"),
)
FALLS = Table(
    "falls",
    "whether the metric has fallen, at each look at the labels",
    ("window", "since", "value", "change", "highest", "alarm", "reason", "by"),
)
FORECAST = Table(
    "forecast",
    "what the evaluation would cost at most, by model",
    ("model", "calls", "cached", "tokens in", "tokens out", "usd"),
)

_BUILT = (VALIDATION, SCORE_OF, ACCURACY_OF, HAND_WRITTEN_OF, DROP_UNDER, ANSWER_INSTABILITY)
_RELEASED = (SCORE, CALIBRATION_ERROR, SIZE, PROMOTED)
_SERVED = (
    REQUESTS, FAILED, P50, P95, P99, SERVICE_P50, SERVICE_P95, SERVICE_P99, QUEUEING, THROUGHPUT,
    MEMORY,
)  # fmt: skip
_MONITORED = (
    WINDOWS, ALARMS, QUALITY_ALARMS, REFERENCE,
    TRUE_BEFORE, TRUE_SINCE, ESTIMATED_BEFORE, ESTIMATED_SINCE,
)  # fmt: skip
_IMPROVED = (
    CHAMPION, CHALLENGER, PROMOTED, LABELS, MINUTES, CHAMPION_AFTERWARDS, CHALLENGER_AFTERWARDS,
    RECOVERED,
)  # fmt: skip

CONTRACTS = (
    Contract(
        "mlops/1_data",
        (
            Value("rows", "rows of the table", kind=int),
            TRAIN_ROWS,
            Value("test_rows", "rows of the test set", kind=int),
            Value("warnings", "warnings of the validation", kind=int),
        ),
        (
            NAME,
            Fact("data_version", "version of the data table that was checked", int),
            Fact("digest", "digest of that version"),
            METRIC,
            Fact("metric_reason", "why that metric"),
            Fact(
                "near_copies_by_meaning",
                "rows of other splits that mean what a train row means; none where not measured",
                int | None,
            ),
        ),
    ),
    Contract(
        "mlops/2_build",
        (
            *_BUILT,
            CALIBRATION_ERROR,
            COVERAGE,
            RISE_UNDER,
            WORSE_UNDER,
            OWN_METRIC,
        ),
        (
            METRIC,
            FAMILY,
            Fact("model", "folder of the selected model in the run"),
            Fact("setting", "hyperparameters of the selected model", dict),
            Fact("sha256", "digest of the model's folder"),
            Fact("tried", "settings tried of those planned, such as 7 of 20, by family", dict),
        ),
        (PREDICTIONS, LEARNING_CURVE),
    ),
    Contract("mlops/3_release", _RELEASED, (NAME, VERSION, WAS_PROMOTED)),
    Contract(
        "mlops/4_serve",
        (*_SERVED, CPU_PER_REQUEST),
        (NAME, VERSION, ENDPOINT),
        (STREAM, LOAD_CURVE),
        ("concurrency",),
    ),
    Contract(
        "mlops/5_monitor",
        _MONITORED,
        (NAME, VERSION, METRIC, DRIFT_ALARM, ALARMED, QUALITY_ALARM, MEANING_ALARM),
        (WINDOW_SCORES, FALLS),
    ),
    Contract("mlops/6_improve", _IMPROVED, (NAME, VERSION, WAS_PROMOTED), (OUTCOME,)),
    Contract(
        "llmops/0_pretrain",
        (
            Value("model_parameters", "parameters of the model", kind=int),
            Value("last_loss", "loss on the labels of single words at the last step"),
            Value("in_grammar", "accuracy on texts of its grammar", interval=True),
            Value("hand_written", "accuracy on hand-written texts", interval=True),
        ),
    ),
    Contract(
        "llmops/1_data",
        (
            Value("prompts", "prompts checked", kind=int),
            Value("examples", "examples in the pool", kind=int),
            Value("validation_rows", "rows of the validation set that are asked", kind=int),
            Value("test_rows", "rows of the test set that are asked", kind=int),
            Value("calls", "calls that the evaluation takes at most", kind=int),
        ),
        (
            Fact("prompts", "version of each prompt, by name", dict),
            Fact("labels", "labels of the task", list),
        ),
        (FORECAST,),
    ),
    Contract(
        "llmops/2_build",
        (
            *_BUILT,
            RISE_UNDER,
            WORSE_UNDER,
            Value("faithful, {name}", "share of faithful summaries of {name}", interval=True),
            Value("copied, {name}", "share of summaries of {name} copied from the text",
                  interval=True),
            OWN_METRIC,
            USD,
        ),
        (
            METRIC,
            VARIANT,
            Fact("prompt", "folder of the selected prompt in the run"),
            Fact("version", "version of the selected prompt, a hash of its content"),
            Fact("own_prompts", "prompts written in the notebook: text and version by name", dict),
            EXAMPLES_SHOWN,
        ),
        (RESULTS, PERTURBED_RESULTS, HAND_WRITTEN_RESULTS),
        ("concurrency", "models"),
    ),
    Contract(
        "llmops/3_release",
        (
            *_RELEASED,
            CPU_PER_REQUEST,
            Value("passed, {family}", "share of tests passed: {family}", interval=True),
        ),
        (NAME, VERSION, WAS_PROMOTED),
    ),
    Contract(
        "llmops/4_serve",
        (
            *_SERVED,
            FIRST_TOKEN,
            BETWEEN_TOKENS,
            Value("tokens_per_s", "throughput in tokens a second"),
            Value("usd_per_1000", "cost of 1,000 answers", "USD"),
            USD,
        ),
        (NAME, VERSION, ENDPOINT),
        (STREAM, LOAD_CURVE),
        ("concurrency", "window", "windows"),
    ),
    Contract(
        "llmops/5_monitor",
        (
            *_MONITORED,
            Value("simulated, {name}", "in simulated streams: {name}", interval=True),
            Value("AUROC of {name}", "AUROC of {name} for invented answers", interval=True),
            Value("failed_share", "share of failed requests"),
            Value("answered_share", "share of requests whose answer could be read"),
            USD,
        ),
        (
            NAME,
            VERSION,
            DRIFT_ALARM,
            ALARMED,
            METRIC,
            QUALITY_ALARM,
            MEANING_ALARM,
            Fact("accuracy_alarm", "window in which the share of right rows fell", str | None),
        ),
        (WINDOW_SCORES, FALLS),
    ),
    Contract(
        "llmops/6_improve",
        (
            *_IMPROVED,
            USD,
            Value("gain of {name}", "metric gained over the champion: {name}", interval=True),
        ),
        (
            NAME,
            VERSION,
            WAS_PROMOTED,
            Fact("challenger", "name of the challenger"),
            TUNED,
        ),
        (OUTCOME,),
    ),
    Contract(
        "contrast",
        tuple(
            Value(f"{{scenario}}, {outcome}", f"dimensions of {{scenario}}: {outcome}", kind=int)
            for outcome in OUTCOMES
        ),
    ),
)  # fmt: skip
_BY_NAME: Mapping[str, Contract] = {contract.notebook: contract for contract in CONTRACTS}


def of(notebook: str) -> Contract | None:
    """Return a notebook's contract, None for one that records freely."""
    return _BY_NAME.get(notebook)


def label(notebook: str, name: str) -> str:
    """Return what a page calls a recorded value: its meaning, or the name of an undeclared one."""
    contract = of(notebook)
    for value in contract.values if contract else ():
        if value.part(name) is not None:
            return value.label(name)
    return name.replace("_", " ")
