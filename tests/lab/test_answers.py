# SPDX-License-Identifier: GPL-2.0-only
"""The comparison of what two backends answered."""

import sys
import tempfile
import unittest
from pathlib import Path

REPO = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(REPO / "scripts/lab.d"), str(REPO / "tests/scenarios")]

# pylint: disable=wrong-import-position
import answers as scenario
from base import ktap
from judge import answers

INFO = "info flags 3 pages fffffffffffff000 tracking 0 pages 1000 bitmap {} mappings 65535"


def compared(ours, stock):
    """The comparison of two logs."""
    comparison = answers.Comparison()
    comparison.add(ours, stock)
    return comparison


class Lines(unittest.TestCase):
    """Which lines may differ."""

    def test_calls(self):
        for ours, stock, found in (
                ("get a part 3+4 0", "get a part 3+4 EINVAL", [answers.PART]),
                ("get a part 3+4 EINVAL", "get a part 3+4 0", None),
                ("get a part 3+4 0", "get a part 3+5 EINVAL", None),
                ("get 3+4 0", "get 3+4 EINVAL", None),
                ("unmap 3+4 EBUSY", "unmap 3+4 0", None),
                ("size 1000", "size 2000", None),
                ("locked 3", "locked 4", None),
                ("nothing", "map 0+1 0", None),
                (INFO.format("1fffff"), INFO.format("ff"), [answers.LARGEST]),
                (INFO.format("1fffff"), INFO.format("ff").replace("flags 3", "flags 1"), None)):
            with self.subTest(ours, stock=stock):
                self.assertEqual(answers.of_lines(ours, stock), found)

    def test_reports(self):
        for ours, stock, found in (
                ("report W11 3-5", "report bits 4 W11 3-5", [answers.READ_ONLY]),
                ("report bits 1 unwound 7", "report bits 1,7 unwound 7", [answers.UNWOUND]),
                ("report bits 1 W11 2 W15 64-70", "report bits 1-2,66 W11 2 W15 64-70",
                 [answers.READ_ONLY, answers.BESIDE]),
                ("report bits 1", "report bits 1-2", None),
                ("report bits 1-2", "report bits 1", None),
                ("report bits 1 W11 3", "report bits 1,3 W11 3-4", None),
                ("report bits 1 W11 3", "size 0", None)):
            with self.subTest(ours, stock=stock):
                self.assertEqual(answers.of_lines(ours, stock), found)


class Logs(unittest.TestCase):
    """Whole logs."""

    def test_equal(self):
        log = ["seed 1", "map 0+1 0", "get 0+1 0", "report bits 0"]
        self.assertEqual(compared(log, log).equal, 4)
        self.assertEqual(compared(log, log).unknown, [])

    def test_difference(self):
        """It is told with its trial and its call; what follows is not compared."""
        comparison = compared(["seed 1", "unmap 3+4 0", "size 1000", "map 0+1 0"],
                              ["seed 1", "unmap 3+4 0", "size 4000", "map 0+1 EEXIST"])
        self.assertEqual(comparison.unknown, [("seed 1", "unmap 3+4 0", "size 1000", "size 4000")])

    def test_shorter(self):
        self.assertEqual(len(compared(["seed 1", "map 0+1 0"], ["seed 1"]).unknown), 1)

    def test_known(self):
        comparison = compared(2 * ["get a part 3+4 0"], 2 * ["get a part 3+4 EINVAL"])
        self.assertEqual((comparison.known[answers.PART], comparison.unknown), (2, []))


class Scenario(unittest.TestCase):
    """The verdict."""

    def verdict(self, ours, stock):
        """The state of the result for two logs; None: there is no log."""
        with tempfile.TemporaryDirectory() as name:
            for backend, text in (("ours", ours), ("stock", stock)):
                if text is not None:
                    Path(name, f"{backend}.log.0").write_text(text)
            return scenario.tell(*scenario.compare(Path(name)))[0].state

    def test_verdict(self):
        for ours, stock, state in (("map 0+1 0\n", "map 0+1 0\n", ktap.PASSED),
                                   ("map 0+1 0\n", "map 0+1 EINVAL\n", ktap.FAILED),
                                   ("map 0+1 0\n", None, ktap.FAILED),
                                   (None, None, ktap.FAILED)):
            self.assertEqual(self.verdict(ours, stock), state)

    def test_seed(self):
        """Both backends get the same one."""
        self.assertEqual(scenario.seed("0x7"), "0x7")
        self.assertNotEqual(int(scenario.seed("0"), 0), 0)

    def test_table(self):
        """Each deliberate difference has a row in the document."""
        text = (REPO / "Documentation/errno.rst").read_text()
        for difference in answers.DELIBERATE:
            self.assertRegex(text, f"(?m)^{difference}  ")


if __name__ == "__main__":
    unittest.main()
