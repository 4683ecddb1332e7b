# SPDX-License-Identifier: GPL-2.0-only
"""Runs the Python unit tests of a directory and reports in KTAP.

usage: unittest_ktap.py DIRECTORY
"""

import sys
import unittest
from pathlib import Path

# Started as a program: the packages are beside the one that this file is in.
sys.path[0] = str(Path(__file__).resolve().parents[1])

# pylint: disable=wrong-import-position
from base import ktap


class KtapResult(unittest.TestResult):
    """Collects results; prints nothing while tests run."""

    def __init__(self):
        super().__init__()
        self.leaves = []

    def _add(self, test, state, reason=""):
        self.leaves.append(ktap.Result(test.id(), state, reason))

    def addSuccess(self, test):
        self._add(test, ktap.PASSED)

    def addFailure(self, test, err):
        first = (str(err[1]).splitlines() or [""])[0]
        self._add(test, ktap.FAILED, f"{err[0].__name__}: {first}\n"
                  + self._exc_info_to_string(err, test))

    addError = addFailure

    def addSkip(self, test, reason):
        self._add(test, ktap.SKIPPED, reason)

    def addSubTest(self, test, subtest, err):
        if err is not None:
            self.addFailure(subtest, err)


def main():
    """Run them; the exit code is 1 if a test failed."""
    directory = sys.argv[1]
    suite = unittest.TestLoader().discover(directory, top_level_dir=directory)
    result = KtapResult()
    suite.run(result)
    sys.stdout.write(ktap.render(result.leaves))
    return int(any(leaf.state == ktap.FAILED for leaf in result.leaves))


if __name__ == "__main__":
    sys.exit(main())
