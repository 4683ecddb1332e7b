# SPDX-License-Identifier: GPL-2.0-only
"""The vfio_iommu_type1 of the running kernel: which one is loaded, and how to exchange it.

In the lab, or on a host that has our modules. Nobody may use it during an exchange.
"""

import os
import subprocess
from pathlib import Path

from base import say, site

MODULES = Path("/sys/module")
SYSFS = MODULES / "vfio_iommu_type1"
# Bytes that tell modules apart; a build ID has 20.
BUILD_ID = 6
# Where a kernel's modules are, and below that where ours and its own are. dkms puts the latter into
# a directory of its own meanwhile.
LIB = Path("/lib/modules")
DIRECTORIES = {"ours": ("updates", "updates/dkms"), "stock": ("kernel/drivers/vfio",)}
MOVED = Path("/var/lib/dkms/mdma/original_module")


def run(*words):
    """Run a program; its error output becomes the text of the LabError. Ctrl-C at the terminal is
    for us: what is to be put back is put back by such programs."""
    done = subprocess.run(words, capture_output=True, text=True, check=False,
                          start_new_session=True)
    if done.returncode:
        raise say.LabError(f"{' '.join(map(str, words))}: "
                           f"{done.stderr.strip() or done.returncode}")


def _build_id(module):
    """The end of the module's note that the linker made of all that is in it."""
    note = MODULES / module / "notes/.note.gnu.build-id"
    return [note.read_bytes()[-BUILD_ID:].hex()] if note.exists() else []


def name(module=SYSFS.name):
    """Which one is loaded: version, srcversion, build ID. On 7.3, modules whose sources differ can
    have the same srcversion."""
    parts = [(MODULES / module / part).read_text().strip() for part in ("version", "srcversion")
             if (MODULES / module / part).exists()]
    return " ".join([module, *parts, *_build_id(module)])


def of_iommufd():
    """The same where there is no type1, which is an error if there is one."""
    if SYSFS.is_dir():
        raise say.LabError(f"{name()} is loaded, and iommufd was asked for")
    return f"{name('iommufd')}, no type1 loaded"


def unload():
    """Unload it, if there is one."""
    if SYSFS.is_dir():
        run("rmmod", SYSFS.name)


def installed(wanted):
    """The file of "ours" or "stock" for the running kernel."""
    release = os.uname().release
    places = [LIB / release / name for name in DIRECTORIES[wanted]]
    if wanted == "stock":
        places += (MOVED / release).glob("*")
    for place in places:
        for path in place.glob("vfio_iommu_type1.ko*"):
            return path
    raise say.LabError(f"{' and '.join(map(str, places))}: no vfio_iommu_type1 there")


def load(wanted="ours"):
    """Load "ours", the kernel's own ("stock"), or the file of a module, by base/site.py."""
    path = installed(wanted) if wanted in DIRECTORIES else site.built(wanted)
    # Loading vfio pulls in a type1, so it comes first.
    run("modprobe", "-a", "vfio", "mdev")
    unload()
    run("insmod", path)
    if ("O" in (SYSFS / "taint").read_text()) == (wanted == "stock"):
        raise say.LabError(f"{path}: not the {wanted} vfio_iommu_type1")
