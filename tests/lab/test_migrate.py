#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""The parts of the migrate scenario that need no guest."""

import contextlib
import json
import os
import struct
import sys
import tempfile
import threading
import unittest
from pathlib import Path
from types import SimpleNamespace
from unittest import mock

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "scripts/lab.d"), str(ROOT / "tests/scenarios")]

# pylint: disable=wrong-import-position
import guest_memory
import migrate
from base import qmp
from judge import ram, standstill
from judge.memory_map import BadMemory, MemoryMap
from play import arguments, guest_vm, switchover, trace
from sockets import listening


def configuration(*words):
    """The configuration of a command line."""
    return migrate.configuration(arguments.values(migrate.KEYS, words))


class Keys(unittest.TestCase):
    """Settings that can't work."""

    def test_refused(self):
        for word, text in (("mem_mb=8193", "1 to 8192"), ("mem_mb=0", "1 to 8192"),
                           ("low_mb=2049", "0 to 2048"),
                           ("window_mb=512", "less than")):
            with self.subTest(word=word), self.assertRaisesRegex(SystemExit, text):
                configuration(word)

    def test_compare(self):
        """A check compares with nothing: then there is one leg, and its control."""
        for words, wanted in ((["compare=none"], ["main", "control"]),
                              ([], ["main", "compared", "control", "iommufd"])):
            played = []
            with tempfile.TemporaryDirectory() as results, \
                    mock.patch.object(migrate, "vfio_logging"), \
                    mock.patch.object(migrate, "vfio_iommufd"), \
                    mock.patch.object(migrate, "load_mdma"), \
                    mock.patch.object(migrate.signal, "signal"), \
                    mock.patch.object(migrate, "play_leg",
                                      lambda name, *_: played.append(name) or True):
                migrate.main(["--results", results, "tracking=device", *words])
            self.assertEqual(played, wanted)

    def test_guest_is_told(self):
        config = configuration("window_mb=64", "dirty_mb=3")
        self.assertIn("mdma.window_mb=64 mdma.dirty_mb=3", config.append)

    def test_quick_boot(self):
        """Without this, a nested guest takes three times as long to boot."""
        words = configuration().append.split()
        self.assertIn("pci=noearly,lastbus=0", words)
        self.assertIn("cryptomgr.notests", words)

    def test_clock_of_the_guest(self):
        """A guest that may be held has a clock that stops meanwhile."""
        self.assertIn(" clocksource=jiffies tsc=unstable ", configuration().append)


class CommandLine(unittest.TestCase):
    """What the proof needs from QEMU."""

    def test_no_page_that_kvm_writes(self):
        config = configuration()
        mdev = type("Mdev", (), {"path": Path("/sys/bus/mdev/devices/U")})
        words = guest_vm.command_line("source", config, mdev, Path("/d"), "/r", "/m")
        self.assertIn("host,kvmclock=off,kvm-steal-time=off", words)
        self.assertIn("vfio-pci,sysfsdev=/sys/bus/mdev/devices/U,enable-migration=on,id=mdma",
                      words)
        self.assertIn("memory-backend-file,id=ram,size=512M,mem-path=/r,share=on,align=2M", words)
        self.assertNotIn("-S", words)
        words = guest_vm.command_line("d", config, mdev, Path("/d"), "/r", "/m", incoming=True)
        self.assertEqual(words[-3:], ["-incoming", "defer", "-S"])
        self.assertNotIn("iommufd", " ".join(words))

    def test_hole(self):
        """RAM above 4 GiB, in a guest that has less than that."""
        mdev = type("Mdev", (), {"path": Path("/U")})
        for word, end in (("low_mb=96", ",smbus=off,max-ram-below-4g=96M"),
                          ("low_mb=0", ",smbus=off")):
            words = guest_vm.command_line("source", configuration(word), mdev, Path("/d"), "/r",
                                          "/m")
            self.assertTrue(words[words.index("-M") + 1].endswith(end))

    def test_iommufd(self):
        """QEMU's own object for it, which the device names; the device tracks what it writes."""
        config = configuration("container=iommufd")
        mdev = type("Mdev", (), {"path": Path("/U")})
        words = guest_vm.command_line("source", config, mdev, Path("/d"), "/r", "/m")
        at = words.index("iommufd,id=iommufd0")
        self.assertEqual(words[at - 1:at + 3], [
            "-object", "iommufd,id=iommufd0", "-device",
            "vfio-pci,sysfsdev=/U,enable-migration=on,id=mdma,iommufd=iommufd0"])
        self.assertEqual(config.tracking, "device")
        self.assertIn("/log-forgets/iommufd/", config.device_mutant)
        self.assertIn("vfio_type1/vfio_dirty_run", trace.proof_events("type1"))
        self.assertNotIn("vfio_type1", " ".join(trace.proof_events("iommufd")))


