"""Memory that kernels write to: a preforked kernel takes its own copy of it ahead.

A page that a fork shares is copied when it is first written to, at the price of a fault for each.
Kernels write to much the same pages, if only because the objects there are counted. So a kernel
that ends notes which pages were its own. A preforked kernel copies those at once: that takes half
as long, and nobody waits for it.
"""

import ctypes
import mmap
import os
import re
import struct
from collections.abc import Iterator

POPULATE = 23  # MADV_POPULATE_WRITE; Linux before 5.14 refuses, and nothing is won or lost
MOST = 1 << 15  # pages
FLAGS = 7  # where the flags are in the eight bytes that /proc/self/pagemap has on a page
OWN = re.compile(rb"[\x81\x91]+")  # present, in no other process, of no file
RUN = struct.Struct("<QQ")  # first page, number of pages


class Pages:
    """Which pages kernels write to, as the zygote and its kernels know it."""

    def __init__(self):
        self._file = os.memfd_create("pages")
        self._faults = 0

    def forget(self) -> None:
        """Forget them: the zygote's memory is another."""
        os.truncate(self._file, 0)

    def copy(self) -> None:
        """Copy them, in a preforked kernel."""
        madvise = ctypes.CDLL(None).madvise
        for first, count in self._noted():
            start, size = first * mmap.PAGESIZE, count * mmap.PAGESIZE
            madvise(ctypes.c_void_p(start), ctypes.c_size_t(size), POPULATE)
        self._faults = _faults()

    def note(self) -> None:
        """Note the pages of a kernel about to end, if most of them were not copied ahead."""
        if _faults() - self._faults > sum(count for _, count in self._noted()):
            self.forget()
            os.pwrite(self._file, b"".join(RUN.pack(*run) for run in _own()), 0)

    def _noted(self) -> Iterator[tuple[int, int]]:
        content = os.pread(self._file, RUN.size * MOST, 0)
        return RUN.iter_unpack(content[: len(content) // RUN.size * RUN.size])


def _own() -> Iterator[tuple[int, int]]:
    """Yield runs of pages of this process that no other shares."""
    left = MOST
    with open("/proc/self/maps") as maps, open("/proc/self/pagemap", "rb", buffering=0) as pages:
        for line in maps:
            addresses, access, *_ = line.split(None, 2)
            if access != "rw-p":
                continue
            start, end = (int(address, 16) // mmap.PAGESIZE for address in addresses.split("-"))
            pages.seek(8 * start)
            for run in OWN.finditer(pages.read(8 * (end - start))[FLAGS::8]):
                count = min(left, run.end() - run.start())
                left -= count
                if count:
                    yield start + run.start(), count


def _faults() -> int:
    import resource  # on Linux alone

    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
