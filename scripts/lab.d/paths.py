# SPDX-License-Identifier: GPL-2.0-only
"""Where everything lies. All that is generated is below OUT, nothing else is written."""

import os
from contextlib import contextmanager
from pathlib import Path

REPO = Path(__file__).resolve().parents[2]
SUITE = "trixie"

OUT = Path(os.environ.get("OUT") or REPO / "out").resolve()
LAB = OUT / "lab" / SUITE
ROOT = LAB / "root"
ROOT_IMAGE = LAB / "root.img"
KERNEL_SOURCE = LAB / "src"
DEBUG = LAB / "debug"
LAB_INITRAMFS = LAB / "initramfs.cpio.gz"
BUILD = OUT / "build" / SUITE
PAYLOAD = OUT / "payload"
RUN = OUT / "run"
CHECK = OUT / "check"
SHELL = OUT / "shell"

SCENARIOS = REPO / "tests" / "scenarios"
SELFTESTS = REPO / "tests" / "selftests"
MUTANTS = REPO / "tests" / "mutants"
PAGES = REPO / "tests" / "pages"
PLACES = REPO / "tests" / "places"
WORKLOADS = REPO / "samples" / "vfio-mdev" / "mdma" / "workloads"
LIBVIRT = REPO / "samples" / "vfio-mdev" / "mdma" / "libvirt"
LAB_D = REPO / "scripts" / "lab.d"


@contextmanager
def whole(path):
    """A new file beside @path, to be written; it takes the place of @path once that is done,
    and is gone otherwise."""
    temporary = path.with_name(f".{path.name}.new")
    try:
        yield temporary
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def short(path):
    """The path as a reader of a message wants it: relative if that is shorter."""
    path = str(path)
    try:
        relative = os.path.relpath(path)
    except FileNotFoundError:
        # The directory that we are in was removed.
        return path
    return relative if len(relative) < len(path) else path
