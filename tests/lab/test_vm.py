# SPDX-License-Identifier: GPL-2.0-only
"""When KVM is used: it must be the CPU's own, and nest."""

import itertools
import sys
import tempfile
import time
import unittest
from pathlib import Path
from unittest import mock

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "scripts/lab.d"))

# pylint: disable=wrong-import-position
from boot import scenario, tsc, vm


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


class Memory(unittest.TestCase):
    """A lab that a guest fits into."""

    def test_usual(self):
        """The lab has what it always had."""
        for scenario_name in ("selftests", "migrate", "failures"):
            self.assertEqual(vm.memory_for(scenario.guest_mb(scenario_name, {})), vm.MEMORY)
        self.assertEqual(vm.memory_for(scenario.guest_mb("libvirt", {}), two=True),
                         vm.MEMORY_OF_TWO)

    def test_large(self):
        """/dev/shm has half of it."""
        guest = scenario.guest_mb("migrate", {"mem_mb": "8192"})
        self.assertEqual(guest, 8192)
        self.assertEqual(vm.memory_for(guest), 33)
        self.assertEqual(vm.memory_for(2049), 10)
        self.assertEqual(vm.memory_for(2048, two=True), 5)


class KernelCommandLine(unittest.TestCase):
    """Words without which a busy host breaks the lab."""

    def test_emulated(self):
        """Ticks are late on an emulated CPU, which is not a defect of the machine."""
        for accel in ("tcg", "icount"):
            words = vm.kernel_command_line(accel, ()).split()
            self.assertIn("no_timer_check", words)
            self.assertIn("tsc=nowatchdog", words)
            self.assertIn("unknown_nmi_panic", words)
            self.assertIn("cryptomgr.notests", words)

    def test_frequency(self):
        """An emulated TSC is this machine's: its kernel must not measure it. One that counts
        instructions has a frequency of its own."""
        with mock.patch.object(vm.tsc, "khz", lambda: 2000123):
            self.assertIn("tsc_early_khz=2000123", vm.kernel_command_line("tcg", ()).split())
            for accel in ("icount", "kvm"):
                self.assertNotIn("tsc_early_khz", vm.kernel_command_line(accel, ()))
        with mock.patch.object(vm.tsc, "khz", lambda: None):
            self.assertNotIn("tsc_early_khz", vm.kernel_command_line("tcg", ()))

    def test_kvm(self):
        """On a real CPU the kernel's own limits apply; a hang is recorded there, too."""
        words = vm.kernel_command_line("kvm", ("lab.bare",)).split()
        self.assertNotIn("no_timer_check", words)
        self.assertNotIn("cryptomgr.notests", words)
        self.assertIn("unknown_nmi_panic", words)
        self.assertIn("lab.bare", words)


class Tsc(unittest.TestCase):
    """tsc.py"""

    def test_measured(self):
        """By a counter of 3 MHz, with a host that takes the CPU away now and then."""
        calls = itertools.count()

        def read():
            count = time.monotonic_ns() * 3 // 1000
            if next(calls) % 3 == 0:
                time.sleep(0.002)
            return count
        self.assertAlmostEqual(tsc.measured(read), 3000, delta=15)

    def test_flags(self):
        """A counter whose frequency changes is not measured, nor one of another machine."""
        with tempfile.TemporaryDirectory() as directory:
            cpuinfo = Path(directory) / "cpuinfo"
            for flags, want in (("fpu tsc constant_tsc lm", 7), ("fpu tsc lm", None)):
                cpuinfo.write_text(f"flags\t\t: {flags}\n")
                with mock.patch.object(tsc, "measured", lambda _: 7), \
                        mock.patch.object(tsc.platform, "machine", lambda: "x86_64"):
                    self.assertEqual(tsc.khz(cpuinfo), want)
            with mock.patch.object(tsc.platform, "machine", lambda: "aarch64"):
                self.assertIsNone(tsc.khz(cpuinfo))

    def test_this_machine(self):
        """Twice the same."""
        one, other = tsc.khz(), tsc.khz()
        if one is not None:
            self.assertAlmostEqual(one, other, delta=one / 1000)


if __name__ == "__main__":
    unittest.main()
