import json

import pytest

from diptych.base.errors import ParameterError
from diptych.execution.notebooks import code_digest, find_notebook, read_notebook, short_name, title
from diptych.execution.parameters import find_file


def test_short_names_are_found_from_any_folder_of_the_repository(repository, monkeypatch):
    expected = repository / "notebooks" / "mlops" / "2_build.ipynb"
    monkeypatch.chdir(repository / "params")
    assert find_notebook("mlops/2_build") == find_notebook("mlops/2_build.ipynb") == expected
    assert short_name(expected) == "mlops/2_build"
    for name in ("tasks/reviews", "tasks/reviews.yaml"):
        assert find_file(name).resolve() == repository / "params" / "tasks" / "reviews.yaml"


def test_a_path_goes_before_a_short_name(repository, notebooks):
    assert find_notebook(notebooks / "good.ipynb") == notebooks / "good.ipynb"
    near = repository / "mlops"
    near.mkdir()
    (near / "2_build.ipynb").write_text("{}")
    assert find_notebook("mlops/2_build") == near / "2_build.ipynb"


@pytest.mark.parametrize(
    ("find", "name", "near"),
    [
        (find_notebook, "mlops/2_bild", "mlops/2_build"),
        (find_notebook, "mlops/2_biuld.ipynb", "mlops/2_build"),
        (find_notebook, "notebooks/mlops/2_bild.ipynb", "notebooks/mlops/2_build"),
        (find_file, "tasks/revews", "tasks/reviews"),
        (find_file, "params/tasks/revews.yaml", "params/tasks/reviews"),
    ],
)
def test_a_missing_file_is_named_with_the_nearest(repository, find, name, near):
    with pytest.raises(ParameterError, match=f"^{name}: no such .* Did you mean {near}[?]"):
        find(name)


@pytest.mark.parametrize(
    "content", ["depth = 3", "[]", "{}", '{"cells": [{"source": "x"}]}', '{"cells": 3}']
)
def test_what_is_no_notebook_is_refused(tmp_path, content):
    path = tmp_path / "x.ipynb"
    path.write_text(content)
    with pytest.raises(ParameterError, match=r"x\.ipynb: not a notebook"):
        read_notebook(path)


def test_other_languages_are_refused(notebooks):
    with pytest.raises(ParameterError, match=r"other_language\.ipynb: a notebook for julia"):
        read_notebook(notebooks / "other_language.ipynb")


def test_prose_and_outputs_do_not_change_the_code_digest(notebooks):
    content = read_notebook(notebooks / "good.ipynb")
    before = code_digest(content)
    content["cells"][0]["source"] = ["# Another question"]
    content["cells"][-1]["outputs"] = [{"output_type": "stream", "text": "8"}]
    assert code_digest(content) == before
    assert title(content) == "Another question"
    content["cells"][-1]["source"] = ["depth * 3"]
    assert code_digest(content) != before
    assert json.dumps(content)
