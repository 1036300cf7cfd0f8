"""Threads, slots and context of a model's server: what suits the model and the machine."""

from dataclasses import dataclass
from pathlib import Path

from diptych.base import environment as machine
from diptych.llmops.server import gguf

SMALL = 50_000_000  # bytes: such a model, like the shipped one, waits for its callers' cores
CONTEXT = 4096  # tokens of one conversation, unless the model was trained for fewer
SLOTS = 8
SPINS = "1000"  # turns of a waiting thread before it sleeps; of GNU's library, others ignore it
SHARE = 8  # of the memory, the part that the conversations may take


@dataclass(frozen=True)
class Sizing:
    """How a server computes: threads, conversations at once, tokens of each."""

    threads: int
    slots: int
    context: int
    small: bool = False

    def environment(self) -> dict[str, str]:
        """Return the variables with which llama.cpp is loaded.

        Threads of a large model wait for each other thousands of times an answer. Those that spin
        for long stand still for each other where other processes need the cores; those that sleep
        at once lose more time than they compute. So they spin for some microseconds, then sleep.
        Tokens a second that Qwen2.5 0.5B decoded on two cores, by turns of spinning (0: none):

        ========================  ====  =====  ======  =======
        turns                        0  1,000  10,000  100,000
        ========================  ====  =====  ======  =======
        idle                      30.5   41.4    37.2     47.0
        beside two busy ones      15.1   14.8    12.6      5.5
        beside six busy ones       9.5    9.3     3.8     none
        ========================  ====  =====  ======  =======
        """
        return {} if self.small else {"OMP_WAIT_POLICY": "passive", "GOMP_SPINCOUNT": SPINS}


def fit(model: Path, slots: int = 0, context: int = 0) -> Sizing:
    """Return the settings of a model's server; what is given stands, 0 is chosen here.

    A small model's threads wait for each other by spinning, and its callers need a core of their
    own, so it leaves them one. A larger model keeps its callers waiting, and takes all physical
    cores: on two of them Qwen2.5 0.5B decodes 45 tokens a second where one core gives 27. Its slots
    are two for each core, and fewer where their conversations would take more than an eighth of the
    memory.

    Raises
    ------
    ServeError
        If the file is no model.
    """
    values = gguf.header(model)
    small = is_small(model)
    context = min(context or CONTEXT, int(values["context_length"]))
    threads = max(1, machine.cores() - 1) if small else machine.physical_cores()
    if not slots:
        slots = SLOTS if small else min(SLOTS, 2 * threads)
        room = (machine.memory_gib() or 8) * 2**30 / SHARE
        slots = max(1, min(slots, int(room / max(1, gguf.cache_bytes(values) * context))))
    return Sizing(threads, slots, context, small)


def is_small(model: Path) -> bool:
    """Say whether a model is as small as the one in the box, and answers as fast."""
    return model.stat().st_size < SMALL
