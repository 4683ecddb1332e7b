# SPDX-License-Identifier: GPL-2.0-only
"""Tools that are missing from the debug kernel are noticed."""

import os
import sys
import unittest
from pathlib import Path
from unittest import mock

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "scripts/lab.d"))

# pylint: disable=wrong-import-position
from base import say
from check import check
from make import debug_kernel, small_kernel


class Configuration(unittest.TestCase):
    """small_kernel.missing(): lines of the fragment that do not hold."""

    def test_all_there(self):
        """Neither the order nor other settings matter."""
        self.assertEqual(small_kernel.missing("CONFIG_A=y\n# CONFIG_B is not set\n",
                                              "CONFIG_C=m\n# CONFIG_B is not set\nCONFIG_A=y\n"),
                         [])

    def test_left_out(self):
        """A tool that depends on something that is missing."""
        self.assertEqual(small_kernel.missing("CONFIG_KASAN=y\n", "CONFIG_SLUB=y\n"),
                         ["CONFIG_KASAN=y"])
        self.assertEqual(small_kernel.missing("CONFIG_KASAN=y\n", "# CONFIG_KASAN is not set\n"),
                         ["CONFIG_KASAN=y"])

    def test_forced_on(self):
        """A setting that must be off is on; a setting that is not mentioned is off."""
        fragment = "# CONFIG_SLUB_TINY is not set\n"
        self.assertEqual(small_kernel.missing(fragment, "CONFIG_SLUB_TINY=y\n"),
                         ["# CONFIG_SLUB_TINY is not set"])
        self.assertEqual(small_kernel.missing(fragment, ""), [])

    def test_fragment_has_the_tools(self):
        """The fragments have what testing.rst promises."""
        lines = small_kernel.wanted(small_kernel.demanded(debug_kernel.KERNEL))
        for tool in ("KASAN_INLINE", "UBSAN", "PROVE_LOCKING", "DEBUG_ATOMIC_SLEEP",
                     "DEBUG_KMEMLEAK", "FAILSLAB", "HARDENED_USERCOPY"):
            self.assertIn(f"CONFIG_{tool}=y", lines)


class AskedFor(unittest.TestCase):
    """DEBUG= of the environment."""

    def test_values(self):
        """1, nothing, or nonsense."""
        for word, wanted in (("", False), ("0", False), ("1", True)):
            with mock.patch.dict(os.environ, DEBUG=word):
                self.assertEqual(debug_kernel.asked_for(), wanted)
        with mock.patch.dict(os.environ, DEBUG="yes"), self.assertRaises(say.UsageError):
            debug_kernel.asked_for()


class Reports(unittest.TestCase):
    """check.missed_reports(): defects that no tool reported."""

    LOG = ["BUG: KASAN: slab-use-after-free in f", "BUG: KASAN: slab-out-of-bounds in f",
           "UBSAN: shift-out-of-bounds in f.c:3:5", "x possible circular locking dependency",
           "BUG: sleeping function called from invalid context at f.c:1"]

    def test_all_told(self):
        """Each line reports one defect, and kmemleak has its own file."""
        found = [("what", line) for line in self.LOG]
        self.assertEqual(check.missed_reports(found, "unreferenced object 0x1"), [])
        self.assertEqual(check.missed_reports(found, ""), ["leaked memory"])
        for i, _ in enumerate(found):
            self.assertEqual(len(check.missed_reports(found[:i] + found[i + 1:],
                                                      "unreferenced object")), 1)


if __name__ == "__main__":
    unittest.main()
