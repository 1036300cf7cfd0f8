"""Fine-tuning jobs at a server that speaks OpenAI's API: found again, paid once, told clearly."""

import json
import threading
import time
from dataclasses import replace

import pandas as pd
import pytest
from llmops import fakes
from llmops.fake_finetune import FakeFineTune

from diptych.llmops import build
from diptych.llmops.client.budget import Budget, BudgetError
from diptych.llmops.client.providers import EndpointError
from diptych.llmops.client.target import Target
from diptych.llmops.evaluation import evaluate
from diptych.llmops.finetuning import Remote, choose, jobs, tune
from diptych.llmops.finetuning.weights import TuningError
from diptych.llmops.prompts.prompt import Prompt
from diptych.llmops.prompts.variant import Variant

LABELS = ["negative", "positive"]
PROMPT = Prompt(
    "asked", "reviews", ("text",), "Be brief.", "Good or bad? {text}",
    output={"type": "string", "enum": LABELS},
)  # fmt: skip
ROWS = pd.DataFrame(
    [{"id": f"r{i}", "text": f"Review {i}: “fine”", "label": LABELS[i % 2]} for i in range(12)]
)


@pytest.fixture
def fake(monkeypatch, home):
    """The endpoint, with its key in the environment and named in params/endpoints.yaml."""
    monkeypatch.setenv("OPENAI_API_KEY", fakes.KEY)
    with fakes.serving(FakeFineTune("openai")) as served:
        yield served


@pytest.fixture
def at(fake):
    return Target(fake.url, "gpt-small", key_env="OPENAI_API_KEY")


def given(rows=ROWS):
    return jobs.conversations(PROMPT, rows.to_dict("records"))


def run(at, rows=ROWS, epochs=3, seed=0, **options):
    remote = Remote(at, **{"poll_s": 0.01} | options)
    return jobs.tune(given(rows), remote, epochs=epochs, seed=seed)


def test_a_job_is_uploaded_watched_and_its_model_returned(fake, at):
    done = run(at, epochs=2, seed=7)
    assert done.model.startswith("ft:gpt-small:")
    assert done.losses == [3.0, 1.5, 1.0]
    (content,) = fake.files.values()
    lines = [json.loads(line) for line in content.decode().splitlines()]
    assert lines == given()
    assert [m["role"] for m in lines[0]["messages"]] == ["system", "user", "assistant"]
    (job,) = fake.jobs.values()
    assert job["seed"] == 7
    assert job["method"]["supervised"]["hyperparameters"] == {"n_epochs": 2}
    assert done.tokens == job["trained_tokens"] > 0


def test_the_same_request_finds_its_job_again_and_pays_once(fake, at):
    first = run(at)
    again = run(at)
    assert again == first
    assert fake.posted("/v1/fine_tuning/jobs") == 1
    other = run(at, seed=1)
    assert other.job != first.job
    assert run(at, job=first.job) == first


@pytest.mark.parametrize("filters", [True, False])
def test_a_lost_answer_makes_no_second_job(fake, at, filters):
    fake.filters, fake.forget = filters, True
    with pytest.raises(TuningError, match=rf"{fake.url}: the connection broke"):
        run(at)
    assert fake.posted("/v1/fine_tuning/jobs") == 1
    assert run(at).job == "ftjob-0"
    assert len(fake.jobs) == 1


@pytest.mark.parametrize("trouble", ["overloaded", "hang up"])
def test_a_watch_lasts_through_trouble(fake, at, trouble):
    fake.troubled, fake.troubles = "/ftjob-0", [trouble] * 2
    assert run(at).losses == [3.0, 1.5, 1.0]


def test_a_failed_job_tells_why_and_is_begun_anew(fake, at):
    fake.end = "failed"
    fake.reason = {"code": "usage_limit", "message": "The quota is used up.", "param": None}
    with pytest.raises(TuningError, match=r"ftjob-0 failed: usage_limit: The quota is used up"):
        run(at)
    fake.end = "succeeded"
    assert run(at).job == "ftjob-1"


def test_a_refused_file_is_named(fake, at):
    fake.least = 50
    told = r"invalid_training_file: .* has 12 example.*\(training_file\)"
    with pytest.raises(TuningError, match=told):
        run(at)


def test_a_job_cancelled_elsewhere_is_told_and_begun_anew(fake, at):
    fake.course = ("queued",) * 10_000

    def cancel():
        while not fake.jobs:
            time.sleep(0.01)
        assert jobs.cancel("ftjob-0", at) == "cancelled"

    thread = threading.Thread(target=cancel)
    thread.start()
    with pytest.raises(TuningError, match=r"ftjob-0 was cancelled; run again"):
        run(at)
    thread.join()
    fake.course = ("running",)
    assert run(at).job == "ftjob-1"


def test_a_slow_job_goes_on_and_is_found_by_its_id(fake, at):
    fake.course = ("queued",) * 10_000
    with pytest.raises(TuningError, match=r"ftjob-0 is queued after 0\.05 s and still running"):
        run(at, wait_s=0.05)
    fake.course = ("running",)
    assert run(at, job="ftjob-0").job == "ftjob-0"
    with pytest.raises(TuningError, match=r"HTTP 404: Could not find fine tune: ftjob-9"):
        run(at, job="ftjob-9")


