#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""The end of a lab: what can't be read is not clean (lab/init)."""

import re
import subprocess
import tempfile
import unittest
from pathlib import Path

INIT = Path(__file__).resolve().parents[2] / "scripts/lab.d/lab/init"
# What the functions need of a lab; the rest of init does not run.
LAB = """
step() { :; }
sleep() { :; }
sync() { :; }
busybox() { exit; }
option() { [[ $debug ]]; }
dmesg() { [[ -z $no_log ]] && echo log; }
"""


class End(unittest.TestCase):
    """finish(), with kmemleak on the debug kernel."""

    def setUp(self):
        self.root = Path(self.enterContext(tempfile.TemporaryDirectory()))
        (self.root / "results").mkdir()
        (self.root / "kmemleak").touch()
        text = INIT.read_text()
        self.functions = "".join(re.search(rf"(?ms)^{name}\(\) {{\n.*?^}}\n", text)[0]
                                 for name in ("scan_leaks", "finish"))
        for old, new in (("/sys/kernel/debug/kmemleak", "kmemleak"), ("/dev/hvc0", "said"),
                         ("/results", "results")):
            self.functions = self.functions.replace(old, f"{self.root}/{new}")

    def status(self, code=0, before=""):
        """What the lab leaves for a job that ended with @code."""
        subprocess.run(["bash", "-c", f"{LAB}\n{before}\n{self.functions}\nfinish {code}"],
                       check=False, capture_output=True)
        return (self.root / "results/status").read_text().strip()

    def test_good(self):
        """The job's own code."""
        self.assertEqual(self.status(), "0")
        self.assertEqual(self.status(3), "3")
        self.assertEqual((self.root / "results/dmesg.txt").read_text(), "log\n")

    def test_no_log(self):
        """The kernel's log can't be saved."""
        self.assertEqual(self.status(before="no_log=1"), "1")
        self.assertEqual(self.status(3, "no_log=1"), "3")

    def test_leaks(self):
        """kmemleak found something, or can't be asked, or its answer can't be saved."""
        # Unlike the kernel's file, ours has what was written to it.
        found = "cat() { echo unreferenced; }\n"
        self.assertEqual(self.status(before=f"debug=1\n{found}"), "1")
        self.assertEqual(self.status(before="debug=1\ncat() { :; }"), "0")
        self.assertEqual(self.status(before="debug=1\ncat() { false; }"), "1")


if __name__ == "__main__":
    unittest.main()
