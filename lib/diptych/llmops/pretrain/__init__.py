"""A small LLaMA made from nothing: corpus, vocabulary, training, GGUF, gates and model card."""

from diptych.llmops.pretrain.presets import PRESETS, Preset, Stage

__all__ = ["PRESETS", "Preset", "Stage"]
