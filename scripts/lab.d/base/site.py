# SPDX-License-Identifier: GPL-2.0-only
"""The site where a scenario plays: the only module that knows where things are there, and what
kind of host it is.

In the lab that is the payload, /mdma: a part of the tree, and beside it what was built for the
scenarios. On another host it is a clone, and MDMA_BUILT= says where the rest is.
"""

import os
from pathlib import Path

TREE = Path(__file__).resolve().parents[3]
BUILT = Path(os.environ.get("MDMA_BUILT") or "/mdma")

# How much longer everything may take on the debug kernel: limits of tests, and of a run.
DEBUG_SCALE = 5


def built(path):
    """Where something is that was built; an absolute path stays as it is."""
    return str(BUILT / path)


def time_scale():
    """What time limits are multiplied by, on the kernel that runs this."""
    words = Path("/proc/cmdline").read_text().split()
    return DEBUG_SCALE if "lab.debug" in words else 1
