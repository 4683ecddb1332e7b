# SPDX-License-Identifier: GPL-2.0-only
"""mdma as a driver among others, without its ledger and its settings: the same path as for a driver
of the user's own. Scenario migrate has the proof for mdma itself.
"""

import uuid

from play import mdev

# The lab has loaded it.
MODULES = ()

# Tracepoint of a write, and its fields that have the first address and the number of pages.
WRITES = ("mdma/mdma_write", "iova", "npages")

# The guest has a driver for it, and a load.
APPEND = "mdma.drivers=1"

# A type1 that forgets unpinned pages.
CONTROL = "backend"
CAUGHT_BY = ("set", "ram")

WORKLOAD = {"pattern": "random", "direction": "write", "batch": 24, "hold_ms": 5, "rate": 450}


def make_device():
    """A new device."""
    name = str(uuid.uuid4())
    (mdev.PARENT / "mdev_supported_types/mdma-1/create").write_text(name)
    return mdev.DEVICES / name


def remove_device(device):
    """The end of a device."""
    (device / "remove").write_text("1")


def start(device):
    """The guest has booted: let the device write."""
    _of(device).set(**WORKLOAD, run=1)


def written(device):
    """Page writes so far."""
    return _of(device).stat("pages_written")


def _of(device):
    return mdev.of(device.name)
