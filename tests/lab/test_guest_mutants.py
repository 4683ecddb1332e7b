#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""A mutant of the guest's driver counts as killed by a failed test, or by a guest that is silent
again and again."""

import sys
import unittest
from pathlib import Path
from types import SimpleNamespace

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "scripts/lab.d"), str(ROOT / "tests/scenarios")]

# pylint: disable=wrong-import-position
import guest_mutants
from play.guest_vm import GuestError

FAILS, SILENT = "TestError: 3 errors", "GuestError: the guest's shell: no answer"
FULL = "OSError: [Errno 28] No space left on device"


class Guests:
    """Guests in which the mutant ends so, one after the other."""

    def __init__(self, *ends, swap="", sound=True):
        self.ends, self.swap, self.sound, self.dropped = list(ends), swap, sound, 0
        self.words = []

    def get(self, words):
        """A guest."""
        self.words.append(words)
        return SimpleNamespace(swap=lambda _: self.swap, sound=lambda: self.sound,
                               test=lambda *_: self.ends.pop(0))

    def drop(self):
        """The guest ends."""
        self.dropped += 1


def judged(guests, test="t"):
    """The state of the mutant."""
    return guest_mutants.judge(guests, {"name": "m", "tests": [test]}, {test: 1})[0]


class Judge(unittest.TestCase):
    """The verdict on one mutant."""

    def test_sure(self):
        """A test fails, or all is well."""
        for end, wanted in (("", "survived"), (FAILS, "killed")):
            guests = Guests(end)
            self.assertEqual((judged(guests), guests.dropped), (wanted, 0))
        self.assertEqual(judged(Guests(swap=FAILS)), "killed")

    def test_silent(self):
        """It must be silent again, in a guest in which the driver itself works."""
        for ends, wanted in (((SILENT, SILENT), "killed"), ((SILENT, FAILS), "killed"),
                             ((SILENT, ""), "survived")):
            guests = Guests(*ends)
            self.assertEqual((judged(guests), guests.dropped), (wanted, 1), ends)
        self.assertEqual(judged(Guests(SILENT, sound=False)), "error")

    def test_machine(self):
        """A full disk is no verdict, however often."""
        self.assertEqual(judged(Guests(FULL, FULL)), "error")
        self.assertEqual(judged(Guests(swap=FULL)), "error")

    def test_threaded(self):
        """A test of handlers that are threads has a guest with such."""
        for test, words in (("line_client_error_recovers", "threadirqs"),
                            ("client_error_recovers", ""), ("interrupts_by_line", "")):
            guests = Guests(SILENT, FAILS)
            self.assertEqual(judged(guests, test), "killed")
            self.assertEqual(set(guests.words), {words}, test)

    def test_no_guest(self):
        """There is no new guest."""
        guests = Guests(SILENT)
        found = [guests.get("")]

        def get(_):
            if not found:
                raise GuestError("no")
            return found.pop()
        guests.get = get
        self.assertEqual(judged(guests), "error")


if __name__ == "__main__":
    unittest.main()
