# SPDX-License-Identifier: GPL-2.0-only
"""The switchover between two QEMUs: the guest is stopped on both sides, and may continue at the
destination once there is a copy of its RAM."""

import time

from judge import ram


def go_on(vm, pause_s=0):
    """Copy the RAM of a paused guest, and let the guest continue at once. Returns the copy, and
    how long the guest was held. Where its RAM is must be asked now, too: while the guest runs, its
    firmware may map parts of it anew.

    Nothing else belongs here: the source does not change any more, so questions to it can wait.

    @pause_s: hold the guest this much longer, to test what that does to it
    """
    begin = time.monotonic()
    with vm.open_ram() as files:
        copy = ram.Copy(files)
    time.sleep(pause_s)
    vm.qmp.command("cont")
    return copy, held(begin, copy.idle_s)


def held(begin, idle_s):
    """Facts for a report.

    @begin:  when the hold began, by time.monotonic()
    @idle_s: how long an idle machine takes for the copy
    """
    return {"held_s": round(time.monotonic() - begin, 2), "held_idle_s": round(idle_s, 2)}
