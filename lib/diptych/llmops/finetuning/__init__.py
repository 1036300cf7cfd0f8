"""Fine-tuning: LoRA or a soft prompt for the local model, or a job at a remote endpoint."""

from diptych.llmops.finetuning.jobs import Remote
from diptych.llmops.finetuning.methods import METHODS, Tuned, check, choose, tune

__all__ = ["METHODS", "Remote", "Tuned", "check", "choose", "tune"]
