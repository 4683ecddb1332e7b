# SPDX-License-Identifier: GPL-2.0-only
"""Which kernel, QEMU and libvirt the lab has, and who maps a guest's memory for its device:
KERNEL=, QEMU=, LIBVIRT= and CONTAINER= in the environment.

The default is what the suite itself has. Another version comes from the suite's backports, into an
image of its own; images, builds and payloads of different versions lie side by side. KERNEL= may
also be the path of a kernel's source tree (own_kernel.py), and QEMU= that of a build of QEMU
(own_qemu.py): the image is that of the other words then.
"""

import hashlib
import os
import re
from dataclasses import dataclass
from pathlib import Path

from base import say

SUITE = "trixie"


@dataclass(frozen=True)
class Version:
    """A version of one of the lab's parts.

    @word:      how the user names it
    @packages:  what the image gets
    @source:    the package of its source
    @backports: patterns of packages that apt takes from the suite's backports
    @headers:   files of the kernel's source that modules need to be built, and that the package
                of its headers lacks
    """
    word: str
    packages: tuple
    backports: tuple = ()
    headers: tuple = ()
    source: str = ""


def _kernel(word, *more):
    return Version(word, ("linux-image-amd64", "linux-headers-amd64"), *more,
                   source=f"linux-source-{word}")


# The first of each is the default.
KERNELS = (_kernel("6.12"), _kernel("7.3", ("linux-*",), ("scripts/checker-valid.sh",)))
QEMUS = (Version("10.0", ("qemu-system-x86",)),
         Version("11.1", ("qemu-system-x86",), ("qemu-*", "seabios")))
LIBVIRT = ("libvirt-daemon-system", "libvirt-clients")
LIBVIRTS = (Version("11.3", LIBVIRT), Version("12.9", LIBVIRT, ("libvirt*",)))


# Variable -> what it may choose.
CHOICES = {"KERNEL": KERNELS, "QEMU": QEMUS, "LIBVIRT": LIBVIRTS}

# The debug kernels, by the word of DEBUG= that asks for one (debug_kernel.py).
DEBUG = ("1", "kcsan")

# Who keeps the mappings of a guest's memory. The first is the default.
TYPE1, IOMMUFD = CONTAINERS = ("type1", "iommufd")
# KERNEL, QEMU -> why they can't be used together with iommufd.
NO_IOMMUFD = {("6.12", "11.1"): "QEMU 11.1 maps a guest's memory by IOMMU_IOAS_MAP_FILE, which "
                                "Linux 6.12 lacks; take QEMU=10.0, or KERNEL=7.3 as well"}
# Commands that do the same for each container, and for a kernel of the user's own.
FOR_ALL = ("image", "build", "run", "shell", "check", "matrix", "clean")
# The same for a QEMU of the user's own.
FOR_QEMU = ("image", "build", "run", "shell", "clean")
# Commands that are about guests.
WITH_GUEST = ("matrix", "soak")
# Variables that may be a path, and of what.
PATHS = {"KERNEL": "a kernel's source tree", "QEMU": "a build of QEMU"}


def check(command=None):
    """Refuse a version that there is not, and what can't work together.

    @command: of scripts/lab
    """
    words = {variable: [version.word for version in versions]
             for variable, versions in CHOICES.items()}
    for variable, known in {**words, "CONTAINER": CONTAINERS}.items():
        word = os.environ.get(variable)
        if word and word not in known and not (variable in PATHS and "/" in word):
            more = f", and the path of {PATHS[variable]}, with a /" if variable in PATHS else ""
            raise say.UsageError(f"{variable}={word}: there are {', '.join(known)}{more}")
    if debug() and command in WITH_GUEST:
        raise say.UsageError(f"{command}: the debug kernel has no KVM, so no guest; leave out "
                             f"DEBUG={debug()}")
    if tree() and command not in (None, *FOR_ALL):
        raise say.UsageError(f"KERNEL={tree()}: {command} is for {' and '.join(words['KERNEL'])}")
    if qemu_build() and command not in (None, *FOR_QEMU):
        raise say.UsageError(f"QEMU={qemu_build()}: {command} is for "
                             f"{' and '.join(words['QEMU'])}")
    if container() == TYPE1:
        return
    if no_iommufd():
        raise say.UsageError(f"CONTAINER={container()}: {no_iommufd()}")
    if command not in (None, *FOR_ALL):
        raise say.UsageError(f"CONTAINER={container()}: {command} is about type1 alone")
    if debug():
        raise say.UsageError(f"CONTAINER={container()}: the debug kernel has no KVM, so no guest; "
                             f"leave out DEBUG={debug()}")


def debug():
    """The debug kernel that DEBUG asks for, one of DEBUG; None for the usual kernel. Refuses any
    other word."""
    word = os.environ.get("DEBUG", "")
    if word in ("", "0"):
        return None
    if word not in DEBUG:
        raise say.UsageError(f"DEBUG={word}: there are {' and '.join(DEBUG)}; without a debug "
                             "kernel, it is 0 or empty")
    return word


def container():
    """What CONTAINER chooses."""
    return os.environ.get("CONTAINER") or TYPE1


def no_iommufd():
    """Why the chosen QEMU can't use the chosen kernel's iommufd; None if it can."""
    if tree():
        return None
    return NO_IOMMUFD.get(tuple(chosen()[variable].word for variable in ("KERNEL", "QEMU")))


def _path(variable):
    word = os.environ.get(variable, "")
    return Path(word).resolve() if "/" in word else None


def tree():
    """The kernel's source tree that KERNEL names; None if it names a version."""
    return _path("KERNEL")


def qemu_build():
    """The build of QEMU that QEMU names; None if it names a version."""
    return _path("QEMU")


def chosen():
    """Variable -> the version chosen; the default for a word that check() refuses."""
    return {variable: next((version for version in versions
                            if version.word == os.environ.get(variable)), versions[0])
            for variable, versions in CHOICES.items()}


def image(these=None):
    """Name of the image of @these versions, by default those that are chosen: the suite alone for
    the versions that it has."""
    return "-".join([SUITE, *(f"{variable.lower()}{version.word}"
                              for variable, version in (these or chosen()).items()
                              if version.backports)])


def variant():
    """Name of the directories of what is made with the image, for its kernel or for a tree."""
    own = tree()
    if not own:
        return image()
    name = re.sub(r"[^\w.-]", "_", own.name, flags=re.ASCII)[:30]
    return f"{image()}-tree-{name}-{hashlib.sha256(os.fsencode(own)).hexdigest()[:8]}"


def defaults():
    """Variable -> its default."""
    return {variable: versions[0] for variable, versions in CHOICES.items()}


def packages(these):
    """Packages of @these versions, as by chosen()."""
    return tuple(name for version in these.values() for name in version.packages)


def preferences(these):
    """What the image's apt takes from the backports for @these versions, as text of
    apt_preferences; empty for the versions of the suite."""
    patterns = [pattern for version in these.values() for pattern in version.backports]
    if not patterns:
        return ""
    return (f"Package: {' '.join(patterns)}\nPin: release n={SUITE}-backports\n"
            "Pin-Priority: 900\n")
