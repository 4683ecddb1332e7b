# SPDX-License-Identifier: GPL-2.0-only
"""The series in the whole source of its kernel, configured: Kconfig takes the sample's options, and
kbuild finds what they ask for. Nothing is linked, which would need the whole kernel built."""

import shutil

from base import say
from check import series
from check.series_commits import SAMPLES, VFIO, git
from make import build, chroot, debug_kernel, paths, small_kernel

NAME = "series-kernel"
KERNEL = small_kernel.Kernel("the kernel with the series", paths.BUILD / NAME, f"/mnt/build/{NAME}",
                             (paths.LAB_D / "make/own.config", paths.LAB_D / "make/series.config"),
                             lines=0)


def overlay():
    """Put what the patches made into the tree."""
    for path in git("diff", "--name-only", "--no-renames", series.EVERYTHING,
                    tree=series.TRIAL, capture=True).split():
        source, target = series.TRIAL / path, KERNEL.tree / path
        if not source.exists():
            target.unlink(missing_ok=True)
            continue
        if target.exists() and target.read_bytes() == source.read_bytes():
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(source, target)


def compile_all():
    """Configure it, and compile type1 and the samples, without a warning about what is ours."""
    KERNEL.home.mkdir(parents=True, exist_ok=True)
    KERNEL.log.unlink(missing_ok=True)
    with say.Step("series: the whole kernel's source, configured"):
        debug_kernel.unpack(KERNEL)
        overlay()
        small_kernel.configure(KERNEL)
    with say.Step("series: type1 and the samples in it"):
        chroot.run([*build.MAKE, "-C", f"{KERNEL.mount}/tree", build.WARNINGS, f"{VFIO}/",
                    f"{SAMPLES}/"], KERNEL.log, "building in the whole source",
                   binds=build.binds(), append=True)
    series.refuse_warnings(KERNEL.log)
    for path in (f"{VFIO}/vfio_iommu_type1.o", f"{SAMPLES}/mdma/mdma.o",
                 f"{SAMPLES}/mdma-guest/mdma_guest.o"):
        if not (KERNEL.tree / path).exists():
            raise say.LabError(f"with its options on, the kernel has no {path}")
