"""How sure a model was of the label that it gave, by the log-probabilities of its tokens.

Token by token of the label, what the model might have said instead is read, too: each alternative
is a beginning of some labels, in any spelling. The confidence is the share of the answer's label
in the probability of all that begin a label, multiplied over the tokens that tell labels apart.
The probability of the whole sentence is none of the label: a longer sentence has a lower one.
"""

import math
from collections.abc import Mapping, Sequence

from diptych.llmops.client.formats.tolerant import is_probability
from diptych.llmops.evaluation.label_reading import EDGES, THOUGHTS

BEFORE = EDGES + "*"  # what may stand before a label


def of_label(tokens: Sequence[Mapping], label: str | None, labels: Sequence[str]) -> float:
    """Return the probability of a label, NaN where it is not known.

    Parameters
    ----------
    tokens : sequence of mappings
        The answer's tokens: ``token``, ``logprob``, ``top_logprobs`` (a list of such).
    label : str or None
        What was read of the answer.
    labels : sequence of str
        The task's labels.
    """
    return shares(tokens, label, labels).get(label, math.nan)


def shares(
    tokens: Sequence[Mapping], label: str | None, labels: Sequence[str]
) -> dict[str | None, float]:
    """Return the probability of each label where an answer names one; {} where it is not known.

    A token that begins several labels, and is not the one that was written, gives each an equal
    part of its probability: what would have followed it is not known.
    """
    texts = [str(token.get("token") or "") for token in tokens]
    names = {name: name.casefold() for name in labels}
    if label not in names or len(set(names.values())) < len(names):
        return {}
    begin = _begin("".join(texts).casefold(), names[label])
    if begin is None:
        return {}
    shared, rest, seen = dict.fromkeys(names, 0.0), 1.0, ""
    candidates, position = set(names), 0
    for token, text in zip(tokens, texts, strict=True):
        position += len(text)
        if position <= begin or not _clean(text, seen):
            continue
        step = _step(token, seen, label, {name: names[name] for name in candidates})
        if step is None:
            return {}
        parts, candidates, seen = *step, seen + _clean(text, seen)
        for name, part in parts.items():
            shared[name] += rest * part
        rest *= 1 - sum(parts.values())
        if len(candidates) == 1 or len(seen) >= len(names[label]):
            if label not in candidates:
                return {}
            shared[label] += rest
            return shared
    return {}


def _begin(answer: str, label: str) -> int | None:
    """Return where an answer names the label; thoughts before it do not count."""
    ends = [answer.rfind(f"</{name}>") for name in THOUGHTS.split("|")]
    start = max(*ends, 0)
    begin = answer.find(label, start)
    if begin >= 0:
        return begin
    short = answer[start:].strip(BEFORE)  # "Pos." for positive
    return answer.find(short, start) if short and label.startswith(short) else None


def _clean(text: str, seen: str) -> str:
    """Return what a token adds to a label of which `seen` came before."""
    text = text.casefold()
    return text if seen else text.lstrip(BEFORE)


def _step(
    token: Mapping, seen: str, label: str, names: Mapping[str, str]
) -> tuple[dict[str, float], set[str]] | None:
    """Return what labels have of the probability that the label's way does not, and who is left.

    Of a token that may begin every label nobody has any; None where nothing is known.
    """
    chosen = _begun(str(token.get("token") or ""), seen, names)
    tops = [x for x in token.get("top_logprobs") or () if isinstance(x, Mapping)]
    tops = [x for x in tops if is_probability(x.get("logprob")) and isinstance(x.get("token"), str)]
    if chosen == set(names):
        return {}, chosen
    mine = total = 0.0
    others: dict[str, float] = {}
    for top in tops:
        if begun := _begun(top["token"], seen, names):
            probability = math.exp(min(top["logprob"], 0.0))
            total += probability
            if label in begun:
                mine += probability
                continue
            for name in begun:
                others[name] = others.get(name, 0.0) + probability / len(begun)
    if not (total > 0 and mine > 0):
        return None
    return {name: part / total for name, part in others.items()}, chosen


def _begun(text: str, seen: str, names: Mapping[str, str]) -> set[str]:
    """Return the labels that a token may begin or continue."""
    added = _clean(text, seen)
    if not added.strip():
        return set()
    whole = seen + added
    return {
        name
        for name, form in names.items()
        if form.startswith(whole.rstrip(BEFORE)) or whole.startswith(form)
    }
