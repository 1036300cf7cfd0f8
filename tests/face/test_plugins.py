"""A plugin of each kind, written in a folder of its own, seen in the command and a notebook."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import diptych
import diptych as dt
from diptych.base import plugins
from diptych.base.plugins import PluginError
from diptych.core.data.sources import DataError
from diptych.core.evaluation import graders, metrics
from diptych.core.evaluation.added_metrics import of_function
from diptych.core.evaluation.metrics import METRICS, MetricError
from diptych.core.evaluation.scored import ScoredRows
from diptych.execution.declaration import read_parameters
from diptych.execution.notebooks import find_notebook
from diptych.llmops.prompts.prompt import PROMPTS, PromptError, every, for_instruction, read_prompt
from diptych.mlops.models import families
from diptych.mlops.models import model as models

ROOT = Path(diptych.__file__).parents[2]
BLOCKS = re.findall(r"^```python\n(.*?)^```", (ROOT / "docs/plugins.md").read_text(), re.M | re.S)
NAMES = {
    "task": "shop", "estimator": "extra_trees", "metric": "both_right", "scorer": "same_words",
    "prompt": "curt", "drift": "hellinger", "format": "theirs",
}  # fmt: skip
GROUPED = {  # kind: an object of the module below, as an entry point gives it
    "task": "rows", "estimator": "forest", "metric": "share", "scorer": "grade",
    "prompt": "PROMPT", "drift": "distance", "format": "wire",
}  # fmt: skip
SHOP = ("-p", "task=shop", "-p", "metric=both_right")
MODULE = """
import pandas as pd
from sklearn.tree import DecisionTreeClassifier
from diptych.llmops.client.formats import chat_completions as wire

PROMPT = "---\\ntask: any\\ninputs: [text]\\n---\\n## user\\n{text} {labels}"
rows = lambda: pd.DataFrame({"a": [i * 37 % 83 for i in range(80)], "label": ["no", "yes"] * 40})
forest = lambda seed=0: DecisionTreeClassifier(random_state=seed)
share = lambda true, predicted: (true == predicted).mean()
grade = lambda answer, expected: 0.5
distance = lambda reference, current: abs(reference - current).sum()
"""


@pytest.fixture(autouse=True)
def _nothing_added():
    plugins.forget()
    yield
    plugins.forget()


def package(folder: Path, name: str, code: str, entry_points: str) -> Path:
    """Write a package with real metadata, as an installation leaves it."""
    info = folder / f"{name}-1.0.dist-info"
    info.mkdir(parents=True)
    (folder / f"{name}.py").write_text(code)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(entry_points)
    return folder


def diptych_in(folder: Path, *words: str, path: Path | None = None) -> subprocess.CompletedProcess:
    paths = [str(x) for x in (path, ROOT / "lib") if x]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
    environment["DIPTYCH_HOME"] = str(folder / "home")
    return subprocess.run(
        [sys.executable, "-m", "diptych", *words],
        cwd=folder, env=environment, capture_output=True, text=True,
    )  # fmt: skip


@pytest.fixture
def site(tmp_path):
    """A folder on the path with two packages, as pip leaves them; one entry point is broken."""
    lines = [f"[{plugins.GROUPS[kind][1]}]\nfrom_group = theirs:{x}" for kind, x in GROUPED.items()]
    package(tmp_path / "site", "theirs", MODULE, "\n".join(lines))
    points = "[diptych.plugins]\nshop = shop_plugins\nbroken = no_such_module\n"
    return package(tmp_path / "site", "shop_plugins", "\n".join(BLOCKS), points)


@pytest.mark.long
def test_a_package_adds_a_name_of_each_kind_to_command_and_notebook(tmp_path, site):
    listed = diptych_in(tmp_path, "plugins", "--json", path=site)
    assert listed.returncode == 1  # one could not be loaded
    content = json.loads(listed.stdout)
    assert {kind: set(names) for kind, names in content["added"].items()} == {
        kind: {name, "from_group"} for kind, name in NAMES.items()
    }
    assert content["added"]["metric"]["from_group"] == "theirs:share"
    [failure] = content["failures"]
    assert "no_such_module" in failure
    assert "ModuleNotFoundError" in failure
    unknown = diptych_in(tmp_path, "run", "mlops/2_build", "-p", "family=tree", path=site)
    assert unknown.returncode == 2
    assert "extra_trees" in unknown.stderr
    run = diptych_in(tmp_path, "run", "mlops/1_data", *SHOP, path=site)
    assert run.returncode == 0, run.stderr
    facts = json.loads((Path(run.stdout.strip()) / "result.json").read_text())["facts"]
    assert facts["metric"] == "both_right"


@pytest.mark.long
def test_a_family_and_a_metric_of_a_plugin_build_a_model_and_a_change_makes_it_again(
    tmp_path, site
):
    words = ("run", "mlops/2_build", *SHOP, "-p", "family=extra_trees", "-p", "trials=2")
    run = diptych_in(tmp_path, *words, path=site)
    assert run.returncode == 0, run.stderr
    result = json.loads((Path(run.stdout.strip()) / "result.json").read_text())
    assert result["values"]["score of extra_trees"]["value"] > 0.9
    data = ("run", "mlops/1_data", *SHOP)
    again = diptych_in(tmp_path, *data, path=site)
    assert "linked" in again.stderr
    changed = site / "shop_plugins.py"
    changed.write_text(changed.read_text().replace("v > 150", "v > 170"))
    anew = diptych_in(tmp_path, *data, path=site)
    assert "linked" not in anew.stderr
    assert anew.returncode == 0, anew.stderr


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A project of one's own with a plugins file."""
    (tmp_path / "notebooks").mkdir()
    (tmp_path / "params").mkdir()
    (tmp_path / "pyproject.toml").write_text("")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_line_of_the_project_names_modules_and_files(project, capsys):
    (project / "names_here.py").write_text("\n".join(BLOCKS[:3]))
    (project / "params/plugins.yaml").write_text(
        "plugins: [names_here.py, nowhere.at_all, no.py]\n"
    )
    assert "both_right" in METRICS
    assert dt.task("shop").labels == ("no", "yes")
    said = capsys.readouterr().err
    assert "plugin nowhere.at_all: ModuleNotFoundError" in said
    assert "plugin no.py: there is no file" in said
    with pytest.raises(MetricError, match=r"both_right.*Not loaded: plugin nowhere.at_all"):
        metrics.get("nothing")
    sys.modules.pop("names_here")


