# SPDX-License-Identifier: GPL-2.0-only
"""Makes everything that a boot of the lab needs, as far as it is not current."""

from base import side_by_side
from base.side_by_side import Job
from make import build, debug_kernel, image, payload

# For people who type commands.
SHELL = ("selftests", "nic", "guest")


def make(words=build.TARGETS, mutants=()):
    """Make it.

    @words:   what must be built besides the product: targets of build.py, or groups of them
    @mutants: names of mutants
    """
    targets = build.wanted(words)
    image.make_root()
    side_by_side.run({"source": Job(image.make_source), **build.jobs(targets, mutants),
                      "initramfs": Job(image.make_initramfs), "disk": Job(image.make_disk),
                      "kernel": Job(image.make_kernel)})
    build.put_together(targets)
    debug_kernel.prepare(mutants)
    payload.update()


def make_bare():
    """Make what a boot without our modules needs."""
    image.make_root()
    image.make_kernel()
    image.make_initramfs()
    image.make_disk()
    payload.update()
