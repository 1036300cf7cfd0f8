"""What a model takes of a request: fields that are left out, renamed, or raised to let it think.

Known models have dated rules (`diptych/assets/providers`); of others the first refusal is read.
Rules are a mapping from a field to

- None: the field is left out;
- another field's name: it goes by that name;
- for ``system``: the role that such messages get; ``user`` puts them before the first question;
- for ``thinking``: tokens that a model that thinks first gets besides ``max_tokens``, which limits
  the answer;
- for ``reasoning``: how a number of tokens in ``thinking`` is written: ``budget`` or ``adaptive``
  as Anthropic's Messages take it, left out elsewhere.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

Rules = Mapping[str, str | int | None]

LIMIT, LIMIT_ALL = "max_tokens", "max_completion_tokens"
SYSTEM, THINKING, REASONING = "system", "thinking", "reasoning"
ROOM = 4096  # tokens to think, for a model that was not known
EXTRA_CALLS = 2  # refusals that are learned from, a model and kind of request
SAMPLING = (
    "temperature", "top_p", "top_k", "presence_penalty", "frequency_penalty", "logit_bias",
    "logprobs", "top_logprobs", "seed", "stop",
)  # fmt: skip
TOGETHER = {"logprobs": ("top_logprobs",)}  # without the first the second is refused
# how providers say that a field is wrong, and not its value
REFUSED = re.compile(
    r"unsupported|not supported|n.t support|does not support|unrecognized|unknown|unexpected|"
    r"not permitted|not allowed|not enabled|not available|deprecated|removed|cannot both|"
    r"only the default|extra inputs|extra_forbidden|extraneous|no longer",
    re.IGNORECASE,
)
INSTEAD = re.compile(r"\buse\W+(\w+)\W+instead", re.IGNORECASE)
ROLE = re.compile(r"messages\W+\d+\W+role|\brole\b", re.IGNORECASE)


@dataclass(frozen=True)
class Refusal:
    """A field that an endpoint refuses, and the one that it wants instead, "" if it names none."""

    name: str
    instead: str = ""


def apply(body: Mapping, rules: Rules) -> dict:
    """Return a request as a model takes it."""
    sent = dict(body)
    thinking = sent.get(THINKING)
    if isinstance(thinking, int):
        del sent[THINKING]
        if kind := rules.get(REASONING):
            budget = {"type": "enabled", "budget_tokens": thinking}
            sent[THINKING] = budget if kind == "budget" else {"type": kind}
    room = _room(body, rules)
    if room and sent.get(LIMIT):
        sent[LIMIT] += room
    for name, change in effective(body, rules).items():
        if name == SYSTEM:
            sent["messages"] = _with_role(sent["messages"], change)
        elif name != THINKING or change is None:
            value = sent.pop(name)
            if change:
                sent.setdefault(change, value)
    return sent


def _room(body: Mapping, rules: Rules) -> int:
    """Return the tokens to think; what a request says wins over what is known of the model."""
    room = body.get(THINKING)
    room = rules.get(THINKING) if room is None else room
    return room if isinstance(room, int) else 0


def effective(body: Mapping, rules: Rules) -> dict:
    """Return those rules that change this request."""
    thinks = body.get(THINKING)
    if isinstance(thinks, int) and rules.get(REASONING):  # beside it they are refused
        rules = {**rules, **dict.fromkeys(("temperature", "top_p", "top_k"))}
    changed = {name: to for name, to in rules.items() if body.get(name) is not None}
    changed = {name: to for name, to in changed.items() if name not in (THINKING, REASONING)}
    if isinstance(thinks, Mapping) and rules.get(THINKING, ROOM) is None:
        changed[THINKING] = None
    roles = {message.get("role") for message in body["messages"] if isinstance(message, Mapping)}
    if SYSTEM in rules and SYSTEM in roles:
        changed[SYSTEM] = rules[SYSTEM]
    if (room := _room(body, rules)) and body.get(LIMIT):
        changed[THINKING] = room
    return changed


def _with_role(messages: list, role: str) -> list:
    if role != "user":
        return [{**m, "role": role} if m.get("role") == SYSTEM else m for m in messages]
    system = "\n\n".join(str(m["content"]) for m in messages if m.get("role") == SYSTEM)
    rest = [dict(m) for m in messages if m.get("role") != SYSTEM]
    first = next((m for m in rest if m.get("role") == "user"), None)
    if first is None or not isinstance(first.get("content"), str):
        return [{"role": "user", "content": system}, *rest]
    first["content"] = f"{system}\n\n{first['content']}"
    return rest


def describe(changes: Rules) -> str:
    """Return changes in words, such as "temperature left out, max_completion_tokens for …"."""
    left_out = [name for name, to in changes.items() if to is None]
    words = [f"{', '.join(left_out)} left out"] if left_out else []
    for name, to in changes.items():
        if name == SYSTEM:
            words.append(f"the system message as {to}")
        elif name == THINKING and to:
            words.append(f"{to:,} tokens more to think")
        elif to is not None:
            words.append(f"{to} for {name}")
    return ", ".join(words)


def read_refusal(body: Mapping, text: str, named: str = "") -> Refusal | None:
    """Return which field of a request an endpoint's error refuses, None if it is about another.

    Parameters
    ----------
    body : mapping
        The request that was sent.
    text : str
        All that the error says.
    named : str
        The field, where the error has it as ``param``.
    """
    if not REFUSED.search(text):
        return None
    match = INSTEAD.search(text)
    instead = match[1] if match else ""
    roles = {message.get("role") for message in body["messages"]}
    for role in ("developer", SYSTEM):
        if role in roles and role in text.lower() and ROLE.search(f"{named} {text}"):
            first = role == SYSTEM and ROLE.match(named)
            return Refusal(SYSTEM, "developer" if first else "user")
    fields = [name for name in body if name not in ("model", "messages")]
    named = named.split(".")[0].split("[")[0]
    if named in fields:
        return Refusal(named, instead)
    without = text.replace(instead, "") if instead else text
    places = {name: re.search(rf"(?<!\w){re.escape(name)}(?!\w)", without) for name in fields}
    hits = sorted((m.start(), name) for name, m in places.items() if m)
    if not hits:
        return None
    # of two that exclude each other the first stays
    return Refusal(hits[-1 if "cannot both" in text else 0][1], instead)


@dataclass
class Learned:
    """What refusals have taught of one model in this process."""

    rules: dict = field(default_factory=dict)
    known: set = field(default_factory=set)  # kinds of requests that were answered
    refusals: dict = field(default_factory=dict)  # by kind of request

    def apply(self, body: Mapping) -> dict:
        """Return a request as the model takes it by what was learned."""
        return apply(body, self.rules) if self.rules else dict(body)

    @staticmethod
    def kind(body: Mapping) -> frozenset:
        """Return what a model can take or refuse of a request: its fields and roles."""
        return frozenset(body) | {f"role {message.get('role')}" for message in body["messages"]}

    def is_known(self, body: Mapping) -> bool:
        """Say whether such a request was answered before."""
        return self.kind(body) in self.known

    def learn(self, body: Mapping, sent: Mapping, refusal: Refusal | None) -> bool:
        """Note a refusal; False where the request cannot be mended by it.

        The first refusal changes the field that it names. The second also leaves out all that
        only tunes an answer, for such models refuse it all, one field a call.
        """
        count = self.refusals.get(kind := self.kind(body), 0)
        if refusal is None or count >= EXTRA_CALLS:
            return False
        self.refusals[kind] = count + 1
        name, instead = refusal.name, refusal.instead or None
        if (name, instead) == (LIMIT, LIMIT_ALL) or name == "temperature":  # such models think
            self.rules.setdefault(THINKING, ROOM)
        renamed = {to: old for old, to in self.rules.items() if isinstance(to, str)}
        self.rules[renamed.get(name, name)] = instead
        if name in SAMPLING or name in TOGETHER:
            self.rules |= dict.fromkeys(TOGETHER.get(name, ()))
        if count:
            self.rules |= {other: None for other in SAMPLING if other in sent}
        return apply(body, self.rules) != sent


_SHOWN: set[tuple[str, str]] = set()


def show(model: str, changes: Iterable[Rules | None], run: str = "") -> None:
    """Print, once in a run, how what a model was sent differs from what was to be asked."""
    merged: dict = {}
    for each in changes:
        merged |= each or {}
    line = f"{model}: {describe(merged)}"
    if merged and (run, line) not in _SHOWN:
        _SHOWN.add((run, line))
        print(line)


_LEARNED: dict[tuple[str, str], Learned] = {}


def learned(where: str, model: str) -> Learned:
    """Return what this process has learned of a model at an address."""
    return _LEARNED.setdefault((where, model), Learned())


def forget() -> None:
    """Forget what was learned, as a new process has."""
    _LEARNED.clear()
