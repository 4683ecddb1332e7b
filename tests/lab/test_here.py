#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""A scenario without the lab: what a host must have, and that it is put back."""

import contextlib
import lzma
import os
import select
import shutil
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
from here import changes, conditions, needs, run
from here.host import Host
from judge import points
from make import gnuplot
from play import backend, mdev, trace

RELEASE = os.uname().release
WANTED = {"mem_mb": 512, "accel": "kvm", "qemu": "qemu-system-x86_64", "kernel": "/built/vmlinux",
          "initrd": "/built/initramfs.cpio", "shm": "/dev/shm", "control": 0,
          "needs": needs.of("migrate"), "modules": {}}
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
        self.answers, self.free, self.root_user, self.lockable = dict(SAID), 4096, True, 512
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

    def lockable_mb(self):
        return self.lockable

    def may_write(self, path):
        # Root may write everything, so tests of an ordinary user go by the group's bit.
        return self.has(path) and bool((self.root / path).stat().st_mode & 0o020)


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
        """Others would see the rest as missing; what root is needed for is named."""
        self.host.root_user = False
        self.host.memory(0)
        self.only("only root may trace, and read the ledger: .*sudo")
        self.only("only root may unload modules", needs=needs.of("selftests"))

    def test_selftests(self):
        """No guest and no QEMU; but debugfs, the programs, and a trace of their own."""
        for key in ("accel", "qemu", "kernel", "initrd", "shm", "mem_mb"):
            self.enterContext(mock.patch.dict(WANTED)).pop(key)
        (self.host.root / "dev/kvm").unlink()
        self.host.answers["qemu-system-x86_64 --version"] = ""
        wanted = {"needs": needs.of("selftests"), "programs": "/built/selftests"}
        self.only("no /built/selftests: build it", **wanted)
        self.host.put("built/selftests/report")
        self.assertEqual(self.missing(**wanted), [])
        self.host.memory(1535)
        self.only("1535 MiB of memory are available, and the scenario takes 1536: end what uses "
                  "it$", **wanted)
        self.host.memory(8192)
        traces = self.host.root / "sys/kernel/tracing"
        (traces / "instances/intx-selftest").mkdir()
        self.only("rmdir /sys/kernel/tracing/instances/intx-selftest", **wanted)
        (traces / "instances/intx-selftest").rmdir()

    def test_others_trace(self):
        """The selftests empty the kernel's first trace."""
        self.host.put("built/selftests/report")
        wanted = {"needs": needs.of("selftests"), "programs": "/built/selftests"}
        for name, text, none in (("set_event", "kvm:kvm_exit", ""),
                                 ("current_tracer", "function", "nop")):
            self.host.put(f"sys/kernel/tracing/{name}", text)
            self.only("somebody traces in /sys/kernel/tracing: end it", **wanted)
            self.assertEqual(self.missing(), [])
            self.host.put(f"sys/kernel/tracing/{name}", none)
        self.assertEqual(self.missing(**wanted), [])

    def test_driver(self):
        """Neither a trace nor the ledger, and no copy of memory."""
        self.host.put("sys/kernel/security/lockdown", "none integrity [confidentiality]")
        (self.host.root / "sys/kernel/debug/x").rmdir()
        self.host.memory(2 * 512 + 512)
        self.assertEqual(self.missing(needs=needs.of("driver")), [])

    def test_experiment(self):
        """It draws."""
        self.only("no gnuplot: install gnuplot-nox", needs=needs.of("experiment"))
        self.host.answers["gnuplot --version"] = "gnuplot 6.0"
        self.assertEqual(self.missing(needs=needs.of("experiment")), [])

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
        self.only("no /built/initramfs.cpio: build it by .*MDMA_BUILT=DIR")

    def test_exchanged(self):
        """What is loaded instead of ours is of this kernel."""
        given = {"modules": {"device": "/built/x.ko"}}
        self.assertEqual(self.missing(control=1, **given), [])
        self.host.answers["modinfo -F vermagic /built/x.ko"] = "6.12.1 SMP"
        self.only("/built/x.ko is no module for Linux .*: give control=0", control=1, **given)
        self.only("leave out device=", **given)
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


