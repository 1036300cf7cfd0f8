"""Requests that each provider's models take: what is known of them, and what a refusal teaches."""

import json

import openai
import pytest
from llmops import fakes
from llmops import provider_fakes as providers

from diptych.base import plugins
from diptych.llmops.client import adaptation
from diptych.llmops.client.adaptation import read_refusal
from diptych.llmops.client.ask import ask, ask_many
from diptych.llmops.client.budget import Budget
from diptych.llmops.client.providers import EndpointError, provider
from diptych.llmops.client.target import Target

LABEL = {"temperature": 0.0, "max_tokens": 16, "logprobs": True}
SCHEMA = {"type": "object", "properties": {"label": {"type": "string"}}, "required": ["label"]}
FORM = {
    "type": "json_schema",
    "json_schema": {"name": "answer", "strict": True, "schema": SCHEMA},
}
TOOL = {"type": "function", "function": {"name": "label", "parameters": SCHEMA}}
PROMPTS = [f"a {'bad' if i % 3 else 'good'} film {i}" for i in range(32)]
LABELS = ["negative" if i % 3 else "positive" for i in range(32)]


@pytest.fixture(autouse=True)
def _a_new_process(monkeypatch):
    monkeypatch.setenv("TEST_KEY", providers.KEY)
    adaptation.forget()


@pytest.fixture
def at(tmp_path, monkeypatch, calls):
    """Serve a fake as the endpoint ``mine`` of a workspace, and ask it."""
    (tmp_path / "params").mkdir()
    (tmp_path / "notebooks").mkdir()
    (tmp_path / "pyproject.toml").touch()
    monkeypatch.chdir(tmp_path)

    def ways(fake, model, entry="", **more):
        key = "" if fake.name == "ollama" else "  key_env: TEST_KEY\n"
        line = f"mine:\n  base_url: {fake.url}\n{key}{entry}"
        (tmp_path / "params" / "endpoints.yaml").write_text(line)
        from diptych.llmops.client import providers as known

        known._from_file.cache_clear()
        more = {"parameters": LABEL, "calls": calls, "max_retries": 0} | more
        return fakes.ways(endpoint="mine", model=model, **more)

    return ways


def asked(fake):
    return [body for body in fake.seen if isinstance(body, dict)]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("make", "model", "entry"),
    [
        (providers.OpenAI, "gpt-5-mini", "  like: openai\n"),
        (providers.OpenAI, "gpt-5-mini", "  like: openai\n  format: responses\n"),
        (providers.Anthropic, "claude-opus-4-8", "  like: anthropic\n"),
        (providers.Anthropic, "claude-sonnet-5", "  format: anthropic_messages\n"),
        (providers.Gemini, "gemini-3-flash", "  like: gemini\n"),
        (providers.Ollama, "qwen3", "  like: ollama\n"),
    ],
)
def test_a_known_model_takes_the_first_request(at, make, model, entry, stream):
    fake = make(thinks=200 if model != "claude-opus-4-8" else 0)
    with providers.serving(fake):
        way = at(fake, model, entry, concurrency=16, stream=stream)
        answers = ask_many(PROMPTS, *way)
        assert [answer.error for answer in answers] == [""] * 32
        assert [answer.text for answer in answers] == LABELS
        assert fake.refusals == []
        assert len(fake.seen) == 32
        assert answers[0].completion_tokens == fake.thinks + 1
        if stream:
            assert answers[0].first_token_ms > 0


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("make", "fields", "entry"),
    [
        (lambda: providers.OpenAI(thinks=200), {}, ""),
        (lambda: providers.OpenAI(thinks=200), {"stop": ["\n"], "seed": 7, "top_logprobs": 5}, ""),
        (lambda: providers.OpenAI(system=False), {}, ""),
        (lambda: providers.OpenAI(reasons=False, honours=frozenset()), {"seed": 7}, ""),
        (
            lambda: providers.OpenAI(reasons=False, honours=frozenset()),
            {"stop": ["x"], "response_format": FORM},
            "",
        ),
        (lambda: providers.OpenAI(thinks=200), {}, "  format: responses\n"),
        (providers.Anthropic, {"thinking": 2000}, "  format: anthropic_messages\n"),
        (providers.Gemini, {"top_logprobs": 3, "seed": 1}, ""),
    ],
)
def test_an_unknown_model_is_learned_in_two_extra_calls_at_most(at, make, fields, entry, stream):
    fake = make()
    fake.delay = 0.02
    requests = [
        {"messages": [{"role": "system", "content": "Label."}, {"role": "user", "content": text}]}
        for text in PROMPTS
    ]
    with providers.serving(fake):
        parameters = LABEL | fields
        way = at(fake, "new-model", entry, concurrency=16, stream=stream, parameters=parameters)
        answers = ask_many(requests, *way)
        assert [answer.error for answer in answers] == [""] * 32
        assert [answer.text for answer in answers] == LABELS
        assert 1 <= len(fake.refusals) <= 2
        assert len(fake.seen) == 32 + len(fake.refusals)


