#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""The oracles for several devices of a guest must be able to fail."""

import sys
import unittest
from pathlib import Path
from types import SimpleNamespace

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "scripts/lab.d"), str(ROOT / "tests/scenarios")]

# pylint: disable=wrong-import-position
import guests
from judge import devices, events, proof
from play import arguments, guest_vm

# Two devices, here and there.
A, B, AT, BT = 0xa, 0xb, 0x1a, 0x1b
PAIRS = ((A, AT), (B, BT))
# A good move.
ORDER = ((A, devices.PRE_COPY), (B, devices.PRE_COPY), (A, devices.PRE_COPY_P2P),
         (B, devices.PRE_COPY_P2P), (A, devices.STOP_COPY), (B, devices.STOP_COPY))
ARRIVAL = ((AT, devices.RESUMING), (BT, devices.RESUMING), (AT, devices.STOP),
           (AT, devices.RUNNING_P2P), (BT, devices.STOP), (BT, devices.RUNNING_P2P),
           (AT, devices.RUNNING), (BT, devices.RUNNING))


def order(*states):
    """Reasons for (device, state), in this order, on both sides."""
    sides = devices.peers(PAIRS)
    events.watch((events.State(pos, *state) for pos, state in enumerate(states)), *sides)
    return [reason for side in sides for reason in side.end()]


class Peers(unittest.TestCase):
    """The order of stopping and starting."""

    def test_good(self):
        """Also with all that QEMU does before and after."""
        self.assertEqual(order(*ORDER, *ARRIVAL), [])
        self.assertEqual(order((AT, devices.RESUMING), *ORDER, *ARRIVAL[1:], (A, devices.STOP),
                               (A, devices.RUNNING), (BT, devices.STOP)), [])

    def test_stops_too_early(self):
        """One stops while the other one writes."""
        bad = (*ORDER[:3], (A, devices.STOP_COPY), (B, devices.PRE_COPY_P2P),
               (B, devices.STOP_COPY))
        self.assertRegex(order(*bad, *ARRIVAL)[0], "source: device 0000000a enters state 3")

    def test_starts_too_early(self):
        """One writes before the other one can be written to."""
        for late in (4, 5):
            bad = [*ARRIVAL[:late], (AT, devices.RUNNING), *ARRIVAL[late:6], (BT, devices.RUNNING)]
            self.assertRegex(order(*ORDER, *bad)[0], "destination: device 0000001a enters state 2")

    def test_no_p2p(self):
        """A device that skips it."""
        self.assertIn("source: device 0000000b was in no P2P state",
                      order(*(one for one in ORDER if one != (B, devices.PRE_COPY_P2P)), *ARRIVAL))
        self.assertIn("destination: device 0000001a was in no P2P state",
                      order(*ORDER, *(one for one in ARRIVAL
                                      if one != (AT, devices.RUNNING_P2P))))

    def test_nothing_seen(self):
        """A trace without states, or without their end, shows no order."""
        self.assertEqual(len(order()), 6)
        self.assertEqual(order(*ORDER[:-1], *ARRIVAL), ["source: not all devices were seen to the "
                                                        "end"])
        self.assertEqual(order(*ORDER, *ARRIVAL[:-1]), ["destination: not all devices were seen to "
                                                        "the end"])


class Device(unittest.TestCase):
    """One of two devices that write under tracking of the same container."""

    GOOD = (events.Write(0, A, 0, 0x1000, 1, 1), events.Tracking(1, True, "c"),
            events.Write(2, A, 0, 0x2000, 2, 2), events.Write(3, B, 0, 0x9000, 1, 1),
            events.Run(4, 1, 0x2000, 2), events.Run(5, 1, 0x9000, 1),
            events.Report(6, 1, "get", 0, 1 << 20, 3, 3, 0), events.Write(7, AT, 0, 0x1000, 1, 4))
    LEDGER = {1: proof.Ledger(1, 1, 0), 2: proof.Ledger(2, 1, 0), 3: proof.Ledger(3, 1, 0)}

    def reasons(self, seen=GOOD, foreign=(9,), least=2, **more):
        """What is wrong with device A."""
        device = devices.Device(A, AT)
        events.watch(seen, device)
        return device.reasons({**self.LEDGER, **more.get("ledger", {})}, set(foreign), least)

    def test_good(self):
        """Although the other one's pages are in the reports as well."""
        self.assertEqual(self.reasons(), [])

    def test_lost(self):
        """Its page is not in the report."""
        less = [event._replace(npages=1) if event.pos == 4 else
                event._replace(dirty=2) if event.pos == 6 else event for event in self.GOOD]
        self.assertEqual(self.reasons(less),
                         ["device 0000000a: 1 pages are lost, the first 0x3000"])

    def test_of_the_other_one(self):
        """It wrote the other one's window."""
        self.assertRegex(self.reasons(foreign=(3, 9))[0], "1 pages of another device's window")

    def test_too_few(self):
        """Nothing can be judged."""
        self.assertRegex(self.reasons(least=3)[0], "2 page writes while tracking are too few")

    def test_not_there(self):
        """It did not go on at the destination, or not with the next number."""
        self.assertRegex(self.reasons(self.GOOD[:-1])[0], "not written here and then there")
        other = [event._replace(seq=5) if event.pos == 7 else event for event in self.GOOD]
        self.assertRegex(self.reasons(other)[0], "write 5 of device 0000001a, where 4")

    def test_broken(self):
        """Ledger and trace differ, or there is no trace."""
        self.assertRegex(self.reasons(ledger={5: proof.Ledger(9, 1, 0)})[0], "oracle broken")
        self.assertRegex(self.reasons(())[0], "oracle broken")


