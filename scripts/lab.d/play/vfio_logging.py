# SPDX-License-Identifier: GPL-2.0-only
"""Device-side dirty tracking on the running kernel, which needs a vfio.ko that supports it.

Distributions leave out CONFIG_IOMMUFD_DRIVER, and with it what vfio needs for
VFIO_DEVICE_FEATURE_DMA_LOGGING_REPORT. The lab builds the kernel's own vfio.ko with it, and an
mdma.ko for that (scripts/lab.d/make/build.py). Nobody may use vfio during the exchange.
"""

from pathlib import Path

from base import site
from play import backend, mdev

MODULES = Path("/sys/module")
# The drivers of the lab's NICs, if it has any, and how each is loaded; they bind to the NICs by
# themselves. Then all users of vfio, in the order of unloading.
NICS = {"vfio_pci": ("modprobe", "vfio-pci"), "mdma_nic": ("insmod", site.built("nic/mdma_nic.ko"))}
USERS = ("mdma", *NICS, "vfio_pci_core", "vfio_iommu_type1", "mdev", "vfio", "iommufd")
VFIO = site.built("vfio-logging/vfio.ko")
MDMA = site.built("mdma-logging/mdma.ko")


def builtin():
    """Whether the kernel has it anyway; then the installed mdma has it, too. iova_bitmap.c is part
    of the kernel itself then, in 7.3 as in 6.12. The symbol of the vfio.ko below does not count."""
    return any(" iova_bitmap_set" in line and "[" not in line
               for line in Path("/proc/kallsyms").read_text().splitlines())


def mdma():
    """The mdma for this vfio; None: the installed one."""
    return None if builtin() else MDMA


def unload():
    """Unload vfio and all its users. Returns the drivers of NICs that were among them."""
    loaded = [name for name in USERS if (MODULES / name).is_dir()]
    for name in loaded:
        backend.run("rmmod", name)
    return [name for name in NICS if name in loaded]


def load():
    """Load such a vfio and mdma, unless the kernel has it, and our type1."""
    if builtin():
        backend.load()
        return
    nics = unload()
    backend.run("insmod", VFIO)
    backend.load()
    mdev.load(MDMA)
    for name in nics:
        backend.run(*NICS[name])