def test_what_was_asked_and_what_was_sent_are_on_record_and_replayed(at, calls):
    with providers.serving(providers.OpenAI(thinks=20)) as fake:
        way = at(fake, "new-model")
        first = ask("a good film", *way)
        adaptation.forget()  # a new process
        again = ask("a good film", *way)
        assert again.cached
        assert again.changes == first.changes
        seen = len(fake.seen)
        other = ask({"messages": [{"role": "user", "content": "a good film"}], "seed": 1}, *way)
        assert not other.cached
        assert len(fake.seen) > seen
    row = calls.table().iloc[0]
    assert row["input"]["max_tokens"] == 16
    assert row["changes"]["max_tokens"] == "max_completion_tokens"
    sent = fake.seen[2]
    assert adaptation.apply(row["input"], row["changes"]) == sent
    words = adaptation.describe(row["changes"])
    assert "temperature" in words.split(" left out")[0]
    assert "max_completion_tokens for max_tokens" in words


def test_another_format_is_another_call(at):
    with providers.serving(providers.OpenAI()) as fake:
        ask("a good film", *at(fake, "gpt-5", "  like: openai\n"))
        other = ask("a good film", *at(fake, "gpt-5", "  like: openai\n  format: responses\n"))
        assert not other.cached
        assert len(fake.seen) == 2


def test_room_to_think_is_held_back_of_the_budget_before_it_is_sent(at):
    with providers.serving(providers.OpenAI(thinks=20)) as fake:
        budget = Budget(max_tokens=20_000)
        answers = ask_many(PROMPTS, *at(fake, "new-model", budget=budget, concurrency=16))
        assert [answer.text for answer in answers] == LABELS
        assert budget.held_tokens == 0
        assert budget.tokens == 32 * (10 + 21)


def test_thoughts_that_stand_in_the_total_only_are_counted(at):
    with providers.serving(providers.Gemini(thinks=200, total_only=True)) as fake:
        answer = ask("a good film", *at(fake, "gemini-3-flash", "  like: gemini\n"))
        assert (answer.prompt_tokens, answer.completion_tokens) == (10, 201)


def test_cached_tokens_cost_what_the_cache_costs(at):
    usd = {}
    for cached in (0, 8):
        with providers.serving(providers.Anthropic(samples=True, cached=cached)) as fake:
            way = at(fake, "claude-sonnet-4-5", "  like: anthropic\n")
            usd[cached] = ask("a good film", *way).usd
    assert usd[8] < usd[0]


def test_a_prompts_own_limit_and_thinking_are_kept(at):
    with providers.serving(providers.OpenAI(thinks=20)) as fake:
        entry = "  like: openai\n  models:\n    - match: [gpt-5*]\n"
        entry += "      parameters: {reasoning_effort: low, verbosity: low}\n"
        way = at(fake, "gpt-5", entry, parameters=LABEL | {"thinking": 100})
        assert ask("a good film", *way).text == "positive"
        (body,) = fake.seen
        assert body["max_completion_tokens"] == 116
        assert body["reasoning_effort"] == "low"
        assert body["verbosity"] == "low"
        assert "thinking" not in body


