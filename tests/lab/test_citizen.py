# SPDX-License-Identifier: GPL-2.0-only
"""What the citizen scenario runs is what the README tells users to type."""

import sys
import unittest
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "scripts/lab.d"), str(ROOT / "tests/scenarios")]

import citizen  # pylint: disable=wrong-import-position


class Readme(unittest.TestCase):
    """Its commands."""

    def test_one_liner(self):
        """The line for trace-cmd, as it is run."""
        lines = (ROOT / "README.md").read_text().splitlines()
        self.assertIn(f"    {citizen.ONE_LINER}", lines)


if __name__ == "__main__":
    unittest.main()
