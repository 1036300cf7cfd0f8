"""Fine-tuning: LoRA or a soft prompt for the local model, or a job at a remote endpoint."""

from diptych.llmops.finetuning.fitting import Schedule, answer_logits, each_batch
from diptych.llmops.finetuning.jobs import Remote
from diptych.llmops.finetuning.lora import schedule_of
from diptych.llmops.finetuning.methods import (
    METHODS,
    Prepared,
    Tuned,
    check,
    choose,
    prepare,
    tune,
    with_adapter,
)

__all__ = [
    "METHODS", "Prepared", "Remote", "Schedule", "Tuned", "answer_logits", "check",
    "choose", "each_batch", "prepare", "schedule_of", "tune", "with_adapter",
]  # fmt: skip
