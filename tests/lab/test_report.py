#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""report.json, the page and the exit code of finished and of broken runs."""

import contextlib
import io
import json
import sys
import unittest
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parents[1] / "scripts/lab.d")]

# pylint: disable=wrong-import-position
from base import ktap
from boot import scenario
from play import throttle
from show import charts, report
from test_proof import Evidence, small_results

SAMPLES = [{"time": 10.0, "written": 100, "rounds": 0, "remaining": 0},
           {"time": 11.5, "written": 400, "rounds": 1, "remaining": 1 << 20}]


class Finish(unittest.TestCase):
    """The files of a run, and what the caller gets."""

    def setUp(self):
        small_results(self)

    def finish(self):
        """Run it; return (exit code, report.json, report.html, terminal)."""
        terminal = io.StringIO()
        with contextlib.redirect_stdout(terminal):
            code = report.finish(self.results, scenario.keys("migrate"))
        return (code, json.loads((self.results / "report.json").read_text()),
                (self.results / "report.html").read_text(), terminal.getvalue())

    def good(self):
        """A run that passes."""
        for name, leg in (("main", Evidence()), ("control", Evidence().forget())):
            leg.facts["samples"] = SAMPLES
            leg.save(self.results / name)

    def test_slowed(self):
        """A workload that had to wait for the trace is no failure, but it is reported
        everywhere."""
        self.good()
        how = {"times": 3, "least": 120, "why": [throttle.BUFFER]}
        (self.results / "main/trace/slowed.json").write_text(json.dumps(how))
        code, verdict, page, terminal = self.finish()
        self.assertEqual((code, verdict["slowed"], verdict["slowed_times"]), (0, how, 3))
        for text in (page, terminal):
            self.assertIn("slowed to 120 descriptors a second, 3 times", text)
        self.assertEqual(verdict["control"]["slowed_times"], 0)

    def test_ways(self):
        """Each way of saying what is dirty has a column."""
        self.good()
        heads = [">Main</th>", ">Device</th>", ">Container</th>", ">Device, iommufd</th>"]
        self.assertEqual([head in self.finish()[2] for head in heads], [True, False, False, False])
        for name in ("compared", "iommufd"):
            Evidence().save(self.results / name)
        _, verdict, page, terminal = self.finish()
        self.assertEqual([head in page for head in heads], [False, True, True, True])
        self.assertIn("then the same workload again, reported by the container, and by the device "
                      "on iommufd, without a type1. ", page)
        self.assertIn('href="iommufd/"', page)
        self.assertRegex(terminal, r" main +compared +iommufd +control\n")
        self.assertEqual(verdict["iommufd"]["pages_reported"], 4)

    def test_pass(self):
        self.good()
        code, verdict, page, terminal = self.finish()
        self.assertEqual((code, verdict["verdict"]), (0, "pass"))
        self.assertEqual(page.count("<svg"), 8)
        self.assertNotIn('class="bad"', page)
        self.assertIn("verdict: pass", terminal)
        self.assertIn("0x3000  last write 7, last report 7; holds 7 at the source, 3", terminal)

    def states(self):
        """States of the results in proof.ktap."""
        text = (self.results / "proof.ktap").read_text()
        return [result.state for result in ktap.parse(text, "proof")]

    def test_ktap(self):
        self.good()
        self.finish()
        self.assertEqual(self.states(), [ktap.PASSED] * 9)

    def test_held(self):
        """The page says for how long; too long is a failed test, but no lost page."""
        self.good()
        path = self.results / "main/leg.json"
        path.write_text(path.read_text().replace('"held_s": 0.5', '"held_s": 3.5')
                        .replace('"held_idle_s": 0.4', '"held_idle_s": 2.5'))
        code, verdict, page, _ = self.finish()
        self.assertEqual((code, verdict["verdict"], verdict["held_s"]), (0, "pass", 3.5))
        self.assertIn("the destination was held 3.5 s for the comparison", page)
        self.assertEqual(self.states().count(ktap.FAILED), 1)

    def test_ktap_of_nothing(self):
        self.finish()
        self.assertEqual(self.states(), [ktap.FAILED] * 9)

    def test_accelerator_of_the_lab(self):
        self.good()
        (self.results / "job.json").write_text('{"accel": "tcg"}')
        (self.results / "status").write_text("0\n")
        self.assertEqual(self.finish()[1]["accel"], "kvm in a lab on tcg")

    def test_nothing_there(self):
        code, verdict, page, terminal = self.finish()
        self.assertEqual((code, verdict["verdict"]), (1, "fail"))
        self.assertIn("FAIL", page)
        self.assertIn("reason: ", terminal)

    def test_half_a_run(self):
        leg = Evidence()
        leg.facts["error"] = "GuestError: <no> guest"
        leg.facts["samples"], leg.facts["summary"] = SAMPLES[:1], {}
        leg.save(self.results / "main")
        (self.results / "run.json").write_text('{"control": false}')
        code, verdict, page, _ = self.finish()
        self.assertEqual((code, verdict["reasons"]), (1, ["GuestError: <no> guest"]))
        self.assertIn("GuestError: &lt;no&gt; guest", page)
        self.assertNotIn("<svg ", page)

    def test_all_text_is_escaped(self):
        self.good()
        for name in ("main", "control"):
            path = self.results / name / "leg.json"
            path.write_text(path.read_text().replace("10.0", '<b a=\\"1\\">x'))
        self.assertNotIn("<b a", self.finish()[2])

    def test_page_needs_no_network(self):
        self.good()
        page = self.finish()[2]
        for word in ("http:", "https:", "<script", "<link", "@import", "url("):
            self.assertNotIn(word, page)


class Axes(unittest.TestCase):
    """Round numbers on the axes."""

    def test_ticks_reach_the_top(self):
        for top in (0, 0.3, 1, 7, 10, 99, 101, 131072, 3e9):
            steps = charts.ticks(top)
            self.assertGreaterEqual(steps[-1], top)
            self.assertLessEqual(len(steps), 7)

    def test_short(self):
        self.assertEqual([charts.short(n) for n in (0, 8, 1500, 131072, 2e6)],
                         ["0", "8", "1.5k", "131k", "2M"])


if __name__ == "__main__":
    unittest.main()
