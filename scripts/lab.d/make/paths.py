# SPDX-License-Identifier: GPL-2.0-only
"""Where everything is. Everything generated is below OUT; nothing else is written.

VARIANT is the name of the image, by its versions: what is made with different images never mixes.
"""

import os
from pathlib import Path

from make import versions

REPO = Path(__file__).resolve().parents[3]
VARIANT = versions.variant()

OUT = Path(os.environ.get("OUT") or REPO / "out").resolve()
LAB = OUT / "lab" / VARIANT
ROOT = LAB / "root"
ROOT_IMAGE = LAB / "root.img"
KERNEL_SOURCE = LAB / "src"
DEBUG = LAB / "debug"
LAB_INITRAMFS = LAB / "initramfs.cpio"
BUILD = OUT / "build" / VARIANT
PAYLOAD = OUT / "payload" / VARIANT
RUN = OUT / "run"
CHECK = OUT / "check" / ("" if VARIANT == versions.SUITE else VARIANT)
SHELL = OUT / "shell"

SCENARIOS = REPO / "tests" / "scenarios"
SELFTESTS = REPO / "tests" / "selftests"
MUTANTS = REPO / "tests" / "mutants"
DRAWN = OUT / "mutants" / "drawn"
PAGES = REPO / "tests" / "pages"
PLACES = REPO / "tests" / "places"
WORKLOADS = REPO / "samples" / "vfio-mdev" / "mdma" / "workloads"
LIBVIRT = REPO / "samples" / "vfio-mdev" / "mdma" / "libvirt"
LAB_D = REPO / "scripts" / "lab.d"
