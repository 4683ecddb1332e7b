#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""A defect for each tool of the debug kernel: is its report noticed?

Loading mdma_reports makes each of them. The lab then judges this run outside, by its findings in
the kernel's log and what kmemleak found: all of them must be there, and the run must fail.

usage: reports.py --results DIR          (as root, on the debug kernel; --help)
"""

import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "scripts/lab.d"))

# pylint: disable=wrong-import-position
from base import settings
from play import arguments, entry

# What a run needs to have built, and for which settings (boot/scenario.py).
BUILDS = {"reports": ""}

KEYS = settings.keys(own={
    "module": settings.File("reports/mdma_reports.ko", "what makes the defects"),
})

# A report of any other tool turns lockdep off, so its defect is the first one.
DEFECTS = ("order", "freed", "bounds", "shift", "atomic", "leak")


def main(argv):
    """Make all defects; the exit code is 0, so that only findings fail the run."""
    _, config = arguments.read(__doc__, KEYS, argv)
    for defect in DEFECTS:
        done = subprocess.run(["insmod", config["module"], f"defect={defect}"], check=False,
                              capture_output=True, text=True)
        if "canceled" not in done.stderr:
            print(f"{defect}: {done.stderr.strip() or done.returncode}", flush=True)
            return 3
    return 0


if __name__ == "__main__":
    entry.run(main)
