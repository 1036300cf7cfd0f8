"""Recordings of real models: what they answered and how long it took, to be replayed anywhere.

A recording is a folder of its own name: `FACTS` (model, machines, prompts), a compressed file of
answers for each scenario, `LOAD` (calls under load) and `COMPUTE` (the CPU time of answers). It is
asked as ``"recorded/NAME"``, without key, server or download. An answer is found by its question,
so a prompt or a row that has changed since has none: that call fails and says what to run.
"""

import json
import lzma
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from diptych.base import hashing, workspace
from diptych.core.store.calls import request_hash
from diptych.core.store.prices import FREE
from diptych.execution.notebooks import nearest
from diptych.llmops.client.budget import LIMITS
from diptych.llmops.client.providers import RECORDED, EndpointError, Provider

FACTS, ANSWERS, LOAD, COMPUTE = "facts.json", ".jsonl.xz", "load.json", "compute.json"
# not of the question: an answer that ended by itself is the same under any limit that it keeps
ASIDE = ("model", "logprobs", "top_logprobs", "stream", "stream_options", *LIMITS)
DIGITS = 20  # hex digits of a question's hash: 80 bits
ANEW = 1_000  # repeats from here on ask anew (see `load_test.unused_repeat`), and get the first


class NotRecordedError(LookupError):
    """A question is not in a recording; the message says why and what to run."""


@dataclass(frozen=True)
class Recording:
    """What one model answered.

    Attributes
    ----------
    name : str
    folder : Path
    facts : dict
        ``model``, ``file``, ``digest`` and ``bytes`` of its file or ``endpoint`` of a hosted one,
        ``parameters`` (fields of every request), ``machines`` (`describe`), ``parts`` (what was
        asked, by scenario).
    answers : dict
        By question and repeat, see `row_of`.
    """

    name: str
    folder: Path
    facts: dict
    answers: dict[tuple[str, int], dict] = field(repr=False)

    def answer(self, body: Mapping, repeat: int = 0, prompt_version: str = "") -> dict:
        """Return the recorded answer to a request as Chat Completions has it.

        Its field ``recorded`` holds ``latency_ms``, ``first_token_ms``, ``usd``, ``date``, ``cpu``
        and ``threads``.

        Raises
        ------
        NotRecordedError
            If it was not recorded, or the recorded one is not the answer to this request.
        """
        repeat = 0 if repeat >= ANEW else repeat
        row = self.answers.get((question(body), repeat))
        if (
            reason := self._missing(body, repeat, prompt_version)
            if row is None
            else unfit(row, body)
        ):
            raise NotRecordedError(
                f"{RECORDED}/{self.name}: not recorded: {reason}. Run `diptych model record "
                f"{self.name}`, which asks only what is new, or ask a live model"
            )
        return _response(self, row)

    def _missing(self, body: Mapping, repeat: int, prompt_version: str) -> str:
        if repeat and (question(body), 0) in self.answers:
            return f"this question was not asked {repeat + 1} times"
        known = {row["v"] for row in self.answers.values()}
        if prompt_version and prompt_version not in known:
            return (
                f"the prompt (version {prompt_version}) has changed since, or was not part of it; "
                f"it holds {self._prompts()}"
            )
        return "this row, its examples or the temperature were not part of it, or have changed"

    def _prompts(self) -> str:
        parts = [part for scenario in self.facts["parts"].values() for part in scenario]
        names = dict.fromkeys(f"{part['prompt']} {part['version']}" for part in parts)
        return ", ".join(names) or "none"

    def load(self, prompt_version: str) -> list[dict]:
        """Return the calls under load of a version of a prompt, as `load_test.drive` has them."""
        calls = read_lines(self.folder / LOAD)
        return [call for call in calls if call["version"] == prompt_version]

    def compute(self, scenario: str, prompt_version: str, shots: int) -> list[float]:
        """Return the CPU milliseconds of answers, one at a time; none if that was not measured."""
        way = (scenario, prompt_version, shots)
        lines = read_lines(self.folder / COMPUTE)
        return next((line["cpu_ms"] for line in lines if way_of(line) == way), [])

    def when(self) -> str:
        """Return when and on what it was recorded, in one line."""
        machines = self.facts["machines"]
        dates = sorted({machine["date"] for machine in machines})
        if not dates:
            return "nothing is recorded yet"
        days = dates[0] if len(dates) == 1 else f"{dates[0]} to {dates[-1]}"
        return f"recorded {days} on {_described(machines)}"


