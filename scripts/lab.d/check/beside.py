# SPDX-License-Identifier: GPL-2.0-only
"""Runs the parts of a check two at a time, each in a process of its own.

A lab has two CPUs, but many tests use one of them, or wait. So a machine that has the memory for
two labs runs two parts at a time. What a part prints goes to out/check/PART.log.
"""

import dataclasses
import functools
import json
from pathlib import Path

from base import files, ktap, process, say, side_by_side
from base.side_by_side import Job
from boot import vm
from check import blame, inside
from make import paths

# GiB for two labs, or a lab and two hosts of libvirt, and what is built meanwhile.
MEMORY = 14
# While the first one makes the image, others run that need none of it. Then begin with what takes
# long: a long part that begins last would run alone. What is short comes last.
FIRST = ("selftests", "python", "lint", "newest", "places", "build", "unit", "driver", "libvirt",
         "failures", "presets", "experiment", "tracking", "iommufd", "migrate", "model", "deadly",
         "neighbours", "kills", "fuzz")
# Parts that judge what others have left -> these others.
AFTER = {"rules": ("unit", "selftests", "deadly"), "pages": ("migrate", "experiment")}


def possible(names):
    """Whether to run these parts side by side."""
    return len(names) > 1 and vm.available() >= MEMORY and not say.VERBOSE


def save(path, results):
    """Leave the results of a part for run()."""
    path.write_text(json.dumps([dataclasses.asdict(one) for one in results], default=str))


def load(path):
    """The results that save() has left."""
    return [ktap.Result(**{**one, "evidence": one["evidence"] and Path(one["evidence"])})
            for one in json.loads(path.read_text())]


def _last_line(log):
    """The last line that a part has printed: how far it is."""
    def words():
        try:
            with open(log, "rb") as stream:
                stream.seek(max(0, log.stat().st_size - 200))
                lines = stream.read().decode(errors="replace").split("\n")
        except FileNotFoundError:
            return ""
        return next((line.strip() for line in reversed(lines) if line.strip()), "")
    return words


def _run_part(name, found, took):
    """Run a part in a process of its own, and put its results into @found."""
    log, left = paths.CHECK / f"{name}.log", paths.CHECK / f"{name}.json"
    left.unlink(missing_ok=True)
    reason = f"{files.short(log)} does not say how it ended"
    with say.Step(f"check: {name}", _last_line(log)) as step:
        try:
            process.run(inside.command("check", "--results", left, name), log, f"part {name}",
                        **inside.more())
        except say.LabError as error:
            process.check_ending()
            # A part of which a test failed ends like this as well.
            reason = str(error)
    took[name] = step.elapsed()
    try:
        found[name] = load(left)
    except (OSError, ValueError):
        found[name] = [ktap.Result(name, ktap.FAILED, reason, blame.LAB, log)]
    say.info("check: {}: {} passed, {} failed, {} skipped".format(name, *ktap.counts(found[name])))


def _jobs(names, found, took):
    """name -> Job, in the order in which they should begin."""
    ordered = sorted(names, key=lambda name: FIRST.index(name) if name in FIRST else len(FIRST))
    return {name: Job(functools.partial(_run_part, name, found, took), AFTER.get(name, ()))
            for name in ordered}


def run(names, took):
    """Run these parts. Returns part -> its results, in the order of @names; @took gets the seconds
    of each."""
    paths.CHECK.mkdir(parents=True, exist_ok=True)
    found = {}
    side_by_side.run(_jobs(names, found, took), workers=2)
    return {name: found[name] for name in names}
