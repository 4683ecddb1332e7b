#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""How long a try to migrate is waited for, and what holds it back."""

import sys
import unittest
from pathlib import Path
from types import SimpleNamespace
from unittest import mock

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "scripts/lab.d"))

# pylint: disable=wrong-import-position
from play import attempt
from play.host import GuestError


class Source:
    """A source whose migration is one step further each time that somebody asks."""

    def __init__(self, steps):
        self.steps, self.parameters = iter(steps), {}
        self.vm = SimpleNamespace(qmp=self)
        self.mdev = SimpleNamespace(state=lambda: "pre_copy")
        self.last = None

    def command(self, name, **arguments):
        """QMP."""
        if name == "query-migrate":
            self.last = next(self.steps, self.last)
            status, rounds, transferred = self.last
            return {"status": status,
                    "ram": {"dirty-sync-count": rounds, "transferred": transferred}}
        if name == "migrate-set-parameters":
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


if __name__ == "__main__":
    unittest.main()
