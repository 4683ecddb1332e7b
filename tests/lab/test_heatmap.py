#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""Which cell of the map of guest memory a page is counted in."""

import sys
import tempfile
import unittest
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parents[1] / "scripts/lab.d")]

# pylint: disable=wrong-import-position
from show import heatmap
from test_proof import DESTINATION, START, Evidence, pin, report, run, unpin, write


class Map(unittest.TestCase):
    """Pages 1 to 6 are a row each; there are two rounds, see Evidence."""

    def build(self, leg):
        """The map of this evidence."""
        with tempfile.TemporaryDirectory() as directory:
            leg.save(Path(directory) / "main")
            return heatmap.of_leg(Path(directory) / "main")

    def test_good(self):
        heat = self.build(Evidence())
        self.assertEqual((heat.shift, heat.blocks), (0, [1, 2, 3, 4, 5, 6]))
        # Pages 1 and 2 were written before START.
        self.assertEqual(heat.written, {(2, 0): 1, (3, 0): 1, (4, 0): 1, (5, 0): 1, (2, 1): 1})
        self.assertEqual(heat.reported, heat.written)
        self.assertEqual(heat.retained(), heat.reported)
        self.assertEqual((heat.lost, heat.differs), ({}, {}))
        self.assertEqual([(column.round, column.retained) for column in heat.columns],
                         [(1, 4), (2, 1)])

    def test_pinned_when_it_was_reported(self):
        leg = Evidence()
        at = leg.events.index(START)
        leg.events[at:at] = [pin(3, 2), pin(4, 2), pin(6, 2, 1), pin(6, 1, device=DESTINATION),
                             unpin(4, 2)]
        leg.events.insert(leg.events.index(run(8, 3)), unpin(3, 1))
        heat = self.build(leg)
        self.assertEqual(heat.pinned, {(2, 0): 1, (3, 0): 1})
        self.assertEqual(heat.retained(), {(4, 0): 1, (5, 0): 1, (2, 1): 1})

    def test_lost(self):
        heat = self.build(Evidence().forget())
        self.assertEqual((heat.lost, heat.differs), ({(2, 1): 1}, {2: 1}))
        self.assertEqual(heat.sums(heat.written), [4, 1])
        self.assertEqual(heat.sums(heat.reported), [4, 0])

    def test_written_after_the_last_report(self):
        leg = Evidence()
        leg.events.insert(leg.events.index(report(8, 1)) + 1, write(8, 4))
        leg.ledger[4] = (8, 2, 0)
        heat = self.build(leg)
        self.assertEqual([column.round for column in heat.columns], [1, 2, heatmap.AFTER])
        self.assertEqual(heat.lost, {(3, 2): 1})

    def test_reported_by_unmap(self):
        """Not in a report of a round, but QEMU was told."""
        leg = Evidence()
        at = leg.events.index(write(7, 3)) + 1
        leg.events[at:at] = [run(9, 5), report(9, 1, op="unmap")]
        self.assertEqual(self.build(leg).reported[4, 1], 1)

    def test_other_device(self):
        leg = Evidence()
        leg.events.insert(leg.events.index(START) + 1, write(1, 2, device="0" * 8))
        self.assertEqual(self.build(leg).sums(self.build(leg).written), [4, 1])

    def test_many(self):
        """A row has a power of two of pages, a hole has no row, and rounds share a column."""
        leg = Evidence()
        pages = [*range(1000, 1000 + heatmap.ROWS), 1 << 30]
        leg.events = [START]
        for i, page in enumerate(pages, 1):
            leg.events += [write(i, page), run(i, page), report(i, 1)]
        leg.qemu = [1] * len(pages)
        leg.ledger = {page: (i, 1, 0) for i, page in enumerate(pages, 1)}
        heat = self.build(leg)
        self.assertEqual(heat.shift, 1)
        self.assertEqual(heat.blocks, [*range(500, 500 + heatmap.ROWS // 2), 1 << 29])
        self.assertEqual([column.round for column in heat.columns],
                         [*range(3, len(pages), 3), len(pages)])
        self.assertEqual(sum(column.retained for column in heat.columns), len(pages))
        self.assertEqual(heat.written[0, 0], 2)

    def test_broken_evidence(self):
        leg = Evidence()
        leg.lost_entries = 1
        self.assertIsNone(self.build(leg))


if __name__ == "__main__":
    unittest.main()
