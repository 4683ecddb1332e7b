#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""The page of a migration, in headless Chromium: what a reader sees of runs that end in
different ways. And the pages that the other parts of the check have left.
"""

import contextlib
import io
import json
import sys
import unittest
from pathlib import Path

REPO = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(REPO / path) for path in ("scripts/lab.d", "tests/lab", "tests/pages")]

# pylint: disable=wrong-import-position
from boot import job, scenario
from make import paths
from show import charts, heatmap, report
from test_proof import START, Evidence, pin, run, small_results, write
from test_proof import report as told
from views import Pages

SAMPLES = [{"time": 10.0, "written": 0, "rounds": 0, "remaining": 0},
           {"time": 10.6, "written": 7, "rounds": 4, "remaining": 3 << 20}]
# What is drawn of a map: how a class of cells is counted in the page, and in the data.
DRAWN = {"writes": lambda heat: len(heat.written), "retained": lambda heat: len(heat.retained()),
         "pinned": lambda heat: len(heat.pinned),
         "lost": lambda heat: len(heat.lost), "differs": lambda heat: len(heat.differs),
         "arrived": lambda heat: len(heat.blocks) - len(heat.differs)}

CELLS = """[...document.querySelectorAll('figure')].filter(f => f.querySelector('.cell'))
  .map(f => Object.fromEntries(%s.map(css => [css, [...f.querySelectorAll('.cell.' + css)]
    .reduce((sum, path) => sum + path.getAttribute('d').split('M').length - 1, 0)])))"""
VERDICTS = "[...document.querySelectorAll('.verdict b')].map(b => b.innerText)"
FIRST_SCREEN = "document.querySelector('.verdict b').getBoundingClientRect().bottom <= innerHeight"
COLOUR = r"getComputedStyle(document.querySelector('.verdict b')).color.match(/\d+/g).map(Number)"
INSIDE = "atob(document.querySelector('a[download]').href.split(',')[1])"


class Long(Evidence):
    """Many rounds, each of a page of its own, far from that of the last one, and memory
    with a hole."""

    ROUNDS = 61

    def __init__(self):
        super().__init__()
        order = [i * 23 % self.ROUNDS for i in range(self.ROUNDS)]
        numbers = [7 * i + (1 << 20 if i > 30 else 1 << 10) for i in order]
        self.events = [START]
        for i, page in enumerate(numbers, 1):
            self.events += [write(i, page), run(i, page), told(i, 1)]
        self.ledger = dict(sorted((page, (i, 1, 0)) for i, page in enumerate(numbers, 1)))
        self.events.append(write(self.ROUNDS + 1, 9, device=self.facts["destination_uuid"]))
        self.qemu = [1] * self.ROUNDS


class Longer(Long):
    """So many rounds that the number of the last one has three digits, and no column of
    the map is over."""

    ROUNDS = 183


class Longest(Long):
    """So many rounds that the number of the last one has four digits."""

    ROUNDS = 1095


class Report(Pages):
    """report.html of runs that end in different ways."""

    def setUp(self):
        small_results(self)

    def finish(self, **legs):
        """Leave the page of a run with these legs; return report.json."""
        for name, leg in legs.items():
            leg.facts["samples"] = SAMPLES
            leg.save(self.results / name)
        with contextlib.redirect_stdout(io.StringIO()):
            report.finish(self.results, scenario.keys("migrate"))
        return json.loads((self.results / "report.json").read_text())

    def look_at(self, name, verdicts, colour, check=lambda: None):
        """What is said first, on the first screen, in its colour: the verdicts."""
        def first():
            self.assertEqual(self.browser.evaluate(VERDICTS), verdicts)
            self.assertTrue(self.browser.evaluate(FIRST_SCREEN))
            red, green, _ = self.browser.evaluate(COLOUR)
            self.assertEqual("red" if red > green else "green", colour)
            check()
        self.look(name, self.results / "report.html", first)

    def maps(self, *legs):
        """The cells that are drawn are those of the data, for each leg."""
        expected = []
        for name in legs:
            heat = heatmap.of_leg(self.results / name)
            expected.append({css: count(heat) for css, count in DRAWN.items()})
        self.assertEqual(self.browser.evaluate(CELLS % list(DRAWN)), expected)
        return expected

    def test_good(self):
        leg = Evidence()
        leg.events.insert(leg.events.index(START), pin(4, 1))
        data = self.finish(main=leg, control=Evidence().forget())

        def check():
            main, control = self.maps("main", "control")
            self.assertEqual(main, {"writes": 5, "retained": 4, "pinned": 1, "lost": 0,
                                    "differs": 0, "arrived": 6})
            self.assertEqual(control, {"writes": 5, "retained": 4, "pinned": 0, "lost": 1,
                                       "differs": 1,
                                       "arrived": 5})
            self.assertEqual(json.loads(self.browser.evaluate(INSIDE)), data)
            self.assertEqual(self.browser.evaluate("document.scripts.length"), 0)
        self.look_at("good", ["PASS: no page lost", "CAUGHT: 1 page lost"], "green", check)

    def test_lost(self):
        self.finish(main=Evidence().forget(), control=Evidence().forget())

        def check():
            text = self.browser.text()
            self.assertLess(text.index("Lost pages\n"), text.index("Guest memory by round"))
            self.assertIn("0x3000", text)
            self.assertEqual(self.maps("main", "control")[0]["lost"], 1)
        self.look_at("lost", ["FAIL: 1 page lost", "CAUGHT: 1 page lost"], "red", check)

    def test_blind_control(self):
        self.finish(main=Evidence(), control=Evidence())
        self.look_at("blind", ["FAIL", "BLIND"], "red", lambda: self.assertIn(
            "pages_lost is 0 on a backend that forgets pages", self.browser.text()))

    def test_ended_early(self):
        leg = Evidence()
        leg.facts["error"] = "GuestError: " + "no guest " * 40 + "x" * 200
        self.finish(main=leg)
        self.look_at("early", ["FAIL", "BLIND"], "red",
                     lambda: self.assertIn("no guest", self.browser.text()))

    def test_many_rounds(self):
        (self.results / "run.json").write_text('{"control": false}')
        self.finish(main=Long())
        # Three rounds share a column, but no two pages a cell of it.
        self.look_at("long", ["PASS: no page lost", "NONE"], "green", lambda: self.assertEqual(
            self.maps("main")[0]["writes"], Long.ROUNDS))

    def number_of_last_round(self, name, evidence):
        """It is there, and has room."""
        (self.results / "run.json").write_text('{"control": false}')
        self.finish(main=evidence)

        def check():
            self.assertIn(str(evidence.ROUNDS), self.browser.text())
            bars = self.browser.evaluate("document.querySelectorAll('rect').length")
            self.assertLessEqual(bars, 2 * charts.BARS)
        self.look_at(name, ["PASS: no page lost", "NONE"], "green", check)

    def test_hundreds_of_rounds(self):
        self.number_of_last_round("longer", Longer())

    def test_a_thousand_rounds(self):
        self.number_of_last_round("longest", Longest())


class Left(Pages):
    """What the other parts of the check have left, as it is written now."""

    def test_pages(self):
        for part, name in (("migrate", "report.html"), ("experiment", "downtime.html")):
            directory = paths.CHECK / part
            if (directory / job.JOB).exists():
                with contextlib.redirect_stdout(io.StringIO()):
                    job.JUDGES[part](directory)
                self.look(part, directory / name)


if __name__ == "__main__":
    unittest.main()
