# SPDX-License-Identifier: GPL-2.0-only
"""The points of the experiment on downtime: their list, and the parameters of each.

Parameters are in two units, so that they mean the same on a slow link and a fast one: the
*capacity*, pages per second that the link carries, and the *budget*, pages that it carries within
the downtime limit. QEMU stops the guest when it believes that no more than the budget is left to
send.
"""

import fnmatch
from collections import namedtuple

PAGE_SIZE = 4096

# At each point, the guest's CPU repeatedly dirties this part of the budget, at this part of the
# capacity. QEMU knows of these pages in any case: they are the "dirty pages produced by other
# pages" of the mail thread.
VCPU_PAGES = 0.8
VCPU_RATE = 0.25

# Pages per descriptor.
BATCH = 16

PRECOPY, STOP = "pre", "stop"

Point = namedtuple("Point", "name group reported workload rate pages cycles direction "
                            "tracking limited")
Point.__doc__ = """One point of the experiment.

@reported:  PRE: what the device dirtied is reported in pre-copy; STOP: when it stopped
@workload:  a name for the four that follow
@rate:      the device writes so much of the capacity
@pages:     to so many pages, as a part of the budget, round and round
@cycles:    how long each stays pinned: 0 is no longer than the access, 1 is until it
            is written again
@direction: write or read
@tracking:  who says what is dirty: the container or the device
@limited:   False: only max-bandwidth limits QEMU
"""

# name: pages, cycles
WORKLOADS = {"retained": (2.5, 0), "both": (2.5, 0.1), "held": (1.5, 2)}
# Load by CPU and device together, in units of the capacity.
LOADS = (0.5, 1.0, 2.0)


def point(group, reported, workload, rate, **more):
    """A point of @workload, with @more changed; its name says what it is."""
    kind = dict(zip(("pages", "cycles"), WORKLOADS.get(workload, (1, 0))))
    kind.update(direction="write", tracking="container", limited=True)
    kind.update(more)
    name = kind.pop("name", f"{reported}-{workload}-{rate + VCPU_RATE:g}")
    return Point(name=name, group=group, reported=reported, workload=workload, rate=rate,
                 **kind)


def all_points():
    """All points, in the order of measuring."""
    low = LOADS[0] - VCPU_RATE
    points = [point("thread", how, "thread", 0.5, name=f"{how}-thread")
              for how in (PRECOPY, STOP)]
    points += [point("matrix", how, workload, load - VCPU_RATE)
               for workload in WORKLOADS for load in LOADS for how in (PRECOPY, STOP)]
    held = dict(zip(("pages", "cycles"), WORKLOADS["held"]))
    points += [
        point("remedy", PRECOPY, "short hold", low, name="short-hold", pages=held["pages"],
              cycles=0.01),
        point("remedy", PRECOPY, "fewer held", low, name="fewer-held", pages=0.5, cycles=2),
        point("remedy", PRECOPY, "read only", low, name="read-only", direction="read", **held),
        point("remedy", PRECOPY, "by the device", low, name="device-tracking",
              tracking="device", **held),
        point("link", PRECOPY, "retained", low, name="no-link", limited=False),
    ]
    return points


def choose(words):
    """Points whose name or group matches one of the patterns, separated by commas; ValueError if a
    pattern matches none."""
    points, chosen = all_points(), set()
    for word in words.split(","):
        found = {one.name for one in points
                 if word == "all" or one.group == word or fnmatch.fnmatch(one.name, word)}
        if not found:
            raise ValueError(f"no point '{word}'; there are: "
                             + " ".join(one.name for one in points))
        chosen |= found
    return [one for one in points if one.name in chosen]


def capacity(bandwidth):
    """Pages per second of a link of @bandwidth MiB/s."""
    return (bandwidth << 20) // PAGE_SIZE


def budget(bandwidth, downtime_limit_ms):
    """Pages that the link carries within the downtime limit."""
    return capacity(bandwidth) * downtime_limit_ms // 1000


def settings(one, bandwidth, downtime_limit_ms):
    """The workload's attributes at a point, in the order of writing."""
    pages = round(one.pages * budget(bandwidth, downtime_limit_ms) / BATCH) * BATCH
    rate = max(1, round(one.rate * capacity(bandwidth) / BATCH))
    return {"pattern": "sequential", "direction": one.direction, "batch": BATCH,
            "pages": pages, "rate": rate,
            "hold_ms": round(1000 * one.cycles * pages / (rate * BATCH))}
