#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""Where a guest's memory is, by what QEMU 10.0 and 11.1 printed of one with three blocks of RAM."""

import sys
import unittest
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "scripts/lab.d"))

# pylint: disable=wrong-import-position
import guest_memory
from judge import memory_map
from judge.memory_map import BadMemory, MemoryMap

MIB = 1 << 20
RANGES = """  0000000000000000-000000000009ffff (prio 0, ram): ram KVM
  00000000000a0000-00000000000bffff (prio 1, i/o): smram-low
  00000000000c0000-00000000000cafff (prio 1, rom): ram @00000000000c0000 KVM
  00000000000e0000-00000000000fffff (prio 0, rom): pc.bios @0000000000020000
  0000000000100000-0000000007ffffff (prio 0, ram): ram @0000000000100000
  00000000f0000000-00000000f0003fff (prio 0, ramd): mdma BAR 0 mmaps[0]
  00000000fffc0000-00000000ffffffff (prio 0, rom): pc.bios
  0000000100000000-0000000107ffffff (prio 0, ram): ram @0000000008000000
  0000000140000000-0000000147ffffff (prio 0, ram): more
  0000000148000000-0000000157ffffff (prio 0, nv-ram): vm"""
BLOCKS = """\
                     ram    4 KiB  0x0000000000000000 0x0000000010000000 0x0000000010000000 \
0x00007fecdfe00000  rw
         0000:00:01.0/vm    2 MiB  0x0000000018000000 0x0000000010000000 0x0000000010000000 \
0x00007fecc7dfe000  rw
                    more    4 KiB  0x0000000010000000 0x0000000008000000 0x0000000008000000 \
0x00007fecd7dff000  rw
                 pc.bios    4 KiB  0x0000000028000000 0x0000000000040000 0x0000000000040000 \
0x00007fed36000000  ro
"""
MAPS = """\
56a0c4000000-56a0c4a00000 r-xp 00000000 fd:01 5       /usr/bin/qemu-system-x86_64
7fecc7dfe000-7fecd7dfe000 rw-s 00000000 00:01 28                         /memfd:x (deleted)
7fecd7dff000-7fecdfdff000 rw-p 00000000 00:00 0
7fecdfe00000-7fece0000000 rw-s 00200000 00:1b 2                          /dev/shm/a ram
7fece0000000-7fecefe00000 rw-s 00400000 00:1b 2                          /dev/shm/a ram
"""
# What 10.0 printed of two NUMA nodes with 96 MiB each, 64 MiB of them below the hole.
NODES = """\
  0000000000000000-00000000000bffff (prio 0, ram): ram0
  00000000000c0000-00000000000dffff (prio 1, rom): pc.rom
  00000000000e0000-00000000000fffff (prio 0, rom): pc.bios @0000000000020000
  0000000000100000-0000000003ffffff (prio 0, ram): ram0 @0000000000100000
  00000000fec00000-00000000fec00fff (prio 0, i/o): ioapic
  00000000fee00000-00000000feefffff (prio 4096, i/o): apic-msi
  00000000fffc0000-00000000ffffffff (prio 0, rom): pc.bios
  0000000100000000-0000000101ffffff (prio 0, ram): ram0 @0000000004000000
  0000000102000000-0000000107ffffff (prio 0, ram): ram1"""
NODE_BLOCKS = """\
                    ram0    4 KiB  0x0000000000000000 0x0000000006000000 0x0000000006000000 \
0x00007f3bc5fff000  rw
                    ram1    4 KiB  0x0000000006000000 0x0000000006000000 0x0000000006000000 \
0x00007f3bbfffe000  rw
"""
# The blocks by name: that of virtio-mem is 0000:00:01.0/vm, with its device.
VM, MORE, RAM = 0, 256 * MIB, 384 * MIB


def made(ranges=RANGES, blocks=BLOCKS):
    """The map of a guest with these lines."""
    return MemoryMap(guest_memory.MTREE.format(ranges), guest_memory.RAMBLOCK.format(blocks))


