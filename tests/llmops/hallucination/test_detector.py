"""The detector: what it flags and cannot see, rates that differ, a script that stays text."""

import json
import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from importlib import resources
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import binom

from diptych.llmops.hallucination import detector, train, uncertainty
from diptych.llmops.hallucination.__main__ import ELSEWHERE, elsewhere_section
from diptych.llmops.hallucination.detector import Detector, Sentence

DATA = Path(__file__).parents[4] / "shared" / "data"
SOURCE = "The museum opens at 9 and closes at 17. Tickets cost 12 euros; children enter free."
EVIL = 'The museum <script>alert(1)</script> opens at 9. "Wizards" & <b>dragons</b> guard it.'


@pytest.fixture(scope="module")
def shipped():
    return Detector.load()


@pytest.fixture(scope="module")
def told(shipped):
    """The example answers' probabilities, by kind."""
    given = uncertainty.examples()
    return {
        answer["kind"]: shipped.score(given["source"], answer["text"], given["question"])
        for answer in given["answers"]
    }


def test_an_invention_is_told_from_what_the_source_says(told):
    assert told["supported"] < 0.2
    assert told["invented"] > 0.8


def test_what_it_cannot_see_is_known(told):
    """The notebook and the card say so; should it ever see it, they must be rewritten."""
    assert told["true, in other words"] > 0.5
    assert told["false, in the source's words"] < 0.5


def test_the_invented_sentence_is_named(shipped):
    text = "The museum opens at 9. Its founder Ottokar rode elephants through Vienna in 1873."
    first, second = shipped.sentences(SOURCE, text)
    assert first.probability < 0.5 < second.probability
    assert first.unsupported == ()
    missing = {text[start:end] for start, end in second.unsupported}
    assert {"founder", "Ottokar", "elephants", "Vienna", "1873"} <= missing
    assert text[second.start : second.end].startswith("Its founder")


def test_nothing_said_is_nothing_invented(shipped):
    assert shipped.score(SOURCE, "") == 0
    assert shipped.score(SOURCE, "  \n ") == 0
    assert shipped.sentences(SOURCE, "") == []
    # no source: nothing supports anything, and nothing fails
    assert 0 < shipped.score("", "Anything goes. \u00e4 \U0001f600 12") < 1


def test_a_score_does_not_depend_on_the_order_of_sets():
    """Two sentences fit equally well, and sets are ordered anew in every process."""
    script = (
        "from diptych.llmops.hallucination.source import Source\n"
        "from diptych.llmops.hallucination.features import describe\n"
        "a = 'The grey museum opens on warm evenings.'\n"
        "b = 'On warm evenings no museum opens grey.'\n"
        "print(describe(Source(f'{a} {b}'), 'Grey museum opens warm evenings.'))"
    )
    said = {
        subprocess.run(
            [sys.executable, "-c", script], env=os.environ | {"PYTHONHASHSEED": str(seed)},
            capture_output=True, text=True, check=True,
        ).stdout
        for seed in (1, 2, 3)
    }  # fmt: skip
    assert len(said) == 1


class Reader(HTMLParser):
    def __init__(self):
        super().__init__()
        self.tags, self.text = [], ""

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)

    def handle_data(self, data):
        self.text += data


@pytest.mark.parametrize("least", [0.0, 0.5, 1.1])
def test_a_script_in_an_answer_stays_text(shipped, least):
    reader = Reader()
    reader.feed(detector.highlighted(EVIL, shipped.sentences(SOURCE, EVIL), least))
    reader.close()
    assert set(reader.tags) <= {"p", "mark", "u"}
    assert reader.text.replace("[", "").replace("]", "") == EVIL
    assert ("mark" in reader.tags) is (least <= 1)


def test_marks_are_words_too():
    found = detector.highlighted("ab cd", [Sentence(0, 5, 0.7, ((3, 5),))])
    assert found == (
        '<p class="answer"><mark title="unsupported, probability 0.70">[ab <u>cd</u>]</mark></p>'
    )


def test_another_rate_moves_probabilities_and_not_their_order():
    p = np.linspace(0.01, 0.99, 50)
    moved = detector.moved(p, 0.4, 0.1)
    assert (np.diff(moved) > 0).all()
    assert (moved < p).all()
    np.testing.assert_allclose(detector.moved(p, 0.4, 0.4), p)
    np.testing.assert_allclose(detector.moved(moved, 0.1, 0.4), p)
    with pytest.raises(ValueError, match="expected: a rate of 1"):
        detector.moved(p, 0.4, 1)


