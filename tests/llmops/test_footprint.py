"""What a model's server takes of this machine, where it runs here."""

import pandas as pd
import pytest

from diptych.core.store.calls import Calls
from diptych.llmops import release
from diptych.llmops.client.call_options import CallOptions
from diptych.llmops.client.target import Target
from diptych.llmops.prompts.prompt import Prompt
from diptych.llmops.prompts.variant import Variant

PROMPT = Prompt("p", "t", ("text",), "", "{text}", output={"type": "string", "enum": ["a", "b"]})


@pytest.mark.usefixtures("shared")
def test_a_server_here_holds_memory_and_takes_time(gguf, tmp_path):
    variant = Variant(PROMPT, Target(server={"model": str(gguf)}))
    texts = [f"text number {i}" for i in range(40)]  # processor time is counted in hundredths
    rows = pd.DataFrame({"id": texts, "text": texts, "label": "a"})
    assert release.memory_mb(variant) > gguf.stat().st_size / 1e6
    with Calls(tmp_path / "calls.db") as calls:
        assert release.cpu_ms(variant, rows, CallOptions(calls=calls, run="r")) > 0
        assert len(calls.table(run="r")) == 40


def test_of_a_server_elsewhere_nothing_is_known():
    away = Variant(PROMPT, Target("openai", "gpt-4o"))
    assert release.memory_mb(away) is None
    assert release.cpu_ms(away, pd.DataFrame()) is None
