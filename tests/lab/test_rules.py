# SPDX-License-Identifier: GPL-2.0-only
"""The table of the rules: nothing that has no test goes unnoticed."""

import sys
import tempfile
import unittest
from pathlib import Path
from unittest import mock

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "scripts/lab.d"))

# pylint: disable=wrong-import-position
from base import ktap
from check import rules as part
from judge import rules
from make import paths

TEXT = """
The rules
=========

===  =====================
R1   START: pages pinned
     are tracked
R12  No W3 in here: a row begins with its id
===  =====================

A word after the table.

Below it
--------

===  ====
W1   not of "The rules"
===  ====
"""

WHAT = {"R1": "a rule", "W1": "a weakness"}


def passed(name):
    """A result."""
    return ktap.Result(name, ktap.PASSED)


def expected(name, why):
    """A test that failed on the kernel's own type1, as expected."""
    return ktap.parse(f"not ok 1 {name} # XFAIL {why}\n1..1", "text")[0]


def wrong(ours, stock, unshown=None, what=None):
    """id -> why it fails the check, if it does."""
    lines = rules.table(ours, stock, what or WHAT, unshown or {})
    return {result.name.split()[1]: result.reason for result in rules.verdicts(lines)
            if result.state == ktap.FAILED}


class Documentation(unittest.TestCase):
    """The table's rows come from the documentation."""

    def test_rows(self):
        """A row may go over several lines, and ends with its section."""
        lines = rules.section(TEXT, "The rules")
        self.assertEqual(rules.rows(lines), {
            "R1": "START: pages pinned are tracked",
            "R12": "No W3 in here: a row begins with its id"})
        self.assertEqual(rules.rows(rules.section(TEXT, "Below it")),
                         {"W1": 'not of "The rules"'})
        self.assertEqual(rules.section(TEXT, "Another"), [])

    def test_ours(self):
        """All of R1 to R18 and D1 to D15 are there, and each reason belongs to an existing one."""
        what, unshown = rules.documented(part.DOCUMENTATION)
        for letter, last in (("R", 18), ("D", 15)):
            self.assertEqual({name for name in what if name[0] == letter},
                             {f"{letter}{n}" for n in range(1, last + 1)})
        self.assertLessEqual(set(unshown), set(what))


class Subjects(unittest.TestCase):
    """A test's name says what it is about."""

    def test_names(self):
        """Of selftests and of unit tests."""
        for name, found in (("R3_get_clears", ["R3"]), ("R13_D12_D13_flags", ["R13", "D12", "D13"]),
                            ("store: R3, D8: records stay", ["R3", "D8"]),
                            ("mdma_R2D2", []), ("R3_after_W2", ["R3", "W2"]), ("OR3_x", [])):
            with self.subTest(name=name):
                self.assertEqual(rules.subjects(passed(name)), found)

    def test_reason(self):
        """A test that fails on stock belongs to the weakness that makes it fail."""
        self.assertEqual(rules.subjects(expected("R3_get_clears", "W10")), ["R3", "W10"])
        self.assertEqual(rules.subjects(expected("R1_start", "START allocates a bit")), ["R1"])


class Table(unittest.TestCase):
    """What fails the check."""

    good = ([passed("R1_a"), passed("R1_b")], [passed("R1_a"), expected("R1_b", "W1")])

    def test_good(self):
        """Each has a test, and the weakness is shown."""
        self.assertEqual(wrong(*self.good), {})
        rule, weakness = rules.as_json(rules.table(*self.good, WHAT, {}))
        self.assertEqual((rule["ours"], rule["stock"]), ("passed", "fails 1 of 2"))
        self.assertEqual((weakness["ours"], weakness["stock"]), ("passed", "fails 1 of 1"))
        self.assertEqual(weakness["tests"],
                         [{"name": "R1_b", "ours": "passed", "stock": "failed"}])

    def test_no_test(self):
        """A rule without any; one whose only test was skipped."""
        self.assertEqual(wrong(*self.good, what=dict(WHAT, R2="x")), {"R2": "no test"})
        skipped = [ktap.Result("R2_a", ktap.SKIPPED, "no device")]
        self.assertEqual(wrong(self.good[0] + skipped, self.good[1], what=dict(WHAT, R2="x")),
                         {"R2": "no test"})

    def test_failing(self):
        """A test that fails on ours fails everything that it is about, with or without a
        reason."""
        ours = [ktap.Result("R1_a", ktap.FAILED), passed("R1_b")]
        self.assertEqual(wrong(ours, self.good[1]), {"R1": "a test fails"})
        self.assertEqual(wrong(ours, self.good[1], {"R1": "a reason"}), {"R1": "a test fails"})

    def test_weakness_not_shown(self):
        """Passed or not run on stock: only with a reason in the documentation."""
        ours = [passed("R1_W1_a")]
        for stock in (ours, [ktap.Result("R1_W1_a", ktap.SKIPPED, "it would die")]):
            with self.subTest(stock=stock):
                self.assertIn("says no reason", wrong(ours, stock)["W1"])
                self.assertEqual(wrong(ours, stock, {"W1": "it would die"}), {})

    def test_another_failure_shows_nothing(self):
        """A test that fails on stock, but not as expected."""
        ours = [passed("R1_W1_a")]
        stock = [ktap.Result("R1_W1_a", ktap.FAILED, "on stock, nothing says 'deadlock'")]
        self.assertIn("not run", wrong(ours, stock)["W1"])

    def test_reason_out_of_date(self):
        """If a test shows it, the reason in the documentation must go."""
        self.assertIn("says that it is not", wrong(*self.good, {"W1": "it would die"})["W1"])
        self.assertIn("says that it is not", wrong(*self.good, {"R1": "no IOMMU"})["R1"])

    def test_unknown(self):
        """A test of something that is described nowhere."""
        ours = self.good[0] + [passed("D99_a")]
        self.assertEqual(wrong(ours, self.good[1]),
                         {"D99": "no documentation says what it is"})

    def test_text(self):
        """One line each; the reason is quoted."""
        text = rules.as_text(rules.table(*self.good, dict(WHAT, R2="x"), {"R2": "no IOMMU"}))
        self.assertRegex(text, r"R1 +passed +fails 1 of 2 +R1_a and 1 more")
        self.assertRegex(text, r"R2 +no test +not run +-\n +not shown: no IOMMU")


class Part(unittest.TestCase):
    """From the files that the other parts have left."""

    def test_files(self):
        """Unit tests count as ours; without the other parts there is no verdict."""
        with tempfile.TemporaryDirectory() as directory, \
                mock.patch.object(paths, "CHECK", Path(directory)), mock.patch("builtins.print"), \
                mock.patch.object(rules, "documented", lambda _: (WHAT, {})):
            self.assertEqual(part.check()[0].state, ktap.FAILED)
            for name, text in (("unit", "ok 1 store: R1: x\n1..1\n"),
                               ("selftests/ours/a", "ok 1 R2_b\n1..1\n"),
                               ("selftests/stock/a", "not ok 1 R2_b # XFAIL W1\n1..1\n")):
                path = Path(directory, f"{name}.ktap")
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(text)
            self.assertEqual({result.name: result.state for result in part.check()},
                             {"rule R1": ktap.PASSED, "rule W1": ktap.PASSED,
                              "rule R2": ktap.FAILED})
            self.assertIn('"id": "W1"', Path(directory, "rules.json").read_text())


if __name__ == "__main__":
    unittest.main()
