"""Prompts in a real MLflow store: versions, champion, history, one step back."""

import subprocess
import sys

import pytest

from diptych.base import workspace
from diptych.llmops.client.target import Target
from diptych.llmops.prompts import bundle
from diptych.llmops.prompts.bundle import VariantError
from diptych.llmops.prompts.prompt import Prompt
from diptych.llmops.prompts.variant import Variant
from diptych.llmops.registry import ROLLBACK, PromptRegistry, RegistryError
from diptych.mlops import registry as models

pytestmark = pytest.mark.usefixtures("registry_home")
PASSED = {"metric floor": "pass"}
SCHEMA = {
    "type": "object",
    "properties": {"label": {"type": "string", "enum": ["no", "yes"]}},
    "required": ["label"],
}
ASK = Prompt(
    "ask", "films", ("text",), 'Reply {"label": "yes"} or no.', "Is it? {text}",
    examples=(({"text": "It is."}, '{"label": "yes"}'),), output=SCHEMA, note="The plainest.",
)  # fmt: skip


@pytest.fixture
def variant(gguf):
    return Variant(ASK, Target(server={"model": str(gguf)}))


@pytest.fixture
def folder(variant, tmp_path):
    return bundle.save(variant, tmp_path / "prompt")


@pytest.fixture
def registry(request):
    """A registry of its own for each test."""
    return PromptRegistry(request.node.originalname.replace("_", "-"))


def register(registry, folder, count: int = 1) -> list:
    return [registry.register(folder, {"t": 0}, {"accuracy": 0.9}, "r") for _ in range(count)]


def test_a_version_holds_the_prompt_with_its_model_and_parameters(
    registry, folder, variant, gguf, tmp_path
):
    made = registry.register(folder, bundle.settings(variant), {"accuracy": 0.91}, "run-7")
    assert str(made) == f"{registry.name}/1"
    assert made.folder.is_relative_to(workspace.home())
    for path in sorted(folder.rglob("*"), reverse=True):
        path.unlink()  # the version does not lean on the run that made it
    kept = bundle.load(made.folder)
    assert kept.prompt.version == ASK.version
    assert kept.requests([{"text": "x"}]) == variant.requests([{"text": "x"}])
    assert bundle.settings(kept)["digest"] == bundle.settings(variant)["digest"]
    copied = made.folder / kept.target.server["model"]
    assert copied.read_bytes() == gguf.read_bytes()


def test_mlflows_own_pages_show_what_is_asked(registry, folder, variant):
    register(registry, folder)
    shown = registry.client.get_prompt_version(registry.name, 1)
    assert shown.description == "The plainest."
    assert shown.response_format == SCHEMA
    assert shown.model_config["temperature"] == 0.0
    assert shown.tags["diptych.prompt"] == f"ask {ASK.version}"
    filled = shown.format(text="<b>&")
    assert filled == variant.prompt.messages({"text": "<b>&"})


def test_a_run_of_mlflow_tells_what_was_measured(registry, folder):
    register(registry, folder)
    shown = registry.client.get_prompt_version(registry.name, 1)
    run = registry.client.get_run(shown.tags["diptych.mlflow_run"])
    assert run.data.metrics == {"accuracy": 0.9}
    assert run.data.params == {"t": "0"}
    assert run.data.tags["diptych.run"] == "r"


def test_registering_moves_the_challenger_and_never_the_champion(registry, folder):
    assert registry.champion() is registry.challenger() is None
    first, second = register(registry, folder, 2)
    assert registry.champion() is None
    registry.promote(first, "it passed", PASSED)
    assert (registry.champion(), registry.challenger()) == (first, second)


