#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""A QEMU of the user's own: what is refused before anything is built, and what the lab gets."""

import os
import shutil
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path
from unittest import mock

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "scripts/lab.d"))

# pylint: disable=wrong-import-position
from base import say
from boot import scenario
from make import own_qemu, paths, versions

# Any program of the host that is linked dynamically and prints its words.
ECHO = "/bin/echo"


class OwnQemu(unittest.TestCase):
    """A directory with what a build of QEMU leaves."""

    def setUp(self):
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.home = Path(directory.name).resolve()
        self.build = self.home / "build"
        self.firmware = self.build / "qemu-bundle/usr/local/share/qemu"
        self.firmware.mkdir(parents=True)
        for name in own_qemu.NEEDED:
            (self.firmware / name).write_text(name)
        self.program = self.build / own_qemu.PROGRAM
        shutil.copy(ECHO, self.program)
        self.say_version("12.0.50")
        self.choose(QEMU=str(self.build), KERNEL="", CONTAINER="")

    def say_version(self, version):
        """What --version of the program says."""
        said = own_qemu._said  # pylint: disable=protected-access
        text = f"QEMU emulator version {version} (v11.1-300-g0)\n"
        patch = mock.patch.object(own_qemu, "_said", lambda argv: text
                                  if argv[-1] == "--version" else said(argv))
        patch.start()
        self.addCleanup(patch.stop)

    def choose(self, **words):
        """Let these variables choose."""
        patch = mock.patch.dict(os.environ, words)
        patch.start()
        self.addCleanup(patch.stop)

    def refused(self, words):
        """It is refused in these words."""
        with self.assertRaisesRegex(say.UsageError, words):
            own_qemu.check("run")

    def test_good(self):
        """A build, and an installed one."""
        own_qemu.check("run")
        installed = self.home / "usr"
        (installed / "bin").mkdir(parents=True)
        self.program.rename(installed / "bin" / own_qemu.PROGRAM)
        (installed / "share").mkdir()
        self.firmware.rename(installed / "share/qemu")
        self.choose(QEMU=str(installed))
        own_qemu.check("run")

    def test_nothing(self):
        """No such directory, no program, no firmware; one can clean up after it."""
        (self.firmware / "pvh.bin").unlink()
        self.refused("no directory with its firmware .*pvh.bin")
        self.program.chmod(0o644)
        self.refused("no qemu-system-x86_64 there")
        self.choose(QEMU=f"{self.home}/nothing")
        self.refused("no such directory")
        own_qemu.check("clean")

    def test_does_not_run(self):
        """A program of another system."""
        self.program.write_text("#!/bin/sh\n")
        self.refused("no program for the libraries of this host")

    def test_missing_library(self):
        """It is named."""
        with mock.patch.object(own_qemu, "_said", lambda _: "\tliba.so.1 => not found\n"):
            self.refused("libraries that this host does not have: liba.so.1")

    def test_iommufd(self):
        """A version that is known not to work with the kernel."""
        self.say_version("11.1.2")
        own_qemu.check("run")
        self.choose(CONTAINER="iommufd")
        self.refused("IOMMU_IOAS_MAP_FILE")
        self.choose(KERNEL="7.3")
        own_qemu.check("run")

    def test_words(self):
        """The image is that of the default; what runs the image's QEMU alone is refused."""
        versions.check("run")
        self.assertEqual(versions.image(), versions.SUITE)
        for command in ("check", "mutants"):
            with self.assertRaisesRegex(say.UsageError, f"{command} is for 10.0 and 11.1"):
                versions.check(command)

    def test_setting(self):
        """A scenario that has guests gets it; another one says so."""
        self.assertEqual(scenario.pairs("migrate", [])["qemu"], own_qemu.IN_LAB)
        with self.assertRaisesRegex(say.UsageError, "selftests runs no other QEMU"):
            scenario.pairs("selftests", [])
        with self.assertRaisesRegex(say.UsageError, "qemu=x and QEMU="):
            scenario.pairs("migrate", ["qemu=x"])
        self.choose(QEMU="")
        self.assertNotIn("qemu", scenario.pairs("migrate", []))

    def test_payload(self):
        """What is in the payload runs by itself, in any place."""
        payload = self.home / "payload/qemu"
        with mock.patch.object(own_qemu, "HOME", payload), \
                mock.patch.object(paths, "BUILD", self.home / "out"):
            own_qemu.make()
        moved = self.home / "mdma"
        payload.rename(moved)
        said = subprocess.run([moved / own_qemu.START, "-S"], capture_output=True, text=True,
                              check=True, env={}).stdout
        self.assertEqual(said, f"-L {moved}/firmware -S\n")
        self.assertEqual(sorted(path.name for path in (moved / "firmware").iterdir()),
                         sorted(own_qemu.NEEDED))


if __name__ == "__main__":
    unittest.main()
