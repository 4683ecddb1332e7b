# SPDX-License-Identifier: GPL-2.0-only
"""Settings of a scenario are checked before anything is booted."""

import sys
import tempfile
import unittest
from pathlib import Path
from unittest import mock

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "scripts/lab.d"))

# pylint: disable=wrong-import-position
from base import say
from boot import scenario
from make import paths
from play import arguments

SOURCE = '''"""Does this.

usage: one.py
"""
KEYS = {"rounds": (4, "how often"),
        "mutant": ("/mdma/mutant/forget-unpinned/vfio_iommu_type1.ko", "control")}
ACCEL = "icount"
'''


class Settings(unittest.TestCase):
    """With one scenario in a directory of its own."""

    def setUp(self):
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        Path(directory.name, "one.py").write_text(SOURCE)
        Path(directory.name, "free.py").write_text("print('no settings named')\n")
        patch = mock.patch.object(paths, "SCENARIOS", Path(directory.name))
        patch.start()
        self.addCleanup(patch.stop)

    def test_good(self):
        """Pairs become a dictionary; a value may hold an equals sign."""
        self.assertEqual(scenario.settings("one", ["rounds=2", "mutant=a=b"]),
                         {"rounds": "2", "mutant": "a=b"})

    def test_explained(self):
        """Each setting, with its default and what it is."""
        self.assertIn("  rounds=4\n        how often\n", scenario.explained("one"))
        for name in ("one", "free"):
            self.assertNotIn("usage", scenario.explained(name))

    def test_accelerator(self):
        """A scenario may want one; most do not."""
        self.assertEqual(scenario.accelerator("one"), "icount")
        self.assertIsNone(scenario.accelerator("free"))

    def test_bad(self):
        """Each kind of mistake is told in words."""
        for words in (["rounds"], ["=2"], ["round=2"], ["rounds=1", "rounds=2"],
                      ["rounds=1\n2"], ["rounds=many"], ["rounds="]):
            with self.subTest(words=words), self.assertRaises(say.UsageError):
                scenario.settings("one", words)

    def test_unknown_scenario(self):
        """The message lists what there is."""
        with self.assertRaisesRegex(say.UsageError, "free, one"):
            scenario.settings("two", [])

    def test_scenario_without_keys(self):
        """Such a one checks its settings itself."""
        self.assertEqual(scenario.settings("free", ["x=1"]), {"x": "1"})

    def test_mutants(self):
        """Named in its source or in a setting."""
        self.assertEqual(scenario.mutants("one", {}), ["forget-unpinned"])
        self.assertEqual(scenario.mutants("free", {}), [])
        self.assertEqual(scenario.mutants("free", {"x": "/mdma/mutant/stale-pfn/a.ko"}),
                         ["stale-pfn"])


class InTheLab(unittest.TestCase):
    """The command line of a scenario that runs."""

    known = {"rounds": (4, "how often"), "pattern": ("random", "of the workload")}

    def test_defaults_and_types(self):
        """A value has its default's type."""
        self.assertEqual(arguments.values(self.known, []), {"rounds": 4, "pattern": "random"})
        self.assertEqual(arguments.values(self.known, ["rounds=7", "pattern=a=b"]),
                         {"rounds": 7, "pattern": "a=b"})

    def test_refused(self):
        """What is wrong is said, and nothing is run."""
        for words, text in ((["speed=3"], "unknown setting 'speed=3'; known: rounds pattern"),
                            (["rounds"], "unknown setting"), (["rounds=many"], "wants a number")):
            with self.subTest(words=words), self.assertRaisesRegex(SystemExit, text):
                arguments.values(self.known, words)

    def test_arguments(self):
        """--results comes first, and is not left out."""
        self.assertEqual(arguments.read("Doc.", self.known, ["--results", "/r", "rounds=2"]),
                         (Path("/r"), {"rounds": 2, "pattern": "random"}))
        for words in ([], ["--results"], ["rounds=2"]):
            with self.subTest(words=words), \
                    self.assertRaisesRegex(SystemExit, "(?s)Doc.*rounds=4  how often"):
                arguments.read("Doc.", self.known, words)

    def test_help(self):
        """Asked for, the usage is no error."""
        with mock.patch("builtins.print") as shown, self.assertRaises(SystemExit) as ended:
            arguments.read("Doc.", self.known, ["--help"])
        self.assertEqual(ended.exception.code, 0)
        self.assertIn("pattern=random", shown.call_args[0][0])


if __name__ == "__main__":
    unittest.main()
