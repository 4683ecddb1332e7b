# SPDX-License-Identifier: GPL-2.0-only
"""A lab inside of a lab: scripts/lab as a process of its own. One that a signal stops leaves the
sentence on it to the outer one, which the user has started."""

import subprocess
import sys

from base import process
from make import paths

# Says so to the inner one (base/process.py removes it for what that starts).
VARIABLE = "LAB_INSIDE"


def command(*words):
    """Its command line."""
    return [sys.executable, "-B", paths.REPO / "scripts/lab", *words]


def more(**variables):
    """What process.start() gets besides. @variables: of its environment"""
    return {"env": {**process.ENVIRONMENT, VARIABLE: "1", **variables}, "grace": process.CLEANUP}


def run(*words, **variables):
    """Run it; returns its exit code."""
    child = process.start(command(*words), stdin=subprocess.DEVNULL, **more(**variables))
    try:
        return child.wait()
    finally:
        process.stop(child)
