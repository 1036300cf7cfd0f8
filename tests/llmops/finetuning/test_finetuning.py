"""What is trained in transformers is what the server answers, adapter and soft prompt alike."""

import itertools
import shutil
import textwrap
from types import SimpleNamespace

import nbformat
import numpy as np
import pandas as pd
import pytest

from diptych.base import environment, workspace
from diptych.llmops import build, finetuning
from diptych.llmops.client.ask import ask_many
from diptych.llmops.client.target import Target
from diptych.llmops.evaluation import evaluate
from diptych.llmops.finetuning import (
    METHODS,
    examples,
    fitting,
    lora,
    methods,
    soft_prompt,
    tune,
    weights,
)
from diptych.llmops.pretrain import export, tokenizer
from diptych.llmops.prompts import bundle
from diptych.llmops.prompts.prompt import Prompt
from diptych.llmops.prompts.variant import Variant

LABELS = ("negative", "positive")
PROMPT = Prompt(
    "asked", "reviews", ("text",), "", "Good or bad? {text}",
    output={"type": "string", "enum": list(LABELS)},
)  # fmt: skip
TEXTS = ["It broke.", "Lovely soup!", "Twice the price, half the fun", "I would go again",
         "naïve 日本 🙂", "No.", "The staff was kind", "3 weeks late", "Never again!",
         "Fine, really", "so so slow", "A gem"]  # fmt: skip
# With weights of 8 bits llama.cpp rounds what meets them to 8 bits too.
NEAR = {"f16": 0.02, "q8_0": 0.2}


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A random model so large in its weights that no two tokens are nearly tied, and its folder."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.set_num_threads(1)
    torch.manual_seed(1)
    folder = tmp_path_factory.mktemp("model")
    tokenizer.train(folder / "tokenizer.json", 512, 200, 0)
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=512, hidden_size=64, intermediate_size=96, num_hidden_layers=2,
            num_attention_heads=2, num_key_value_heads=2, max_position_embeddings=256,
            tie_word_embeddings=True, rms_norm_eps=1e-5,
        )
    ).eval()  # fmt: skip
    with torch.no_grad():
        for weight in model.parameters():
            if weight.dim() == 2:
                weight.mul_(5).copy_(weight.half())
    for kind in ("f16", "q8_0"):
        export.to_gguf(model, folder / "tokenizer.json", folder / f"{kind}.gguf", kind)
    return model, folder


def served(file, model="", adapters=None):
    """Return the log-probabilities of the ten likeliest first tokens of each answer, by token."""
    asked = [{"messages": PROMPT.messages({"text": text})} for text in TEXTS]
    fields = {"max_tokens": 1, "temperature": 0, "logprobs": True, "top_logprobs": 10}
    server = {"model": file, "adapters": adapters or {}, "slots": 2}
    found = ask_many(asked, Target(model=model, parameters=fields, server=server))
    assert not [answer.error for answer in found if answer.error]
    told = [answer.response["choices"][0].get("logprobs", {}).get("content") for answer in found]
    first = [tokens[0]["top_logprobs"] if tokens else [] for tokens in told]
    assert sum(map(bool, first)) >= len(TEXTS) / 4  # a token that is half a character is not told
    return [{t["id"]: t["logprob"] for t in tokens} for tokens in first]


def off(found, model, folder, soft=None):
    """Return by how much log-probabilities of the server differ from those of transformers."""
    import torch

    bpe, gaps = tokenizer.load(folder / "tokenizer.json"), []
    for text, told in zip(TEXTS, found, strict=True):
        turns = [(m["role"], m["content"]) for m in PROMPT.messages({"text": text})]
        ids = torch.tensor([bpe.encode(tokenizer.conversation(turns)).ids])
        given = model.get_input_embeddings()(ids)
        if soft is not None:
            given = torch.cat([torch.from_numpy(soft)[None], given], dim=1)
        with torch.no_grad():
            computed = model(inputs_embeds=given).logits[0, -1].log_softmax(-1)
        gaps += [abs(float(computed[token]) - logprob) for token, logprob in told.items()]
    return max(gaps)


def with_adapter(file):
    """Return a model with an adapter that changes its answers."""
    import torch
    from peft import LoraConfig

    torch.manual_seed(2)
    config = LoraConfig(r=4, lora_alpha=8, target_modules="all-linear", init_lora_weights=False)
    tuned = weights.adapted(weights.load(file), config).eval()
    with torch.no_grad():
        for name, tensor in tuned.named_parameters():
            if "lora_B" in name:
                tensor.mul_(20)
    return tuned


