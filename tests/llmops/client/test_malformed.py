"""Damaged answers over real sockets: each row is answered or failed, and the run goes on."""

import asyncio
import json
import random
import time

import httpx2
import pytest
from llmops import fake_faults as faults
from llmops import fakes
from llmops import provider_fakes as providers

from diptych.llmops.client import attempts, limits
from diptych.llmops.client.ask import ask, ask_many
from diptych.llmops.client.budget import Budget
from diptych.llmops.client.formats import outcomes

LONG = pytest.mark.long


@pytest.fixture(scope="module")
def url():
    def answer(request):
        form = faults.FORMS[request["model"]]
        return form.streamed if request.get("stream") else form.whole

    with faults.serving(answer) as url:
        yield url


def one_of_each() -> list[dict]:
    prompt = [{"role": "user", "content": "Is it good?"}]
    return [{"model": name, "messages": prompt, "max_tokens": 5} for name in faults.FORMS]


@pytest.mark.parametrize("stream", [False, True])
def test_each_form_is_an_answer_or_a_failed_row_with_its_reason(url, calls, stream):
    budget = Budget(max_tokens=1_000_000)
    way = fakes.ways(
        endpoint=url, calls=calls, stream=stream, max_retries=0, budget=budget, run="r"
    )
    assert len(faults.FORMS) >= 200
    answers = ask_many(one_of_each(), *way)
    wrong = []
    for answer, (name, form) in zip(answers, faults.FORMS.items(), strict=True):
        kind, value = (stream and form.streamed_becomes) or form.becomes
        right = {
            faults.TEXT: answer.text == value and not answer.error,
            faults.OUTCOME: answer.outcome == value and not answer.error,
            faults.REASON: answer.text is None and answer.error and str(value) in answer.error,
        }[kind]
        if not right or "\n" in answer.error or faults.KEY_WORDS in answer.error:
            wrong.append((name, value, answer.text, answer.error, answer.outcome))
    assert wrong == []
    rows = calls.table(run="r").set_index("model")
    assert set(rows.index) == set(faults.FORMS)
    by_name = dict(zip(faults.FORMS, answers, strict=True))
    assert rows["outcome"].to_dict() == {name: x.outcome for name, x in by_name.items()}
    assert (rows["status"] == "failed").to_dict() == {n: bool(x.error) for n, x in by_name.items()}
    counts = rows[["prompt_tokens", "completion_tokens"]]
    assert not (counts < 0).any(axis=None)
    assert counts.max().max() <= 5
    assert 0 <= budget.tokens <= budget.max_tokens


def test_a_replayed_answer_is_the_first_one_in_every_form(url, calls):
    way = fakes.ways(endpoint=url, calls=calls, max_retries=0)
    first, again = (ask_many(one_of_each(), *way) for _ in range(2))
    for one, two in zip(first, again, strict=True):
        assert two.cached == (not one.error)
        if two.cached:
            assert (two.text, two.outcome, two.log_probabilities) == (
                one.text, one.outcome, one.log_probabilities
            )  # fmt: skip


def test_what_is_no_whole_answer_is_asked_again_by_choice(url, calls):
    requests = [x for x in one_of_each() if x["model"] in ("message: refusal", "content: null")]
    way = {"endpoint": url, "calls": calls, "max_retries": 0}
    assert {x.outcome for x in ask_many(requests, *fakes.ways(**way))} == {"refused", "empty"}
    again = ask_many(requests, *fakes.ways(**way, ask_again=("refused",)))
    assert {x.outcome: x.cached for x in again} == {"refused": False, "empty": True}
    with pytest.raises(ValueError, match="ask_again: 'denied' is no outcome; there are answered"):
        fakes.ways(ask_again=("denied",))


def test_tool_calls_of_a_stream_are_put_together(calls):
    def piece(call, finish=None):
        delta = {"tool_calls": [call]}
        return {"choices": [{"index": 0, "delta": delta, "finish_reason": finish}]}

    first = {"index": 0, "id": "7", "type": "function", "function": {"name": "f", "arguments": ""}}
    more = [{"index": 0, "function": {"arguments": x}} for x in ('{"a":', " 1}")]
    stream = faults.sse(piece(first), *map(piece, more), piece({}, "tool_calls"))
    with faults.serving(lambda _: stream) as url:
        answer = ask("x", *fakes.ways(endpoint=url, model="m", calls=calls, stream=True))
    (call,) = [x for x in answer.response["choices"][0]["message"]["tool_calls"] if x["function"]]
    assert call == {
        "id": "7", "type": "function", "function": {"name": "f", "arguments": '{"a": 1}'}
    }  # fmt: skip
    assert answer.outcome == outcomes.TOOL_CALL