@pytest.mark.parametrize("text", ["plugins: names.py\n", "- a\n", "plugins: [1]\n", "{"])
def test_a_wrong_file_is_named_and_the_rest_works(project, capsys, text):
    (project / "params/plugins.yaml").write_text(text)
    assert "nothing" not in METRICS
    assert "params/plugins.yaml" in capsys.readouterr().err
    assert "accuracy" in METRICS


def test_no_module_of_ours_loads_plugins_when_it_is_imported(project):
    (project / "params/plugins.yaml").write_text("plugins: [loud.py]\n")
    (project / "loud.py").write_text("print('loaded')")
    code = "import diptych as dt; [getattr(dt, name) for name in dt.FACE]"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=project,
        env={**os.environ, "PYTHONPATH": str(ROOT / "lib")},
    )  # fmt: skip
    assert done.stdout == ""


@pytest.mark.parametrize(
    ("add", "message"),
    [
        (lambda: dt.register.metric("f1")(max), "'f1' is there already, by Diptych.*roc_auc"),
        (lambda: dt.register.metric("x", needs="hope")(max), "needs 'hope'; there are labels"),
        (lambda: dt.register.metric("cost")(max), "'cost' cannot be a name"),
        (lambda: dt.register.scorer("label")(max), "'label' is there already.*contains"),
        (lambda: dt.register.task("reviews")(max), "'reviews' is there already.*tumours"),
        (lambda: dt.register.task("a.csv")(max), "'a.csv' is no name; write small letters"),
        (lambda: dt.register.task("a", column="b")(max), "'column' is not known; there are text_c"),
        (lambda: dt.register.estimator("xgboost")(max), "'xgboost' is there already.*logistic"),
        (lambda: dt.register.estimator("x", kinds=["sound"])(max), "suits sound; there are text"),
        (lambda: dt.register.estimator("x", settings={"a": 1})(max), "a=1; give a list of values"),
        (lambda: dt.register.drift("psi")(max), "'psi' is there already"),
        (lambda: dt.register.format("responses", json), "'responses' has no FAILURES"),
        (lambda: dt.register.prompt("x", 3), "'x' is no text of a prompt file"),
        (lambda: dt.register.metric("")(max), "'' is no name"),
    ],
)
def test_a_name_that_is_there_or_is_wrong_is_refused_with_what_there_is(add, message):
    with pytest.raises(PluginError, match=message):
        add()


def test_a_cell_may_register_again_and_another_module_may_not():
    def near(answer, expected):
        return 1.0

    dt.register.scorer("near")(near)
    dt.register.scorer("near")(near)
    near.__module__ = "elsewhere"
    with pytest.raises(PluginError, match="'near' is there already, by tests"):
        dt.register.scorer("near")(near)
    assert graders.get("near").grade("a", {"reference": "b"}) == 1


def test_a_prompt_and_a_format_of_two_modules_may_not_have_one_name():
    for code in (BLOCKS[4], BLOCKS[6]):
        exec(code, {"dt": dt, "__name__": "mine"})
        exec(code, {"dt": dt, "__name__": "mine"})
        with pytest.raises(PluginError, match="is there already, by mine"):
            exec(code, {"dt": dt, "__name__": "theirs"})


