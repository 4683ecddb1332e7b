#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""The lock file of an image's packages (image-lock, LOCK=), and the kernel's source beside it."""

import os
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path
from unittest import mock

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "scripts/lab.d"))

# pylint: disable=wrong-import-position
from base import say
from make import image, lock, paths, versions

STATUS = """Package: bash
Status: install ok installed
Version: 5.2.37-2+b9

Package: linux-image-amd64
Status: install ok installed
Depends: x
Version: 6.12.118-1

Package: gone
Status: deinstall ok config-files
Version: 1
"""
TREE = {"bash": "5.2.37-2+b9", "linux-image-amd64": "6.12.118-1"}
LOCKED = {**TREE, "linux-source-6.12": "6.12.118-1"}


class Tree(unittest.TestCase):
    """With a small tree, and no LOCK=."""

    def setUp(self):
        self.home = Path(self.enterContext(tempfile.TemporaryDirectory()))
        self.root, self.file = self.home / "root", self.home / "image.lock"
        (self.root / "etc").mkdir(parents=True)
        (self.root / "var/lib/dpkg").mkdir(parents=True)
        self.status(STATUS)
        for name, value in (("ROOT", self.root), ("LAB", self.home), ("IMAGE", versions.SUITE),
                            ("KERNEL_SOURCE", self.home / "src")):
            self.enterContext(mock.patch.object(paths, name, value))
        self.enterContext(mock.patch.object(say, "info"))
        self.environment(KERNEL="", QEMU="", LIBVIRT="", LOCK="")

    def environment(self, **words):
        """Set variables until the end of the test."""
        self.enterContext(mock.patch.dict(os.environ, words))

    def status(self, text):
        """What dpkg says of the tree."""
        (self.root / "var/lib/dpkg/status").write_text(text)

    def locked(self):
        """Lock the image as it is, and use that."""
        image.write_lock(self.file)
        self.environment(LOCK=str(self.file))

    def refused(self, words, function=lock.check, kind=say.UsageError):
        """It ends with these words."""
        with self.assertRaisesRegex(kind, words) as caught:
            function()
        self.assertNotIn("\n", str(caught.exception))


class File(Tree):
    """The file itself."""

    def test_written_and_read(self):
        """All packages that are installed, and the kernel's source; other images stay."""
        lock.write(self.file, "trixie-kernel7.3", {"bc": "1:2~3+x-4"})
        lock.write(self.file, "trixie", {"old": "1"})
        self.assertEqual(image.write_lock(self.file), LOCKED)
        self.assertEqual(lock.read(self.file), {"trixie": LOCKED,
                                                "trixie-kernel7.3": {"bc": "1:2~3+x-4"}})

    def test_refused(self):
        """No such file, no file of ours, and another image than the chosen one."""
        self.environment(LOCK=str(self.file))
        self.refused("can't be read: No such file")
        for text in ("bash 1\n", "[trixie]\nbash = 1\n", "[trixie]\nbash 1; rm\n"):
            self.file.write_text(text)
            self.refused(r"line \d: .package version. expected")
        self.file.write_bytes(b"\xff\xfe")
        self.refused("no text")
        self.file.unlink()
        self.locked()
        lock.check()
        self.environment(KERNEL="7.3")
        self.refused("does not have the image trixie-kernel7.3, only trixie: add it")

    def test_target(self):
        """image-lock writes LOCK=, and does not make the image by it."""
        self.locked()
        self.assertEqual(lock.take_target(), self.file)
        self.assertEqual(lock.section(versions.chosen()), {})
        self.environment(LOCK=str(self.home))
        self.refused("is no file", lock.take_target)


