# SPDX-License-Identifier: GPL-2.0-only
"""What our type1 and the kernel's own answered to the same calls, line by line.

tests/selftests/model.c logs the answers (lib/answers.h). Lines that are equal are what both must
say. A line that differs must be one of the deliberate differences, by the names that the table in
errno.rst has for them; any other difference is a defect, of one or of the other.
"""

import re
from collections import Counter
from itertools import zip_longest

PART = "GET of a part of a mapping"
READ_ONLY = "report: pages pinned for reading"
UNWOUND = "report: pages of a failed pin"
BESIDE = "report: bits beside a mapping"
LARGEST = "GET_INFO: the largest bitmap"
DELIBERATE = (PART, READ_ONLY, UNWOUND, BESIDE, LARGEST)

# Why a bit of a report may differ: name of the field that has such bits -> the difference.
EXCUSES = {"W11": READ_ONLY, "unwound": UNWOUND, "W15": BESIDE}
BITMAP = re.compile(r" bitmap [0-9a-f]+")


def pages(text):
    """The numbers in "0,3-5,9"."""
    found = set()
    for piece in text.split(",") if text else ():
        first, _, last = piece.partition("-")
        found.update(range(int(first), int(last or first) + 1))
    return found


def fields(line):
    """name -> numbers, for a line "report NAME NUMBERS NAME NUMBERS ..."."""
    words = line.split()[1:]
    return {name: pages(text) for name, text in zip(words[::2], words[1::2])}


def of_reports(ours, stock):
    """The deliberate differences between two reports of the same pages, or None."""
    ours, stock = fields(ours), fields(stock)
    left = ours.pop("bits", set()) ^ stock.pop("bits", set())
    if ours != stock:
        return None
    found = []
    for name, difference in EXCUSES.items():
        if left & ours.get(name, set()):
            found.append(difference)
            left -= ours[name]
    return None if left else found


def of_lines(ours, stock):
    """The deliberate differences between two answers that are not equal, or None."""
    if ours.startswith("report") and stock.startswith("report"):
        return of_reports(ours, stock)
    if ours.startswith("get a part ") and ours == stock.replace(" EINVAL", " 0"):
        return [PART]
    if ours.startswith("info ") and BITMAP.sub("", ours) == BITMAP.sub("", stock):
        return [LARGEST]
    return None


class Comparison:
    """What came of it.

    @equal: lines that are
    @known: difference -> how often it was seen
    @unknown: the first few (trial, call, ours, stock) that are no deliberate ones
    """

    MOST = 20

    def __init__(self):
        self.equal, self.known, self.unknown = 0, Counter(), []

    def add(self, ours, stock):
        """Compare two logs: lines, without their ends."""
        trial = call = ""
        for one, other in zip_longest(ours, stock, fillvalue="nothing"):
            if one.startswith("seed"):
                trial = one
            elif not one.startswith(("size", "report", "locked")):
                call = one
            if one == other:
                self.equal += 1
                continue
            found = of_lines(one, other)
            if found is None:
                if len(self.unknown) < self.MOST:
                    self.unknown.append((trial, call, one, other))
                # What follows may differ because of it.
                return
            self.known.update(found)