@pytest.mark.parametrize("stream", [False, True])
def test_an_answer_that_drips_ends_in_time_and_is_not_asked_again(calls, stream):
    asked = []

    async def drip():
        kind = "text/event-stream" if stream else "application/json"
        yield f"HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nContent-Length: 9999\r\n\r\n".encode()
        for _ in range(9999):
            yield b" " if not stream else b": ping\n\n"
            await asyncio.sleep(0.05)

    with faults.serving(lambda request: asked.append(request) or drip()) as url:
        began = time.monotonic()
        way = fakes.ways(endpoint=url, model="m", calls=calls, stream=stream, timeout_s=0.5)
        answer = ask("x", *way)
        assert "did not end within 0.5 s; raise timeout_s" in answer.error
        assert time.monotonic() - began < 20
    assert len(asked) == 1


@pytest.mark.parametrize("stream", [False, True])
def test_a_connection_reset_in_mid_answer_broke_and_is_no_timeout(calls, stream, monkeypatch):
    """The client's transport calls it a timeout; a killed server of this machine does it, too."""
    monkeypatch.setattr(attempts, "FIRST_S", 0.01)
    kind = "text/event-stream" if stream else "application/json"
    asked = []

    async def reset():
        yield f"HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nContent-Length: 9999\r\n\r\n".encode()
        yield b'data: {"choices": [{"delta": {"content": "posi"}}]}\n\n'
        await asyncio.sleep(0.1)
        yield faults.RESET

    with faults.serving(lambda request: asked.append(request) or reset()) as url:
        way = fakes.ways(endpoint=url, model="m", calls=calls, stream=stream, max_retries=1)
        answer = ask("x", *way)
    assert "the connection broke" in answer.error
    assert len(asked) == 2


@pytest.mark.parametrize("error", [httpx2.ConnectTimeout("reset"), RuntimeError("closed.")])
def test_whatever_the_transport_calls_a_connection_that_is_gone_it_broke(error):
    """Which it is depends on what came last before the end."""

    class Gone(httpx2.AsyncByteStream):
        async def __aiter__(self):
            yield b"half"
            raise error

    request = httpx2.Request("POST", "http://127.0.0.1/v1")
    response = httpx2.Response(200, stream=Gone(), request=request)

    async def read() -> None:
        async for _ in limits._Body(response, None, 5.0, 1000):
            pass

    with pytest.raises(httpx2.RemoteProtocolError):
        asyncio.run(read())


@pytest.mark.parametrize("packed", [False, True])
def test_an_answer_that_is_too_large_is_a_failure(calls, packed):
    import gzip

    text = json.dumps(faults.body("x" * 3_000_000)).encode()
    more = "Content-Encoding: gzip\r\n" if packed else ""
    answer = faults.http(gzip.compress(text) if packed else text, more=more)
    with faults.serving(lambda _: answer) as url:
        way = {"endpoint": url, "model": "m", "calls": calls}
        small = ask("x", *fakes.ways(**way, max_bytes=2_000_000))
        assert "the answer is larger than 2,000,000 bytes" in small.error
        assert len(ask("x", *fakes.ways(**way)).text) == 3_000_000


def test_a_key_is_not_sent_to_where_an_endpoint_redirects(calls, monkeypatch):
    monkeypatch.setenv("TEST_KEY", fakes.KEY)
    elsewhere = []
    with faults.serving(lambda x: elsewhere.append(x) or faults.http("{}")) as other:
        place = f"Location: {other}/chat/completions\r\n"
        redirect = faults.http("", status="307 Temporary Redirect", more=place)
        with faults.serving(lambda _: redirect) as url:
            way = fakes.ways(endpoint=url, model="m", calls=calls, key_env="TEST_KEY")
            assert "it redirects to 127.0.0.1, which is not followed" in ask("x", *way).error
    assert elsewhere == []


