#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""How long a try to migrate is waited for, and what holds it back."""

import sys
import unittest
from pathlib import Path
from types import SimpleNamespace
from unittest import mock

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "scripts/lab.d"), str(ROOT / "tests/scenarios")]

# pylint: disable=wrong-import-position
import failures
from play import attempt
from play.host import GuestError

ALLOWED = "migrate_transferred max_size 1000"
LEFT = "migrate_pending_exact exact pending size 10 (pre = 10 post=0)"
SWITCHES = "1@2.5:migration_thread_low_pending 10"


class Source:
    """A source whose migration is one step further each time that somebody asks."""

    def __init__(self, steps):
        self.steps, self.parameters = iter(steps), {}
        # QEMU's trace, one event longer each time that somebody looks, and what was there before.
        self.events, self.trace = iter(()), f"{SWITCHES}\n"
        self.vm = SimpleNamespace(qmp=self, log=self.log)
        self.mdev = SimpleNamespace(state=lambda: "pre_copy")
        self.last = None

    def log(self):
        """QEMU's trace."""
        self.trace += "".join(f"1@2.5:{event}\n" for event in [next(self.events, "")] if event)
        return self.trace

    def command(self, what, **arguments):
        """QMP."""
        if what == "query-migrate":
            self.last = next(self.steps, self.last)
            status, rounds, transferred = self.last
            return {"status": status,
                    "ram": {"dirty-sync-count": rounds, "transferred": transferred}}
        if what == "migrate-set-parameters":
            self.parameters.update(arguments)
        return {}


class Attempt(unittest.TestCase):
    """attempt.Attempt"""

    def setUp(self):
        # Each look takes a second of the clock.
        self.now = 0
        patch = mock.patch.multiple("time", monotonic=lambda: self.now, sleep=self.sleep)
        patch.start()
        self.addCleanup(patch.stop)
        self.complaints = []

    def sleep(self, _seconds):
        """A second passes."""
        self.now += 1

    def attempt(self, steps, patience):
        """A try whose migration does these steps."""
        run = SimpleNamespace(config=SimpleNamespace(patience=patience, bandwidth=48),
                              complain=self.complaints.append)
        source = Source(steps)
        return attempt.Attempt(run, source, source, SimpleNamespace(path="p", target="t"))

    def test_slow(self):
        """A round may take longer than the patience, as long as something is sent."""
        one = self.attempt([("active", 1, sent) for sent in range(50)] + [("active", 2, 50)], 10)
        one.wait_precopy(2)
        self.assertEqual((self.now, self.complaints), (50, []))

    def test_stands_still(self):
        """One that sends nothing is given up."""
        one = self.attempt([("active", 1, 7)], 10)
        with self.assertRaisesRegex(GuestError, "not in 10 s without progress: round 2 of pre-co"):
            one.wait_precopy(2)
        self.assertEqual(self.now, 11)

    def test_end(self):
        """The status that was waited for."""
        one = self.attempt([("active", 1, 7), ("device", 1, 7), ("completed", 1, 7)], 1)
        self.assertEqual(one.wait("completed", "failed"), "completed")

    def test_is_held_back(self):
        """Until it is allowed, QEMU must not measure the bandwidth (found.rst)."""
        one = self.attempt([], 1)
        one.start()
        held = dict(one.source.parameters)
        self.assertEqual((held["downtime_limit"], held["avail_switchover_bandwidth"]),
                         (1, attempt.HELD_BACK))
        one.allow()
        self.assertEqual(one.source.parameters, {
            "downtime_limit": attempt.ANY_DOWNTIME, "avail_switchover_bandwidth": 0,
            "max_bandwidth": attempt.guest_vm.UNLIMITED})

    # Held back until the destination says that it is ready.

    def held_back(self, *events, status="active"):
        """A move with switchover-ack, on a QEMU that does this from the start on."""
        one = self.attempt([(status, 2, 7)], 50)
        one.link.answers = mock.Mock()
        one.source.events = iter(("",) + events)
        with mock.patch.object(one, "wait"), mock.patch.object(one, "destination") as destination:
            destination.vm.log.return_value = "loadvm_approve_switchover"
            one.run.complain_if = mock.Mock()
            failures.move_with_ack(one)

    def test_waits_for_the_word(self):
        """It could have begun several times."""
        self.held_back(ALLOWED, *[LEFT] * (attempt.TURNS + 1))
        self.assertEqual(self.complaints, [])

    def test_slow_host_switches_over(self):
        """However long it takes QEMU to come to the switchover."""
        slow = ["guest"] * 20
        self.held_back(*slow, ALLOWED, *slow, LEFT, SWITCHES[6:])
        self.assertEqual(self.complaints, ["QEMU waited 0 times, and then switched over without "
                                           "the destination's word"])
        self.complaints.clear()
        self.held_back(ALLOWED, *[LEFT] * (attempt.TURNS + 1), status="device")
        self.assertEqual(self.complaints, ["without the destination's word the migration is "
                                           "device, not active"])

    def test_never_comes_to_it(self):
        """Nothing held it back: it never could."""
        with self.assertRaisesRegex(GuestError, "not in 50 s: QEMU could have switched over"):
            self.held_back(ALLOWED)


if __name__ == "__main__":
    unittest.main()
