# SPDX-License-Identifier: GPL-2.0-only
"""Reports of KCSAN in a kernel's log: which are about our code, and which about the kernel's own.

A report is several lines: a first one, two accesses with the stack of each, and who reports. It is
about our code if a function of one of our modules is in it, be it only as a caller. If neither side
has one, it is a race of the kernel's own, which we can't repair: it is counted and shown, and fails
nothing. A report that is cut off may be about anything, so it counts as one about our code.
"""

import re
from collections import Counter

BEGIN = re.compile(r"BUG: KCSAN: (.*)")
END = re.compile(r"Reported by Kernel Concurrency Sanitizer on:")
OURS = re.compile(r"\[(mdma\w*|vfio_iommu_type1)\]")


class Reports:
    """Looks at the lines of one log, in their order.

    @open:    the first line of a report whose end has not come
    @foreign: what the kernel's own races are called -> how often they were reported
    """

    def __init__(self):
        self.open = None
        self.foreign = Counter()

    def line(self, line):
        """The first line of a report, if this line shows that it is about our code, or that the one
        before it was cut off; otherwise None."""
        cut = None
        if BEGIN.search(line):
            cut, self.open = self.open, line
        if self.open and OURS.search(line):
            return self.end() if not cut else cut
        if self.open and END.search(line):
            self.foreign[BEGIN.search(self.end())[1].strip()] += 1
        return cut

    def end(self):
        """The first line of a report that the log ends in; or None."""
        line, self.open = self.open, None
        return line


def foreign(texts):
    """The kernel's own races in logs of the same kernel, as in Reports: each as often as the log says
    that has it most often."""
    found = Counter()
    for text in texts:
        reports = Reports()
        for line in text.splitlines():
            reports.line(line)
        found |= reports.foreign
    return found
