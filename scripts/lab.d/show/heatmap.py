# SPDX-License-Identifier: GPL-2.0-only
"""Guest memory by rounds of pre-copy: what the device wrote, what QEMU was told, what was lost.

A column is the time until the end of a round's last report, in the order of the trace: what was
written in it must be in the reports at its end. A write that comes after its page was reported in
the same round is reported in the next one. So this is a picture for people; the verdict is
proof.py's.
"""

from array import array
from bisect import bisect_left
from collections import Counter, namedtuple

from judge import proof
from judge.events import Pin, Report, Run, Tracking, Write

ROWS, COLUMNS = 48, 24

# A column: its last round, the place of its last report in the trace, the time of that report, and
# how many of the pages reported in it were retained.
Column = namedtuple("Column", "round pos time retained")
AFTER = "after"


def columns_of(log, gets):
    """The columns: one for each round, or for several if there are many."""
    ends = {}
    for (time, number, _), report in zip(log, gets):
        retained = report.retained + (ends[number].retained if number in ends else 0)
        ends[number] = Column(number, report.pos, time, retained)
    ends = list(ends.values())
    step = max(1, -(-len(ends) // COLUMNS))
    groups = [ends[i:i + step] for i in range(0, len(ends), step)]
    return [group[-1]._replace(retained=sum(end.retained for end in group)) for group in groups]


class Interval:
    """Different pages between two GETs, by what happened to them."""

    def __init__(self):
        self.written, self.reported, self.pinned = set(), set(), set()

    def packed(self):
        """The same in a compact form: 8 bytes a page."""
        return tuple(array("Q", pages) for pages in (self.written, self.reported, self.pinned))


class Touched:
    """The pages that a device wrote since START, and those that QEMU was told by the GET after
    that. @pinned are pages that were pinned when they were reported."""

    def __init__(self, device):
        self.device, self.started = device, False
        self.pins, self.open = Counter(), {}
        self.now, self.kept = Interval(), []

    def add(self, event):
        """Process the next event of the trace."""
        add = self.ADD.get(type(event))
        if add and getattr(event, "device", self.device) == self.device:
            add(self, event)

    def _write(self, event):
        if self.started:
            self.now.written.update(proof.pages(event.iova, event.npages))

    def _pin(self, event):
        for page in proof.pages(event.iova, event.npages):
            self.pins[page] += 1 if event.on else -1
            if not self.pins[page]:
                del self.pins[page]

    def _run(self, event):
        told, pinned = self.open.setdefault(event.report, (set(), set()))
        touched = proof.pages(event.iova, event.npages)
        told.update(touched)
        pinned.update(page for page in touched if self.pins[page] > 0)

    def _report(self, event):
        told, pinned = self.open.pop(event.report, ((), ()))
        if event.ret:
            return
        self.now.reported.update(told)
        self.now.pinned.update(pinned)
        if event.op == "get":
            self.kept.append((event.pos, self.now.packed()))
            self.now = Interval()

    def _track(self, event):
        self.started |= event.on

    ADD = {Write: _write, Pin: _pin, Run: _run, Report: _report, Tracking: _track}

    def intervals(self):
        """(place of its end, written, reported, pinned) of each interval; the last one has no
        end."""
        return [(pos, *pages) for pos, pages in self.kept] + [
            (float("inf"), *self.now.packed())]


class Map:
    """Pages of each cell, by (row, column).

    @shift:   1 << shift pages a row
    @blocks:  page number >> shift of each row; memory that nothing happened to has no row
    @columns: Column of each column; one more for writes after the last report
    @written, @reported: different pages that the device wrote, that QEMU was told
    @pinned:  those of @reported that were pinned then; the others are retained
    @lost:    lost pages, at their last write
    @differs: {row: pages that differ at the destination}
    """

    def __init__(self, columns, touched):
        self.columns, self.shift, blocks = columns, 0, set(touched)
        while len(blocks) > ROWS:
            self.shift += 1
            blocks = {page >> self.shift for page in touched}
        self.blocks = sorted(blocks)
        self.rows = {block: row for row, block in enumerate(self.blocks)}
        self.ends = [column.pos for column in columns]

    def cells(self, places):
        """Count different pages by cell. @places: (place in the trace, page)."""
        return Counter((self.rows[page >> self.shift], column) for column, page in
                       {(bisect_left(self.ends, pos), page) for pos, page in places})

    def count(self, intervals):
        """Fill written, reported and pinned, column by column."""
        self.written, self.reported, self.pinned = counts = Counter(), Counter(), Counter()
        columns = {}
        for end, *kinds in intervals:
            pages = columns.setdefault(bisect_left(self.ends, end), tuple(set() for _ in kinds))
            for found, more in zip(pages, kinds):
                found.update(more)
        for column, kinds in columns.items():
            for cells, pages in zip(counts, kinds):
                cells.update((self.rows[page >> self.shift], column) for page in pages)

    def add_after(self):
        """Add a column for writes after the last report, if there are any."""
        if any(column == len(self.ends) for _, column in [*self.written, *self.reported]):
            self.columns = [*self.columns, Column(AFTER, None, None, 0)]

    def retained(self):
        """Cells of pages that were reported and not pinned at that time."""
        return self.reported - self.pinned

    def sums(self, counts):
        """Pages by column."""
        total = Counter()
        for (_, column), count in counts.items():
            total[column] += count
        return [total[column] for column in range(len(self.columns))]


def build(facts, evidence):
    """The map of a leg."""
    touched = Touched(proof.device_number(facts["source_uuid"]))
    seen, _ = proof.see(facts, evidence, touched)
    proof.check_tracking(seen)
    differs = [entry["page"] for entry in evidence["ram"]["different"]
               if entry["page"] is not None]
    made = Map(columns_of(evidence["qemu"], seen.gets()),
               {*seen.written, *seen.covered, *differs})
    made.count(touched.intervals())
    made.lost = made.cells((seen.written[page][0], page) for page in proof.lost_pages(seen))
    made.differs = Counter(made.rows[page >> made.shift] for page in differs)
    made.add_after()
    return made


def of_leg(directory):
    """The map of a leg's directory; None if the evidence is incomplete."""
    try:
        facts, evidence = proof.read_leg(directory)
        return build(facts, evidence) if evidence else None
    except (proof.BrokenOracle, KeyError, TypeError, ValueError):
        return None
