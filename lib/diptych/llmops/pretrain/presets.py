"""How large, how long, on what: the three presets."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Stage:
    """A part of the curriculum: which mixture, in rows of how many tokens, how many tokens."""

    name: str
    length: int
    tokens: int


@dataclass(frozen=True)
class Preset:
    """Everything that decides the weights, besides the code."""

    hidden: int
    layers: int
    heads: int
    feed_forward: int
    vocabulary: int
    stages: tuple[Stage, ...]
    batch_tokens: int = 4096
    rate: float = 3e-3
    warmup: int = 60  # steps
    decay: float = 0.35  # share of the steps, at the end, over which the rate falls to nothing
    device: str = "cpu"
    compiled: bool = True  # it takes most of a minute, and gains a third
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
