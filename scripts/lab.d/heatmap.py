# SPDX-License-Identifier: GPL-2.0-only
"""Guest memory by rounds of pre-copy: what the device wrote, what QEMU was told, what was lost.

A column is the time until the end of a round's last report, by the order of the trace: what
was written in it must be in the reports at its end. A write that a report of the same round
overtook is told in the next one, so this is a picture for people; the verdict is proof.py's.
"""

from bisect import bisect_left
from collections import Counter, namedtuple

import proof

ROWS, COLUMNS = 48, 24

# A column's last round, the place of its last report in the trace, and when that was; of
# the pages reported in it, those that were retained.
Column = namedtuple("Column", "round pos time retained")
AFTER = "after"


def columns_of(log, trace):
    """The columns: a round each, or several where there are many."""
    ends = {}
    for (time, number, _), report in zip(log, proof.gets(trace)):
        retained = report.retained + (ends[number].retained if number in ends else 0)
        ends[number] = Column(number, report.pos, time, retained)
    ends = list(ends.values())
    step = max(1, -(-len(ends) // COLUMNS))
    groups = [ends[i:i + step] for i in range(0, len(ends), step)]
    return [group[-1]._replace(retained=sum(end.retained for end in group)) for group in groups]


class Map:
    """Pages of each cell, by (row, column).

    @shift:   1 << shift pages a row
    @blocks:  page number >> shift of each row; memory that nobody touched has no row
    @columns: Column of each column. What was written after the last report has one more
    @written, @reported: different pages that the device wrote, that QEMU was told
    @pinned:  those of @reported that were pinned then; the others are retained
    @lost:    pages lost, where they were written last
    @differs: {row: pages that are not the same at the destination}
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

    def add_after(self):
        """A column for what came after the last report of a round, if there is such."""
        if any(column == len(self.ends) for _, column in [*self.written, *self.reported]):
            self.columns = [*self.columns, Column(AFTER, None, None, 0)]

    def retained(self):
        """Cells of the pages that were reported and not pinned then."""
        return self.reported - self.pinned

    def sums(self, counts):
        """Pages by column."""
        total = Counter()
        for (_, column), count in counts.items():
            total[column] += count
        return [total[column] for column in range(len(self.columns))]


def pinned_at_reports(trace, device, runs):
    """(place, page) of each page that was pinned when one of @runs held it."""
    pins, found = Counter(), []
    for event in sorted([*runs, *(pin for pin in trace.pins if pin.device == device)],
                        key=lambda event: event.pos):
        touched = proof.pages(event.iova, event.npages)
        if isinstance(event, proof.Run):
            found += [(event.pos, page) for page in touched if pins[page] > 0]
        else:
            pins.update(dict.fromkeys(touched, 1 if event.on else -1))
    return found


def build(facts, evidence):
    """The map of a leg."""
    trace = evidence["trace"]
    device = proof.device_number(facts["source_uuid"])
    start = proof.tracking_start(trace)
    good, runs = proof.reports_of(trace)
    last, covered = proof.writes_of(trace, device), proof.coverage(good, runs)
    differs = [entry["page"] for entry in evidence["ram"]["different"]]
    made = Map(columns_of(evidence["qemu"], trace), {*last, *covered, *differs})
    made.written = made.cells((event.pos, page) for event in trace.writes
                              if event.device == device and event.pos > start
                              for page in proof.pages(event.iova, event.npages))
    told = [run for report in good for run in runs.get(report.report, ())]
    made.reported = made.cells((run.pos, page) for run in told
                               for page in proof.pages(run.iova, run.npages))
    made.pinned = made.cells(pinned_at_reports(trace, device, told))
    made.lost = made.cells((last[page][0], page)
                           for page in proof.lost_pages(last, covered, start))
    made.differs = Counter(made.rows[page >> made.shift] for page in differs)
    made.add_after()
    return made


def of_leg(directory):
    """The map of a leg's directory; None where the evidence is not whole."""
    try:
        facts, evidence = proof.read_leg(directory)
        return build(facts, evidence) if evidence else None
    except (proof.BrokenOracle, KeyError, TypeError, ValueError):
        return None
