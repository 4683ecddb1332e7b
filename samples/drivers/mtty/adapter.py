# SPDX-License-Identifier: GPL-2.0-only
"""The kernel's sample mtty: serial ports on PCI that receive what they send. They do no DMA, so
what a migration can lose is the state of the device.

Documentation/your-driver.rst goes through this file.
"""

import uuid
from pathlib import Path

TYPE = Path("/sys/class/mdev_bus/mtty/mdev_supported_types/mtty-1")

# The Kbuild beside this file builds it, of a file of the lab kernel's own source.
MODULES = ("mtty.ko",)
KERNEL_FILES = {"mtty.c": "samples/vfio-mdev/mtty.c"}

# mtty claims to log its DMA, of which there is none. A kernel without iommufd can't read such a
# log, and QEMU then ends the migration.
PROPERTIES = "x-device-dirty-page-tracking=off"

# A port that loses the oldest byte of its queue. The guest must notice; its RAM is not affected.
CONTROL = "loses-a-byte.patch"
CAUGHT_BY = ("guest",)


def make_device():
    """A new device."""
    name = str(uuid.uuid4())
    (TYPE / "create").write_text(name)
    return Path("/sys/bus/mdev/devices", name)


def remove_device(device):
    """The end of a device."""
    (device / "remove").write_text("1")
