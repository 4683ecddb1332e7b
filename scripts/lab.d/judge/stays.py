# SPDX-License-Identifier: GPL-2.0-only
"""The set oracle for a guest that is moved many times: it judges one stay after the other.

A stay begins with the first page write of a device, and ends with that of another device, or with
the trace. The guest left by a migration that succeeded; before that, others may have failed.

Pure functions on a trace, and on what each stay has left.
"""

from collections import namedtuple

from judge import proof
from judge.events import BrokenOracle, Tracking, Write

Left = namedtuple("Left", "ledger told")
Left.__doc__ = """What is left of a stay when the guest has moved.

@ledger: of the device there, see proof.parse_ledger()
@told:   what QEMU was told there, see proof.parse_qemu_log()
"""


class Stay(proof.Seen):
    """What the trace has of a stay. Tracking counts from its last START on: with each migration,
    QEMU sends all memory anew."""

    def _track(self, event):
        if event.on:
            self.start, self.tracked, self.tracking = event.pos, 0, []
        self.tracking.append(event)

    ADD = {**proof.Seen.ADD, Tracking: _track}


class Stays:
    """Judges each stay, when it has ended.

    @left:    of the stays that ended with a move, in their order
    @lost:    pages that were lost by a move
    @tracked: page writes while tracking, of the migrations that succeeded
    @broken:  moves of which nothing can be said, and why
    """

    def __init__(self, left):
        self.left, self.stay = left, None
        self.judged, self.first_seq = 0, 1
        self.lost, self.tracked, self.broken, self._named = [], 0, [], []

    def add(self, event):
        """The next event of the trace."""
        if isinstance(event, Write) and (not self.stay or self.stay.device != event.device):
            self._ended()
            self.stay = Stay(event.device)
        if self.stay:
            self.stay.add(event)

    def end(self):
        """The end of the trace. A guest that did not move any more has left nothing there."""
        self._ended()
        if self.judged < len(self.left):
            raise BrokenOracle(f"trace: of {len(self.left)} moves it shows {self.judged}")

    def reasons(self):
        """What is wrong; empty if no move has lost a page."""
        return self.broken + self._named

    def _ended(self):
        if not self.stay or self.judged == len(self.left):
            return
        left = self.left[self.judged]
        self.judged += 1
        try:
            self._judge(left)
        except BrokenOracle as err:
            self.broken.append(f"move {self.judged}: oracle broken: {err}")
        self.first_seq = max((record.seq for record in left.ledger.values()),
                             default=self.first_seq - 1) + 1

    def _judge(self, left):
        stay = self.stay
        proof.set_oracle(stay, left.ledger, self.first_seq)
        proof.check_told(left.told, stay.gets())
        if not stay.tracked:
            raise BrokenOracle("no page was written while tracking")
        self.tracked += stay.tracked
        lost = proof.lost_pages(stay)
        self.lost += lost
        for pages, what in ((lost, "lost"),
                            (proof.unmapped_pages(stay), "in reports of UNMAPs alone")):
            if pages:
                self._named.append(f"move {self.judged}: {len(pages)} pages are {what}, the first "
                                   f"{pages[0] << proof.PAGE_SHIFT:#x}")
