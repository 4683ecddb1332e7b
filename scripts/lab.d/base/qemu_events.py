# SPDX-License-Identifier: GPL-2.0-only
"""QEMU's trace, which looks different in its versions. Pure.

QEMU warns of an event that it does not have, and continues.
"""

import re
from datetime import datetime

# What a GET told QEMU: of 10.0, of 11.1.
GETS = ("vfio_get_dirty_bitmap", "vfio_container_query_dirty_bitmap")

# A line begins with the process and the time in seconds, or, in 11.1, with date and time.
EVENT = re.compile(r"(?:\d+@(\d+\.\d+):|(\d{4}-\d\d-\d\dT[\d:.]+)Z )(\w+) ?(.*)")
WARNING = re.compile(r"^.*warning: trace event '.*' does not exist\n", re.MULTILINE)


def _time(match):
    return float(match[1]) if match[1] else datetime.fromisoformat(f"{match[2]}+00:00").timestamp()


def read(text):
    """The events of a trace: [(time, event, rest)]."""
    return [(_time(match), match[3], match[4])
            for match in map(EVENT.match, text.splitlines()) if match]


def without_warnings(text):
    """What QEMU said, without the names that it does not know."""
    return WARNING.sub("", text)
