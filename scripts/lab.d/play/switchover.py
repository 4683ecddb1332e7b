# SPDX-License-Identifier: GPL-2.0-only
"""Between two QEMUs: the guest stands still on both sides, and may go on at the destination
as soon as there is a copy of its RAM there.
"""

import time

from judge import ram


def go_on(vm, pause_s=0):
    """Copy the RAM of a guest that is paused, and let it go on at once. Returns the copy, and
    how long the guest was held. Nothing else belongs here: what has to be asked of the
    source can be asked afterwards, it stays as it is.

    @pause_s: hold it for so long besides, to test what that does to the guest
    """
    begin = time.monotonic()
    copy = ram.copy_of(vm.ram)
    time.sleep(pause_s)
    vm.qmp.command("cont")
    return copy, held(begin, copy.idle_s)


def held(begin, idle_s):
    """Facts for a report.

    @begin:  since when the guest is held, by time.monotonic()
    @idle_s: how long an idle machine takes for the copy
    """
    return {"held_s": round(time.monotonic() - begin, 2), "held_idle_s": round(idle_s, 2)}
