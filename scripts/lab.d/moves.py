# SPDX-License-Identifier: GPL-2.0-only
"""The oracles of a guest that is moved many times, or not moved because that failed.

Pure functions on RAM files, ledgers and the trace. A device numbers its page writes,
and the number moves along: so from one guest's boot to its end each number is used
once, by the device where the guest was, whatever failed on the way.
"""

import ram
from proof import BrokenOracle

# enum vfio_device_mig_state: a device in these may write.
RUNNING, PRE_COPY = 2, 6
NAMED = 3


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


def numbers(trace):
    """Reasons why page writes were lost, or made twice: each number must be used once."""
    reasons, expected = [], 1
    if not trace.writes:
        raise BrokenOracle("trace: no write at all")
    for write in sorted(trace.writes, key=lambda event: event.seq):
        if write.seq != expected:
            reasons.append(f"write {write.seq} of device {write.device:08x}, where "
                           f"{expected} was expected")
        expected = write.seq + write.npages
    return reasons[:NAMED]


def visits(trace):
    """The devices that wrote, in the order of the numbers of their writes."""
    found = []
    for write in sorted(trace.writes, key=lambda event: event.seq):
        if not found or found[-1] != write.device:
            found.append(write.device)
    return found


def after_stop(trace):
    """Reasons why a device wrote in a state in which it must not."""
    state, reasons = {}, []
    for event in sorted(trace.writes + trace.states, key=lambda event: event.pos):
        if hasattr(event, "to"):
            state[event.device] = event.to
        elif state.get(event.device, RUNNING) not in (RUNNING, PRE_COPY):
            reasons.append(f"write {event.seq} of device {event.device:08x} in state "
                           f"{state[event.device]}")
    return reasons[:NAMED]
