# SPDX-License-Identifier: GPL-2.0-only
"""The cpio archive has the form that the kernel unpacks."""

import sys
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "scripts/lab.d"))

# pylint: disable=wrong-import-position
from base import initramfs, kmod


def entries(data):
    """name -> (mode, device, bytes) of a newc archive."""
    found, offset = {}, 0
    while True:
        assert data[offset:offset + 6] == b"070701" and offset % 4 == 0
        fields = [int(data[offset + 6 + 8 * i:offset + 14 + 8 * i], 16) for i in range(13)]
        mode, size, major, minor, length = (fields[i] for i in (1, 6, 9, 10, 11))
        name = data[offset + 110:offset + 110 + length - 1].decode()
        begin = (offset + 110 + length + 3) & ~3
        if name == "TRAILER!!!":
            return found
        found[name] = (mode, (major, minor), data[begin:begin + size])
        offset = (begin + size + 3) & ~3


class Archive(unittest.TestCase):
    """Entries of every kind."""

    def test_kinds(self):
        """Files of awkward lengths, parents, links and nodes."""
        archive = initramfs.Cpio()
        archive.file("/a/b/program", b"12345", 0o755)
        archive.file("a/odd", b"x")
        archive.link("bin/sh", "busybox")
        archive.node("dev/console", 5, 1)
        found = entries(archive.bytes())
        self.assertEqual(list(found), ["a", "a/b", "a/b/program", "a/odd", "bin", "bin/sh",
                                       "dev", "dev/console"])
        self.assertEqual(found["a/b/program"], (0o100755, (0, 0), b"12345"))
        self.assertEqual(found["bin/sh"], (0o120777, (0, 0), b"busybox"))
        self.assertEqual(found["dev/console"][:2], (0o020600, (5, 1)))

    def test_twice(self):
        """The same name twice is a mistake of the caller."""
        archive = initramfs.Cpio()
        archive.file("a", b"")
        with self.assertRaises(ValueError):
            archive.file("/a", b"")


class Module(unittest.TestCase):
    """What a module says of itself."""

    def test_depends(self):
        """The list of needs, also an empty one."""
        self.assertEqual(kmod.depends(b"\0license=GPL\0depends=vfio,mdev\0x"), ["vfio", "mdev"])
        self.assertEqual(kmod.depends(b"\0depends=\0"), [])
        self.assertEqual(kmod.depends(b"nothing"), [])


if __name__ == "__main__":
    unittest.main()
