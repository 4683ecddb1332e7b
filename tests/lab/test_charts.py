# SPDX-License-Identifier: GPL-2.0-only
"""Charts of a report's page: where their words are."""

import re
import sys
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "scripts/lab.d"))

# pylint: disable=wrong-import-position
from show import charts


class Remaining(unittest.TestCase):
    """Memory that is left to send."""

    @staticmethod
    def box(svg, word):
        """(left, right, bottom) of a word, as wide as on a phone."""
        x, y, anchor = re.search(rf'x="(\S+)" y="(\S+)" class="\w+" text-anchor="(\w+)">{word}<',
                                 svg).groups()
        width = charts.LETTER * len(word)
        left = float(x) - (width if anchor == "end" else 0)
        return left, left + width, float(y)

    def test_end(self):
        """A leg may end at any time of the longer one: no word lies over another one, or leaves
        the chart."""
        for end in range(101):
            svg = charts.remaining({"end": end, "remaining": [(0, 9), (end, 0)]}, 100, 9)
            left, right, bottom = self.box(svg, "migrated")
            _, name, above = self.box(svg, "MiB left to send")
            self.assertLessEqual(right, charts.WIDTH, end)
            self.assertTrue(left > name or bottom - above > charts.LETTER, end)


if __name__ == "__main__":
    unittest.main()
