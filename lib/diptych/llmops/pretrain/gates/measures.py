"""The model's gates, measured through the HTTP server that serves it."""

import contextlib
import json
import random
import re
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from diptych.core.evaluation import stats
from diptych.llmops.pretrain import tokenizer as bpe
from diptych.llmops.pretrain.corpus import cards, talk
from diptych.llmops.pretrain.gates import suites
from diptych.llmops.server.sizing import fit

FUNCTION_WORDS = {"a", "an", "the", "i", "it", "is", "was", "and", "or", "of", "to", "in"}


@dataclass(frozen=True)
class Gate:
    """One line of the model card."""

    name: str
    goal: str
    measured: str
    n: int
    met: bool | None  # None: reported only


@contextlib.contextmanager
def serving(path: Path, slots: int = 8):
    """Serve a GGUF in this process with llama.cpp's server; yield its base URL."""
    import xllamacpp

    parameters = xllamacpp.CommonParams()
    parameters.model.path = str(path)
    parameters.n_parallel, parameters.n_ctx = slots, 512 * slots
    parameters.cpuparams.n_threads = parameters.cpuparams_batch.n_threads = fit(path).threads
    parameters.verbosity = 0
    server = xllamacpp.Server(parameters)
    yield f"{server.listening_address}/v1"
    del server


class Served:
    """Asks a served model, greedily, with eight requests at a time."""

    def __init__(self, url: str):
        import openai

        self.client = openai.OpenAI(base_url=url, api_key="none", max_retries=0)
        self.pool = ThreadPoolExecutor(8)

    def answer(self, item: suites.Item, longest: int = 60) -> str:
        """Return the model's answer to one item."""
        messages = [{"role": role, "content": text} for role, text in item.turns]
        completion = self.client.chat.completions.create(
            model="local", messages=messages, max_tokens=longest, temperature=0
        )
        return (completion.choices[0].message.content or "").strip()

    def answers(self, items: list[suites.Item]) -> list[str]:
        """Return the answers to many, in order."""
        return list(self.pool.map(self.answer, items))

    def right(self, items: list[suites.Item]) -> list[bool]:
        """Return which items are answered exactly."""
        return [got == item.answer for got, item in zip(self.answers(items), items, strict=True)]


def gate(name: str, goal: float | None, right: list[bool], most: bool = False) -> Gate:
    """Return a gate on the share of right answers: `goal` at least, or with `most` at most."""
    share = stats.wilson(sum(right), len(right))
    met = None if goal is None else share.value <= goal if most else share.value >= goal
    sign = "≤" if most else "≥"
    return Gate(name, "reported" if goal is None else f"{sign} {goal}", str(share), len(right), met)


def measure(model: Path, sentences: Path | None, n: int = 300, seed: int = 20_261):
    """Yield every gate of a served model.

    Parameters
    ----------
    model : Path
        GGUF file.
    sentences : Path, optional
        CSV of real sentences (`suites.sentences`); without it their gates are left out.
    n : int
        Items of each generated suite.
    """
    rng = random.Random(seed)
    with serving(model) as url:
        served = Served(url)
        if sentences is not None:
            yield from real(served, suites.sentences(sentences), rng, n)
        yield gate("hand-written test reviews, zero-shot", 0.75,
                   served.right(suites.handwritten()))  # fmt: skip
        yield gate("in-grammar sentiment, any trained wording and label words", 0.93,
                   served.right(suites.in_grammar(rng, 2 * n)))  # fmt: skip
        yield gate("in-grammar sentiment, held-out wordings", 0.85,
                   served.right(suites.held_out_wordings(rng, 2 * n)))  # fmt: skip
        yield gate("arbitrary labels defined in held-out wordings", None,
                   served.right(suites.held_out_wordings(rng, n, "mapping")))  # fmt: skip
        yield gate("held-out opinion words", None, served.right(suites.held_out_words()))
        yield from few_shot(served, rng, n)
        yield gate("inverted instruction, trained wordings", 0.80,
                   served.right(suites.inverse(rng, n)))  # fmt: skip
        yield gate("inverted instruction, held-out wordings", None,
                   served.right(suites.held_out_wordings(rng, n, "inverse")))  # fmt: skip
        yield from grounded(served, rng, n)
        yield from summarized(served, rng, n)
        yield gate("chat: the last turn uses an earlier fact", 0.95,
                   served.right(suites.memory(rng, n)))  # fmt: skip
        yield from structured(served, rng, n)


