# SPDX-License-Identifier: GPL-2.0-only
"""The threat model: each row of its tables names a test, and each of these tests exists."""

import re
import unittest
from pathlib import Path

REPO = Path(__file__).resolve().parents[2]
TEXT = (REPO / "Documentation/security.rst").read_text()

ROW = re.compile(r"^   \* - ", re.M)
CELL = re.compile(r"^     - ", re.M)
NAME = re.compile(r"``(\w+)``")
# Where tests are, and how each is written there.
TESTS = {
    "tests/selftests/*.c": re.compile(r"^TEST(?:_F)?\((?:\w+, )?(\w+)", re.M),
    "tests/scenarios/driver.py": re.compile(r"^def (\w+)\(bench\)", re.M),
    "tests/*/test_*.py": re.compile(r"^    def (test_\w+)\(self\)", re.M),
}


def rows(text):
    """The rows of all tables without their headings: lists of the cells' texts."""
    found = []
    for table in text.split(".. list-table::")[1:]:
        body = re.split(r"\n(?=\S)", table)[0]
        found += [CELL.split(row) for row in ROW.split(body)[2:]]
    return found


def known():
    """Names of all tests."""
    return {name for pattern, line in TESTS.items() for path in REPO.glob(pattern)
            for name in line.findall(path.read_text())}


class ThreatModel(unittest.TestCase):
    """Documentation/security.rst."""

    def test_each_row_names_a_test(self):
        """What it says of a threat is shown by a test."""
        self.assertGreater(len(rows(TEXT)), 25)
        for row in rows(TEXT):
            with self.subTest(row[0].strip()):
                self.assertEqual(len(row), 3)
                self.assertTrue(NAME.findall(row[2]))

    def test_the_tests_exist(self):
        """A test that was renamed or removed shows nothing."""
        names = [name for row in rows(TEXT) for name in NAME.findall(row[2])]
        self.assertEqual([name for name in names if name not in known()], [])

    def test_rows(self):
        """The reader of tables sees all rows, and no heading."""
        text = (".. list-table::\n   :header-rows: 1\n\n   * - A\n     - B\n     - C\n"
                "   * - one\n     - two\n     - ``x``,\n       ``y``\n\nText\n")
        self.assertEqual([[cell.split() for cell in row] for row in rows(text)],
                         [[["one"], ["two"], ["``x``,", "``y``"]]])


if __name__ == "__main__":
    unittest.main()
