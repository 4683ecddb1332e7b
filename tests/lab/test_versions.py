#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""KERNEL=, QEMU= and LIBVIRT= choose what is in the image, and where it lies."""

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
from make import image, paths, versions


class Versions(unittest.TestCase):
    """versions.py"""

    def choose(self, **words):
        """Let these variables choose."""
        patch = mock.patch.dict(os.environ, words)
        patch.start()
        self.addCleanup(patch.stop)

    def test_default(self):
        """Nothing said, or said with an empty word: the suite alone, and nothing of backports."""
        self.choose(KERNEL="", QEMU="")
        versions.check()
        self.assertEqual(versions.variant(), versions.SUITE)
        self.assertEqual((versions.preferences(versions.chosen()), image.hooks()), ("", []))
        self.assertEqual(image.source_package(), "linux-source-6.12")

    def test_same_as_default(self):
        """The default by its name is the same image."""
        self.choose(KERNEL="6.12", QEMU="10.0")
        self.assertEqual(versions.variant(), versions.SUITE)

    def test_other(self):
        """Another version has an image of its own, and takes its packages alone from backports."""
        self.choose(KERNEL="7.3", QEMU="")
        self.assertEqual(versions.variant(), "trixie-kernel7.3")
        self.assertEqual(image.source_package(), "linux-source-7.3")
        pins = versions.preferences(versions.chosen())
        self.assertIn("Package: linux-*\n", pins)
        self.assertNotIn("qemu", pins)
        self.choose(QEMU="11.1")
        self.assertEqual(versions.variant(), "trixie-kernel7.3-qemu11.1")
        self.assertIn("qemu-*", versions.preferences(versions.chosen()))
        self.assertNotIn("libvirt", versions.preferences(versions.chosen()))
        self.choose(LIBVIRT="12.9")
        self.assertEqual(versions.variant(), "trixie-kernel7.3-qemu11.1-libvirt12.9")
        self.assertIn(" libvirt*\n", versions.preferences(versions.chosen()))

    def test_fuzzer(self):
        """libFuzzer is downloaded once, for all versions."""
        def made(**words):
            text = ("from make import image, paths; "
                    "print(paths.LAB, paths.FUZZER, image.fuzzer_recipe())")
            lab, *fuzzer = subprocess.run(
                [sys.executable, "-B", "-c", text], cwd=paths.LAB_D, check=True, text=True,
                stdout=subprocess.PIPE, env={**os.environ, **words}).stdout.split()
            return lab, fuzzer
        one, other = made(KERNEL="", QEMU=""), made(KERNEL="7.3", QEMU="11.1")
        self.assertNotEqual(one[0], other[0])
        self.assertEqual(one[1], other[1])

    def test_tree(self):
        """A tree has the image of the other words, and a directory of its own for what is built."""
        self.choose(KERNEL=  "/x y/linux-7.3", QEMU="11.1")
        versions.check("run")
        self.assertEqual(versions.image(), "trixie-qemu11.1")
        self.assertRegex(versions.variant(), r"^trixie-qemu11.1-tree-linux-7.3-[0-9a-f]{8}$")
        first = versions.variant()
        self.choose(KERNEL="/y/linux-7.3")
        self.assertNotEqual(versions.variant(), first)
        self.choose(KERNEL="./linux")
        self.assertEqual(versions.tree(), Path("linux").resolve())
        self.choose(KERNEL="7.3")
        self.assertIsNone(versions.tree())

    def test_unknown(self):
        """A version that there is not."""
        self.choose(KERNEL="7.4", QEMU="", CONTAINER="")
        with self.assertRaisesRegex(say.UsageError, "KERNEL=7.4: there are 6.12, 7.3"):
            versions.check()
        self.choose(KERNEL="", CONTAINER="type2")
        with self.assertRaisesRegex(say.UsageError, "CONTAINER=type2: there are type1, iommufd"):
            versions.check()

    def test_pairs(self):
        """With iommufd, a pair that can't work is refused; with type1, it works."""
        for kernel, qemu in (("", ""), ("7.3", "11.1"), ("7.3", "10.0")):
            self.choose(KERNEL=kernel, QEMU=qemu, CONTAINER="iommufd")
            versions.check("run")
        self.choose(KERNEL="6.12", QEMU="11.1", CONTAINER="iommufd")
        with self.assertRaisesRegex(say.UsageError, "IOMMU_IOAS_MAP_FILE, which Linux 6.12 lacks"):
            versions.check("run")
        self.choose(CONTAINER="type1")
        versions.check("run")

    def test_commands(self):
        """What is about type1 alone is refused with iommufd."""
        self.choose(KERNEL="", QEMU="", CONTAINER="iommufd")
        versions.check("shell")
        with self.assertRaisesRegex(say.UsageError, "series is about type1 alone"):
            versions.check("series")

    def test_debug(self):
        """The debug kernel has no guests."""
        self.choose(KERNEL="", QEMU="", CONTAINER="iommufd", DEBUG="1")
        with self.assertRaisesRegex(say.UsageError, "the debug kernel has no KVM"):
            versions.check("run")
        self.choose(CONTAINER="type1")
        versions.check("run")
        self.choose(CONTAINER="iommufd", DEBUG="0")
        versions.check("run")

    def test_debug_without_guest(self):
        """Nor what is about guests alone."""
        self.choose(KERNEL="", QEMU="", CONTAINER="", DEBUG="1")
        for command in versions.WITH_GUEST:
            with self.assertRaisesRegex(say.UsageError, f"{command}: .*leave out DEBUG=1"):
                versions.check(command)
        versions.check("check")

    def test_hook(self):
        """What mmdebstrap runs adds the backports of the suite's own mirror, and fails where the
        suite has no line."""
        self.choose(KERNEL="7.3", QEMU="11.1")
        hook, = image.hooks()
        words = ["sh", "-c", hook.partition("=")[2], "sh"]
        with tempfile.TemporaryDirectory() as root:
            apt = Path(root) / "etc/apt"
            apt.mkdir(parents=True)
            (apt / "sources.list").write_text("deb http://a/x trixie main\n"
                                              "deb http://a/x trixie-updates main\n")
            subprocess.run([*words, root], check=True)
            self.assertEqual((apt / "sources.list.d/backports.list").read_text(),
                             "deb http://a/x trixie-backports main\n")
            self.assertEqual((apt / "preferences.d/backports").read_text(), versions.preferences(versions.chosen()))
            (apt / "sources.list").write_text("deb http://a/x trixie-updates main\n")
            self.assertNotEqual(subprocess.run([*words, root], check=False).returncode, 0)


if __name__ == "__main__":
    unittest.main()
