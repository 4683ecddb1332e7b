#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""What the parts of a check, the rounds of a soak and the targets of make ask scenarios for:
settings that there are, and modules that are built. Some of them run so rarely that nobody would
notice."""

import os
import re
import shlex
import sys
import tempfile
import unittest
from pathlib import Path
from unittest import mock

REPO = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(REPO / "scripts/lab.d"))

# pylint: disable=wrong-import-position
from base import say, settings
from boot import job, scenario
from check import check, soak
from make import build, mutant, versions

# Parts that run no scenario.
OTHERS = {"python", "lint", "places", "build", "unit", "watchdog", "rules", "newest", "packages",
          "pages"}


class Asked(unittest.TestCase):
    """What is asked for."""

    def setUp(self):
        self.directory = Path(self.enterContext(tempfile.TemporaryDirectory()))
        self.enterContext(mock.patch.object(say, "info"))
        self.enterContext(mock.patch.dict(os.environ))
        for name in (*versions.CHOICES, "CONTAINER", "DEBUG", "SEED", "OPS"):
            os.environ.pop(name, None)

    def good(self, name, pairs):
        """The scenario takes these settings, and what it needs then can be built."""
        words = [f"{key}={value}" for key, value in pairs.items()]
        self.assertEqual(settings.checked(scenario.keys(name), words), pairs)
        for target in scenario.targets(name, pairs):
            self.assertIn(target, {*build.TARGETS, *build.GROUPS})
        for one in scenario.mutants(name, pairs):
            mutant.load(one.partition("/")[0])

    def of_part(self, part):
        """(scenario, settings) of all that a part of a check runs."""
        asked = []

        def run(name, pairs, _directory=None):
            asked.append((name, pairs))
            return job.Outcome(0, None, []), self.directory
        with mock.patch.object(check, "_run_in_lab", run):
            part()
        return asked

    def test_parts(self):
        """Of each check."""
        checks = (check.PARTS, check.SHORT_PARTS, check.OWN_PARTS, *check.DEBUG_PARTS.values())
        for parts in checks:
            for name in parts.keys() - OTHERS:
                with self.subTest(name):
                    asked = self.of_part(parts[name])
                    self.assertTrue(asked)
                    for one in asked:
                        self.good(*one)

    def test_soak(self):
        """Of some rounds of each kind."""
        for number in range(4 * len(soak.KINDS)):
            self.good(*soak.draw("7", number))

    def test_make(self):
        """Of the targets of make, as far as they say it themselves."""
        text = (REPO / "Makefile").read_text().replace("\\\n", " ")
        lines = re.findall(r"scripts/lab run --results \S+ (.*)", text)
        self.assertEqual(len(lines), 6)
        for line in lines:
            name, *words = shlex.split(re.sub(r'\$\(if \S+,".*?"\)|\$\(ARGS\)', "", line)
                                       .replace("$${TIME:-600}", "600"))
            with self.subTest(name):
                self.good(name, dict(word.split("=", 1) for word in words))


if __name__ == "__main__":
    unittest.main()