def _described(machines: Sequence[Mapping]) -> str:
    """Return machines as a page shows them: processors, threads, and whether others used them."""
    local = [machine for machine in machines if machine.get("cpu")]
    parts = [" and ".join(sorted({m.get("cpu") or "the provider's machines" for m in machines}))]
    if threads := _counts(local, "threads"):
        parts.append(f"{threads} {'thread' if threads == '1' else 'threads'}")
    if (at_once := _counts(local, "at_once")) not in ("", "1"):
        parts.append(f"{at_once} questions at once")
    if any(machine.get("load", 0) > machine["cores"] for machine in local):
        parts.append("busy with other work: times are upper bounds")
    return ", ".join(parts)


def _counts(machines: Sequence[Mapping], name: str) -> str:
    return " or ".join(map(str, sorted({machine.get(name, 1) for machine in machines})))


def question(body: Mapping) -> str:
    """Return what identifies a question: messages and sampling, not the model nor its limits."""
    fields = {
        name: float(value) if isinstance(value, int) and not isinstance(value, bool) else value
        for name, value in body.items()
        if name not in ASIDE
    }
    return request_hash("", fields)[:DIGITS]


def row_of(call: Mapping, on: int = 0, digits: int = 4) -> dict:
    """Return the line of a recording that holds an answered call of the ledger.

    Parameters
    ----------
    call : mapping
        A row as `diptych.core.store.calls.Calls.table` returns them, of Chat Completions.
    on : int
        Number of the machine that answered.
    digits : int
        Of log-probabilities.

    Returns
    -------
    dict
        ``q`` question, ``r`` repeat, ``a`` answer, ``end`` finish reason, ``in`` and ``out``
        tokens, ``ms`` and ``ttft`` milliseconds, ``usd``, ``v`` version of the prompt, ``on``
        number of the machine, ``k`` alternatives asked for (-1 none), ``p`` tokens with their
        log-probabilities and alternatives, ``max`` the limit that cut it.
    """
    body, response = call["input"], call["response"]
    choice = response["choices"][0]
    limit = next((body[name] for name in LIMITS if body.get(name)), None)
    row = {
        "q": question(body), "r": int(call["repeat"]), "a": call["output"],
        "end": choice.get("finish_reason"), "in": _whole(call["prompt_tokens"]),
        "out": _whole(call["completion_tokens"]), "ms": _rounded(call["latency_ms"]),
        "ttft": _rounded(call["first_token_ms"]), "usd": call["usd"] or 0,
        "v": call["prompt_version"], "on": on,
        "k": int(body.get("top_logprobs") or 0) if body.get("logprobs") else -1,
    }  # fmt: skip
    content = (choice.get("logprobs") or {}).get("content") or []
    if content:
        row["p"] = [_token(token, digits) for token in content]
    if row["end"] == "length":
        row["max"] = limit
    return row


def _whole(value) -> int | None:
    return None if value is None or value != value else int(value)


def _rounded(value) -> float | None:
    return None if value is None or value != value else round(float(value), 1)


def _token(token: Mapping, digits: int) -> list:
    tops = [
        [top["token"], round(top["logprob"], digits)] for top in token.get("top_logprobs") or ()
    ]
    return [token["token"], round(token["logprob"], digits), *([tops] if tops else [])]


def unfit(row: Mapping, body: Mapping) -> str:
    """Return why a recorded answer is none to a request of its question, "" if it is one."""
    limit = next((body[name] for name in LIMITS if body.get(name)), None)
    if row["end"] == "length" and limit != row["max"]:
        return f"its answer was cut at {row['max']} tokens, and {limit} are asked for"
    if limit is not None and (row["out"] or 0) > limit:
        return f"its answer has {row['out']} tokens, and {limit} are asked for at most"
    if body.get("logprobs") and int(body.get("top_logprobs") or 0) > row["k"]:
        return "its answer has fewer probabilities than are asked for"
    return ""


def _response(recording: Recording, row: Mapping) -> dict:
    """Return a recorded line as an answer of Chat Completions."""
    machine = recording.facts["machines"][row["on"]]
    choice = {
        "index": 0,
        "message": {"role": "assistant", "content": row["a"]},
        "finish_reason": row["end"],
    }
    if "p" in row:
        choice["logprobs"] = {"content": [_probabilities(*token) for token in row["p"]]}
    usage = {"prompt_tokens": row["in"], "completion_tokens": row["out"]}
    return {
        "object": "chat.completion",
        "model": recording.facts["model"],
        "choices": [choice],
        "usage": {name: count for name, count in usage.items() if count is not None},
        "recorded": {
            "latency_ms": row["ms"],
            "first_token_ms": row["ttft"],
            "usd": row["usd"],
            **{name: machine.get(name) for name in ("date", "cpu", "threads")},
        },
    }


def _probabilities(token: str, logprob: float, tops: list = []) -> dict:  # noqa: B006
    alternatives = [{"token": text, "logprob": value} for text, value in tops]
    probabilities = {"token": token, "logprob": logprob}
    return probabilities | {"top_logprobs": alternatives} if tops else probabilities


