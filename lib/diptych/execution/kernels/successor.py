"""A zygote forked from the zygote: it imports what was learnt and then takes its place.

Until it is ready kernels are forked from the zygote as it is: they import for themselves, and
nobody waits for what others need. A successor that does not survive an import just ends.
"""

import contextlib
import os
import signal

READY = b"+"
PID = 4  # bytes


class Successor:
    """A successor, and the pipe by which it tells the zygote that it is ready.

    Attributes
    ----------
    end : int
        Descriptor that can be read when it is ready, or has ended.
    pid : int
    """

    def __init__(self):
        self.end, self._far_end = os.pipe2(os.O_CLOEXEC)
        self.pid = 0

    def fork(self) -> bool:
        """Fork it, as no child of this process; return True in the successor, False here."""
        child = os.fork()
        if child == 0:
            if pid := os.fork():
                os.write(self._far_end, pid.to_bytes(PID, "big"))
                os._exit(0)
            os.close(self.end)
            return True
        os.close(self._far_end)
        os.waitpid(child, 0)
        self.pid = int.from_bytes(os.read(self.end, PID), "big")
        return False

    def announce(self) -> None:
        """Tell, in the successor, that it is ready."""
        with contextlib.suppress(BrokenPipeError):  # the zygote was killed
            os.write(self._far_end, READY)
        os.close(self._far_end)

    def is_ready(self) -> bool:
        """Say which of the two it is, when `end` can be read."""
        return os.read(self.end, 1) == READY

    def close(self) -> None:
        """Let go of it."""
        os.close(self.end)

    def kill(self) -> None:
        """End it at once."""
        self.close()
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)
