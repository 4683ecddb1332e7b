#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""The part "packages" passes only if its script came to its end."""

import re
import sys
import tempfile
import unittest
from pathlib import Path
from types import SimpleNamespace
from unittest import mock

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "scripts/lab.d"))

# pylint: disable=wrong-import-position
from base import ktap
from boot import job
from check import debs


class InLab(unittest.TestCase):
    """The boot with the former version."""

    def played(self, text, code=0):
        """(passed, failed, skipped) if the script leaves this KTAP, and ends with this code."""
        def run(directory, *_, **__):
            (directory / "installed.ktap").write_text(text)
            return job.Outcome(code, None, [])
        with tempfile.TemporaryDirectory() as found, \
                mock.patch.object(debs.paths, "CHECK", Path(found)), \
                mock.patch.object(debs, "COMPILED", debs.SCRIPTS), \
                mock.patch.object(job, "run", run):
            return ktap.counts(debs.in_lab(SimpleNamespace(new=[], version="1")))

    def test_good(self):
        """All results, and the boot."""
        self.assertEqual(self.played("KTAP version 1\n1..1\nok 1 a\n"), (2, 0, 0))

    def test_half_way(self):
        """Results are missing, or nobody knows whether they are."""
        self.assertEqual(self.played("KTAP version 1\n1..2\nok 1 a\n"), (2, 1, 0))
        self.assertEqual(self.played("KTAP version 1\nok 1 a\n"), (2, 1, 0))

    def test_exit_code(self):
        """The script says that something is wrong."""
        self.assertEqual(self.played("KTAP version 1\n1..1\nok 1 a\n", 2), (1, 1, 0))

    def test_plan(self):
        """The script's plan, which it counts, is that of all its results."""
        text = (debs.SCRIPTS / "installed.sh").read_text()
        before, _, rest = text.partition('"$(grep -c \'^result "\' "$0")" >&3\n')
        self.assertNotRegex(before, r"(?m)^\s*result ")
        self.assertEqual(len(re.findall(r'(?m)^result "', rest)),
                         len(re.findall(r"(?m)^\s*result\b(?!\()", rest)))


if __name__ == "__main__":
    unittest.main()
