"""What a power cut may leave of a folder: every state that POSIX allows, from a trace of a process.

strace notes each system call that changes the folder. What was not synced when the power went may
be there or not, each write and each name by itself; what was synced is there.
"""

import functools
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

CALLS = (
    "open,openat,creat,write,pwrite64,writev,pwritev,ftruncate,truncate,fsync,fdatasync,lseek,"
    "rename,renameat,renameat2,unlink,unlinkat,rmdir,mkdir,mkdirat,link,linkat,symlink,symlinkat,"
    "sendfile,copy_file_range,fallocate"
)
LINE = re.compile(r"^(\d+) +(\w+)\((.*)\) += (-?\d+)(.*)$")
BEGUN = re.compile(r"^(\d+) +(.*) <unfinished \.\.\.>$")
RESUMED = re.compile(r"^(\d+) +<\.\.\. \w+ resumed>(.*)$")
QUOTED = re.compile(r'"((?:\\x[0-9a-f]{2})*)"')
HANDLE = re.compile(r"^(?:AT_FDCWD|(\d+))<((?:\\x[0-9a-f]{2})*)>")


@functools.cache
def can_trace() -> bool:
    """Return whether strace is here and may trace."""
    if not shutil.which("strace"):
        return False
    return not subprocess.run(["strace", "-o/dev/null", "true"], capture_output=True).returncode


@dataclass(eq=False)
class Node:
    """A file or a folder, whatever its name."""

    is_folder: bool = False
    entries: dict = field(default_factory=dict)  # names as a running system sees them


@dataclass
class Event:
    """One change: of a file's bytes, of a folder's names, a sync, or what the process said."""

    kind: str  # "write", "truncate", "link", "unlink", "rename", "sync" or "say"
    node: Node | None = None
    values: tuple = ()


class Trace:
    """What a process did to a folder that was empty.

    Attributes
    ----------
    events : list of Event
        In the order in which the calls returned.
    """

    def __init__(self, folder: Path):
        self.folder, self.root = folder, Node(is_folder=True)
        self.events: list[Event] = []
        self._pid = ""
        self._at: dict[tuple[str, str], int] = {}  # where a file is written next, by its handle

    @classmethod
    def of(cls, script: str, folder: Path, arguments: tuple = (), **options) -> "Trace":
        """Run a Python script and note what it does to a folder that is empty."""
        log = folder.with_name(f"{folder.name}.strace")
        command = ["strace", "-f", "--seccomp-bpf", "-y", "-xx", "-s", "10000000", "-o", log]
        command += ["-e", f"trace={CALLS}", sys.executable, "-c", script, *map(str, arguments)]
        subprocess.run(command, check=True, **options)
        trace = cls(folder)
        for line in _whole_lines(log.read_text()):
            if match := LINE.match(line):
                trace._note(*match.groups())
        return trace

    def _note(self, pid: str, call: str, arguments: str, result: str, _: str) -> None:
        if int(result) < 0:
            return
        texts = [_plain(text) for text in QUOTED.findall(re.sub(r"<[^>]*>", "", arguments))]
        handle = HANDLE.match(arguments)
        number, path = (handle[1], _plain(handle[2]).decode()) if handle else (None, "")
        self._pid = self._pid or pid  # of what it starts, the words are not its own
        if call == "write" and number == "1" and pid == self._pid:
            self.events.append(Event("say", None, (texts[0].decode(),)))
            return
        paths = [self._inside(text.decode(errors="replace")) for text in texts]
        if call in ("open", "openat", "creat"):
            self._open(pid, paths[0], arguments, result)
        elif call in ("mkdir", "mkdirat") and paths[0]:
            self._link(paths[0], Node(is_folder=True))
        elif call.startswith("rename"):
            self._rename(*paths)
        elif call.startswith(("unlink", "rmdir")) and paths[0]:
            folder, name = self._place(paths[0])
            folder.entries.pop(name)
            self.events.append(Event("unlink", folder, (name,)))
        elif handle and (inside := self._inside(path)) is not None:
            if node := self._find(inside):  # else it has no name any more
                self._change(call, (pid, number), node, arguments, texts, int(result))
        elif any(path is not None for path in paths):
            raise NotImplementedError(f"{call}({arguments[:200]})")

    def _open(self, pid: str, path: str | None, arguments: str, handle: str) -> None:
        if path is None:
            return
        node = self._find(path)
        if node is None:
            node = Node()
            self._link(path, node)
        elif "O_TRUNC" in arguments:
            self.events.append(Event("truncate", node, (0,)))
        self._at[pid, handle] = 0

    def _change(
        self, call: str, handle: tuple, node: Node, arguments: str, texts: list, count: int
    ) -> None:
        if call in ("fsync", "fdatasync"):
            self.events.append(Event("sync", node))
        elif call == "lseek":
            offset, whence = arguments.split(", ")[1:3]
            if whence == "SEEK_SET":
                self._at[handle] = int(offset)
            elif (whence, offset) not in (("SEEK_CUR", "0"), ("SEEK_END", "0")):
                raise NotImplementedError(f"lseek {arguments}")
        elif call == "pwrite64":
            self.events.append(Event("write", node, (int(arguments.split(", ")[-1]), texts[0])))
        elif call == "write":
            begin = self._at.get(handle, 0)
            self.events.append(Event("write", node, (begin, texts[0])))
            self._at[handle] = begin + len(texts[0])
        elif call == "sendfile":
            source = _plain(HANDLE.match(arguments.split(", ")[1])[2]).decode()
            begin = int(re.sub(r"\D", "", arguments.split(", ")[2]) or 0)
            data = Path(source).read_bytes()[begin : begin + count]
            self.events.append(Event("write", node, (self._at.get(handle, 0), data)))
            self._at[handle] = self._at.get(handle, 0) + len(data)
        elif call == "ftruncate":
            self.events.append(Event("truncate", node, (int(arguments.split(", ")[-1]),)))
        else:
            raise NotImplementedError(f"{call}({arguments[:200]})")

    def _rename(self, source: str | None, target: str | None) -> None:
        if source is None and target is None:
            return
        (folder, name), (there, new) = self._place(source), self._place(target)
        there.entries[new] = folder.entries.pop(name)
        self.events.append(Event("rename", there, (folder, name, new)))

    def _link(self, path: str, node: Node) -> None:
        folder, name = self._place(path)
        folder.entries[name] = node
        self.events.append(Event("link", folder, (name, node)))

    def _inside(self, path: str) -> str | None:
        """Return a path within the folder, "" for the folder itself, None for any other."""
        if path == str(self.folder):
            return ""
        return path[len(f"{self.folder}/") :] if path.startswith(f"{self.folder}/") else None

    def _find(self, path: str) -> Node | None:
        node = self.root
        for name in filter(None, path.split("/")):
            node = node.entries.get(name) if node else None
        return node

    def _place(self, path: str) -> tuple[Node, str]:
        parent, _, name = path.rpartition("/")
        return self._find(parent), name

    def cut(self, count: int, keep: Callable[[], bool]) -> tuple["State", list[str]]:
        """Return what is left after so many events, and the words said until then.

        Parameters
        ----------
        keep : callable
            Asked for each change that was not synced, whether it is there.
        """
        events = self.events[:count]
        open_, synced = {}, set()  # changes of a node that are not synced yet
        for place, event in enumerate(events):
            if event.kind == "sync":
                synced.update(open_.pop(event.node, ()))
            elif event.node is not None:
                open_.setdefault(event.node, []).append(place)
        state = State(self.root)
        for place, event in enumerate(events):
            if event.kind not in ("sync", "say") and (place in synced or keep()):
                state.apply(event)
        words = "".join(event.values[0] for event in events if event.kind == "say")
        return state, words.splitlines()


