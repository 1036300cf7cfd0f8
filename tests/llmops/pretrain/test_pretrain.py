"""The vocabulary, the packing, the training and the export of the language model."""

import dataclasses
import json
import random
import shutil

import numpy as np
import pytest

from diptych.llmops.pretrain import PRESETS, Stage, corpus, export, packing, tokenizer, training
from diptych.llmops.pretrain.gates import measures, suites

TINY = dataclasses.replace(
    PRESETS["demo"], hidden=64, layers=2, heads=2, feed_forward=96, vocabulary=600, warmup=5,
    batch_tokens=512, stages=(Stage("polarity", 128, 4096), Stage("everything", 256, 6144)),
)  # fmt: skip


@pytest.fixture(scope="module")
def vocabulary(tmp_path_factory):
    path = tmp_path_factory.mktemp("vocabulary") / "tokenizer.json"
    tokenizer.train(path, TINY.vocabulary, 300, 0)
    return path


@pytest.fixture
def folder(tmp_path, vocabulary):
    (tmp_path / "tokenizer.json").write_bytes(vocabulary.read_bytes())
    return tmp_path


def test_any_text_survives_the_vocabulary(vocabulary):
    bpe = tokenizer.load(vocabulary)
    for text in ("It cost 1,234.50 €!", "  two  spaces\n\ttab", "naïve 日本 🙂"):
        assert bpe.decode(bpe.encode(text).ids) == text
    assert len(bpe.encode("1234").ids) == 4
    assert bpe.encode("<|user|>hi<|end|>").tokens[0] == "<|user|>"


def test_the_template_lays_turns_out_as_training_does():
    jinja2 = pytest.importorskip("jinja2")
    turns = [("system", "Be brief."), ("user", "Hi {x}"), ("assistant", "Hello"), ("user", "Bye")]
    messages = [{"role": role, "content": text} for role, text in turns]
    rendered = jinja2.Template(tokenizer.TEMPLATE).render(
        messages=messages, add_generation_prompt=True
    )
    assert rendered == tokenizer.conversation(turns)


def test_answers_and_marked_labels_are_asked_and_nothing_else(vocabulary):
    bpe = tokenizer.load(vocabulary)
    asking = f"A: {corpus.OPEN} good{corpus.CLOSE}\nB:"
    made = corpus.Document("episode", (("user", asking), ("assistant", "bad")))
    ids, weights, tasks = packing.encode(bpe, made)
    asked = [i for i, task in zip(ids, tasks, strict=True) if task]
    assert bpe.decode(asked).split() == ["good", "bad"] or bpe.decode(asked) == " goodbad"
    assert {t for t in tasks if t} == {packing.TASK_NUMBER["episode"]}
    assert all(w == packing.LABEL for w, t in zip(weights, tasks, strict=True) if t)
    shown = "<|user|>A:  good\nB:<|end|><|assistant|>bad<|end|>"
    assert bpe.decode(ids, skip_special_tokens=False) == shown
    assert ids[-1] == bpe.token_to_id(tokenizer.END)
    assert weights[-1] == packing.ANSWER


def test_rows_hold_whole_documents_and_weightless_padding(vocabulary):
    bpe = tokenizer.load(vocabulary)
    starts = {bpe.token_to_id(f"<|{role}|>") for role in ("system", "user")}
    end = bpe.token_to_id(tokenizer.END)
    made = np.stack(list(packing.rows(bpe, "everything", 256, 12, "s")))
    assert made.shape == (12, 3, 256)
    for ids, weights, tasks in made:
        last = np.flatnonzero(ids == end)[-1]
        assert ids[0] in starts
        assert not ids[last + 1 :].any()
        assert not weights[last + 1 :].any()
        assert (weights[tasks > 0] >= packing.ANSWER).all()
    again = np.stack(list(packing.rows(bpe, "everything", 256, 12, "s")))
    assert (again == made).all()


