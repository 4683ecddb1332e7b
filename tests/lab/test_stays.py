#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""The set oracle of a guest that is moved many times must be able to fail, for each move."""

import sys
import unittest
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "scripts/lab.d"))

# pylint: disable=wrong-import-position
from judge import events, proof, stays

# Two devices between which the guest moves, and one that only comes and goes.
A, B, OTHER = 0xa, 0xb, 0xc


def write(seq, page, device, npages=1):
    """A write of a device."""
    return events.Write(0, device, 0, page << 12, npages, seq)


def track(on, container="c"):
    """Tracking begins or ends."""
    return events.Tracking(0, on, container)


def report(number, *pages, op="get", ret=0):
    """A report of these pages."""
    return [events.Run(0, number, page << 12, 1) for page in pages] \
        + [events.Report(0, number, op, 0, 1 << 20, len(pages), 0, ret)]


def ledger(**pages):
    """The ledger of a stay: page p1=(number, writes)."""
    return {int(name[1:]): proof.Ledger(*values, 0) for name, values in pages.items()}


def told(*counts):
    """What QEMU was told."""
    return [(0.0, 1, count) for count in counts]


# At A, a migration fails, and the next one succeeds. At B, one succeeds; then the guest stays at A.
FIRST = [write(1, 1, A), track(True), write(2, 2, A), *report(1, 2), write(3, 3, A), track(False),
         write(4, 4, A), track(True), write(5, 2, A), *report(2, 2)]
SECOND = [write(6, 1, B), track(False), track(True, "d"), write(7, 5, B, 2), *report(3, 5, 6)]
LAST = [write(9, 1, A), track(False, "d")]
LEFT = (stays.Left(ledger(p1=(1, 1), p2=(5, 2), p3=(3, 1), p4=(4, 1)), told(1, 1)),
        stays.Left(ledger(p1=(6, 1), p5=(7, 1), p6=(8, 1)), told(2)))


class Stays(unittest.TestCase):
    """One stay after the other."""

    def judged(self, *parts, left=LEFT):
        """What is found in a trace."""
        found = stays.Stays(left)
        trace = [event._replace(pos=pos) for pos, event in enumerate(sum(map(list, parts), []))]
        events.watch(events.of(trace, (A, B)), found)
        found.end()
        return found

    def test_good(self):
        """Page 3 is in no report, and was written before the START that counts."""
        found = self.judged(FIRST, SECOND, LAST)
        self.assertEqual((found.reasons(), found.lost, found.tracked), ([], [], 3))

    def test_stays(self):
        """A guest that does not go on after its move has moved all the same."""
        self.assertEqual(self.judged(FIRST, SECOND).tracked, 3)

    def test_lost(self):
        """The move has a number."""
        found = self.judged(FIRST, [*SECOND[:-3], *report(3, 5)], LAST,
                            left=(LEFT[0], LEFT[1]._replace(told=told(1))))
        self.assertEqual((found.reasons(), found.lost),
                         (["move 2: 1 pages are lost, the first 0x6000"], [6]))

    def test_report_of_a_failed_migration(self):
        """A report before the last write, or before the last START, holds nothing of it."""
        early = [*FIRST[:-4], *report(2, 2), track(True), write(5, 2, A), *report(4, 4)]
        found = self.judged(early, SECOND, LAST,
                            left=(LEFT[0]._replace(told=told(1, 1, 1)), LEFT[1]))
        self.assertEqual(found.reasons(), ["move 1: 1 pages are lost, the first 0x2000"])

    def test_unmap_alone(self):
        """QEMU does not say what it does with the report of an UNMAP."""
        found = self.judged(FIRST, [*SECOND[:-3], *report(3, 5), *report(4, 6, op="unmap")], LAST,
                            left=(LEFT[0], LEFT[1]._replace(told=told(1))))
        self.assertEqual((found.reasons(), found.lost), (
            ["move 2: 1 pages are in reports of UNMAPs alone, the first 0x6000"], []))

    def test_other_devices(self):
        """One that passes by ends no stay."""
        self.assertEqual(self.judged(FIRST[:2], [write(1, 9, OTHER)], FIRST[2:], SECOND,
                                     LAST).reasons(), [])

    def test_ledger_of_another_stay(self):
        """The ledger has what the device wrote in this stay alone."""
        found = self.judged(FIRST, SECOND, LAST, left=(LEFT[0], LEFT[0]))
        self.assertRegex(found.reasons()[0], "move 2: oracle broken: ledger and trace differ")

    def test_number_left_out(self):
        """The numbers of a stay begin where the one before has ended."""
        found = self.judged(FIRST, [event._replace(seq=event.seq + 1) if isinstance(
            event, events.Write) else event for event in SECOND], left=(
                LEFT[0], LEFT[1]._replace(ledger=ledger(p1=(7, 1), p5=(8, 1), p6=(9, 1)))))
        self.assertRegex(found.reasons()[0], "move 2: oracle broken: ledger: 3 writes from number 6")

    def test_told(self):
        """QEMU and the trace must agree."""
        found = self.judged(FIRST, SECOND, left=(LEFT[0], LEFT[1]._replace(told=told(1))))
        self.assertRegex(found.reasons()[0], "move 2: oracle broken: QEMU was told 1 pages")

    def test_nothing_tracked(self):
        """A move in which nothing was written proves nothing."""
        idle = [*SECOND[:1], write(7, 5, B, 2), *SECOND[1:3], *SECOND[4:]]
        self.assertRegex(self.judged(FIRST, idle, LAST).reasons()[0],
                         "move 2: oracle broken: no page was written while tracking")
        untracked = [event for event in SECOND if not isinstance(event, events.Tracking)]
        self.assertRegex(self.judged(FIRST, untracked, LAST).reasons()[0],
                         "move 2: oracle broken: trace: tracking never started")

    def test_fewer(self):
        """Each move must be in the trace."""
        with self.assertRaisesRegex(events.BrokenOracle, "of 2 moves it shows 1"):
            self.judged(FIRST)


if __name__ == "__main__":
    unittest.main()
