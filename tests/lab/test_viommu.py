#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""What the scenario viommu does to a device, without one."""

import sys
import unittest
from pathlib import Path
from types import SimpleNamespace

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "scripts/lab.d"), str(ROOT / "tests/scenarios")]

# pylint: disable=wrong-import-position
import viommu
from play import arguments, guest_vm
from play.mdev import MdevError


class Device:
    """One in which only some pages are mapped."""

    path = "/d"

    def __init__(self, mapped):
        self.mapped, self.pinned = mapped, []

    def hook(self, name, value):
        """Pin a page."""
        iova, count, how = value.split()
        assert (name, count, how) == ("pin", "1", "r")
        if int(iova, 16) >> 12 not in self.mapped:
            raise MdevError("not mapped")
        self.pinned.append(int(iova, 16) >> 12)


class Guest(unittest.TestCase):
    """The guest."""

    def setUp(self):
        self.config = SimpleNamespace(**arguments.values(viommu.KEYS, ()), smp=1, append="")

    def test_pin(self):
        """Pins what is mapped, in order, and says which."""
        guest = viommu.Translated(self.config, None)
        guest.device = Device({3, 5, 9})
        self.assertEqual(guest.pin({5, 4, 3, 2}), {3, 5})
        self.assertEqual(guest.device.pinned, [3, 5])

    def test_command_line(self):
        """The IOMMU comes before the device; of equal properties, QEMU takes the last."""
        words = guest_vm.command_line("s", self.config, Device(()), Path("/d"), "/r", "/m",
                                      before=viommu.IOMMU, properties="enable-migration=auto")
        devices = [words[at + 1] for at, word in enumerate(words) if word == "-device"]
        self.assertEqual(devices, [viommu.IOMMU[1], "vfio-pci,sysfsdev=/d,enable-migration=on,"
                                   "id=mdma,enable-migration=auto"])


if __name__ == "__main__":
    unittest.main()
