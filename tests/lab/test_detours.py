#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""What the scenario detours reads in the kernel's log, and in QEMU's trace."""

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

    def test_switches(self):
        """Two who want dirty bitmaps at the same time; other events count for nothing."""
        lines = [f"7@1.5:{event}" for event in (
            "global_dirty_changed bitmask 0x2", "vfio_get_dirty_bitmap iova=0x1",
            "global_dirty_changed bitmask 0x3", "global_dirty_changed bitmask 0x1",
            "global_dirty_changed bitmask 0x0", "global_dirty_changed bitmask 0x2")]
        for count, found in ((0, (0, 0)), (1, (1, 0)), (4, (1, 0)), (5, (1, 1)), (6, (2, 1))):
            with self.subTest(count):
                self.assertEqual(detours.switches("\n".join(lines[:count])), found)
        newer = "2026-11-30T10:00:00.123456Z global_dirty_changed bitmask 0x1\n"
        self.assertEqual(detours.switches(newer), (1, 0))


if __name__ == "__main__":
    unittest.main()
