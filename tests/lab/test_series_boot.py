#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""The kernel with the series, booted: what is installed, and what its tests must say."""

import dataclasses
import re
import sys
import tempfile
import unittest
from pathlib import Path
from unittest import mock

REPO = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(REPO / "scripts/lab.d"))

# pylint: disable=wrong-import-position
from check import series_boot
from make import debug_kernel

KUNIT = "ok 1 vfio_pin_store\n"
# As run_kselftest.sh prints it.
TEXT = """TAP version 13
1..2
# timeout set to 0
# selftests: vfio/mdma: fault
# TAP version 13
# 1..2
# # Starting 2 tests from 1 test cases.
# #  RUN           rig.a ...
# #            OK  rig.a
# ok 1 rig.a
# {} rig.b{}
# # PASSED: 2 / 2 tests passed.
# # Totals: pass:2 fail:0 xfail:0 xpass:0 skip:0 error:0
ok 1 selftests: vfio/mdma: fault
# selftests: vfio/mdma: rw
# TAP version 13
# 1..1
# ok 1 rig.c
ok 2 selftests: vfio/mdma: rw
"""


class Judge(unittest.TestCase):
    """The results."""

    WANTED = {"rig.a", "rig.b", "rig.c"}

    def test_good(self):
        """All passed."""
        self.assertEqual(series_boot.judge(TEXT.format("ok 2", ""), KUNIT, self.WANTED), [])

    def test_bad(self):
        """One that failed, was skipped, or did not run; and a suite of KUnit."""
        def judged(*words, kunit=KUNIT, wanted=self.WANTED):
            return series_boot.judge(TEXT.format(*words), kunit, wanted)

        self.assertRegex(judged("not ok 2", "")[0], "^rig.b: failed")
        self.assertRegex(judged("ok 2", " # SKIP no device")[0], "^rig.b: skipped no device")
        self.assertEqual(judged("ok 2", "", wanted={*self.WANTED, "rig.d"}),
                         ["rig.d: did not run"])
        for kunit in ("", "not ok 1 vfio_pin_store\n"):
            self.assertEqual(len(judged("ok 2", "", kunit=kunit)), 1)
        self.assertEqual(len(series_boot.judge("", KUNIT, self.WANTED) or ()) >= 3, True)

    def test_wanted(self):
        """All tests of the programs, with their fixtures."""
        found = series_boot.tests()
        self.assertGreater(len(found), 200)
        self.assertIn("rig.R3_faulting_get_shifts_nothing", found)


class Lab(unittest.TestCase):
    """What the lab boots and finds."""

    def test_booting(self):
        """This kernel, and afterwards what DEBUG= says."""
        with mock.patch.dict("os.environ", DEBUG="1"):
            with debug_kernel.booting(series_boot.BOOTED):
                self.assertIs(debug_kernel.chosen(), series_boot.BOOTED)
            self.assertIs(debug_kernel.chosen(), debug_kernel.KERNELS["1"])

    def test_name(self):
        """The lab's init finds its directory by the name."""
        text = (REPO / "scripts/lab.d/lab/debug.sh").read_text()
        letters = re.search(r"lab\\\.debug=\\\((\S+)\\\)", text)[1]
        self.assertRegex(series_boot.BOOTED.name, f"^{letters}$")
        self.assertIn(f"/mdma/{series_boot.BOOTED.name}/kselftest/", series_boot.COMMANDS)

    def test_install(self):
        """The programs, in the list of run_kselftest.sh."""
        with tempfile.TemporaryDirectory() as home:
            kernel = dataclasses.replace(series_boot.KERNEL, home=Path(home))
            selftests = kernel.tree / "tools/testing/selftests"
            programs = kernel.tree / series_boot.series_selftests.DIRECTORY
            for path in (*(programs / name for name in ("rw", "config", "settings")),
                         selftests / "run_kselftest.sh", selftests / "kselftest/runner.sh"):
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text("")
            with mock.patch.multiple(series_boot, KERNEL=kernel, SELFTESTS=selftests,
                                     INSTALLED=Path(home) / "installed", PROGRAMS=("rw",)), \
                    mock.patch.object(series_boot.chroot, "run"):
                series_boot.install()
            found = {str(path.relative_to(home)) for path in (Path(home) / "installed").rglob("*")
                     if path.is_file()}
            self.assertEqual(found, {f"installed/{name}" for name in (
                "kselftest-list.txt", "run_kselftest.sh", "kselftest/runner.sh", "vfio/mdma/rw",
                "vfio/mdma/config", "vfio/mdma/settings")})
            self.assertEqual((Path(home) / "installed/kselftest-list.txt").read_text(),
                             "vfio/mdma:rw\n")


if __name__ == "__main__":
    unittest.main()
