#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""What a device that is unplugged must leave: nothing."""

import contextlib
import io
import sys
import unittest
from pathlib import Path
from types import SimpleNamespace
from unittest import mock

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "scripts/lab.d"), str(ROOT / "tests/scenarios")]

# pylint: disable=wrong-import-position
import failures
from judge import proof
from play import arguments, guest_vm, plugged, traveller


class Device:
    """A device that QEMU has let go.

    @left: its counters then
    @later: what they are a second later, as far as they differ
    """

    type, path = "mdma-4", Path("/m")

    def __init__(self, left, later):
        self.left, self.later = {"seq": 9, "descriptors": 5, "pinned": 0, **left}, later
        self.gone = False
        self.ledger, self.set = bytes, mock.Mock()

    def stat(self, name):
        """It writes until it is gone."""
        if not self.gone:
            self.left["seq"] += 1
        return self.left[name]

    def wait(self, _seconds):
        """A second passes."""
        self.left.update(self.later)


class Unplug(unittest.TestCase):
    """A device that goes."""

    def wrong(self, left=None, later=None, wrote=()):
        """What is wrong with one that leaves this, and had written these pages."""
        device = Device(left or {}, later or {})
        with mock.patch.object(guest_vm, "unplug",
                               lambda *_: setattr(device, "gone", True)), \
                mock.patch.object(plugged.time, "sleep", device.wait), \
                mock.patch.object(proof, "parse_ledger", lambda *_: dict.fromkeys(wrote)):
            found = plugged.unplug(mock.Mock(), device, {1, 2}, 0)
        device.set.assert_called_once_with(hold_ms=plugged.HOLD_MS)
        return found

    def test_good(self):
        """It may have written its own window."""
        self.assertEqual(self.wrong(wrote=(3, 4)), [])

    def test_bad(self):
        """Each for itself."""
        self.assertEqual(self.wrong({"pinned": 7}),
                         ["7 pages of the device that is gone are pinned"])
        self.assertEqual(self.wrong(wrote=(2, 3)), ["it wrote 1 pages of another device's window"])
        for name in ("seq", "descriptors"):
            self.assertEqual(self.wrong(later={name: 99}), ["it goes on without a guest"])


class PassBy(unittest.TestCase):
    """A guest to which such a device comes."""

    def configuration(self, *words):
        """The configuration of a scenario with such guests."""
        return failures.configuration(arguments.values(failures.KEYS, words))

    def test_words(self):
        """It gets the container of the first one."""
        device = Device({}, {})
        self.assertEqual(plugged.words(device, self.configuration()),
                         "vfio-pci,sysfsdev=/m,enable-migration=on,id=second")
        self.assertEqual(plugged.words(device, self.configuration("container=iommufd"), "x"),
                         "vfio-pci,sysfsdev=/m,enable-migration=on,id=x,iommufd=iommufd0")

    def test_guest(self):
        """dmatest keeps to the first device only where another one comes."""
        self.assertNotIn("mdma.plugged", self.configuration().append)
        self.assertIn(" mdma.plugged=1", self.configuration("fire=1").append)

    def test_reasons(self):
        """What is wrong with it is the guest's result."""
        run = traveller.Traveller("failures", "", self.configuration(), Path("/d"))
        run.host = mock.Mock()
        with mock.patch.multiple(plugged, begin=mock.DEFAULT, unplug=lambda *_: ["x"]), \
                mock.patch.object(run, "_stayed") as stayed, \
                contextlib.redirect_stdout(io.StringIO()):
            run.pass_by("one", Device({}, {}))
        stayed.assert_called_once_with()
        self.assertEqual([(one.name, one.reason) for one in run.results_of], [("one", "x")])

    def test_locked_by_whom(self):
        """A type1 and iommufd count in different places."""
        vm = SimpleNamespace(process=SimpleNamespace(pid=7))
        for name in ("VmLck", "VmPin"):
            text = "VmLck:\t       0 kB\nVmPin:\t       0 kB\n".replace(f"{name}:\t       0",
                                                                     f"{name}:\t      12")
            with mock.patch.object(guest_vm, "_text", lambda _, text=text: text):
                self.assertEqual(guest_vm.locked_kb(vm), 12)

    def test_locked(self):
        """Memory that a stopped guest has locked belongs to nobody."""
        run = traveller.Traveller("failures", "", self.configuration(), Path("/d"))
        host = mock.MagicMock()
        host.mdev.stat.return_value = 0
        for locked, reasons in ((0, []), (8, ["QEMU has 8 kB locked, and its device is stopped"])):
            run.reasons = []
            with mock.patch.object(proof, "parse_ledger", lambda *_: {}), \
                    mock.patch.object(run.written, "missing", lambda *_: []), \
                    mock.patch.object(guest_vm, "locked_kb", lambda _, kb=locked: kb), \
                    contextlib.redirect_stdout(io.StringIO()):
                run._account(host)  # pylint: disable=protected-access
            self.assertEqual(run.reasons, reasons)


if __name__ == "__main__":
    unittest.main()
