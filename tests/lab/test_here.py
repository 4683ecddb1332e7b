#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""A scenario without the lab: what a host must have, and that it is put back."""

import contextlib
import lzma
import os
import select
import signal
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path
from unittest import mock

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "scripts/lab.d"))

# pylint: disable=wrong-import-position
from base import process, say
from here import changes, conditions, run
from here.host import Host
from play import backend, trace

RELEASE = os.uname().release
WANTED = {"mem_mb": 512, "accel": "kvm", "qemu": "qemu-system-x86_64", "kernel": "/built/vmlinux",
          "initrd": "/built/initramfs.cpio", "shm": "/dev/shm", "control": 0,
          "mutant": "/built/x.ko"}
SAID = {"qemu-system-x86_64 --version": "QEMU emulator version 10.0.2 (Debian 1:10.0.2)",
        "modinfo -F name mdev": "mdev", "modinfo -F name mdma": "mdma",
        "modinfo -F backend vfio_iommu_type1": "mdma: ours",
        "modinfo -F vermagic /built/x.ko": f"{RELEASE} SMP preempt"}
UUID = "11111111-2222-3333-4444-555555555555"
NEW = "66666666-7777-8888-9999-aaaaaaaaaaaa"


class Made(Host):
    """A made-up host that has all."""

    def __init__(self, root):
        super().__init__(root)
        for name in ("sys/kernel/tracing/instances", "sys/kernel/debug/x", "proc/7/fd", "dev/shm",
                     "sys/bus/mdev/devices", "sys/module"):
            (self.root / name).mkdir(parents=True)
        self.answers, self.free, self.root_user = dict(SAID), 4096, True
        self.put("dev/kvm")
        self.put("built/vmlinux")
        self.put("built/initramfs.cpio")
        self.memory(8192)

    def put(self, path, text=""):
        """A file."""
        path = self.root / path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def memory(self, mib):
        """What is available."""
        self.put("proc/meminfo", f"MemTotal: 9 kB\nMemAvailable:   {mib << 10} kB\n")

    def said(self, *argv):
        return self.answers.get(" ".join(argv), "")

    def free_mb(self, directory):
        return self.free

    def is_root(self):
        return self.root_user


