"""Training on answers whose truth is known, through the command; and files that are none."""

import json
import random

import numpy as np
import pytest
from click.testing import CliRunner
from scipy.stats import binom

from diptych.llmops.hallucination import train
from diptych.llmops.hallucination.__main__ import main
from diptych.llmops.hallucination.detector import Detector

PLACES = "castle harbour library bakery station theatre orchard lighthouse museum garden".split()
ACTS = "opens closes stands sells shows keeps gathers repairs offers paints".split()
THINGS = "bread boats books trains plays apples lamps statues roses bridges".split()
OTHERS = "dragons wizards comets pirates robots volcanoes meteors unicorns".split()


def write(folder, count=60, seed=0):
    """Write sources and answers in RAGTruth's form: of each source one answer adds an invention."""
    rng = random.Random(seed)
    sources, answers = [], []
    for number in range(count):
        facts = [
            " ".join(["The", *map(rng.choice, (PLACES, ACTS, THINGS)), f"at {rng.randint(2, 99)}."])
            for _ in range(4)
        ]
        sources.append({"source_id": str(number), "passages": " ".join(facts), "question": "What?"})
        for bad in (False, True):
            text = " ".join(rng.sample(facts, 2))
            spans = []
            if bad:
                first, second = rng.sample(OTHERS, 2)
                made = f"Strange {first} attack {second} in {rng.randint(1000, 2000)}."
                spans = [{"start": len(text) + 1, "end": len(text) + 1 + len(made)}]
                text = f"{text} {made}"
            answers.append({"source_id": str(number), "model": rng.choice("ab"), "response": text,
                            "labels": spans, "hallucinated": int(bad)})  # fmt: skip
    for name, lines in (("s.jsonl", sources), ("r.jsonl", answers)):
        (folder / name).write_text("".join(json.dumps(line) + "\n" for line in lines))
    return folder / "s.jsonl", folder / "r.jsonl"


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """What the command wrote, and said."""
    folder = tmp_path_factory.mktemp("grounding")
    sources, responses = write(folder)
    begin = folder / "begin.tsv"
    begin.write_text(
        "model_name\tdata_source\tknowledge\tmessage\tresponse\tbegin_label\n"
        "a\tx\tThe castle opens at 9.\thi\tThe castle opens at 9.\tFully attributable\n"
        "a\tx\tThe castle opens at 9.\thi\tPirates eat comets.\tNot fully attributable\n"
        "a\tx\tThe bakery sells bread.\thi\tThe bakery sells bread.\tFully attributable\n"
        "a\tx\tThe bakery sells bread.\thi\tRobots sing.\tNot fully attributable\n"
        "a\tx\tThe bakery sells bread.\thi\tHow nice!\tGeneric\n"
    )
    asked = ["--sources", sources, "--responses", responses, "--begin", begin, "--out", folder]
    said = CliRunner().invoke(main, list(map(str, asked)), catch_exceptions=False)
    assert said.exit_code == 0, said.output
    return folder


def test_the_command_writes_a_detector_that_learnt(made, tmp_path):
    own = Detector.load(made / "detector.json")
    assert own.rate == pytest.approx(0.5)
    fresh = train.ragtruth(*write(tmp_path, 20, seed=7))
    odds = train.scored(own, fresh)
    assert train.auroc(fresh.bad, odds, fresh.groups).low > 0.8
    # calibrated: about half of them, as there are
    probable = (own.slope * odds + own.offset > 0).sum()
    assert binom.ppf(0.001, 40, 0.5) <= probable <= binom.ppf(0.999, 40, 0.5)


def test_the_card_tells_of_this_training(made):
    card = (made / "CARD.md").read_text()
    assert "120 answers to 60 questions" in card
    assert "begin.tsv, not trained on | 1.000" in card
    assert "AUROC, sources held out" in card


def test_an_answer_is_judged_by_a_detector_that_never_saw_its_source(tmp_path):
    """With labels by coin nothing can be learnt: a leak would show as skill."""
    data = train.ragtruth(*write(tmp_path, 100, seed=1))
    rng = np.random.default_rng(0)
    # alike within a source, so that seeing a source would tell
    coin = dict(zip(np.unique(data.groups), rng.random(100) < 0.5, strict=True))
    bad = np.array([coin[group] for group in data.groups])
    blind = train.Answers(**vars(data) | {"bad": bad, "marked": bad[data.of]})
    found = train.auroc(bad, train.crossed(blind), data.groups)
    assert found.low < 0.55
    assert found.value < 0.7


@pytest.mark.parametrize(
    ("sources", "responses", "told"),
    [
        ("not json", "", "s.jsonl: cannot be read"),
        ('{"source_id": "1"}', "", "line 1 lacks passages, question"),
        ("", '{"source_id": "9", "model": "m", "response": "x", "labels": [], "hallucinated": 0}',
         "lacks source 9"),
        ("", "", "there are none"),
    ],
)  # fmt: skip
def test_files_that_are_none_end_in_a_sentence(tmp_path, sources, responses, told):
    (tmp_path / "s.jsonl").write_text(sources)
    (tmp_path / "r.jsonl").write_text(responses)
    asked = ["--sources", tmp_path / "s.jsonl", "--responses", tmp_path / "r.jsonl"]
    said = CliRunner().invoke(main, [*map(str, asked), "--out", str(tmp_path / "out")])
    assert said.exit_code == 1
    assert told in said.output
    assert "Traceback" not in said.output
    assert not (tmp_path / "out").exists()
