# SPDX-License-Identifier: GPL-2.0-only
"""Tools that are missing from the debug kernel are noticed."""

import os
import sys
import tempfile
import unittest
from pathlib import Path
from unittest import mock

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "scripts/lab.d"))

# pylint: disable=wrong-import-position
from base import say
from check import check
from make import debug_kernel, mutant, paths, small_kernel, versions


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
        wanted = {"1": ("KASAN_INLINE", "UBSAN", "PROVE_LOCKING", "DEBUG_ATOMIC_SLEEP",
                        "DEBUG_KMEMLEAK", "FAILSLAB", "HARDENED_USERCOPY"),
                  "kcsan": ("KCSAN", "KCSAN_STRICT", "KCSAN_WEAK_MEMORY", "KCSAN_SELFTEST",
                            "KCSAN_EARLY_ENABLE", "PREEMPT")}
        for word, debug in debug_kernel.KERNELS.items():
            lines = small_kernel.wanted(small_kernel.demanded(debug.kernel))
            for tool in wanted[word]:
                self.assertIn(f"CONFIG_{tool}=y", lines)

    def test_side_by_side(self):
        """Each has its own directory, and its own recipe; what make is told is a part of that."""
        debugs = debug_kernel.KERNELS.values()
        self.assertEqual(len({debug.home for debug in debugs}), 2)
        self.assertEqual(len({small_kernel.recipe(debug.kernel) for debug in debugs}), 2)
        for word in debug_kernel.KCSAN:
            self.assertIn(word, small_kernel.recipe(debug_kernel.KERNELS["kcsan"].kernel))


class AskedFor(unittest.TestCase):
    """DEBUG= of the environment."""

    def test_values(self):
        """A kernel, nothing, or nonsense, which is refused in words before anything is done."""
        for word, wanted in (("", None), ("0", None), ("1", "debug"), ("kcsan", "kcsan")):
            with mock.patch.dict(os.environ, DEBUG=word):
                debug = debug_kernel.chosen()
                self.assertEqual(debug and debug.name, wanted)
                versions.check("check")
        for word in ("yes", "KCSAN", "2", "kcsan1"):
            with mock.patch.dict(os.environ, DEBUG=word), \
                    self.assertRaisesRegex(say.UsageError, f"DEBUG={word}: there are 1 and kcsan"):
                versions.check("check")

    def test_parts(self):
        """Each has its parts of a check."""
        self.assertEqual(set(check.DEBUG_PARTS), set(debug_kernel.KERNELS))
        with mock.patch.dict(os.environ, DEBUG="kcsan"):
            self.assertEqual(list(check.parts_of_run()), ["races", "selftests", "kills"])
            with self.assertRaises(say.UsageError):
                check.check_parts(["model"])


class Seen(unittest.TestCase):
    """debug_kernel.check_seen(): modules that the tools do not see."""

    def test_calls(self):
        """A module without the calls that KCSAN adds is refused."""
        debug = debug_kernel.KERNELS["kcsan"]
        with tempfile.TemporaryDirectory() as directory:
            good, bad = Path(directory, "good.ko"), Path(directory, "bad.ko")
            good.write_bytes(b"\0kfree\0__tsan_read8\0")
            bad.write_bytes(b"\0__fentry__\0kfree\0")
            debug_kernel.check_seen(debug, [good])
            with self.assertRaisesRegex(say.LabError, "bad.ko: .* it calls no __tsan_"):
                debug_kernel.check_seen(debug, [good, bad])


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


class Mutants(unittest.TestCase):
    """debug_kernel.make_mutant()"""

    def test_place(self):
        """Each is where scenarios look for it, /mdma/mutant/NAME, over which init mounts the debug
        kernel's; though those of a module are built in one tree, with the kernel's own words."""
        debug, built, copied = debug_kernel.KERNELS["1"], [], []
        with mock.patch.object(debug_kernel.build, "build", built.append), \
                mock.patch.object(debug_kernel, "check_seen"), \
                mock.patch.object(debug_kernel, "key", lambda _: "key"), \
                mock.patch.object(debug_kernel.payload, "copy", lambda *two: copied.append(two)):
            for name in ("locked-without-lock", "forget-unpinned"):
                debug_kernel.make_mutant(debug, name)
        self.assertEqual({target.name for target in built}, {"debug/mutant/vfio"})
        self.assertTrue(all("KCOV_INSTRUMENT=y" in target.argv for target in built))
        self.assertEqual([str(to.relative_to(paths.PAYLOAD)) for _, to in copied],
                         ["debug/mutant/locked-without-lock/vfio_iommu_type1.ko",
                          "debug/mutant/forget-unpinned/vfio_iommu_type1.ko"])


class Races(unittest.TestCase):
    """The control of KCSAN: mutants of ours that it must report."""

    def test_all_told(self):
        """One report for each module; that of the other one, or of another tool, is none."""
        device = ("sanitizer", "BUG: KCSAN: data-race in run_pin [mdma] / run_pin [mdma]")
        backend = ("sanitizer", "BUG: KCSAN: data-race in owner_charge [vfio_iommu_type1]")
        self.assertEqual(check.missed_races([device, backend]), [])
        self.assertEqual(check.missed_races([device]), ["locked-without-lock"])
        self.assertEqual(check.missed_races([backend]), ["count-without-atomic"])
        self.assertEqual(check.missed_races([("bug", "BUG: x in run_pin [mdma]")]),
                         list(check.RACES))

    def test_mutants(self):
        """They fit to the product, change the module that is named, and have the test that is
        played. All that there are of their kind are played."""
        self.assertEqual(sorted(check.RACES), sorted(path.stem for path in
                                                     paths.RACES.glob("*.patch")))
        for name, module in check.RACES.items():
            one = mutant.load(name)
            self.assertEqual(one.tests, [check.RACING_TEST])
            self.assertTrue(one.apply({path: (paths.REPO / path).read_bytes()
                                       for path in one.hunks}))
            begin = "samples/vfio-mdev/mdma/" if module == "mdma" else "drivers/vfio/"
            self.assertTrue(all(path.startswith(begin) for path in one.hunks))


if __name__ == "__main__":
    unittest.main()
