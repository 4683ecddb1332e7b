#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""A kernel of the user's own: what is refused before anything is built, and the copy of its tree."""

import os
import sys
import tempfile
import unittest
from pathlib import Path
from unittest import mock

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "scripts/lab.d"))

# pylint: disable=wrong-import-position,protected-access
from base import say
from make import own_kernel, small_kernel, versions


def options():
    """The options that the lab needs, as a Kconfig file."""
    lines = small_kernel.wanted(small_kernel.demanded(own_kernel.KERNEL))
    names = [line.split("=")[0][len("CONFIG_"):] for line in lines if "=" in line]
    return "".join(f"config {name}\n\tbool\n" for name in sorted(names))


class OwnKernel(unittest.TestCase):
    """A tree with the files that a kernel's source tree is known by."""

    def setUp(self):
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.home = Path(directory.name).resolve()
        self.tree, self.copy = self.home / "linux", self.home / "copy"
        for name in ("Makefile", "init/main.c", own_kernel.TYPE1,
                     "include/uapi/linux/iommufd.h"):
            self.write(name, name)
        self.write("Kconfig", options())
        self.choose(KERNEL=str(self.tree), QEMU="", CONTAINER="", DEBUG="")

    def choose(self, **words):
        """Let these variables choose."""
        patch = mock.patch.dict(os.environ, words)
        patch.start()
        self.addCleanup(patch.stop)

    def write(self, name, text="", date=None):
        """A file of the tree."""
        path = self.tree / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        if date:
            os.utime(path, (date, date))


class Check(OwnKernel):
    """own_kernel.check()"""

    def refused(self, words, command="run"):
        """The tree is refused in these words."""
        with self.assertRaisesRegex(say.UsageError, words):
            own_kernel.check(command)

    def test_good(self):
        """A tree, a version, and nothing said."""
        own_kernel.check("run")
        for word in ("", "7.3"):
            self.choose(KERNEL=word)
            own_kernel.check("run")

    def test_no_tree(self):
        """A directory that is not there, or has something else; it can be cleaned up after."""
        self.choose(KERNEL=f"{self.home}/nothing")
        self.refused("nothing: no such directory")
        own_kernel.check("clean")
        self.choose(KERNEL=str(self.home))
        self.refused("no source tree of a kernel, .* no Makefile")

    def test_no_type1(self):
        """A kernel without the file that is hooked."""
        (self.tree / own_kernel.TYPE1).unlink()
        self.refused("no drivers/vfio/vfio_iommu_type1.c")

    def test_no_option(self):
        """A kernel without an option that the lab needs; each missing one is named."""
        text = options()
        self.write("Kconfig", text.replace("config VFIO_DEVICE_CDEV\n", "config OTHER\n"))
        self.refused("options that this kernel does not have: CONFIG_VFIO_DEVICE_CDEV$")
        self.write("drivers/Kconfig.vfio", "menuconfig VFIO_DEVICE_CDEV\n\tbool\n")
        own_kernel.check("run")

    def test_option_of_some_kernels(self):
        """An option that only some kernels have is not demanded."""
        self.assertNotIn("config PROC_SYSCTL\n", options())
        self.assertIn("CONFIG_PROC_SYSCTL=y\n", small_kernel.options(own_kernel.KERNEL))

    def test_debug(self):
        """There is no debug kernel of it."""
        self.choose(DEBUG="1")
        self.refused("DEBUG=1 is for a version")

    def test_iommufd(self):
        """What QEMU needs of iommufd is looked for in the tree, not taken from a version."""
        self.choose(CONTAINER="iommufd", QEMU="11.1")
        versions.check("run")
        self.refused("IOMMU_IOAS_MAP_FILE, which this kernel lacks")
        self.write("include/uapi/linux/iommufd.h", "#define IOMMU_IOAS_MAP_FILE 1\n")
        own_kernel.check("run")

    def test_commands(self):
        """What is about a version is refused."""
        versions.check("run")
        for command in ("series", "mutants", "modules"):
            with self.assertRaisesRegex(say.UsageError, f"{command} is for 6.12 and 7.3"):
                versions.check(command)


class Copy(OwnKernel):
    """own_kernel._update()"""

    def setUp(self):
        super().setUp()
        patch = mock.patch.object(own_kernel, "MANIFEST", self.home / "sources")
        patch.start()
        self.addCleanup(patch.stop)

    def update(self):
        """Update the copy; returns the paths of the files in it that are new."""
        before = {path: path.lstat().st_ctime_ns for path in self.copy.rglob("*")}
        own_kernel._update(self.tree, self.copy)
        return {str(path.relative_to(self.copy)) for path in self.copy.rglob("*")
                if not path.is_dir() and path.lstat().st_ctime_ns != before.get(path)}

    def test_changes(self):
        """First everything is copied, then what changed; what is gone goes."""
        self.write("mm/a.c", "a")
        self.assertIn("mm/a.c", self.update())
        self.assertEqual(self.update(), set())
        self.write("mm/b.c", "b")
        (self.tree / "mm/a.c").unlink()
        self.assertEqual(self.update(), {"mm/b.c"})
        self.assertFalse((self.copy / "mm/a.c").exists())

    def test_older(self):
        """A file that is exchanged for an older one is new to make."""
        self.write("mm/a.c", "a")
        self.update()
        built = (self.copy / "mm/a.c").stat().st_mtime
        self.write("mm/a.c", "b", date=1000)
        self.assertEqual(self.update(), {"mm/a.c"})
        self.assertGreaterEqual((self.copy / "mm/a.c").stat().st_mtime, built)

    def test_built(self):
        """What a build left in the tree stays there, and so does the user's configuration."""
        self.update()
        for name in (".config", ".git/HEAD", "vmlinux", "mm/a.o", "mm/.a.o.cmd", "mm/m.mod.c",
                     "include/config/auto.conf", "include/generated/autoconf.h",
                     "arch/x86/include/generated/asm/x.h", "arch/x86/boot/bzImage"):
            self.write(name, "x")
        self.assertEqual(self.update(), set())

    def test_what_was_built_here_stays(self):
        """What make has made in the copy is not touched, where the tree has a file of that name,
        too, unless it changed there."""
        self.write("lib/table.h", "made by the user's build")
        self.update()
        (self.copy / "lib/table.h").write_text("made here")
        self.assertEqual(self.update(), set())
        self.assertEqual((self.copy / "lib/table.h").read_text(), "made here")

    def test_links_and_modes(self):
        """Links stay links, and scripts can be run."""
        self.write("scripts/run.sh")
        (self.tree / "scripts/run.sh").chmod(0o755)
        (self.tree / "scripts/link").symlink_to("../nowhere")
        self.update()
        self.assertEqual(os.readlink(self.copy / "scripts/link"), "../nowhere")
        self.assertTrue(os.access(self.copy / "scripts/run.sh", os.X_OK))

    def test_documentation(self):
        """Of the documentation, what the build reads."""
        self.write("Documentation/Kconfig")
        self.write("Documentation/mm/index.rst")
        found = self.update()
        self.assertIn("Documentation/Kconfig", found)
        self.assertNotIn("Documentation/mm/index.rst", found)

    def test_interrupted(self):
        """Nothing is known of a copy that was not finished."""
        self.update()
        self.write("mm/a.c")
        with mock.patch.object(own_kernel, "_copy", side_effect=OSError), \
                self.assertRaises(OSError):
            own_kernel._update(self.tree, self.copy)
        self.assertIn("Makefile", self.update())


if __name__ == "__main__":
    unittest.main()