def test_a_batch_scores_the_token_after_each_place():
    rows = np.zeros((4, 3, 8), np.uint16)
    rows[:, 0] = np.arange(32).reshape(4, 8) + 5
    rows[2, 1:, 3] = 100, 7
    preset = dataclasses.replace(TINY, batch_tokens=32)
    made = training.batch(rows, preset, Stage("polarity", 8, 32), 0)
    place = made.places[0]
    assert made.weights[0] == 1.0
    assert made.tasks[0] == 7
    assert made.ids.ravel()[place + 1] == rows[2, 0, 3]
    assert not made.weights[1:].any()


def test_training_lowers_the_loss_and_resumes_exactly(folder, tmp_path):
    import torch

    whole = training.train(folder, TINY, every=7)
    first, *_, last = losses_of(folder)
    assert last < first
    parts = tmp_path / "parts"
    parts.mkdir()
    for file in [folder / "tokenizer.json", *folder.glob("*.npy")]:  # packing is tested above
        shutil.copy(file, parts)
    training.train(parts, TINY, stop=9)
    resumed = training.train(parts, TINY)
    for name, weight in whole.state_dict().items():
        assert torch.equal(weight, resumed.state_dict()[name]), name


def losses_of(folder) -> list[float]:
    """Return the mean loss of the answers before the first step and after the last."""
    import torch

    found = []
    data = training.load_rows(folder, TINY, TINY.stages[0])
    made = training.batch(data, TINY, TINY.stages[0], 0)
    tensors = [torch.from_numpy(a) for a in (made.ids, made.places, made.weights)]
    trained = training.build(TINY)
    state = torch.load(folder / "checkpoint.pt", weights_only=True)["model"]
    for model in (training.build(TINY), trained):
        if model is trained:
            model.load_state_dict(state)
        with torch.no_grad():
            found.append(float(training.losses(model, *tensors)[0]))
    return found


def test_the_rate_warms_up_stays_and_falls():
    preset = PRESETS["cpu"]
    rates = [training.rate(preset, step) for step in range(preset.total)]
    assert rates[0] < rates[preset.warmup] == preset.rate == max(rates)
    assert rates[int(preset.total * (1 - preset.decay)) - 1] == preset.rate
    assert rates[-1] < preset.rate / 50


def test_the_loss_is_logged_by_task(folder):
    long = dataclasses.replace(TINY, stages=(Stage("everything", 256, 512 * 50),))
    training.train(folder, long)
    rows = [json.loads(line) for line in (folder / "loss.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == [50]
    assert {"dense", "card", "chat"} <= set(rows[0])


def test_served_half_precision_answers_as_transformers_does(folder):
    import torch

    model = training.build(TINY).eval()
    with torch.no_grad():
        for weight in model.parameters():
            if weight.dim() == 2:  # larger, so that no two tokens are nearly tied
                weight.mul_(3).copy_(weight.half())
    half = export.to_gguf(model, folder / "tokenizer.json", folder / "half.gguf", "f16")
    gate = measures.same_as_reference(model, folder / "tokenizer.json", half, n=6)
    assert gate.met, gate.measured


def test_an_unknown_precision_is_refused(folder):
    with pytest.raises(ValueError, match=r"kind: 'q3' is not one of q8_0"):
        export.to_gguf(training.build(TINY), folder / "tokenizer.json", folder / "m.gguf", "q3")


def test_what_counts_as_invented_and_faithful():
    item = suites.Item([], "", {"card": "price: 49 euros\ncolor: red"})
    assert not measures.invented("It costs 49 euros.", item)
    assert measures.invented("It costs 50 euros.", item)
    assert not measures.invented("Not stated.", item)
    assert measures.faithful("The soup was cold.", "We sat outside. The soup was cold!")
    assert not measures.faithful("The soup was hot.", "The soup was cold!")
    assert not measures.faithful("", "The soup was cold!")


def test_a_summary_that_copies_the_verdict_agrees():
    rng = random.Random(1)
    for item in suites.summaries(rng, 30):
        made = item.facts["review"]
        right = next(c for c in made.clauses if c.polarity == made.label)
        wrong = [c for c in made.clauses if c.polarity != made.label]
        assert measures.agrees(right.text, made)
        assert not any(measures.agrees(c.text, made) for c in wrong)
