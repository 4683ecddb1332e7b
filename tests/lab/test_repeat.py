#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""Parts of a check that run several times."""

import sys
import tempfile
import unittest
from pathlib import Path
from unittest import mock

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "scripts/lab.d"))

# pylint: disable=wrong-import-position
from base import ktap, say
from check import check, repeat
from make import paths


class Repeat(unittest.TestCase):
    """repeat.py"""

    def setUp(self):
        patch = mock.patch.object(say, "info")
        patch.start()
        self.addCleanup(patch.stop)
        self.runs = 0

    def part(self, fails_in=None):
        """A part of one test, which fails in this run."""
        def run_part():
            self.runs += 1
            return [ktap.Result("test", ktap.FAILED if self.runs == fails_in else ktap.PASSED,
                                f"run {self.runs}")]
        return run_part

    def test_number(self):
        """Not given, given, and wrong."""
        self.assertEqual([repeat.wanted(one) for one in ({}, {"REPEAT": ""}, {"REPEAT": "10"})],
                         [1, 1, 10])
        for text in ("0", "-1", "x", "1.5", "²", "1001"):
            with self.assertRaisesRegex(say.UsageError, f"REPEAT={text}: a number"):
                repeat.wanted({"REPEAT": text})

    def test_all_pass(self):
        """Each run counts, and the last one's results are those of the part."""
        results = repeat.part("model", self.part(), 3)()
        self.assertEqual([(one.name, one.reason) for one in results],
                         [("model: run 1 of 3", "1 passed"), ("model: run 2 of 3", "1 passed"),
                          ("test", "run 3")])

    def test_ends_where_it_fails(self):
        """The run that fails is the last one, and what it found is not lost."""
        results = repeat.part("model", self.part(fails_in=2), 3)()
        self.assertEqual(self.runs, 2)
        self.assertEqual(ktap.counts(results), (1, 1, 0))

    def test_nothing_passes(self):
        """A part that skips all, or has no result at all, is no run that passed."""
        skipped = ktap.Result("test", ktap.SKIPPED)
        self.assertEqual(repeat.part("fire-iommufd", lambda: [skipped], 3)(), [skipped])
        self.assertEqual(repeat.part("model", list, 3)(), [])
        found = iter([[ktap.Result("test", ktap.PASSED)], []])
        self.assertEqual(repeat.part("model", lambda: next(found), 2)(), [])

    def test_once(self):
        """What needs no lab runs once; these parts exist."""
        self.assertLessEqual(set(repeat.ONCE), set(check.PARTS))
        repeat.part("lint", self.part(), 3)()
        self.assertEqual(self.runs, 1)

    def test_in_a_check(self):
        """A check runs its parts so often."""
        parts = {"model": self.part(), "lint": self.part()}
        with tempfile.TemporaryDirectory() as directory, \
                mock.patch.object(paths, "CHECK", Path(directory)), \
                mock.patch.object(check, "parts_of_run", lambda short: parts), \
                mock.patch("builtins.print"):
            check.run(["model", "lint"], short=True, count=3)
        self.assertEqual(self.runs, 4)


if __name__ == "__main__":
    unittest.main()