@pytest.mark.parametrize("rate", [0.1, 0.26, 0.7])
def test_the_rate_of_unlabelled_answers_is_estimated(rate):
    """Scores of two normal laws, learnt at 43 %: the true posterior there is known."""
    rng = np.random.default_rng(5)
    bad = rng.random(4000) < rate
    x = rng.normal(np.where(bad, 1.0, -1.0), 1.0)
    p = detector.sigmoid(2 * x + np.log(0.43 / 0.57))
    found = detector.estimated_rate(p, 0.43)
    # two normal laws two deviations apart: the estimate is about twice as wide as a count's
    spread = 2 * binom.std(4000, rate) / 4000
    assert abs(found - rate) < 4 * spread
    # while flagging at one half of what was learnt flags more than there are, where few are
    if rate < 0.43:
        assert (p >= 0.5).mean() > rate
        assert (p >= detector.threshold(p, rate)).mean() == pytest.approx(rate, abs=0.001)
    with pytest.raises(ValueError, match="there are none"):
        detector.estimated_rate([], 0.43)


def test_a_threshold_needs_scores_and_a_rate():
    with pytest.raises(ValueError, match="there are none"):
        detector.threshold([], 0.1)
    with pytest.raises(ValueError, match="rate: 0"):
        detector.threshold([0.1], 0)


def test_it_outlives_a_trip_through_its_file(shipped, tmp_path):
    shipped.save(tmp_path / "d.json")
    again = Detector.load(tmp_path / "d.json")
    assert again.score(SOURCE, EVIL) == shipped.score(SOURCE, EVIL)
    assert again.score(SOURCE, EVIL, rate=0.05) < again.score(SOURCE, EVIL)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda x: x.update(form=0), "form 0"),
        (lambda x: x.pop("answer"), "KeyError"),
        (lambda x: x["sentence"]["mean"].pop(), "finite numbers"),
        (lambda x: x["sentence"]["weights"].__setitem__(0, "much"), "ValueError"),
        (lambda x: x["sentence"]["names"].__setitem__(0, "other"), "not those of this version"),
    ],
)
def test_a_file_that_is_none_is_refused(shipped, tmp_path, change, told):
    shipped.save(tmp_path / "d.json")
    content = json.loads((tmp_path / "d.json").read_text())
    change(content)
    (tmp_path / "d.json").write_text(json.dumps(content))
    with pytest.raises(ValueError, match=rf"d\.json: .*{told}.*retrain"):
        Detector.load(tmp_path / "d.json")
    with pytest.raises(ValueError, match="FileNotFoundError"):
        Detector.load(tmp_path / "none.json")


def test_the_shipped_file_holds_numbers_and_the_names_of_features_alone(shipped):
    content = json.loads((resources.files("diptych") / detector.WEIGHTS).read_text())

    def texts(value):
        if isinstance(value, dict):
            value = value.values()
        elif not isinstance(value, list):
            return {value} if isinstance(value, str) else set()
        return set().union(*map(texts, value))

    assert texts(content) == {*shipped.sentence.names, *shipped.answer.names}


def test_the_card_says_what_was_reached_and_what_was_not():
    card = (resources.files("diptych") / "assets/grounding/CARD.md").read_text()
    value = float(re.search(r"AUROC, sources held out \| ([\d.]+)", card)[1])
    goal = re.search(r"Goal of ([\d.]+) AUROC on held-out sources: (.*)\. Goal", card)
    assert (goal[2] == "met") is (value >= float(goal[1]))
    assert "What it cannot see" in card
    assert elsewhere_section() in card
    measured_here = card.partition("## Measured elsewhere, not by this command")[0]
    for line in ELSEWHERE:
        assert line[0] not in measured_here
    assert "python -m diptych.llmops.hallucination" in card


@pytest.mark.parametrize("name", ["begin_dev_wow.tsv", "begin_dev_cmu.tsv"])
def test_it_carries_over_to_dialogues_it_never_learnt_from(shipped, name):
    if not (DATA / name).exists():
        pytest.skip(f"{name} is not there: third-party data are not part of the project")
    data = train.begin(DATA / name)
    found = train.auroc(data.bad, train.scored(shipped, data), data.groups)
    assert found.value >= 0.92