class Rights(unittest.TestCase):
    """rights.py: an ordinary user has all that is documented."""

    CREATE = "sys/class/mdev_bus/mdma/mdev_supported_types/mdma-4/create"

    def setUp(self):
        self.host = Made(self.enterContext(tempfile.TemporaryDirectory()))
        self.host.root_user = False
        for name in ("vfio", "vfio_iommu_type1", "mdma"):
            self.host.put(f"sys/module/{name}/taint", "OE")
        self.host.put(self.CREATE)
        self.give(0o220)
        self.host.answers["dmesg"] = "[1.0] Linux"

    def give(self, mode):
        """Or take the right to make devices."""
        (self.host.root / self.CREATE).chmod(mode)

    def missing(self, **wanted):
        """What is missing for scenario driver."""
        return conditions.missing(self.host, {**WANTED, "needs": needs.of("driver"),
                                              "type": "mdma-4", **wanted})

    def only(self, words, **wanted):
        """Exactly one thing is missing, and its sentence has these words."""
        found = self.missing(**wanted)
        self.assertEqual(len(found), 1, found)
        self.assertRegex(found[0], words)

    def test_all_is_there(self):
        """No root is needed, not even to look."""
        with mock.patch.object(Path, "stat", side_effect=PermissionError), \
                mock.patch.object(self.host, "may_write", return_value=True), \
                mock.patch.object(self.host, "loaded", return_value=True):
            self.assertEqual(self.missing(), [])

    def test_load(self):
        """A module that root has to load."""
        shutil.rmtree(self.host.root / "sys/module/mdma")
        self.only("sudo modprobe -a vfio vfio_iommu_type1 mdma")

    def test_exchange(self):
        """Modules of the user's own."""
        self.only("device= loads a module", modules={"device": "/built/x.ko"})

    def test_kvm(self):
        """It is there, but not for us."""
        with mock.patch.object(Host, "can_open", return_value=False):
            self.only("you may not open /dev/kvm: `sudo adduser .USER kvm`")
            self.assertEqual(self.missing(accel="tcg"), [])
            (self.host.root / "dev/kvm").unlink()
            self.only("turn on virtualisation")

    def test_devices(self):
        """Nobody has given the rights, or there is no such type."""
        self.give(0o200)
        self.only(f"you may not write /{self.CREATE}: .*60-mdma.rules")
        self.give(0o220)
        self.only("mdma-16/create", type="mdma-16")

    def test_lock(self):
        """As much as the guest has."""
        self.host.lockable = 511
        self.only("lock 511 MiB of memory, and mem_mb=512: .*`@kvm - memlock 524288`")
        self.assertEqual(self.missing(mem_mb=511), [])

    def test_log(self):
        """The kernel's."""
        self.host.answers["dmesg"] = ""
        self.only("sysctl kernel.dmesg_restrict=0")


class Device(unittest.TestCase):
    """play/mdev.py: udev gives an ordinary user the rights on a new device, a moment later."""

    def setUp(self):
        root = Path(self.enterContext(tempfile.TemporaryDirectory()))
        (root / "parent/mdev_supported_types/mdma-1").mkdir(parents=True)
        self.enterContext(mock.patch.multiple(mdev, PARENT=root / "parent", DEVICES=root,
                                              PATIENCE=0.2))
        self.user = self.enterContext(mock.patch.object(os, "geteuid", return_value=1000))
        self.asked = self.enterContext(mock.patch.object(os, "access"))

    def make(self):
        """Make a device."""
        with mdev.Mdev("mdma-1", UUID):
            pass

    def test_waits(self):
        """For the file that removes it, its workload, and the file of its group."""
        self.asked.side_effect = [False, True, False, *3 * [True]]
        self.make()
        self.assertEqual([call[0][0].name for call in self.asked.call_args_list],
                         2 * ["remove", "run", "iommu_group"])

    def test_no_rule(self):
        """Which right is missing."""
        self.asked.return_value = False
        with self.assertRaisesRegex(mdev.MdevError, f"{UUID}/remove: .*install 60-mdma.rules"):
            self.make()

    def test_root(self):
        """Root has them all."""
        self.user.return_value = 0
        self.make()
        self.asked.assert_not_called()


