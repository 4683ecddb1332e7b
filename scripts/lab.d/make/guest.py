# SPDX-License-Identifier: GPL-2.0-only
"""The guest's initramfs: its drivers, its init, and the program that dirties memory."""

from pathlib import Path

from base import initramfs
from judge import dmesg
from make import chroot, paths

HERE = paths.LAB_D / "guest"

CC = ("gcc", "-static", "-s", "-O2", "-Wall", "-Wextra", "-Werror")


def inputs():
    """The files that the initramfs is made of, besides modules and busybox."""
    return [Path(__file__).resolve(), Path(dmesg.__file__).resolve(), HERE / "init",
            HERE / "dmatest.sh", HERE / "dmatest.awk", HERE / "client.sh", HERE / "dirty.c"]


def build(path, root, build_dir):
    """Write the guest's initramfs.

    @path:      where to
    @root:      root tree of the lab: busybox, compiler, the guest's kernel
    @build_dir: holds mdma-guest/mdma_guest.ko, guest-client/mdma_client.ko and
                dmatest/dmatest.ko; gets guest/dirty and guest/dmesg.patterns
    """
    own = Path(build_dir) / "guest"
    own.mkdir(parents=True, exist_ok=True)
    chroot.run([*CC, "-o", "/mnt/own/dirty", "/mnt/source/dirty.c"], own / "build.log",
               "building the guest's dirty", binds={"own": own, "source": HERE}, root=root)
    (own / "dmesg.patterns").write_text(dmesg.for_grep())
    initramfs.build(path, root,
                    modules=[Path(build_dir) / "mdma-guest/mdma_guest.ko",
                             Path(build_dir) / "guest-client/mdma_client.ko",
                             Path(build_dir) / "dmatest/dmatest.ko"],
                    files={"bin/dirty": own / "dirty", "lib/dmatest.awk": HERE / "dmatest.awk",
                           "lib/dmatest.sh": HERE / "dmatest.sh",
                           "lib/client.sh": HERE / "client.sh",
                           "lib/dmesg.patterns": own / "dmesg.patterns"},
                    init=HERE / "init")
