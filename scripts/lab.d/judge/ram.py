# SPDX-License-Identifier: GPL-2.0-only
"""Compares the RAM of two stopped guests byte for byte.

The destination should be held only as long as it takes to copy its RAM. The copy is compared with
the RAM of the source, which stays stopped, after the destination continues.

RAM is read by position; memory_map.py says which address that is.
"""

import contextlib
import errno
import hashlib
import mmap
import os
import struct
import time
from bisect import bisect_right

from judge.memory_map import BadMemory, check_same

PAGE_SIZE = 4096
CHUNK = 1 << 20
# Bytes of a page's digest.
DIGEST = 16

# Much of a large guest may never be touched: the kernel need not promise memory for all of its
# copy. See <linux/mman.h>; the mmap of Python 3.11 has no name for it.
NO_RESERVE = 0x4000

# The beginning of struct mdma_stamp: magic, seq, iova.
STAMP = struct.Struct("<QQQ")
STAMP_MAGIC = 0x706d6174536d646d


def stamp_seq(page):
    """Number of the write whose stamp a page holds, None if it holds no stamp."""
    magic, seq, _ = STAMP.unpack_from(page)
    return seq if magic == STAMP_MAGIC else None


def stamps(memory, pages):
    """{page: number of the write whose stamp it holds}; None for a page without a valid stamp.
    @pages: by address, as the device knows them, in order: a chunk is read once"""
    found, begin, chunk = {}, None, b""
    for page in pages:
        position = memory.where.position(page * PAGE_SIZE)
        if position is None:
            raise BadMemory(f"the guest has no RAM at {page * PAGE_SIZE:#x}")
        if begin != position - position % CHUNK:
            begin = position - position % CHUNK
            chunk = memory.chunk(begin)
        magic, seq, iova = STAMP.unpack_from(chunk, position - begin)
        good = magic == STAMP_MAGIC and iova == page * PAGE_SIZE
        found[page] = seq if good else None
    return found


def stamp_numbers(memory, pages):
    """The same as a list for pages by position, without a check of the IOVA. As text: a number may
    be too large for XML-RPC."""
    seqs = (stamp_seq(memory.stamp(page)) for page in pages)
    return [None if seq is None else str(seq) for seq in seqs]


def name_page(where, page):
    """What a report needs of a page by position: its number by address, None if the guest can't see
    it, and its place."""
    address = where.address(page * PAGE_SIZE)
    return {"page": None if address is None else address // PAGE_SIZE,
            "place": where.name(page * PAGE_SIZE)}


def whole_chunks(where):
    """The positions of all chunks; BadMemory if a block is not a whole number of them."""
    for block in where.blocks:
        if block.size % CHUNK:
            raise BadMemory(f"RAM {block.name} of {block.size} bytes")
    return range(0, where.size, CHUNK)


class RamFiles:
    """The RAM of a guest: QEMU's files of it.

    @where: the MemoryMap
    @files: for each block the descriptor of its file, and its offset there
    """

    def __init__(self, where, files):
        self.where, self.files = where, files
        self.buffer = bytearray(CHUNK)
        whole_chunks(where)

    def _at(self, position):
        """(descriptor, offset) of a position."""
        number = bisect_right(self.begins(), position) - 1
        descriptor, offset = self.files[number]
        return descriptor, offset + position - self.where.blocks[number].position

    def begins(self):
        """The position of each block."""
        return [block.position for block in self.where.blocks]

    def fill(self, view, position):
        """Fill a view, which no block's end may cut."""
        descriptor, offset = self._at(position)
        got = os.preadv(descriptor, [view], offset)
        if got != len(view):
            raise BadMemory(f"RAM ended at {self.where.name(position + got)}")

    def read(self, position):
        """CHUNK bytes, until the next call. By read() and not mmap: a page that the guest never
        touched is a hole, and reading a hole costs no memory."""
        with memoryview(self.buffer) as view:
            self.fill(view, position)
        return self.buffer

    def chunk(self, position):
        """CHUNK bytes."""
        return bytes(self.read(position))

    def stamp(self, page):
        """The beginning of a page."""
        descriptor, offset = self._at(page * PAGE_SIZE)
        return os.pread(descriptor, STAMP.size, offset)

    def data(self):
        """The parts that are no holes: (first position, end) of each."""
        for block, (descriptor, base) in zip(self.where.blocks, self.files):
            for first, end in _data(descriptor, base, base + block.size):
                yield block.position + first - base, block.position + end - base

    def touched(self):
        """Positions of the chunks of which some part is no hole."""
        return {position for first, end in self.data()
                for position in range(first - first % CHUNK, end, CHUNK)}

    def close(self):
        """Close the files."""
        for descriptor, _ in self.files:
            os.close(descriptor)
        self.files = []

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


