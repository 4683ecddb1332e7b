# SPDX-License-Identifier: GPL-2.0-only
"""Settings of a scenario are checked before anything is booted."""

import ast
import importlib
import os
import re
import sys
import tempfile
import unittest
from dataclasses import replace
from pathlib import Path
from unittest import mock

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "scripts/lab.d"), str(ROOT / "tests/scenarios")]

# pylint: disable=wrong-import-position
from base import say, settings
from boot import scenario
from make import build, paths
from play import arguments
import selftests

SOURCE = '''"""Does this.

usage: one.py
"""
KEYS = settings.keys("batch", "pattern", batch=3, own={
    "rounds": settings.Number(4, "how often", 1, 9),
    "control": settings.Number(1, "whether there is one", 0, 1),
    "tracking": settings.Text("container", "by whom"),
    "mutant": settings.File("mutant/forget-unpinned/vfio_iommu_type1.ko", "control"),
})
BUILDS = {"guest": "", "logging": "tracking=device control=1", "mutant": "control=1"}
ACCEL = "icount"
TIMEOUT = 3 * 3600
'''
BOTH = '''KEYS = settings.keys("container", "tracking", "control", own={
    "compare": settings.Words("container,iommufd", "with whom", ("container", "iommufd"))})
BUILDS = {"iommufd": "container=iommufd"}
'''


class Settings(unittest.TestCase):
    """With one scenario in its own directory."""

    def setUp(self):
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        Path(directory.name, "one.py").write_text(SOURCE)
        Path(directory.name, "both.py").write_text(BOTH)
        Path(directory.name, "free.py").write_text("print('no settings named')\n")
        patch = mock.patch.object(paths, "SCENARIOS", Path(directory.name))
        patch.start()
        self.addCleanup(patch.stop)

    def test_good(self):
        """Pairs become a dictionary; a value may hold an equals sign."""
        self.assertEqual(scenario.pairs("one", ["rounds=2", "mutant=a=b"]),
                         {"rounds": "2", "mutant": "a=b"})

    def test_explained(self):
        """Each setting, with its default and what it is."""
        self.assertIn("  rounds=4\n        how often (1 to 9)\n", scenario.explained("one"))
        self.assertRegex(scenario.explained("one"), r"  batch=3\n +workload: .* \(1 to 512\)\n")
        for name in ("one", "free"):
            self.assertNotIn("usage", scenario.explained(name))

    def test_accelerator(self):
        """A scenario may ask for an accelerator; most do not."""
        self.assertEqual(scenario.accelerator("one"), "icount")
        self.assertIsNone(scenario.accelerator("free"))

    def test_timeout(self):
        """A scenario's own limit may be a product; most have that of all."""
        self.assertEqual(scenario.timeout("one"), 3 * 3600)
        self.assertEqual(scenario.timeout("free"), scenario.TIMEOUT)

    def test_bad(self):
        """Each kind of mistake is reported."""
        for words in (["rounds"], ["=2"], ["round=2"], ["rounds=1", "rounds=2"],
                      ["rounds=1\n2"], ["rounds=many"], ["rounds="], ["rounds=0"],
                      ["rounds=10"], ["batch=513"], ["pattern=zip"]):
            with self.subTest(words=words), self.assertRaises(say.UsageError):
                scenario.pairs("one", words)

    def test_unknown_scenario(self):
        """The message lists what there is."""
        with self.assertRaisesRegex(say.UsageError, "both, free, one"):
            scenario.pairs("two", [])

    def test_out_of_range(self):
        """The message says what the range is."""
        for word, text in (("rounds=10", "one: rounds=10: must be 1 to 9$"),
                           ("pattern=zip", "one: pattern=zip: must be one of sequential, ")):
            with self.assertRaisesRegex(say.UsageError, text):
                scenario.pairs("one", [word])

    def test_scenario_without_keys(self):
        """A scenario without KEYS has no settings."""
        with self.assertRaisesRegex(say.UsageError, "no setting x; there are: none"):
            scenario.pairs("free", ["x=1"])

    def test_mutants(self):
        """Mutants are named by a given value, or by a default that the run needs."""
        self.assertEqual(scenario.mutants("one", {}), ["forget-unpinned"])
        self.assertEqual(scenario.mutants("one", {"control": "01"}), ["forget-unpinned"])
        for zero in ("0", "00"):
            self.assertEqual(scenario.mutants("one", {"control": zero}), [])
        self.assertEqual(scenario.mutants("one", {"mutant": "mutant/no-flag/a.ko"}), ["no-flag"])
        self.assertEqual(scenario.mutants("free", {}), [])
        self.assertEqual(scenario.mutants("free", {"x": "/mdma/mutant/stale-frame/a.ko"}),
                         ["stale-frame"])
        self.assertEqual(scenario.mutants("free", {"x": "mutant/no-flag/iommufd/mdma.ko"}),
                         ["no-flag/iommufd"])

    def test_container(self):
        """CONTAINER= becomes settings, and what contradicts it, or does not know it, is refused."""
        with mock.patch.dict(os.environ, CONTAINER="iommufd"):
            self.assertEqual(scenario.pairs("both", ["control=0"]), {
                "control": "0", "container": "iommufd", "tracking": "device"})
            for words, why in ((["tracking=container"], "both: tracking=container: with CONTAINER"),
                               (["container=type1"], "it is iommufd")):
                with self.assertRaisesRegex(say.UsageError, why):
                    scenario.pairs("both", words)
            with self.assertRaisesRegex(say.UsageError, "one knows type1 alone; both knows both"):
                scenario.pairs("one", [])
        with mock.patch.dict(os.environ, CONTAINER=""):
            self.assertEqual(scenario.pairs("both", ["tracking=device"]), {"tracking": "device"})
            with self.assertRaisesRegex(say.UsageError, "with CONTAINER=type1 it is type1"):
                scenario.pairs("both", ["container=iommufd"])

    def test_pair_without_iommufd(self):
        """What is played for comparison depends on whether QEMU and kernel know iommufd."""
        with mock.patch.dict(os.environ, KERNEL="7.3", QEMU="11.1"):
            self.assertEqual(scenario.pairs("both", []), {})
        with mock.patch.dict(os.environ, KERNEL="", QEMU="11.1"):
            self.assertEqual(scenario.pairs("one", []), {})
            self.assertEqual(scenario.pairs("both", []), {"compare": "container"})
            self.assertEqual(scenario.pairs("both", ["compare=container"]),
                             {"compare": "container"})
            with self.assertRaisesRegex(say.UsageError, "both: compare=iommufd: QEMU 11.1 maps"):
                scenario.pairs("both", ["compare=iommufd"])

    def test_targets(self):
        """Some targets are needed always, others only with some settings."""
        self.assertEqual(scenario.targets("one", {}), ["guest"])
        self.assertEqual(scenario.targets("one", {"tracking": "device"}), ["guest", "logging"])
        self.assertEqual(scenario.targets("one", {"tracking": "device", "control": "0"}),
                         ["guest"])
        self.assertEqual(scenario.targets("free", {}), [])


