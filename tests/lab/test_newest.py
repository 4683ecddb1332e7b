#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""The short check of other versions, as a part of the check."""

import os
import sys
import tempfile
import unittest
from pathlib import Path
from unittest import mock

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "scripts/lab.d"))

# pylint: disable=wrong-import-position
from base import ktap, process, say
from check import beside, blame, check, newest, repeat
from make import image, paths


class Newest(unittest.TestCase):
    """newest.py"""

    def results(self, left):
        """The results of the part, if its process leaves these."""
        class Child:
            """The process."""

            @staticmethod
            def wait():
                """It has ended."""
                return 1

        made = []

        def start(argv, env, **_more):
            self.assertTrue(made, "its image begins as a copy of ours")
            self.assertEqual({name: env[name] for name in newest.VERSIONS}, newest.VERSIONS)
            self.assertEqual(repeat.wanted(env), 1)
            self.assertIn("--short", argv)
            if left:
                beside.save(argv[-1], left)
            return Child()
        with tempfile.TemporaryDirectory() as directory, \
                mock.patch.object(paths, "CHECK", Path(directory)), \
                mock.patch.object(say, "info"), mock.patch.object(process, "stop"), \
                mock.patch.dict(process.ENVIRONMENT, REPEAT="10"), \
                mock.patch.object(image, "make_root", lambda: made.append(True)), \
                mock.patch.object(process, "start", start):
            return newest.check()

    def test_named(self):
        """Results have the versions in their names, and whose fault they are."""
        one, = self.results([ktap.Result("build vfio", ktap.FAILED, "why", blame.PRODUCT)])
        self.assertEqual((one.name, one.state, one.blame),
                         ("KERNEL=7.3 QEMU=11.1: build vfio", ktap.FAILED, blame.PRODUCT))

    def test_nothing_left(self):
        """A process that leaves nothing has failed."""
        one, = self.results(None)
        self.assertEqual((one.state, one.blame), (ktap.FAILED, blame.LAB))

    def test_of_which_check(self):
        """The check of the default versions has the part, that of others has not."""
        choice = {"DEBUG": "", "CONTAINER": "", "KERNEL": "", "QEMU": "", "LIBVIRT": ""}
        for other in ({}, {"KERNEL": "7.3"}, {"QEMU": "11.1"}):
            with self.subTest(**other), mock.patch.dict(os.environ, {**choice, **other}), \
                    mock.patch.object(beside, "possible", return_value=True), \
                    mock.patch.object(beside, "run", return_value={}) as run, \
                    mock.patch("builtins.print"):
                check.run([])
                self.assertEqual("newest" in run.call_args[0][0], not other)
                self.assertIn("pages", run.call_args[0][0])
                if other:
                    with self.assertRaises(say.UsageError):
                        check.check_parts(["newest"])
        self.assertLess(set(check.SHORT_PARTS), set(check.PARTS))


class OnIommufd(unittest.TestCase):
    """Parts on iommufd, with a QEMU that can't use the kernel's."""

    def test_skipped(self):
        """Nothing is built or booted."""
        with mock.patch.dict(os.environ, KERNEL="", QEMU="11.1"), \
                mock.patch.object(check, "in_lab") as in_lab:
            for name in ("iommufd", "fire-iommufd", "libvirt-iommufd"):
                with self.subTest(name):
                    result, = check.PARTS[name]()
                    self.assertEqual(result.state, ktap.SKIPPED)
                    self.assertIn("QEMU 11.1", result.reason)
            in_lab.assert_not_called()


if __name__ == "__main__":
    unittest.main()
