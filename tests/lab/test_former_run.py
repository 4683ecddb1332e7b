#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""A run that can't be built leaves nothing of the one before it."""

import sys
import tempfile
import unittest
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import SimpleNamespace
from unittest import mock

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "scripts/lab.d"))

# pylint: disable=wrong-import-position
from base import say
from check import check, rules
from make import mark, paths, ready

GOOD = "KTAP version 1\n1..1\nok 1 R1_a\n"


def lab():
    """The entry to the lab."""
    module = SimpleNamespace(__file__=str(ROOT / "scripts/lab"), __name__="lab")
    with mock.patch("signal.signal"):
        exec(SourceFileLoader("lab", module.__file__).get_code("lab"),  # pylint: disable=exec-used
             module.__dict__)
    return module


class FormerRun(unittest.TestCase):
    """Results are there, and the build fails."""

    def setUp(self):
        found = tempfile.TemporaryDirectory()
        self.addCleanup(found.cleanup)
        self.out = Path(found.name)
        for name in ("OUT", "CHECK"):
            patch = mock.patch.object(paths, name, self.out)
            self.addCleanup(patch.stop)
            patch.start()
        mark.put(self.out, mark.OUT)
        patch = mock.patch.object(ready, "make", side_effect=say.LabError("it does not build"))
        self.addCleanup(patch.stop)
        patch.start()

    def results(self, *path):
        """The directory of a good run."""
        directory = self.out.joinpath(*path)
        directory.mkdir(parents=True)
        mark.put(directory, mark.RESULTS)
        (directory / "report.json").write_text('{"verdict": "pass"}')
        (directory / "ours").mkdir()
        (directory / "ours/report.ktap").write_text(GOOD)
        return directory

    def assert_empty(self, directory):
        """Nothing says how a run went."""
        self.assertEqual([path.name for path in directory.iterdir()], [mark.RESULTS])

    def test_run(self):
        """make run"""
        directory = self.results("run")
        options = SimpleNamespace(scenario="migrate", results=directory, here=False, pairs=[],
                                  timeout=None)
        with self.assertRaisesRegex(say.LabError, "it does not build"):
            lab().do_run(options)
        self.assert_empty(directory)

    def test_check(self):
        """A part of the check, and the part that reads its results."""
        directory = self.results("selftests")
        self.assertEqual(len(rules.left("selftests/ours/*.ktap")), 1)
        with self.assertRaisesRegex(say.LabError, "it does not build"):
            check.in_lab("selftests")()
        self.assert_empty(directory)
        self.assertEqual(rules.left("selftests/ours/*.ktap"), [])


if __name__ == "__main__":
    unittest.main()
