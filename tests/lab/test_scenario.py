# SPDX-License-Identifier: GPL-2.0-only
"""Settings of a scenario are checked before anything is booted."""

import sys
import tempfile
import unittest
from pathlib import Path
from unittest import mock

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "scripts/lab.d"))

import paths  # pylint: disable=wrong-import-position
import say  # pylint: disable=wrong-import-position
import scenario  # pylint: disable=wrong-import-position

SOURCE = '''
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

    def test_accelerator(self):
        """A scenario may want one; most do not."""
        self.assertEqual(scenario.accelerator("one"), "icount")
        self.assertIsNone(scenario.accelerator("free"))

    def test_bad(self):
        """Each kind of mistake is told in words."""
        for words in (["rounds"], ["=2"], ["round=2"], ["rounds=1", "rounds=2"],
                      ["rounds=1\n2"]):
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


if __name__ == "__main__":
    unittest.main()
