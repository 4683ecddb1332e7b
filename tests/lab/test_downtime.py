#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""The experiment on downtime: its points, its link, and the numbers from its evidence."""

import copy
import json
import re
import socket
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
import experiment
from judge import downtime, points
from play import arguments, link
from show import downtime_plots, downtime_report

PAGE = points.PAGE_SIZE
GET = "vfio_get_dirty_bitmap iova=0x0 size= 0x1000 bitmap_size=0x8 start=0x0 dirty_pages="

# 1000 s: the first count; 1004: the second; 1005: the decision; 1005.1: the stop.
LOG = f"""\
7@900.000000:vfio_migration_set_device_state  (some-uuid) state RESUMING
7@1000.000000:migration_bitmap_sync_start
7@1000.100000:{GET}5
7@1000.200000:migration_bitmap_sync_end dirty_pages 0
7@1003.900000:migrate_transferred transferred 1 time_spent 100 bandwidth 9 switchover_bw 0 max_size 9
7@1004.000000:migration_bitmap_sync_start
7@1004.100000:{GET}20
7@1004.100000:{GET}1
7@1004.200000:migration_bitmap_sync_end dirty_pages 50
7@1004.300000:migrate_pending_exact exact pending size 409600 (pre = 409600 post=0)
7@1004.900000:migrate_transferred transferred 9 time_spent 100 bandwidth 4096 switchover_bw 0 max_size 9
7@1005.000000:migration_thread_low_pending 409600
7@1005.100000:migration_completion_vm_stop ret 0
7@1005.110000:migration_bitmap_sync_start
7@1005.120000:{GET}30
7@1005.130000:migration_bitmap_sync_end dirty_pages 60
7@1005.200000:migrate_transferred transferred 9 time_spent 100 bandwidth 77 switchover_bw 0 max_size 9
"""


def sample(at, status, expected, written):
    """One look at query-migrate."""
    return {"time": at, "status": status, "rounds": 2, "remaining": 9, "transferred": 9,
            "expected_downtime": expected, "written": written, "pinned": 0}


def evidence(name="pre-thread"):
    """The facts of a trial that went well: 100 pages expected, 150 sent in 120 ms."""
    one = points.choose(name)[0]
    return {
        "point": one._asdict(), "repeat": 1, "converged": True, "bandwidth": 4,
        "samples": [sample(1000, "setup", None, 100), sample(1003, "active", 80, 400),
                    sample(1005, "active", 99, 600), sample(1006, "completed", None, 600)],
        "migration": {"downtime": 110, "ram": {
            "dirty-sync-count": 3, "downtime-bytes": 150 * PAGE, "transferred": 1000 * PAGE}},
        "stopped": 1005.1, "resumed": 1005.22, "guest_complaints": [],
        "link": {"error": None, "bytes": 1001 * PAGE,
                 "series": [[1000, 0], [1003, 700 * PAGE], [1005, 900 * PAGE],
                            [1006, 1001 * PAGE]]},
    }


class Points(unittest.TestCase):
    """What is played."""

    def test_enough_and_unique(self):
        names = [one.name for one in points.all_points()]
        self.assertEqual(len(names), len(set(names)))
        matrix = [one for one in points.all_points() if one.group == "matrix"]
        self.assertEqual(len(matrix), 18)
        self.assertEqual({(one.reported, one.workload, one.rate) for one in matrix},
                         {(how, kind, load - points.VCPU_RATE) for how in ("pre", "stop")
                          for kind in ("retained", "held", "both") for load in points.LOADS})

    def test_choose(self):
        def names(words):
            return [one.name for one in points.choose(words)]

        self.assertEqual(names("thread"), ["pre-thread", "stop-thread"])
        self.assertEqual(names("stop-held-*,pre-thread"),
                         ["pre-thread", "stop-held-0.5", "stop-held-1", "stop-held-2"])
        self.assertEqual(names("all"), [one.name for one in points.all_points()])
        with self.assertRaisesRegex(ValueError, "no point 'nothing'; there are: pre-thread"):
            points.choose("thread,nothing")

    def test_settings(self):
        """8 MiB/s is 2048 pages a second, and 1024 pages in a limit of 500 ms."""
        held = points.choose("pre-held-0.5")[0]
        self.assertEqual(points.settings(held, 8, 500), {
            "pattern": "sequential", "direction": "write", "batch": 16, "pages": 1536,
            "rate": 32, "hold_ms": 6000})

    def test_same_workload(self):
        """A remedy changes one thing of the point that it remedies."""
        base = points.choose("pre-held-0.5")[0]._asdict()
        for name, changed in (("short-hold", {"cycles"}), ("fewer-held", {"pages"}),
                              ("read-only", {"direction"}),
                              ("device-tracking", {"tracking"})):
            other = points.choose(name)[0]._asdict()
            differs = {key for key, value in base.items() if other[key] != value}
            self.assertEqual(differs - {"name", "group", "workload"}, changed, name)


