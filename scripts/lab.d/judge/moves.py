# SPDX-License-Identifier: GPL-2.0-only
"""The oracles of a guest that is moved many times, or not moved because that failed.

Pure functions on RAM files, ledgers and the trace. A device numbers its page writes,
and the number moves along: so from one guest's boot to its end each number is used
once, by the device where the guest was, whatever failed on the way.
"""

import heapq

from judge import ram
from judge.events import BrokenOracle, State, Write

# enum vfio_device_mig_state: a device in these may write.
RUNNING, PRE_COPY = 2, 6
NAMED = 3
# Writes that wait for one with a smaller number. Each channel has taken a number for one
# descriptor at a time, so it is lost when so many have come.
EARLY = 4096


def window_pages(text):
    """Page numbers of a window as sysfs has it, "FIRST-LAST,...", in bytes."""
    pages = set()
    for word in text.split(","):
        first, last = (int(number, 0) for number in word.split("-"))
        pages.update(range(first >> 12, (last >> 12) + 1))
    return pages


class Written:
    """The number of the last write of each page, wherever the guest was then."""

    def __init__(self):
        self.last = {}

    def add(self, ledger):
        """What one device says that it wrote."""
        for page, record in ledger.items():
            self.last[page] = max(record.seq, self.last.get(page, 0))

    def missing(self, path, window):
        """Compare with the stamps in a RAM file; reasons, empty if all is well. Of the
        window only: elsewhere the guest has what was written back."""
        stamps = ram.stamps(path, sorted(window))
        wrong = [(page, stamps[page], self.last.get(page)) for page in sorted(window)
                 if stamps[page] != self.last.get(page)]
        reasons = [f"page {page << 12:#x} holds write {has}, the last was {last}"
                   for page, has, last in wrong[:NAMED]]
        if not any(page in window for page in self.last):
            reasons.append("the device wrote nothing in the window")
        return [f"{len(wrong)} pages of the window are wrong"] * bool(wrong) + reasons


class Order:
    """Whether each page write has a number of its own, and was made where and when it may be.

    It keeps no more than the writes that came before one with a smaller number.

    @writes:  events of writes so far
    @visits:  the devices that wrote, in the order of the numbers of their writes
    @reasons: why page writes were lost, or made twice, or by a device that must not
    """

    def __init__(self):
        self.writes, self.visits, self.reasons = 0, [], []
        self.expected, self.early, self.state = 1, [], {}

    def add(self, event):
        """The next event of the trace."""
        if isinstance(event, State):
            self.state[event.device] = event.to
        elif isinstance(event, Write):
            self.writes += 1
            if self.state.get(event.device, RUNNING) not in (RUNNING, PRE_COPY):
                self._object(f"write {event.seq} of device {event.device:08x} in state "
                             f"{self.state[event.device]}")
            heapq.heappush(self.early, (event.seq, event.npages, event.device))
            while self.early and (self.early[0][0] <= self.expected
                                  or len(self.early) > EARLY):
                self._next()

    def _next(self):
        seq, npages, device = heapq.heappop(self.early)
        if seq != self.expected:
            self._object(f"write {seq} of device {device:08x}, where {self.expected} was "
                         "expected")
        self.expected = seq + npages
        if not self.visits or self.visits[-1] != device:
            self.visits.append(device)

    def _object(self, reason):
        if len(self.reasons) < NAMED:
            self.reasons.append(reason)

    def end(self):
        """After the last event; a trace without a write is no evidence."""
        while self.early:
            self._next()
        if not self.writes:
            raise BrokenOracle("trace: no write at all")
