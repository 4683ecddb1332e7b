# SPDX-License-Identifier: GPL-2.0-only
"""Figures of a run: what was tried, and what was lost. A scenario prints them as lines of its
output, "figures: NAME=NUMBER ..."; a program of the selftests, as "# figures: ...", which a
scenario may print with a name before it. A check adds them up (check/reliability.py)."""

import re

MARK = "figures:"
_LINE = re.compile(rf"(?m)^(?:# |\w+: )?{MARK}((?: [a-z_]+=\d+)+)$")


def line(**numbers):
    """A line of figures."""
    return " ".join([MARK, *(f"{name}={number}" for name, number in numbers.items())])


def add(into, numbers):
    """Add numbers, by name, to others."""
    for name, number in numbers.items():
        into[name] = into.get(name, 0) + number


def read(text):
    """name -> sum, of all lines in an output."""
    found = {}
    for match in _LINE.finditer(text):
        add(found, {name: int(number) for name, number in
                    (word.split("=") for word in match[1].split())})
    return found
