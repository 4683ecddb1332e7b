# SPDX-License-Identifier: GPL-2.0-only
"""The series in the whole source of its kernel, configured: Kconfig takes the sample's options, and
kbuild finds what they ask for. Nothing is linked, which would need the whole kernel built."""

import os
import re
import shutil

from base import files, say
from check import series
from check.series_commits import SAMPLES, SOURCE, VFIO, git
from make import build, chroot, debug_kernel, image, paths, small_kernel

# Also of its directory in the payload, which the lab's init finds by it: letters only.
NAME = "series"
KERNEL = small_kernel.Kernel("the kernel with the series", paths.BUILD / NAME, f"/mnt/build/{NAME}",
                             (paths.LAB_D / "make/own.config", paths.LAB_D / "make/series.config"),
                             lines=2200)
# Lines of the configuration that say "override" are no warnings of the build, so it has its own.
BUILD_LOG = KERNEL.home / "whole.log"
# What the patches of the last time touched in the tree.
TOUCHED = KERNEL.home / "touched"


def _put(source, target):
    """Bring a file of the tree to what it is elsewhere. One that is current keeps its date."""
    if not source.exists():
        target.unlink(missing_ok=True)
    elif not target.exists() or target.read_bytes() != source.read_bytes():
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(source, target)


def overlay():
    """Put what the patches made into the tree, and take back what other patches had made."""
    names = git("diff", "--name-only", "--no-renames", series.EVERYTHING, tree=series.TRIAL,
                capture=True).split()
    before = TOUCHED.read_text().split() if TOUCHED.exists() else []
    TOUCHED.write_text("\n".join({*names, *before}) + "\n")
    for name in set(before) - set(names):
        _put(SOURCE / name, KERNEL.tree / name)
    for name in names:
        _put(series.TRIAL / name, KERNEL.tree / name)
        # What is not compiled again does not warn again.
        if name.endswith(".c"):
            (KERNEL.tree / name).with_suffix(".o").unlink(missing_ok=True)
    TOUCHED.write_text("\n".join(names) + "\n")


def warnings(text, names):
    """Lines of a build's log that warn about one of these files of the tree. Others of the kernel
    are not ours, and with W=1 and this configuration they do warn."""
    found = []
    for line in text.splitlines():
        path = re.match(r"(\S+\.[ch]):\d", line)
        ours = (os.path.normpath(path[1]) in names if path
                else f"{VFIO}/" in line or f"{SAMPLES}/" in line)
        if ours and build.WARNING.search(line):
            found.append(line)
    return found


def compile_all():
    """Configure it, and compile type1 and the samples, without a warning about what is ours."""
    with image.locked(KERNEL.home, KERNEL.what):
        KERNEL.log.unlink(missing_ok=True)
        with say.Step("series: the whole kernel's source, configured"):
            debug_kernel.unpack(KERNEL)
            overlay()
            small_kernel.configure(KERNEL)
        with say.Step("series: type1 and the samples in it"):
            chroot.run([*build.MAKE, "-C", f"{KERNEL.mount}/tree", build.WARNINGS, f"{VFIO}/",
                        f"{SAMPLES}/"], BUILD_LOG, "building in the whole source",
                       binds=build.binds())
        bad = warnings(BUILD_LOG.read_text(errors="replace"), TOUCHED.read_text().split())
        for line in bad[:10]:
            say.info(line)
        if bad:
            raise say.LabError(f"{len(bad)} warnings, see {files.short(BUILD_LOG)}")
        for path in (f"{VFIO}/vfio_iommu_type1.o", f"{VFIO}/pin_store_kunit.o",
                     f"{SAMPLES}/mdma/mdma.o", f"{SAMPLES}/mdma-guest/mdma_guest.o"):
            if not (KERNEL.tree / path).exists():
                raise say.LabError(f"with its options on, the kernel has no {path}")
