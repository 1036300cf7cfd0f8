"""Answers that can be nothing but a label or a number: with llama.cpp running, and on the wire."""

import math
from dataclasses import replace

import pandas as pd
import pytest
from llmops.answer_server import answering

from diptych.llmops import serve
from diptych.llmops.client.ask import ask_many
from diptych.llmops.client.call_options import CallOptions
from diptych.llmops.client.fallback import Link
from diptych.llmops.client.target import Target
from diptych.llmops.evaluation import evaluate
from diptych.llmops.prompts import bundle, constraint
from diptych.llmops.prompts.prompt import Prompt
from diptych.llmops.prompts.variant import Variant, grid

ODD = ('say "x"', "C#", "St\u00f6rung", "\U0001f44d", "back\\slash", "two words", "A", "A*")
ROWS = pd.DataFrame({
    "id": ["a", "b", "c"], "text": ["a great film", "a dull film", "nothing at all"],
    "label": ["positive", "negative", "negative"], "slice": "",
})  # fmt: skip


def prompt(*labels, kind="string"):
    output = {"type": kind, "enum": list(labels)} if labels else {"type": kind}
    return Prompt("p", "t", ("text",), "", "Say something about {text}", output=output)


POLAR = prompt("positive", "negative")


def test_a_decoding_that_does_not_suit_a_prompt_is_left_out():
    names = ["free", "choice", "scores"]
    assert [v.decoding for v in grid([POLAR], decodings=names)] == names
    assert [v.name for v in grid([POLAR], decodings=names)] == [
        "p",
        "p \u00b7 choice",
        "p \u00b7 scores",
    ]
    assert [v.decoding for v in grid([prompt(kind="number")], decodings=names)] == names[:2]
    assert [v.decoding for v in grid([prompt(kind="number")], decodings=["scores"])] == ["free"]
    text = Prompt("p", "t", ("text",), "", "{text}")
    assert [v.decoding for v in grid([text], decodings=["choice"])] == ["free"]
    with pytest.raises(ValueError, match="decoding: 'guess' is none; there are free, choice, sco"):
        grid([POLAR], decodings=["guess"])


def test_each_endpoint_is_asked_in_its_own_way():
    sent = {
        name: grid([POLAR], [name], decodings=["choice"])[0].fields()
        for name in ("local", "llamacpp", "vllm", "openai/gpt-4o")
    }
    assert sent["local"]["grammar"] == sent["llamacpp"]["grammar"]
    assert sent["local"]["grammar"] == 'root ::= "positive" | "negative"'
    assert sent["vllm"]["structured_outputs"] == {"choice": ["positive", "negative"]}
    schema = sent["openai/gpt-4o"]["response_format"]["json_schema"]["schema"]
    assert schema["properties"]["label"]["enum"] == ["positive", "negative"]
    scored = grid([POLAR], ["openai/gpt-4o"], decodings=["scores"])[0].fields()
    assert scored["top_logprobs"] == 20


def test_llama_answers_with_nothing_but_the_labels(gguf, shared, calls):
    target = Target(server={"model": gguf})
    way = Variant(prompt(*ODD), target, decoding="choice", temperature=1.5)
    texts = [{"text": f"number {i}"} for i in range(12)]
    answers = ask_many(way.requests(texts), target, CallOptions(calls=calls))
    assert {answer.text for answer in answers} <= set(ODD)
    numbers = Variant(prompt(kind="number"), target, decoding="choice", temperature=1.5)
    for answer in ask_many(numbers.requests(texts), target, CallOptions(calls=calls)):
        assert math.isfinite(float(answer.text))


def test_llama_scores_the_labels_by_their_probability(gguf, shared, calls):
    target = Target(server={"model": gguf})
    asks = replace(POLAR, user="Classify this text as positive or negative.\n{text}")
    ways = grid([asks], [target], decodings=["choice", "scores"])
    results = evaluate.evaluate(ways, ROWS, "label", CallOptions(calls=calls))
    assert set(results["outcome"]) == {"answered"}
    scores = results[results["variant"] == ways[1].name]
    assert (scores["confidence"] >= 0.5).all()


def logprobs(*tops):
    """Return a token with what might have been there instead."""
    likely = [{"token": text, "logprob": math.log(p), "bytes": None} for text, p in tops]
    return {"logprobs": {"content": [{**likely[0], "top_logprobs": likely}]}}


def says(body):
    """Write one spelling of a label, where another label has more probability in all."""
    if "great" not in body["messages"][-1]["content"]:
        content, known = "negative", logprobs(("negative", 0.9), ("positive", 0.1))
    else:
        tops = (("negative", 0.4), ("positive", 0.3), (" Positive", 0.2), ("The", 0.1))
        content, known = "negative", logprobs(*tops)
    return {"message": {"role": "assistant", "content": content}, "finish_reason": "length"} | known


def test_the_likeliest_label_counts_over_all_its_spellings(calls, home):
    with answering(says) as (target, _):
        written, scored = grid([POLAR], [target], decodings=["choice", "scores"])
        results = evaluate.evaluate([written, scored], ROWS, "label", CallOptions(calls=calls))
        served = serve.serve(scored, ROWS.assign(window="w"), [Link(target, 20.0)], "label",
                             CallOptions(run="r", calls=calls), ledger=home / "p.db")  # fmt: skip
        log = serve.log("r", served, calls=calls, ledger=home / "p.db").set_index("id")
    by_row = results.set_index(["variant", "id"])
    assert by_row.loc[(written.name, "a"), "predicted"] == "negative"
    assert by_row.loc[(written.name, "a"), "outcome"] == "cut"
    assert by_row.loc[(scored.name, "a"), "predicted"] == "positive"
    assert by_row.loc[(scored.name, "a"), "outcome"] == "answered"
    assert by_row.loc[(scored.name, "a"), "confidence"] == pytest.approx(0.5 / 0.9)
    assert by_row.loc[(scored.name, "b"), "confidence"] == pytest.approx(0.9)
    assert log.loc["a", "prediction"] == "positive"
    assert log.loc["a", "probability"] == pytest.approx(0.5 / 0.9)


def test_scores_without_probabilities_end_in_a_sentence(calls):
    with answering(lambda body: "positive") as (target, _):
        (scored,) = grid([POLAR], [target], decodings=["scores"])
        with pytest.raises(ValueError, match="decoding: scores needs log-probabilities, and http"):
            evaluate.evaluate([scored], ROWS, "label", CallOptions(calls=calls))


def test_the_decoding_is_released_with_the_prompt(tmp_path):
    (scored,) = grid([POLAR], decodings=["scores"])
    assert bundle.load(bundle.save(scored, tmp_path / "scored")).decoding == "scores"
    assert bundle.load(bundle.save(grid([POLAR])[0], tmp_path / "free")).decoding == "free"
    assert constraint.grammar(["a"]) == 'root ::= "a"'
