#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""The oracles of the scenario failures, and the traps on its link, must be able to fail."""

import socket
import struct
import sys
import tempfile
import threading
import time
import unittest
from pathlib import Path
from unittest import mock

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "scripts/lab.d"), str(ROOT / "tests/scenarios")]

# pylint: disable=wrong-import-position
import failures
import guest_memory
from judge import events, memory_map, moves, proof, ram
from play import arguments, link

HERE, THERE = 0xa, 0xb


def order(*seen):
    """What Order finds in ("write", device, seq, npages) and ("state", device, state)."""
    found = moves.Order()
    for pos, (kind, device, *rest) in enumerate(seen):
        if kind == "write":
            found.add(events.Write(pos, device, 0, 0, rest[1], rest[0]))
        else:
            found.add(events.State(pos, device, rest[0]))
    found.end()
    return found


class Numbers(unittest.TestCase):
    """Each page write has its own number."""

    def test_good(self):
        good = order(("write", HERE, 1, 2), ("write", HERE, 4, 1), ("write", HERE, 3, 1),
                     ("write", THERE, 5, 1))
        self.assertEqual((good.reasons, good.visits, good.writes), ([], [HERE, THERE], 4))

    def test_twice(self):
        bad = order(("write", HERE, 1, 2), ("write", THERE, 2, 1))
        self.assertRegex(bad.reasons[0], "write 2 of device 0000000b, where 3")

    def test_lost(self):
        self.assertTrue(order(("write", HERE, 1, 1), ("write", HERE, 3, 1)).reasons)
        self.assertTrue(order(("write", HERE, 2, 1)).reasons)

    def test_nothing(self):
        with self.assertRaises(events.BrokenOracle):
            order()

    def test_elsewhere(self):
        back = order(("write", HERE, 1, 1), ("write", THERE, 2, 1), ("write", HERE, 3, 1))
        self.assertEqual(back.visits, [HERE, THERE, HERE])

    def test_lost_writes_keep_nothing_waiting(self):
        found = moves.Order()
        with mock.patch.object(moves, "EARLY", 4):
            for seq in (*range(2, 9999), *range(20000, 20100, 2)):
                found.add(events.Write(seq, HERE, 0, 0, 1, seq))
                self.assertLessEqual(max(len(found.early), len(found.ends)), moves.EARLY)
        self.assertEqual(found.reasons[:2], ["write 2 of device 0000000a, where 1 was expected",
                                             "write 20000 of device 0000000a, where 9999 was "
                                             "expected"])

    def test_write_that_comes_late(self):
        """A thread waited for the host, while another channel wrote pages for as long."""
        found = moves.Order()
        with mock.patch.object(moves, "EARLY", 1):
            for seq in (1, *range(3, 100000), 2):
                found.add(events.Write(seq, HERE, 0, 0, 1, seq))
        found.end()
        self.assertEqual((found.reasons, found.writes, found.ends), ([], 99999, {}))

    def test_write_made_twice_while_another_is_late(self):
        found = order(("write", HERE, 2, 1), ("write", HERE, 3, 1), ("write", HERE, 3, 1),
                      ("write", HERE, 1, 1))
        self.assertEqual(found.reasons,
                         ["write 3 of device 0000000a, where 4 was expected"])


class AfterStop(unittest.TestCase):
    """No DMA but in RUNNING and PRE_COPY."""

    def test_good(self):
        good = order(("write", HERE, 1, 1), ("state", HERE, moves.PRE_COPY),
                     ("write", HERE, 2, 1), ("state", HERE, 1), ("write", THERE, 3, 1),
                     ("state", HERE, moves.RUNNING), ("write", HERE, 4, 1))
        self.assertEqual(good.reasons, [])

    def test_bad(self):
        for state in (0, 1, 3, 4, 5, 7):
            bad = order(("state", HERE, state), ("write", HERE, 1, 1))
            self.assertRegex(bad.reasons[0], f"in state {state}")


