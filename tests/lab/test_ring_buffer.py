#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""Sub-buffers of ftrace: recorded ones from the lab, and everything that they can contain."""

import shutil
import sys
import tempfile
import unittest
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parents[1] / "scripts/lab.d")]

# pylint: disable=wrong-import-position
import recording
from judge import ring_buffer
from recording import RECORDED, event, page

WORD = ring_buffer.EVENT.pack


def clocks(data):
    """(clock, data) of each event of a sub-buffer."""
    return [(clock, data[at:at + length]) for clock, at, length in
            ring_buffer.events_of_page(data)]


class Page(unittest.TestCase):
    """One sub-buffer."""

    def test_events(self):
        self.assertEqual(clocks(page(1000, event(0, b"aaaa") + event(7, b"bbbbcccc"))),
                         [(1000, b"aaaa"), (1007, b"bbbbcccc")])

    def test_empty(self):
        self.assertEqual(clocks(page(1000, b"")), [])

    def test_long_event(self):
        body = WORD(3 << 5) + WORD(4 + 120) + bytes(120) + event(1, b"aaaa")
        self.assertEqual(clocks(page(10, body)), [(13, bytes(120)), (14, b"aaaa")])

    def test_clock_that_is_far_on(self):
        body = WORD(5 << 5 | ring_buffer.EXTEND) + WORD(3) + event(1, b"aaaa")
        self.assertEqual(clocks(page(10, body)), [(10 + (3 << 27) + 5 + 1, b"aaaa")])

    def test_absolute_clock(self):
        high = 1 << 60
        body = WORD(9 << 5 | ring_buffer.STAMP) + WORD(2) + event(0, b"aaaa")
        self.assertEqual(clocks(page(high | 77, body)), [(high | (2 << 27) + 9, b"aaaa")])

    def test_padding(self):
        gone = WORD(1 << 5 | ring_buffer.PADDING) + WORD(4 + 8) + bytes(8)
        rest = WORD(ring_buffer.PADDING) + bytes(64)
        self.assertEqual(clocks(page(10, event(0, b"aaaa") + gone + event(2, b"bbbb") + rest)),
                         [(10, b"aaaa"), (12, b"bbbb")])

    def test_missed_events(self):
        with self.assertRaisesRegex(ring_buffer.BadTrace, "missing before"):
            clocks(page(10, event(0, b"aaaa"), ring_buffer.MISSED))

    def test_more_than_there_is(self):
        for data in (page(10, event(0, b"aaaa"), 1 << 20), page(10, WORD(0))):
            with self.assertRaises(ring_buffer.BadTrace):
                clocks(data)


class Recorded(unittest.TestCase):
    """A device with two channels, each of which made 40 writes of a page, moving from CPU to
    CPU."""

    WANTED = {"mdma_write": ("seq", "channel"), "mdma_pin": ("ret", "iova"), "mdma_state": ()}

    def setUp(self):
        temporary = tempfile.TemporaryDirectory()
        self.addCleanup(temporary.cleanup)
        self.directory = Path(temporary.name) / "trace"
        shutil.copytree(RECORDED, self.directory)

    def read(self, wanted=None):
        """All events."""
        return list(ring_buffer.Recording(self.directory, wanted or self.WANTED))

    def change(self, name, old, new):
        """Replace a text in a file, once."""
        text = (self.directory / name).read_text()
        self.assertIn(old, text)
        (self.directory / name).write_text(text.replace(old, new, 1))

    def fails(self, words):
        """Reading must end with these words."""
        with self.assertRaisesRegex(ring_buffer.BadTrace, words):
            self.read()

    def test_all_is_there_in_order(self):
        found = self.read()
        clock = [event[0] for event in found]
        self.assertEqual(clock, sorted(set(clock)))
        writes = [values for _, name, values in found if name == "mdma_write"]
        self.assertEqual(sorted(seq for seq, _ in writes), list(range(1, 81)))
        for channel in (0, 1):
            seqs = [seq for seq, number in writes if number == channel]
            self.assertEqual((len(seqs), seqs), (40, sorted(seqs)))
        pins = [values for _, name, values in found if name == "mdma_pin"]
        self.assertEqual([ret for ret, _ in pins], [1] * 80)
        self.assertTrue(all(iova % 4096 == 0 and iova < 64 << 20 for _, iova in pins))

    def test_both_cpus_have_a_part(self):
        stats = ring_buffer.counters((self.directory / "stats.txt").read_text())
        self.assertEqual(sum(cpu["read events"] for cpu in stats.values()), 3 * 80)
        self.assertTrue(all(cpu["read events"] for cpu in stats.values()))

    def test_dropped(self):
        self.change("stats.txt", "dropped events: 0", "dropped events: 7")
        self.fails("ring buffer dropped events: 7")

    def test_left_in_the_buffer(self):
        self.change("stats.txt", "entries: 0", "entries: 1")
        self.fails("cpu0: [0-9]+ events happened, [0-9]+ were taken")

    def test_no_counters(self):
        (self.directory / "stats.txt").write_text("cpu0\nentries: 0\n")
        self.fails("no counters")

    def test_sub_buffer_lost(self):
        path = self.directory / "cpu1.raw"
        path.write_bytes(path.read_bytes()[:-4096])
        self.fails("cpu1: [0-9]+ events happened")

    def test_sub_buffers_in_another_order(self):
        path = next(path for path in sorted(self.directory.glob("cpu*.raw"))
                    if path.stat().st_size >= 8192)
        data = path.read_bytes()
        path.write_bytes(data[4096:8192] + data[:4096] + data[8192:])
        self.fails("order goes back")

    def test_two_events_at_one_place(self):
        shutil.copy(self.directory / "cpu0.raw", self.directory / "cpu1.raw")
        self.fails("order goes back")

    def test_event_without_a_format(self):
        number = next(number for number, layout in ring_buffer.layouts(
            (self.directory / "formats.txt").read_text()).items() if layout.name == "mdma_unpin")
        self.change("formats.txt", f"ID: {number}\n", "ID: 9\n")
        self.fails(f"an event of number {number}, which has no format")

    def test_field_that_is_not_there(self):
        with self.assertRaisesRegex(ring_buffer.BadTrace, "mdma_write without a field color"):
            self.read({"mdma_write": ("color",)})

    def test_field_beyond_the_event(self):
        self.change("formats.txt", "offset:32;\tsize:8;", "offset:320;\tsize:8;")
        self.fails("mdma_write of [0-9]+ bytes, must be 328")

    def test_other_sub_buffers(self):
        self.change("header_page.txt", "offset:16", "offset:24")
        self.fails("begin as none that is known")

    def test_made_ones_are_read_as_well(self):
        recording.save(self.directory / "made", [
            "mdma_write: device=0badcafe channel=3 iova=0x5000 npages=1 seq=9",
            "mdma_pin: device=0badcafe iova=0x5000 npages=1 write=1 ret=-14"])
        self.assertEqual([values for _, _, values in ring_buffer.Recording(
            self.directory / "made", self.WANTED)], [(9, 3), (-14, 0x5000)])


if __name__ == "__main__":
    unittest.main()
