"""A model is recorded once and replayed everywhere: the same answers, and none that do not fit."""

import json
import os
import signal
import subprocess
import sys
import time

import openai
import pandas as pd
import pytest
from click.testing import CliRunner
from llmops import fakes
from processes import end_servers

from diptych.cli import cli
from diptych.core.store.calls import Calls
from diptych.llmops import record, record_plan, record_tuned
from diptych.llmops import recorded as replay
from diptych.llmops.client import endpoint, load_test, recordings
from diptych.llmops.client.ask import ask, ask_many
from diptych.llmops.client.batch import BatchError, ask_batch
from diptych.llmops.client.budget import BudgetError
from diptych.llmops.client.call_options import CallOptions
from diptych.llmops.client.providers import EndpointError
from diptych.llmops.client.target import Target
from diptych.llmops.evaluation import evaluate, outcome
from diptych.llmops.prompts import variant
from diptych.llmops.prompts.prompt import read_prompt
from diptych.llmops.prompts.variant import Variant
from diptych.llmops.server import process

LABELS = ["negative", "positive"]
SMALL = record.Scope(
    "reviews",
    (("plain", (0, 2), {"valid": 6}), ("instruct/label_only", (0,), {"valid": 6, "test": 4})),
)
QUESTIONS = 2 * 6 + 6 + 4


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A workspace whose rows are read once."""
    before = os.environ.get("DIPTYCH_HOME")
    os.environ["DIPTYCH_HOME"] = str(tmp_path_factory.mktemp("home"))
    record.SCOPES["small"] = SMALL
    yield
    del record.SCOPES["small"]
    end_servers(record.workspace.home())
    os.environ.pop("DIPTYCH_HOME") if before is None else os.environ.update(DIPTYCH_HOME=before)


@pytest.fixture(scope="module")
def recorded(home, gguf):
    """The session in which the shipped model was recorded, and the rows of what was asked."""
    session = record.Session.of(f"box={gguf}", record.workspace.home() / "recordings")
    assert record.record(session, ["small"], progress=False) == QUESTIONS
    process.stop(**session.target.server)
    return session, list(record.parts("small", Target("recorded", "box")))


def live_calls(session):
    with Calls(session.ledger) as calls:
        return calls.table()


def test_a_replay_gives_what_was_recorded(recorded, tmp_path):
    session, parts = recorded
    assert process.find(**session.target.server) is None  # no server is needed
    before = live_calls(session).assign(q=lambda t: t["input"].map(recordings.question))
    before = before.set_index("q")
    with Calls(tmp_path / "ledger.db") as calls:
        for part in parts:
            requests = list(part.requests().values())
            answers = ask_many(requests, part.variant.target, CallOptions(calls=calls, run="r"))
            for body, answer in zip(requests, answers, strict=True):
                row = before.loc[recordings.question(body)]
                assert not answer.error
                assert answer.text == row["output"]
                assert answer.prompt_tokens == row["prompt_tokens"]
                assert answer.completion_tokens == row["completion_tokens"]
                assert answer.latency_ms == pytest.approx(row["latency_ms"], abs=0.051)
                assert answer.first_token_ms == pytest.approx(row["first_token_ms"], abs=0.051)
                assert answer.usd == 0
                before_tokens = row["response"]["choices"][0]["logprobs"]["content"]
                assert [x["token"] for x in answer.token_probabilities] == [
                    x["token"] for x in before_tokens
                ]
                for after, token in zip(answer.token_probabilities, before_tokens, strict=True):
                    assert after["logprob"] == pytest.approx(token["logprob"], abs=5.1e-5)
                    assert len(after["top_logprobs"]) == len(token["top_logprobs"]) == 5
                assert answer.response["recorded"]["threads"] == 1
        logged = calls.table()
    assert set(logged["endpoint"]) == {"recorded"}
    assert set(logged["model"]) == {"box"}
    assert not set(logged["request"]) & set(before["request"])  # never taken for live answers


def test_an_evaluation_of_a_recording_says_when_and_on_what(recorded, calls, capsys):
    _, parts = recorded
    part = parts[0]
    results = evaluate.evaluate([part.variant], part.rows, "label", CallOptions(calls=calls))
    assert (results["error"] == "").all()
    assert results["confidence"].notna().any()
    told = capsys.readouterr().out
    assert told.startswith("recorded/box: recorded 20")
    assert "1 thread" in told
    assert told.count("recorded/box") == 1


def test_a_changed_prompt_misses_loudly(recorded, calls):
    _, parts = recorded
    changed = read_prompt("reviews", "plain", LABELS)
    changed = record.replace(changed, user=changed.user.replace("this review", "the review"))
    edited = Variant(changed, Target("recorded", "box"))
    results = evaluate.evaluate([edited], parts[0].rows, "label", CallOptions(calls=calls))
    assert results["score"].isna().all()
    assert results["output"].isna().all()
    for error in results["error"]:
        assert changed.version in error
        assert "plain" in error
        assert "diptych model record box" in error
    with pytest.raises(outcome.UnmeasuredError, match="not recorded"):
        outcome.refuse_failed(results)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"max_tokens": 1}, "tokens"),
        ({"temperature": 0.7}, "temperature"),
        ({"top_logprobs": 9}, "probabilities"),
        ({"messages": [{"role": "user", "content": "another row"}]}, "row"),
    ],
)
def test_another_question_has_no_answer(recorded, calls, change, reason):
    part = recorded[1][0]
    body = next(iter(part.requests().values()))
    target, options = part.variant.target, CallOptions(calls=calls)
    assert ask({**body, "max_tokens": 400}, target, options).text  # it ended by itself
    missing = ask({**body, **change}, target, options)
    assert missing.text is None
    assert reason in missing.error
    assert "HTTP 410" in missing.error
    again = ask(body, target, record.replace(options, repeat=2))
    assert "was not asked 3 times" in again.error


def test_what_was_asked_once_tells_nothing_of_repeats(recorded, calls):
    part = recorded[1][0]
    options = CallOptions(calls=calls)
    results = evaluate.evaluate([part.variant], part.rows, "label", options, repeats=2)
    second = results[results["repeat"] == 1]
    assert second["error"].str.contains("was not asked 2 times").all()
    (line,) = evaluate.repeated(results).to_dict("records")
    assert pd.isna(line["changed"])


def test_a_cut_answer_is_none_under_another_limit():
    row = {"end": "length", "max": 16, "out": 16, "k": 5}
    assert not recordings.unfit(row, {"max_tokens": 16})
    assert "cut at 16" in recordings.unfit(row, {"max_tokens": 32})


def test_an_ordinary_client_is_answered(recorded):
    body = next(iter(recorded[1][0].requests().values()))
    client = endpoint.client("recorded/box")
    answer = client.chat.completions.create(model="any", **body)
    assert answer.choices[0].message.content
    assert answer.usage.completion_tokens
    with pytest.raises(openai.APIStatusError, match="not recorded"):
        client.chat.completions.create(model="any", messages=[{"role": "user", "content": "?"}])


def test_only_service_times_are_known_of_a_recording(recorded, calls):
    part = recorded[1][0]
    options = CallOptions(calls=calls, run="r")
    requests, target = list(part.requests().values()), part.variant.target
    times = load_test.drive(requests, (1, 8), target, options)
    alone, many = load_test.summary(times).to_dict("records")
    assert alone["ok"] == many["failed"] == len(requests)
    assert alone["requests_per_s"] == pytest.approx(
        len(requests) / (times["latency_ms"].sum() / 1000)
    )
    assert pd.isna(many["requests_per_s"])
    assert pd.isna(many["p50_ms"])
    with pytest.raises(BatchError, match="no batches"):
        ask_batch(requests, target, options)
    slow = ask_many(requests, target, record.replace(options, deadline_s=1e-9, repeat=5_000))
    assert all("deadline" in answer.error for answer in slow)


def test_after_a_prompt_has_changed_only_its_questions_are_asked(recorded, monkeypatch):
    session, _ = recorded
    assert record.record(session, ["small"], progress=False) == 0
    before = recordings.load("box")
    original = record_plan.stage.choose

    def edited(task, names, labels):  # as if the file had been edited
        return [
            record.replace(prompt, user=f"{prompt.user}\n") if prompt.name == "plain" else prompt
            for prompt in original(task, names, labels)
        ]

    monkeypatch.setattr(record_plan.stage, "choose", edited)
    assert "another version of the prompt" in record.status(session, ["small"])
    assert record.record(session, ["small"], progress=False) == 2 * 6
    after = recordings.load("box")
    assert len(after.answers) == len(before.answers) == QUESTIONS
    assert len(after.answers.keys() & before.answers.keys()) == QUESTIONS - 2 * 6
    monkeypatch.setattr(record_plan.stage, "choose", original)
    assert record.record(session, ["small"], progress=False) == 0  # the ledger has them still
    assert recordings.load("box").answers.keys() == before.answers.keys()


def test_the_command_says_what_there_is(recorded, gguf, monkeypatch):
    monkeypatch.setattr(record, "home", lambda: record.workspace.home() / "recordings")
    said = CliRunner().invoke(cli, ["model", "record", f"box={gguf}", "small", "--check"])
    assert said.exit_code == 0, said.output
    assert "small · plain, 2 examples · valid: 6 of 6" in said.output
    assert "small · label_only · compute of an answer: 20 of 20" in said.output
    assert "what is whole" in said.output
    wrong = CliRunner().invoke(cli, ["model", "record", "nobody", "small"])
    assert wrong.exit_code == 1
    assert "nobody" in wrong.output
    assert "Traceback" not in wrong.output


def test_figures_are_those_of_the_answers(recorded):
    table = replay.measured("box", "small").set_index(["prompt", "shots", "split"])
    part = next(x for x in recorded[1] if x.variant.shots == 2)
    truth, known = part.rows["label"], recordings.load("box").answers
    answers = [known[name]["a"] for name in part.requests()]
    right = sum(a.strip() == label for a, label in zip(answers, truth, strict=True))
    line = table.loc[("plain", 2, "valid")]
    assert line["n"] == 6
    assert line["score"] == pytest.approx(right / 6)
    assert line["low"] < line["score"] < line["high"] or right in (0, 6)


def test_a_cut_answer_is_asked_again_under_another_limit(recorded, monkeypatch):
    session, _ = recorded
    cut = record.replace(session, name="cut", folder=session.folder.with_name("cut"))
    monkeypatch.setattr(variant, "MAX_TOKENS", 1)
    record.record(cut, ["small"], progress=False)
    ended = {row["end"] for row in recordings.load("cut").answers.values()}
    assert "length" in ended
    before = sum(row["end"] == "length" for row in recordings.load("cut").answers.values())
    monkeypatch.setattr(variant, "MAX_TOKENS", 64)
    assert replay.measured("cut", "small").empty
    assert record.record(cut, ["small"], progress=False) == before
    assert len(replay.measured("cut", "small")) == 4


def test_another_file_of_the_same_name_is_refused(recorded, gguf, tmp_path):
    other = tmp_path / "other.gguf"
    other.write_bytes(gguf.read_bytes() + b"\0")
    session = record.Session.of(f"box={other}", record.workspace.home() / "recordings")
    with pytest.raises(record.RecordingError, match="another file"):
        record.record(session, ["small"], progress=False)


def test_damaged_files_and_unknown_names_are_one_sentence(home, tmp_path):
    with pytest.raises(EndpointError, match=r"no such recording.*diptych model record"):
        ask("?", Target.parse("recorded/nobody"))
    folder = record.workspace.home() / "recordings" / "broken"
    folder.mkdir(parents=True)
    (folder / "facts.json").write_text("{}")
    (folder / "small.jsonl.xz").write_bytes(b"nonsense")
    with pytest.raises(EndpointError, match="damaged"):
        recordings.load("broken")


KILLED = """
import sys
from diptych.llmops import record
record.SCOPES["small"] = record.Scope("reviews", (("plain", (0,), {"valid": 40, "test": 60}),))
session = record.Session.of(sys.argv[1], record.workspace.home() / "recordings")
print(record.record(session, ["small"], progress=False))
"""


def test_a_killed_recording_goes_on_where_it_was(home, gguf):
    command = [sys.executable, "-c", KILLED, f"killed={gguf}"]
    session = record.Session.of(f"killed={gguf}", record.workspace.home() / "recordings")
    first = subprocess.Popen(command, start_new_session=True)
    until = time.monotonic() + 60
    while time.monotonic() < until and (
        not session.ledger.exists() or len(live_calls(session)) < 5
    ):
        assert first.poll() is None
        time.sleep(0.02)
    os.killpg(first.pid, signal.SIGKILL)
    first.wait()
    answered = len(live_calls(session))
    assert 5 <= answered < 100
    rest = subprocess.run(command, check=True, capture_output=True, text=True)
    assert int(rest.stdout) == 100 - answered
    assert len(recordings.load("killed").answers) == 100 == len(live_calls(session))
    process.stop(**session.target.server)


@pytest.fixture
def hosted(tmp_path, monkeypatch, home):
    """A hosted model with a price and a key, at the fake's address."""
    with fakes.serving(fakes.make("openai")) as fake:
        (tmp_path / "notebooks").mkdir()
        (tmp_path / "pyproject.toml").touch()
        repository = record.workspace.repo_root()
        (tmp_path / "params").mkdir()
        (tmp_path / "params" / "prompts").symlink_to(repository / "params" / "prompts")
        line = f"priced:\n  base_url: {fake.url}\n  key_env: TEST_KEY\n  prices: openai\n"
        (tmp_path / "params" / "endpoints.yaml").write_text(line)
        monkeypatch.setenv("TEST_KEY", fakes.KEY)
        monkeypatch.chdir(tmp_path)
        yield fake