def test_a_family_is_saved_without_pickle_and_loaded_only_if_its_types_are_trusted(tmp_path):
    exec(BLOCKS[1], {"dt": dt})
    model = dt.fit("extra_trees", "tumours")
    assert model.score.value > 0.9
    model.save(tmp_path)
    loaded = models.load(tmp_path)
    rows = dt.task("tumours").load().head(20)
    assert list(loaded.predict(rows)) == list(model.predict(rows))
    plugins.forget()  # a model of libraries alone needs no plugin to be loaded
    assert list(models.load(tmp_path).predict(rows)) == list(model.predict(rows))


def test_a_choice_of_a_notebook_takes_names_of_plugins():
    [family] = [p for p in read_parameters(find_notebook("mlops/2_build")) if p.name == "family"]
    with pytest.raises(ValueError, match="one of auto, baseline"):
        family.check("stump")
    families.FAMILIES.add("stump", families.Added("stump", lambda: None), "here")
    assert family.check("stump") == "stump"
    assert "stump" in family.allowed()
    assert "+" not in family.allowed()


def test_a_task_whose_answers_are_texts_names_its_scorer_and_their_references():
    rows = [(f"call {n}", ("berth", "cargo")[n % 2], f"answer {n}") for n in range(60)]
    frame = pd.DataFrame(rows, columns=["call", "desk", "said"])
    columns = {"text_column": "call", "label_column": "desk", "grader": "near"}

    @dt.register.scorer("near")
    def near(answer, expected):
        return float(answer == expected)

    dt.register.task("desk", reference_column="said", replies={"berth": "b"}, **columns)(
        lambda: frame
    )
    task = dt.task("desk")
    loaded = task.load()
    number = loaded["text"].str.removeprefix("call ")
    assert (loaded["reference"] == "answer " + number).all()
    assert task.replies == {"berth": "b"}
    assert task.scoring.metric.title == "near"
    dt.register.task("lost", **columns)(lambda: frame)
    with pytest.raises(DataError, match=r"reference_column: lost is graded by near.*desk, said"):
        dt.task("lost")


def test_a_task_has_the_prompts_that_are_registered_for_it_in_place_of_the_generic_ones():
    exec(BLOCKS[4], {"dt": dt})
    generic = [prompt.name for prompt in every("shop", ["no", "yes"])]
    assert {"plain", "careful", "curt"} <= set(generic)
    dt.register.prompt("own", "---\ntask: shop\ninputs: [text]\n---\n## user\n{text}")
    assert [prompt.name for prompt in every("shop", ["no", "yes"])] == ["own", "curt"]
    instruct = [prompt.name for prompt in for_instruction("shop", ["no", "yes"])]
    assert instruct == ["label_only", "curt", "own"]


def test_a_prompt_for_all_tasks_gets_their_labels():
    exec(BLOCKS[4], {"dt": dt})
    prompt = read_prompt("shop", "curt", ["no", "yes"])
    assert prompt.labels == ("no", "yes")
    assert "One word, no or yes:" in prompt.messages({"text": "x"})[0]["content"]
    with pytest.raises(PromptError, match="curt"):
        read_prompt("shop", "curd", ["no", "yes"])
    assert "curt" in PROMPTS


def scored(right: int, n: int = 200) -> ScoredRows:
    truth = np.array(["no", "yes"] * (n // 2), object)
    predicted = truth.copy()
    predicted[right:] = "neither"
    return ScoredRows.of_labels(truth, predicted)


def test_a_metric_of_a_function_has_the_errors_of_the_one_that_is_known():
    """The jackknife of a mean is the mean's own standard error; of rows alike, accuracy's p."""
    per_row = of_function("a", lambda t, p: t == p, per_row=True)
    whole = of_function("b", lambda t, p: (t == p).mean())
    new, old = scored(180), scored(150)
    known = METRICS["accuracy"].improvement(new, old)
    assert per_row.improvement(new, old) == pytest.approx(known)
    gap = whole.improvement(new, old)
    assert gap.value == pytest.approx(known.value)
    assert gap.low == pytest.approx(known.low, abs=0.02)
    large = [scored(n, 6000) for n in (4200, 5100)]  # more rows than groups
    moved = whole.influences(large[0])[1]
    assert moved @ moved / 6000 == pytest.approx(0.7 * 0.3, rel=0.2)
    perfect = per_row.estimate(scored(200))
    assert perfect.low < 1  # no interval of width zero


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda t, p: t == p, "gave an array of shape"),
        (lambda t, p: 1 / 0, "failed: ZeroDivisionError"),
    ],
)
def test_a_metric_that_fails_says_so(function, message):
    with pytest.raises(MetricError, match=message):
        of_function("x", function).estimate(scored(100))
    with pytest.raises(MetricError, match="outside 0 to 1"):
        of_function("x", lambda t, p: np.full(len(t), 2.0), per_row=True).estimate(scored(100))