# What a scenario's text, or that of a module that it imports, has -> what must be built for it.
SIGNS = {'"guest/': "guest", "mdma-open": "selftests", "vfio_logging": "logging",
         "vfio_iommufd": "iommufd", '"selftests': "selftests", '"bench': "bench",
         '"reports/': "reports"}


class Builds(unittest.TestCase):
    """Our own scenarios declare what a run needs."""

    @staticmethod
    def text(name):
        """A scenario's text and that of what it imports."""
        text = (paths.SCENARIOS / f"{name}.py").read_text()
        found = [text]
        for package, modules in re.findall(r"^from (play|judge) import (.*)$", text, re.M):
            found += [(paths.LAB_D / package / f"{module.split()[0]}.py").read_text()
                      for module in modules.split(",")]
        return "\n".join(found)

    def test_declared(self):
        """Each need is one that there is, and what a scenario names is among its needs."""
        for name in scenario.names():
            with self.subTest(name):
                value = scenario._assigned(  # pylint: disable=protected-access
                    scenario.source(name), "BUILDS")
                needs = ast.literal_eval(value)
                self.assertLessEqual(set(needs), {*build.TARGETS, *build.GROUPS,
                                                  *scenario.keys(name)})
                text = self.text(name)
                found = {what for sign, what in SIGNS.items() if sign in text}
                if "initrd" in scenario.keys(name):
                    found.add("guest")
                self.assertLessEqual(found, set(needs))

    def test_groups(self):
        """What a group names is built, after the targets whose products it takes."""
        self.assertEqual(build.wanted(()), ["vfio", "mdma"])
        self.assertEqual(build.wanted((), build.PRODUCTS["iommufd"]),
                         ["iommufd", "vfio-iommufd", "mdma-iommufd"])
        self.assertEqual(build.wanted(["logging", "nic"]),
                         ["vfio", "mdma", "vfio-logging", "mdma-logging", "nic"])
        self.assertIn("vfio-logging", build.jobs(["mdma-logging"])["mdma-logging"].after)
        self.assertIn("vfio-logging", build.jobs([], ["log-forgets"])["mutants"].after)
        self.assertIn("vfio-iommufd", build.jobs([], ["log-forgets/iommufd"])["mutants"].after)