def test_a_hosted_model_is_recorded_within_a_budget(hosted, calls, monkeypatch):
    session = record.Session.of("priced/gpt-4o-mini", record.workspace.home() / "recordings")
    assert session.name == "priced-gpt-4o-mini"
    with pytest.raises(BudgetError):
        record.record(session, ["small"], max_usd=0.0001, progress=False)
    spent = live_calls(session)
    assert 0 < len(spent) < QUESTIONS
    assert spent["usd"].sum() <= 0.0001
    assert record.record(session, ["small"], max_usd=1, progress=False) == QUESTIONS - len(spent)
    paid = live_calls(session)
    monkeypatch.delenv("TEST_KEY")  # a replay needs none
    total = 0.0
    for part in record.parts("small", Target("recorded", session.name)):
        answers = ask_many(
            list(part.requests().values()), part.variant.target, CallOptions(calls=calls)
        )
        assert not any(answer.error for answer in answers)
        total += sum(answer.usd for answer in answers)
    assert total == pytest.approx(paid["usd"].sum())
    assert total > 0
    facts = json.loads((session.folder / "facts.json").read_text())
    assert facts["endpoint"] == "priced"
    assert "provider" in recordings.load(session.name).when()
    assert fakes.KEY not in json.dumps(facts)


def test_several_questions_at_once_are_said_and_compute_is_that_of_one_at_a_time(home, gguf):
    place = record.workspace.home() / "recordings"
    session = record.Session.of(f"four={gguf}", place, at_once=4)
    assert record.record(session, ["small"], most=8, progress=False) == 8
    facts = json.loads((session.folder / "facts.json").read_text())
    assert [machine["at_once"] for machine in facts["machines"]] == [4]
    assert "4 questions at once" in recordings.load("four").when()
    assert not (session.folder / recordings.COMPUTE).exists()  # of some questions alone
    alone = record.Session.of(f"four={gguf}", place)
    assert record.record(alone, ["small"], most=2, progress=False) == 2  # goes on where it was
    assert len(alone.facts()["machines"]) == 2
    assert record.record(session, ["small"], progress=False) == QUESTIONS - 8 - 2
    (line,) = recordings.read_lines(session.folder / recordings.COMPUTE)
    assert "at_once" not in session.facts()["machines"][line["on"]]
    for one in (session, alone):
        process.stop(**one.target.server)


