# SPDX-License-Identifier: GPL-2.0-only
"""A part of the check that tries the newest kernel and QEMU: a check of the short kind, in a process
of its own, as the versions are chosen once for a process."""

from base import files, ktap, say
from check import beside, blame, inside
from make import image, paths, versions

# The kernel and the QEMU that came last.
VERSIONS = {"KERNEL": versions.KERNELS[-1].word, "QEMU": versions.QEMUS[-1].word}
NAME = " ".join(f"{variable}={word}" for variable, word in VERSIONS.items())


def check():
    """The short check, its results as our own."""
    paths.CHECK.mkdir(parents=True, exist_ok=True)
    left = paths.CHECK / "newest.json"
    left.unlink(missing_ok=True)
    say.info(f"check: newest: {NAME}")
    # Its image begins as a copy of ours.
    image.make_root()
    code = inside.run("check", "--short", "--results", left, **VERSIONS, REPEAT="")
    try:
        results = beside.load(left)
    except (OSError, ValueError):
        return [ktap.Result("newest", ktap.FAILED, f"{NAME}: ended with {code}, and left no "
                            f"{files.short(left)}", blame.LAB)]
    for result in results:
        result.name = f"{NAME}: {result.name}"
    return results
