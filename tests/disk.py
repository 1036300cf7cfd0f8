"""What a power cut would leave: notes every fsync and rename of this process, which happen as well.

A file survives if it was synced after it was written; its name, if its folder was synced after the
name was given.
"""

import os
from pathlib import Path


class Disk:
    """Watches `os.fsync`, `os.rename` and `os.replace` while a test runs."""

    def __init__(self, monkeypatch):
        self.events: list[tuple[str, str]] = []
        sync, calls = os.fsync, {"rename": os.rename, "replace": os.replace}

        def fsync(handle):
            number = handle if isinstance(handle, int) else handle.fileno()
            self.events.append(("sync", os.readlink(f"/proc/self/fd/{number}")))
            return sync(handle)

        monkeypatch.setattr(os, "fsync", fsync)
        for name, call in calls.items():

            def moved(source, target, *rest, call=call, **more):
                call(source, target, *rest, **more)
                self.events.append(("name", os.path.realpath(target)))

            monkeypatch.setattr(os, name, moved)

    def named(self, path: Path) -> int:
        """Return when a path got its name."""
        return max(i for i, event in enumerate(self.events) if event == ("name", str(path)))

    def synced(self, path: Path, before: int | None = None) -> list[int]:
        """Return when a path was synced, if so before an event."""
        times = [i for i, event in enumerate(self.events) if event == ("sync", str(path))]
        return [time for time in times if before is None or time < before]

    def keeps(self, path: Path) -> bool:
        """Whether a name survives."""
        return any(time > self.named(path) for time in self.synced(path.parent))
