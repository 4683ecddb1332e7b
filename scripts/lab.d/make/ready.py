# SPDX-License-Identifier: GPL-2.0-only
"""Makes everything that a boot of the lab needs, as far as it is not current."""

from base import side_by_side
from base.side_by_side import Job
from make import (build, debug_kernel, image, lab_kernel, own_driver, own_kernel, own_qemu,
                  payload, versions)

# For people who type commands.
SHELL = ("selftests", "nic", "guest")

# The kernel's source, and what modules for it are built with.
SOURCE, HEADERS = ((own_kernel.copy_sources, own_kernel.make) if lab_kernel.OWN
                   else (image.make_source, image.complete_headers))
TREE = {"root": Job(image.make_root), "source": Job(SOURCE),
        "headers": Job(HEADERS, ("root", "source"))}

# What the lab boots from.
KERNEL = ("headers" if lab_kernel.OWN else "root",)
BOOT = {"initramfs": Job(lab_kernel.make_initramfs, KERNEL),
        "disk": Job(image.make_disk, ("root",)),
        "kernel": Job(lab_kernel.make_unpacked, KERNEL)}


def make(words=build.TARGETS, mutants=(), container=versions.TYPE1, driver=""):
    """Make it.

    @words:     what must be built besides the product: targets of build.py, or groups of them
    @mutants:   names of mutants
    @container: for which the lab will be booted
    @driver:    one of the user's own (own_driver.py)
    """
    targets = build.wanted(words, build.PRODUCTS[container])
    side_by_side.run({**TREE, **build.jobs(targets, mutants), **BOOT})
    build.put_together(targets)
    debug_kernel.prepare(mutants)
    own_qemu.make()
    if driver:
        own_driver.make(driver)
    payload.update()


def make_source():
    """Make what has the kernel's own tools for style. It does not wait for the root tree."""
    TREE["source"].function()


def make_tree():
    """Make what a build needs: the root tree, and the kernel's source and headers."""
    side_by_side.run(TREE)


def make_image():
    """Make that, and the kernel and the initramfs that a lab boots."""
    side_by_side.run({**TREE, **{name: BOOT[name] for name in ("initramfs", "kernel")}})


def make_bare():
    """Make what a boot without our modules needs."""
    if lab_kernel.OWN:
        # The root disk has modules of another kernel.
        make(())
        return
    image.make_root()
    for job in BOOT.values():
        job.function()
    payload.update()