class Settings(unittest.TestCase):
    """The scenario's configuration."""

    def configuration(self, *words):
        """The configuration that words make."""
        return experiment.configuration(arguments.values(experiment.KEYS, words))

    def test_guest(self):
        config = self.configuration("bandwidth=16", "downtime_limit_ms=500")
        self.assertEqual((config.window_mb, config.dirty_mb), (24, 6))
        self.assertRegex(config.append, "mdma.checks=0 mdma.dirty_pages_per_s=1024$")

    def test_refused(self):
        for words, text in ((["points=x"], "no point 'x'"),
                            (["repeat=0"], "repeat=0: must be 1 or more"),
                            (["bandwidth=1000"], "mem_mb must be more than")):
            with self.subTest(words=words), self.assertRaisesRegex(SystemExit, text):
                self.configuration(*words)

    def test_place(self):
        pre, stop = points.choose("thread")
        self.assertEqual(experiment.place(pre), {
            "properties": "x-pre-copy-dirty-page-tracking=on,x-device-dirty-page-tracking=off",
            "track": False})
        self.assertIn("x-pre-copy-dirty-page-tracking=off", experiment.place(stop)["properties"])
        self.assertEqual(experiment.place(points.choose("device-tracking")[0]), {
            "properties": "x-pre-copy-dirty-page-tracking=on", "track": True})

    def test_thin(self):
        series = [(i / 1000, i) for i in range(101)]
        self.assertEqual(experiment.thin(series, 0.05), [series[0], series[50], series[100]])


