# SPDX-License-Identifier: GPL-2.0-only
"""The ELF file that is packed in a kernel."""

import gzip
import lzma
import struct
import sys
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "scripts/lab.d"))

# pylint: disable=wrong-import-position
from base import say
from make import vmlinux

ELF = b"\x7fELF" + bytes(range(256)) * 50


def bzimage(packed, sectors=3):
    """A kernel with this payload, between other things."""
    data = bytearray((sectors + 1) * vmlinux.SECTOR)
    data[vmlinux.SETUP_SECTS] = sectors
    data[vmlinux.MAGIC:vmlinux.MAGIC + 4] = b"HdrS"
    struct.pack_into("<II", data, vmlinux.PAYLOAD, 77, len(packed))
    return bytes(data) + b"c" * 77 + packed + b"more code"


def sized(packed, size=len(ELF)):
    """With its size appended, as the kernel's build does."""
    return packed + struct.pack("<I", size)


class Vmlinux(unittest.TestCase):
    """vmlinux.of(). Each boot of the lab tests Zstandard."""

    def test_unpacked(self):
        for packed in (gzip.compress(ELF), sized(lzma.compress(ELF))):
            with self.subTest(packed[:4]):
                self.assertEqual(vmlinux.of(bzimage(packed)), ELF)

    def test_few_sectors(self):
        """0 means 4."""
        data = bytearray(bzimage(gzip.compress(ELF), 4))
        data[vmlinux.SETUP_SECTS] = 0
        self.assertEqual(vmlinux.of(bytes(data)), ELF)

    def test_zstd(self):
        packed = vmlinux.ZSTD + b"data"
        self.assertEqual(vmlinux.payload(bzimage(sized(packed, 9))), (packed, 9))

    def test_refused(self):
        other = sized(lzma.compress(b"no" + ELF), len(ELF) + 2)
        for data, text in ((bytes(4096), "no bzImage"), (bzimage(b"?" * 8), "unknown way: 3f3f"),
                           (bzimage(gzip.compress(ELF))[:-40], "too early"),
                           (bzimage(sized(lzma.compress(ELF), 5)), "no ELF file"),
                           (bzimage(other), "no ELF file")):
            with self.subTest(text), self.assertRaisesRegex(say.LabError, text):
                vmlinux.of(data)


if __name__ == "__main__":
    unittest.main()
