#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""A defect for each tool of the debug kernel: is its report noticed?

Each is made by loading mdma_reports. What the lab then says of this run, its
findings in the kernel's log and what kmemleak found, is judged outside: all of
them must be there, and the run must fail.

usage: reports.py --results DIR        (as root, on the debug kernel; --help)
"""

import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "scripts/lab.d"))

# pylint: disable=wrong-import-position
from base import settings
from play import arguments

KEYS = settings.keys(own={
    "module": settings.File("reports/mdma_reports.ko", "what makes the defects"),
})

# A report of any other tool turns lockdep off.
DEFECTS = ("order", "freed", "bounds", "shift", "atomic", "leak")


def main(argv):
    """Make them all; the exit code is 0, so that only what is noticed fails the run."""
    _, config = arguments.read(__doc__, KEYS, argv)
    for defect in DEFECTS:
        done = subprocess.run(["insmod", config["module"], f"defect={defect}"], check=False,
                              capture_output=True, text=True)
        if "canceled" not in done.stderr:
            print(f"{defect}: {done.stderr.strip() or done.returncode}", flush=True)
            return 3
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
