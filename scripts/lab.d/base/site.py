# SPDX-License-Identifier: GPL-2.0-only
"""The site where a scenario runs: the only module that knows where things are there, and what kind
of host it is.

In the lab, everything is in the payload at /mdma: a part of the tree, and what was built for the
scenarios. On another host the tree is a clone, and MDMA_BUILT= is the directory of what was built.
"""

import os
from pathlib import Path

TREE = Path(__file__).resolve().parents[3]
VARIABLE = "MDMA_BUILT"
OWN_HOST = bool(os.environ.get(VARIABLE))
BUILT = Path(os.environ.get(VARIABLE) or "/mdma")

# Factor for time limits of tests and runs on a debug kernel.
DEBUG_SCALE = 5


def built(path):
    """The path of something that was built; an absolute path stays as it is."""
    return str(BUILT / path)


def time_scale():
    """Factor for time limits on the kernel that runs this."""
    words = Path("/proc/cmdline").read_text().split()
    return DEBUG_SCALE if any(word.startswith("lab.debug=") for word in words) else 1