def test_what_an_answer_computes_is_measured_for_each_way_to_ask_test_rows(recorded, monkeypatch):
    session, _ = recorded
    file = session.folder / recordings.COMPUTE
    (line,) = recordings.read_lines(file)
    assert (line["scenario"], line["prompt"], line["shots"]) == ("small", "label_only", 0)
    assert len(line["cpu_ms"]) == 20
    (way, each), *others = replay.compute("box", "small").items()
    assert (way, others) == (("label_only", 0), [])
    assert each.value == pytest.approx(sum(line["cpu_ms"]) / 20)
    assert 0 < each.low < each.value < each.high
    assert each.n == 20
    before = file.read_bytes()
    assert record.record(session, ["small"], progress=False) == 0
    assert file.read_bytes() == before  # what is known is not measured again

    original = record_plan.stage.choose

    def edited(task, names, labels):  # as if the files had been edited
        return [
            record.replace(prompt, user=f"{prompt.user}\n")
            for prompt in original(task, names, labels)
        ]

    monkeypatch.setattr(record_plan.stage, "choose", edited)
    assert replay.compute("box", "small") == {}
    assert "compute of an answer: 0 of 20" in record.status(session, ["small"])
    record.record(session, ["small"], progress=False)
    (anew,) = recordings.read_lines(file)
    assert anew["version"] != line["version"]
    monkeypatch.setattr(record_plan.stage, "choose", original)
    record.record(session, ["small"], progress=False)
    assert replay.compute("box", "small").keys() == {way}
    process.stop(**session.target.server)


