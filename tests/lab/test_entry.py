# SPDX-License-Identifier: GPL-2.0-only
"""A scenario that breaks ends with a sentence."""

import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

REPO = Path(__file__).resolve().parents[2]
SCRIPTS = REPO / "scripts/lab.d"

PROGRAM = f"""
import sys
sys.path.insert(0, {str(SCRIPTS)!r})
from play import entry
def deep(argv):
    return {{}}[len(argv)]
def first_step(argv):
    return sorted(argv, key=lambda word: deep(argv))
def main(argv):
    if argv[2:] == ["break"]:
        first_step(argv)
    if argv[2:] == ["import"]:
        from play import nothing
    return len(argv)
entry.run(main)
"""


class Entry(unittest.TestCase):
    """entry.run() around a small scenario."""

    def setUp(self):
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.results = Path(directory.name)

    def run_it(self, *words):
        """Exit code and output of the scenario."""
        path = self.results / "small.py"
        path.write_text(PROGRAM)
        done = subprocess.run([sys.executable, "-B", path, *words], text=True, check=False,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        return done.returncode, done.stdout

    def test_good(self):
        """The exit code is main()'s, and nothing is printed or left."""
        self.assertEqual(self.run_it("--results", str(self.results), "x"), (3, ""))
        self.assertFalse((self.results / "traceback.txt").exists())

    def test_broken(self):
        """One line names the step, the place and the error; the rest is in the results."""
        code, said = self.run_it("--results", str(self.results), "break")
        self.assertEqual(code, 1)
        self.assertRegex(said, r"^small: a defect of the scenario itself, in the step deep\(\), at "
                               r"small.py:6: KeyError: 3; the traceback is in traceback.txt of the "
                               r"results\n$")
        self.assertIn("in first_step", (self.results / "traceback.txt").read_text())

    def test_nowhere_to_keep_it(self):
        """The sentence is there all the same."""
        code, said = self.run_it("--results", "/nonexistent", "break")
        self.assertEqual((code, said.count("\n"), "traceback" in said), (1, 1, False))

    def test_all_scenarios(self):
        """Each scenario begins like this."""
        for path in sorted((REPO / "tests/scenarios").glob("*.py")):
            self.assertTrue(path.read_text().endswith(
                '\n\nif __name__ == "__main__":\n    entry.run(main)\n'), path.name)


if __name__ == "__main__":
    unittest.main()