class Declarations(unittest.TestCase):
    """The declarations of all scenarios."""

    # Settings that mean something else than the shared one of the same name.
    OTHERS = {("failures", "bandwidth"), ("experiment", "bandwidth"),
              ("experiment", "downtime_limit_ms"), ("model", "seed"), ("selftests", "seed"),
              ("answers", "seed"), ("fuzz", "seed"), ("kills", "seed")}

    def test_read_as_run(self):
        """The host reads the same settings that the scenario has."""
        for name in scenario.names():
            with self.subTest(name):
                self.assertEqual(scenario.keys(name), importlib.import_module(name).KEYS)

    def test_timeouts(self):
        """A scenario is not given less time than its programs."""
        for name in scenario.names():
            with self.subTest(name):
                self.assertEqual(scenario.timeout(name),
                                 getattr(importlib.import_module(name), "TIMEOUT",
                                         scenario.TIMEOUT))
        for deadly in (0, 1):
            config = dict(arguments.values(selftests.KEYS, []), deadly=deadly)
            with mock.patch.object(selftests.site, "time_scale", return_value=1):
                self.assertLess(sum(selftests.limits_of(config)[:2]),
                                scenario.timeout("selftests"))

    def test_defaults(self):
        """Each default is in range itself."""
        for name in scenario.names():
            for key, setting in scenario.keys(name).items():
                with self.subTest(name, key=key):
                    self.assertTrue(setting.allows(str(setting.default)))
                    self.assertTrue(setting.what)

    def test_written_once(self):
        """A shared setting differs in its default at most."""
        for name in scenario.names():
            for key, setting in scenario.keys(name).items():
                if key in settings.SHARED and (name, key) not in self.OTHERS:
                    with self.subTest(name, key=key):
                        self.assertEqual(replace(setting, default=None),
                                         replace(settings.SHARED[key], default=None))


class InTheLab(unittest.TestCase):
    """The command line of a scenario that runs."""

    known = {"rounds": settings.Number(4, "how often"),
             "pattern": settings.Text("random", "of the workload")}

    def test_defaults_and_types(self):
        """A value has its default's type."""
        self.assertEqual(arguments.values(self.known, []), {"rounds": 4, "pattern": "random"})
        self.assertEqual(arguments.values(self.known, ["rounds=7", "pattern=a=b"]),
                         {"rounds": 7, "pattern": "a=b"})

    def test_refused(self):
        """The message says what is wrong, and nothing is run."""
        for words, text in ((["speed=3"], "no setting speed; there are: rounds, pattern"),
                            (["rounds"], "key=value expected"),
                            (["rounds=many"], "rounds=many: must be 0 or more")):
            with self.subTest(words=words), self.assertRaisesRegex(SystemExit, text):
                arguments.values(self.known, words)

    def test_arguments(self):
        """--results comes first, and is required."""
        self.assertEqual(arguments.read("Doc.", self.known, ["--results", "/r", "rounds=2"]),
                         (Path("/r"), {"rounds": 2, "pattern": "random"}))
        for words in ([], ["--results"], ["rounds=2"]):
            with self.subTest(words=words), \
                    self.assertRaisesRegex(SystemExit, "(?s)Doc.*rounds=4\n +how often"):
                arguments.read("Doc.", self.known, words)

    def test_help(self):
        """The usage is not an error if it was asked for."""
        with mock.patch("builtins.print") as shown, self.assertRaises(SystemExit) as ended:
            arguments.read("Doc.", self.known, ["--help"])
        self.assertEqual(ended.exception.code, 0)
        self.assertIn("pattern=random", shown.call_args[0][0])


if __name__ == "__main__":
    unittest.main()
