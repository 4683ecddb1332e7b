# SPDX-License-Identifier: GPL-2.0-only
"""What is built again, and when."""

import os
import sys
import tempfile
import time
import unittest
from pathlib import Path
from unittest import mock

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "scripts/lab.d"))

# pylint: disable=wrong-import-position
from base import say
from make import build, paths


class Clock(unittest.TestCase):
    """A clock that jumps, since make compares dates."""

    def test_set_back(self):
        """make would take objects from the future for current, so all of them are rebuilt."""
        with tempfile.TemporaryDirectory() as directory, \
                mock.patch.object(paths, "BUILD", Path(directory)):
            target = build.Target("x", ("x",), ("true",))
            build._sync(target, {"x/a.c": b"one"})  # pylint: disable=protected-access
            built = target.directory / "tree/x/a.o"
            built.touch()
            build._sync(target, {"x/a.c": b"two"})  # pylint: disable=protected-access
            self.assertTrue(built.exists())
            later = time.time() + 3600
            os.utime(built, (later, later))
            build._sync(target, {"x/a.c": b"three"})  # pylint: disable=protected-access
            self.assertFalse(built.exists())
            self.assertEqual((target.directory / "tree/x/a.c").read_text(), "three")


class Targets(unittest.TestCase):
    """Names."""

    def test_unknown(self):
        """An unknown target is refused before anything is built; a mutant must be in
        tests/mutants."""
        build.check_targets(["vfio", "mutant/forget-unpinned"])
        for word in ("nosuch", "mutant/nosuch", "mutant"):
            with self.assertRaisesRegex(say.UsageError, f"no target {word}; there are: vfio, "):
                build.check_targets([word])

    def test_sparse(self):
        """It sees all our code, and the device's own as few times as there are options that
        change something."""
        seen = []
        with tempfile.TemporaryDirectory() as directory, \
                mock.patch.object(paths, "BUILD", Path(directory)), \
                mock.patch.object(build, "build"), mock.patch.object(build, "_check_warnings"), \
                mock.patch.object(build.say, "Step"), \
                mock.patch.object(build.lab_kernel, "release", lambda: "6.12"), \
                mock.patch.object(build.chroot, "run", lambda *words, **_: seen.append(words[2])):
            for target in build.TARGETS.values():
                target.directory.mkdir()
                (target.directory / "stamp").write_text("x")
                build.check(target)
        self.assertLessEqual({f"sparse of {name}" for name in (
            "vfio", "mdma", "mdma-iommufd", "mdma-guest", "guest-client", "nic")}, set(seen))
        self.assertNotIn("sparse of mdma-logging", seen)

    def test_other_products(self):
        """A product that the build does not make is named, beside those that it does."""
        with tempfile.TemporaryDirectory() as directory, \
                mock.patch.object(paths, "BUILD", Path(directory)):
            target = build.Target("x", ("x",), ("true",), ("mine.ko",))
            (target.directory / "tree/x").mkdir(parents=True)
            (target.directory / "tree/x/yours.ko").touch()
            with self.assertRaisesRegex(say.LabError, "x: no mine.ko was built; .*: yours.ko"):
                build._collect(target, None)  # pylint: disable=protected-access


if __name__ == "__main__":
    unittest.main()
