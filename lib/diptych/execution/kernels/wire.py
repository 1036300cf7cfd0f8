"""What goes over sockets: messages of a kernel's channels, and requests to a zygote.

Messages are the frames that zmq would carry; a request is a line of JSON, and open files.
"""

import array
import json
import socket
import struct
from collections.abc import Iterable, Iterator, Sequence

FILES = 5  # at most, with a request
HEADER = struct.Struct("<8sI")  # channel, number of frames; then the frames' lengths


def pack(channel: str, frames: Iterable) -> bytes:
    """Return a message as bytes."""
    frames = [bytes(frame) for frame in frames]
    lengths = struct.pack(f"<{len(frames)}Q", *map(len, frames))
    return b"".join([HEADER.pack(channel.encode(), len(frames)), lengths, *frames])


def unpack(buffer: bytearray) -> Iterator[tuple[str, list[bytes]]]:
    """Take the whole messages from a buffer: channel and frames of each."""
    while len(buffer) >= HEADER.size:
        channel, count = HEADER.unpack_from(buffer)
        start = HEADER.size + 8 * count
        if len(buffer) < start:
            return
        lengths = struct.unpack_from(f"<{count}Q", buffer, HEADER.size)
        if len(buffer) < start + sum(lengths):
            return
        frames = []
        for length in lengths:
            frames.append(bytes(buffer[start : start + length]))
            start += length
        del buffer[:start]
        yield channel.rstrip(b"\0").decode(), frames


def send_request(connection: socket.socket, request: dict, files: Sequence[int] = ()) -> None:
    """Send a request with descriptors of files."""
    content = json.dumps(request).encode() + b"\n"
    rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", files))] if files else []
    if rest := content[connection.sendmsg([content], rights) :]:
        connection.sendall(rest)


def receive_request(connection: socket.socket) -> tuple[dict, list[int]]:
    """Return a request and the descriptors that came with it.

    Raises
    ------
    EOFError
        If the other end goes before it is whole.
    """
    content, files, *_ = socket.recv_fds(connection, 1 << 16, FILES, socket.MSG_CMSG_CLOEXEC)
    while not content.endswith(b"\n"):
        part = connection.recv(1 << 16)
        if not part:
            raise EOFError("no request")
        content += part
    return json.loads(content), files
