#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""What the scenario detours reads in the kernel's log."""

import sys
import unittest
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "scripts/lab.d"), str(ROOT / "tests/scenarios")]

# pylint: disable=wrong-import-position
import detours


class Texts(unittest.TestCase):
    """Words that others print."""

    def test_forgotten(self):
        """The device's notice, as it is in the source."""
        text = (ROOT / "samples/vfio-mdev/mdma/held.c").read_text()
        self.assertEqual(text.count("%u held runs can't be pinned again, and are forgotten"), 1)
        self.assertEqual(detours.FORGOTTEN.search(
            "mdma 0000000a: 128 held runs can't be pinned again, and are forgotten; x")[1], "128")


if __name__ == "__main__":
    unittest.main()
