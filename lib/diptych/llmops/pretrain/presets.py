"""The three presets: size of the model, length of the training, device."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Stage:
    """A stage of the curriculum: its mixture of tasks, tokens of a row, tokens in all."""

    name: str
    length: int
    tokens: int


@dataclass(frozen=True)
class Preset:
    """All settings that determine the weights, besides the code."""

    hidden: int
    layers: int
    heads: int
    feed_forward: int
    vocabulary: int
    stages: tuple[Stage, ...]
    batch_tokens: int = 4096
    rate: float = 3e-3
    warmup: int = 60  # steps
    decay: float = 0.35  # the last share of the steps, over which the rate falls to 0
    device: str = "cpu"
    compiled: bool = True  # compiling takes most of a minute; steps are a third faster
    seed: int = 0

    def steps(self, stage: Stage) -> int:
        """Return the optimizer steps of a stage."""
        return stage.tokens // self.batch_tokens

    @property
    def total(self) -> int:
        """Return the optimizer steps of all stages."""
        return sum(self.steps(stage) for stage in self.stages)


M = 1_000_000
PRESETS = {
    "cpu": Preset(192, 6, 6, 512, 4096, (
        Stage("polarity", 256, 2_500_000), Stage("labels", 256, 6_500_000),
        Stage("everything", 384, 4 * M), Stage("grounding", 384, 8 * M))),
    "gpu": Preset(384, 10, 6, 1024, 8192, (
        Stage("polarity", 256, 30 * M), Stage("labels", 256, 70 * M),
        Stage("everything", 512, 100 * M), Stage("grounding", 512, 150 * M)),
        batch_tokens=32_768, rate=2e-3, warmup=200, device="cuda"),
    "demo": Preset(128, 2, 4, 256, 1024, (
        Stage("words", 128, 256_000),), batch_tokens=1024, rate=5e-3, warmup=40, compiled=False),
}  # fmt: skip
