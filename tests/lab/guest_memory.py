# SPDX-License-Identifier: GPL-2.0-only
"""RAM of guests for the tests: what QEMU says of it, and files of one block."""

from judge import memory_map, ram

MTREE = """FlatView #0
 AS "I/O", root: io
 Root memory region: io
  0000000000000000-0000000000000007 (prio 0, i/o): dma-chan

FlatView #1
 AS "memory", root: system
 AS "cpu-memory-0", root: system
 Root memory region: system
{}

"""
RAMBLOCK = """              Block Name    PSize              Offset               Used              Total  \
              HVA  RO
{}
"""


def block_line(name, size, host):
    """A line of info ramblock."""
    return (f"{name:>24}    4 KiB  0x{0:016x} 0x{size:016x} 0x{size:016x} "
            f"0x{host:016x}  rw")


def range_line(first, last, name, offset=0, kind="ram"):
    """A line of info mtree -f."""
    return (f"  {first:016x}-{last:016x} (prio 0, {kind}): {name}"
            + f" @{offset:016x}" * bool(offset) + " KVM")


def plain(size, first=0):
    """A guest with one block of RAM, all at the address @first."""
    return memory_map.MemoryMap(MTREE.format(range_line(first, first + size - 1, "ram")),
                                RAMBLOCK.format(block_line("ram", size, 0x7f0000000000)))


def files_of(descriptor, size, first=0):
    """The RAM of such a guest, in a file."""
    return ram.RamFiles(plain(size, first), [(descriptor, 0)])
