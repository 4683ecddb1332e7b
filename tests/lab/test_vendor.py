#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""The judge of a vendor driver's migration must be able to fail, and its control to be blind: one
case for each thing that it checks. And the page of its report."""

import contextlib
import io
import json
import sys
import unittest
from pathlib import Path
from unittest import mock

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parents[1] / "scripts/lab.d")]

# pylint: disable=wrong-import-position
from boot import scenario
from judge import vendor
from show import report, report_html
from test_proof import (START, STOP, Evidence, differs, report as end, run, small_results, write)

WORDS = {"works": "MDMA-GUEST pass", "fails": "MDMA-GUEST fail"}
WRITES = ["mdma/mdma_write", "iova", "npages"]
WRITES_MIN = vendor.WRITES_MIN
LOST_BYTE = "MDMA-GUEST fail 2: byte 4 is 0, not 29.\n"


class Leg(Evidence):
    """A leg of a driver that says what it wrote. It writes nothing after the switchover."""

    def __init__(self, writes=None):
        super().__init__()
        self.events = [event for event in self.events if "feedf00d" not in event]
        self.facts.update(writes=writes, pages_min=3, caught_by=["guest"], guest=WORDS)
        if not writes:
            self.events, self.qemu = [START, end(7, 0), STOP], [0]

    def lose_byte(self):
        """Make it the evidence of a device that loses some of its state."""
        self.destination = LOST_BYTE
        self.facts["summary"]["backend"] = "mutant"
        return self


class Judge(unittest.TestCase):
    """The main leg passes and the control is caught, unless something is broken."""

    def setUp(self):
        small_results(self)
        self.main, self.control = Leg(), Leg().lose_byte()

    def verdict(self):
        """Judge both."""
        self.main.save(self.results / "main")
        self.control.save(self.results / "control")
        return vendor.judge(self.results)

    def fails(self, words):
        """The verdict is fail, for one reason, in these words."""
        verdict = self.verdict()
        self.assertEqual(verdict["verdict"], "fail")
        self.assertEqual(len(verdict["reasons"]), 1, verdict["reasons"])
        self.assertRegex(verdict["reasons"][0], words)

    def test_pass(self):
        verdict = self.verdict()
        self.assertEqual((verdict["verdict"], verdict["reasons"]), ("pass", []))
        self.assertEqual((verdict["pages_lost"], verdict["pages_written"]), (None, None))
        self.assertEqual(verdict["control"]["verdict"], "caught")
        self.assertEqual([what for what, good in verdict["claims"] if not good], [])
        self.assertNotIn("no page is lost", [what for what, _ in verdict["claims"]])

    def test_ram_differs(self):
        self.main.different = [differs(3, source_seq=None, destination_seq=None)]
        self.fails("^ram_pages_different is 1, must be 0")

    def test_part_of_ram(self):
        self.main.compared -= 1
        self.fails("oracle broken: RAM: 63 of 64 pages compared")

    def test_guest_fails(self):
        self.main.destination += LOST_BYTE
        self.fails("^guest_checks_failed is 1")

    def test_guest_says_nothing_there(self):
        self.main.destination = "MDMA-GUEST beat 1 2.0\n"
        self.fails("^no check of the guest passed at the destination")

    def test_guest_never_worked(self):
        """A guest that works only after the migration has proven nothing about it."""
        self.main.source = "MDMA-GUEST ready\n"
        self.fails("^no check of the guest passed at the source")

    def test_line_over_both(self):
        """A line counts where it ends."""
        self.main.source += "MDMA-GUEST pa"
        self.main.destination = "ss 2\n"
        self.assertEqual(self.verdict()["guest_checks_passed_destination"], 1)

    def test_words_of_another_guest(self):
        self.main.facts["guest"] = {"works": "login:", "fails": "panic"}
        self.main.source, self.main.destination = "a login:\n", "b login: \n"
        self.assertEqual(self.verdict()["verdict"], "pass")

    def test_no_rounds(self):
        self.main.facts["summary"]["rounds"] = 2
        self.fails("rounds is 2")

    def test_not_migrated(self):
        self.main.facts["summary"]["migration_status"] = "cancelled"
        self.fails("^migration: cancelled")

    def test_tracked_by_the_device(self):
        """Nobody knows what such a log is worth."""
        self.main.events[self.main.events.index(START)] = "mdma_log_start: device=0badcafe"
        self.fails("tracking never started")

    def test_report_contradicts_itself(self):
        self.main.events.insert(1, run(7, 3))
        self.fails("report 7: . pages, its runs have .")

    def test_lab_broke(self):
        (self.results / "job.json").write_text("{}")
        (self.results / "status").write_text("1\n")
        self.fails("^the scenario ended with 1")

    def test_not_tracked(self):
        self.main.events = [end(7, 0)]
        self.fails("tracking never started")

    def test_told_otherwise(self):
        """QEMU's own trace must agree."""
        self.main.qemu = [5]
        self.fails("QEMU was told 5 pages")

    def test_scenario_broke(self):
        self.main.facts["error"] = "GuestError: QEMU ended"
        self.fails("^GuestError: QEMU ended")

    def test_evidence_is_missing(self):
        self.main.save(self.results / "main")
        (self.results / "main/ram.json").unlink()
        self.control.save(self.results / "control")
        self.assertRegex(vendor.judge(self.results)["reasons"][0], "oracle broken: .*ram.json")

    # --- the control

    def test_not_caught(self):
        self.control.destination = "MDMA-GUEST pass 2\n"
        self.fails("^control: guest_checks_failed_destination is 0")

    def test_failed_before(self):
        """A guest that failed at the source says nothing about the migration."""
        self.control.source += LOST_BYTE
        self.fails("^control: a check of the guest failed at the source")

    def test_same_modules(self):
        self.control.facts["summary"]["backend"] = "ours"
        self.fails("^control: ran on the same modules")

    def test_nobody_wanted(self):
        self.control.facts["caught_by"] = []
        self.fails("^control: nobody had to find it")

    def test_wrong_finder(self):
        """RAM must differ, and does not."""
        self.control.facts["caught_by"] = ["guest", "ram"]
        self.fails("^control: ram_pages_different is 0")

    def test_no_control(self):
        self.main.save(self.results / "main")
        verdict = vendor.judge(self.results, with_control=False)
        self.assertEqual((verdict["verdict"], verdict["control"]), ("pass", None))


