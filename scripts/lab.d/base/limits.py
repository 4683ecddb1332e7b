# SPDX-License-Identifier: GPL-2.0-only
"""How much longer everything may take on the debug kernel: limits of tests, and of a run."""

from pathlib import Path

DEBUG_SCALE = 5


def time_scale():
    """What time limits are multiplied by, on the kernel that runs this."""
    words = Path("/proc/cmdline").read_text().split()
    return DEBUG_SCALE if "lab.debug" in words else 1
