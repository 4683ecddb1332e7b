# SPDX-License-Identifier: GPL-2.0-only
"""The few packages that the host itself needs; everything else is in the image."""

import os
import shutil
import subprocess

from base import process, say
from make import paths

# What a step runs on the host -> the package that has it.
FOR_IMAGE = {
    "mmdebstrap": "mmdebstrap",
    "mke2fs": "e2fsprogs",
    "unshare": "util-linux",
    "mount": "mount",
    "xz": "xz-utils",
    "tar": "tar",
}
FOR_USERS = {"newuidmap": "uidmap"}
FOR_LINT = {"shellcheck": "shellcheck", "perl": "perl", "pylint": "pylint"}
FOR_PAGES = {"chromium-headless-shell": "chromium-headless-shell"}

# Seconds to wait for another run of apt-get, ours or anybody's.
PATIENCE = 600

INSTALL = ("install", "--no-install-recommends")
KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"


def missing(needed):
    """Packages of the table whose program is missing."""
    path = process.ENVIRONMENT["PATH"]
    return sorted({package for program, package in needed.items()
                   if not shutil.which(program, path=path)})


def _apt(words):
    """One apt-get command line that asks no questions."""
    sudo = [] if os.geteuid() == 0 else ["sudo", "-n"]
    if sudo and not shutil.which("sudo"):
        raise say.LabError("not root and no sudo: please install " + " ".join(words[1:]))
    return [*sudo, "env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "-q", "-y",
            "-o", f"DPkg::Lock::Timeout={PATIENCE}", *words]


def _known(names):
    """Whether apt's package lists know all of these; a fresh system may have no lists. (apt-cache
    would be content with one of several, and with a virtual package.)"""
    result = subprocess.run(["apt-get", "-s", "-q", "-y", *INSTALL, *names], check=False,
                            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return result.returncode == 0


def ensure(needed, keyring=False):
    """Install what is missing, and say so."""
    names = missing(needed)
    if keyring and not os.path.exists(KEYRING):
        names.append("debian-archive-keyring")
    if not names:
        return
    if not shutil.which("apt-get"):
        raise say.LabError("please install: " + " ".join(names))
    log = paths.LAB / "packages.log"
    # A dpkg that is killed leaves packages of the host half installed.
    with say.Step("host packages: installing " + " ".join(names)):
        if not _known(names):
            process.run(_apt(["update"]), log, "apt-get update")
        process.run(_apt([*INSTALL, *names]), log, "apt-get install " + " ".join(names),
                    append=True, whole=True)


def for_image():
    """Install what `scripts/lab image` runs on the host."""
    needed = dict(FOR_IMAGE)
    if os.geteuid():
        needed.update(FOR_USERS)
    ensure(needed, keyring=True)