def damaged(value, dice: random.Random):
    """Return JSON with one of its values replaced, at random."""
    odd = [None, [], {}, "", "x", -1, 1.5, True, [None], {"a": None}, float("nan"), 10**30]
    if not isinstance(value, dict | list) or not value or dice.random() < 0.15:
        return dice.choice(odd)
    keys = list(value) if isinstance(value, dict) else range(len(value))
    chosen = dice.choice(keys)
    pairs = [(key, damaged(value[key], dice) if key == chosen else value[key]) for key in keys]
    return dict(pairs) if isinstance(value, dict) else [x for _, x in pairs]


@pytest.mark.parametrize("number", [150, pytest.param(10_000, marks=LONG)])
@pytest.mark.parametrize("stream", [False, True])
def test_answers_damaged_at_random_never_end_a_run(calls, number, stream):
    dice = random.Random(number)
    token = {"token": "a", "logprob": -0.1, "top_logprobs": [{"token": "a", "logprob": -0.1}]}
    whole = faults.body("positive", error=None)
    whole["choices"][0] |= {"logprobs": {"content": [token]}}
    pieces = [faults.chunk("posi", None), faults.chunk("tive"), {"choices": [], "usage": {"x": 1}}]

    def answer(request):
        chance = dice.random()
        if request.get("stream"):
            content = faults.sse(*(damaged(x, dice) if dice.random() < 0.5 else x for x in pieces))
            content = content if isinstance(content, bytes) else faults.sse(*pieces)
        else:
            content = faults.http(json.dumps(damaged(whole, dice)))
        if chance < 0.2:
            cut = dice.randrange(len(content))
            content = content[:cut] + dice.choice([b"", b"\x00", b"\xff", b"\r\n", b"{"])
        return content

    with faults.serving(answer) as url:
        way = fakes.ways(endpoint=url, model="m", calls=calls, stream=stream, max_retries=0)
        answers = ask_many([f"question {i}" for i in range(number)], *way)
    assert len(answers) == number
    assert all((x.text is None) == bool(x.error) for x in answers)
    assert len(calls.table()) == number


def of_claude(dice: random.Random, stream: bool):
    """Return an answer of Messages with a part of it damaged."""
    fake = providers.Anthropic(thinks=1)
    request = {"model": "m", "max_tokens": 9, "messages": [{"content": "x"}]}
    whole = fake.whole(request | {"tools": [1]} if dice.random() < 0.3 else request)
    if not stream:
        return faults.http(json.dumps(damaged(whole, dice)))
    return events([{"event": x["type"], "data": x} for x in fake.events(whole)], dice)


def of_responses(dice: random.Random, stream: bool):
    """Return an answer of Responses with a part of it damaged."""
    fake = providers.OpenAI(reasons=False)
    whole = fake.response({"model": "m", "input": [{"content": "x"}]})
    if not stream:
        return faults.http(json.dumps(damaged(whole, dice)))
    return events([{"event": x["type"], "data": x} for x in fake.events(whole)], dice)


def events(pieces: list[dict], dice: random.Random) -> bytes:
    pieces = [{**x, "data": damaged(x["data"], dice) if dice.random() < 0.3 else x["data"]}
              for x in pieces]  # fmt: skip
    text = "".join(f"event: {x['event']}\ndata: {json.dumps(x['data'])}\n\n" for x in pieces)
    return faults.http(text, "text/event-stream")


@pytest.mark.parametrize("number", [150, pytest.param(5_000, marks=LONG)])
@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("make", "wire"), [(of_claude, "anthropic_messages"), (of_responses, "responses")]
)
def test_damaged_answers_of_other_formats_never_end_a_run(
    calls, tmp_path, monkeypatch, make, wire, stream, number
):
    dice = random.Random(number)
    with faults.serving(lambda _: make(dice, stream)) as url:
        fakes.as_clone(tmp_path, f"mine:\n  base_url: {url}\n  format: {wire}\n", monkeypatch)
        way = fakes.ways(endpoint="mine", model="m", calls=calls, stream=stream, max_retries=0)
        answers = ask_many([f"question {i}" for i in range(number)], *way)
    assert len(answers) == number
    assert all((x.text is None) == bool(x.error) for x in answers)
    assert len(calls.table()) == number
    failed = sum(bool(x.error) for x in answers)
    assert 0 < failed < number
