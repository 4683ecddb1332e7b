# SPDX-License-Identifier: GPL-2.0-only
"""Plots as SVG, by the gnuplot of the image, or of the host."""

from base import process
from make import chroot, paths


def draw(name, script, directory):
    """Leave NAME.gnuplot and NAME.svg in a directory; returns the SVG."""
    (directory / f"{name}.gnuplot").write_text(f'set output "/mnt/out/{name}.svg"\n{script}')
    chroot.run(["gnuplot", f"/mnt/out/{name}.gnuplot"], paths.OUT / "lab.log",
               f"plotting {name}", binds={"out": directory})
    return (directory / f"{name}.svg").read_text()


def draw_here(name, script, directory):
    """The same by the host's own gnuplot."""
    (directory / f"{name}.gnuplot").write_text(f'set output "{name}.svg"\n{script}')
    process.run(["gnuplot", f"{name}.gnuplot"], directory / f"{name}.log", f"plotting {name}",
                cwd=directory)
    return (directory / f"{name}.svg").read_text()
