#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""The proof on each combination, and the table of what came of it."""

import contextlib
import io
import json
import os
import signal
import sys
import tempfile
import unittest
from pathlib import Path
from unittest import mock

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "scripts/lab.d"))

# pylint: disable=wrong-import-position
from base import process, rst, say
from check import matrix
from make import paths

LEG = {"kernel": "7.3.4+deb13-amd64", "qemu": "11.1.3 (Debian 1)", "pages_written": 123456,
       "pages_lost": 0, "rounds": 7, "downtime_ms": 12, "control": {"pages_lost": 1409}}


class Combinations(unittest.TestCase):
    """Which there are."""

    def names(self, **environment):
        """Of those that this environment does not exclude."""
        return [run.directory.name for run in matrix.chosen(environment)]

    def test_all(self):
        """The default is the first; what can't work together is left out."""
        names = self.names(KERNEL="")
        self.assertEqual((len(names), names[0]), (7, "6.12-10.0-type1"))
        self.assertIn("6.12-11.1-type1", names)
        self.assertNotIn("6.12-11.1-iommufd", names)

    def test_some(self):
        """The variables of the lab choose."""
        self.assertEqual(self.names(KERNEL="7.3", CONTAINER="iommufd"),
                         ["7.3-10.0-iommufd", "7.3-11.1-iommufd"])
        self.assertEqual(self.names(KERNEL="/a/tree"), [])


class Table(unittest.TestCase):
    """What is left of the runs."""

    def setUp(self):
        directory = Path(self.enterContext(tempfile.TemporaryDirectory()))
        self.enterContext(mock.patch.object(paths, "MATRIX", directory))
        self.enterContext(mock.patch.object(matrix, "TABLE", directory / "tested.rst"))
        self.enterContext(mock.patch.object(say, "info"))
        self.enterContext(mock.patch.object(process, "stop"))
        self.enterContext(mock.patch.object(matrix, "commit", lambda: "1234567+"))
        self.asked = []

    def play(self, codes, **environment):
        """Play those of this environment, with these exit codes; returns the own exit code."""
        def start(argv, env, **_more):
            self.asked.append((env["KERNEL"], env["QEMU"], env["CONTAINER"]))
            code = codes[len(self.asked) - 1]
            if code is not None:
                Path(argv[-2]).mkdir(parents=True, exist_ok=True)
                Path(argv[-2], "report.json").write_text(json.dumps(LEG))
            return mock.Mock(wait=lambda: 1 if code is None else code)
        with mock.patch.object(process, "start", start), mock.patch.dict(os.environ, environment), \
                contextlib.redirect_stdout(io.StringIO()):
            return matrix.run_all()

    def lines(self):
        """The rows of the table, as words."""
        text = matrix.TABLE.read_text().splitlines()
        return [line.split() for line in text if line[:1].isdigit()]

    def test_passed(self):
        """Each value is where it belongs."""
        self.assertEqual(self.play([0], KERNEL="7.3", QEMU="11.1", CONTAINER="iommufd"), 0)
        self.assertEqual(self.asked, [("7.3", "11.1", "iommufd")])
        row, = self.lines()
        self.assertEqual(row[:10], ["7.3.4", "11.1.3", "iommufd", "passed", "123,456", "0",
                                    "1,409", "7", "12", "ms"])
        self.assertEqual(row[-1], "1234567+")

    def test_failed(self):
        """One that failed, and one that left nothing, are in the table; and so is one of an
        earlier run, unless it was played again."""
        self.play([0, 0], KERNEL="6.12", QEMU="", CONTAINER="type1")
        self.asked.clear()
        self.assertEqual(self.play([1, None], KERNEL="7.3", QEMU="", CONTAINER="type1"), 1)
        self.assertEqual([row[3] for row in self.lines()],
                         ["passed", "passed", "failed", "failed"])
        self.assertEqual(self.lines()[3][:6], ["7.3", "11.1", "type1", "failed", "-", "-"])

    def test_stale(self):
        """What the run before has left is not taken for the results of one that left nothing."""
        for codes in ([0], [None]):
            self.asked.clear()
            self.play(codes, KERNEL="7.3", QEMU="11.1", CONTAINER="type1")
        self.assertEqual(self.lines()[0][3:5], ["failed", "-"])

    def test_stopped(self):
        """A signal in the middle: what is no more known to have passed is not in the table."""
        chosen = {"KERNEL": "7.3", "QEMU": "11.1", "CONTAINER": "type1"}
        self.play([0], **chosen)
        with mock.patch.object(matrix.inside, "run", side_effect=process.Stopped(signal.SIGINT)), \
                mock.patch.dict(os.environ, chosen), self.assertRaises(process.Stopped):
            matrix.run_all()
        matrix.write_table()
        self.assertEqual(self.lines(), [])

    def test_none(self):
        """Nothing that could work is an error."""
        with self.assertRaises(say.UsageError):
            self.play([], KERNEL="/a/tree")

    def test_columns(self):
        """A simple table of reStructuredText."""
        self.assertEqual(rst.table(("a", "bc"), [("def", "g")]),
                         "=== ==\na   bc\n=== ==\ndef g\n=== ==\n")


if __name__ == "__main__":
    unittest.main()
