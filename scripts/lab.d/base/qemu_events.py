# SPDX-License-Identifier: GPL-2.0-only
"""Names of QEMU's trace events that differ between its versions. Pure.

QEMU warns of an event that it does not have, and continues.
"""

import re

# What a GET told QEMU: of 10.0, of 11.1.
GETS = ("vfio_get_dirty_bitmap", "vfio_container_query_dirty_bitmap")

WARNING = re.compile(r"^.*warning: trace event '.*' does not exist\n", re.MULTILINE)


def without_warnings(text):
    """What QEMU said, without the names that it does not know."""
    return WARNING.sub("", text)