def test_history_tells_who_when_why_and_what_the_gate_said(registry, folder):
    first, second = register(registry, folder, 2)
    registry.promote(first, "the first", PASSED)
    registry.promote(second, "fewer names turn it", PASSED | {"floor": "pass"})
    history = registry.history()
    assert history["model"].tolist() == [registry.name] * 2
    assert history["from_version"].isna().tolist() == [True, False]
    assert history["to_version"].tolist() == ["1", "2"]
    assert history["why"].tolist() == ["the first", "fewer names turn it"]
    assert history["gate"].tolist() == [PASSED, PASSED | {"floor": "pass"}]
    assert (history["who"].str.len() > 0).all()
    assert history["time"].is_monotonic_increasing


def test_one_step_back(registry, folder):
    versions = register(registry, folder, 3)
    for version in versions:
        registry.promote(version, "it passed", PASSED)
    assert registry.rollback("it obeys its readers") == versions[1]
    assert registry.champion() == versions[1]
    last = registry.history().iloc[-1]
    assert (last["from_version"], last["to_version"]) == ("3", "2")
    assert (last["why"], last["gate"]) == ("rollback: it obeys its readers", ROLLBACK)


def test_nothing_to_roll_back_is_said(registry, folder):
    with pytest.raises(RegistryError, match=rf"rollback: {registry.name} has no champion yet"):
        registry.rollback("why not")
    (made,) = register(registry, folder)
    registry.promote(made, "it passed", PASSED)
    with pytest.raises(RegistryError, match=r"/1 replaced no other version"):
        registry.rollback("why not")


def test_an_unknown_version_and_another_registrys_are_refused(registry, folder):
    (made,) = register(registry, folder)
    with pytest.raises(RegistryError, match=f"{registry.name} has no version 9"):
        registry.version(9)
    with pytest.raises(RegistryError, match=f"{made} is no version of another.prompt"):
        PromptRegistry("another").promote(made, "mixed up", PASSED)
    with pytest.raises(ValueError, match="why: is empty"):
        registry.promote(made, "", PASSED)
    assert registry.champion() is None
    assert registry.history().empty


def test_a_folder_without_a_prompt_is_refused(registry, tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "notes.txt").touch()
    with pytest.raises(VariantError, match="holds no saved prompt"):
        register(registry, tmp_path / "empty")
    assert registry.challenger() is None


READER = """
import sys
from diptych.llmops.registry import PromptRegistry
from diptych.llmops.prompts import bundle

version = PromptRegistry(sys.argv[1]).champion()
print(version, bundle.load(version.folder).prompt.version)
"""


def test_another_process_sees_the_champion_and_reads_its_prompt(registry, folder):
    (made,) = register(registry, folder)
    registry.promote(made, "it passed", PASSED)
    task = registry.name.removesuffix(".prompt")
    command = [sys.executable, "-c", READER, task]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.stdout.strip() == f"{made} {ASK.version}", done.stderr


def test_a_model_and_a_prompt_of_one_task_do_not_mix(folder, tmp_path):
    prompts, left = PromptRegistry("films"), models.ModelRegistry("films")
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "weights").write_bytes(b"x")
    model = left.register(tmp_path / "model", {}, {}, "r")
    left.promote(model, "it passed", PASSED)
    assert prompts.champion() is None
    (made,) = register(prompts, folder)
    assert left.challenger() == model
    prompts.promote(made, "it passed", PASSED)
    assert (str(left.champion()), str(prompts.champion())) == ("films/1", "films.prompt/1")
    assert (len(left.history()), len(prompts.history())) == (1, 1)


def test_a_broken_store_is_not_taken_for_a_missing_champion(
    folder, tmp_path, monkeypatch, mlflow_tables
):
    monkeypatch.setenv("DIPTYCH_HOME", str(tmp_path / "home"))
    mlflow_tables(tmp_path / "home")
    registry = PromptRegistry("lost")
    (made,) = register(registry, folder)
    registry.promote(made, "it passed", PASSED)
    workspace.mlflow_path().write_bytes(b"not a database" * 1_000)
    with pytest.raises(Exception, match=r"(?i)database|malformed|disk"):
        registry.champion()
    with pytest.raises(Exception, match=r"(?i)database|malformed|disk|cannot be read"):
        registry.version(made.number)
