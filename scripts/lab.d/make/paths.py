# SPDX-License-Identifier: GPL-2.0-only
"""Where everything is. Everything generated is below OUT; nothing else is written.

IMAGE is the name of the image, by its versions, and VARIANT the same with the kernel, if that is of
a tree of the user's own: what is made with different ones never mixes.
"""

import os
from pathlib import Path

from make import versions

REPO = Path(__file__).resolve().parents[3]
IMAGE = versions.image()
VARIANT = versions.variant()

OUT = Path(os.environ.get("OUT") or REPO / "out").resolve()
LAB = OUT / "lab" / IMAGE
ROOT = LAB / "root"
# The root tree with the versions of the suite.
SUITE_ROOT = OUT / "lab" / versions.SUITE / "root"
# libFuzzer is the suite's, whatever versions are chosen.
FUZZER = OUT / "lab" / versions.SUITE / "fuzzer"
ROOT_IMAGE = LAB / "root.img"
DEBUG = LAB / "debug"
KCSAN = LAB / "kcsan"
# Of the kernel that lab and guests boot; LAB, unless it is of a tree.
KERNEL = OUT / "lab" / VARIANT
KERNEL_SOURCE = KERNEL / ("tree" if versions.tree() else "src")
LAB_INITRAMFS = KERNEL / "initramfs.cpio"
BUILD = OUT / "build" / VARIANT
PAYLOAD = OUT / "payload" / VARIANT
RUN = OUT / "run"
CHECK = OUT / "check" / ("" if VARIANT == versions.SUITE else VARIANT)
SHELL = OUT / "shell"
MATRIX = OUT / "matrix"
SOAK = OUT / "soak"

SCENARIOS = REPO / "tests" / "scenarios"
SELFTESTS = REPO / "tests" / "selftests"
MUTANTS = REPO / "tests" / "mutants"
# Of these, those that KCSAN alone sees; the check of its kernel has them.
RACES = MUTANTS / "races"
# And those that only a sweep of failures sees, which the debug kernel has.
FAILING = MUTANTS / "failing"
CORPUS = REPO / "tests" / "fuzz" / "corpus"
DRAWN = OUT / "mutants" / "drawn"
PAGES = REPO / "tests" / "pages"
PLACES = REPO / "tests" / "places"
WORKLOADS = REPO / "samples" / "vfio-mdev" / "mdma" / "workloads"
LIBVIRT = REPO / "samples" / "vfio-mdev" / "mdma" / "libvirt"
DRIVERS = REPO / "samples" / "drivers"
LAB_D = REPO / "scripts" / "lab.d"
