"""What is asked, by which name, and what it would cost."""

import math
import os
from dataclasses import replace

import pandas as pd
import pytest
from llmops import fakes

from diptych.core.store.calls import Calls
from diptych.core.store.prices import Price
from diptych.llmops.client.call_options import CallOptions
from diptych.llmops.client.providers import EndpointError
from diptych.llmops.client.target import Target
from diptych.llmops.evaluation.evaluate import evaluate
from diptych.llmops.prompts.prompt import Prompt
from diptych.llmops.prompts.variant import Step, Variant, by_step, forecast, grid

LABELS = {"type": "string", "enum": ["no", "yes"]}
PROMPT = Prompt("p", "t", ("text",), "", "{text}", output=LABELS)
ROWS = pd.DataFrame({"id": ["a", "b"], "text": ["one", "two"], "label": ["yes", "no"]})


def test_a_grid_is_every_combination_under_names_of_its_own():
    other = Prompt("q", "t", ("text",), "", "{text}?", output=LABELS)
    made = grid([PROMPT, other], ["local", "openai/gpt-4o"], [4, 0], [0.0, 0.7])
    assert len(made) == len({variant.name for variant in made}) == 16
    assert made[0].name == "p"
    assert made[-1].name == "q · openai · gpt-4o · k=4 · t=0.7"
    with_field = Variant(PROMPT, Target(parameters={"top_p": 0.5}, server={"model": "/x/y.gguf"}))
    assert with_field.name == "p · y · top_p=0.5"


@pytest.mark.parametrize(
    ("model", "fields"),
    [
        ("local", {}),
        ("local//home/me/model.gguf", {"server": {"model": "/home/me/model.gguf"}}),
        ("local/hf:o/r/f.gguf", {"server": {"model": "hf:o/r/f.gguf"}}),
        ("openai", {"endpoint": "openai", "model": ""}),
        ("vllm/Qwen/Q", {"endpoint": "vllm", "model": "Qwen/Q"}),
        ("http://h:1/v1#m/n", {"endpoint": "http://h:1/v1", "model": "m/n"}),
    ],
)
def test_a_model_is_an_endpoint_and_what_follows_it(model, fields):
    assert Target.parse(model) == Target(**fields)


def test_an_endpoint_that_is_not_known_is_named():
    with pytest.raises(EndpointError, match=r"'opnai' is not known\. Did you mean openai\?"):
        grid([PROMPT], ["opnai/gpt-4o"])


def test_the_answer_is_limited_by_what_it_may_be():
    fields = Variant(PROMPT, temperature=0.5).fields()
    assert (fields["temperature"], fields["logprobs"]) == (0.5, True)
    free = Variant(Prompt("p", "t", ("text",), "", "{text}")).fields()
    shape = {"type": "object", "properties": {"x": LABELS}}
    shaped = Variant(Prompt("p", "t", ("text",), "", "{text}", output=shape)).fields()
    assert fields["max_tokens"] < shaped["max_tokens"] < free["max_tokens"]
    assert shaped["response_format"]["json_schema"]["schema"] == shape
    own = Variant(PROMPT, Target(parameters={"logprobs": None, "max_tokens": 3})).fields()
    assert own == {"temperature": 0.0, "max_tokens": 3}


def test_a_models_own_fields_win_over_the_prompts_and_these_over_the_defaults():
    prompt = replace(PROMPT, request={"max_tokens": 40, "seed": 7})
    assert Variant(prompt).fields()["max_tokens"] == 40
    fields = Variant(prompt, Target.parse("local?max_tokens=50")).fields()
    assert (fields["max_tokens"], fields["seed"]) == (50, 7)


def test_requests_hold_as_many_shots_as_the_variant_takes():
    pool = [({"text": "s"}, "no"), ({"text": "t"}, "yes")]
    (first, _) = Variant(PROMPT, shots=1).requests(ROWS.to_dict("records"), pool)
    assert [message["content"] for message in first["messages"]] == ["s", "no", "one"]


def test_the_forecast_is_an_upper_end_of_what_is_paid_then(tmp_path, monkeypatch):
    monkeypatch.setenv("TEST_KEY", fakes.KEY)
    variants = grid([PROMPT], shots=[0, 2])
    pool = [({"text": "s"}, "no"), ({"text": "t"}, "yes")]
    models = ["openai/gpt-4o", "anthropic/claude-haiku-4-5"]
    with Calls(tmp_path / "ledger.db") as calls:
        options = CallOptions(calls=calls)
        found = forecast([Step("all", variants, ROWS)], models, pool, 1e-2, options)
        line = found.set_index("model").loc["openai/gpt-4o"]
        assert line["calls"] == 4
        usd = Price("openai", "gpt-4o").usd(int(line["tokens in"]), int(line["tokens out"]))
        assert line["usd, about"] == pytest.approx(usd)
        assert line["usd"] > usd
        assert found["fits"].tolist() == ["yes", "yes"]
        assert (
            forecast([Step("all", variants, ROWS)], models, pool, 1e-5, options)["fits"][0] == "no"
        )
        with fakes.serving(fakes.make("openai")) as fake:
            model = f"{fake.url}#m"
            before = forecast([Step("all", variants, ROWS)], [model], pool, 1.0, options).iloc[0]
            # this machine is free; the price of an address elsewhere is not known
            assert (before["calls"], before["cached"], before["fits"]) == (4, 0, "yes")
            assert before["usd"] == 0
            away = forecast([Step("all", variants, ROWS)], ["https://models.example/v1#m"],
                            pool, 1.0, options).iloc[0]  # fmt: skip
            assert (away["calls"], away["fits"]) == (4, "unknown")
            assert math.isnan(away["usd"])
            assert fake.seen == []
            asked = grid([PROMPT], [Target(fake.url, "m", key_env="TEST_KEY")], [0, 2])
            evaluate(asked, ROWS.head(1), "label", options, pool=pool)
        after = forecast([Step("all", variants, ROWS)], [model], pool, options=options).iloc[0]
        assert (after["calls"], after["cached"]) == (2, 2)


def test_a_step_of_which_one_variant_is_asked_counts_the_dearest_and_repeats_count():
    long = Prompt("long", "t", ("text",), "", "Say. " * 50 + "{text}", output=LABELS)
    one = Step("perturbed", grid([PROMPT, long]), ROWS, 3, one=True)
    both = by_step([one, Step("long", grid([long]), ROWS, 3)], "openai/gpt-4o")
    assert both["calls"].tolist() == [3 * len(ROWS)] * 2
    assert both["usd"].nunique() == 1
    assert both["step"].tolist() == ["perturbed", "long"]


def test_what_is_asked_where_it_is_free_costs_nothing_elsewhere(tmp_path):
    further = Step("further", grid([PROMPT]), ROWS, free=True)
    assert by_step([further], "openai/gpt-4o")[["calls", "usd"]].values.tolist() == [[0, 0]]
    assert by_step([further], "local")["calls"].tolist() == [len(ROWS)]
    large = tmp_path / "large.gguf"
    large.touch()
    os.truncate(large, 60_000_000)  # a real model is free, too, but not quick
    assert by_step([further], f"local/{large}")["calls"].tolist() == [0]