class Conditions(unittest.TestCase):
    """conditions.py"""

    def setUp(self):
        self.host = Made(self.enterContext(tempfile.TemporaryDirectory()))

    def missing(self, **wanted):
        """What is missing, for these settings."""
        found = conditions.missing(self.host, {**WANTED, **wanted})
        for sentence in found:
            self.assertNotIn("\n", sentence)
        return found

    def only(self, words, **wanted):
        """Exactly one thing is missing, and its sentence has these words."""
        found = self.missing(**wanted)
        self.assertEqual(len(found), 1, found)
        self.assertRegex(found[0], words)

    def test_all_is_there(self):
        """Nothing loaded, or ours."""
        self.assertEqual(self.missing(), [])
        self.host.put("sys/module/vfio_iommu_type1/taint", "OE\n")
        self.host.put("sys/module/mdma/taint", "OE\n")
        self.host.answers.pop("modinfo -F backend vfio_iommu_type1")
        self.host.answers.pop("modinfo -F name mdma")
        self.assertEqual(self.missing(), [])

    def test_root(self):
        """Others would see the rest as missing."""
        self.host.root_user = False
        self.host.memory(0)
        self.only("sudo")

    def test_kvm(self):
        """Unless the guests are emulated."""
        (self.host.root / "dev/kvm").unlink()
        self.only("/dev/kvm .* accel=tcg")
        self.assertEqual(self.missing(accel="tcg"), [])

    def test_modules(self):
        """Of the kernel and of ours."""
        for name, words in (("name mdev", "CONFIG_VFIO_MDEV"),
                            ("name mdma", "no module mdma for Linux .*: install mdma-dkms"),
                            ("backend vfio_iommu_type1", "load the kernel's own .*: install")):
            with self.subTest(name), mock.patch.dict(self.host.answers, {f"modinfo -F {name}": ""}):
                self.only(words)

    def test_stock_type1(self):
        """Loaded: how to exchange it."""
        self.host.put("sys/module/vfio_iommu_type1/taint", "\n")
        self.only("own vfio_iommu_type1 is loaded: .*rmmod mdma vfio_iommu_type1")

    def test_another_type1_by_build_id(self):
        """Sources differ, but not the srcversion."""
        home, note = f"sys/module/{conditions.TYPE1}", "GNU-id-of-"
        self.host.put(f"{home}/taint", "OE\n")
        self.host.put(f"{home}/srcversion", "SAME\n")
        self.host.put(f"{home}/notes/.note.gnu.build-id", f"{note}ours")
        self.host.answers["modinfo -F srcversion vfio_iommu_type1"] = "SAME"
        for name, pack in (("x.ko", bytes), ("x.ko.xz", lzma.compress)):
            self.host.answers["modinfo -n vfio_iommu_type1"] = f"/lib/{name}"
            self.assertEqual(self.missing(), [])
            self.host.put(f"lib/{name}")
            for whose in ("ours", "another"):
                (self.host.root / "lib" / name).write_bytes(pack(f"\x7fELF{note}{whose}".encode()))
                with self.subTest(name=name, whose=whose):
                    if whose == "another":
                        self.only("not the installed one")
                    else:
                        self.assertEqual(self.missing(), [])
        # Whatever a compression is that we don't know.
        self.host.answers["modinfo -n vfio_iommu_type1"] = "/lib/x.ko.zst"
        self.host.put("lib/x.ko.zst", "packed")
        self.assertEqual(self.missing(), [])

    def test_another_type1(self):
        """A killed run has left the broken one of its control; one loaded by hand is no mistake."""
        self.host.put("sys/module/vfio_iommu_type1/taint", "OE\n")
        self.host.put("sys/module/vfio_iommu_type1/srcversion", "BROKEN\n")
        self.assertEqual(self.missing(), [])
        self.host.answers["modinfo -F srcversion vfio_iommu_type1"] = "OURS"
        self.only("not the installed one, .*rmmod mdma vfio_iommu_type1")
        self.host.answers["modinfo -F backend vfio_iommu_type1"] = ""
        self.assertEqual(self.missing(), [])
        self.host.answers["modinfo -F backend vfio_iommu_type1"] = "mdma:"
        self.host.put("sys/module/vfio_iommu_type1/srcversion", "OURS\n")
        self.assertEqual(self.missing(), [])

    def test_users(self):
        """Each is named; other files do not count."""
        self.host.put("proc/7/comm", "qemu-kvm\n")
        os.symlink("/dev/vfio/12", self.host.root / "proc/7/fd/3")
        os.symlink("/dev/null", self.host.root / "proc/7/fd/4")
        self.only(r"process 7 \(qemu-kvm\) has /dev/vfio/12 open: end it")
        os.symlink("/dev/iommu", self.host.root / "proc/7/fd/5")
        self.assertEqual(len(self.missing()), 2)

    def test_devices(self):
        """Of anybody."""
        (self.host.root / "sys/bus/mdev/devices" / UUID).mkdir()
        self.only(f"{UUID}: .*echo 1 >/sys/bus/mdev/devices/{UUID}/remove")

    def test_memory(self):
        """Two guests and a copy."""
        self.host.memory(3 * 512 + 511)
        self.only("2047 MiB of memory are available, and mem_mb=512 takes 2048: .*mem_mb=")
        self.assertEqual(self.missing(mem_mb=511), [])
        self.host.memory(8192)
        self.host.free = 1279
        self.only("/dev/shm has 1279 MiB free, and mem_mb=512 takes 1280: .*shm=DIR")

    def test_memory_left(self):
        """Of a run that was killed; not what others have there."""
        (self.host.root / "dev/shm/other").mkdir()
        self.assertEqual(self.missing(), [])
        with run.memory(self.host.root / "dev/shm") as left:
            self.only(f"or was killed: end it, then `rm -r /dev/shm/{Path(left).name}`")
        self.assertEqual(self.missing(), [])

    def test_qemu(self):
        """Missing, and too old."""
        name = "qemu-system-x86_64 --version"
        for text, words in (("", "does not run: install qemu-system-x86"),
                            ("QEMU emulator version 7.2.9", "is 7.2: install 10.0"),
                            ("QEMU emulator version 9.2.0", "is 9.2: install 10.0")):
            with self.subTest(text), mock.patch.dict(self.host.answers, {name: text}):
                self.only(words)
        self.host.answers[name] = "QEMU emulator version 11.1.3"
        self.assertEqual(self.missing(), [])

    def test_tracing(self):
        """No tracefs, no debugfs, a trace that was left, and lockdown."""
        path = self.host.root / "sys/kernel"
        (path / "tracing/instances/mdma-proof").mkdir()
        self.only("rmdir /sys/kernel/tracing/instances/mdma-proof")
        (path / "tracing/instances/mdma-proof").rmdir()
        self.host.put("sys/kernel/security/lockdown", "none integrity [confidentiality]")
        self.only("locked down for confidentiality")
        self.host.put("sys/kernel/security/lockdown", "none [integrity] confidentiality")
        (path / "debug/x").rmdir()
        self.only("mount -t debugfs")
        (path / "debug/tracing/instances").mkdir(parents=True)
        (path / "tracing/instances").rmdir()
        self.assertEqual(self.missing(), [])
        (path / "debug/tracing/instances").rmdir()
        self.only("mount -t tracefs")

    def test_guest(self):
        """It was built beforehand."""
        (self.host.root / "built/initramfs.cpio").unlink()
        self.only("no /built/initramfs.cpio: build the guest by .*MDMA_BUILT=DIR")

    def test_control(self):
        """Its backend is of this kernel."""
        self.assertEqual(self.missing(control=1), [])
        self.host.answers["modinfo -F vermagic /built/x.ko"] = "6.12.1 SMP"
        self.only("control=0", control=1)
        self.assertEqual(self.missing(), [])

    def test_all_at_once(self):
        """The user gets the whole list, and nothing was done."""
        (self.host.root / "dev/kvm").unlink()
        self.host.memory(1)
        with mock.patch.object(say, "info") as info, \
                mock.patch.object(run, "settings_of", return_value=WANTED):
            with self.assertRaisesRegex(say.LabError, "2 things are missing"):
                run.check(self.host, "migrate", {})
        self.assertEqual([call[0][0][:9] for call in info.call_args_list], ["missing: "] * 2)


