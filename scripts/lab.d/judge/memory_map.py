# SPDX-License-Identifier: GPL-2.0-only
"""Where a guest's memory is: from guest physical addresses to the files that QEMU has it in.

A guest's RAM is one or several blocks: that of the machine, DIMMs, what virtio-mem plugs. A device
knows addresses; what is compared are blocks. A *position* is a byte's place in all blocks, one
after the other by name. A block need not be at one address: that of the machine continues at 4 GiB.

QEMU says all of it (info mtree -f, info ramblock), and the kernel, in /proc/PID/maps, says which
file a block is in.
"""

import re
from bisect import bisect_right
from collections import namedtuple

# What guests' devices see: the address space of a machine without an IOMMU.
SPACE = ' AS "memory", '
RANGE = re.compile(r"^  ([0-9a-f]{16})-([0-9a-f]{16}) \(prio -?\d+, (?:nv-)?(ram|rom)\): "
                   r"(\S+)(?: @([0-9a-f]{16}))?(?: |$)", re.MULTILINE)
BLOCK = re.compile(r"^ *(\S+) +\d+ [KMG]iB((?: +0x[0-9a-f]{16}){4})  r[ow]$", re.MULTILINE)
AREA = re.compile(r"^([0-9a-f]+)-([0-9a-f]+) ...(.) ([0-9a-f]+) \S+ +\d+ *(.*)$", re.MULTILINE)

# A block that the guest can write. @host: its address in QEMU; @position: of its first byte.
Block = namedtuple("Block", "name size host position")
# A part of a block at consecutive addresses, from @first to @last.
Span = namedtuple("Span", "first last position")


class BadMemory(Exception):
    """A guest's memory is not where it could be read, or not what it must be."""


class MemoryMap:
    """The RAM of a guest at one moment.

    @blocks: by position
    @spans:  by address
    @size:   of all blocks
    """

    def __init__(self, mtree, ramblocks):
        """@mtree: the output of info mtree -f
        @ramblocks: that of info ramblock
        """
        mtree, ramblocks = (text.replace("\r", "") for text in (mtree, ramblocks))
        ranges = RANGE.findall(_view(mtree))
        known = {name: [int(word, 16) for word in words.split()]
                 for name, words in BLOCK.findall(ramblocks)}
        regions = {region: _block(known, region)
                   for _, _, kind, region, _ in ranges if kind == "ram"}
        if not regions:
            raise BadMemory("QEMU names no RAM")
        self.blocks, self.spans, self.size = [], [], 0
        for name in sorted(set(regions.values())):
            _, used, _, host = known[name]
            self.blocks.append(Block(name, used, host, self.size))
            self.size += used
        begins = {block.name: block.position for block in self.blocks}
        # The firmware's part of the machine's RAM may be one that the guest only reads.
        for first, last, _, region, offset in ranges:
            if region in regions:
                self.spans.append(Span(int(first, 16), int(last, 16),
                                       begins[regions[region]] + int(offset or "0", 16)))
        self.spans.sort()

    def position(self, address):
        """The position of an address; None if there is no RAM."""
        at = bisect_right(self.spans, (address, float("inf"))) - 1
        if at < 0 or address > self.spans[at].last:
            return None
        return self.spans[at].position + address - self.spans[at].first

    def address(self, position):
        """The lowest address of a position; None if the guest can't see it."""
        return next((span.first + position - span.position for span in self.spans
                     if 0 <= position - span.position <= span.last - span.first), None)

    def name(self, position):
        """A position in words: BLOCK+OFFSET."""
        block = next(block for block in reversed(self.blocks) if block.position <= position)
        return f"{block.name}+{position - block.position:#x}"

    def layout(self):
        """Which blocks are at which addresses, wherever QEMU has them: a line each."""
        return [f"{span.first:#x}-{span.last:#x} is {self.name(span.position)}"
                for span in self.spans] + [
                    f"{block.name} has {block.size:#x} bytes" for block in self.blocks]


def _view(mtree):
    """The ranges of the address space, as text."""
    for view in mtree.split("FlatView #"):
        if SPACE in view:
            return view
    raise BadMemory("QEMU's memory tree has no address space of the guest")


def _block(known, region):
    """The name of a region's block: that of the region, after the path of the device if it has
    one."""
    found = [name for name in known if name == region or name.endswith(f"/{region}")]
    if len(found) != 1:
        raise BadMemory(f"QEMU's RAM {region} is in {len(found)} blocks")
    return found[0]


def check_same(source, destination):
    """The layouts of both sides of a migration must be the same."""
    odd = sorted(set(source) ^ set(destination))
    if odd:
        raise BadMemory(f"the guest's RAM is not the same on both sides: {'; '.join(odd)}")


def file_of(block, maps):
    """Where a block is: (its area as /proc/PID/map_files calls it, offset in the file).

    @maps: /proc/PID/maps of QEMU
    """
    areas = [(int(first, 16), int(end, 16), kind, int(offset, 16), path)
             for first, end, kind, offset, path in AREA.findall(maps)]
    for first, end, kind, offset, path in areas:
        if first <= block.host < end:
            if kind != "s":
                raise BadMemory(f"RAM {block.name} is QEMU's own, not a file's: is share=on "
                                "missing?")
            return f"{first:x}-{end:x}", offset + block.host - first
    raise BadMemory(f"RAM {block.name} is not in QEMU")
