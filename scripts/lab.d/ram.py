# SPDX-License-Identifier: GPL-2.0-only
"""Byte for byte comparison of two RAM files of stopped guests."""

import hashlib
import os
import struct

PAGE_SIZE = 4096
CHUNK = 1 << 20
# Bytes of a page's digest.
DIGEST = 16

# The begin of struct mdma_stamp: magic, seq, iova.
STAMP = struct.Struct("<QQQ")
STAMP_MAGIC = 0x706d6174536d646d


def stamp_seq(page):
    """Number of the write that a page holds, None if it holds no stamp."""
    magic, seq, _ = STAMP.unpack_from(page)
    return seq if magic == STAMP_MAGIC else None


def stamps(path, pages):
    """{page: number of the write that it holds}; None for a page without a good stamp."""
    found = {}
    with open(path, "rb", buffering=0) as file:
        for page in pages:
            file.seek(page * PAGE_SIZE)
            magic, seq, iova = STAMP.unpack(file.read(STAMP.size))
            good = magic == STAMP_MAGIC and iova == page * PAGE_SIZE
            found[page] = seq if good else None
    return found


def stamp_numbers(descriptor, pages):
    """The same of an open file, as a list, with no look at the IOVA. As text: a number may
    be too long for XML-RPC."""
    seqs = (stamp_seq(os.pread(descriptor, STAMP.size, page * PAGE_SIZE)) for page in pages)
    return [None if seq is None else str(seq) for seq in seqs]


def digests(descriptor):
    """DIGEST bytes for each page of an open file: of two hosts these can be compared where
    the memory can't be sent."""
    zero, parts = bytes(CHUNK), []
    of_zero = _digest(bytes(PAGE_SIZE)) * (CHUNK // PAGE_SIZE)
    for offset in range(0, os.fstat(descriptor).st_size, CHUNK):
        chunk = os.pread(descriptor, CHUNK, offset)
        if len(chunk) != CHUNK:
            raise ValueError(f"RAM ended at {offset + len(chunk)}")
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
    """Compare two RAM files; return the number of pages and the different ones.

    read() and not mmap: a page that the guest never touched is a hole, and
    reading a hole costs no memory.
    """
    different, pages = [], 0
    with open(source, "rb", buffering=0) as left, open(destination, "rb", buffering=0) as right:
        sizes = [os.fstat(file.fileno()).st_size for file in (left, right)]
        if sizes[0] != sizes[1] or sizes[0] % CHUNK:
            raise ValueError(f"RAM files of {sizes[0]} and {sizes[1]} bytes")
        a, b = bytearray(CHUNK), bytearray(CHUNK)
        for _ in range(sizes[0] // CHUNK):
            if left.readinto(a) != CHUNK or right.readinto(b) != CHUNK:
                raise ValueError(f"RAM file ended at page {pages}")
            if a != b:
                different += _differing_pages(a, b, pages)
            pages += CHUNK // PAGE_SIZE
    return {"pages_compared": pages, "pages_different": len(different),
            "different": different}
