#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""apt's lists are updated if they lack one of several packages."""

import subprocess
import sys
import tempfile
import unittest
from pathlib import Path
from unittest import mock

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "scripts/lab.d"))

# pylint: disable=wrong-import-position
from base import say
from make import packages, paths

NEEDED = {"no-program-of-a": "a", "no-program-of-b": "b"}


class Ensure(unittest.TestCase):
    """packages.ensure()"""

    def ran(self, code):
        """The apt-get commands that are run, if a simulation ends with this code."""
        lines = []
        done = subprocess.CompletedProcess([], code)
        with tempfile.TemporaryDirectory() as out, \
                mock.patch.object(paths, "LAB", Path(out)), mock.patch.object(say, "info"), \
                mock.patch.object(packages.subprocess, "run", return_value=done) as simulated, \
                mock.patch.object(packages.process, "run",
                                  side_effect=lambda words, *_, **__: lines.append(words)):
            packages.ensure(NEEDED)
        self.assertEqual(simulated.call_args[0][0][-2:], ["a", "b"])
        self.assertIn("-s", simulated.call_args[0][0])
        return [[word for word in words if word in ("update", "install", "a", "b")]
                for words in lines]

    def test_known(self):
        self.assertEqual(self.ran(0), [["install", "a", "b"]])

    def test_lists_lack_one(self):
        self.assertEqual(self.ran(100), [["update"], ["install", "a", "b"]])


if __name__ == "__main__":
    unittest.main()
