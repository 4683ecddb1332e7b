# SPDX-License-Identifier: GPL-2.0-only
"""The vfio_iommu_type1 of the kernel that we run on: which one it is, and its exchange.

In the lab, or on a host that has our modules. Nobody may use it meanwhile.
"""

import os
import subprocess
from pathlib import Path

from base import say

SYSFS = Path("/sys/module/vfio_iommu_type1")
DIRECTORIES = {"ours": "updates", "stock": "kernel/drivers/vfio"}


def run(*words):
    """Run a program; what it says belongs to the error."""
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode:
        raise say.LabError(f"{' '.join(map(str, words))}: "
                           f"{done.stderr.strip() or done.returncode}")


def name():
    """Which one is loaded: version and srcversion tell."""
    parts = [(SYSFS / part).read_text().strip() for part in ("version", "srcversion")
             if (SYSFS / part).exists()]
    return " ".join(["vfio_iommu_type1", *parts])


def load(wanted="ours"):
    """Load "ours", the kernel's own ("stock"), or the file of a module."""
    path = wanted
    if wanted in DIRECTORIES:
        modules = Path("/lib/modules", os.uname().release, DIRECTORIES[wanted])
        path = next(modules.glob("vfio_iommu_type1.ko*"), None)
        if not path:
            raise say.LabError(f"{modules}: no vfio_iommu_type1 there")
    # vfio pulls in a type1, so it comes before the one that is wanted.
    run("modprobe", "-a", "vfio", "mdev")
    if SYSFS.is_dir():
        run("rmmod", SYSFS.name)
    run("insmod", path)
    if ("O" in (SYSFS / "taint").read_text()) == (wanted == "stock"):
        raise say.LabError(f"{path}: not the {wanted} vfio_iommu_type1")
