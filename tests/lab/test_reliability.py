# SPDX-License-Identifier: GPL-2.0-only
"""Tests of the figures that runs print, and of the table that a check makes of them."""

import io
import json
import sys
import tempfile
import unittest
from contextlib import ExitStack, redirect_stdout
from pathlib import Path
from types import SimpleNamespace
from unittest import mock

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "scripts/lab.d"))
sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tests/scenarios"))

# pylint: disable=wrong-import-position
from base import figures, ktap
from base.ktap import Result
from check import reliability
from judge import proof
from play import traveller
import kills

LEG = {"pages_written": 100, "pages_lost": 0, "ram_pages_different": 0}


class Figures(unittest.TestCase):
    """Lines in the output of a run."""

    def test_line_is_read(self):
        """What line() makes, read() finds."""
        self.assertEqual(figures.read(figures.line(kills=3, lost=0)), {"kills": 3, "lost": 0})

    def test_sum(self):
        """Of a scenario, a program, and a program whose output has a name before it."""
        text = "figures: points=3\nother: points=9\n# figures: points=4\nours: figures: points=5\n"
        self.assertEqual(figures.read(text), {"points": 12})

    def test_nothing_else(self):
        """A line that only resembles one."""
        self.assertEqual(figures.read("see figures: points=3\nfigures: many\n"), {})


class Table(unittest.TestCase):
    """What a check adds up."""

    def setUp(self):
        self.directory = Path(self.enterContext(tempfile.TemporaryDirectory()))

    def run_of(self, name, output="", report=None):
        """A result that has such a run as its evidence."""
        directory = self.directory / name
        directory.mkdir()
        (directory / "output.txt").write_text(output)
        if report:
            (directory / "report.json").write_text(json.dumps(report))
        return Result(f"scenario {name}", ktap.PASSED, evidence=directory)

    def test_runs(self):
        """Each run counts once, however many results it has."""
        one = self.run_of("kills", "figures: kills=3\n")
        other = self.run_of("fuzz", "figures: operations=7\nfigures: kills=1\n")
        found = reliability.collect([one, other, one])
        self.assertEqual((found["kills"], found["operations"]), (4, 7))
        self.assertIsNone(found["points"])

    def test_proof(self):
        """The legs of a proof but the control, and the worse of what its two oracles found."""
        report = {**LEG, "pages_lost": 2, "ram_pages_different": 3, "back": LEG, "compared": None,
                  "control": {**LEG, "pages_lost": 50}}
        found = reliability.collect([self.run_of("migrate", report=report)])
        self.assertEqual((found["migrations"], found["writes"], found["lost"]), (2, 200, 3))

    def test_leg_without_evidence(self):
        """A leg that never ran is no migration without a loss; one with losses counts, whatever
        else is wrong."""
        broken = {**proof.empty_leg(), "reasons": ["GuestError: no"]}
        found = reliability.collect([self.run_of("migrate", report={**broken, "back": broken})])
        self.assertEqual([found[name] for name in ("migrations", "writes", "lost")], [None] * 3)
        found = reliability.collect([self.run_of("iommufd", report={
            **LEG, "pages_lost": 2, "reasons": ["pages_lost is 2, must be 0"], "back": broken})])
        self.assertEqual([found[name] for name in ("migrations", "writes", "lost")], [1, 100, 2])

    def test_looks(self):
        """Leaks and reports are failures of those who look for them."""
        found = reliability.collect([
            Result("ours: R7_modules_unload_and_leave_nothing", ktap.FAILED),
            Result("kills: R7_nothing_is_left_of_killed_users", ktap.PASSED),
            Result("stock: R7_modules_unload_and_leave_nothing", ktap.SKIPPED),
            Result("fire: kernel log of failures", ktap.FAILED),
            Result("kernel log of kills", ktap.PASSED), Result("scenario kills", ktap.FAILED)])
        self.assertEqual([found[name] for name in ("looks", "leaks", "logs", "reports")],
                         [2, 1, 2, 1])

    def test_lines(self):
        """Nothing was tried: no table. What was not told is no number."""
        self.assertEqual(reliability.table(reliability.collect([])), [])
        lines = reliability.table(reliability.collect([self.run_of("a", "figures: kills=3000\n")]))
        self.assertTrue(any(line.split()[-1] == "3,000" for line in lines))
        self.assertTrue(any(line.split()[-1] == "–" for line in lines))

    def test_file(self):
        """The same is in reliability.json."""
        with mock.patch.object(reliability.paths, "CHECK", self.directory / "check"):
            reliability.leave([self.run_of("a", "figures: kills=3\n")])
        left = json.loads((self.directory / "check/reliability.json").read_text())
        self.assertEqual((left["kills"], left["points"]), (3, None))


class Travels(unittest.TestCase):
    """What a guest that is moved again and again prints."""

    def figures_of(self, name):
        """The figures of a guest that an error ends after two moves."""
        with mock.patch.object(traveller.mdev, "Mdev", side_effect=traveller.GuestError("no")), \
                redirect_stdout(io.StringIO()) as text:
            run = traveller.Traveller("failures", name, SimpleNamespace(type="x"), Path("/"))
            run.moves, run.lost = 2, 1
            with self.assertRaises(traveller.GuestError), ExitStack() as stack:
                run.boot(stack)
        return figures.read(text.getvalue())

    def test_error(self):
        """An error hides no loss."""
        self.assertEqual(self.figures_of("first: "), {"migrations": 2, "lost": 1})

    def test_control(self):
        """A control does not count."""
        self.assertEqual(self.figures_of("control: "), {})


class Kills(unittest.TestCase):
    """What the scenario reads of its program."""

    LAST = ("# ends: 3 by signal, 2 by exec, 1 by exec and signal, 4 by want of memory, "
            "unload refused 70 times, unloaded 6 times, removed 5 times\n")

    def test_counts(self):
        """Ends are those of each way."""
        found = kills.facts(f"KTAP version 1\n{self.LAST}ok 1 x\n")
        self.assertEqual(kills.ends(found), 10)
        self.assertEqual((found["refused"], found["removed"]), (70, 5))

    def test_no_end(self):
        """A program that died says nothing."""
        self.assertIsNone(kills.facts("KTAP version 1\nBail out! signal 9\n"))

    def test_environment(self):
        """The time limit grows with the number; a seed only if it is given."""
        few, many = (kills.environment_of({"kills": n, "seed": "", "device": ""}) for n in (4, 400))
        self.assertLess(int(few["TIMEOUT_SCALE"]) * 20, int(many["TIMEOUT_SCALE"]))
        self.assertNotIn("SEED", few)
        self.assertEqual(kills.environment_of({"kills": 4, "seed": "7", "device": ""})["SEED"], "7")


if __name__ == "__main__":
    unittest.main()