def real(served: Served, rows: list, rng: random.Random, n: int):
    """Yield the gates on real sentences."""
    texts = [(text, label) for text, label, _ in rows]
    right = served.right(suites.plain(texts))
    yield gate("real sentences (UCI), zero-shot, plain prompt", 0.78, right)
    for source in sorted({source for *_, source in rows}):
        part = [ok for ok, row in zip(right, rows, strict=True) if row[2] == source]
        yield gate(f"of these, {source}", None, part)
    sample = rng.sample(texts, min(len(texts), 2 * n))
    for number, (wording, _) in enumerate(suites.prompts()):
        shown = wording.replace("\n", "⏎")
        result = gate(f"prompt {number}: {shown}", 0.65,
                     served.right(suites.plain(sample, number)))  # fmt: skip
        yield Gate(result.name, "worst ≥ 0.65", result.measured, result.n, result.met)


def few_shot(served: Served, rng: random.Random, n: int):
    """Yield the gates on examples: with natural labels, and with labels that they define."""
    right = served.right(suites.shifted(rng, 2 * n, 4))
    gain = stats.paired_difference(right[1::2], right[::2])
    yield Gate("few-shot on the unseen domain, natural labels: k=4 less k=0",
               "interval above 0", str(gain), gain.n, gain.low > 0)  # fmt: skip
    yield gate("of these, k=0", None, right[::2])
    yield gate("of these, k=4", None, right[1::2])
    yield gate("arbitrary labels defined by 8 examples", 0.75,
               served.right(suites.episodes(rng, n, 8)))  # fmt: skip


def grounded(served: Served, rng: random.Random, n: int):
    """Yield the gates on questions about a card."""
    for held_out, present, absent in ((False, 0.97, 0.97), (True, 0.85, 0.90)):
        wording = "held-out" if held_out else "trained"
        items = suites.card_questions(rng, n, False, held_out)
        got = served.answers(items)
        yield gate(f"card, fact present, {wording} wordings: exact", present,
                   [a == item.answer for a, item in zip(got, items, strict=True)])  # fmt: skip
        yield gate(f"card, fact present, {wording} wordings: value not on the card", 0.03,
                   [invented(a, item) for a, item in zip(got, items, strict=True)],
                   most=True)  # fmt: skip
        items = suites.card_questions(rng, n, True, held_out)
        yield gate(f"card, fact absent, {wording} wordings: says so", absent, served.right(items))


def invented(answer: str, item: suites.Item) -> bool:
    """Return whether an answer states a number or name that the card lacks."""
    if answer == cards.ABSENT:
        return False
    stated = re.findall(r"\d+|(?<=[a-z,] )[A-Z]\w+", answer)
    on_card = set(re.findall(r"\w+", item.facts["card"]))
    return any(word not in on_card for word in stated)


def summarized(served: Served, rng: random.Random, n: int):
    """Yield the gates on summaries: only the review's words, and its polarity."""
    for held_out in (False, True):
        items = suites.summaries(rng, n, held_out)
        pairs = list(zip(served.answers(items), items, strict=True))
        wording = "held-out" if held_out else "trained"
        yield gate(f"summary, {wording} wordings: every content word from the review",
                   None if held_out else 0.90,
                   [faithful(got, item.facts["review"].text) for got, item in pairs])  # fmt: skip
        yield gate(f"summary, {wording} wordings: keeps its polarity",
                   None if held_out else 0.85,
                   [agrees(got, item.facts["review"]) for got, item in pairs])  # fmt: skip


def content(text: str) -> set[str]:
    """Return the words of a text that are not function words."""
    return set(re.findall(r"[a-z0-9']+", text.lower())) - FUNCTION_WORDS


def faithful(summary: str, review: str) -> bool:
    """Return whether a summary is not empty and has only content words of the review."""
    return bool(summary) and content(summary) <= content(review)


