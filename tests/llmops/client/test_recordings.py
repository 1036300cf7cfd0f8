"""The shipped recordings: whole, small, of this repository's prompts, and without a host's name."""

import json
import platform

import pytest

from diptych.llmops import record
from diptych.llmops.client import recordings
from diptych.llmops.prompts.prompt import read_prompt

MOST_BYTES = 20_000_000  # of all that is shipped
NAMES = sorted(path.parent.name for path in recordings.shipped().glob(f"*/{recordings.FACTS}"))


def test_all_together_are_small():
    files = [path for path in recordings.shipped().rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) <= MOST_BYTES


@pytest.mark.parametrize("name", NAMES)
def test_a_shipped_recording_is_whole(name, home):
    recording = recordings.load(name)
    facts = recording.facts
    assert facts["model"] == name
    assert len(facts["digest"]) == 64
    assert platform.node() not in json.dumps(facts)
    versions = {line["version"] for lines in facts["parts"].values() for line in lines}
    for (question, repeat), row in recording.answers.items():
        assert (len(question), row["v"] in versions, repeat >= 0) == (recordings.DIGITS, True, True)
        assert row["a"] is not None
        assert row["ms"] > 0
        assert facts["machines"][row["on"]]["cpu"]
    days = {machine["date"] for machine in facts["machines"]}
    assert all(day in recording.when() for day in (min(days), max(days)))


@pytest.mark.parametrize("name", NAMES)
def test_its_prompts_are_those_of_this_repository(name, home):
    for scenario, lines in recordings.load(name).facts["parts"].items():
        scope = record.SCOPES[scenario]
        labels = record.tasks.get(scope.task).labels or ["a"]
        now = {}
        for prompt in scope.prompts:
            text = read_prompt(scope.task, prompt, sorted(labels))
            now[text.name] = text.version
        for line in lines:
            assert line["version"] == now[line["prompt"]], (
                f"{line['prompt']} has changed: run `diptych model record {name} {scenario}`"
            )
