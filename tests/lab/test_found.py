#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""Documentation/found.rst: each weakness of the kernel's own type1 has a test that shows it."""

import re
import sys
import unittest
from pathlib import Path

REPO = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(REPO / "scripts/lab.d"))

# pylint: disable=wrong-import-position
from check import check
from judge import on_stock, rules

FOUND = (REPO / "Documentation/found.rst").read_text()
ROW = re.compile(r"^    (W\d+) +(\w+)", re.M)


class Weaknesses(unittest.TestCase):
    """The table of "The kernel's own type1"."""

    def setUp(self):
        self.tests = dict(ROW.findall(FOUND))
        self.known, self.unshown = rules.documented(REPO / "Documentation")

    def test_all_are_there(self):
        """As in testing.rst."""
        self.assertEqual(list(self.tests), [name for name in self.known if name[0] == "W"])

    def test_the_tests_show_them(self):
        """A test that was renamed, or shows something else, shows nothing."""
        for weakness, test in self.tests.items():
            with self.subTest(weakness):
                if weakness in self.unshown:
                    self.assertEqual(test, "none")
                elif weakness in check.DEADLY:
                    self.assertEqual(test, check.DEADLY[weakness][0])
                else:
                    self.assertEqual(on_stock.TESTS[test].why, weakness)


if __name__ == "__main__":
    unittest.main()
