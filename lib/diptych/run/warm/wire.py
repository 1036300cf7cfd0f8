"""Messages of a kernel's channels on one socket, as the frames zmq would carry."""

import struct
from collections.abc import Iterable, Iterator

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
