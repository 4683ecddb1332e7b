# SPDX-License-Identifier: GPL-2.0-only
"""Slows the workload of devices down before a trace of them loses an event.

While the trace's buffer is more than half full, the devices nearly stop; when it is empty again
they continue at half their previous rate. The disk can't become empty again, so the rate is halved
each time half of the remaining space is used: once for each half that a late look finds used.
"""

import threading
import time
from collections import deque
from contextlib import suppress

from play.drain import go_first
from play.mdev import MdevError

# Share of the buffer in use at which the workload must wait, and at which it may continue.
FULL, EMPTY = 0.5, 0.1
# Descriptors per second of a workload that waits. Not 0, which means no limit.
WAITING = 1
# Seconds between two looks at the buffer, at least and at most. Looking may take a twentieth of
# the time: an emulated CPU is slow to look, and equally slow to fill the buffer.
INTERVAL, INTERVAL_MAX, SHARE = 0.05, 0.2, 1 / 20
# Seconds over which a rate is measured.
MEASURED = 0.5
BUFFER, DISK = "the trace's buffer was half full", "the trace had half of the disk left to it"


class Valve:
    """Decides on the rate. It knows neither devices nor traces, so it can be tested.

    @times: how often the workload was slowed
    @least: the lowest rate that it was slowed to, in descriptors per second; None if it was not
    @why:   reasons, each once
    """

    def __init__(self, room):
        """@room: bytes that the trace may take on its disk."""
        self.room, self.left = room, room
        self.waiting, self.rate = False, None
        self.times, self.least, self.why = 0, None, []

    def look(self, backlog, used, rate):
        """The rate that the workload must have from now on, or None to keep it.

        @backlog: share of the buffer that is in use
        @used:    bytes of the trace on disk, and of the buffer, which must go there too
        @rate:    returns the current descriptors per second
        """
        if self.waiting:
            if backlog > EMPTY:
                return None
            self.waiting = False
            return self.rate
        if backlog > FULL:
            self._slow(rate, BUFFER)
            self.waiting = True
            return WAITING
        halves = 0
        while self.left and self.room - used < self.left // 2:
            self.left //= 2
            halves += 1
        if halves:
            self._slow(rate, DISK, halves)
            return self.rate
        return None

    def _slow(self, rate, why, halves=1):
        self.rate = max(WAITING, int(rate()) >> halves)
        self.least = min(self.rate, self.least or self.rate)
        self.times += 1
        if why not in self.why:
            self.why.append(why)

    def facts(self):
        """Facts for the judge and for people."""
        return {"times": self.times, "least": self.least, "why": self.why}


class Throttle:
    """Watches a trace, and slows its devices down if need be.

    @trace: has backlog(), the share of its buffer that is in use, and used(), bytes of it
    @mdevs: the devices whose workload is slowed; one of them works at a time
    @room:  see Valve
    """

    def __init__(self, trace, mdevs, room):
        self.trace, self.mdevs, self.valve = trace, mdevs, Valve(room)
        # The rate that the workloads must have; None: nothing was slowed so far.
        self.wanted = None
        self.measured = deque([(time.monotonic(), 0)], 2)
        self.lock, self.ended = threading.Lock(), threading.Event()
        self.thread = threading.Thread(target=self._watch, daemon=True)

    def start(self):
        """Start to watch."""
        self.thread.start()

    def end(self):
        """Stop watching."""
        self.ended.set()
        if self.thread.is_alive():
            self.thread.join()

    def rest(self):
        """Leave the workloads alone until go_on(), while their settings are compared."""
        self.lock.acquire()

    def go_on(self):
        """The end of rest()."""
        self.lock.release()

    def _watch(self):
        go_first()
        interval = INTERVAL
        while not self.ended.wait(interval):
            if self.lock.acquire(timeout=INTERVAL):
                begin = time.thread_time()
                self._look()
                self.lock.release()
                took = time.thread_time() - begin
                interval = min(max(INTERVAL, took / SHARE), INTERVAL_MAX)

    def _look(self):
        rate = self.valve.look(self.trace.backlog(), self.trace.used(), self._rate)
        if rate is not None:
            self.wanted = rate
            self._set(rate)
        now = time.monotonic()
        if now - self.measured[-1][0] > MEASURED:
            self.measured.append((now, self._descriptors()))
            if self.wanted is not None:
                # Set it again: the guest may have moved to another one of the devices.
                self._set(self.wanted)

    def _descriptors(self):
        count = 0
        for mdev in self.mdevs:
            with suppress(MdevError):
                count += mdev.stat("descriptors")
        return count

    def _rate(self):
        """Descriptors per second, averaged over the last few seconds."""
        before, count = self.measured[0]
        return max(0, self._descriptors() - count) / (time.monotonic() - before)

    def _set(self, rate):
        for mdev in self.mdevs:
            # A device may be removed, or stop, at any time.
            with suppress(MdevError):
                mdev.set_rate(rate)