def test_the_weights_of_the_file_are_those_that_were_exported(trained):
    model, folder = trained
    found = weights.load(folder / "f16.gguf").model
    for name, tensor in model.state_dict().items():
        assert np.array_equal(found.state_dict()[name], tensor), name
    assert not any(p.requires_grad for p in found.parameters())
    rounded = weights.load(folder / "q8_0.gguf").model.state_dict()
    for name, tensor in model.state_dict().items():
        scale = float(tensor.abs().max())
        assert float((rounded[name] - tensor).abs().max()) <= scale / 127, name


def test_the_tokens_are_those_of_the_vocabulary(trained, home):
    _, folder = trained
    bpe = tokenizer.load(folder / "tokenizer.json")
    rows = [{"text": text, "label": LABELS[i % 2]} for i, text in enumerate(TEXTS)]
    end = bpe.token_to_id(tokenizer.END)
    made, left_out = examples.encode(PROMPT, rows, folder / "f16.gguf", end, 200)
    assert left_out == 0
    for example, row in zip(made, rows, strict=True):
        turns = [("user", PROMPT.messages(row)[0]["content"])]
        prompt = bpe.encode(tokenizer.conversation(turns)).ids
        answer = [*bpe.encode(row["label"]).ids, end]
        assert example.ids == prompt + answer
        assert example.answer_tokens == len(answer)


def test_rows_that_do_not_fit_are_counted_and_none_is_an_error(trained, home):
    _, folder = trained
    rows = [{"text": "fine", "label": "positive"}, {"text": "fine " * 90, "label": "positive"}]
    made, left_out = examples.encode(PROMPT, rows, folder / "f16.gguf", 4, 60)
    assert (len(made), left_out) == (1, 1)
    with pytest.raises(weights.TuningError, match=r"rows: none of 1 fits into 60 tokens"):
        examples.encode(PROMPT, rows[1:], folder / "f16.gguf", 4, 60)


@pytest.mark.parametrize("kind", list(NEAR))
def test_a_served_adapter_answers_as_the_merged_model(trained, home, tmp_path, kind):
    _, folder = trained
    file = folder / f"{kind}.gguf"
    tuned = with_adapter(file)
    adapter = lora.to_gguf(tuned, tmp_path / "adapter.gguf")
    found = served(file, "mine", {"mine": adapter})
    plain = weights.load(file).model
    assert off(found, tuned.merge_and_unload(), folder) < NEAR[kind]
    assert off(found, plain, folder) > 1
    # who does not ask for the adapter does not get it
    assert off(served(file, "", {"mine": adapter}), plain, folder) < NEAR[kind]


@pytest.mark.parametrize("kind", list(NEAR))
def test_a_served_soft_prompt_answers_as_the_vectors_before_the_prompt(
    trained, home, tmp_path, kind
):
    _, folder = trained
    base = weights.load(folder / f"{kind}.gguf")
    vectors = np.random.default_rng(0).normal(size=(5, 64)).astype(np.float16).astype(np.float32)
    file = soft_prompt.to_gguf(base, vectors, tmp_path / "soft.gguf")
    kept = weights.load(file).model.get_input_embeddings().weight[-5:].numpy()  # as rounded
    found = served(file)
    assert off(found, base.model, folder, kept) < NEAR[kind]
    assert off(found, base.model, folder) > 1
    assert np.abs(kept - vectors).max() < 0.02


NORMS = {"q_norm": "attn_q_norm", "k_norm": "attn_k_norm"}
WINDOW = 12  # tokens that most layers of the Gemma see; prompts are longer
ROPE = {"rope_type": "default", "rope_theta": 1e6}
# Classes, layers, what they take beside the sizes, and how their file names norms.
RELATIVES = {
    "qwen2": ("Qwen2", "Config", 2, {"rope_parameters": ROPE}, {}),
    "qwen3": ("Qwen3", "Config", 2, {"rope_parameters": ROPE}, NORMS),
    "gemma3": (
        "Gemma3", "TextConfig", 6,  # the sixth layer sees all tokens
        {"query_pre_attn_scalar": 16, "sliding_window": WINDOW,
         "rope_parameters": {"full_attention": ROPE,
                             "sliding_attention": ROPE | {"rope_theta": 1e4}}},
        NORMS | {
            "post_attention_layernorm": "post_attention_norm",
            "pre_feedforward_layernorm": "ffn_norm", "post_feedforward_layernorm": "post_ffw_norm",
        },
    ),
}  # fmt: skip


