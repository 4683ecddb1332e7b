#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""Take a picture of a page, as a reader sees it first: Documentation/report.png is one.

usage: tests/pages/picture.py PAGE PNG [HEIGHT]
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "scripts/lab.d"))

# pylint: disable=wrong-import-position
from browser import Browser

# HEIGHT ends below the map of guest memory.
WIDTH, HEIGHT = 1100, 992


def main(argv):
    """Take the picture; the exit code is 2 for wrong usage."""
    if len(argv) not in (2, 3):
        print(__doc__, file=sys.stderr)
        return 2
    page, picture = argv[:2]
    with Browser() as browser:
        browser.open(page, width=WIDTH, height=int(argv[2]) if argv[2:] else HEIGHT)
        browser.screenshot(picture, whole=False)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
