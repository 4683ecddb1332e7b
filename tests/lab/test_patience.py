# SPDX-License-Identifier: GPL-2.0-only
"""A time limit that holds for a machine of any speed."""

import sys
import unittest
from pathlib import Path
from unittest import mock

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "scripts/lab.d"))

# pylint: disable=wrong-import-position
from base import patience


class Progress(unittest.TestCase):
    """Patience by a clock of our own."""

    def setUp(self):
        self.now = 100.0
        patch = mock.patch.object(patience.time, "monotonic", lambda: self.now)
        patch.start()
        self.addCleanup(patch.stop)

    def test_slow(self):
        """Whatever takes long but goes on is waited for."""
        limit = patience.Patience(180)
        for done in range(100):
            limit.progress("active", done)
            self.now += 179
            self.assertFalse(limit.exhausted())

    def test_stuck(self):
        """The same state again and again is no progress, whatever came before."""
        limit = patience.Patience(180)
        for done in (1, 2, 2, 2):
            self.now += 70
            limit.progress("active", done)
        self.assertFalse(limit.exhausted())
        self.now += 41
        limit.progress("active", 2)
        self.assertTrue(limit.exhausted())

    def test_never_begun(self):
        """Without any progress the limit counts from the beginning."""
        limit = patience.Patience(180)
        self.now += 181
        self.assertTrue(limit.exhausted())


if __name__ == "__main__":
    unittest.main()