def test_claude_gets_its_own_form(at):
    with providers.serving(providers.Anthropic(samples=True, thinks=3, cached=4)) as fake:
        fields = {"thinking": 1024, "stop": "x", "response_format": FORM, "reasoning_effort": None}
        way = at(fake, "claude-sonnet-4-5", "  like: anthropic\n", parameters=LABEL | fields)
        image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
        words = {"type": "text", "text": "a good film"}
        messages = [
            {"role": "system", "content": "Label."},
            {"role": "user", "content": [words, image]},
        ]
        answer = ask({"messages": messages}, *way)
        (body,) = fake.seen
        assert body["system"] == "Label."
        assert body["thinking"] == {"type": "enabled", "budget_tokens": 1024}
        assert body["max_tokens"] == 1024 + 16
        assert "temperature" not in body
        assert body["stop_sequences"] == ["x"]
        assert body["output_config"] == {"format": {"type": "json_schema", "schema": SCHEMA}}
        source = {"type": "base64", "media_type": "image/png", "data": "AAAA"}
        assert body["messages"][0]["content"][1] == {"type": "image", "source": source}
        assert json.loads(answer.text) == {"label": "positive"}
        assert answer.prompt_tokens == 10
        assert answer.response["choices"][0]["message"]["reasoning_content"] == "Is it good?"
        assert answer.response["usage"]["prompt_tokens_details"]["cached_tokens"] == 4


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("make", "entry"),
    [
        (providers.Anthropic, "  like: anthropic\n"),
        (providers.OpenAI, "  like: openai\n  format: responses\n"),
    ],
)
def test_tool_calls_are_kept(at, make, entry, stream):
    with providers.serving(make()) as fake:
        model = "claude-opus-4-8" if fake.name == "anthropic" else "gpt-5"
        fields = LABEL | {"tools": [TOOL], "tool_choice": "required"}
        answer = ask("a good film", *at(fake, model, entry, parameters=fields, stream=stream))
        (call,) = answer.response["choices"][0]["message"]["tool_calls"]
        assert json.loads(call["function"]["arguments"]) == {"label": "positive"}
        assert answer.response["choices"][0]["finish_reason"] == "tool_calls"


def test_an_answer_that_its_limit_cut_says_so(at):
    with providers.serving(providers.OpenAI(thinks=500)) as fake:
        for entry in ("  like: openai\n", "  like: openai\n  format: responses\n"):
            limit = {"max_completion_tokens": 20}
            answer = ask("a good film", *at(fake, "gpt-5", entry, parameters=limit))
            assert answer.response["choices"][0]["finish_reason"] == "length"


@pytest.mark.parametrize(
    ("text", "named", "field", "instead"),
    [
        ("Unsupported parameter: 'max_tokens' is not supported with this model. Use "
         "'max_completion_tokens' instead.", "", "max_tokens", "max_completion_tokens"),
        ("Unrecognized request argument supplied: seed", "", "seed", ""),
        ("`temperature` and `top_p` cannot both be specified for this model.", "", "top_p", ""),
        ("extraneous key [logprobs] is not permitted", "", "logprobs", ""),
        ('{"detail": [{"type": "extra_forbidden", "loc": ["body", "seed"]}]}', "", "seed", ""),
        ("Unsupported value: 'messages[0].role' does not support 'system' with this model.",
         "messages[0].role", "system", "developer"),
        ("Conversation roles: System role not supported", "", "system", "user"),
        ("This response_format type is unavailable now, it is not supported",
         "", "response_format", ""),
    ],
)  # fmt: skip
def test_a_refusal_names_its_field(text, named, field, instead):
    body = {
        "model": "m",
        "messages": [{"role": "system"}],
        "top_p": 1,
        "seed": 1,
        "response_format": FORM,
    } | LABEL
    refusal = read_refusal(body, text, named)
    assert (refusal.name, refusal.instead) == (field, instead)


@pytest.mark.parametrize(
    "text",
    [
        "max_tokens is too large: 50000. This model supports at most 16384 completion tokens",
        "This model's maximum context length is 2000 tokens",
        "Invalid value for 'temperature': must be at most 2",
        "The model does not support image input",
    ],
)
def test_an_error_about_a_value_is_no_refusal(text):
    assert read_refusal({"model": "m", "messages": [{"role": "user"}], **LABEL}, text) is None


def test_a_package_adds_a_format_and_a_line_an_endpoint(at, tmp_path, monkeypatch):
    (tmp_path / "their_format.py").write_text(
        "from diptych.llmops.client.formats.chat_completions import ChatCompletions\n"
        "class Theirs(ChatCompletions):\n"
        "    NAMES = {'heat': 'temperature'}\n"
        "FORMAT = Theirs()\n"
    )
    info = tmp_path / "theirs-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: theirs\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[diptych.formats]\ntheirs = their_format:FORMAT\n")
    monkeypatch.syspath_prepend(tmp_path)
    plugins.forget()
    with providers.serving(providers.OpenAI(reasons=False)) as fake:
        assert ask("a good film", *at(fake, "m", "  format: theirs\n")).text == "positive"
    plugins.forget()


def test_an_address_with_a_variable_names_it_where_it_is_not_set(monkeypatch):
    monkeypatch.delenv("AZURE_OPENAI_ENDPOINT", raising=False)
    from diptych.llmops.client.providers import EndpointError

    with pytest.raises(EndpointError, match="AZURE_OPENAI_ENDPOINT is not set"):
        provider("azure")
    monkeypatch.setenv("AZURE_OPENAI_ENDPOINT", "https://mine.openai.azure.com/")
    assert provider("azure").base_url == "https://mine.openai.azure.com/openai/v1"
    rules = provider("azure").rules({"model": "gpt-5", "messages": []})
    assert rules["max_tokens"] == "max_completion_tokens"