class Copy:
    """The RAM of a stopped guest, as it was at one moment.

    It is in anonymous huge pages as far as there are any: a page of 4 KiB costs more to allocate
    than to fill. A hole in a file costs nothing and reads as zeroes.

    @touched: positions of the chunks that are not holes
    @seconds: how long the copy took
    @idle_s:  how long an idle machine takes for it: at the speed of the fastest chunk, since among
              many short ones some are never disturbed
    """

    def __init__(self, files):
        begin = time.monotonic()
        self.where = files.where
        self.memory = mmap.mmap(-1, self.where.size, flags=mmap.MAP_PRIVATE
                                | mmap.MAP_ANONYMOUS | NO_RESERVE)
        with contextlib.suppress(OSError):
            self.memory.madvise(mmap.MADV_HUGEPAGE)
        self.touched = files.touched()
        copied, fastest = 0, 0.0
        with memoryview(self.memory) as view:
            for first, end in files.data():
                for position in range(first, end, CHUNK):
                    started = time.monotonic()
                    with view[position:min(position + CHUNK, end)] as piece:
                        files.fill(piece, position)
                        length = len(piece)
                    if length == CHUNK:
                        fastest = max(fastest, length / (time.monotonic() - started))
                    copied += length
        self.seconds = time.monotonic() - begin
        self.idle_s = copied / fastest if fastest else self.seconds

    def chunk(self, position):
        """CHUNK bytes."""
        return self.memory[position:position + CHUNK]

    def has(self, other, position):
        """Whether RamFiles have the same chunk. Without new memory for either chunk: that costs
        more than the comparison."""
        with memoryview(self.memory) as view, view[position:position + CHUNK] as ours:
            return other.read(position) == ours

    def stamp(self, page):
        """The beginning of a page."""
        return self.memory[page * PAGE_SIZE:page * PAGE_SIZE + STAMP.size]

    def close(self):
        """Free the memory."""
        self.memory.close()


def _data(descriptor, begin, limit):
    """The parts of a file from @begin to @limit that are no holes: (first byte, end) of each."""
    end = begin
    while end < limit:
        try:
            first = os.lseek(descriptor, end, os.SEEK_DATA)
        except OSError as error:
            if error.errno == errno.ENXIO:
                return
            raise
        if first >= limit:
            return
        end = os.lseek(descriptor, first, os.SEEK_HOLE)
        yield first, min(end, limit)


def digests(memory):
    """DIGEST bytes for each page of a RamFile or Copy. Digests of two hosts can be compared where
    the memory can't be sent."""
    zero, parts = bytes(CHUNK), []
    of_zero = _digest(bytes(PAGE_SIZE)) * (CHUNK // PAGE_SIZE)
    for position in whole_chunks(memory.where):
        chunk = memory.chunk(position)
        if chunk == zero:
            parts.append(of_zero)
        else:
            view = memoryview(chunk)
            parts += [_digest(view[at:at + PAGE_SIZE]) for at in range(0, CHUNK, PAGE_SIZE)]
    return b"".join(parts)


def _digest(page):
    return hashlib.blake2b(page, digest_size=DIGEST).digest()


def _differing_pages(left, right, where, first_page):
    """The pages of a chunk that differ, with the stamps on both sides."""
    for offset in range(0, len(left), PAGE_SIZE):
        a, b = left[offset:offset + PAGE_SIZE], right[offset:offset + PAGE_SIZE]
        if a != b:
            byte = next(i for i in range(PAGE_SIZE) if a[i] != b[i])
            yield {**name_page(where, first_page + offset // PAGE_SIZE), "first_byte": byte,
                   "source_seq": stamp_seq(a), "destination_seq": stamp_seq(b)}


def compare(source, destination):
    """Compare the RAM files of a stopped source with a Copy of the destination's. Returns the
    number of pages, and those that differ. Where both have a hole, both read as zeroes."""
    check_same(source.where.layout(), destination.where.layout())
    different, pages = [], 0
    touched = source.touched() | destination.touched
    for position in whole_chunks(source.where):
        if position in touched and not destination.has(source, position):
            different += _differing_pages(source.chunk(position), destination.chunk(position),
                                          source.where, pages)
        pages += CHUNK // PAGE_SIZE
    return {"pages_compared": pages, "pages_different": len(different),
            "different": different}