@pytest.fixture(scope="module", params=RELATIVES)
def relative(request, tmp_path_factory):
    """A random model of another architecture as a file, and its folder."""
    import gguf
    import torch
    import transformers

    torch.manual_seed(4)
    folder = tmp_path_factory.mktemp(request.param)
    is_gemma = request.param == "gemma3"
    classes, kind, layers, settings, norms = RELATIVES[request.param]
    tokenizer.train(folder / "tokenizer.json", 512, 200, 0)
    shape = getattr(transformers, f"{classes}{kind}")(
        vocab_size=512, hidden_size=64, intermediate_size=96, num_hidden_layers=layers,
        num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=256, head_dim=16,
        tie_word_embeddings=True, rms_norm_eps=1e-6, **settings,
    )  # fmt: skip
    model = getattr(transformers, f"{classes}ForCausalLM")(shape).eval()
    writer = gguf.GGUFWriter(folder / "f16.gguf", request.param)
    theta = SimpleNamespace(**{**shape.to_dict(), "rope_parameters": ROPE})
    export.describe(writer, theta)
    writer.add_key_length(16)
    writer.add_value_length(16)
    if "sliding_window" in settings:
        writer.add_sliding_window(WINDOW)
    export.add_vocabulary(
        writer, tokenizer.load(folder / "tokenizer.json"), folder / "tokenizer.json"
    )
    with torch.no_grad():
        for name, tensor in model.named_parameters():
            if tensor.dim() == 2:
                tensor.mul_(5)
            elif name.endswith(".bias") or is_gemma:
                tensor.normal_(std=0.3 if is_gemma else 1.0)
            part = name.split(".")[-2]
            as_weight = f"{name.rpartition('.')[0]}.weight"
            if part in norms:
                place = f"blk.{name.split('.')[2]}.{norms[part]}"
            else:
                place = export.tensor_name(as_weight).removesuffix(".weight")
            array = tensor.numpy().astype(np.float16 if tensor.dim() == 2 else np.float32)
            if is_gemma and tensor.dim() == 1:
                array = array + 1  # as llama.cpp's converter writes these norms
            writer.add_tensor(f"{place}.{name.rpartition('.')[2]}", array)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return request.param, folder


def test_other_architectures_are_computed_and_adapted_as_the_server_does(relative, home, tmp_path):
    import gguf

    name, folder = relative
    file = folder / "f16.gguf"
    tuned = with_adapter(file)
    adapter = lora.to_gguf(tuned, tmp_path / "adapter.gguf")
    assert weights.value(gguf.GGUFReader(adapter), "general.architecture") == name
    answers = served(file, "mine", {"mine": adapter})
    plain = weights.load(file).model
    assert off(answers, tuned.merge_and_unload(), folder) < NEAR["f16"]
    assert off(answers, plain, folder) > 1
    assert off(served(file, "", {"mine": adapter}), plain, folder) < NEAR["f16"]


@pytest.mark.parametrize("relative", ["gemma3"], indirect=True)
def test_a_soft_prompt_of_scaled_embeddings_is_served_as_it_was_trained(relative, home, tmp_path):
    _, folder = relative
    base = weights.load(folder / "f16.gguf")
    vectors = np.random.default_rng(0).normal(size=(5, 64)).astype(np.float32)
    file = soft_prompt.to_gguf(base, vectors, tmp_path / "soft.gguf")
    answers = served(file)
    assert off(answers, base.model, folder, vectors) < 2 * NEAR["f16"]  # the file rounds them
    assert off(answers, base.model, folder) > 0.5


def test_a_soft_prompt_needs_a_chat_template(tmp_path):
    import gguf

    writer = gguf.GGUFWriter(tmp_path / "base.gguf", "llama")
    writer.add_context_length(128)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.close()
    with pytest.raises(weights.TuningError, match=r"base\.gguf has no chat template"):
        soft_prompt.tune(weights.Base(tmp_path / "base.gguf", None), [], 0)