@pytest.mark.parametrize(
    ("text", "model", "parameters"),
    [
        ("openai/gpt-5?reasoning_effort=low&max_tokens=64&seed=null", "gpt-5",
         {"reasoning_effort": "low", "max_tokens": 64, "seed": None}),
        ("http://127.0.0.1:9/v1#m?thinking=100", "m", {"thinking": 100}),
        ("openai?max_tokens=3", "", {"max_tokens": 3}),
        ("local?max_tokens=3", "", {"max_tokens": 3}),
    ],
)  # fmt: skip
def test_a_models_text_holds_fields(text, model, parameters):
    target = Target.parse(text)
    assert (target.model, target.parameters) == (model, parameters)
    assert "?" not in target.endpoint
    with pytest.raises(ValueError, match="'low' is no field"):
        Target.parse("openai/gpt-5?low")


def run(arguments, capsys):
    from diptych import cli

    with pytest.raises(SystemExit) as ended:
        cli.main(["endpoint", "check", *arguments])
    captured = capsys.readouterr()
    return ended.value.code, captured.out, captured.err


@pytest.mark.parametrize(
    ("make", "model", "entry", "words"),
    [
        (lambda: providers.OpenAI(thinks=50), "gpt-5", "  like: openai\n",
         ["max_completion_tokens for max_tokens", "up to 50 tokens", "USD per million"]),
        (lambda: providers.Anthropic(), "claude-opus-4-8", "  like: anthropic\n",
         ["temperature", "anthropic_messages", "25 written"]),
        (lambda: providers.OpenAI(), "new-model", "", ["temperature", "no price is known"]),
    ],
)  # fmt: skip
def test_a_check_says_what_a_model_takes_returns_and_costs(
    at, capsys, calls, make, model, entry, words
):
    with providers.serving(make()) as fake:
        at(fake, model, entry)
        code, out, err = run([f"mine/{model}"], capsys)
        assert (code, err) == (0, "")
        assert all(word in out for word in words), out
        assert "its tokens" in out
        assert len(fake.seen) <= 7 + 2 * 3  # of three kinds of requests that it may refuse
        before = len(fake.seen)
        code, out, _ = run([f"mine/{model}", "--json"], capsys)
        anew = len(fake.seen) - before
        assert json.loads(out)["this check"].startswith(f"{anew} calls")
        assert anew in (6, 7)  # nothing is learned twice


def test_a_check_without_a_key_says_which_variable(at, capsys, monkeypatch):
    monkeypatch.delenv("TEST_KEY")
    with providers.serving(providers.OpenAI()) as fake:
        at(fake, "gpt-5")
        code, out, err = run(["mine/gpt-5"], capsys)
    assert code == 1
    assert out == ""
    assert "TEST_KEY is not set; export it with your key" in err
    assert "Traceback" not in err
    code, _, err = run(["opnai"], capsys)
    assert "Did you mean openai?" in err


def test_the_official_client_reads_the_fake_as_the_provider():
    with providers.serving(providers.OpenAI(thinks=5, cached=2)) as fake:
        client = openai.OpenAI(base_url=fake.url, api_key=providers.KEY, max_retries=0)
        messages = [{"role": "user", "content": "a good film"}]
        with pytest.raises(openai.BadRequestError) as error:
            client.chat.completions.create(model="m", messages=messages, max_tokens=5)
        assert (error.value.param, error.value.code) == ("max_tokens", "unsupported_parameter")
        whole = client.chat.completions.create(model="m", messages=messages)
        assert whole.choices[0].message.content == "positive"
        assert whole.usage.completion_tokens_details.reasoning_tokens == 5
        made = client.responses.create(model="m", input=messages)
        assert made.output_text == "positive"
        assert made.usage.input_tokens_details.cached_tokens == 2
        with client.responses.stream(model="m", input=messages) as events:
            kinds = [event.type for event in events]
            assert events.get_final_response().output_text == "positive"
        assert kinds[-1] == "response.completed"


def test_a_wrong_key_ends_a_run_whatever_its_status(at, monkeypatch):
    monkeypatch.setenv("TEST_KEY", "wrong")
    for make, entry in ((providers.Gemini, ""), (providers.Anthropic, "  like: anthropic\n")):
        with providers.serving(make()) as fake:
            way = at(fake, "m", entry, give_up=True, concurrency=1)
            with pytest.raises(EndpointError, match="give a key that it takes"):
                ask_many(PROMPTS, *way)
            assert len(fake.seen) == 1
