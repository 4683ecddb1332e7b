#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""The one instruction that is taken out of the lab's QEMU, and nothing else ever."""

import struct
import sys
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "scripts/lab.d"))

import emulator  # pylint: disable=wrong-import-position

ADDRESS, CALLEE = 0x5000, 0x9000
EARLIER = bytes.fromhex("4489abe0330000")           # mov %r13d, 0x33e0(%rbx): of the x86
LATER = bytes.fromhex("c783e433000000000000")       # movl $0, 0x33e4(%rbx)
STORE = bytes.fromhex("89b310d7ffff")               # mov %esi, -0x28f0(%rbx)
LONG_STORE = bytes.fromhex("4489a310d7ffff")        # mov %r12d, -0x28f0(%rbx)


def call(before, callee=CALLEE):
    """A call at the end of this code."""
    return before + b"\xe8" + struct.pack("<i", callee - (ADDRESS + len(before) + 5))


def elf(code, names=("helper_vmrun", "do_interrupt_x86_hardirq")):
    """The smallest program that has these symbols."""
    text = b"\0" + b"".join(name.encode() + b"\0" for name in names)
    table = bytes(24)
    for name, (value, size) in zip(names, ((ADDRESS, len(code)), (CALLEE, 1))):
        table += emulator.SYMBOL.pack(text.index(name.encode()), 0x12, 0, 1, value, size)
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
        """It says so, and changes nothing."""
        with self.assertRaisesRegex(emulator.UnknownCode, why):
            emulator.mended(elf(code))

    def test_store(self):
        for store in (STORE, LONG_STORE):
            before = elf(call(b"\x90" * 200 + EARLIER + store + LATER) + b"\xc3")
            after = emulator.mended(before)
            at = before.index(store)
            self.assertEqual(after, before[:at] + emulator.NOPS[len(store)]
                             + before[at + len(store):])

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
        with self.assertRaisesRegex(emulator.UnknownCode, "no helper_vmrun"):
            emulator.mended(elf(call(STORE), ("helper_vmlun", "do_interrupt_x86_hardirq")))


if __name__ == "__main__":
    unittest.main()
