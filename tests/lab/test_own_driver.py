#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""A driver of the user's own: what is refused before anything is built, what the lab builds and
gets, and what the scenario makes of its adapter."""

import contextlib
import io
import json
import re
import sys
import tempfile
import unittest
from pathlib import Path
from unittest import mock

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "scripts/lab.d"), str(ROOT / "tests/scenarios")]

# pylint: disable=wrong-import-position
import vendor
from base import say, settings
from boot import scenario
from make import build, own_driver, paths
from play import adapter as adapters, arguments, backend, guest_vm, leg

ADAPTER = '''
MODULES = ("one.ko",)
CONTROL = "worse.patch"
CAUGHT_BY = ("guest",)
LATER = [].append


def make_device():
    return "/sys/devices/one"


def remove_device(device):
    global removed
    removed = device
'''
SOURCE = "int one;\nint two;\n"
# As git writes it.
PATCH = """From: somebody
diff --git a/one.c b/one.c
index 1..2 100644
--- a/one.c
+++ b/one.c
@@ -1,2 +1,2 @@
 int one;
-int two;
+int three;
"""


class Directory(unittest.TestCase):
    """A directory of a driver, and a lab that has nothing."""

    def setUp(self):
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.top = Path(directory.name).resolve()
        self.home = self.top / "driver"
        self.home.mkdir()
        for name in ("BUILD", "PAYLOAD", "KERNEL_SOURCE"):
            patch = mock.patch.object(paths, name, self.top / name.lower())
            patch.start()
            self.addCleanup(patch.stop)
        self.write("adapter.py", ADAPTER)
        self.write("Kbuild", "obj-m := one.o\n")
        self.write("one.c", SOURCE)
        self.write("worse.patch", PATCH)

    def write(self, name, text):
        """A file of the driver."""
        path = self.home / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        return path

    def adapter(self, old, new):
        """An adapter that differs in one place."""
        self.assertIn(old, ADAPTER)
        self.write("adapter.py", ADAPTER.replace(old, new))


class Refused(Directory):
    """In words, and before anything is built."""

    def refused(self, words, word=None):
        """Neither run nor DRIVER= takes it."""
        with self.assertRaisesRegex(say.UsageError, words) as caught:
            scenario.pairs("vendor", [f"driver={word or self.home}"])
        self.assertIn("DRIVER=", str(caught.exception))

    def test_good(self):
        pairs = scenario.pairs("vendor", [f"driver={self.home}", "control=0"])
        self.assertEqual(scenario.driver("vendor", pairs), str(self.home))

    def test_no_driver(self):
        """A name of nothing, and of a directory here; no directory; nothing in it."""
        self.refused("has mdma, mtty; .* its path, with a / in it", "nothing")
        with contextlib.chdir(self.top):
            self.refused("give ./driver ", "driver")
        self.refused("no such directory", str(self.top / "nothing"))
        self.refused("no adapter.py in that directory", str(self.top))

    def test_other_scenarios(self):
        self.assertEqual(scenario.driver("migrate", {}), "")

    def test_syntax(self):
        self.adapter("def make_device():", "def make_device()")
        self.refused("adapter.py: line 8: ")

    def test_no_modules(self):
        self.adapter('MODULES = ("one.ko",)', "")
        self.refused("has no MODULES")

    def test_not_a_tuple(self):
        """A string would be a tuple of letters."""
        self.adapter('("one.ko",)', '("one.ko")')
        self.refused("has no MODULES")

    def test_computed(self):
        self.adapter('("one.ko",)', 'tuple("one.ko".split())')
        self.refused("MODULES must be written out")

    def test_no_function(self):
        self.adapter("def remove_device", "def remove")
        self.refused(r"no remove_device\(\)")

    def test_module_of_nowhere(self):
        (self.home / "Kbuild").unlink()
        self.adapter('CONTROL = "worse.patch"', "")
        self.refused("no one.ko beside adapter.py, and no Kbuild")

    def test_control(self):
        self.adapter("worse.patch", "better.patch")
        self.refused("CONTROL is better.patch, which is neither 'backend' nor a patch")

    def test_patch_of_a_built_module(self):
        (self.home / "Kbuild").unlink()
        self.write("one.ko", "")
        self.refused("CONTROL is a patch, but there is no Kbuild")

    def test_caught_by(self):
        for word in ("()", '("everybody",)'):
            self.adapter('("guest",)', word)
            self.refused("CAUGHT_BY must name .* guest, ram, set")

    def test_caught_by_set(self):
        self.adapter('("guest",)', '("set",)')
        self.refused("needs WRITES")


class Word(unittest.TestCase):
    """How a driver is named, and the name of its directories."""

    def test_absolute(self):
        """A file stands for its directory; one of ours has no path."""
        self.assertEqual(own_driver.absolute("mtty"), "mtty")
        self.assertEqual(own_driver.absolute("/nothing/../here"), "/here")
        self.assertEqual(own_driver.absolute(f"{paths.DRIVERS}/mtty/adapter.py"),
                         f"{paths.DRIVERS}/mtty")

    def test_place(self):
        """Two of one name do not mix, and no name leads out of the payload."""
        self.assertEqual(settings.driver_place("mtty"), "driver/mtty")
        places = {settings.driver_place(word) for word in ("one", "/a/one", "/b/one", "/a/o ne")}
        self.assertEqual(len(places), 4)
        for place in places:
            self.assertRegex(place, r"^driver/[\w.-]+$")

    def test_lab_looks_where_the_host_puts_it(self):
        values = arguments.values(vendor.KEYS, ["driver=/a/one"])
        self.assertEqual(values["driver"], f"/mdma/{settings.driver_place('/a/one')}")


class Targets(Directory):
    """What is built of what."""

    def test_sources(self):
        """The user's files, without what other builds have left, and the kernel's."""
        self.write("one.o", "")
        self.write("sub/two.h", "")
        self.adapter('MODULES', 'KERNEL_FILES = {"two.c": "lib/two.c"}\nMODULES')
        (paths.KERNEL_SOURCE / "lib").mkdir(parents=True)
        (paths.KERNEL_SOURCE / "lib/two.c").write_text("of the kernel")
        target = own_driver.target(own_driver.read(str(self.home)))
        self.assertEqual(sorted(target.files), ["driver/Kbuild", "driver/one.c", "driver/sub/two.h",
                                                "driver/two.c"])
        self.assertEqual(target.products, ("one.ko",))

    def test_no_file_of_the_kernel(self):
        self.adapter('MODULES', 'KERNEL_FILES = {"two.c": "lib/two.c"}\nMODULES')
        with self.assertRaisesRegex(say.LabError, "the lab has no .*lib/two.c"):
            own_driver.target(own_driver.read(str(self.home)))

    def test_control(self):
        """The patch applies to the copy, and to nothing else."""
        target = own_driver.control(own_driver.read(str(self.home)))
        inputs = build._inputs(target)  # pylint: disable=protected-access
        self.assertEqual(inputs["driver/one.c"], b"int one;\nint three;\n")
        self.assertEqual((self.home / "one.c").read_text(), SOURCE)
        self.assertTrue(target.name.endswith("-control"))

    def test_control_by_diff(self):
        """Which adds a date to each name."""
        self.write("worse.patch", re.sub(r"^((?:---|\+\+\+).*)", r"\1\t2026-11-30 22:42:15 +0000",
                                         PATCH.partition("index 1..2 100644\n")[2], flags=re.M))
        self.test_control()

    def test_control_does_not_apply(self):
        self.write("one.c", "int two;\n")
        target = own_driver.control(own_driver.read(str(self.home)))
        with self.assertRaisesRegex(say.LabError, "worse.patch.* 0 times, not once"):
            build._inputs(target)  # pylint: disable=protected-access


class Payload(Directory):
    """What the lab gets, and the scenario takes."""

    def setUp(self):
        super().setUp()
        self.built = []
        for name, function in (("build", self.build), ("make_mutant", self.built.append)):
            patch = mock.patch.object(build, name, function)
            patch.start()
            self.addCleanup(patch.stop)
        self.write("guest/check.sh", "driver_check() { :; }\n")

    def build(self, target):
        """A build."""
        self.built.append(target.name)
        target.directory.mkdir(parents=True, exist_ok=True)
        for product in target.products:
            (target.directory / product).write_text(target.name)

    def make(self):
        """Make it; returns its directory in the payload."""
        own_driver.make(str(self.home))
        return paths.PAYLOAD / settings.driver_place(str(self.home))

    def test_layout(self):
        place = self.make()
        name = settings.driver_place(str(self.home))
        self.assertEqual((place / "main/one.ko").read_text(), name)
        self.assertEqual((place / "control/one.ko").read_text(), f"{name}-control")
        self.assertEqual((place / "files/adapter.py").read_text(), ADAPTER)
        self.assertTrue((place / "files/one.c").exists())
        self.assertIn(b"driver/check.sh\0", (place / "guest.cpio").read_bytes())

    def test_module_that_is_built(self):
        (self.home / "Kbuild").unlink()
        self.write("one.ko", "mine")
        self.adapter('CONTROL = "worse.patch"', 'CONTROL = "backend"')
        self.assertEqual((self.make() / "main/one.ko").read_text(), "mine")
        self.assertEqual(self.built, ["forget-unpinned"])

    def test_twice(self):
        """A file that is gone is gone there."""
        self.write("old", "")
        self.make()
        (self.home / "old").unlink()
        self.assertFalse((self.make() / "files/old").exists())


class Adapter(Payload):
    """The adapter in the lab. Modules are loaded by words that are recorded."""

    def setUp(self):
        super().setUp()
        self.ran = []
        for owner, name, function in (
                (backend, "run", lambda *words: self.ran.append([Path(word).name
                                                                  for word in words])),
                (backend, "load", lambda *words: self.ran.append(["type1", *words])),
                (backend, "name", lambda *words: "-".join(words) or "type1"),
                (adapters.subprocess, "run", self.modinfo)):
            patch = mock.patch.object(owner, name, function)
            patch.start()
            self.addCleanup(patch.stop)
        self.needs = ""

    def modinfo(self, *_words, **_more):
        """What modinfo says."""
        return mock.Mock(returncode=0, stdout=f"{self.needs}\n")

    def load(self, control=False):
        """Load and unload; returns what ran, and the name of it all."""
        with adapters.Adapter(self.make()).loaded(control) as name:
            pass
        return self.ran, name

    def test_defaults(self):
        one = adapters.Adapter(self.make())
        self.assertEqual((one.MODULES, one.WORKS, one.PROPERTIES),
                         (("one.ko",), "MDMA-GUEST pass", ""))
        self.assertEqual((one.written("x"), one.qemu_args("x"), one.start("x")), (0, (), None))
        with self.assertRaises(AttributeError):
            print(one.misspelt)

    def test_loaded(self):
        self.assertEqual(self.load(), ([["insmod", "one.ko"], ["rmmod", "one"]], "type1, one"))

    def test_needs(self):
        """What a module depends on comes first."""
        self.needs = "no-such-a,no-such-b"
        self.assertEqual(self.load()[0][0], ["modprobe", "-a", "no-such-a", "no-such-b"])

    def test_control_is_another_module(self):
        paths_loaded = []
        backend.run = lambda *words: paths_loaded.append(words[-1])
        self.load(control=True)
        self.assertEqual(Path(paths_loaded[0]).parent.name, "control")

    def test_control_is_the_backend(self):
        self.adapter('CONTROL = "worse.patch"', 'CONTROL = "backend"')
        self.assertEqual(self.load(control=True)[0], [
            ["type1", f"/mdma/{adapters.FORGETS}"], ["insmod", "one.ko"], ["rmmod", "one"],
            ["type1"]])

    def test_unloaded_after_a_failure(self):
        with self.assertRaises(KeyError):
            with adapters.Adapter(self.make()).loaded():
                raise KeyError
        self.assertEqual(self.ran[-1], ["rmmod", "one"])

    def test_device_is_removed(self):
        one = adapters.Adapter(self.make())
        with self.assertRaises(KeyError):
            with one.device() as device:
                self.assertEqual(device.path, "/sys/devices/one")
                raise KeyError
        self.assertEqual(one.module.removed, "/sys/devices/one")

    def test_says_where_it_broke(self):
        """An error of the user's file is named by its function."""
        self.adapter('return "/sys/devices/one"', "return {}[1]")
        with self.assertRaisesRegex(say.LabError, r"adapter.py, make_device\(\): KeyError: 1"):
            with adapters.Adapter(self.make()).device():
                pass
        self.adapter('LATER = []', "LATER = nothing")
        with self.assertRaisesRegex(say.LabError, "the file itself: NameError"):
            adapters.Adapter(self.make())

    def test_initrd(self):
        """The driver's archive comes after the usual one; a guest of its own has only its own."""
        place = self.make()
        usual = self.top / "usual"
        usual.write_bytes(b"usual")
        made = Path(adapters.Adapter(place).initrd(usual, self.top)).read_bytes()
        self.assertEqual(made, b"usual" + (place / "guest.cpio").read_bytes())
        self.adapter("MODULES", 'INITRD = "mine.cpio"\nMODULES')
        self.assertEqual(adapters.Adapter(self.make()).initrd(usual, self.top),
                         str(place / "files/mine.cpio"))