def test_a_wrong_model_or_key_costs_nothing(fake, at, monkeypatch):
    with pytest.raises(TuningError, match="HTTP 400: Model nobody is not available"):
        run(replace(at, model="nobody"))
    assert not fake.jobs
    with pytest.raises(ValueError, match="rows: 9; a job needs at least 10"):
        run(at, ROWS.head(9))
    monkeypatch.setenv("OPENAI_API_KEY", "another")
    with pytest.raises(TuningError, match="HTTP 401: invalid key"):
        run(at)
    monkeypatch.delenv("OPENAI_API_KEY")
    with pytest.raises(EndpointError, match="OPENAI_API_KEY is not set"):
        run(at)


def test_an_endpoint_without_jobs_says_so(home):
    with fakes.serving(fakes.make("vllm")) as plain, pytest.raises(TuningError, match="HTTP 404"):
        run(Target(plain.url, "m"))


def test_the_budget_refuses_before_anything_is_sent(fake, at):
    with pytest.raises(BudgetError, match="max_tokens is 100"):
        run(at, budget=Budget(max_tokens=100))
    with pytest.raises(ValueError, match="max_usd: the price of training gpt-small is not known"):
        run(at, budget=Budget(max_usd=1.0))
    with pytest.raises(BudgetError, match="max_usd"):
        run(at, budget=Budget(max_usd=0.001), usd_per_million=25.0)
    assert not fake.files
    budget = Budget(max_usd=1.0)
    done = run(at, budget=budget, usd_per_million=25.0)
    assert budget.tokens == done.tokens
    assert budget.usd == pytest.approx(done.tokens * 25e-6)
    assert budget.held_tokens == 0


def test_a_job_counts_as_what_it_can_cost_unless_it_is_known_to_cost_less(fake, at):
    def spent(**more):
        budget = Budget(max_usd=5.0)
        with pytest.raises(TuningError):
            run(at, budget=budget, usd_per_million=25.0, **more)
        assert (budget.held_tokens, budget.under_way) == (0, 0)
        assert budget.usd == pytest.approx(budget.tokens * 25e-6)
        return budget.tokens

    fake.least = 50  # refused
    assert spent(seed=1) == 0
    fake.least, fake.forget = 10, True  # made, but its id was lost
    most = spent(seed=2)
    assert most > 500
    fake.end, fake.reason = "failed", {"code": "x", "message": "no", "param": None}
    assert spent(seed=3) == 0
    fake.course = ("queued",) * 10_000
    assert spent(seed=4, wait_s=0.05) == most


def test_a_job_waits_for_no_room_that_calls_under_way_hold(fake, at):
    budget = Budget(max_tokens=100_000)
    budget.take((0.0, 99_990))
    with pytest.raises(BudgetError, match="hold what this job may need"):
        run(at, budget=budget)
    assert not fake.files
    assert (budget.held_tokens, budget.under_way) == (99_990, 1)


def test_the_tuned_model_is_evaluated_like_any_other(home, tmp_path):
    with fakes.serving(FakeFineTune("vllm", needs_key=False)) as fake:
        champion = build.Variant(PROMPT)
        remote = Target(fake.url, "gpt-small")
        found = tune("api", champion, ROWS, tmp_path, remote=Remote(remote, poll_s=0.01))
        assert found.facts == {"job": "ftjob-0", "trained_tokens": fake.trained("ftjob-0")}
        results = evaluate.evaluate([found.variant], ROWS, "label")
    assert results["correct"].all()
    assert {body["model"] for body in fake.seen} == {found.variant.target.model}


def test_a_wrong_method_is_told(home, tmp_path):
    champion = build.Variant(PROMPT)
    with pytest.raises(ValueError, match=r"method: 'qlora' is not one of lora, soft_prompt"):
        tune("qlora", champion, ROWS, tmp_path)
    with pytest.raises(ValueError, match="remote: 'local' is the local model; take"):
        tune("api", champion, ROWS, tmp_path, remote=Remote(Target()))
    with pytest.raises(ValueError, match="rows: there are none"):
        tune("lora", champion, ROWS.head(0), tmp_path)
    elsewhere = build.Variant(PROMPT, Target("openai"))
    with pytest.raises(ValueError, match="lora tunes the local model, but asked · openai calls"):
        tune("lora", elsewhere, ROWS, tmp_path)


def test_a_job_is_made_only_where_it_is_asked_for(capsys):
    here, elsewhere = Variant(PROMPT), Variant(PROMPT, Target("anthropic", "claude-sonnet-5"))
    assert (choose("auto", here), capsys.readouterr().out) == ("lora", "")
    assert choose("auto", elsewhere) == "none"
    assert "anthropic has the model; tune=api makes a job" in capsys.readouterr().out
    assert (choose("none", elsewhere), choose("api", elsewhere)) == ("none", "api")
    with pytest.raises(ValueError, match="take the method none, or api"):
        choose("lora", elsewhere)
