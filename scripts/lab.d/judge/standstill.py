# SPDX-License-Identifier: GPL-2.0-only
"""The guest's standstill at the switchover: was it short, and did the guest notice?"""

import re

from judge import ram

# Seconds for which the comparison may hold the destination: of an idle machine, for this many
# pages; for more pages in proportion.
LIMIT_S = 2
LIMIT_PAGES = (512 << 20) // ram.PAGE_SIZE
# A guest that is held this long must not notice.
LONG_S = 20

BEAT = re.compile(r"MDMA-GUEST beat \d+ ([\d.]+)[^\n]*\n")


def is_short(idle_s, pages):
    """Whether the guest is held for a moment only. It does not matter what else the machine
    does."""
    return idle_s <= LIMIT_S * max(1, pages / LIMIT_PAGES)


def clock_jump(source, destination):
    """How far the guest's own clock advanced, in seconds, from the last time on the source's
    console to the first one on the destination's; None if one is missing. A line may begin on one
    console and end on the other."""
    edge, before = len(source), None
    for match in BEAT.finditer(source + destination):
        if match.end() > edge:
            return None if before is None else float(match[1]) - before
        before = float(match[1])
    return None


def noticed(held_s, jump):
    """Reasons why a guest that was held for long noticed it: its clock must not advance
    meanwhile."""
    if held_s is None or held_s < LONG_S:
        return []
    if jump is None:
        return [f"the guest was held for {held_s} s, and does not tell the time"]
    if jump > held_s / 2:
        return [f"the guest was held for {held_s} s, and its clock went on by {jump:.1f} s"]
    return []