class PutBack(unittest.TestCase):
    """changes.py"""

    def setUp(self):
        self.host = Made(self.enterContext(tempfile.TemporaryDirectory()))
        self.devices = self.host.root / "sys/class/mdev_bus/mdma"
        traces = self.host.root / "sys/kernel/tracing"
        self.enterContext(mock.patch.object(trace, "ROOTS", (traces,)))
        self.enterContext(mock.patch.object(backend, "SYSFS", self.host.root / "sys/module/"
                                            "vfio_iommu_type1"))
        self.run = self.enterContext(mock.patch.object(backend, "run"))
        self.name = self.enterContext(mock.patch.object(backend, "name", return_value="ours"))
        self.load = self.enterContext(mock.patch.object(backend, "load"))

    def modules(self, *names, refcnt="0"):
        """Modules are loaded."""
        for name in names:
            self.host.put(f"sys/module/{name}/refcnt", refcnt)

    def unloaded(self):
        """What was unloaded, in that order."""
        return [call[0][1] for call in self.run.call_args_list if call[0][0] == "rmmod"]

    def test_devices(self):
        """New ones of ours are removed, others stay."""
        paths = [f"sys/class/mdev_bus/{name}/remove" for name in
                 (f"mdma/{UUID}", f"mdma/{NEW}", f"0000:01:00.0/{NEW}", "mdma/power")]
        self.host.put(paths[0])
        before = changes.Changes(self.host)
        for path in paths[1:]:
            self.host.put(path)
        self.assertEqual(before.put_back(), [])
        self.assertEqual([(self.host.root / path).read_text() for path in paths],
                         ["", "1\n", "", ""])

    def test_modules(self):
        """Those that were not loaded before, in an order that works; not what others use."""
        self.modules("vfio", "mdev")
        before = changes.Changes(self.host)
        self.modules("mdma", "vfio_iommu_type1", "kvm")
        self.modules("iommufd", refcnt="2")
        self.assertEqual(before.put_back(), [])
        self.assertEqual(self.unloaded(), ["mdma", "vfio_iommu_type1"])
        self.load.assert_not_called()

    def test_broken_backend(self):
        """A scenario that was killed in the control leaves another one: ours is loaded again."""
        self.modules("mdma", "vfio_iommu_type1")
        before = changes.Changes(self.host)
        self.name.return_value = "forgets"
        self.assertEqual(before.put_back(), [])
        self.load.assert_called_once_with()
        self.assertEqual(self.unloaded(), [])

    def test_trace(self):
        """An instance that a killed scenario has left."""
        before = changes.Changes(self.host)
        left = self.host.root / "sys/kernel/tracing/instances/mdma-proof"
        left.mkdir()
        self.assertEqual(before.put_back(), [])
        self.assertFalse(left.exists())

    def test_what_can_not_be_done(self):
        """It is said, and the rest is done."""
        before = changes.Changes(self.host)
        self.modules("mdma", "vfio")
        (self.devices / NEW / "remove").mkdir(parents=True)
        self.run.side_effect = lambda *words: self._refuse(words)
        with mock.patch.object(changes, "PATIENCE", 0):
            found = before.put_back()
        self.assertEqual(len(found), 2, found)
        self.assertRegex(found[0], f"{NEW}/remove refuses: ")
        self.assertRegex(found[1], "mdma: in use; `rmmod mdma` later")
        self.assertEqual(self.unloaded(), ["mdma", "vfio"])

    @staticmethod
    def _refuse(words):
        if words[1] == "mdma":
            raise say.LabError("mdma: in use")


