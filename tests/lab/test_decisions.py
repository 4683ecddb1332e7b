#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""Whether QEMU could have switched over, by its trace."""

import sys
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "scripts/lab.d"))

# pylint: disable=wrong-import-position
from judge import decisions

HELD = "migrate_transferred transferred 9 time_spent 1 bandwidth 32 switchover_bw 100 max_size 100"
ALLOWED = HELD.replace("max_size 100", "max_size 6352352000")
LEFT = "migrate_pending_exact exact pending size 105584544 (pre = 105584544 post=0)"
NEWER = ("qemu_savevm_query_pending exact=1, final=0, precopy=7, stopcopy=2, postcopy=0, total=9, "
         "collected switchover ack pending=0, total switchover ack pending=1")
SWITCHES = "migration_thread_low_pending 105584544"


def log(*events):
    """A trace of QEMU's."""
    return "".join(f"617@{1796080932 + at}.260410:{event}\n" for at, event in enumerate(events))


class PassedUp(unittest.TestCase):
    """decisions.passed_up()"""

    def test_not_allowed(self):
        """As long as too much is left, nothing holds it back."""
        self.assertEqual(decisions.passed_up(log(HELD, LEFT, LEFT, LEFT)), (0, False))
        self.assertEqual(decisions.passed_up(log(LEFT, LEFT)), (0, False))
        self.assertEqual(decisions.passed_up(""), (0, False))

    def test_while_qemu_writes(self):
        """The last line may be half of one."""
        self.assertEqual(decisions.passed_up(log(ALLOWED, LEFT) + log(ALLOWED)[:-12]), (0, False))

    def test_waits(self):
        """Another turn shows that the one before has passed."""
        self.assertEqual(decisions.passed_up(log(ALLOWED, LEFT)), (0, False))
        self.assertEqual(decisions.passed_up(log(HELD, LEFT, ALLOWED, LEFT, ALLOWED, LEFT, LEFT)),
                         (2, False))

    def test_switches(self):
        """At once, or after it has waited."""
        self.assertEqual(decisions.passed_up(log(ALLOWED, LEFT, SWITCHES)), (0, True))
        self.assertEqual(decisions.passed_up(log(ALLOWED, LEFT, LEFT, SWITCHES, LEFT)), (1, True))

    def test_newer(self):
        """QEMU 11.1 has another event, also for what it only estimates, and for the end."""
        text = "".join(f"2026-11-30T23:09:5{at}.801376Z {event}\n" for at, event in enumerate(
            (ALLOWED, NEWER, NEWER.replace("exact=1", "exact=0"), NEWER,
             NEWER.replace("final=0", "final=1"))))
        self.assertEqual(decisions.passed_up(text), (1, False))


if __name__ == "__main__":
    unittest.main()
