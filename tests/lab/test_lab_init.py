#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""The end of a lab: what can't be read is not clean (lab/init, lab/debug.sh)."""

import re
import subprocess
import tempfile
import unittest
from pathlib import Path

LAB_D = Path(__file__).resolve().parents[2] / "scripts/lab.d/lab"
# What the functions need of a lab; the rest of init does not run.
LAB = """
step() { :; }
sleep() { :; }
sync() { :; }
busybox() { exit; }
debug_kernel() { echo "$debug"; }
dmesg() { [[ -z $no_log ]] && echo log; }
"""


class End(unittest.TestCase):
    """finish(), with the tools of the debug kernels that have files of their own."""

    def setUp(self):
        self.root = Path(self.enterContext(tempfile.TemporaryDirectory()))
        (self.root / "results").mkdir()
        (self.root / "kmemleak").touch()
        (self.root / "kcsan").write_text("enabled: 1\nsetup_watchpoints: 7\n")
        text = (LAB_D / "init").read_text() + (LAB_D / "debug.sh").read_text()
        self.functions = "".join(re.search(rf"(?ms)^{name}\(\) {{\n.*?^}}\n", text)[0]
                                 for name in ("scan_leaks", "ask_kcsan", "ask_tools",
                                              "finish"))
        for old, new in (("/sys/kernel/debug/kmemleak", "kmemleak"), ("/dev/hvc0", "said"),
                         ("/sys/kernel/debug/kcsan", "kcsan"), ("/results", "results")):
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
        self.assertEqual(self.status(before=f"debug=debug\n{found}"), "1")
        self.assertEqual(self.status(before="debug=debug\ncat() { :; }"), "0")
        self.assertEqual(self.status(before="debug=debug\ncat() { false; }"), "1")

    def test_kcsan(self):
        """KCSAN is off, has watched nothing, or can't be asked."""
        self.assertEqual(self.status(before="debug=kcsan"), "0")
        self.assertEqual((self.root / "results/kcsan.txt").read_text(),
                         (self.root / "kcsan").read_text())
        for text in ("enabled: 0\nsetup_watchpoints: 7\n", "enabled: 1\nsetup_watchpoints: 0\n", ""):
            (self.root / "kcsan").write_text(text)
            self.assertEqual(self.status(before="debug=kcsan"), "1", text)
            self.assertIn("KCSAN", (self.root / "said").read_text())
        self.assertEqual(self.status(3, "debug=kcsan"), "3")
        (self.root / "kcsan").unlink()
        self.assertEqual(self.status(before="debug=kcsan"), "1")


if __name__ == "__main__":
    unittest.main()
