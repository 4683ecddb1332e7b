#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""Repairs of the lab's QEMU: the four known places are changed, and nothing else."""

import struct
import sys
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "scripts/lab.d"))

# pylint: disable=wrong-import-position
from boot import emulator

ADDRESS, CALLEE, SETTER = 0x5000, 0x9000, 0xa000
NAMES = ("helper_vmrun", "do_interrupt_x86_hardirq", "cpu_clear_ignne", "do_interrupt_all")
EARLIER = bytes.fromhex("4489abe0330000")           # mov %r13d, 0x33e0(%rbx): of the x86
LATER = bytes.fromhex("c783e433000000000000")       # movl $0, 0x33e4(%rbx)
STORE = bytes.fromhex("89b310d7ffff")               # mov %esi, -0x28f0(%rbx)
SETS = bytes.fromhex("818b10d5ffff00010000")        # orl $0x100, -0x2af0(%rbx)
ATOMIC = bytes.fromhex("f0808b11d5ffff016690")      # lock orb $1, -0x2aef(%rbx)
LONG_SETS = bytes.fromhex("41818d10d5ffff00010000")  # orl $0x100, -0x2af0(%r13)
LEAVES = bytes.fromhex("4883ec0825ffffff7f89c2")    # and $0x7fffffff, %eax
LEFT = bytes.fromhex("4883ec08250000000089c2")      # and $0, %eax
FLAG = bytes.fromhex("818bb00000000001000000")      # orl $0x100, 0xb0(%rbx): of the x86
LONG_STORE = bytes.fromhex("4489a310d7ffff")        # mov %r12d, -0x28f0(%rbx)


def call(before, callee=CALLEE):
    """Code that ends with a call."""
    return before + b"\xe8" + struct.pack("<i", callee - (ADDRESS + len(before) + 5))


def elf(code, names=NAMES, races=emulator.ENDBR64 + b"\x48\x8b", sets=SETS, leaves=LEAVES):
    """The smallest program with these symbols; the third and the fourth one follow the first, which
    ends with the OR."""
    text = b"\0" + b"".join(name.encode() + b"\0" for name in names)
    table = bytes(24)
    size = len(code) + len(sets)
    places = ((ADDRESS, size), (CALLEE, 1), (ADDRESS + size, len(races)),
              (ADDRESS + size + len(races), len(leaves)), (SETTER, 1))
    for name, (value, size) in zip(names, places):
        table += emulator.SYMBOL.pack(text.index(name.encode()), 0x12, 0, 1, value, size)
    code += sets + races + leaves
    at = 64
    headers = [bytes(64)]
    for kind, address, data, link in ((emulator.PROGBITS, ADDRESS, code, 0),
                                      (emulator.DYNSYM, 0, table, 3), (3, 0, text, 0)):
        headers.append(emulator.SECTION.pack(0, kind, 0, address, at, len(data), link, 0, 1, 0))
        at += len(data)
    head = bytearray(64)
    struct.pack_into("<Q", head, 0x28, at)
    struct.pack_into("<H", head, 0x3c, len(headers))
    return bytes(head) + code + table + text + b"".join(headers)


class Mended(unittest.TestCase):
    """emulator.mended()"""

    def refused(self, code, why):
        """The program is refused with these words."""
        with self.assertRaisesRegex(emulator.UnknownCode, why):
            emulator.mended(elf(code))

    def test_store(self):
        for store in (STORE, LONG_STORE):
            code = call(b"\x90" * 200 + EARLIER + store + LATER) + b"\xc3"
            self.assertEqual(emulator.mended(elf(code)),
                             elf(code.replace(store, emulator.NOPS[len(store)]),
                                 races=emulator.ENDBR64 + b"\xc3\x8b", sets=ATOMIC, leaves=LEFT))

    def test_virtual_interrupt(self):
        """The OR becomes atomic. An OR of a flag in the x86 part stays: nobody else writes that
        flag."""
        code = b"\x90" * 8 + FLAG + SETS
        self.assertEqual(len(SETS), len(ATOMIC))
        self.assertEqual(emulator.atomic_or(code), (len(code) - len(SETS), ATOMIC))

    def test_virtual_interrupt_set_atomically(self):
        """A QEMU that calls cpu_set_interrupt() there has no such OR; a call elsewhere, or of
        something else, is no repair."""
        names = (*NAMES, emulator.ATOMIC)
        code = call(call(STORE), SETTER) + FLAG
        self.assertEqual(emulator.mended(elf(code, names, sets=b"")),
                         elf(code.replace(STORE, emulator.NOPS[6]), names,
                             races=emulator.ENDBR64 + b"\xc3\x8b", sets=b"", leaves=LEFT))
        with self.assertRaisesRegex(emulator.UnknownCode, "^0 places"):
            emulator.mended(elf(call(STORE) + FLAG, names, sets=b""))

    def test_virtual_interrupt_of_unknown_code(self):
        for code, count in ((FLAG, 0), (LONG_SETS, 0), (SETS + SETS, 2)):
            with self.assertRaisesRegex(emulator.UnknownCode, f"^{count} places"):
                emulator.atomic_or(code)

    def test_no_endbr64(self):
        code = call(STORE)
        self.assertEqual(emulator.mended(elf(code, races=b"\x48\x8b")),
                         elf(code.replace(STORE, emulator.NOPS[6]), races=b"\xc3\x8b",
                             sets=ATOMIC, leaves=LEFT))

    def test_delivered_event(self):
        """In any register; in no other function, and in one place only."""
        for code in ("25ffffff7f", "81e2ffffff7f", "4181e0ffffff7f"):
            code = bytes.fromhex(code)
            self.assertEqual(emulator.event_mask(b"\x90" + code), len(code) - 3)
        for code, count in ((b"", 0), (LEFT, 0), (LEAVES + LEAVES, 2)):
            with self.assertRaisesRegex(emulator.UnknownCode, f"^{count} places in do_interr"):
                emulator.event_mask(code)
        with self.assertRaisesRegex(emulator.UnknownCode, "^0 places in do_interr"):
            emulator.mended(elf(call(STORE) + LEAVES, leaves=LEFT))

    def test_no_call(self):
        self.refused(EARLIER + STORE + LATER, "0 calls")
        self.refused(call(EARLIER + STORE + LATER, CALLEE + 1), "0 calls")

    def test_two_calls(self):
        self.refused(call(call(STORE)), "2 calls")

    def test_no_store(self):
        self.refused(call(EARLIER + LATER), "0 stores")

    def test_store_too_far(self):
        self.refused(call(STORE + b"\x90" * emulator.NEAR), "0 stores")

    def test_two_stores(self):
        self.refused(call(STORE + LONG_STORE), "2 stores")

    def test_no_symbol(self):
        for name in NAMES:
            others = [one.replace(name, "x" * len(name)) for one in NAMES]
            with self.assertRaisesRegex(emulator.UnknownCode, f"no {name}"):
                emulator.mended(elf(call(STORE), others))


if __name__ == "__main__":
    unittest.main()