class Scenario(Directory):
    """What the scenario makes of the settings."""

    def config(self, *words):
        """Settings for the adapter of this directory."""
        (self.top / "one").mkdir(exist_ok=True)
        if not (self.top / "one/files").exists():
            (self.top / "one/files").symlink_to(self.home)
        return vendor.configuration(arguments.values(vendor.KEYS, words),
                                    adapters.Adapter(self.top / "one"))

    def test_no_control(self):
        self.assertEqual(self.config().control, 1)
        self.assertEqual(self.config("control=0").control, 0)
        self.adapter('CONTROL = "worse.patch"', "")
        self.assertEqual(self.config().control, 0)

    def test_nobody_counts(self):
        """Without written(), nobody waits for a number of writes."""
        self.assertEqual(self.config("pages_min=7").pages_min, 0)
        self.write("adapter.py", f"{ADAPTER}\n\ndef written(device):\n    return 1\n")
        self.assertEqual(self.config("pages_min=7").pages_min, 7)


class Played(Directory):
    """A leg, from the first step to the last, without QEMU and without a kernel."""

    def setUp(self):
        super().setUp()
        (self.top / "one").mkdir()
        (self.top / "one/files").symlink_to(self.home)
        (self.top / "one/guest.cpio").write_bytes(b"")
        self.vms, self.tracers, self.steps = {}, [], []
        self.info = {"status": "completed", "ram": {"dirty-sync-count": 3}, "downtime": 5}
        for owner, name, function in (
                (vendor, "GuestVM", self.vm), (vendor, "Tracer", self.tracer),
                (adapters, "_load", mock.Mock()), (backend, "run", mock.Mock()),
                (backend, "name", lambda *words: "-".join(words) or "type1"),
                (leg.switchover, "go_on", self.go_on),
                (leg.guest_vm, "wait_status", mock.Mock()),
                (leg.guest_vm, "qemu_version", lambda vm: "10.0"),
                (leg.guest_vm, "tsc_khz", lambda: 0),
                (leg.ram, "compare", lambda *_: {"pages_compared": 1, "pages_different": 0})):
            patch = mock.patch.object(owner, name, function)
            patch.start()
            self.addCleanup(patch.stop)

    def go_on(self, *_words):
        """The switchover."""
        self.steps.append("continue")
        return mock.Mock(), {"held_s": 1, "held_idle_s": 1}

    def vm(self, name, config, directory, device, **more):
        """A QEMU."""
        vm = self.vms[name] = mock.MagicMock(config=config, more=more)
        vm.words = guest_vm.command_line(name, config, device, directory, "/ram", "/m", **more)
        vm.__enter__.return_value = vm
        vm.qmp.command = mock.Mock(return_value=self.info)
        return vm

    def tracer(self, name, events, *_words, **_more):
        """A recording."""
        self.tracers.append((name, events))
        tracer = mock.MagicMock()
        tracer.__enter__.return_value.stop = lambda: self.steps.append("stop tracing")
        return tracer

    def play(self, name="main"):
        """Play a leg; returns what it leaves."""
        one = adapters.Adapter(self.top / "one")
        usual = self.top / "usual"
        usual.write_bytes(b"")
        config = vendor.configuration(arguments.values(vendor.KEYS, [f"initrd={usual}"]), one)
        with contextlib.redirect_stdout(io.StringIO()):
            self.good = vendor.VendorLeg(name, config, self.top, one).play()
        return json.loads((self.top / "leg.json").read_text())

    def waited(self):
        """What the scenario waited for on the console of the destination."""
        return [call.args[0] for call in self.vms["destination"].wait_console.call_args_list]

    def test_main(self):
        self.adapter("MODULES", 'PROPERTIES = "x-a=off"\nMODULES')
        facts = self.play()
        self.assertTrue(self.good, facts.get("error"))
        self.assertEqual(facts["caught_by"], ["guest"])
        self.assertEqual(facts["summary"]["backend"], "type1, one")
        events = self.tracers[0][1]
        self.assertIn("vfio_type1/vfio_dirty_run", events)
        self.assertFalse([event for event in events if event.startswith("mdma/")])
        words = self.vms["destination"].words
        self.assertIn("vfio-pci,sysfsdev=/sys/devices/one,enable-migration=on,id=mdma,x-a=off",
                      words)
        self.assertTrue(words[words.index("-append") + 1].endswith(" mdma.drivers=0"))
        self.assertEqual(words[words.index("-initrd") + 1], str(self.top / "initrd"))
        self.assertEqual(self.waited(), ["MDMA-GUEST pass"])

    def test_writes(self):
        self.adapter("MODULES", 'WRITES = ("one/one_write", "a", "n")\nMODULES')
        facts = self.play()
        self.assertEqual(facts["writes"], ["one/one_write", "a", "n"])
        self.assertEqual(self.tracers[0][1][-1], "one/one_write")

    def test_order(self):
        """The device is started, and what it writes after the switchover is not in the trace."""
        with mock.patch.object(adapters.Adapter, "start", self.steps.append, create=True):
            self.play()
        self.assertEqual(self.steps, ["/sys/devices/one", "stop tracing", "continue"])

    def test_control(self):
        """It waits for the guest to fail."""
        self.play("control")
        self.assertEqual(self.waited(), ["MDMA-GUEST fail"])

    def test_migration_fails(self):
        self.info = {"status": "failed", "error-desc": "no such state"}
        self.assertIn("no such state", self.play()["error"])
        self.assertFalse(self.good)


class Ours(unittest.TestCase):
    """Those of samples/drivers."""

    def test_read(self):
        self.assertEqual(own_driver.names(), ["mdma", "mtty"])
        for name in own_driver.names():
            self.assertTrue(own_driver.read(name)["CAUGHT_BY"])

    def test_documented(self):
        """your-driver.rst names every constant and function, and shows mtty's adapter."""
        text = (ROOT / "Documentation/your-driver.rst").read_text()
        for name in ("MODULES", "KERNEL_FILES", *adapters.CONSTANTS):
            self.assertRegex(text, rf"``{name}``")
        for name in (*own_driver.FUNCTIONS, *adapters.FUNCTIONS):
            self.assertRegex(text, rf"``{re.escape(name)}\(")
        code = (paths.DRIVERS / "mtty/adapter.py").read_text()
        for line in re.findall(r"(?m)^    ([A-Z_]+ = .*|def .*)$", text):
            self.assertIn(line, code)


if __name__ == "__main__":
    unittest.main()