def test_a_fine_tuned_model_has_answers_in_its_own_scenario_alone(home):
    name = "smollm2-135m-lora-160"
    others = [one for one in record_plan.SCOPES if one not in (*record_plan.TUNED, "small")]
    assert others
    for scenario in others:
        assert replay.replayed(name, scenario).empty
        assert replay.measured(name, scenario).empty
        assert replay.load(name, scenario).empty
        assert replay.judged(name, scenario) == "The judge was not recorded."
    with pytest.raises(record.RecordingError, match="'chess' is not known"):
        replay.replayed(name, "chess")


@pytest.mark.long
def test_a_fine_tuned_model_is_a_recording_of_its_own(home, gguf, monkeypatch):
    few = record.Scope("reviews", (("instruct/label_only", (0,), {"test": 4}),))
    monkeypatch.setattr(record, "TUNED", {"sentiment": few})
    place = record.workspace.home() / "recordings"
    session = record_tuned.session(f"box={gguf}", 8, place, progress=False)
    adapter = place / "adapters" / "box-lora-8" / record_tuned.FILE
    made = adapter.stat().st_mtime_ns
    assert record.record(session, progress=False) == 4
    facts = recordings.load("box-lora-8").facts
    assert (facts["base"], facts["labels"]) == ("box", 8)
    assert facts["adapter"]["steps"] >= 1
    again = record_tuned.session(f"box={gguf}", 8, place, progress=False)
    assert record.record(again, progress=False) == 0
    assert adapter.stat().st_mtime_ns == made  # not trained again
    process.stop(**session.target.server)