def folders() -> dict[str, Path]:
    """Return the folder of each recording by name; the workspace's go before those shipped."""
    known: dict[str, Path] = {}
    for place in (shipped(), workspace.home() / "recordings"):
        if place.is_dir():
            known |= {path.parent.name: path.parent for path in sorted(place.glob(f"*/{FACTS}"))}
    return known


def shipped() -> Path:
    """Return the folder of the recordings that come with the package."""
    return workspace.PACKAGE / "assets" / "recordings"


def load(name: str) -> Recording:
    """Return a recording by name.

    Raises
    ------
    EndpointError
        If there is none, or its files are damaged.
    """
    known = folders()
    if name not in known:
        there = ", ".join(f"{RECORDED}/{other}" for other in known) or "none"
        raise EndpointError(
            f"{RECORDED}/{name}: there is no such recording. {nearest(name, known)}There is "
            f"{there}; `diptych model record {name or 'MODEL'}` makes one"
        )
    return _read(known[name], _stamp(known[name]))


def _stamp(folder: Path) -> str:
    """Return a digest of a recording's files, by which answers from an older one are told apart."""
    files = sorted([folder / FACTS, *folder.glob(f"*{ANSWERS}")])
    return hashing.of_listing((file.name, hashing.of_file(file)) for file in files)


@cache
def _read(folder: Path, stamp: str) -> Recording:
    try:
        facts = json.loads((folder / FACTS).read_text("utf-8"))
        rows = [row for file in sorted(folder.glob(f"*{ANSWERS}")) for row in read_rows(file)]
        return Recording(folder.name, folder, facts, {(row["q"], row["r"]): row for row in rows})
    except (OSError, ValueError, KeyError, TypeError, lzma.LZMAError, EOFError) as error:
        raise EndpointError(
            f"{RECORDED}/{folder.name}: {workspace.shown(folder)} is damaged ({error}); restore "
            f"it, or run `diptych model record {folder.name}`"
        ) from error


def read_rows(file: Path) -> list[dict]:
    """Return the lines of one file of answers."""
    text = lzma.decompress(file.read_bytes()).decode("utf-8")
    return [json.loads(line) for line in text.splitlines()]


def write_rows(file: Path, rows: Iterable[Mapping]) -> None:
    """Write lines so that equal lines give equal bytes, and a reader never sees a part."""
    ordered = sorted(rows, key=lambda row: (row["v"], row["q"], row["r"]))
    lines = [
        json.dumps(row, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
        for row in ordered
    ]
    text = "\n".join([*lines, ""] if lines else [])
    packed = lzma.compress(text.encode("utf-8"), preset=9 | lzma.PRESET_EXTREME)
    workspace.write_atomic(file, packed)


def way_of(line: Mapping) -> tuple[str, str, int]:
    """Return of which way to ask a line of `COMPUTE` is."""
    return line["scenario"], line["version"], line["shots"]


def read_lines(file: Path) -> list[dict]:
    """Return the lines of `LOAD` or `COMPUTE`: each has the version of its prompt."""
    return json.loads(file.read_text("utf-8")) if file.is_file() else []


def write_lines(file: Path, lines: Iterable[Mapping]) -> None:
    """Write what `read_lines` returns; what is not known is null."""
    known = [{name: None if x != x else x for name, x in line.items()} for line in lines]
    text = ",\n".join(json.dumps(line, separators=(",", ":")) for line in known)
    workspace.write_atomic(file, f"[\n{text}\n]\n".encode())


def provider_of(name: str) -> Provider:
    """Return the endpoint that replays a recording; answers of a later one are other answers."""
    recording = load(name)
    return Provider(
        RECORDED,
        f"{RECORDED}://{name}/{_stamp(recording.folder)[:12]}",
        model=name,
        prices=FREE,
        parameters=recording.facts.get("parameters") or {},
    )


_SHOWN: set[tuple[str, str]] = set()


def show(name: str, run: str = "") -> None:
    """Print, once in a run, when and on what a recording was made."""
    if (run, name) not in _SHOWN:
        _SHOWN.add((run, name))
        print(f"{RECORDED}/{name}: {load(name).when()}.")


def processor() -> str:
    """Return the class of this machine's processor, "" where the system does not say."""
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        import platform

        return platform.processor()
    names = [line.partition(":")[2].strip() for line in text.splitlines() if "model name" in line]
    return names[0] if names else ""


def load_now() -> float:
    """Return how many processes wanted a core in the last minute, 0 where not known."""
    try:
        return round(os.getloadavg()[0], 1)
    except (AttributeError, OSError):
        return 0.0