def test_the_loss_of_other_architectures_is_that_of_the_answers_one_by_one(relative):
    import torch

    _, folder = relative
    model = weights.load(folder / "f16.gguf").model
    losses = []
    for example in [*ALIKE, OTHER]:
        logits = model(torch.tensor([example.ids])).logits[0].log_softmax(-1)
        places = range(len(example.ids) - example.answer_tokens, len(example.ids))
        losses += [-float(logits[place - 1, example.ids[place]]) for place in places]
    loss = fitting.answer_loss(model, [*ALIKE, OTHER])
    assert loss.item() == pytest.approx(np.mean(losses), rel=1e-4)


def toy(n=40):
    """Return rows whose label one word tells."""
    words = {"negative": ["awful", "broken", "dull"], "positive": ["superb", "lovely", "bright"]}
    things = itertools.cycle(["The soup was {}.", "A {} film", "It is {}!", "{} room, {} staff"])
    rows = []
    for i in range(n):
        label = LABELS[i % 2]
        text = next(things).replace("{}", words[label][i // 2 % 3])
        rows.append({"id": f"t{i}", "text": f"{i}. {text}", "label": label})
    return pd.DataFrame(rows)


def learn(folder, rows):
    base = weights.load(folder / "f16.gguf")
    made, _ = examples.encode(PROMPT, rows.to_dict("records"), base.path, 4, 200)
    return base, made


def test_lora_learns_and_is_evaluated_by_its_name(trained, home, tmp_path):
    _, folder = trained
    rows = toy()
    base, made = learn(folder, rows)
    schedule = fitting.Schedule(epochs=30, batch=20, rate=1e-2)
    tuned, losses = lora.tune(base, made, seed=0, schedule=schedule, rank=8)
    assert len(losses) == 60
    assert losses[-1] < losses[0] / 4
    server = {"model": base.path, "adapters": {"toy": lora.to_gguf(tuned, tmp_path / "toy.gguf")}}
    plain = build.Variant(PROMPT, Target(server=server))
    toy_model = build.Variant(PROMPT, Target(model="toy", server=server))
    found = evaluate.evaluate([plain, toy_model], rows, "label")
    right = found.groupby("variant")["correct"].mean()
    assert right["asked · toy"] > 0.8 > right["asked · f16"]


@pytest.mark.parametrize("method", [name for name in METHODS if name != "api"])
def test_a_tuned_way_to_ask_is_saved_and_asked_again_from_its_files(
    trained, home, tmp_path, method
):
    _, folder = trained
    file = folder / "f16.gguf"
    champion = build.Variant(PROMPT, Target(server={"model": str(file), "slots": 2}))
    made = tune(method, champion, toy(20), tmp_path / "made", epochs=8)
    assert (made.rows, made.left_out) == (20, 0)
    assert "20 rows, 0 too long" in str(made)
    bundle.save(made.variant, tmp_path / "kept")
    shutil.rmtree(tmp_path / "made")
    kept = bundle.load(tmp_path / "kept")
    assert kept.target.server["slots"] == 2
    texts = toy(8)
    found = evaluate.evaluate([kept], texts, "label")
    assert not found["error"].any()
    plain = evaluate.evaluate([champion], texts, "label")
    assert not np.allclose(found["confidence"], plain["confidence"])


def test_a_soft_prompt_learns_and_leaves_the_weights_alone(trained, home):
    model, folder = trained
    base, made = learn(folder, toy(20))
    schedule = fitting.Schedule(epochs=20, batch=20, rate=3e-2)
    vectors, losses = soft_prompt.tune(base, made, seed=0, schedule=schedule, length=4)
    assert vectors.shape == (4, 64)
    assert losses[-1] < losses[0]
    for name, tensor in model.state_dict().items():
        assert np.array_equal(base.model.state_dict()[name], tensor), name


def test_every_example_is_met_as_often_as_the_epochs_say():
    made = [examples.Example(list(range(5 + i % 7)), 2) for i in range(50)]
    schedule = fitting.Schedule(epochs=2, batch=8, rate=1e-3)
    met = [id(e) for batch in fitting.batches(made, schedule, 0) for e in batch]
    counts = pd.Series(met).value_counts()
    assert len(counts) == 50
    assert counts.max() - counts.min() <= 1


BEGUN = [7, 8, 9]  # as two of these begin
ALIKE = [examples.Example([*BEGUN, 10, 11, 4], 2), examples.Example([*BEGUN, 5, 12, 13, 14, 4], 3)]
OTHER = examples.Example([5, 9, 10, 4], 2)


@pytest.mark.parametrize("batch", [[OTHER], ALIKE, ALIKE[:1] * 2, [*ALIKE, OTHER]])
@pytest.mark.parametrize("length", [0, 3])
def test_the_loss_and_its_gradient_are_those_of_the_answers_one_by_one(trained, batch, length):
    import torch

    model, _ = trained
    embed, weight = model.get_input_embeddings(), model.model.layers[0].self_attn.k_proj.weight
    soft = torch.randn(length, 64, generator=torch.Generator().manual_seed(0), requires_grad=True)
    asked = []
    for example in batch:
        given = torch.cat([soft, embed(torch.tensor(example.ids))])
        logits = model(inputs_embeds=given[None]).logits[0].log_softmax(-1)
        for place in range(len(example.ids) - example.answer_tokens, len(example.ids)):
            asked.append(-logits[length + place - 1, example.ids[place]])
    expected = torch.stack(asked).mean()
    found = fitting.answer_loss(model, batch, soft if length else None)
    assert found.item() == pytest.approx(expected.item(), rel=1e-4)
    learnt = [weight, soft] if length else [weight]
    for one, other in zip(
        torch.autograd.grad(found, learnt), torch.autograd.grad(expected, learnt), strict=True
    ):
        assert (one - other).norm().item() < 1e-3 * other.norm().item()


def test_half_precision_gives_the_loss_and_the_gradients_of_full_precision(trained):
    """The gradients of the adapter, not of the weights: those are frozen."""
    import torch
    from peft import LoraConfig

    _, folder = trained
    results = []
    for half in (False, True):
        base = weights.load(folder / "f16.gguf", half)
        assert base.model.dtype == (torch.bfloat16 if half else torch.float32)
        torch.manual_seed(3)
        how = LoraConfig(r=4, target_modules="all-linear", init_lora_weights=False)
        tuned = weights.adapted(base, how)
        learnt = [p for p in tuned.parameters() if p.requires_grad]
        assert {p.dtype for p in learnt} == {torch.float32}  # small steps would be lost in 16 bits
        loss = fitting.answer_loss(tuned.get_base_model(), [*ALIKE, OTHER])
        gradients = torch.autograd.grad(loss, learnt)
        results.append((loss.item(), torch.cat([g.flatten() for g in gradients])))
    (full, expected), (half, gradient) = results
    assert half == pytest.approx(full, rel=0.02)
    assert torch.nn.functional.cosine_similarity(gradient, expected, dim=0) > 0.99


def test_a_narrow_model_is_tuned_in_full_precision(trained):
    import torch

    _, folder = trained
    assert weights.load(folder / "f16.gguf").model.dtype == torch.float32


@pytest.mark.parametrize(
    ("kind", "width", "expected"),
    # SmolLM2's as its adapters were recorded, the 0.5B's as measured
    [("Llama", 576, 2e-3), ("Llama", 64, 2e-3), ("Llama", 2048, 7e-4), ("Qwen2", 896, 5e-4)],
)
def test_wider_models_are_tuned_at_lower_rates(kind, width, expected):
    import transformers

    shape = getattr(transformers, f"{kind}Config")(hidden_size=width)
    schedule = lora.schedule_of(weights.Base(None, SimpleNamespace(config=shape)))
    assert schedule == fitting.Schedule(epochs=1.5, batch=8, rate=expected)


def test_tuning_leaves_a_core_to_others_and_then_restores_the_threads(monkeypatch):
    import torch

    before = torch.get_num_threads()
    monkeypatch.setattr(fitting.machine, "cores", lambda: before + 3)
    with fitting.threads():
        assert torch.get_num_threads() == before + 2
    assert torch.get_num_threads() == before


def test_what_cannot_be_tuned_is_told(tmp_path, gguf, capsys):
    import gguf as format_

    with pytest.raises(weights.TuningError, match=r"nothing.gguf cannot be read"):
        weights.load(tmp_path / "nothing.gguf")
    writer = format_.GGUFWriter(tmp_path / "other.gguf", "gemma2")
    writer.add_context_length(128)
    writer.add_tensor("token_embd.weight", np.zeros((4, 32), np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    with pytest.raises(weights.TuningError, match="architecture gemma2; only those of llama, "):
        weights.load(tmp_path / "other.gguf")
    variant = Variant(
        Prompt("p", "t", ("text",), "", "{text}"), Target(server={"model": tmp_path / "other.gguf"})
    )
    with pytest.raises(weights.TuningError, match="architecture gemma2; only those of llama, "):
        methods.check("lora", variant)
    assert methods.choose("auto", variant) == "none"
    assert (
        "Nothing is tuned. Model: other.gguf is of the architecture gemma2"
        in capsys.readouterr().out
    )
    assert methods.choose("auto", Variant(variant.prompt, Target(server={"model": gguf}))) == "lora"


@pytest.fixture
def shaped(tmp_path):
    """Return a variant whose model's file says what it is, and holds one tensor."""

    def make(layers, tensor="token_embd.weight", scaling=None, inner=8192, experts=0):
        import gguf

        file = tmp_path / f"{layers}.gguf"
        writer = gguf.GGUFWriter(file, "qwen2")
        writer.add_context_length(128)
        writer.add_block_count(layers)
        writer.add_embedding_length(2048)
        writer.add_feed_forward_length(inner)
        writer.add_expert_count(experts)
        writer.add_head_count(16)
        if scaling:
            writer.add_rope_scaling_type(scaling)
        writer.add_tensor(tensor, np.zeros((1, 32), np.float32))
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        prompt = Prompt("p", "t", ("text",), "", "{text}")
        return Variant(prompt, Target(server={"model": file}))

    return make


def test_a_model_whose_positions_are_scaled_is_refused_before_anything_is_asked(shaped):
    import gguf

    for made in (shaped(2, weights.SCALED), shaped(3, scaling=gguf.RopeScalingType.YARN)):
        with pytest.raises(weights.TuningError, match="scales its positions"):
            methods.check("lora", made)


def test_experts_and_layers_of_different_shapes_are_refused(shaped):
    for made in (shaped(2, experts=8), shaped(3, inner=[8192, 4096, 8192])):
        with pytest.raises(weights.TuningError, match="has experts, or layers of different"):
            methods.check("lora", made)


def test_a_model_that_needs_more_memory_than_there_is_is_refused(shaped):
    layer = 4 * 2048**2 + 3 * 2048 * 8192
    memory = int(environment.memory_gib() * 2**30)
    with pytest.raises(weights.TuningError, match="GiB of memory while it is tuned"):
        methods.check("lora", shaped(memory // layer))


def test_hours_of_tuning_are_done_only_where_they_are_asked_for(shaped, capsys):
    layer = 4 * 2048**2 + 3 * 2048 * 8192
    large, small = shaped(methods.UNASKED // layer + 1), shaped(2)
    assert (methods.choose("auto", large), methods.choose("auto", small)) == ("none", "lora")
    assert "billion numbers" in capsys.readouterr().out
    assert methods.choose("lora", large) == "lora"


def test_the_same_seed_gives_the_same_adapter(trained, home):
    _, folder = trained
    schedule = fitting.Schedule(epochs=2, batch=10, rate=1e-2)

    def losses(seed):
        base, made = learn(folder, toy(20))
        return lora.tune(base, made, seed, schedule, rank=2)[1]

    first = losses(0)
    assert losses(0) == first
    assert losses(1) != first


def test_the_loop_in_the_notebook_is_the_one_of_the_helper(trained, home):
    import torch
    from peft import LoraConfig, get_peft_model

    nb = nbformat.read(workspace.repo_root() / "notebooks/llmops/6_improve.ipynb", as_version=4)
    (source,) = (cell.source for cell in nb.cells if "get_peft_model(" in cell.source)
    start, end = (source.index(f"    {x}") for x in ("torch.manual_seed", "fine_tuned = fine"))
    loop = source[start:end]
    weights.ignore_old_name()
    _, folder = trained
    base, made = learn(folder, toy(20))
    names = {"torch": torch, "LoraConfig": LoraConfig, "get_peft_model": get_peft_model}
    names |= {"finetuning": finetuning, "seed": 3}
    names["prepared"] = SimpleNamespace(base=base, encoded=made)
    exec(textwrap.dedent(loop), names)
    base, made = learn(folder, toy(20))
    _, losses = lora.tune(base, made, 3)
    assert names["losses"] == pytest.approx(losses, rel=1e-3)
