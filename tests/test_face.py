import subprocess
import sys

import pytest

import diptych


def test_the_face_opens_each_of_its_doors():
    for name in diptych.FACE:
        assert callable(getattr(diptych, name))
    assert set(diptych.FACE) <= set(dir(diptych))
    with pytest.raises(AttributeError, match="it has best, compare, record, runs"):
        diptych.comparison  # noqa: B018


def test_importing_the_face_imports_nothing_behind_it():
    code = "import sys, diptych; print([n for n in sys.modules if n.startswith('diptych.')])"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert answer.stdout.strip() == "[]"


def test_compare_ranks_and_pairs():
    table = diptych.compare({"a": [1] * 90 + [0] * 10, "b": [0] * 60 + [1] * 40})
    assert list(table["name"]) == ["a", "b"]
    assert table["difference_high"][1] < 0