class Ram(unittest.TestCase):
    """Byte for byte comparison. Chunks of zeroes are holes."""

    @staticmethod
    def write(path, data):
        """A file with holes, as RAM has where the guest never wrote."""
        with open(path, "wb") as file:
            for offset in range(0, len(data), ram.CHUNK):
                if any(data[offset:offset + ram.CHUNK]):
                    file.seek(offset)
                    file.write(data[offset:offset + ram.CHUNK])
            file.truncate(len(data))

    def compare(self, left, right):
        """Compare two files with these contents."""
        with tempfile.TemporaryDirectory() as directory:
            files = []
            for name, data in (("left", left), ("right", right)):
                path = Path(directory, name)
                self.write(path, data)
                files.append(guest_memory.files_of(os.open(path, os.O_RDONLY), len(data)))
                self.addCleanup(files[-1].close)
            copy = ram.Copy(files[1])
            self.addCleanup(copy.close)
            return ram.compare(files[0], copy)

    def test_same(self):
        data = bytes(ram.CHUNK) + b"x" * ram.CHUNK
        self.assertEqual(self.compare(data, data),
                         {"pages_compared": 512, "pages_different": 0, "different": []})

    def test_every_byte_counts(self):
        size = 2 * ram.CHUNK
        for at in (0, 4095, 4096, ram.CHUNK - 1, ram.CHUNK, size - 1):
            data = bytearray(size)
            data[at] = 1
            for sides in ((data, bytes(size)), (bytes(size), data)):
                different = self.compare(*sides)["different"]
                self.assertEqual([(page["page"], page["first_byte"]) for page in different],
                                 [(at // 4096, at % 4096)])

    def test_stamps_are_named(self):
        left, right = bytearray(ram.CHUNK), bytearray(ram.CHUNK)
        struct.pack_into("<QQQ", left, 4096, ram.STAMP_MAGIC, 77, 4096)
        page = self.compare(left, right)["different"][0]
        self.assertEqual((page["source_seq"], page["destination_seq"]), (77, None))

    def test_sizes_differ(self):
        with self.assertRaisesRegex(BadMemory, "not the same on both sides"):
            self.compare(bytes(ram.CHUNK), bytes(2 * ram.CHUNK))


class Blocks(unittest.TestCase):
    """RAM in several files, parts of which lie above the hole for PCI."""

    def setUp(self):
        """Block "a" at 4 GiB, and half of block "b" below, half above; "b" begins in the middle of
        its file."""
        size = 2 * ram.CHUNK
        ranges = (guest_memory.range_line(0, ram.CHUNK - 1, "b"),
                  guest_memory.range_line(1 << 32, (1 << 32) + size - 1, "a"),
                  guest_memory.range_line(1 << 33, (1 << 33) + ram.CHUNK - 4097, "b", ram.CHUNK))
        blocks = (guest_memory.block_line("a", size, 0x10000000),
                  guest_memory.block_line("b", size, 0x20000000))
        self.where = MemoryMap(guest_memory.MTREE.format("\n".join(ranges)),
                               guest_memory.RAMBLOCK.format("\n".join(blocks)))
        self.offsets = (0, 4 * ram.CHUNK)

    def memory(self, **bytes_at):
        """RAM of zeroes but for these bytes: block -> offsets."""
        files = []
        for name, offset in zip("ab", self.offsets):
            # pylint: disable=consider-using-with
            file = tempfile.TemporaryFile(buffering=0)
            self.addCleanup(file.close)
            # Whatever else is in the file does not belong to the block.
            file.write(b"x" * offset)
            file.truncate(offset + 2 * ram.CHUNK)
            file.seek(offset + 2 * ram.CHUNK)
            file.write(b"x" * ram.CHUNK)
            for at in bytes_at.get(name, ()):
                file.seek(offset + at)
                file.write(b"x")
            files.append((file.fileno(), offset))
        return ram.RamFiles(self.where, files)

    def differing(self, source, destination):
        """Compare, and return address and place of each page that differs."""
        copy = ram.Copy(destination)
        self.addCleanup(copy.close)
        result = ram.compare(source, copy)
        self.assertEqual(result["pages_compared"], 1024)
        return [(page["page"], page["place"]) for page in result["different"]]

    def test_same(self):
        self.assertEqual(self.differing(self.memory(a=(0,), b=(9,)), self.memory(a=(0,), b=(9,))),
                         [])

    def test_pages_have_addresses(self):
        """One that the guest can't see has a place only."""
        end = 2 * ram.CHUNK - 1
        for sides in ((self.memory(a=(0, end), b=(0, ram.CHUNK, end)), self.memory()),
                      (self.memory(), self.memory(a=(0, end), b=(0, ram.CHUNK, end)))):
            self.assertEqual(self.differing(*sides), [
                (1 << 20, "a+0x0"), ((1 << 20) + 511, "a+0x1ff000"),
                (0, "b+0x0"), (1 << 21, "b+0x100000"), (None, "b+0x1ff000")])

    def test_digests(self):
        """The same pages differ by their digests, of the files and of a copy."""
        copy = ram.Copy(self.memory(b=(ram.CHUNK,)))
        self.addCleanup(copy.close)
        one, other = ram.digests(self.memory()), ram.digests(copy)
        self.assertEqual([at // ram.DIGEST for at in range(0, len(one), ram.DIGEST)
                          if one[at:at + ram.DIGEST] != other[at:at + ram.DIGEST]], [768])

    def test_ended(self):
        """A file that is shorter than its block."""
        memory = self.memory()
        os.ftruncate(memory.files[1][0], self.offsets[1] + ram.CHUNK + 1)
        with self.assertRaisesRegex(BadMemory, r"ended at b\+0x100001"):
            memory.chunk(3 * ram.CHUNK)


class Copy(unittest.TestCase):
    """The RAM of the destination as it was while the guest was held."""

    def setUp(self):
        # pylint: disable=consider-using-with
        self.file = tempfile.TemporaryFile(buffering=0)
        self.addCleanup(self.file.close)

    def copy(self):
        """Copy the file."""
        size = os.fstat(self.file.fileno()).st_size
        copy = ram.Copy(guest_memory.files_of(self.file.fileno(), size))
        self.addCleanup(copy.close)
        return copy

    def fill(self, *pieces, size=3 * ram.CHUNK):
        """Write pieces, (where, length), with holes between them."""
        self.file.truncate(size)
        for where, length in pieces:
            self.file.seek(where)
            self.file.write(b"x" * length)

    def test_holes_and_data(self):
        self.fill((0, 4096), (ram.CHUNK - 4096, 12288), (2 * ram.CHUNK + 40960, 1 << 16))
        self.file.seek(0)
        whole, copy = self.file.read(), self.copy()
        self.assertEqual(b"".join(map(copy.chunk, range(0, len(whole), ram.CHUNK))), whole)

    def test_empty(self):
        self.fill()
        self.assertEqual(self.copy().chunk(0), bytes(ram.CHUNK))

    def test_of_one_moment(self):
        self.fill((0, 3 * ram.CHUNK))
        copy = self.copy()
        self.fill((4096, 1))
        self.file.seek(4096)
        self.file.write(b"y")
        self.assertEqual(copy.chunk(0), b"x" * ram.CHUNK)
        self.assertEqual(copy.stamp(1), b"x" * ram.STAMP.size)

    def test_torn(self):
        self.fill(size=ram.CHUNK + 4096)
        with self.assertRaisesRegex(BadMemory, "RAM ram of 1052672 bytes"):
            self.copy()

    def test_a_disturbed_chunk_does_not_count(self):
        """One chunk of three takes a minute, since the machine is busy."""
        self.fill((0, 3 * ram.CHUNK))
        clock = iter((0, 0, .01, 1, 61, 61, 61.02, 62))
        with mock.patch.object(ram.time, "monotonic", lambda: next(clock)):
            copy = self.copy()
        self.assertEqual(copy.seconds, 62)
        self.assertAlmostEqual(copy.idle_s, .03)


class Switchover(unittest.TestCase):
    """How long the guest is held, and whether it notices."""

    def test_order(self):
        """Nothing happens between the copy and the continuation of the guest."""
        done = []
        vm = SimpleNamespace(open_ram=lambda: contextlib.nullcontext("ram"),
                             qmp=SimpleNamespace(command=done.append))
        copy = SimpleNamespace(idle_s=.25)
        with mock.patch.object(ram, "Copy", lambda files: done.append(files) or copy):
            got, held = switchover.go_on(vm)
        self.assertEqual(done, ["ram", "cont"])
        self.assertIs(got, copy)
        self.assertEqual(held["held_idle_s"], .25)

    def test_short(self):
        self.assertTrue(standstill.is_short(1.9, 1000))
        self.assertFalse(standstill.is_short(2.1, 1000))
        self.assertTrue(standstill.is_short(7.9, 524288))

    def test_clock_jump(self):
        source = "MDMA-GUEST beat 1 5.00\r\nMDMA-GUEST pass 1\r\nMDMA-GUEST be"
        self.assertAlmostEqual(standstill.clock_jump(
            source, "at 2 6.25\r\nMDMA-GUEST beat 3 9.00\r\n"), 1.25)
        self.assertIsNone(standstill.clock_jump(source, "MDMA-GUEST pass 2\n"))
        self.assertIsNone(standstill.clock_jump("", "MDMA-GUEST beat 3 9.00\n"))

    def test_noticed(self):
        self.assertEqual(standstill.noticed(90, 1.5), [])
        self.assertEqual(standstill.noticed(3, 3.1), [])
        self.assertEqual(standstill.noticed(None, None), [])
        self.assertRegex(standstill.noticed(90, 91.2)[0], "its clock went on by 91.2 s")
        self.assertRegex(standstill.noticed(90, None)[0], "does not tell the time")


class GoOn(unittest.TestCase):
    """What is waited for at the destination."""

    def patterns(self, name):
        """Of a leg of this name."""
        leg = object.__new__(migrate.DeviceLeg)
        leg.name, leg.config, leg.facts = name, configuration(), {}
        leg.say = lambda _: None
        destination, mdev = mock.Mock(), SimpleNamespace(stat=lambda _: 7)
        leg._go_on(destination, mdev)   # pylint: disable=protected-access
        return [call.args[0] for call in destination.wait_console.call_args_list]

    def test_control(self):
        """Nothing on a broken backend, where it may never come."""
        self.assertEqual(self.patterns("main"), ["MDMA-GUEST pass", "MDMA-GUEST beat"])
        self.assertEqual(self.patterns("control"), [])


class Monitor(unittest.TestCase):
    """The QMP client against a QEMU that misbehaves."""

    def serve(self, *answers):
        """A monitor that sends @answers, one for each command after the first."""
        self.asked = None
        path, server = listening(self, "qmp")

        def talk():
            connection, _ = server.accept()
            with connection, connection.makefile("rwb") as stream:
                stream.write(b'{"QMP": {}}\n')
                stream.flush()
                for answer in ({"return": {}},) + answers:
                    line = stream.readline()
                    if not line:
                        return
                    self.asked = json.loads(line)
                    for message in answer if isinstance(answer, list) else [answer]:
                        stream.write(json.dumps(message).encode() + b"\r\n")
                    stream.flush()

        thread = threading.Thread(target=talk)
        thread.start()
        self.addCleanup(thread.join)
        client = qmp.Qmp(path, timeout=60)
        self.addCleanup(client.close)
        return client

    def test_events_do_not_get_lost(self):
        client = self.serve([{"event": "STOP"}, {"return": 5}])
        self.assertEqual(client.command("query-x", max_bandwidth=3), 5)
        self.assertEqual(client.events, [{"event": "STOP"}])
        self.assertEqual(self.asked, {"execute": "query-x", "arguments": {"max-bandwidth": 3}})

    def test_error(self):
        client = self.serve({"error": {"class": "GenericError", "desc": "no such thing"}})
        with self.assertRaisesRegex(qmp.QmpError, "query-x: no such thing"):
            client.command("query-x")

    def test_qemu_goes_away(self):
        client = self.serve()
        with self.assertRaisesRegex(qmp.QmpError, "closed the monitor|reset|Broken"):
            client.command("query-x")

    def test_no_answer(self):
        client = self.serve([], {"return": {}})
        with self.assertRaisesRegex(qmp.QmpError, "no answer in time"):
            client.command("query-x", timeout=0.1)
        client.close()

    def test_qemu_died_at_once(self):
        with self.assertRaisesRegex(qmp.QmpError, "ended before"):
            qmp.Qmp("/nonexistent/qmp", alive=lambda: False)


if __name__ == "__main__":
    unittest.main()
