# SPDX-License-Identifier: GPL-2.0-only
"""When KVM is used: it must be the CPU's own, and nest. And what QEMU and the kernel are told."""

import itertools
import json
import os
import sys
import tempfile
import time
import unittest
from pathlib import Path
from unittest import mock

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "scripts/lab.d"))

# pylint: disable=wrong-import-position
from base import say
from boot import job, scenario, tsc, vm


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


class Kvm(unittest.TestCase):
    """A lab on a machine with KVM: /dev/kvm is a file here, which is opened and no more."""

    def setUp(self):
        self.root = Path(self.enterContext(tempfile.TemporaryDirectory()))
        (self.root / "kvm_intel/parameters").mkdir(parents=True)
        (self.root / "kvm_intel/parameters/nested").write_text("Y\n")
        (self.root / "kvm").touch()
        (self.root / "cpuinfo").write_text("flags\t\t: fpu vmx lm\n")
        real = vm.kvm_missing
        self.enterContext(mock.patch.object(vm, "kvm_missing", lambda: real(
            self.root / "kvm", self.root / "cpuinfo", self.root)))
        self.enterContext(mock.patch.dict(os.environ, ACCEL="", DEBUG=""))
        self.said = []
        self.enterContext(mock.patch.object(vm.say, "info", self.said.append))

    def test_used(self):
        """It is used where it is there, without a word."""
        self.assertEqual((vm.accelerator(), self.said), ("kvm", []))
        (self.root / "kvm").unlink()
        self.assertEqual(vm.accelerator(), "tcg")
        self.assertRegex(self.said.pop(), "^no KVM: .*/kvm: No such file")

    def test_forced(self):
        """ACCEL= decides, and no other word will do."""
        os.environ["ACCEL"] = "tcg"
        self.assertEqual((vm.accelerator(), self.said), ("tcg", []))
        os.environ["ACCEL"] = "kvm"
        self.assertEqual((vm.accelerator(), self.said), ("kvm", []))
        (self.root / "kvm").unlink()
        self.assertEqual(vm.accelerator(), "kvm")
        self.assertRegex(self.said.pop(), "though KVM will hardly do: .*/kvm: No such file")
        os.environ["ACCEL"] = "xen"
        with self.assertRaisesRegex(say.UsageError, "ACCEL=xen: kvm or tcg expected"):
            vm.accelerator()

    def words(self, accel):
        """QEMU's command line."""
        with mock.patch.object(vm.emulator, "program", lambda: Path("/lab/qemu-lab")):
            return [str(word) for word in vm.command(self.root, accel, (), False)]

    def test_command_line(self):
        """The package's own QEMU on the machine's own CPU, which nests; the rest is as without."""
        words, emulated = self.words("kvm"), self.words("tcg")
        self.assertEqual(words[words.index("-accel"):][:6],
                         ["-accel", "kvm", "-cpu", "host", "-smp", str(vm.CPUS)])
        self.assertEqual(words[3], str(vm.paths.ROOT / "usr/bin/qemu-system-x86_64"))
        self.assertEqual(emulated[3], "/lab/qemu-lab")
        # The IOMMU remaps interrupts, for which half of the irqchip must be QEMU's.
        self.assertIn("kernel-irqchip=split", words[words.index("-machine") + 1])
        self.assertIn("intel-iommu,intremap=on,eim=on", words)
        differ = [place for place, pair in enumerate(zip(words, emulated)) if len({*pair}) > 1]
        self.assertEqual([words[place - 1] for place in differ],
                         [words[2], "-accel", "-cpu", "-append"])
        self.assertEqual(len(words), len(emulated))

    def run_job(self, accel=None):
        """(accelerator that a boot gets, the one that the program in the lab is told)."""
        got = []
        with mock.patch.object(vm, "run", lambda _, accel, *_more: got.append(accel)), \
                mock.patch.object(vm, "machine", lambda: "x"):
            job.run(self.root, {}, ["true"], accel=accel, quiet=True)
        return got[0], json.loads((self.root / job.JOB).read_text())["accel"]

    def test_job(self):
        """A job boots on it, unless its scenario counts instructions."""
        self.assertEqual(self.run_job(), ("kvm", "kvm"))
        self.assertEqual(self.run_job("icount"), ("icount", "icount"))
        (self.root / "kvm").unlink()
        self.assertEqual(self.run_job(), ("tcg", "tcg"))

    def test_each(self):
        """Each accelerator has its limits."""
        for table in (vm.TIMEOUT, vm.watchdog.LIMIT):
            self.assertEqual(set(table), set(vm.HARDWARE))


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
