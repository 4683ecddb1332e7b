# SPDX-License-Identifier: GPL-2.0-only
"""How QEMU decides on the switchover, by its trace. Pure.

In each turn of pre-copy QEMU asks what is left. If that is less than it may send while the guest
is stopped, it asks once more, exactly, and then switches over, unless something holds it back.
"""

import re

from base import qemu_events

# What is left, exactly, in bytes: of 10.0, of 11.1.
LEFT = {"migrate_pending_exact": re.compile(r"exact pending size (\d+)"),
        "qemu_savevm_query_pending": re.compile(r"exact=1, final=0, .*\btotal=(\d+)")}
# How much may be left, which changes with the bandwidth.
MOST = re.compile(r"max_size (-?\d+)")
SWITCHES = "migration_thread_low_pending"


def passed_up(log):
    """(how often QEMU could have switched over and began another turn, whether it did at last)"""
    most, due, passed = 0, False, 0
    for _, name, rest in qemu_events.read(log):
        if name == SWITCHES:
            return passed, True
        if name == "migrate_transferred" and (found := MOST.search(rest)):
            most = int(found[1])
        elif name in LEFT and (left := LEFT[name].search(rest)):
            passed += due
            due = int(left[1]) < most
    return passed, False