class Places(unittest.TestCase):
    """From addresses to positions and back."""

    def test_blocks(self):
        self.assertEqual([(block.name, block.size, block.position) for block in made().blocks],
                         [("0000:00:01.0/vm", 256 * MIB, VM), ("more", 128 * MIB, MORE),
                          ("ram", 256 * MIB, RAM)])
        self.assertEqual(made().size, 640 * MIB)

    def test_both_ways(self):
        """The borders of each range; RAM that the guest only reads, too."""
        for address, position in ((0, RAM), (0x9ffff, RAM + 0x9ffff), (0xc0000, RAM + 0xc0000),
                                  (MIB, RAM + MIB), (128 * MIB - 1, RAM + 128 * MIB - 1),
                                  (1 << 32, RAM + 128 * MIB),
                                  ((1 << 32) + 128 * MIB - 1, RAM + 256 * MIB - 1),
                                  (5 << 30, MORE), ((5 << 30) + 128 * MIB, VM),
                                  (0x157ffffff, MORE - 1)):
            with self.subTest(hex(address)):
                self.assertEqual(made().position(address), position)
                self.assertEqual(made().address(position), address)

    def test_no_ram(self):
        """Registers, firmware and holes are none; RAM may be where the guest can't see it."""
        for address in (0xa0000, 0xcb000, 0xe0000, 128 * MIB, 0xf0000000, 0xffffffff,
                        (1 << 32) + 128 * MIB, 0x158000000, 1 << 40):
            with self.subTest(hex(address)):
                self.assertIsNone(made().position(address))
        self.assertIsNone(made().address(RAM + 0xe0000))
        self.assertIsNone(made().address(640 * MIB))

    def test_nodes(self):
        """A node on both sides of the hole, and one above."""
        found = made(NODES, NODE_BLOCKS)
        self.assertEqual([(block.name, block.size, block.position) for block in found.blocks],
                         [("ram0", 96 * MIB, 0), ("ram1", 96 * MIB, 96 * MIB)])
        for address, name in ((0, "ram0+0x0"), (64 * MIB - 1, "ram0+0x3ffffff"),
                              (1 << 32, "ram0+0x4000000"),
                              ((1 << 32) + 32 * MIB - 1, "ram0+0x5ffffff"),
                              ((1 << 32) + 32 * MIB, "ram1+0x0"),
                              ((1 << 32) + 128 * MIB - 1, "ram1+0x5ffffff")):
            with self.subTest(hex(address)):
                position = found.position(address)
                self.assertEqual(found.name(position), name)
                self.assertEqual(found.address(position), address)
        self.assertIsNone(found.position((1 << 32) + 128 * MIB))

    def test_names(self):
        self.assertEqual(made().name(RAM + 0xe0000), "ram+0xe0000")
        self.assertEqual(made().name(MORE), "more+0x0")
        self.assertEqual(made().name(MORE - 1), "0000:00:01.0/vm+0xfffffff")

    def test_lines_of_a_monitor(self):
        """With the line ends that a terminal wants."""
        text = guest_memory.MTREE.format(RANGES), guest_memory.RAMBLOCK.format(BLOCKS)
        self.assertEqual(MemoryMap(*(one.replace("\n", "\r\n") for one in text)).layout(),
                         made().layout())

    def test_bad(self):
        """What QEMU says that can't be."""
        for ranges, blocks, text in (
                ("", BLOCKS, "no RAM"), (RANGES, "", "RAM ram is in 0 blocks"),
                (RANGES, BLOCKS + BLOCKS.replace("more", "x/ram"), "is in 2 blocks")):
            with self.assertRaisesRegex(BadMemory, text):
                made(ranges, blocks)
        with self.assertRaisesRegex(BadMemory, "no address space"):
            MemoryMap("FlatView #0\n", BLOCKS)


class Sides(unittest.TestCase):
    """The source and the destination of a migration."""

    def test_elsewhere_in_qemu(self):
        moved = made(blocks=BLOCKS.replace("0x00007fec", "0x00007abc"))
        memory_map.check_same(made().layout(), moved.layout())

    def test_at_another_address(self):
        other = made(RANGES.replace("0000000140000000-0000000147ffffff",
                                    "0000000180000000-0000000187ffffff"))
        with self.assertRaisesRegex(BadMemory, "0x140000000-0x147ffffff is more.*0x180000000"):
            memory_map.check_same(made().layout(), other.layout())

    def test_another_size(self):
        other = made(blocks=BLOCKS.replace("0x0000000008000000 0x0000000008000000",
                                           "0x0000000010000000 0x0000000010000000"))
        with self.assertRaisesRegex(BadMemory, "more has 0x10000000 bytes.*more has 0x8000000"):
            memory_map.check_same(made().layout(), other.layout())


class Files(unittest.TestCase):
    """The file of a block."""

    def test_files(self):
        found = {block.name: block for block in made().blocks}
        self.assertEqual(memory_map.file_of(found["0000:00:01.0/vm"], MAPS),
                         ("7fecc7dfe000-7fecd7dfe000", 0))
        self.assertEqual(memory_map.file_of(found["ram"], MAPS),
                         ("7fecdfe00000-7fece0000000", 0x200000))
        within = found["ram"]._replace(host=0x7fece0001000)
        self.assertEqual(memory_map.file_of(within, MAPS),
                         ("7fece0000000-7fecefe00000", 0x401000))

    def test_no_file(self):
        more = made().blocks[1]
        with self.assertRaisesRegex(BadMemory, "more is QEMU's own"):
            memory_map.file_of(more, MAPS)
        with self.assertRaisesRegex(BadMemory, "more is not in QEMU"):
            memory_map.file_of(more, "")


if __name__ == "__main__":
    unittest.main()
