# SPDX-License-Identifier: GPL-2.0-only
"""Compares the RAM of two stopped guests byte for byte.

The destination should be held only as long as it takes to copy its RAM. The copy is compared with
the RAM of the source, which stays stopped, after the destination continues.
"""

import contextlib
import errno
import hashlib
import mmap
import os
import struct
import time

PAGE_SIZE = 4096
CHUNK = 1 << 20
# Bytes of a page's digest.
DIGEST = 16

# The beginning of struct mdma_stamp: magic, seq, iova.
STAMP = struct.Struct("<QQQ")
STAMP_MAGIC = 0x706d6174536d646d


def stamp_seq(page):
    """Number of the write whose stamp a page holds, None if it holds no stamp."""
    magic, seq, _ = STAMP.unpack_from(page)
    return seq if magic == STAMP_MAGIC else None


def stamps(path, pages):
    """{page: number of the write whose stamp it holds}; None for a page without a valid stamp."""
    found = {}
    with open(path, "rb", buffering=0) as file:
        for page in pages:
            file.seek(page * PAGE_SIZE)
            magic, seq, iova = STAMP.unpack(file.read(STAMP.size))
            good = magic == STAMP_MAGIC and iova == page * PAGE_SIZE
            found[page] = seq if good else None
    return found


def stamp_numbers(memory, pages):
    """The same of a RamFile or Copy, as a list, without a check of the IOVA. As text: a number may
    be too large for XML-RPC."""
    seqs = (stamp_seq(memory.stamp(page)) for page in pages)
    return [None if seq is None else str(seq) for seq in seqs]


def whole_chunks(size):
    """The offsets of all chunks of a RAM of that size; ValueError if it is not a whole number of
    them."""
    if size % CHUNK:
        raise ValueError(f"RAM of {size} bytes")
    return range(0, size, CHUNK)


class RamFile:
    """The RAM of a stopped guest: QEMU's file of it."""

    def __init__(self, descriptor):
        self.descriptor = descriptor
        self.size = os.fstat(descriptor).st_size
        self.buffer = bytearray(CHUNK)

    def read(self, offset):
        """CHUNK bytes, until the next call. By read() and not mmap: a page that the guest never
        touched is a hole, and reading a hole costs no memory."""
        with memoryview(self.buffer) as view:
            _fill(self.descriptor, view, offset)
        return self.buffer

    def chunk(self, offset):
        """CHUNK bytes."""
        return bytes(self.read(offset))

    def stamp(self, page):
        """The beginning of a page."""
        return os.pread(self.descriptor, STAMP.size, page * PAGE_SIZE)

    def close(self):
        """Close the file."""
        os.close(self.descriptor)


class Copy:
    """The RAM of a stopped guest, as it was at one moment.

    It is in anonymous huge pages as far as there are any: a page of 4 KiB costs more to allocate
    than to fill. A hole in the file costs nothing and reads as zeroes.

    @touched: offsets of the chunks that are not holes
    @seconds: how long the copy took
    @idle_s:  how long an idle machine takes for it: at the speed of the fastest chunk, since among
              many short ones some are never disturbed
    """

    def __init__(self, descriptor):
        begin = time.monotonic()
        self.size = os.fstat(descriptor).st_size
        whole_chunks(self.size)
        self.memory = mmap.mmap(-1, self.size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        with contextlib.suppress(OSError):
            self.memory.madvise(mmap.MADV_HUGEPAGE)
        self.touched = _touched(descriptor, self.size)
        copied, fastest = 0, 0.0
        with memoryview(self.memory) as view:
            for first, end in _data(descriptor, self.size):
                for offset in range(first, end, CHUNK):
                    started = time.monotonic()
                    with view[offset:min(offset + CHUNK, end)] as piece:
                        length = _fill(descriptor, piece, offset)
                    if length == CHUNK:
                        fastest = max(fastest, length / (time.monotonic() - started))
                    copied += length
        self.seconds = time.monotonic() - begin
        self.idle_s = copied / fastest if fastest else self.seconds

    def chunk(self, offset):
        """CHUNK bytes."""
        return self.memory[offset:offset + CHUNK]

    def has(self, other, offset):
        """Whether a RamFile has the same chunk. Without new memory for either chunk: that costs
        more than the comparison."""
        with memoryview(self.memory) as view, view[offset:offset + CHUNK] as ours:
            return other.read(offset) == ours

    def stamp(self, page):
        """The beginning of a page."""
        return self.memory[page * PAGE_SIZE:page * PAGE_SIZE + STAMP.size]

    def close(self):
        """Free the memory."""
        self.memory.close()


def _data(descriptor, size):
    """The parts of a file that are no holes: (first byte, end) of each."""
    end = 0
    while True:
        try:
            first = os.lseek(descriptor, end, os.SEEK_DATA)
        except OSError as error:
            if error.errno == errno.ENXIO:
                return
            raise
        end = os.lseek(descriptor, first, os.SEEK_HOLE)
        yield first, min(end, size)


def _touched(descriptor, size):
    """Offsets of the chunks of a file of which some part is no hole."""
    return {offset for first, end in _data(descriptor, size)
            for offset in range(first - first % CHUNK, end, CHUNK)}


def _fill(descriptor, view, offset):
    """Fill a view with what the file has at @offset. Returns how many bytes there were."""
    got = os.preadv(descriptor, [view], offset)
    if got != len(view):
        raise ValueError(f"RAM ended at {offset + got}")
    return got


def copy_of(path):
    """A Copy of the RAM in the file at @path."""
    with open(path, "rb", buffering=0) as file:
        return Copy(file.fileno())


def digests(memory):
    """DIGEST bytes for each page of a RamFile or Copy. Digests of two hosts can be compared where
    the memory can't be sent."""
    zero, parts = bytes(CHUNK), []
    of_zero = _digest(bytes(PAGE_SIZE)) * (CHUNK // PAGE_SIZE)
    for offset in whole_chunks(memory.size):
        chunk = memory.chunk(offset)
        if chunk == zero:
            parts.append(of_zero)
        else:
            view = memoryview(chunk)
            parts += [_digest(view[at:at + PAGE_SIZE]) for at in range(0, CHUNK, PAGE_SIZE)]
    return b"".join(parts)


def _digest(page):
    return hashlib.blake2b(page, digest_size=DIGEST).digest()


def _differing_pages(left, right, first_page):
    """The pages of a chunk that differ, with the stamps on both sides."""
    for offset in range(0, len(left), PAGE_SIZE):
        a, b = left[offset:offset + PAGE_SIZE], right[offset:offset + PAGE_SIZE]
        if a != b:
            byte = next(i for i in range(PAGE_SIZE) if a[i] != b[i])
            yield {"page": first_page + offset // PAGE_SIZE, "first_byte": byte,
                   "source_seq": stamp_seq(a), "destination_seq": stamp_seq(b)}


def compare(source, destination):
    """Compare the RAM file of a stopped source with a Copy of the destination's. Returns the
    number of pages, and those that differ. Where both have a hole, both read as zeroes."""
    different, pages = [], 0
    with open(source, "rb", buffering=0) as file:
        left = RamFile(file.fileno())
        if left.size != destination.size:
            raise ValueError(f"RAM of {left.size} and {destination.size} bytes")
        touched = _touched(left.descriptor, left.size) | destination.touched
        for offset in whole_chunks(left.size):
            if offset in touched and not destination.has(left, offset):
                different += _differing_pages(left.chunk(offset), destination.chunk(offset), pages)
            pages += CHUNK // PAGE_SIZE
    return {"pages_compared": pages, "pages_different": len(different),
            "different": different}
