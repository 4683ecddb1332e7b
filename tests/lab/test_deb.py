# SPDX-License-Identifier: GPL-2.0-only
"""make deb: which kernel's type1 is taken, and that the packages name files that there are."""

import lzma
import re
import sys
import tempfile
import unittest
from pathlib import Path
from unittest import mock

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "scripts/lab.d"))

# pylint: disable=wrong-import-position
from base import say
from here import needs
from make import deb, lab_kernel, paths

RELEASE = "6.12.9-amd64"
# What the build makes before the packages get it.
MADE = ("debian/hooked", "debian/built/")


def module(srcversion):
    """What matters of a module."""
    return b"\x7fELF\0license=GPL v2\0srcversion=" + srcversion.encode() + b"\0depends=vfio\0"


class Stock(unittest.TestCase):
    """deb.take_stock(), with a made-up kernel."""

    def setUp(self):
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.root = Path(directory.name)
        self.own = self.root / "root/lib/modules" / RELEASE / deb.MODULE
        source = self.root / "src" / deb.VFIO
        for parent in (self.own.parent, source):
            parent.mkdir(parents=True)
        self.own.write_bytes(lzma.compress(module("ABC")))
        for name in deb.TYPE1:
            (source / name).write_text(name)
        for patch in (mock.patch.object(paths, "ROOT", self.root / "root"),
                      mock.patch.object(paths, "KERNEL_SOURCE", self.root / "src"),
                      mock.patch.object(deb, "STOCK", self.root / "stock"),
                      mock.patch.object(lab_kernel, "release", return_value=RELEASE),
                      mock.patch.object(say, "info")):
            patch.start()
            self.addCleanup(patch.stop)

    def take(self, rebuilt):
        """Take it, if what is built of the source has this srcversion."""
        def build(argv, *_, binds, **__):
            tree = binds["deb"] / "stock" / deb.VFIO
            self.assertEqual({path.name for path in tree.iterdir()}, {"Kbuild", *deb.TYPE1})
            self.assertIn("M=/mnt/deb/stock", argv)
            (tree / "vfio_iommu_type1.ko").write_bytes(module(rebuilt))
        with tempfile.TemporaryDirectory() as work, \
                mock.patch.object(deb.chroot, "run", side_effect=build) as ran:
            deb.take_stock(Path(work))
        return ran.call_count

    def test_good(self):
        """It is kept under its srcversion, and not built again."""
        self.assertEqual(self.take("ABC"), 1)
        kept = self.root / "stock/ABC"
        self.assertEqual({path.name for path in kept.iterdir()}, {"kernel", *deb.TYPE1})
        self.assertEqual((kept / "kernel").read_text(), f"Linux {RELEASE}\n")
        self.assertEqual(self.take("ABC"), 0)

    def test_another_source(self):
        """A source that the module is not made of is refused, and not kept."""
        with self.assertRaisesRegex(say.LabError, "srcversion ABC, and what is built .* has XYZ"):
            self.take("XYZ")
        self.assertFalse((self.root / "stock").exists())

    def test_no_srcversion(self):
        self.own.write_bytes(lzma.compress(b"\x7fELF\0license=GPL v2\0"))
        with self.assertRaisesRegex(say.LabError, "no srcversion"):
            self.take("ABC")


class Debian(unittest.TestCase):
    """The files of debian/."""

    def test_lists(self):
        """Each file that a list names is in the tree that packages are built from."""
        with tempfile.TemporaryDirectory() as directory:
            tree = Path(directory)
            deb._copy_sources(tree, None)  # pylint: disable=protected-access
            count = 0
            for suffix in ("install", "manpages", "docs", "examples"):
                for file in (tree / "debian").glob(f"*.{suffix}"):
                    for line in file.read_text().splitlines():
                        name = line.split()[0]
                        count += 1
                        if not name.startswith(MADE):
                            self.assertTrue(list(tree.glob(name)), f"{file.name}: {name}")
            self.assertGreater(count, 10)

    def test_mdma_run(self):
        """It gets all that scripts/lab is made of."""
        rules = (paths.REPO / "debian/rules").read_text()
        listed = re.search(r"^PACKAGES := (.*)$", rules, re.MULTILINE)[1].split()
        self.assertEqual(listed, sorted(path.parent.name
                                        for path in paths.LAB_D.glob("*/__init__.py")))

    def test_scenarios(self):
        """It gets all scenarios that can run on a host."""
        rules = (paths.REPO / "debian/rules").read_text()
        self.assertEqual(re.search(r"^SCENARIOS := (.*)$", rules, re.MULTILINE)[1].split(),
                         list(needs.ALL))

    def test_version(self):
        """Another version for a test is that of the packages."""
        with tempfile.TemporaryDirectory() as directory:
            deb._copy_sources(Path(directory), "0.0.7")  # pylint: disable=protected-access
            self.assertTrue(Path(directory, "debian/changelog").read_text()
                            .startswith("mdma (0.0.7) "))

    def test_no_kernel_source(self):
        """None is in our tree: make deb puts it into its copy alone."""
        for name in ("debian/hooked", "drivers/vfio/vfio_iommu_type1.c", "drivers/vfio/vfio.h",
                     f"drivers/vfio/{deb.HOOKED}"):
            self.assertFalse((paths.REPO / name).exists(), name)


if __name__ == "__main__":
    unittest.main()