class WithWrites(Judge):
    """The same for a driver that says what it wrote, and two more."""

    def setUp(self):
        super().setUp()
        self.least(5)
        self.main, self.control = Leg(WRITES), Leg(WRITES).lose_byte()

    def least(self, pages):
        """So many page writes are enough."""
        patch = mock.patch.object(vendor, "WRITES_MIN", pages)
        patch.start()
        self.addCleanup(patch.stop)

    def test_pass(self):
        verdict = self.verdict()
        self.assertEqual((verdict["verdict"], verdict["pages_lost"]), ("pass", 0))
        self.assertEqual(verdict["pages_written_tracked"], 5)
        self.assertIn(["no page is lost", True], [list(claim) for claim in verdict["claims"]])

    def test_lost(self):
        self.main.events.remove(run(8, 3))
        self.main.events[self.main.events.index(end(8, 1))] = end(8, 0)
        self.main.qemu = [4, 0]
        self.fails("^pages_lost is 1")

    def test_written_after_all(self):
        """A write after the last report is lost."""
        self.main.events.append(write(8, 5))
        self.fails("^pages_lost is 1")

    def test_wrote_little(self):
        self.main.facts["pages_min"] = 6
        self.fails("^pages_written_tracked is 5, must be at least 6")

    def test_nobody_counts(self):
        """A driver without written() has written five pages, which prove nothing."""
        self.least(WRITES_MIN)
        self.main.facts["pages_min"] = 0
        self.control.facts["pages_min"] = 3
        reasons = self.verdict()["reasons"]
        self.assertEqual(len(reasons), 2)
        self.assertEqual(reasons[0], "pages_written_tracked is 5, must be at least 1000; give the "
                         "adapter a written(), or try more rounds=")
        self.assertEqual(reasons[1], "control: pages_written_tracked is 5, must be at least 1000")

    def test_not_tracked(self):
        self.main.events.remove(START)
        self.fails("tracking never started")

    def test_told_otherwise(self):
        self.main.qemu = [5, 1]
        self.fails("QEMU was told 6 pages")

    def test_control_of_the_backend(self):
        """Both oracles must find it, and the guest need not."""
        self.control = Leg(WRITES).forget()
        self.control.facts["caught_by"] = ["set", "ram"]
        verdict = self.verdict()
        self.assertEqual(verdict["verdict"], "pass", verdict["reasons"])


class Page(unittest.TestCase):
    """What a run leaves for people."""

    def test_report(self):
        small_results(self)
        Leg().save(self.results / "main")
        Leg().lose_byte().save(self.results / "control")
        with contextlib.redirect_stdout(io.StringIO()) as said:
            self.assertEqual(report.finish(self.results, scenario.keys("vendor"), vendor.judge), 0)
        self.assertIn("verdict: pass", said.getvalue())
        page = (self.results / "report.html").read_text()
        for words in ("A vendor driver on", "the guest works there", "modules with a defect",
                      "PASS: RAM is the same", "the guest says: MDMA-GUEST fail 2: byte 4 is 0"):
            self.assertIn(words, page)
        for words in ("✗", "no page lost", "Lost pages", "page writes by the device",
                      "writes its memory"):
            self.assertNotIn(words, page)
        self.assertNotIn("Lost pages", said.getvalue())
        self.assertIn("control: the guest fails at the destination",
                      (self.results / "proof.ktap").read_text())
        self.assertEqual(json.loads((self.results / "report.json").read_text())["verdict"], "pass")

    def test_lost(self):
        """There is no ledger that could number the writes."""
        self.enterContext(mock.patch.object(vendor, "WRITES_MIN", 5))
        small_results(self)
        Leg(WRITES).save(self.results / "main")
        control = Leg(WRITES).forget()
        control.facts["caught_by"] = ["set", "ram"]
        control.save(self.results / "control")
        with contextlib.redirect_stdout(io.StringIO()) as said:
            self.assertEqual(report.finish(self.results, scenario.keys("vendor"), vendor.judge), 0)
        self.assertRegex(said.getvalue(), "last write –, last report")
        page = (self.results / "report.html").read_text()
        self.assertIn("lost, by trace and reports", page)
        self.assertNotIn("ledger", page.partition("Raw data")[0])

    def test_nothing_reported(self):
        """There is nothing to draw then."""
        entry = {"round": 2, "reported": 0, "retained": 0}
        self.assertEqual(report_html.rounds_section([("Main", {"by_round": [entry]})]), "")
        entry["reported"] = 3
        self.assertIn("in each round",
                      report_html.rounds_section([("Main", {"by_round": [entry]})]))


if __name__ == "__main__":
    unittest.main()