class Written(unittest.TestCase):
    """RAM against the devices' ledgers."""

    def missing(self, held, *ledgers, window="0x1000-0x2fff", first=0, since=0):
        """Reasons for RAM at the address @first with these stamps: page -> (number, IOVA's
        page)."""
        written = moves.Written(since)
        for ledger in ledgers:
            written.add({page: proof.Ledger(seq, 1, 0) for page, seq in ledger.items()})
        data = bytearray(ram.CHUNK)
        for page, (seq, where) in held.items():
            ram.STAMP.pack_into(data, page * ram.PAGE_SIZE, ram.STAMP_MAGIC, seq, where << 12)
        with tempfile.TemporaryFile() as file:
            file.write(data)
            file.flush()
            memory = guest_memory.files_of(file.fileno(), len(data), first)
            return written.missing(memory, moves.window_pages(window))

    def test_good(self):
        self.assertEqual(self.missing({1: (9, 1)}, {1: 5}, {1: 9, 3: 8}), [])
        self.assertEqual(self.missing({1: (9, 1), 3: (4, 3)}, {1: 9, 3: 4},
                                      window="0x1000-0x1fff,0x3000-0x3fff"), [])

    def test_booted_anew(self):
        """What was written before that is gone."""
        self.assertEqual(self.missing({1: (9, 1)}, {1: 9, 2: 8}, since=8), [])
        self.assertTrue(self.missing({1: (9, 1)}, {1: 9, 2: 8}, since=7))

    def test_above_the_hole(self):
        """A page's place in the file is not its address."""
        high, page = 1 << 32, 1 << 20
        self.assertEqual(self.missing({1: (9, page + 1)}, {page + 1: 9}, first=high,
                                      window="0x100001000-0x100002fff"), [])
        self.assertTrue(self.missing({2: (9, page + 1)}, {page + 1: 9}, first=high,
                                     window="0x100001000-0x100002fff"))
        with self.assertRaisesRegex(memory_map.BadMemory, "no RAM at 0x1000"):
            self.missing({1: (9, 1)}, {1: 9}, first=high)

    def test_old(self):
        self.assertIn("holds write 5, the last was 9", self.missing({1: (5, 1)}, {1: 9})[1])

    def test_newer_than_its_ledger(self):
        self.assertTrue(self.missing({1: (9, 1), 2: (10, 2)}, {1: 9}))

    def test_in_another_place(self):
        self.assertTrue(self.missing({1: (9, 2)}, {1: 9}))

    def test_nothing_written(self):
        self.assertTrue(self.missing({}, {}))
        self.assertTrue(self.missing({}, {3: 7}))


class Trap(unittest.TestCase):
    """Traps, which break a link at a certain place."""

    def carry(self, pieces, trap, deaf=False):
        """What arrives of @pieces."""
        with tempfile.TemporaryDirectory() as directory:
            here, there = Path(directory, "here"), Path(directory, "there")
            with socket.socket(socket.AF_UNIX) as listener, \
                    socket.socket(socket.AF_UNIX) as sender:
                listener.bind(str(there))
                listener.listen(1)
                got = []

                def receive():
                    peer, _ = listener.accept()
                    with peer:
                        while data := peer.recv(1 << 16):
                            got.append(data)

                thread = threading.Thread(target=receive)
                thread.start()
                with link.Link(here, there, there=trap) as one:
                    if deaf:
                        one.deaf.set()
                    sender.connect(str(here))
                    sender.settimeout(60)
                    try:
                        for number, piece in enumerate(pieces, 1):
                            sender.sendall(piece)
                            self.wait_carried(one, sum(map(len, pieces[:number])))
                        sender.shutdown(socket.SHUT_WR)
                        self.assertEqual(sender.recv(1), b"")
                    except (BrokenPipeError, ConnectionResetError):
                        pass
                    thread.join()
                return b"".join(got)

    def wait_carried(self, one, count):
        """Wait, or two pieces become one if the link's thread is late."""
        deadline = time.monotonic() + 60
        while one.carried < count and not one.error:
            self.assertLess(time.monotonic(), deadline)
            time.sleep(0.001)

    def test_damage(self):
        trap = link.Trap(b"ab.c", failures.damage)
        self.assertEqual(self.carry([b"xxa", b"b", b"-cd", b"ab-c"], trap),
                         b"xxab-" + bytes([ord("c") ^ 0xff]) + b"dab-c")

    def test_break(self):
        trap = link.Trap(b"ab", failures.break_link)
        self.assertEqual(self.carry([b"xxa", b"byy", b"zz"], trap), b"xxa")

    def test_deaf(self):
        self.assertEqual(self.carry([b"xx"], None, deaf=True), b"")

    def test_mark_of_the_state(self):
        record = b"mstr" + struct.pack("<HHIII", 1, 7, 2, 500, 0)
        trap = link.Trap(failures.STATE_RECORD, failures.break_link)
        trap.look(record + bytes(50))
        with self.assertRaises(ConnectionAbortedError):
            trap.look(bytes(200))
        other = link.Trap(failures.STATE_RECORD, failures.break_link)
        other.look(b"mstr" + struct.pack("<HHIII", 1, 7, 1, 8, 0) + bytes(200))
        self.assertFalse(other.sprung)


class Keys(unittest.TestCase):
    """Settings that can't work."""

    def configuration(self, *words):
        """The configuration of a command line."""
        return failures.configuration(arguments.values(failures.KEYS, words))

    def test_cases(self):
        self.assertEqual(len(self.configuration().chosen), len(failures.CASES))
        self.assertEqual(self.configuration("cases=none").chosen, [])
        with self.assertRaisesRegex(SystemExit, "cases=x: must be .* of none, cancelled"):
            self.configuration("cases=x")
        self.assertEqual(failures.KEYS["cases"].words, ("none", *failures.CASES))

    def test_types_differ(self):
        self.assertNotEqual(self.configuration("type=mdma-4").other_type, "mdma-4")


if __name__ == "__main__":
    unittest.main()
