# SPDX-License-Identifier: GPL-2.0-only
"""Slows the workload of devices down before a trace of what they do loses an event.

While a trace's buffer is more than half full, the devices stand nearly still; when it is empty
again they go on at half the rate that they had. The disk is treated in the same way as it
can't become empty: whenever half of what was left of it is used, the rate is halved.
"""

import threading
import time
from collections import deque
from contextlib import suppress

from play.drain import go_first
from play.mdev import MdevError

# Share of the buffer that is in use when the workload has to wait, and when it may go on.
FULL, EMPTY = 0.5, 0.1
# Descriptors per second of a workload that waits. Not 0, which is no limit.
WAITING = 1
# Seconds between two looks at the buffer: at least, and at most. A look may take a twentieth of
# the time between them: an emulated CPU is slow to look, and as slow to fill the buffer.
INTERVAL, INTERVAL_MAX, SHARE = 0.05, 0.2, 1 / 20
# Seconds over which a rate is measured.
MEASURED = 0.5
BUFFER, DISK = "the trace's buffer was half full", "the trace had half of the disk left to it"


class Valve:
    """Decides. It knows no device and no trace, and so can be tested.

    @times: how often the workload was slowed
    @least: descriptors per second to which it was, None if it was not
    @why:   reasons, each once
    """

    def __init__(self, room):
        """@room: bytes that the trace may take on its disk."""
        self.room, self.left = room, room
        self.waiting, self.rate = False, None
        self.times, self.least, self.why = 0, None, []

    def look(self, backlog, used, rate):
        """The rate that the workload must have from now on, or None if it is right.

        @backlog: share of the buffer that is in use
        @used:    bytes of the trace on disk
        @rate:    returns descriptors per second now
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
        if self.room - used < self.left // 2:
            self.left //= 2
            self._slow(rate, DISK)
            return self.rate
        return None

    def _slow(self, rate, why):
        self.rate = max(WAITING, int(rate()) // 2)
        self.least = min(self.rate, self.least or self.rate)
        self.times += 1
        if why not in self.why:
            self.why.append(why)

    def facts(self):
        """For the judge, and for people."""
        return {"times": self.times, "least": self.least, "why": self.why}


class Throttle:
    """Watches a trace, and slows the devices that it sees.

    @trace: has backlog(), the share of its buffer that is in use, and used(), bytes on disk
    @mdevs: the devices whose workload is slowed; one of them works at a time
    @room:  see Valve
    """

    def __init__(self, trace, mdevs, room):
        self.trace, self.mdevs, self.valve = trace, mdevs, Valve(room)
        # What the workloads must be set to; None: nobody was slowed yet.
        self.wanted = None
        self.measured = deque([(time.monotonic(), 0)], 2)
        self.lock, self.ended = threading.Lock(), threading.Event()
        self.thread = threading.Thread(target=self._watch, daemon=True)

    def start(self):
        """Begin to watch."""
        self.thread.start()

    def end(self):
        """Watch no longer."""
        self.ended.set()
        if self.thread.is_alive():
            self.thread.join()

    def rest(self):
        """Leave the workloads alone until go_on(): what they are set to is compared."""
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
                # Again: the guest may have gone to another of the devices.
                self._set(self.wanted)

    def _descriptors(self):
        count = 0
        for mdev in self.mdevs:
            with suppress(MdevError):
                count += mdev.stat("descriptors")
        return count

    def _rate(self):
        """Descriptors per second over the last while."""
        before, count = self.measured[0]
        return max(0, self._descriptors() - count) / (time.monotonic() - before)

    def _set(self, rate):
        for mdev in self.mdevs:
            # It may be removed, or stopped, at any time.
            with suppress(MdevError):
                mdev.set_rate(rate)
