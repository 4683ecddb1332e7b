# SPDX-License-Identifier: GPL-2.0-only
"""Tests of the soak: what is drawn, and how it goes on."""

import contextlib
import fcntl
import io
import json
import sys
import tempfile
import unittest
from pathlib import Path
from unittest import mock

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "scripts/lab.d"))

# pylint: disable=wrong-import-position
from base import say
from boot import job, scenario
from check import soak
from make import place

KINDS = len(soak.KINDS)
# What a round may leave: a look at what is left.
LOOK = "KTAP version 1\n1..1\nok 1 R7_nothing_is_left_of_killed_users\n"


class Draw(unittest.TestCase):
    """What a round is."""

    def test_same_seed(self):
        """A round depends on seed and number alone."""
        rounds = [soak.draw("7", number) for number in range(30)]
        self.assertEqual(rounds, [soak.draw("7", number) for number in range(30)])
        self.assertNotEqual(rounds, [soak.draw("8", number) for number in range(30)])

    def test_each_kind_in_turn(self):
        """None is left out for long."""
        for turn in range(5):
            names = {soak.draw("7", turn * KINDS + place)[0] for place in range(KINDS)}
            self.assertEqual(names, {kind.scenario for kind in soak.KINDS})

    def test_settings_are_known(self):
        """Each scenario takes them."""
        for number in range(4 * KINDS):
            name, pairs = soak.draw("7", number)
            scenario.pairs(name, [f"{key}={value}" for key, value in pairs.items()])


class Rounds(unittest.TestCase):
    """A soak whose scenarios only pretend."""

    def setUp(self):
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.root = Path(directory.name) / "soak"
        self.bad, self.played, self.clock = set(), [], 0
        for patch in (mock.patch.object(soak.paths, "SOAK", self.root),
                      mock.patch.object(soak.ready, "make"),
                      mock.patch.object(soak.job, "run_scenario", self.run_scenario),
                      mock.patch.object(soak.time, "monotonic", lambda: self.clock)):
            self.enterContext(patch)

    def run_scenario(self, name, pairs, where):
        """Leaves figures, and takes ten minutes."""
        where.mkdir()
        (where / "output.txt").write_text("figures: kills=3\n")
        (where / "kills.ktap").write_text(LOOK)
        self.played.append((name, pairs))
        self.clock += 600
        return job.Outcome(1 if len(self.played) - 1 in self.bad else 0, None, [])

    def run_soak(self, hours, seed=""):
        """(exit code, what it prints)"""
        output = io.StringIO()
        with contextlib.redirect_stdout(output), contextlib.redirect_stderr(io.StringIO()):
            code = soak.run(hours, seed)
        return code, output.getvalue()

    def test_good(self):
        """It ends after its time; results of good rounds are gone, and their figures are there."""
        code, text = self.run_soak(1, "7")
        self.assertEqual((code, len(self.played)), (0, 6))
        self.assertEqual([path.name for path in self.root.iterdir()], [soak.STATE])
        self.assertRegex(text, r"users of a device ended at random +18\n")
        self.assertRegex(text, r"looks for what is left +6\n")
        self.assertRegex(text, r"leaks +0\n")
        self.assertIn("6 rounds, 0 failed, SEED=7", text)

    def test_bad(self):
        """A round that fails does not end it; its results stay, and it fails."""
        self.bad = {2}
        code, text = self.run_soak(1, "7")
        self.assertEqual((code, len(self.played)), (1, 6))
        name = f"0002-{soak.draw('7', 2)[0]}"
        self.assertTrue((self.root / name / "output.txt").exists())
        self.assertIn(name, text)

    def test_broken_lab(self):
        """If nothing passes any more, it ends long before its time; it goes on if told to."""
        self.bad = set(range(100))
        for rounds in (soak.IN_A_ROW, 2 * soak.IN_A_ROW):
            code, text = self.run_soak(100, "7")
            self.assertEqual((code, len(self.played)), (1, rounds))
            self.assertIn(f"{rounds} rounds, {rounds} failed", text)

    def test_two_at_once(self):
        """The second one leaves the first one's results alone."""
        self.root.mkdir()
        (self.root / "0000-kills").mkdir()
        with place.locked(self.root, fcntl.LOCK_EX, "x"), \
                self.assertRaisesRegex(say.LabError, "another soak is at work in"):
            self.run_soak(1, "8")
        self.assertTrue((self.root / "0000-kills").exists())

    def test_goes_on(self):
        """After an interruption, with the next round of the same seed."""
        self.run_soak(0.5, "7")
        done = len(self.played)
        self.run_soak(1)
        self.assertEqual(self.played, [soak.draw("7", number) for number in range(6)])
        self.assertEqual(done, 3)
        self.assertEqual(json.loads((self.root / soak.STATE).read_text())["seed"], "7")

    def test_begins_anew(self):
        """With another seed, or if the last one has come to its end."""
        for seed in ("8", ""):
            self.run_soak(0.5, "7")
            self.played.clear()
            self.run_soak(0.5, seed)
            self.assertEqual(len(self.played), 3)
        self.assertNotEqual(self.played, [soak.draw("7", number) for number in range(3)])


if __name__ == "__main__":
    unittest.main()
