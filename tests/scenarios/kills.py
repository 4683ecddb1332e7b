#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""Ends of processes that use a device, at random moments, and what they leave: nothing.

Under each workload, in each state of a migration, by a signal, an exec or want of memory, while
others try to unload the modules and remove the device (tests/selftests/kills.c). Then the modules
are unloaded, which shows what is left in their caches.

usage: kills.py --results DIR [key=value ...]          (as root; --help: keys)
"""

import json
import re
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "scripts/lab.d"))
sys.path.insert(0, str(Path(__file__).resolve().parent))

# pylint: disable=wrong-import-position
from base import ktap, settings, site, workloads
import selftests
from play import arguments, backend, entry, mdev

# What a run needs to have built, and for which settings (boot/scenario.py).
BUILDS = {"selftests": ""}

KEYS = settings.keys(own={
    "kills": settings.Number(300, "how many processes end; memory is compared after eight", 9, 100000),
    "seed": settings.Text("", "of what is drawn, to repeat a failure"),
    "backend": settings.Text("ours", "which type1: ours, or the file of a module"),
    "device": settings.File("", "an mdma.ko to run this on; default: the installed one"),
    "program": settings.File("selftests/kills", "what makes the ends"),
})

TEST = "R7_nothing_is_left_of_killed_users"
# The lab's limit is generous, since there can be any number of them; the program's own depends on
# it: this allows for 30 s each, where one takes less than one.
TIMEOUT = 7200
KILLS_OF_A_SCALE = 4

LAST = re.compile(r"# ends: (\d+) by signal, (\d+) by exec, (\d+) by exec and signal, "
                  r"(\d+) by want of memory, unload refused (\d+) times, "
                  r"unloaded (\d+) times, removed (\d+) times")
NAMES = ("signal", "exec", "exec_and_signal", "memory", "refused", "unloaded", "removed")


def environment_of(config):
    """What the program is told."""
    scale = site.time_scale() * (1 + config["kills"] // KILLS_OF_A_SCALE)
    found = {"KILLS": str(config["kills"]), "TIMEOUT_SCALE": str(scale),
             "WORKLOADS": str(workloads.DIRECTORY)}
    if config["seed"]:
        found["SEED"] = config["seed"]
    if config["device"]:
        found["MDMA"] = config["device"]
    return found


def facts(text):
    """What the program has counted, by name; None if it did not come to its end."""
    match = next((match for line in text.splitlines() if (match := LAST.match(line))), None)
    return dict(zip(NAMES, map(int, match.groups()))) if match else None


def ends(found):
    """How many processes have ended."""
    return sum(found[name] for name in NAMES[:4])


def main(argv):
    """Run it; the exit code is 0 only if nothing was left."""
    directory, config = arguments.read(__doc__, KEYS, argv)
    backend.load(config["backend"])
    mdev.load(config["device"])
    log, begin = selftests.KernelLog(), time.monotonic()
    text, stuck = selftests.run_program(Path(config["program"]), [TEST], environment_of(config),
                                        TIMEOUT)
    text = selftests.mark(text, log.findings())
    print("".join(f"{line}\n" for line in text.splitlines() if line.startswith("# ")), end="")
    (directory / "kills.ktap").write_text(text)
    # What is stuck may have locks for which an unload would wait.
    unloaded = ktap.bail_out("not tried, something is stuck") if stuck \
        else selftests.unload(log, *selftests.BOTH)
    (directory / "unload.ktap").write_text(unloaded)
    found = facts(text)
    (directory / "kills.json").write_text(json.dumps(found, indent=1) + "\n")
    results = ktap.parse(text, "kills") + ktap.parse(unloaded, "unload")
    passed, failed, skipped = ktap.counts(results)
    print(f"kills: {ends(found) if found else 0} ends: {passed} passed, {failed} failed "
          f"({time.monotonic() - begin:.0f} s)", flush=True)
    good = found and ends(found) == config["kills"] and not failed and not skipped
    return 0 if good else 1


if __name__ == "__main__":
    entry.run(main)