class Run(unittest.TestCase):
    """run.py"""

    def test_settings(self):
        """No control unless it is asked for; the lab's own modules are refused."""
        self.assertEqual(run.pairs("migrate", ["mem_mb=256"]), {"control": "0", "mem_mb": "256"})
        self.assertEqual(run.pairs("migrate", ["control=1"])["control"], "1")
        for name, word, words in (("migrate", "tracking=device", "give tracking=container"),
                                  ("migrate", "mem_mb=x", "mem_mb=x: must be"),
                                  ("driver", "smp=1", "driver runs in the lab only")):
            with self.assertRaisesRegex(say.UsageError, words):
                run.pairs(name, [word])

    def test_built(self):
        """The guest is what was built, here or as MDMA_BUILT= says; a path of the user's stays."""
        with mock.patch.dict(os.environ, MDMA_BUILT="/b"):
            found = run.settings_of("migrate", {"kernel": "/my/vmlinux"})
        self.assertEqual((found["kernel"], found["initrd"], found["mem_mb"]),
                         ("/my/vmlinux", "/b/guest/initramfs.cpio", 512))

    def child(self, script):
        """A shell, in a process group of its own, that has begun."""
        child = process.start(["sh", "-c", script], stdout=subprocess.PIPE, text=True)
        self.addCleanup(child.stdout.close)
        self.assertEqual(child.stdout.readline(), "begun\n")
        return child

    def test_ends_by_itself(self):
        """A scenario that is stopped removes its devices first."""
        child = self.child("trap 'echo removed; exit 143' TERM; echo begun; "
                           "while :; do sleep 0.01; done")
        run._end(child)  # pylint: disable=protected-access
        self.assertEqual((child.stdout.read(), child.returncode), ("removed\n", 143))

    def test_leaves_nobody(self):
        """One that was killed leaves its QEMUs, which end as well."""
        child = self.child("sleep 1000 & echo begun; kill -9 $$")
        child.wait()
        self.addCleanup(self._kill, child.pid)
        run._end(child)  # pylint: disable=protected-access
        # It ends only when the last one has closed it.
        ready, _, _ = select.select([child.stdout], [], [], 60)
        self.assertTrue(ready and child.stdout.read() == "")

    @staticmethod
    def _kill(group):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(group, signal.SIGKILL)


class Installed(unittest.TestCase):
    """Where a kernel's modules are (play/backend.py)."""

    def test_places(self):
        """By make install, by dkms, and what dkms has moved away."""
        root = Path(self.enterContext(tempfile.TemporaryDirectory()))
        self.enterContext(mock.patch.object(backend, "LIB", root / "lib"))
        self.enterContext(mock.patch.object(backend, "MOVED", root / "moved"))
        with self.assertRaisesRegex(say.LabError, "no vfio_iommu_type1 there"):
            backend.installed("stock")
        for wanted, place in (("stock", f"moved/{RELEASE}/x86_64"),
                              ("stock", f"lib/{RELEASE}/kernel/drivers/vfio"),
                              ("ours", f"lib/{RELEASE}/updates/dkms"),
                              ("ours", f"lib/{RELEASE}/updates")):
            path = root / place / "vfio_iommu_type1.ko.xz"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
            self.assertEqual(backend.installed(wanted), path)


if __name__ == "__main__":
    unittest.main()
