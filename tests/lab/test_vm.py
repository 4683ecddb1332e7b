# SPDX-License-Identifier: GPL-2.0-only
"""When KVM is used: it must be the CPU's own, and nest."""

import sys
import tempfile
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "scripts/lab.d"))

# pylint: disable=wrong-import-position
from boot import vm


class KvmMissing(unittest.TestCase):
    """vm.kvm_missing() on simulated machines."""

    def setUp(self):
        self.directory = tempfile.TemporaryDirectory()
        self.addCleanup(self.directory.cleanup)
        self.root = Path(self.directory.name)

    def missing(self, flags, nested=None, module="kvm_amd"):
        """What is missing on a CPU with these flags."""
        (self.root / "kvm").touch()
        (self.root / "cpuinfo").write_text(f"flags\t\t: fpu {flags} lm\n")
        if nested is not None:
            parameters = self.root / module / "parameters"
            parameters.mkdir(parents=True, exist_ok=True)
            (parameters / "nested").write_text(nested + "\n")
        return vm.kvm_missing(self.root / "kvm", self.root / "cpuinfo", self.root)

    def test_device_is_absent(self):
        """No /dev/kvm."""
        self.assertIn("No such file", vm.kvm_missing(self.root / "kvm"))

    def test_cpu_has_no_virtualisation(self):
        """A /dev/kvm that is emulated by software."""
        self.assertIn("neither svm nor vmx", self.missing("hypervisor"))

    def test_module_is_absent(self):
        """The CPU has the flag, but the module is missing."""
        self.assertIn("kvm_amd", self.missing("svm"))

    def test_module_does_not_nest(self):
        """nested=0."""
        self.assertEqual("kvm_amd: nested=0", self.missing("svm", "0"))

    def test_good_machines(self):
        """AMD and Intel."""
        self.assertIsNone(self.missing("svm", "1"))
        self.assertIsNone(self.missing("vmx", "Y", "kvm_intel"))


class KernelCommandLine(unittest.TestCase):
    """Words without which a busy host breaks the lab."""

    def test_emulated(self):
        """Ticks are late on an emulated CPU, which is not a defect of the machine."""
        for accel in ("tcg", "icount"):
            words = vm.kernel_command_line(accel, ()).split()
            self.assertIn("no_timer_check", words)
            self.assertIn("tsc=nowatchdog", words)
            self.assertIn("unknown_nmi_panic", words)

    def test_kvm(self):
        """On a real CPU the kernel's own limits apply; a hang is recorded there, too."""
        words = vm.kernel_command_line("kvm", ("lab.bare",)).split()
        self.assertNotIn("no_timer_check", words)
        self.assertIn("unknown_nmi_panic", words)
        self.assertIn("lab.bare", words)


if __name__ == "__main__":
    unittest.main()
