"""Pretraining of the shipped language model: corpus, vocabulary, training, GGUF, gates, card."""

from diptych.llmops.pretrain.presets import PRESETS, Preset, Stage

__all__ = ["PRESETS", "Preset", "Stage"]
