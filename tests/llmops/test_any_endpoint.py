"""The notebooks with one line changed: ``models`` names an endpoint of each provider.

Each provider is a server on a real socket with its documented ways (`llmops.provider_fakes`), and
knows the right answer, so that the figure must be 1. A folder of its own stands for a clone.
"""

import json
import shutil
from contextlib import ExitStack

import pandas as pd
import pytest
from llmops import provider_fakes as providers
from processes import end_servers

from diptych import cli
from diptych.base import workspace
from diptych.base.errors import NotebookFailed
from diptych.core.store.records import load
from diptych.execution.runner import run_notebook
from diptych.llmops.client import providers as known

LONG = pytest.mark.long
KEYS = ("OPENAI_API_KEY", "ANTHROPIC_API_KEY", "GEMINI_API_KEY")
MODELS = {
    "openai/gpt-5-mini": lambda: providers.OpenAI(thinks=200),
    "anthropic/claude-sonnet-5": lambda: providers.Anthropic(thinks=200),
    "gemini/gemini-2.5-flash": lambda: providers.Gemini(thinks=200, total_only=True),
    "ollama/qwen3": lambda: providers.Ollama(),
}
FEW = {"validation_rows": 4, "rows": 12, "perturbed_rows": 4, "repeat_rows": 2, "repeats": 2}
SMALL = {
    "llmops/3_release": {"rows": 12, "tests": 3, "floor": 0.6},
    "llmops/4_serve": {"load_rows": 4, "levels": [1, 2], "windows": 2, "rows_per_window": 20,
                       "window": "rows", "batch_wait_s": 3},
    "llmops/5_monitor": {"rows": 12, "streams": 20, "questions": 20, "samples": 2},
    "llmops/6_improve": {"labels": 40, "rows": 40, "tries": 2, "calls": 20,
                         "rows_per_window": 20, "learn_windows": 1, "decide_windows": 1},
}  # fmt: skip


@pytest.fixture(scope="module")
def clone(tmp_path_factory):
    """A folder with the notebooks, a workspace, a task of one's own and the MLOps runs of it."""
    folder = tmp_path_factory.mktemp("clone")
    for name in ("notebooks", "params"):
        shutil.copytree(workspace.repo_root() / name, folder / name)
    (folder / "pyproject.toml").touch()
    words = [f"{kind} film number {i}" for i in range(160) for kind in ("bad", "fine")]
    frame = pd.DataFrame({"text": words, "label": ["negative", "positive"] * 160})
    frame["time"] = pd.date_range("2026-01-01", periods=320, freq="h")
    frame.to_csv(folder / "films.csv", index=False)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DIPTYCH_HOME", str(folder / "home"))
        patch.chdir(folder)
        for name in KEYS:
            patch.setenv(name, providers.KEY)
        run("mlops/2_build", family="logistic", trials=1)
        yield folder
    end_servers(folder / "home")


@pytest.fixture
def fakes(clone):
    """The providers, each at the address that the clone has for it."""
    with ExitStack() as stack:
        served = {name.split("/")[0]: make() for name, make in MODELS.items()}
        for fake in served.values():
            stack.enter_context(providers.serving(fake))
        lines = [f"{name}:\n  base_url: {fake.url}\n" for name, fake in served.items()]
        (clone / "params/endpoints.yaml").write_text("".join(lines))
        known._from_file.cache_clear()
        yield served


def run(notebook, **parameters):
    task = {"task": "films.csv", "time_column": "time"}
    return run_notebook(notebook, (), task | parameters, progress=False)


def test_every_provider_is_evaluated_with_one_line_changed(fakes):
    way = {"prompts": ["plain"], "shots": [0], "temperatures": [0.0, 1.0]} | FEW
    build = run("llmops/2_build", models=list(MODELS), **way)
    values = build.result["values"]
    accuracies = {n: v["value"] for n, v in values.items() if n.startswith("accuracy of plain")}
    assert len(accuracies) == len(MODELS)
    assert set(accuracies.values()) == {1.0}
    assert [fake.refusals for fake in fakes.values()] == [[]] * len(fakes)
    results = load(build.id).table("results")
    assert (results["error"] == "").all()
    # a model without a temperature is not shown at two of them
    asked = {name: {body.get("temperature") for body in fake.seen} for name, fake in fakes.items()}
    assert asked["openai"] == asked["anthropic"] == {None}
    assert asked["ollama"] == {0.0, 1.0}


def test_a_limit_set_on_purpose_stops_where_no_price_is_known(fakes, capsys):
    """One dollar is what is usual; given on the command line it is meant."""
    parameters = {"task": "films.csv", "time_column": "time", "models": ["openai/gpt-9"]}
    few = [f"-p{name}={json.dumps(value)}" for name, value in (parameters | FEW).items()]
    with pytest.raises(SystemExit) as ended:
        cli.main(["run", "llmops/2_build", "--max-usd", "1.0", *few])
    assert ended.value.code == 1
    assert "max_usd: no price is known for 'gpt-9'" in capsys.readouterr().err
    assert fakes["openai"].seen == []


def test_equal_errors_end_a_run_with_one_sentence_and_the_remedy(fakes):
    fake = fakes["openai"]
    quota = {"type": "insufficient_quota", "code": "insufficient_quota"}
    fake.refusal = lambda *_: fake.error(429, "You exceeded your current quota.", **quota)
    words = "exceeded your current quota.*raise the quota"
    with pytest.raises(NotebookFailed, match=words):
        run("llmops/2_build", models=["openai/gpt-5-nano"], concurrency=1, **FEW)
    assert len(fake.seen) == 1  # the call by hand; the grid gives up after five in a row


@LONG
@pytest.mark.parametrize("model", MODELS)
def test_every_stage_runs_on_a_provider(fakes, model):
    run("llmops/2_build", models=[model], prompts=["plain"], shots=[0], **FEW)
    for notebook, parameters in SMALL.items():
        assert run(notebook, **parameters).status == "ok"


@LONG
@pytest.mark.parametrize("model", MODELS)
def test_a_wrong_key_stops_with_one_sentence(fakes, monkeypatch, model):
    for name in KEYS:
        monkeypatch.setenv(name, "wrong")
    if model.startswith("ollama"):
        pytest.skip("it needs no key")
    with pytest.raises(NotebookFailed, match="give a key that it takes"):
        run("llmops/2_build", models=[model], prompts=["careful"], **FEW)
