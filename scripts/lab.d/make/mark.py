# SPDX-License-Identifier: GPL-2.0-only
"""Which directories the lab may empty or clean: those that it has made, or found empty. A file in
each of them says so."""

import os
import shlex

from base import files, say
from make import paths

# The names of the file: in what OUT= names, and in a directory of results.
OUT, RESULTS = ".mdma-out", ".mdma-results"
TEXT = {
    OUT: "Made by mdma's scripts/lab. `make clean` removes what the lab has put here.\n",
    RESULTS: "Made by mdma's scripts/lab. The next run with these results empties it.\n",
}
OPTIONS = {OUT: "OUT=", RESULTS: "--results"}


def _is_older(directory, name, names):
    """A directory of ours from before there were marks, in places that nobody else uses; or one in
    which a cache was unpacked (ci.rst), perhaps on a disk of its own."""
    if name == OUT:
        image = directory / paths.LAB.parent.name / paths.LAB.name
        return directory == (paths.REPO / "out").resolve() \
            or set(names) == {"lost+found"} \
            or image.is_dir() and set(names) <= {paths.LAB.parent.name, "lost+found"}
    return "job.json" in names and paths.OUT in directory.parents


def check(directory, name):
    """Refuse a directory with something in it that the lab has not made.

    @name: of the mark that it must have
    """
    if name == RESULTS and directory in (paths.OUT, *paths.OUT.parents):
        raise say.LabError(f"{files.short(directory)}: OUT= is in it, and a run empties it first: "
                           "choose another one with --results")
    names = os.listdir(directory) if directory.is_dir() else []
    if names and name not in names and not _is_older(directory, name, names):
        raise say.LabError(f"{files.short(directory)}: not empty, and not made by the lab: choose "
                           f"another one with {OPTIONS[name]}, or if an older lab has made it, "
                           f"`touch {shlex.quote(str(directory / name))}`")


def put(directory, name):
    """Mark a directory, if it is not marked yet."""
    check(directory, name)
    try:
        with open(directory / name, "x", encoding="utf-8") as stream:
            stream.write(TEXT[name])
    except FileExistsError:
        pass
