#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""What a QEMU must lose, and what it must not."""

import sys
import unittest
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "scripts/lab.d"), str(ROOT / "tests/scenarios")]

# pylint: disable=wrong-import-position
import remapped
from base import ktap


class Judge(unittest.TestCase):
    """The verdict by version."""

    def results(self, qemu, lost=(), different=(), elsewhere=0, late=400):
        """All results."""
        return remapped.judge({
            "qemu": qemu, "written": 500, "late": late, "lost": list(lost),
            "different": list(different), "elsewhere": elsewhere})

    def states(self, *words, **more):
        """Their states."""
        return [one.state for one in self.results(*words, **more)]

    def test_defect(self):
        """It is shown by versions that have it, or they say that they were repaired."""
        for qemu in ("10.0.13 Debian 1:10.0.13", "10.2.9"):
            self.assertEqual(self.states(qemu, (1, 2), (1, 2)), [ktap.PASSED] * 2)
            self.assertEqual(self.states(qemu), [ktap.PASSED, ktap.SKIPPED])

    def test_repaired(self):
        """Later ones must lose nothing."""
        for qemu in ("11.0.0", "11.1.3 Debian", "12.0.1"):
            self.assertEqual(self.states(qemu), [ktap.PASSED] * 2)
            self.assertEqual(self.states(qemu, (1, 2), (1, 2)), [ktap.PASSED, ktap.FAILED])

    def test_oracles_disagree(self):
        """One of them is blind, or something else is lost."""
        for more in ({"lost": (1,)}, {"different": (1,)}, {"lost": (1,), "different": (1, 2)},
                     {"lost": (1,), "different": (1,), "elsewhere": 1}, {"elsewhere": 1},
                     {"lost": range(400), "different": (7,)},
                     {"lost": range(400), "different": range(359)}):
            with self.subTest(**more):
                self.assertEqual(self.states("10.0.13", **more)[0], ktap.FAILED)

    def test_sent_anyway(self):
        """A few lost pages may have been sent by chance."""
        self.assertEqual(self.states("10.0.13", range(400), range(360)), [ktap.PASSED] * 2)

    def test_lost_by_another_one(self):
        """QEMU's defect loses only what was written while RAM was mapped anew."""
        found = self.results("10.0.13", range(401), range(401))
        self.assertEqual([one.state for one in found], [ktap.FAILED, ktap.PASSED])
        self.assertIn("401 pages are lost, but only 400 were written in a round", found[0].reason)


if __name__ == "__main__":
    unittest.main()