class Memory(unittest.TestCase):
    """What QEMU is told of the guests' memory."""

    def words(self, name, **more):
        """The command line of a guest."""
        values = dict(arguments.values(guests.KEYS, ()), **more)
        return guest_vm.command_line("s", guests.configuration(name, values), None, Path("/d"),
                                     "/r", "/m")

    def test_hole(self):
        """A window is larger than what is below the hole, less what the kernel needs."""
        words = self.words("hole")
        self.assertIn("max-ram-below-4g=96M", words[words.index("-M") + 1])
        self.assertEqual(words[words.index("-m") + 1], "192M")

    def test_numa(self):
        """All CPUs and most of the RAM in the first node; both windows fit in neither."""
        words = self.words("numa")
        self.assertNotIn("memory-backend=", words[words.index("-M") + 1])
        for node, size, cpus in ((0, 128, ",cpus=0-0"), (1, 64, "")):
            self.assertIn(f"memory-backend-memfd,id=ram{node},size={size}M,share=on", words)
            self.assertIn(f"node,memdev=ram{node}{cpus}", words)

    def test_dimm_answer(self):
        """Of all events, those that end the wait for a DIMM."""
        def ost(source, status):
            return {"event": "ACPI_DEVICE_OST", "data": {"info": {
                "device": "dimm", "slot": "0", "slot-type": "DIMM", "source": source,
                "status": status}}}
        others = [ost(1, 0), ost(3, 0), ost(3, 0x84), {"event": "RESUME", "data": {}},
                  {"event": "DEVICE_DELETED", "data": {"path": "/x"}}]
        self.assertIsNone(guests.dimm_answer(others))
        self.assertIn("status 0x82", guests.dimm_answer([*others, ost(3, 0x82)]))
        self.assertEqual(guests.dimm_answer([*others, {
            "event": "DEVICE_DELETED", "data": {"device": "dimm", "path": "/x"}}]), guests.GONE)

    def test_dimm(self):
        """Huge pages, and room for a DIMM."""
        words = self.words("dimm")
        self.assertEqual(words[words.index("-m") + 1], "192M,slots=1,maxmem=320M")
        self.assertIn("memory-backend-memfd,id=ram,size=192M,share=on,hugetlb=on,hugetlbsize=2M",
                      words)
        self.assertNotIn("max-ram-below-4g", words[words.index("-M") + 1])

    def test_mem(self):
        """Room for virtio-mem, which has no memory at first; small pages."""
        words = self.words("mem")
        self.assertEqual(words[words.index("-m") + 1], "192M,slots=1,maxmem=320M")
        self.assertIn("memory-backend-file,id=ram,size=192M,mem-path=/r,share=on,align=2M", words)
        config = SimpleNamespace(**{**arguments.values(guests.KEYS, ()), "more_mb": 128})
        self.assertEqual(guests.Mem("mem", config, None).words(), [
            "-object", "memory-backend-memfd,id=more,size=128M,share=on",
            "-device", "virtio-mem-pci,id=mem,memdev=more,requested-size=0"])

    def test_guests(self):
        """The setting has the guests of the table, but for the control."""
        self.assertEqual((*guests.KEYS["guests"].words, "control"), tuple(guests.GUESTS))
        self.assertEqual(guests.KEYS["guests"].default, ",".join(guests.KEYS["guests"].words))


if __name__ == "__main__":
    unittest.main()
