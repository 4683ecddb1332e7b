# SPDX-License-Identifier: GPL-2.0-only
"""The benchmark's rows, its verdict and its page."""

import os
import sys
import tempfile
import unittest
from pathlib import Path
from unittest import mock

REPO = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(REPO / "scripts/lab.d"), str(REPO / "tests/scenarios")]

# pylint: disable=wrong-import-position
import bench
from base import say
from boot import scenario
from play import arguments
from show import bench_html

# Stands in for gnuplot: it prints the colours that it was told to use.
GNUPLOT = """#!/bin/sh
cat >"$0.in"
echo "<?xml?><svg><path stroke='rgb(  0,   0,   3)'/><path stroke='rgb(0,0,4)'/></svg>"
"""


class Rows(unittest.TestCase):
    """What is judged, and how."""

    def test_target(self):
        for ours, good in ((89.9, True), (90, True), (90.1, False)):
            line = bench.row("pin_512", {"pin_512": 4000}, {"pin_512": ours}, {"pin_512": 37})
            self.assertEqual((line["ok"], line["target"]), (good, 90))
            self.assertEqual(sorted(set(line) - {"key"}),
                             ["floor", "ok", "op", "ours", "stock", "target", "unit"])

    def test_target_that_is_a_part_of_stock(self):
        line = bench.row("wait_1t", {"wait_1t": 58e6}, {"wait_1t": 0.6e6}, {})
        self.assertEqual((line["target"], line["ok"]), (580, False))

    def test_slower_than_the_kernels_own(self):
        for ours, good in ((4000, True), (4080, True), (4081, False)):
            self.assertIs(bench.row("ring_1", {"ring_1": 4000}, {"ring_1": ours}, {})["ok"], good)
        # Whatever its target.
        self.assertIs(bench.row("pin_512", {"pin_512": 40}, {"pin_512": 50}, {})["ok"], False)
        # Memory has targets alone, and some rows are compared as a whole.
        self.assertIs(bench.row("memory_isolated", {"memory_isolated": 63},
                                {"memory_isolated": 112}, {})["ok"], True)
        for key, (whole, reason) in bench.WHOLE.items():
            self.assertIsNot(bench.row(key, {key: 1}, {key: 1000}, {})["ok"], False)
            self.assertIs(bench.row(whole, {whole: 1000}, {whole: 2000}, {})["ok"], False)
            self.assertTrue(reason)

    def test_not_measured(self):
        self.assertIsNone(bench.row("pin_512", {}, {}, {})["ok"])

    def test_gain(self):
        for stock, gain in ((4360, "85.2x"), (51.2, "1.0x"), (48, "0.94x"), (0.5, "0.010x"),
                            (None, ""), (0, "")):
            self.assertEqual(bench_html.gain({"stock": stock, "ours": 51.2}, "x"), gain)

    def test_every_target_of_the_design_is_there(self):
        targets = {key: target for key, (_, _, target) in bench.ROWS.items()
                   if target is not None}
        self.assertEqual(targets, {
            "pin_512": 90, "unpin_512": 55, "pin_512_thread": 55,
            "unpin_512_thread": 16, "pin_1": 3000, "unpin_1": 700, "start_1t": 20,
            "start_1t_bytes": 0, "start_1g": 20, "get_1t_1024": 15000, "get_1g_all": 300,
            "memory_dense": 10, "memory_isolated": 160, "memory_scattered": 160, "memory_1t": 40,
            "wait_1t": "1 %", "wait_start": 150, "wait_map": 150, "wait_get": 150,
            "wait_stop": 150, "wait_unmap": 150, "wait_pin": 150, "wait_unpin": 150, "wait_unpin_mappings": 150,
            "get_hole": 10})

    def test_steeper_than_what_grows(self):
        for last, found in ((1000, []), (1100, []),
                            (1101, ["get_by_dirty_5: 100 ns, get_by_dirty_50: 1101 ns"])):
            self.assertEqual(bench.steeper({"get_by_dirty_5": 100, "get_by_dirty_50": last}), found)
        # Between two that were measured, and by as much as lies between them.
        self.assertEqual(bench.steeper({"mapped_1": 100, "mapped_16": 1760}), [])
        self.assertEqual(len(bench.steeper({"mapped_1": 100, "mapped_16": 1761})), 1)


class Settings(unittest.TestCase):
    """A group that does not exist is refused on the host, before anything is booted."""

    def test_refused(self):
        for words in (["only=pin,pim"], ["only="], ["backend=theirs"], ["only=pin,"]):
            with self.assertRaises(say.UsageError):
                scenario.pairs("bench", words)
            with self.assertRaises(SystemExit):
                arguments.values(bench.KEYS, words)

    def test_taken(self):
        self.assertEqual(scenario.pairs("bench", ["only=pin,get", "backend=ours"]),
                         {"only": "pin,get", "backend": "ours"})

    def test_groups_are_the_programs(self):
        text = (REPO / "tests/bench/bench.c").read_text()
        groups = text[text.index("} groups[] = {"):]
        for name in set(bench.KEYS["only"].words) - {"engine"}:
            self.assertIn(f'{{ "{name}", group_{name} }}', groups)


class Page(unittest.TestCase):
    """bench.html."""

    def setUp(self):
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.gnuplot = Path(directory.name, "gnuplot")
        self.gnuplot.write_text(GNUPLOT)
        self.gnuplot.chmod(0o755)
        path = f"{directory.name}:{os.environ['PATH']}"
        patch = mock.patch.dict(os.environ, PATH=path)
        patch.start()
        self.addCleanup(patch.stop)

    def test_page(self):
        rows = [bench.row(key, {key: 4e6}, {key: 2e6}, {})
                for key in ("mapped_1", "mapped_16", "dirty_256", "pin_512")]
        page = bench_html.render({"kernel": "6.12<x>", "rows": rows}, bench.curves(rows))
        self.assertEqual(page.count("</figure>"), 2)
        self.assertIn("6.12&lt;x&gt;", page)
        self.assertIn('class="verdict fail"', page)
        self.assertIn("stroke='var(--orange)'", page)
        self.assertIn("stroke='var(--blue)'", page)
        self.assertNotIn("http", page.replace("http-equiv", ""))
        self.assertIn('class="bad">2,000,000<', page)

    def test_curve_that_one_backend_can_t_have(self):
        text = bench_html.script("x", "GET", "GiB", [(1, 4000, 2000), (16384, None, 9000)])
        self.assertIn("$stock << END\n1 4.000000\nEND", text)
        self.assertIn("$ours << END\n1 2.000000\n16384 9.000000\nEND", text)
        text = bench_html.script("x", "GET", "GiB", [(16384, None, 9000)])
        self.assertNotIn("plot $stock", text)


if __name__ == "__main__":
    unittest.main()
