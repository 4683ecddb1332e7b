# SPDX-License-Identifier: GPL-2.0-only
"""The guest's initramfs: its drivers, its init, and the program that dirties memory."""

from pathlib import Path

from base import initramfs
from judge import dmesg
from make import chroot, paths

HERE = paths.LAB_D / "guest"

# Programs of one C file each.
PROGRAMS = ("dirty", "kexec")
MODULES = ("mdma-guest/mdma_guest.ko", "guest-client/mdma_client.ko",
           "guest-client/mdma_load.ko", "dmatest/dmatest.ko")

CC = ("gcc", "-static", "-s", "-O2", "-Wall", "-Wextra", "-Werror")


def _source(program):
    return HERE / f"{program}.c"


def inputs():
    """The files that the initramfs is made of, besides modules and busybox."""
    return [Path(__file__).resolve(), Path(dmesg.__file__).resolve(), HERE / "init",
            HERE / "dmatest.sh", HERE / "dmatest.awk", HERE / "client.sh",
            HERE / "load.sh", *map(_source, PROGRAMS)]


def build(path, root, build_dir, kernel):
    """Write the guest's initramfs.

    @path:      where to
    @root:      root tree of the lab: busybox, compiler
    @build_dir: holds MODULES; gets PROGRAMS and dmesg.patterns, in guest/
    @kernel:    has the modules of the guest's kernel
    """
    own = Path(build_dir) / "guest"
    own.mkdir(parents=True, exist_ok=True)
    for program in PROGRAMS:
        chroot.run([*CC, "-o", f"/mnt/own/{program}", f"/mnt/source/{program}.c"],
                   own / "build.log", f"building the guest's {program}",
                   binds={"own": own, "source": HERE}, root=root)
    (own / "dmesg.patterns").write_text(dmesg.for_grep())
    initramfs.build(path, root,
                    modules=[*(Path(build_dir) / module for module in MODULES),
                             "virtio_blk"],
                    files={**{f"bin/{program}": own / program for program in PROGRAMS},
                           "lib/dmatest.awk": HERE / "dmatest.awk",
                           "lib/dmatest.sh": HERE / "dmatest.sh",
                           "lib/client.sh": HERE / "client.sh",
                           "lib/load.sh": HERE / "load.sh",
                           "lib/dmesg.patterns": own / "dmesg.patterns"},
                    init=HERE / "init", kernel=kernel)
