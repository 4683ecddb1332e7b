# SPDX-License-Identifier: GPL-2.0-only
"""iommufd on the running kernel. Distributions leave it out, so the lab builds the kernel's own
iommufd.ko, and a vfio.ko and an mdma.ko that know it (scripts/lab.d/make/build.py).

A lab that is booted for iommufd has them from the beginning. Nobody may use vfio during the
exchange; other drivers of vfio's do not fit to that vfio.
"""

from base import site
from play import backend, mdev, vfio_logging

IOMMUFD = site.built("iommufd/iommufd.ko")
VFIO = site.built("vfio-iommufd/vfio.ko")
MDMA = site.built("mdma-iommufd/mdma.ko")
# What load() has loaded, in the order of unloading.
LOADED = ("mdma", "mdev", "vfio", "iommufd")


def builtin():
    """Whether the kernel has it anyway; then the installed mdma has it, too. With a driver of an
    IOMMU, as the kernels of the lab have, CONFIG_IOMMUFD selects what vfio_logging looks for."""
    return vfio_logging.builtin()


def mdma():
    """The mdma for this vfio; None: the installed one."""
    return None if builtin() else MDMA


def load():
    """Load them, and no type1, unless the kernel has them."""
    if builtin():
        backend.run("modprobe", "-a", "iommufd", "mdma")
        backend.unload()
        return
    vfio_logging.unload()
    backend.run("insmod", IOMMUFD)
    backend.run("insmod", VFIO)
    backend.run("modprobe", "mdev")
    mdev.load(MDMA)
