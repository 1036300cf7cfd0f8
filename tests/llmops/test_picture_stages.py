"""Pictures through all six stages of LLMOps, on a provider's fake that sees them."""

import base64
import io
import re
import shutil

import numpy as np
import pytest
from llmops import provider_fakes as providers
from PIL import Image
from processes import end_servers
from sklearn.datasets import load_digits

from diptych.base import workspace
from diptych.execution.runner import run_notebook
from diptych.llmops.client import providers as known

pytestmark = pytest.mark.long
MODEL = "openai/gpt-4o-mini"
PICTURE = re.compile(r"data:image/png;base64,([A-Za-z0-9+/=]+)")
SEE = {"models": [MODEL], "prompts": ["instruct/see"]}
STAGES = {
    "mlops/2_build": {"family": "logistic", "trials": 1},
    "llmops/1_data": SEE,
    "llmops/2_build": SEE | {"shots": [0], "validation_rows": 10, "rows": 40, "perturbed_rows": 10,
                             "repeat_rows": 4, "repeats": 2},
    "llmops/3_release": {"rows": 40, "tests": 5, "floor": 0.5, "max_calibration_error": 0},
    "llmops/4_serve": {"load_rows": 4, "levels": [1, 2], "windows": 2, "rows_per_window": 20,
                       "window": "rows", "batch_wait_s": 3},
    "llmops/5_monitor": {"rows": 12, "streams": 20, "questions": 20, "samples": 2},
    "llmops/6_improve": {"labels": 40, "rows": 40, "tries": 2, "calls": 20, "rows_per_window": 20,
                         "learn_windows": 1, "decide_windows": 1},
}  # fmt: skip


class Sees(providers.OpenAI):
    """Names the digit whose picture is nearest to the last one of a request."""

    def answer(self, prompt, limit, form=None):
        pictures = PICTURE.findall(prompt)
        if not pictures:
            return "I see no picture.", 5, False
        image = Image.open(io.BytesIO(base64.b64decode(pictures[-1]))).convert("L")
        shades = np.asarray(image.resize((8, 8), Image.Resampling.BOX), float).ravel() / 255 * 16
        digits, labels = load_digits(return_X_y=True)
        far = ((digits - shades) ** 2).sum(axis=1)
        return str(labels[far.argmin()]), 2, False


@pytest.fixture
def clone(tmp_path, monkeypatch):
    for name in ("notebooks", "params"):
        shutil.copytree(workspace.repo_root() / name, tmp_path / name)
    (tmp_path / "pyproject.toml").touch()
    monkeypatch.setenv("DIPTYCH_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("OPENAI_API_KEY", providers.KEY)
    monkeypatch.chdir(tmp_path)
    with providers.serving(Sees(reasons=False)) as fake:
        (tmp_path / "params/endpoints.yaml").write_text(f"openai:\n  base_url: {fake.url}\n")
        known._from_file.cache_clear()
        yield fake
    end_servers(tmp_path / "home")


def test_every_stage_runs_on_pictures_and_the_figure_is_right(clone):
    values = {}
    for notebook, parameters in STAGES.items():
        run = run_notebook(notebook, (), {"task": "digits"} | parameters, progress=False)
        assert run.status == "ok"
        values |= run.result["values"]
    assert values["accuracy of see · openai · gpt-4o-mini"]["value"] >= 0.95
    assert values["champion"]["value"] >= 0.95
    assert clone.refusals == []
    assert any("image_url" in str(body["messages"]) for body in clone.seen)
