"""Candidate prompts: other instructions and layouts, ours or a model's, and other examples.

A candidate changes what the model reads and nothing else: inputs, labels and schema stay.
"""

import functools
import itertools
import random
from collections.abc import Mapping, Sequence
from dataclasses import replace
from importlib import resources

import yaml

from diptych.llmops.client.ask import ask_many
from diptych.llmops.client.call_options import CallOptions
from diptych.llmops.client.target import Target
from diptych.llmops.pretrain.corpus import sentiment
from diptych.llmops.pretrain.corpus.words import POLARITIES
from diptych.llmops.prompts.prompt import SLOT, Prompt, PromptError, parse, to_text

LONGEST = 600  # characters of an instruction that a model wrote
WRITTEN_TOKENS = 120


@functools.cache
def assets() -> dict:
    """Return ``assets/prompts/instructions.yaml``."""
    path = resources.files("diptych") / "assets" / "prompts" / "instructions.yaml"
    return yaml.safe_load(path.read_text("utf-8"))


def ours(prompt: Prompt, n: int, seed: int) -> list[Prompt]:
    """Return `n` candidates from our own pool, without examples; all if there are fewer.

    For positive and negative every second one is worded as in the embedded model's training text.
    """
    rng = random.Random(f"wordings {seed}")
    candidates = [
        _put(prompt, layout, instruction)
        for instruction, layout in itertools.product(_instructions(prompt), assets()["layouts"])
    ]
    rng.shuffle(candidates)
    if set(prompt.labels) == set(POLARITIES) and prompt.inputs == ("text",):
        known = [replace(prompt, user=_trained(rng), system="") for _ in range(2 * n)]
        candidates = [one for pair in zip(known, candidates, strict=False) for one in pair]
    return _different(prompt, candidates)[:n]


def _instructions(prompt: Prompt) -> list[str]:
    """Return our instructions with the prompt's labels, or with what its number is called."""
    if prompt.answers_number:
        target = prompt.number_names[-1:] or ("the number",)
        return [one.replace("{target}", target[0]) for one in assets()["numbers"]]
    return [
        one.replace("{labels}", labels)
        for one, labels in itertools.product(assets()["instructions"], _orders(prompt.labels))
    ]


def _orders(labels: Sequence[str]) -> list[str]:
    """Return the labels in a sentence, in their order and in the reverse."""
    orders = dict.fromkeys((tuple(labels), tuple(labels)[::-1]))
    return [" or ".join(filter(None, (", ".join(x[:-1]), x[-1]))) for x in orders]


def _put(prompt: Prompt, layout: Mapping, instruction: str) -> Prompt:
    lines = prompt.user.splitlines()
    inputs = "\n".join(line for line in lines if set(SLOT.findall(line)) & set(prompt.inputs))
    # in this order: an instruction holds no slots, an input may hold any braces
    texts = {
        name: layout.get(name, "").replace("{instruction}", instruction).replace("{input}", inputs)
        for name in ("system", "user")
    }
    return replace(prompt, examples=(), **texts)


def _trained(rng: random.Random) -> str:
    wordings = sentiment.wordings("plain")
    wording = rng.choice(wordings) if rng.random() < 0.3 else sentiment.choice_wording(rng)
    return sentiment.fill(rng, wording, "{text}")


def _different(prompt: Prompt, candidates: Sequence[Prompt]) -> list[Prompt]:
    """Return the candidates that differ from the prompt and each other, named by their content."""
    different = {}
    for candidate in candidates:
        bare = replace(candidate, examples=(), parent=prompt.name, note="", path=None)
        different.setdefault(bare.version, bare)
    different.pop(replace(prompt, examples=()).version, None)
    return [replace(one, name=f"{prompt.name}-{version[:6]}") for version, one in different.items()]


def written(
    prompt: Prompt, n: int, target: Target, options: CallOptions = CallOptions()
) -> list[Prompt]:
    """Ask a model for `n` candidates, and return those that can be used.

    A candidate must keep the inputs and name every label. A small model writes none, which costs
    as many calls.
    """
    slots = ", ".join(f"{{{name}}}" for name in prompt.inputs)
    text, named = assets()["rewrite"], ", ".join(prompt.labels or prompt.number_names[-1:])
    for name, value in (("slots", slots), ("labels", named)):
        text = text.replace(f"{{{name}}}", value)
    message = {"role": "user", "content": text.replace("{user}", prompt.user)}
    fields = {"temperature": 1.0, "max_tokens": WRITTEN_TOKENS}
    requests = [{"messages": [message], "seed": i, **fields} for i in range(n)]
    # an endpoint may ignore the seed, and equal requests would be one
    answers = ask_many(requests, target, replace(options, prompt_version="rewrite"))
    candidates = [_usable(prompt, answer.text) for answer in answers if answer.text]
    return _different(prompt, [one for one in candidates if one is not None])


def _usable(prompt: Prompt, text: str) -> Prompt | None:
    user = text.strip().strip("`").strip()
    named = all(label.lower() in user.lower() for label in prompt.labels)
    if not named or len(user) > LONGEST:
        return None
    try:
        candidate = replace(prompt, user=user, examples=(), path=None)
        return replace(parse(to_text(candidate)), name=prompt.name)  # as a file would be checked
    except PromptError:
        return None


def with_examples(
    prompts: Sequence[Prompt],
    pool: Sequence[tuple[Mapping, str]],
    shots: Sequence[int],
    seed: int,
) -> list[Prompt]:
    """Give each prompt a number of examples in turn, each its own draw, the labels balanced.

    Parameters
    ----------
    pool : sequence of (dict, str)
        Inputs and label.
    shots : sequence of int
        Such as ``(0, 2, 4)``; 0 leaves the prompt without examples.
    """
    rng, candidates = random.Random(f"examples {seed}"), []
    for prompt, k in zip(prompts, itertools.cycle(shots), strict=False):
        drawn = []
        for i in range(k):
            wanted = prompt.labels[i % len(prompt.labels)] if prompt.labels else None
            left = [one for one in pool if wanted in (None, one[1]) and one not in drawn]
            drawn += [rng.choice(left)] if left else []
        rng.shuffle(drawn)
        examples = tuple(
            ({name: str(inputs[name]) for name in prompt.inputs}, prompt.answer(label))
            for inputs, label in drawn
        )
        name = f"{prompt.name}+{len(examples)}" if examples else prompt.name
        candidates.append(replace(prompt, examples=examples, name=name))
    return candidates
