# SPDX-License-Identifier: GPL-2.0-only
"""Makes everything that a boot of the lab needs, as far as it is not current."""

from base import side_by_side
from base.side_by_side import Job
from make import build, debug_kernel, image, payload, versions

# For people who type commands.
SHELL = ("selftests", "nic", "guest")

# What the lab boots from.
FROM_ROOT = {"initramfs": image.make_initramfs, "disk": image.make_disk,
             "kernel": image.make_kernel}


def make(words=build.TARGETS, mutants=(), container=versions.TYPE1):
    """Make it.

    @words:     what must be built besides the product: targets of build.py, or groups of them
    @mutants:   names of mutants
    @container: for which the lab will be booted
    """
    targets = build.wanted(words, build.PRODUCTS[container])
    side_by_side.run({"root": Job(image.make_root), "source": Job(image.make_source),
                      "headers": Job(image.complete_headers, ("root", "source")),
                      **build.jobs(targets, mutants),
                      **{name: Job(function, ("root",)) for name, function in FROM_ROOT.items()}})
    build.put_together(targets)
    debug_kernel.prepare(mutants)
    payload.update()


def make_bare():
    """Make what a boot without our modules needs."""
    image.make_root()
    for function in FROM_ROOT.values():
        function()
    payload.update()