class Use(Tree):
    """What LOCK= changes."""

    def test_not_used(self):
        """Without it, the recipe and what apt is told are as ever."""
        these = versions.chosen()
        self.assertEqual((lock.pins(these), lock.exact(these), lock.source(these)),
                         ("", (), "linux-source-6.12"))
        self.assertEqual(image.recipe(), image.recipe(locked=False))

    def test_versions(self):
        """apt is told all of them; the source is not in the tree."""
        self.locked()
        these = versions.chosen()
        self.assertEqual(lock.exact(these),
                         ("bash=5.2.37-2+b9", "linux-image-amd64=6.12.118-1"))
        self.assertEqual(lock.source(these), "linux-source-6.12=6.12.118-1")
        self.assertNotEqual(image.recipe(), image.recipe(locked=False))

    def test_pins(self):
        """The hook writes what apt reads."""
        self.locked()
        hook, = image.hooks()
        (self.root / "etc/apt").mkdir()
        subprocess.run(["sh", "-c", hook.partition("=")[2], "sh", self.root], check=True)
        text = (self.root / "etc/apt/preferences.d/lock").read_text()
        self.assertIn("Package: bash\nPin: version 5.2.37-2+b9\nPin-Priority: 1001\n\n", text)
        self.assertTrue((self.root / "etc/apt/apt.conf.d/lock").exists())

    def test_other_image(self):
        """An image with other versions has its own section, with the backports beside it."""
        lock.write(self.file, "trixie-kernel7.3", {"bc": "2"})
        self.environment(LOCK=str(self.file), KERNEL="7.3")
        script = image.setup(versions.chosen())
        self.assertIn("backports", script)
        self.assertIn("Pin: version 2\n", script)
        self.assertEqual(image.setup(versions.defaults()), "")

    def make(self, found=STATUS):
        """Make the root tree; whether mmdebstrap was called."""
        def bootstrap(tree):
            (tree / "etc").mkdir(parents=True)
            (tree / "var/lib/dpkg").mkdir(parents=True)
            (tree / "var/lib/dpkg/status").write_text(found)

        def stamp(tree):
            (tree / image.STAMP).write_text(image.recipe())
        with mock.patch.object(image, "_bootstrap", side_effect=bootstrap) as called, \
                mock.patch.object(image, "_check_usable"), \
                mock.patch.object(image, "_write_stamp", stamp):
            image.make_root()
        return called.called

    def test_same_versions(self):
        """A tree that has them already is not made again."""
        (self.root / image.STAMP).write_text(image.recipe())
        self.locked()
        self.assertFalse(self.make())
        self.assertTrue(image.current())

    def test_other_recipe(self):
        """Nor one with the same versions that was made in another way."""
        (self.root / image.STAMP).write_text("0123\n")
        self.locked()
        self.assertTrue(self.make())

    def test_other_versions(self):
        """A tree with others is."""
        self.locked()
        self.environment(LOCK="")
        self.status(STATUS.replace("5.2.37", "5.2.38"))
        (self.root / image.STAMP).write_text(image.recipe())
        self.environment(LOCK=str(self.file))
        self.assertTrue(self.make())
        self.assertTrue(image.current())

    def test_what_comes_is_checked(self):
        """What apt took instead, adds or leaves out is refused, and nothing of it stays."""
        self.locked()
        for text, words in (
                (STATUS.replace("5.2.37", "5.2.38"), r"has bash 5\.2\.38-2\+b9, not 5\.2\.37"),
                (STATUS + "\nPackage: new\nStatus: install ok installed\nVersion: 1\n",
                 "has new 1, not in the lock"),
                ("", "has bash missing, not 5.2.37-2.b9, and 1 more differ: .*snapshot")):
            with self.subTest(words):
                self.refused(words, lambda text=text: self.make(text), say.LabError)
                self.assertFalse((self.home / "root.new").exists())

    def test_gone(self):
        """What apt does not find is named."""
        self.locked()
        log = self.home / "mmdebstrap.log"
        log.write_text("Get:1 x\nE: Version '5.2.37-2+b9' for 'bash' was not found\n"
                       "E: Unable to locate package linux-image-6.12.118+deb13-amd64\nE: x\n")
        error = say.LabError("mmdebstrap failed")
        error.log = log

        def fails(_tree):
            raise error
        with mock.patch.object(image, "_bootstrap", fails), \
                mock.patch.object(image, "_check_usable"):
            self.refused("the archive no longer has bash 5.2.37-2.b9, "
                         "linux-image-6.12.118.deb13-amd64: make a newer lock", image.make_root,
                         say.LabError)
            log.write_text("E: no network\n")
            self.refused("^mmdebstrap failed$", image.make_root, say.LabError)


class Source(Tree):
    """The kernel and its source come by two runs of apt."""

    def source(self, text="VERSION = 6\nPATCHLEVEL = 12\nSUBLEVEL = 118\nEXTRAVERSION =\n"):
        """The Makefile of the source."""
        (self.home / "src").mkdir(exist_ok=True)
        (self.home / "src/Makefile").write_text(text)

    def test_same(self):
        """Then all is well."""
        self.source()
        image.complete_headers()

    def test_other(self):
        """Refused: what would be built does not fit."""
        self.source("VERSION = 6\nPATCHLEVEL = 12\nSUBLEVEL = 119\n")
        self.refused("has the kernel 6.12.118-1, and its source is 6.12.119: .* clean --all",
                     image.complete_headers, say.LabError)

    def test_versions(self):
        """As packages and Makefiles write them."""
        for package, source, same in (
                ("6.12.118-1", "6.12.118", True), ("6.12.118-1", "6.12.11", False),
                ("6.12.11-1", "6.12.118", False), ("7.3.4-1~bpo13+1", "7.3.4", True),
                ("7.3-1~bpo13+1", "7.3.0", True), ("7.3-1", "7.3.1", False)):
            with self.subTest(package):
                self.assertEqual(image.same_version(package, source), same)


if __name__ == "__main__":
    unittest.main()