class Link(unittest.TestCase):
    """The link between two QEMUs."""

    def carry(self, rate, count):
        """Send @count bytes; (seconds, what arrived, the link)."""
        with tempfile.TemporaryDirectory() as directory:
            here, there = Path(directory, "here"), Path(directory, "there")
            listener = socket.socket(socket.AF_UNIX)
            listener.bind(str(there))
            listener.listen(1)
            listener.settimeout(60)
            got = []

            def receive():
                peer, _ = listener.accept()
                peer.settimeout(60)
                while data := peer.recv(1 << 16):
                    got.append(data)
                peer.sendall(b"thanks")
                peer.close()

            thread = threading.Thread(target=receive)
            thread.start()
            with link.Link(here, there, rate) as one:
                sender = socket.socket(socket.AF_UNIX)
                sender.connect(str(here))
                sender.settimeout(60)
                begin = time.monotonic()
                sender.sendall(bytes(range(256)) * (count // 256))
                sender.shutdown(socket.SHUT_WR)
                self.assertEqual(sender.recv(16), b"thanks")
                took = time.monotonic() - begin
                thread.join()
                sender.close()
            listener.close()
            self.assertFalse(here.exists())
            return took, b"".join(got), one

    def test_limited(self):
        took, got, one = self.carry(2 << 20, 1 << 20)
        self.assertEqual(got, bytes(range(256)) * 4096)
        self.assertEqual((one.carried, one.error), (1 << 20, None))
        self.assertGreater(took, 0.42)

    def test_unlimited(self):
        with mock.patch.object(link.time, "sleep") as sleep:
            self.carry(0, 1 << 20)
        sleep.assert_not_called()

    def test_nobody_there(self):
        with tempfile.TemporaryDirectory() as directory:
            with link.Link(Path(directory, "a"), Path(directory, "none"), 0) as one:
                sender = socket.socket(socket.AF_UNIX)
                sender.connect(str(Path(directory, "a")))
                deadline = time.monotonic() + 60
                while not one.error and time.monotonic() < deadline:
                    time.sleep(0.01)
                sender.close()
            self.assertRegex(one.error, "No such file")


class Measure(unittest.TestCase):
    """From evidence to numbers."""

    def test_numbers(self):
        row = downtime.measure(evidence(), LOG)
        self.assertEqual((row["expected_pages"], row["actual_pages"], row["ratio"]),
                         (100, 150, 1.5))
        # In the 100 ms until the stop, 100 pages a second of the device and 256 of the vCPU.
        self.assertAlmostEqual(row["late"], 0.356, 5)
        self.assertAlmostEqual(row["ratio_least"], 1.5 - 0.356, 5)
        # 409600 bytes at 4096 bytes a ms: of the last bandwidth before the decision.
        self.assertEqual(row["expected_ms"], 100)
        self.assertAlmostEqual(row["actual_ms"], 120, 3)
        self.assertAlmostEqual(row["ratio_ms"], 1.2, 5)
        self.assertEqual((row["reported_ms"], row["qemu_downtime_ms"]), (99, 110))
        self.assertEqual(row["reported"], [5, 21, 30])
        self.assertEqual((row["reports_before"], row["last_reported"]), (3, 30))
        # At 1004 s, half way between two entries, the link had carried 800 pages.
        self.assertEqual(row["bytes_again"], 201 * PAGE)
        # In 2 s, of a link that carries 1024 pages a second.
        self.assertAlmostEqual(row["link_rate"], 201 / 2 / 1024, 5)
        self.assertEqual(row["device_rate"], 100)
        # After the count at 1004 s, none was written between the samples of 1005 and 1006.
        self.assertEqual((row["reported_again"], row["written_again"]), (30, 0))
        facts = evidence()
        facts["samples"][1]["time"] = 1004
        self.assertEqual(downtime.measure(facts, LOG)["reported_per_write"], 30 / 200)
        self.assertEqual(downtime.problems(evidence(), row), [])

    def test_incomplete(self):
        for what, text in (("migration_thread_low_pending", "never decided to stop"),
                           ("migration_bitmap_sync_start", "no count of dirty pages")):
            log = LOG.replace(what, "something_else")
            with self.assertRaisesRegex(downtime.NoEvidence, text):
                downtime.measure(evidence(), log)
        with self.assertRaisesRegex(downtime.NoEvidence, "before it knew a bandwidth"):
            downtime.measure(evidence(), LOG.replace("migrate_transferred", "x"))
        for key in ("stopped", "resumed"):
            with self.assertRaisesRegex(downtime.NoEvidence, "did not say when"):
                downtime.measure(dict(evidence(), **{key: None}), LOG)
        with self.assertRaisesRegex(downtime.NoEvidence, "the guest is gone"):
            downtime.measure(dict(evidence(), error="the guest is gone"), LOG)

    def trouble(self, facts=None, log=LOG):
        """What problems() says about changed evidence."""
        facts = facts or evidence()
        return "; ".join(downtime.problems(facts, downtime.measure(facts, log)))

    def test_inconsistent(self):
        facts = evidence()
        facts["migration"]["ram"]["downtime-bytes"] = 29 * PAGE
        self.assertIn("30 pages reported at last, but only", self.trouble(facts))
        facts = evidence()
        facts["migration"]["ram"]["downtime-bytes"] = 74 * PAGE
        self.assertIn("100 pages expected, but only", self.trouble(facts))
        facts = evidence()
        facts["migration"]["ram"]["dirty-sync-count"] = 4
        self.assertIn("4 rounds, but 3 counts", self.trouble(facts))
        facts = evidence()
        facts["link"]["bytes"] = 999 * PAGE
        self.assertIn("the link carried", self.trouble(facts))
        facts = dict(evidence(), guest_complaints=["MDMA-GUEST fail 1: page 7"])
        self.assertIn("MDMA-GUEST fail 1: page 7", self.trouble(facts))

    def test_property_must_work(self):
        """There are reports before the stop, or none, as the point says."""
        self.assertIn("3 reports before the stop, none wanted",
                      self.trouble(evidence("stop-thread")))
        last = LOG.rindex(GET)
        silent = LOG[:last].replace(GET, "nothing ") + LOG[last:]
        self.assertEqual(self.trouble(evidence("stop-thread"), silent), "")
        self.assertIn("0 reports before the stop, some wanted", self.trouble(log=silent))

    def test_direction(self):
        self.assertIn("30 pages reported, though the device only read",
                      self.trouble(evidence("read-only")))
        self.assertIn("no report holds a page",
                      self.trouble(log=re.sub(f"({GET})[0-9]+", r"\g<1>0", LOG)))


class Whole(unittest.TestCase):
    """A results directory, from trials to the page."""

    def setUp(self):
        # pylint: disable=consider-using-with
        self.directory = tempfile.TemporaryDirectory()
        self.results = Path(self.directory.name)
        self.addCleanup(self.directory.cleanup)
        (self.results / "trials").mkdir()
        (self.results / "plan.json").write_text(json.dumps(
            {"bandwidth": 8, "downtime_limit_ms": 1000, "repeat": 1,
             "chosen": ["pre-thread", "stop-thread"]}))
        last = LOG.rindex(GET)
        self.leave("stop-thread.1", evidence("stop-thread"),
                   LOG[:last].replace(GET, "nothing ") + LOG[last:])
        facts = evidence()
        facts["migration"]["ram"]["downtime-bytes"] = 110 * PAGE
        facts["stopped"] = 1005.05
        self.leave("pre-thread.1", facts, LOG)

    def leave(self, name, facts, log):
        """Save a trial."""
        (self.results / f"trials/{name}.json").write_text(json.dumps(facts))
        (self.results / f"trials/{name}.qemu").write_text(log)

    def test_good(self):
        entry = downtime.collect(self.results)
        self.assertEqual((entry["budget"], entry["capacity"]), (2048, 2048))
        self.assertEqual([(p["name"], p["converged"], p["judged"], p["measured"],
                           p["ratio"]["median"]) for p in entry["points"]],
                         [("pre-thread", 0, 0, 1, 1.1), ("stop-thread", 0, 0, 1, 1.5)])
        self.assertEqual(downtime.complaints(entry), [])

    def test_starved(self):
        """The times of a trial do not count if the machine did not fill the link."""
        one = points.choose("pre-thread")[0]
        row = dict(downtime.measure(evidence(), LOG), problems=[])
        rows = [dict(row, link_rate=rate, actual_ms=ms, ratio=ratio)
                for rate, ms, ratio in ((0.79, 9000, 1), (0.8, 100, 2), (1.1, 110, 3))]
        entry = downtime.summarise(one, rows)
        self.assertEqual((entry["starved"], entry["measured"], entry["ratio"]["median"]), (1, 3, 2))
        self.assertEqual((entry["converged"], entry["judged"]), (2, 2))
        self.assertEqual((downtime.always(entry), downtime.never(entry)), (True, False))
        self.assertEqual(entry["actual_ms"], {"median": 105, "min": 100, "max": 110})
        slow = downtime.summarise(one, rows[:1])
        self.assertEqual((slow["actual_ms"], downtime.always(slow), downtime.never(slow)),
                         (None, None, None))
        free = points.choose("no-link")[0]
        self.assertEqual(downtime.summarise(free, rows[:1])["actual_ms"]["median"], 9000)

    def test_a_trial_is_missing(self):
        (self.results / "trials/pre-thread.1.json").unlink()
        self.assertEqual(downtime.complaints(downtime.collect(self.results)),
                         ["pre-thread: 0 trials of 1"])

    def test_a_trial_failed(self):
        self.leave("pre-thread.1", dict(evidence(), error="QEMU ended"), "")
        entry = downtime.collect(self.results)
        self.assertEqual(downtime.complaints(entry), ["pre-thread.1: QEMU ended"])
        self.assertEqual((entry["points"][0]["measured"], entry["points"][0]["ratio"]), (0, None))
        self.assertNotIn("pre-thread", downtime_report.positions(entry))

    def test_torn_file(self):
        (self.results / "trials/pre-thread.1.json").write_text("{")
        self.assertRegex(downtime.complaints(downtime.collect(self.results))[0],
                         "pre-thread.1: JSONDecodeError")

    def test_findings(self):
        whole = downtime.collect(self.results)
        shown = dict(downtime.findings(whole))
        held = [value for name, value in shown.items() if not name.startswith("thread")]
        self.assertEqual(set(held), {None})
        # 1.5 is not enough of a difference.
        self.assertEqual([value for name, value in shown.items() if name.startswith("thread")],
                         [False, True])
        better = copy.deepcopy(whole)
        better["points"][1]["ratio"]["median"] = 2
        for key, wanted in (("ratio", True), ("ratio_least", False)):
            # What was written after the decision does not count against the estimate.
            better["points"][0][key]["median"] = 1.3
            self.assertEqual([value for name, value in downtime.findings(better)
                              if name.startswith("thread")], [True, wanted])

    def test_late(self):
        """A stop so late that the device could have written what is too much shows nothing."""
        whole = downtime.collect(self.results)
        for late, ratio, wanted in ((0.25, 1.1, True), (0.25, 0.8, False), (0.26, 1.1, None),
                                    (0.26, 0.8, None)):
            whole["points"][0]["late"]["median"] = late
            whole["points"][0]["ratio"]["median"] = ratio
            with self.subTest(late=late, ratio=ratio):
                self.assertIs(dict(downtime.findings(whole))[
                    "thread: reported in pre-copy, QEMU's estimate holds"], wanted)

    def test_table_and_page(self):
        whole = downtime.collect(self.results)
        text = downtime_report.table(whole)
        self.assertRegex(text, r"pre-thread +0.75 +0/0 +3 +0.05 +0.05 +1.10 +- +- +1 +4 +- +10\n")
        page = downtime_report.page(whole, {"bytes": "<?xml?><svg>a plot</svg>"},
                                    downtime_report.as_tests(whole))
        for words in ("1.50 times as much", "<svg>a plot</svg></div><figcaption>Sent after", "Not measured in this run",
                      "NOT shown: thread: reported at the stop"):
            self.assertIn(words, page)

    def test_range(self):
        entry = {"rounds": {"median": 3, "min": 2, "max": 9}, "bytes": None}
        self.assertEqual(downtime_report.cell(entry, "rounds", 1, 0), "3 (2-9)")
        self.assertEqual(downtime_report.cell(entry, "bytes", 1, 0), "-")


class Plots(unittest.TestCase):
    """The scripts for gnuplot."""

    def test_bars(self):
        number = {"median": 4, "min": 2, "max": 6}
        cells = {("retained", 1.0, "pre"): {"ratio": number},
                 ("held", 2.0, "pre"): {"ratio": number}}
        self.assertEqual(downtime_plots.bars(cells, "pre", "ratio", 2),
                         "1 2.0000 1.0000 3.0000\n8 2.0000 1.0000 3.0000")
        self.assertEqual(downtime_plots.bars(cells, "stop", "ratio", 2), "0 0 0 0")

    def test_in_page(self):
        """The page's own colours, and those that the page does not replace."""
        self.assertEqual(downtime_plots.in_page(
            '<?xml?><svg a="#ffffff" b="rgb( 40, 100, 200)" c="rgb(1,2,3)" d="#123456">'),
            '<svg a="var(--card)" b="var(--blue)" c="rgb(1,2,3)" d="#123456">')

    def test_left_to_send(self):
        trial = {"samples": [dict(sample(5, "active", 1, 1), rounds=1), sample(6, "active", 1, 1),
                             dict(sample(7.5, "active", 1, 1), remaining=PAGE * 3),
                             sample(8, "completed", 1, 1)]}
        self.assertEqual(downtime_plots.left_to_send(trial, 2), "0.00 0.0011\n1.50 1.5000")


if __name__ == "__main__":
    unittest.main()
