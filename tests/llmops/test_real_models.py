"""Real models, as `make test-models` fetches them: they serve, answer rightly, run the stages."""

import json
import os
import subprocess
import sys

import psutil
import pytest
from processes import end_servers

from diptych.base import environment as machine
from diptych.llmops import finetuning
from diptych.llmops.client import endpoint
from diptych.llmops.client.target import Target
from diptych.llmops.prompts.prompt import Prompt
from diptych.llmops.prompts.variant import Variant
from diptych.llmops.server import process, sizing, store

pytestmark = pytest.mark.skipif(
    not os.environ.get("DIPTYCH_REAL_MODELS"), reason="real models: make test-models"
)
MODELS = ("smollm2-135m", "qwen2.5-coder-0.5b")
OPINIONS = {
    "I loved every minute of it.": "positive", "The room was dirty and the staff rude.": "negative",
    "Best soup in town, and so cheap!": "positive", "It broke after two days.": "negative",
    "A wonderful, moving film.": "positive", "Never again, a waste of money.": "negative",
    "Fast delivery and great quality.": "positive", "Boring, slow and far too long.": "negative",
}  # fmt: skip
QUESTION = "Is the opinion positive or negative? Answer with one word.\n\nOpinion: {}"


@pytest.fixture(scope="module")
def workspace(tmp_path_factory):
    folder = tmp_path_factory.mktemp("home")
    before = os.environ.get("DIPTYCH_HOME")
    os.environ["DIPTYCH_HOME"] = str(folder)
    yield folder
    end_servers(folder)
    os.environ.pop("DIPTYCH_HOME")
    if before is not None:
        os.environ["DIPTYCH_HOME"] = before


@pytest.mark.parametrize("name", MODELS)
def test_a_model_is_served_within_its_memory_on_all_cores(workspace, name):
    server = process.start(name, wait_s=600)
    client = endpoint.client(f"local/{name}")
    client.chat.completions.create(
        model="diptych", max_tokens=2, messages=[{"role": "user", "content": "Say yes."}]
    )
    used = psutil.Process(server.pid).memory_info().rss / 2**30
    assert used < store.entry(name).memory_gib
    assert sizing.fit(process.model_file(name)).threads == machine.physical_cores()
    assert server.digest == store.entry(name).files[0].sha256


def test_an_instruction_model_answers_plain_questions(workspace):
    client = endpoint.client("local/qwen2.5-coder-0.5b", timeout=600)
    right = 0
    for opinion, label in OPINIONS.items():
        messages = [{"role": "user", "content": QUESTION.format(opinion)}]
        reply = client.chat.completions.create(
            model="diptych", messages=messages, temperature=0, max_tokens=8
        )
        right += label in reply.choices[0].message.content.lower()
    assert right >= len(OPINIONS) - 1


def test_what_can_be_tuned_is_known_before_anything_is_asked(workspace):
    prompt = Prompt("p", "reviews", ("text",), "", "{text}")
    for name in MODELS:
        variant = Variant(prompt, Target.parse(f"local/{name}"))
        assert finetuning.choose("auto", variant) == "lora"


FEW = ("rows=12", "perturbed_rows=6", "validation_rows=6", "hand_written_rows=6", "repeat_rows=4",
       "repeats=2", "shots=[0]")  # fmt: skip
STAGES = {
    "1_data": FEW,
    "2_build": FEW,
    "3_release": ("rows=12", "tests=3"),
    "4_serve": ("rows_per_window=20", "load_rows=4", "levels=[1,4]", "windows=3"),
    "5_monitor": ("rows=12", "streams=20", "questions=20", "samples=2"),
    "6_improve": ("labels=40", "rows=40", "calls=48", "tries=2", "rows_per_window=20", "replay=40"),
}


PROMPTS = {"reviews": "instruct/label_only", "support": "grounded",
           "summaries": "instruct/key_sentence", "tumours": "instruct/label_only"}  # fmt: skip


@pytest.mark.parametrize("task", PROMPTS)
def test_the_stages_run_with_a_real_model(workspace, task):
    for stage, values in STAGES.items():
        chosen = [f"task={task}", *values]
        if stage in ("1_data", "2_build"):
            chosen += ["models=[local/qwen2.5-coder-0.5b]", f"prompts=[{PROMPTS[task]}]"]
        options = [part for value in chosen for part in ("-p", value)]
        command = [sys.executable, "-m", "diptych", "run", f"llmops/{stage}", "--json", *options]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{stage}: {done.stderr[-2000:]}"
        assert json.loads(done.stdout)
        if task in ("support", "summaries", "tumours") and stage == "4_serve":
            break  # these have no stages 5 and 6 of language models