def agrees(summary: str, review) -> bool:
    """Return whether a summary has a clause of the review's polarity and none of the other."""
    low = summary.lower().rstrip(".!?")
    held = [clause.polarity for clause in review.clauses
            if clause.text.rstrip(".!?") in low or low in clause.text]  # fmt: skip
    return bool(held) and set(held) == {review.label} and bool(talk.main_clauses(review))


def structured(served: Served, rng: random.Random, n: int):
    """Yield the gates on JSON answers: valid, and as accurate as plain ones."""
    items = suites.json_answers(rng, n)
    got = served.answers(items)
    yield gate("JSON answers: valid", 0.99, [is_json(answer) for answer in got[1::2]])
    right = [answer == item.answer for answer, item in zip(got, items, strict=True)]
    loss = stats.paired_difference(right[1::2], right[::2])
    yield Gate("JSON answers: right, less plain answers to the same texts", "≥ -0.03",
               str(loss), loss.n, loss.value >= -0.03)  # fmt: skip
    yield gate("of these, JSON right", None, right[1::2])


def is_json(text: str) -> bool:
    """Return whether a text is a JSON object."""
    try:
        return isinstance(json.loads(text), dict)
    except ValueError:
        return False


def same_as_reference(model, vocabulary: Path, half: Path, n: int = 20, seed: int = 1) -> Gate:
    """Compare greedy answers of the served F16 file with those of transformers."""
    import torch

    rng, tokenizer = random.Random(seed), bpe.load(vocabulary)
    items = suites.in_grammar(rng, n // 2) + suites.memory(rng, n - n // 2)
    end, same = tokenizer.token_to_id(bpe.END), []
    with serving(half, 1) as url, torch.no_grad():
        served = Served(url)
        for item in items:
            ids = tokenizer.encode(bpe.conversation(item.turns)).ids
            generated = model.generate(torch.tensor([ids]), max_new_tokens=40, do_sample=False,
                                  eos_token_id=end, pad_token_id=0)[0, len(ids):]  # fmt: skip
            expected = tokenizer.decode([t for t in generated.tolist() if t != end])
            cut = "\ufffd"  # only one of the two shows a character that the limit cuts
            same.append(served.answer(item, 40).rstrip(cut) == expected.strip().rstrip(cut))
    return Gate("F16 served, greedy = transformers, greedy", f"{n}/{n}",
                f"{sum(same)}/{n}", n, all(same))  # fmt: skip


def speed(model: Path, requests: int = 300) -> list[Gate]:
    """Measure requests a second and the time to first token, with 8 tokens an answer."""
    ask = [{"role": "user", "content": suites.prompts()[suites.PLAIN][0].format(t="It is fine.")}]
    gates = []
    with serving(model) as url:
        client = Served(url).client

        def call(_=None) -> None:
            client.chat.completions.create(
                model="local", messages=ask, max_tokens=8, temperature=0,
                extra_body={"ignore_eos": True},
            )  # fmt: skip

        for number in range(20):
            call(number)
        for streams, goal in ((1, 100), (8, 150)):
            started = time.perf_counter()
            with ThreadPoolExecutor(streams) as pool:
                list(pool.map(call, range(requests)))
            rate = requests / (time.perf_counter() - started)
            gates.append(Gate(f"requests a second, {streams} at a time, 8 tokens each",
                              f"≥ {goal}", f"{rate:.0f}", requests, rate >= goal))  # fmt: skip
        waits = sorted(first_token(client, ask) for _ in range(100))
    gates.append(Gate("time to first token, p50", "≤ 10 ms", f"{waits[50] * 1000:.1f} ms", 100,
                      waits[50] <= 0.010))  # fmt: skip
    return gates


def first_token(client, ask: list) -> float:
    """Return the seconds until the first token of a stream."""
    started = time.perf_counter()
    with client.chat.completions.create(model="local", messages=ask, max_tokens=2, temperature=0,
                                        stream=True) as stream:  # fmt: skip
        for part in stream:
            if part.choices and part.choices[0].delta.content:
                break
    return time.perf_counter() - started
