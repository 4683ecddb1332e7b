# SPDX-License-Identifier: GPL-2.0-only
"""The oracles for a guest that is moved many times, or not moved because a migration failed.

Pure functions on RAM files, ledgers and the trace. A device numbers its page writes, and the
number migrates with it. So from the boot of a guest to its end each number is used exactly once,
by the device where the guest was then, whatever failed in between.
"""

import heapq

from judge import ram
from judge.events import BrokenOracle, State, Write

# enum vfio_device_mig_state: states in which a device may write.
RUNNING, PRE_COPY = 2, 6
NAMED = 3
# Limit on runs of numbers that wait for a smaller one. Each channel takes a number for one
# descriptor at a time, and its thread may then wait for the host while another channel writes any
# number of pages: these are one run. So there are no more runs than channels, unless numbers are
# lost.
EARLY = 1 << 16


def window_pages(text):
    """Page numbers of a window as sysfs shows it: "FIRST-LAST,...", in bytes."""
    pages = set()
    for word in text.split(","):
        first, last = (int(number, 0) for number in word.split("-"))
        pages.update(range(first >> 12, (last >> 12) + 1))
    return pages


class Written:
    """The number of the last write of each page, wherever the guest was then.

    @since: only writes with a larger number count: a guest that boots anew forgets the others
    """

    def __init__(self, since=0):
        self.last, self.since = {}, since

    def add(self, ledger):
        """Add a device's ledger."""
        for page, record in ledger.items():
            if record.seq > self.since:
                self.last[page] = max(record.seq, self.last.get(page, 0))

    def missing(self, memory, window):
        """Compare with the stamps in RAM files; returns reasons, empty if all is well. Only the
        window counts: elsewhere, the guest itself writes."""
        stamps = ram.stamps(memory, sorted(window))
        wrong = [(page, stamps[page], self.last.get(page)) for page in sorted(window)
                 if stamps[page] != self.last.get(page)]
        reasons = [f"page {page << 12:#x} holds write {has}, the last was {last}"
                   for page, has, last in wrong[:NAMED]]
        if not any(page in window for page in self.last):
            reasons.append("the device wrote nothing in the window")
        return [f"{len(wrong)} pages of the window are wrong"] * bool(wrong) + reasons


class Order:
    """Checks that each page write has its own number, and was made where and when it may be.

    It keeps only writes that came before one with a smaller number, as runs of one device.

    @first:   the first number that there must be
    @writes:  number of write events so far
    @visits:  the devices that wrote, in the order of their writes' numbers
    @reasons: page writes that were lost, made twice, or made by a device that must not write
    """

    def __init__(self, first=1):
        self.writes, self.visits, self.reasons = 0, [], []
        self.expected, self.state = first, {}
        # Runs [first number, number after the last, device], the smallest first; by their ends.
        self.early, self.ends = [], {}

    def add(self, event):
        """The next event of the trace."""
        if isinstance(event, State):
            self.state[event.device] = event.to
        elif isinstance(event, Write):
            self.writes += 1
            if self.state.get(event.device, RUNNING) not in (RUNNING, PRE_COPY):
                self._object(f"write {event.seq} of device {event.device:08x} in state "
                             f"{self.state[event.device]}")
            self._keep(event)
            while self.early and (self.early[0][0] <= self.expected
                                  or len(self.early) > EARLY):
                self._next()

    def _keep(self, event):
        run = self.ends.pop((event.seq, event.device), None)
        if not run:
            run = [event.seq, event.seq, event.device]
            heapq.heappush(self.early, run)
        run[1] += event.npages
        self.ends[run[1], event.device] = run

    def _next(self):
        seq, end, device = run = heapq.heappop(self.early)
        if self.ends.get((end, device)) is run:
            del self.ends[end, device]
        if seq != self.expected:
            self._object(f"write {seq} of device {device:08x}, where {self.expected} was "
                         "expected")
        self.expected = end
        if not self.visits or self.visits[-1] != device:
            self.visits.append(device)

    def _object(self, reason):
        if len(self.reasons) < NAMED:
            self.reasons.append(reason)

    def end(self):
        """Check the end of the trace; a trace without a write is no evidence."""
        while self.early:
            self._next()
        if not self.writes:
            raise BrokenOracle("trace: no write at all")
