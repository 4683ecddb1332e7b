# SPDX-License-Identifier: GPL-2.0-only
"""Tests of the scenario fuzz: what it says of a run."""

import contextlib
import io
import sys
import tempfile
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "scripts/lab.d"))
sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tests/scenarios"))

# pylint: disable=wrong-import-position
import fuzz

SYMBOLS = """\
ffffffffc0001000 t mdma_open\t[mdma]
ffffffffc0001040 t __pfx_mdma_close\t[mdma]
ffffffffc0001050 t mdma_close\t[mdma]
ffffffffc0002000 d mdma_data\t[mdma]
ffffffffc0000000 T vfio_pin\t[vfio_iommu_type1]
ffffffff81000000 T schedule
ffffffffc0003000 t other\t[vfio]
"""
LAST = "# 12 inputs, 340 operations, 56 blocks\n"


class Coverage(unittest.TestCase):
    """Which functions are reached."""

    def test_functions(self):
        """Functions of our modules, by address, and nothing else."""
        self.assertEqual([name for _, name, _ in fuzz.functions(SYMBOLS)],
                         ["vfio_pin", "mdma_open", "mdma_close"])

    def test_reached(self):
        """An address belongs to the function that begins last before it."""
        rows = fuzz.coverage(fuzz.functions(SYMBOLS), [0xffffffffc0001060, 0xffffffffc0000010])
        self.assertEqual(rows["mdma"], {"functions": 2, "reached": 1, "not_reached": ["mdma_open"]})
        self.assertEqual(rows["vfio_iommu_type1"]["reached"], 1)

    def test_first_address(self):
        """The address of a call is never the function's first one."""
        known = fuzz.functions(SYMBOLS)
        self.assertEqual(fuzz.reached(known, [0xffffffffc0001050])["mdma"], {"mdma_open"})
        self.assertEqual(fuzz.reached(known, [0xffffffffc0000000])["mdma"], set())


class Verdict(unittest.TestCase):
    """When a run fails."""

    def test_good(self):
        """With KCOV, and without."""
        self.assertEqual(fuzz.judge(0, ["# KCOV: yes\n", LAST]), "")
        self.assertEqual(fuzz.judge(0, ["# KCOV: no\n", LAST.replace("56", "0")]), "")

    def test_code(self):
        """libFuzzer says by its code that it found something."""
        self.assertIn("77", fuzz.judge(77, ["# KCOV: yes\n", LAST]))

    def test_nothing_ran(self):
        """A run without inputs proves nothing."""
        self.assertEqual(fuzz.judge(0, []), "no input ran")
        self.assertEqual(fuzz.judge(0, [LAST.replace("12", "0")]), "no input ran")
        self.assertEqual(fuzz.judge(0, [LAST.replace("340", "0")]), "no input ran")

    def test_blind(self):
        """KCOV that sees nothing is no guide."""
        self.assertEqual(fuzz.judge(0, ["# KCOV: yes\n", LAST.replace("56", "0")]),
                         "KCOV has seen nothing")


# A fuzzer that says what a good one says, and whose merge ends with this code.
PROGRAM = """#!/bin/sh
case "$*" in
*-merge=1*) exit {merge} ;;
esac
test -s "$PATTERNS" || exit 1
: >"$BLOCKS"
echo "# KCOV: no"
printf '%s' '{last}'
"""


class Run(unittest.TestCase):
    """A whole run, with a fuzzer of the test's."""

    def run_with(self, merge, keep=1):
        """Its verdict."""
        with tempfile.TemporaryDirectory() as name:
            program = Path(name) / "fuzz"
            program.write_text(PROGRAM.format(merge=merge, last=LAST))
            program.chmod(0o755)
            config = {"program": program, "length": 512, "seconds": 1, "inputs": 0, "seed": 0,
                      "keep": keep}
            with contextlib.redirect_stdout(io.StringIO()):
                return fuzz.run(config, Path(name))

    def test_good(self):
        """It is told which lines of the kernel's log are findings."""
        self.assertEqual(self.run_with(0), "")

    def test_merge_fails(self):
        """What a run has found must be there for the next one."""
        self.assertEqual(self.run_with(1), "the corpus can't be merged")

    def test_no_merge(self):
        """A check does not look for the inputs that it would leave."""
        self.assertEqual(self.run_with(1, keep=0), "")


class Command(unittest.TestCase):
    """The command line of libFuzzer."""

    def words(self, **changes):
        """For these settings."""
        config = {"program": "fuzz", "length": 512, "seconds": 60, "inputs": 0, "seed": 0,
                  **changes}
        return fuzz.command(config, Path("/results"), "/corpus")

    def test_time(self):
        """0 seconds are the corpus alone, not for ever."""
        self.assertIn("-max_total_time=60", self.words())
        self.assertIn("-runs=0", self.words(seconds=0))
        self.assertNotIn("-max_total_time=0", self.words(seconds=0))

    def test_inputs(self):
        """So many inputs, on a machine of any speed."""
        self.assertIn("-runs=3000", self.words(inputs=3000))
        self.assertNotIn("-max_total_time=60", self.words(inputs=3000))

    def test_seed(self):
        """libFuzzer draws one if there is none."""
        self.assertIn("-seed=7", self.words(seed=7))
        self.assertFalse([word for word in self.words() if str(word).startswith("-seed")])


if __name__ == "__main__":
    unittest.main()
