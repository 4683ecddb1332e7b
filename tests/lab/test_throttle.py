#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""When a workload is slowed, and when it may continue."""

import sys
import unittest
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parents[1] / "scripts/lab.d")]

# pylint: disable=wrong-import-position
from play import throttle
from play.mdev import MdevError
from show import report_html

ROOM = 1 << 20


def look(valve, backlog, used=0, rate=1000):
    """The valve's decision."""
    return valve.look(backlog, used, lambda: rate)


class Valve(unittest.TestCase):
    """Decisions."""

    def setUp(self):
        self.valve = throttle.Valve(ROOM)

    def test_nothing_to_do(self):
        for backlog in (0, 0.1, 0.5):
            self.assertIsNone(look(self.valve, backlog))
        self.assertEqual(self.valve.facts(), {"times": 0, "least": None, "why": []})

    def test_waits_until_the_buffer_is_empty(self):
        self.assertEqual(look(self.valve, 0.6), throttle.WAITING)
        for backlog in (0.9, 0.6, 0.4, 0.11):
            self.assertIsNone(look(self.valve, backlog, rate=1))
        self.assertEqual(look(self.valve, 0.05, rate=1), 500)
        self.assertIsNone(look(self.valve, 0.2, rate=500))
        self.assertEqual(self.valve.facts(),
                         {"times": 1, "least": 500, "why": [throttle.BUFFER]})

    def test_slower_each_time(self):
        rate = 1000
        for times in (1, 2, 3):
            look(self.valve, 0.6, rate=rate)
            rate = look(self.valve, 0, rate=1)
            self.assertEqual((rate, self.valve.times), (1000 >> times, times))
        self.assertEqual((self.valve.least, self.valve.why), (125, [throttle.BUFFER]))

    def test_never_stops_for_good_and_never_without_limit(self):
        for rate in (0, 0.4, 1, 1.9):
            valve = throttle.Valve(ROOM)
            look(valve, 0.6, rate=rate)
            self.assertEqual(look(valve, 0, rate=0), 1)

    def test_disk_is_never_full(self):
        used, rate = 0, ROOM // 100
        for _ in range(500):
            used += rate
            rate = look(self.valve, 0, used, rate) or rate
            self.assertLess(used, ROOM)
        self.assertGreater(self.valve.times, 5)
        self.assertEqual(self.valve.why, [throttle.DISK])

    def test_late_look_slows_as_many_looks_in_time(self):
        self.assertEqual(look(self.valve, 0, ROOM - ROOM // 10), 1000 >> 3)
        self.assertEqual(self.valve.times, 1)
        self.assertIsNone(look(self.valve, 0, ROOM - ROOM // 15))
        self.assertEqual(look(self.valve, 0, ROOM - ROOM // 17, rate=125), 62)

    def test_look_after_the_disk_is_full(self):
        for used in (ROOM, ROOM + 1):
            self.assertEqual(look(throttle.Valve(ROOM), 0, used), throttle.WAITING)

    def test_disk_and_buffer(self):
        look(self.valve, 0.6, rate=800)
        self.assertIsNone(look(self.valve, 0.6, ROOM))
        look(self.valve, 0, ROOM * 2 // 3)
        look(self.valve, 0, ROOM * 2 // 3, rate=400)
        self.assertEqual((self.valve.times, self.valve.least), (2, 200))
        self.assertEqual(self.valve.why, [throttle.BUFFER, throttle.DISK])


class Device:
    """A device with a counter that remembers its settings."""

    def __init__(self):
        self.count, self.rates, self.gone = 0, [], False

    def stat(self, name):
        """Its only counter."""
        assert name == "descriptors"
        if self.gone:
            raise MdevError("gone")
        return self.count

    def set_rate(self, rate):
        """Remember."""
        if self.gone:
            raise MdevError("gone")
        self.rates.append(rate)


class Trace:
    """A trace as full as the test says."""

    def __init__(self):
        self.full = 0

    def backlog(self):
        """Share of the buffer."""
        return self.full

    def used(self):
        """Bytes on disk."""
        return 0


class Throttle(unittest.TestCase):
    """The effect of decisions."""

    def setUp(self):
        self.trace, self.devices = Trace(), [Device(), Device()]
        self.throttle = throttle.Throttle(self.trace, self.devices, ROOM)
        # pylint: disable=protected-access
        self.look = self.throttle._look

    def test_nobody_is_touched_without_need(self):
        self.look()
        self.assertEqual([device.rates for device in self.devices], [[], []])

    def test_all_devices_are_told_at_once_and_again(self):
        self.trace.full = 0.6
        self.look()
        self.assertEqual(self.devices[1].rates, [throttle.WAITING])
        now, count = self.throttle.measured.pop()
        self.throttle.measured.append((now - 2 * throttle.MEASURED, count))
        self.look()
        self.assertEqual(self.devices[1].rates, [throttle.WAITING] * 2)
        self.trace.full = 0
        self.look()
        self.assertEqual(self.devices[0].rates[-1], self.throttle.valve.least)

    def test_rate_is_measured(self):
        now, _ = self.throttle.measured[0]
        self.throttle.measured.append((now - 1, 0))
        self.throttle.measured.popleft()
        self.devices[0].count, self.trace.full = 100000, 0.6
        self.look()
        self.assertGreater(self.throttle.valve.least, 20000)

    def test_device_that_is_gone(self):
        self.devices[0].gone, self.trace.full = True, 0.6
        self.look()
        self.assertEqual(self.devices[1].rates, [throttle.WAITING])

    def test_rest(self):
        self.throttle.start()
        self.throttle.rest()
        self.trace.full = 0.6
        self.assertFalse(self.throttle.ended.wait(4 * throttle.INTERVAL))
        self.assertEqual(self.devices[0].rates, [])
        self.throttle.go_on()
        while not self.devices[0].rates:
            self.assertFalse(self.throttle.ended.wait(throttle.INTERVAL))
        self.throttle.end()


class Words(unittest.TestCase):
    """What people are told."""

    def test_slowed(self):
        facts = {"times": 2, "least": 250, "why": [throttle.BUFFER, throttle.DISK]}
        self.assertEqual(report_html.slowed({"slowed": facts}),
                         "The device was slowed to 250 descriptors a second, 2 times, so that the "
                         "trace could keep up: the trace's buffer was half full and the trace had "
                         "half of the disk left to it.")

    def test_once(self):
        facts = {"times": 1, "least": 1, "why": [throttle.BUFFER]}
        self.assertIn("to 1 descriptor a second, 1 time, so", report_html.slowed({"slowed": facts}))

    def test_not(self):
        self.assertEqual(report_html.slowed({"slowed": throttle.Valve(ROOM).facts()}), "")


if __name__ == "__main__":
    unittest.main()
