# SPDX-License-Identifier: GPL-2.0-only
"""The events of a trace that the oracles judge, one by one in their global order.

A trace is never in memory as a whole: a watcher collects what it needs event by event (watch()).
"""

from collections import namedtuple

from judge.ring_buffer import BadTrace, Recording

# @pos: the place in the global order.
Write = namedtuple("Write", "pos device channel iova npages seq")
# @on: pinned, or unpinned.
Pin = namedtuple("Pin", "pos device on iova npages")
Run = namedtuple("Run", "pos report iova npages")
Report = namedtuple("Report", "pos report op iova size dirty retained ret")
Tracking = namedtuple("Tracking", "pos on container")
# Prefix of the tracker's name if the device tracks, and not a container.
DEVICE = "device "
State = namedtuple("State", "pos device to")


class BrokenOracle(Exception):
    """The evidence contradicts itself or is missing: no verdict can rest on it."""


def _pin(pos, device, iova, npages, ret):
    # A pin call that gets fewer pages than requested gives them back at once.
    return Pin(pos, device, True, iova, npages) if ret == npages else None


def _report(pos, report, unmap, *rest):
    return Report(pos, report, "unmap" if unmap else "get", *rest)


def _log_report(pos, report, iova, size, dirty, ret):
    return Report(pos, report, "get", iova, size, dirty, 0, ret)


# Name of a tracepoint: function that makes our event from it, and the fields that it needs.
MAKERS = {
    "mdma_write": (Write, ("device", "channel", "iova", "npages", "seq")),
    "mdma_pin": (_pin, ("device", "iova", "npages", "ret")),
    "mdma_unpin": (lambda pos, device, *run: Pin(pos, device, False, *run),
                   ("device", "iova", "npages")),
    "mdma_state": (State, ("device", "to")),
    "vfio_dirty_run": (Run, ("report", "iova", "npages")),
    "vfio_dirty_report": (_report, ("report", "unmap", "iova", "size", "dirty", "retained",
                                    "ret")),
    "vfio_dirty_start": (lambda pos, container: Tracking(pos, True, f"{container:x}"),
                         ("container",)),
    "vfio_dirty_stop": (lambda pos, container: Tracking(pos, False, f"{container:x}"),
                        ("container",)),
    # The same events of a device that tracks by itself.
    "mdma_log_run": (Run, ("report", "iova", "npages")),
    "mdma_log_report": (_log_report, ("report", "iova", "size", "dirty", "ret")),
    "mdma_log_start": (lambda pos, device: Tracking(pos, True, f"{DEVICE}{device:08x}"),
                       ("device",)),
    "mdma_log_stop": (lambda pos, device: Tracking(pos, False, f"{DEVICE}{device:08x}"),
                      ("device",)),
}


class Trace:
    """The events of a directory that trace.py left; each iteration reads the files again.

    @makers: as MAKERS
    """

    def __init__(self, directory, makers=None):
        self.directory, self.makers = directory, makers or MAKERS

    def __iter__(self):
        wanted = {name: fields for name, (_, fields) in self.makers.items()}
        try:
            for pos, name, values in Recording(self.directory, wanted):
                event = self.makers[name][0](pos, *values)
                if event:
                    yield event
        except BadTrace as err:
            raise BrokenOracle(f"trace: {err}") from err
        except (OSError, ValueError) as err:
            raise BrokenOracle(f"evidence: {err}") from err


def of(trace, devices):
    """The events of a trace, without those of devices other than these."""
    return (event for event in trace if getattr(event, "device", None) in (None, *devices))


def watch(trace, *watchers):
    """Pass each event of a trace to add() of all watchers."""
    for event in trace:
        for watcher in watchers:
            watcher.add(event)