class State:
    """A folder as a disk may hold it."""

    def __init__(self, root: Node):
        self.root, self.names, self.bytes = root, {root: {}}, {}

    def apply(self, event: Event) -> None:
        """Change it as an event did."""
        node, values = event.node, event.values
        if event.kind == "link":
            self.names.setdefault(node, {})[values[0]] = values[1]
        elif event.kind == "unlink":
            self.names.setdefault(node, {}).pop(values[0], None)
        elif event.kind == "rename":
            folder, name, new = values
            if moved := self.names.setdefault(folder, {}).pop(name, None):
                self.names.setdefault(node, {})[new] = moved
        elif event.kind == "write":
            begin, data = values
            old = self.bytes.setdefault(node, bytearray())
            old.extend(bytes(max(0, begin - len(old))))
            old[begin : begin + len(data)] = data
        else:
            old = self.bytes.setdefault(node, bytearray())
            del old[values[0] :]
            old.extend(bytes(values[0] - len(old)))

    def write(self, folder: Path) -> None:
        """Make the folder as it is."""
        for name, node in self._entries(self.root):
            if node.is_folder:
                (folder / name).mkdir(parents=True, exist_ok=True)
            else:
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                (folder / name).write_bytes(self.bytes.get(node, b""))

    def _entries(self, folder: Node, path: str = "") -> Iterator[tuple[str, Node]]:
        for name, node in self.names.get(folder, {}).items():
            yield f"{path}{name}", node
            if node.is_folder:
                yield from self._entries(node, f"{path}{name}/")


def _plain(text: str) -> bytes:
    return bytes.fromhex(text.replace("\\x", ""))


def _whole_lines(log: str) -> Iterator[str]:
    """Return the calls in the order in which they ended, those of threads joined."""
    begun: dict[str, str] = {}
    for line in log.splitlines():
        if match := BEGUN.match(line):
            begun[match[1]] = match[2]
        elif match := RESUMED.match(line):
            yield f"{match[1]} {begun.pop(match[1], '')}{match[2]}"
        else:
            yield line
