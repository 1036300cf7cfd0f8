"""Byte-level BPE with single digits, and the chat template of the model."""

import random
from pathlib import Path

from diptych.llmops.pretrain.corpus import document

END_OF_TEXT, END = "<|endoftext|>", "<|end|>"
ROLES = ("system", "user", "assistant")
SPECIAL = (END_OF_TEXT, *(f"<|{role}|>" for role in ROLES), END)  # their ids are 0 to 4
TEMPLATE = (
    "{% for m in messages %}{{ '<|' + m['role'] + '|>' + m['content'] + '<|end|>' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"
)


def train(path: Path, vocabulary: int, documents: int, seed: int):
    """Train a vocabulary on generated documents and save it to `path` (JSON)."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True),
         pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)]
    )  # fmt: skip
    tokenizer.decoder = decoders.ByteLevel()
    rng = random.Random(f"tokenizer {seed}")
    texts = (text for _ in range(documents) for text in document(rng).texts())
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary, special_tokens=list(SPECIAL), show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )  # fmt: skip
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.save(str(path))
    return tokenizer


def load(path: Path):
    """Load a saved vocabulary."""
    from tokenizers import Tokenizer

    return Tokenizer.from_file(str(path))


def conversation(turns) -> str:
    """Format turns as `TEMPLATE` does, up to the place of the assistant's answer."""
    return "".join(f"<|{role}|>{text}{END}" for role, text in turns) + "<|assistant|>"