class PutBack(unittest.TestCase):
    """changes.py, and what it puts back by modules.py and values.py"""

    def setUp(self):
        self.host = Made(self.enterContext(tempfile.TemporaryDirectory()))
        self.devices = self.host.root / "sys/class/mdev_bus/mdma"
        traces = self.host.root / "sys/kernel/tracing"
        self.enterContext(mock.patch.object(trace, "ROOTS", (traces,)))
        self.enterContext(mock.patch.object(backend, "SYSFS", self.host.root / "sys/module/"
                                            "vfio_iommu_type1"))
        self.run = self.enterContext(mock.patch.object(backend, "run"))
        self.names = {}
        self.enterContext(mock.patch.object(backend, "name",
                                            lambda name: self.names.get(name, "ours")))

    def modules(self, *names, refcnt="0"):
        """Modules are loaded."""
        for name in names:
            self.host.put(f"sys/module/{name}/refcnt", refcnt)

    def changes(self, name="migrate"):
        """The host as it is now."""
        return changes.Changes(self.host, needs.of(name))

    def unloaded(self):
        """What was unloaded, in that order."""
        return [call[0][1] for call in self.run.call_args_list if call[0][0] == "rmmod"]

    def test_devices(self):
        """New ones of ours are removed, others stay."""
        paths = [f"sys/class/mdev_bus/{name}/remove" for name in
                 (f"mdma/{UUID}", f"mdma/{NEW}", f"0000:01:00.0/{NEW}", "mdma/power")]
        self.host.put(paths[0])
        before = self.changes()
        for path in paths[1:]:
            self.host.put(path)
        self.assertEqual(before.put_back(), [])
        self.assertEqual([(self.host.root / path).read_text() for path in paths],
                         ["", "1\n", "", ""])

    def test_modules(self):
        """Those that were not loaded before, in an order that works; not what others use."""
        self.modules("vfio", "mdev")
        before = self.changes()
        self.modules("mdma", "vfio_iommu_type1", "kvm")
        self.modules("iommufd", refcnt="2")
        self.assertEqual(before.put_back(), [])
        self.assertEqual(self.unloaded(), ["mdma", "vfio_iommu_type1"])

    def test_load(self):
        """Only what is missing; who is not root has all."""
        self.changes().load()
        self.run.assert_called_once_with("modprobe", "-a", "vfio", "vfio_iommu_type1", "mdma")
        self.run.reset_mock()
        self.modules("vfio", "vfio_iommu_type1", "mdma")
        self.changes().load()
        self.run.assert_not_called()

    def modprobe(self, *words):
        """What the kernel does then."""
        if words[0] == "rmmod":
            shutil.rmtree(self.host.root / "sys/module" / words[1])
        elif words[0] == "modprobe":
            self.modules(words[1])
            self.names.pop(words[1], None)
            for word in words[2:]:
                key, _, text = word.partition("=")
                self.host.put(f"sys/module/{words[1]}/parameters/{key}", f"{text}\n")

    def test_exchanged(self):
        """A scenario that was killed has left a broken backend, or a broken device."""
        for name in ("vfio_iommu_type1", "mdma"):
            self.modules("mdma", "vfio_iommu_type1")
            before = self.changes()
            self.names[name] = "forgets"
            self.run.reset_mock()
            self.run.side_effect = self.modprobe
            self.assertEqual(before.put_back(), [])
            self.assertEqual([call[0] for call in self.run.call_args_list],
                             [("rmmod", name), ("modprobe", name)])

    def test_unloaded(self):
        """The selftests unload our modules; those of the host are back, with their parameters."""
        self.modules("vfio", "mdma", "vfio_iommu_type1")
        self.host.put("sys/module/mdma/parameters/ledger_bytes", "4096\n")
        self.host.put("sys/module/mdma/parameters/none", "(null)\n")
        before = self.changes("selftests")
        for name in ("mdma", "vfio_iommu_type1"):
            shutil.rmtree(self.host.root / "sys/module" / name)
        self.run.side_effect = self.modprobe
        self.assertEqual(before.put_back(), [])
        self.assertEqual([call[0] for call in self.run.call_args_list],
                         [("modprobe", "vfio_iommu_type1"),
                          ("modprobe", "mdma", "ledger_bytes=4096")])

    def test_another_is_loaded(self):
        """What modprobe takes is not what was there: that is said."""
        self.modules("mdma")
        self.names["mdma"] = "by hand"
        before = self.changes()
        self.names["mdma"] = "broken"
        self.run.side_effect = self.modprobe
        self.assertEqual(before.put_back(), ["the mdma that modprobe loads is not the one that was "
                                             "loaded; boot again"])

    def test_values(self):
        """Files by which the kernel is set up; those that do not differ are not written."""
        files = {"proc/sys/vm/nr_hugepages": ("0", "3", "0"),
                 "sys/kernel/debug/sched/preempt": ("none (voluntary) full",
                                                    "none voluntary (full)", "voluntary"),
                 "sys/kernel/tracing/set_event_pid": ("", "77", ""),
                 "sys/kernel/tracing/options/record-cmd": ("1", "1", "1"),
                 "sys/fs/cgroup/cgroup.subtree_control": ("memory pids", "cpuset memory pids",
                                                          "-cpuset")}
        for path, (text, _, _) in files.items():
            self.host.put(path, text)
        before = self.changes("selftests")
        for path, (_, text, _) in files.items():
            self.host.put(path, text)
        self.assertEqual(before.put_back(), [])
        for path, (_, _, text) in files.items():
            self.assertEqual(self.host.text(path), text)

    def test_value_is_refused(self):
        """It is said."""
        self.host.put("proc/sys/vm/nr_hugepages", "0")
        before = self.changes("selftests")
        (self.host.root / "proc/sys/vm/nr_hugepages").unlink()
        (self.host.root / "proc/sys/vm/nr_hugepages").mkdir()
        found, = before.put_back()
        self.assertRegex(found, "/proc/sys/vm/nr_hugepages refuses: .*; `echo '0' >/proc/sys/vm/")

    def test_mounts(self):
        """With groups of processes in them."""
        before = self.changes("selftests")
        place = self.host.root / "tmp/mdma-selftest-cgroup"
        (place / "mdma-worker-a").mkdir(parents=True)
        with mock.patch.object(Path, "is_mount", lambda path: path == place):
            self.assertEqual(before.put_back(), [])
        self.run.assert_called_once_with("umount", place)
        self.assertFalse(place.exists())

    def test_trace(self):
        """Instances that a killed scenario has left; not those of another one."""
        before = self.changes()
        traces = self.host.root / "sys/kernel/tracing/instances"
        for name in ("mdma-proof", "mdma-failures"):
            (traces / name).mkdir()
        self.assertEqual(before.put_back(), [])
        self.assertEqual(os.listdir(traces), ["mdma-failures"])

    def test_what_can_not_be_done(self):
        """It is said, and the rest is done."""
        before = self.changes()
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
        self.assertEqual(run.pairs("failures", ["control=1"])["control"], "1")
        self.assertEqual(run.pairs("driver", []), {})
        self.assertEqual(run.pairs("selftests", []), {"backend": "ours"})
        for name, word, words in (("migrate", "tracking=device", "give tracking=container"),
                                  ("failures", "container=iommufd", "it is type1"),
                                  ("selftests", "backend=stock", "give backend=ours"),
                                  ("selftests", "backend=ours,logging", "give backend=ours"),
                                  ("selftests", "deadly=1", "kills a host; give deadly=0"),
                                  ("experiment", "points=remedy", "point device-tracking needs"),
                                  ("experiment", "points=x", "no point 'x'"),
                                  ("migrate", "mem_mb=x", "mem_mb=x: must be"),
                                  ("viommu", "type=mdma-4", "viommu runs in the lab only; without "
                                   "one: driver, experiment, failures, migrate, selftests")):
            with self.subTest(name, word=word), self.assertRaisesRegex(say.UsageError, words):
                run.pairs(name, [word])

    def test_points(self):
        """All points that need no patched vfio."""
        chosen = points.choose(run.pairs("experiment", [])["points"])
        self.assertEqual([one for one in points.all_points() if one not in chosen],
                         [one for one in points.all_points() if one.tracking == "device"])

    def test_modules(self):
        """What is loaded instead of ours, and only that."""
        with mock.patch.dict(os.environ, MDMA_BUILT="/b"):
            for name, given, found in (
                    ("driver", {}, {}), ("selftests", {}, {}), ("experiment", {}, {}),
                    ("migrate", {"control": "0"}, {}), ("failures", {"control": "0"}, {}),
                    ("driver", {"device": "x/mdma.ko"}, {"device": "/b/x/mdma.ko"}),
                    ("migrate", {"control": "1"},
                     {"mutant": "/b/mutant/forget-unpinned/vfio_iommu_type1.ko"}),
                    ("failures", {"control": "1", "backend": "/x.ko"},
                     {"mutant": "/b/mutant/endless-initial-data/mdma.ko", "backend": "/x.ko",
                      "forgets": "/b/mutant/forget-unpinned/vfio_iommu_type1.ko"})):
                with self.subTest(name, given=given):
                    self.assertEqual(run.settings_of(name, given)["modules"], found)

    def test_verdict(self):
        """The scenario, the kernel's log, and the judge if there is one."""
        results = Path(self.enterContext(tempfile.TemporaryDirectory()))
        self.enterContext(mock.patch.object(say, "info"))
        self.assertEqual(run.verdict("driver", results, 0), 0)
        self.assertEqual(run.verdict("driver", results, 3), 3)
        with mock.patch.dict(run.JUDGES, driver=lambda _: 2):
            self.assertEqual(run.verdict("driver", results, 0), 2)
        (results / run.LOG).write_text("[ 1.0] BUG: unable to handle page fault\n")
        self.assertEqual(run.verdict("driver", results, 0), 1)

    def test_draws(self):
        """By the host's own gnuplot, in the directory of the results."""
        directory = Path(self.enterContext(tempfile.TemporaryDirectory()))
        with mock.patch.object(process, "run") as called:
            called.side_effect = lambda *_, **__: (directory / "a.svg").write_text("<svg/>")
            self.assertEqual(gnuplot.draw_here("a", "plot 1", directory), "<svg/>")
        self.assertEqual(called.call_args[0][0], ["gnuplot", "a.gnuplot"])
        self.assertEqual(called.call_args[1]["cwd"], directory)
        self.assertEqual((directory / "a.gnuplot").read_text(), 'set output "a.svg"\nplot 1')

    def logged(self, *texts):
        """What is kept of the kernel's log, if it has these texts one after the other, and we may
        not write to it."""
        target = Path(self.enterContext(tempfile.TemporaryDirectory()), "log")
        with mock.patch.object(run, "_logged", side_effect=texts), \
                mock.patch.object(run, "Path") as path:
            path.return_value.write_text.side_effect = PermissionError
            with run.kernel_log(target):
                pass
        return target.read_text()

    def test_log_of_others(self):
        """Who may not mark the beginning knows it by the last line."""
        self.assertEqual(self.logged("[1] a\n[2] b\n", "[1] a\n[2] b\n[3] c\n"), "[3] c\n")
        self.assertEqual(self.logged("[1] a\n", "[3] c\n[4] d\n"), "[3] c\n[4] d\n")
        self.assertEqual(self.logged("", "[1] a\n[2] b\n"), "[1] a\n[2] b\n")

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

    def test_leaves_no_orphan(self):
        """Not even one in a session of its own, as each program of the selftests has."""
        script = ("import subprocess, sys, time; sys.path.insert(0, sys.argv[1]); "
                  "from base import process; process.adopt_orphans(); "
                  "subprocess.run(['sh', '-c', 'setsid sh -c \"sleep 1000 & sleep 1000\" & "
                  "sleep 0.2']); process.end_children(60)")
        child = process.start([sys.executable, "-c", script, run.paths.LAB_D],
                              stdout=subprocess.PIPE)
        self.addCleanup(child.stdout.close)
        self.addCleanup(child.wait)
        self.addCleanup(process.stop, child)
        # Its output ends only when the last one has closed it.
        ready, _, _ = select.select([child.stdout], [], [], 60)
        self.assertTrue(ready and child.stdout.read() == b"")

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
