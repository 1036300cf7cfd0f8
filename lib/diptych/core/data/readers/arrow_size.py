"""How many bytes an Arrow file takes once it is unpacked, read from what its messages say.

Each message is a FlatBuffer that lists the buffers of its body; a packed one begins with its true
length (https://arrow.apache.org/docs/format/Columnar.html). Nothing is unpacked here.
"""

import struct
from collections.abc import Iterator

import pyarrow as pa

MAGIC = b"ARROW1"
DICTIONARY, BATCH = 2, 3  # kinds of messages that hold columns
FOOTER_BLOCKS = (2, 3)  # its fields: dictionaries, record batches
BLOCK = struct.Struct("<qi4xq")  # offset, length of the metadata, length of the body
BUFFER = struct.Struct("<qq")  # offset in the body, length


def unpacked_size(data: bytes) -> int:
    """Return the bytes that all columns of an Arrow file or stream take in memory.

    A batch counts as often as the file names it.

    Raises
    ------
    ArrowException, OSError, ValueError
        If the file is damaged.
    """
    try:
        return sum(_size_of(message) for message in _messages(data))
    except (struct.error, IndexError) as error:
        raise ValueError(f"its messages do not say what they hold: {error}") from error


def _messages(data: bytes) -> Iterator[pa.Message]:
    whole = pa.py_buffer(data)
    if not data.startswith(MAGIC):
        yield from pa.MessageReader.open_stream(pa.BufferReader(whole))
        return
    (length,) = struct.unpack_from("<i", data, len(data) - len(MAGIC) - 4)
    footer = _Table.root(data[-len(MAGIC) - 4 - length : -len(MAGIC) - 4])
    for field in FOOTER_BLOCKS:
        for offset, _, _ in footer.structs(field, BLOCK):
            yield pa.ipc.read_message(whole.slice(offset))


def _size_of(message: pa.Message) -> int:
    """Return the bytes of one message's buffers, unpacked."""
    table = _Table.root(message.metadata.to_pybytes())
    kind, header = table.number(1, "<B"), table.table(2)
    batch = header.table(1) if header is not None and kind == DICTIONARY else header
    if kind not in (DICTIONARY, BATCH) or batch is None:
        return 0
    buffers = batch.structs(2, BUFFER)
    if batch.table(3) is None:  # not packed
        return sum(length for _, length in buffers)
    return sum(_true_length(message.body, offset, length) for offset, length in buffers if length)


def _true_length(body: pa.Buffer, offset: int, length: int) -> int:
    (size,) = struct.unpack("<q", body[offset : offset + 8].to_pybytes())
    return length - 8 if size == -1 else size  # -1: this one was not worth packing


class _Table:
    """A table of a FlatBuffer: its fields by their number."""

    def __init__(self, data: bytes, at: int):
        self._data, self._at = data, at
        self._fields = at - struct.unpack_from("<i", data, at)[0]

    @classmethod
    def root(cls, data: bytes) -> "_Table":
        return cls(data, struct.unpack_from("<I", data)[0])

    def number(self, field: int, form: str) -> int:
        place = self._place(field)
        return struct.unpack_from(form, self._data, place)[0] if place else 0

    def table(self, field: int) -> "_Table | None":
        place = self._place(field)
        return _Table(self._data, self._led_to(place)) if place else None

    def structs(self, field: int, form: struct.Struct) -> list[tuple]:
        """Return a vector of structs."""
        if not (place := self._place(field)):
            return []
        start = self._led_to(place)
        (count,) = struct.unpack_from("<I", self._data, start)
        return list(form.iter_unpack(self._data[start + 4 : start + 4 + count * form.size]))

    def _place(self, field: int) -> int:
        """Return where a field lies, 0 if it is left out."""
        (size,) = struct.unpack_from("<H", self._data, self._fields)
        slot = 4 + 2 * field
        if slot >= size:
            return 0
        (offset,) = struct.unpack_from("<H", self._data, self._fields + slot)
        return self._at + offset if offset else 0

    def _led_to(self, place: int) -> int:
        return place + struct.unpack_from("<I", self._data, place)[0]
