# SPDX-License-Identifier: GPL-2.0-only
"""A mutant counts as killed by a failed test, or by a console that shows how the kernel ended."""

import contextlib
import io
import json
import sys
import tempfile
import unittest
import unittest.mock
from pathlib import Path
from types import SimpleNamespace

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "scripts/lab.d"))
sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tests/scenarios"))

# pylint: disable=wrong-import-position
import mutants as in_lab
from base import say
from check import mutant_guest, mutant_lab, mutant_units, mutants
from judge import rules
from make import mutant, paths

KNOWN = {"R3_D8_get": "report", "R3_other": "fault", "R33_x": "other", "mdma_stop": "migration",
         "iommufd_pins": "iommufd"}


def made(name="m", rules="R3", tests=(), path="drivers/vfio/pin_store.c"):
    """A mutant of this file."""
    return mutant.Mutant(name, rules.split(", "), "broken", list(tests), {path: [("a\n", "b\n")]})


class Unit(unittest.TestCase):
    """Unit tests, in user space."""

    def test_programs(self):
        """The programs that are built from the file, unless the mutant names others."""
        both = ["pin_store_model_test", "pin_store_test"]
        self.assertEqual(mutant_units.programs(made()), both)
        self.assertEqual(mutant_units.programs(made(tests=["unit", "R3_x"])), both)
        self.assertEqual(mutant_units.programs(made(tests=["R3_x"])), [])
        self.assertEqual(mutant_units.programs(made(path="drivers/vfio/type1_rw.c")), [])

    def test_failures(self):
        """The name of a test, a sanitizer's finding, or at least the exit code."""
        good = "KTAP version 1\n1..2\nok 1 store: a\nok 2 store: b\n"
        self.assertEqual(mutant_units.failures(good, 0), [])
        self.assertEqual(mutant_units.failures(good.replace("ok 2", "not ok 2"), 1), ["store: b"])
        dead = ("KTAP version 1\n1..2\nok 1 store: a\n"
                "==7==ERROR: AddressSanitizer: heap-use-after-free on address 0x60\n")
        self.assertEqual(mutant_units.failures(dead, 1), ["AddressSanitizer: heap-use-after-free"])
        self.assertEqual(mutant_units.failures(good, 134), ["exit code 134"])


GOOD = "KTAP version 1\n1..1\nok 1 R3_a\n"
FAILS = "KTAP version 1\n1..1\n# a.c:7: 1 == 2\nnot ok 1 R3_a\n"
LATE = "KTAP version 1\n1..2\nok 1 R3_a\nBail out! no end after 300 s\n"
LATE_TEST = "KTAP version 1\n1..1\n# R3_a: no end after 60 s\n# R3_a: status 0x9\nnot ok 1 R3_a\n"
STALL = ("R3_a", "rcu: INFO: rcu_preempt detected stalls on CPUs/tasks:")


class InTheLab(unittest.TestCase):
    """The scenario mutants: what programs say of a mutant."""

    CONFIG = {"programs": "/", "limit": 1, "scale": 3}

    def setUp(self):
        self.directory = Path(self.enterContext(tempfile.TemporaryDirectory()))
        self.loaded, self.environments = [], []

    def judged(self, *runs, findings=(), starved=False, stuck=()):
        """The verdict, and whether the kernel can be used further, if the program says these one
        after the other, each with what the kernel logs."""
        left = list(runs)

        def run(_path, _names, environment, _limit):
            self.environments.append(environment)
            return left.pop(0) + "".join(f"Bail out! {one}\n" for one in stuck), list(stuck)
        log = SimpleNamespace(starved=starved, findings=lambda: list(findings))
        mutant_in_lab = {"name": "m", "module": "vfio", "programs": {"report": ["R3_a"]}}
        with unittest.mock.patch("selftests.run_program", run), \
                unittest.mock.patch.object(in_lab, "load",
                                           lambda path, _: self.loaded.append(path)), \
                unittest.mock.patch.object(in_lab, "sound", lambda *_: True), \
                unittest.mock.patch.object(in_lab.Path, "write_text"), \
                contextlib.redirect_stdout(io.StringIO()):
            usable = in_lab.one(mutant_in_lab, self.CONFIG, self.directory, log)
        self.assertEqual(left, [])
        facts = json.loads((self.directory / "m.json").read_text())
        return facts["state"], facts["by"], usable

    def test_try(self):
        """A test that fails, or in which the kernel complains, has caught it."""
        self.assertEqual(self.judged(GOOD), ("survived", [], True))
        self.assertEqual(self.judged(FAILS), ("killed", ["R3_a: a.c:7: 1 == 2"], True))
        slow = GOOD.replace("ok 1", "# no chance: too slow\nok 1")
        self.assertEqual(self.judged(slow), ("survived", [], True))
        for test in ("R3_a", ""):
            state, by, _ = self.judged(GOOD, findings=[(test, "WARNING: x")])
            self.assertEqual((state, by[-1]), ("killed", "WARNING: x"))

    def test_environment(self):
        """The tests get more time than they need on a quick machine, and the presets."""
        self.judged(GOOD)
        self.assertEqual(self.environments[0]["TIMEOUT_SCALE"], "3")
        self.assertIn("WORKLOADS", self.environments[0])

    def test_no_end(self):
        """It kills only if it comes again, and not without the mutant."""
        for late in (LATE, LATE_TEST):
            with self.subTest(late):
                state, by, usable = self.judged(late, GOOD, late)
                self.assertEqual((state, usable), ("killed", True))
                self.assertTrue(all(line.startswith("twice: ") for line in by), by)
                self.assertEqual(self.judged(late, GOOD, FAILS)[0], "killed")
                self.assertEqual(self.judged(late, GOOD, GOOD), ("survived", [], True))
                self.assertEqual(self.judged(late, late)[:2][0], "error")
        self.assertEqual(self.loaded[:3], [in_lab.site.built("mutant/m"), "",
                                           in_lab.site.built("mutant/m")])

    def test_starved(self):
        """The kernel got no CPU time: what failed meanwhile says nothing."""
        state, by, _ = self.judged(FAILS, FAILS, findings=[STALL], starved=True)
        self.assertEqual((state, by[0]), ("error", "without the mutant, too"))

    def test_stuck(self):
        """What is stuck for ever kills by a failed test, or by a function of ours on its stack."""
        ours, others = "thread 7 stuck in state D: [<0>] f [mdma]", "thread 7 stuck: [<0>] f [vfio]"
        self.assertEqual(self.judged(LATE, stuck=[ours]), ("killed", [ours], False))
        self.assertEqual(self.judged(LATE, stuck=[others]), ("error", [others], False))
        self.assertEqual(self.judged(FAILS, stuck=[others])[0], "killed")


class Builds(unittest.TestCase):
    """A mutant that does not build, and a machine that can't build it."""

    REFUSED = ("/mnt/x/pin_store.c:7:2: error: no such thing\n",
               "x.h:7: fatal error: y.h: No such file or directory\n",
               "ERROR: modpost: \"f\" [vfio_iommu_type1.ko] undefined!\n",
               "make: a\nerror: x.c is not that of Linux 6.12: 1 of 9 hooks do not hold\n",
               "ld: pin.o: in function `f': undefined reference to `g'\n")
    BROKE = ("gcc: fatal error: Killed signal terminated program cc1\n", "",
             "x.c:1:1: fatal error: error writing to /tmp/a.s: No space left on device\n",
             "unshare: Cannot allocate memory\n")

    def error(self, text):
        """A failed build with this log."""
        error = say.LabError("building x failed")
        error.log = Path(self.enterContext(tempfile.TemporaryDirectory())) / "build.log"
        error.log.write_text(text)
        return error

    def test_module(self):
        """The test "build" catches what the compiler refuses, not a full disk."""
        for texts, wanted in ((self.REFUSED, "killed"), (self.BROKE, "error")):
            for text in texts:
                with self.subTest(text=text), \
                        unittest.mock.patch.object(mutant_lab.build, "make_mutant",
                                                   side_effect=self.error(text)):
                    self.assertEqual(mutant_lab.try_build(made(tests=["build"])).state, wanted)
                    verdict = mutant_lab.try_build(made())
                    # One that is made by rule and is refused is drawn anew.
                    self.assertEqual((verdict.state, verdict.where == "build"),
                                     ("error", wanted == "killed"))

    def test_unit(self):
        """The same in a workshop: the run ends if the machine can't build."""
        workshop = mutant_units.Workshop(0)
        for texts, wanted in ((self.REFUSED, mutant_units.DoesNotBuild),
                              (self.BROKE, say.LabError)):
            for text in texts:
                with self.subTest(text=text), self.assertRaises(wanted), \
                        unittest.mock.patch.object(mutant_units.build, "build",
                                                   side_effect=self.error(text)):
                    workshop.build(["page_row_test"])


class Tests(unittest.TestCase):
    """Which selftests must catch a mutant."""

    def test_named(self):
        """By name or by its beginning; a name that matches none is an error."""
        self.assertEqual(mutant_lab.tests_of(made(tests=["R3_", "mdma_stop"]), KNOWN),
                         {"report": ["R3_D8_get"], "fault": ["R3_other"],
                          "migration": ["mdma_stop"]})
        with self.assertRaisesRegex(say.LabError, "no test R4_"):
            mutant_lab.tests_of(made(tests=["R4_"]), KNOWN)

    def test_of_the_rules(self):
        """Without names, the tests of the rules; if there are none, an error."""
        self.assertEqual(mutant_lab.tests_of(made(rules="D8"), KNOWN), {"report": ["R3_D8_get"]})
        with self.assertRaisesRegex(say.LabError, "no test is to catch it"):
            mutant_lab.tests_of(made(rules="The device"), KNOWN)
        self.assertEqual(mutant_lab.tests_of(made(tests=["unit"]), KNOWN), {})

    def test_all_are_there(self):
        """The tests of tests/selftests are found, and each mutant's tests are among them."""
        self.assertEqual(mutant_lab.selftests()["R3_D8_get_clears_only_the_range"], "report")
        mutants.check_tests([mutant.load(name) for name in mutant.names()])

    def test_no_rule_is_left_out(self):
        """Every rule and every defect that is documented has a mutant."""
        broken = {rule for name in mutant.names() for rule in mutant.load(name).rules}
        what, _ = rules.documented(paths.REPO / "Documentation")
        self.assertEqual({rule for rule in what if rule[0] in "RD"} - broken, set())


class Limits(unittest.TestCase):
    """The limits of a unit test, and what it means to reach one."""

    def judged(self, code, text=""):
        """The verdict if the only test ends with this exit code."""
        units = mutant_units.Units()
        units.seconds = {"page_row_test": 1}
        one = made(path="drivers/vfio/page_row.h")
        workshop = SimpleNamespace(build=lambda *_: None, run=lambda *_: (text, code, 13.2))
        return units.judge(workshop, one)

    def test_compiler_that_was_killed(self):
        """It says nothing of the mutant, nor of the others."""
        units = mutant_units.Units()
        build = unittest.mock.Mock(side_effect=say.LabError("the compiler was killed"))
        verdict = units.judge(SimpleNamespace(build=build), made())
        self.assertEqual((verdict.state, verdict.by), ("error", ["the compiler was killed"]))
        build.side_effect = mutant_units.DoesNotBuild("refused")
        with self.assertRaises(mutant_units.DoesNotBuild):
            units.judge(SimpleNamespace(build=build), made())

    def test_killed(self):
        """Each limit counts as killed and says so; a test that passes is no verdict."""
        begun = "KTAP version 1\n1..1\n"
        self.assertEqual(self.judged(152, begun).by,
                         ["page_row_test: no end after 13 s of CPU time"])
        self.assertEqual(self.judged(153, begun).by, ["page_row_test: no end of its output"])
        self.assertEqual(self.judged(134, begun).by, ["exit code 134"])
        self.assertEqual(self.judged(1, "KTAP version 1\n1..1\nnot ok 1 a\n").by, ["a"])
        self.assertIsNone(self.judged(0, "KTAP version 1\n1..1\nok 1 a\n"))


    def test_no_verdict(self):
        """A test that did not begin, or that the machine ended, says nothing of the mutant."""
        for code, text in ((1, ""), (127, ""), (0, ""), (137, "KTAP version 1\n1..1\n"),
                           (-9, "KTAP version 1\n1..1\n")):
            with self.subTest(code=code, text=text):
                self.assertEqual(self.judged(code, text).state, "error")

    def test_output_of_the_one_before(self):
        """What a mutant before has printed does not count."""
        with tempfile.TemporaryDirectory() as found:
            directory = Path(found)
            (directory / "output").write_text("KTAP version 1\n1..1\nnot ok 1 a\n")
            target = SimpleNamespace(name="mutant/unit0", directory=directory)
            with unittest.mock.patch.object(mutant_units.build, "unit_workshop",
                                            return_value=target), \
                    unittest.mock.patch.object(mutant_units.build, "binds"), \
                    unittest.mock.patch.object(mutant_units.chroot, "command",
                                               return_value=["false"]):
                text, code, _ = mutant_units.Workshop(0).run("page_row_test", 1)
        self.assertEqual((text, code), ("", 1))


class ByRule(unittest.TestCase):
    """How many are tried."""

    def test_another_for_one_that_does_not_build(self):
        """As many as wanted are built; they are the first ones that can be."""
        source = [made(str(number)) for number in range(9)]
        bench = mutants.Bench(source, 3)
        tried = []
        while one := bench.next():
            tried.append(one.name)
            if one.name in "02":
                bench.refused[one.name] = "no"
        self.assertEqual(tried, ["0", "1", "2", "3", "4"])

    def test_each_file_has_tests(self):
        """With the lab, a mutant of any file of the product can be caught, and the programs that
        are to do it are there."""
        known = mutant_lab.selftests()
        for path in mutants.drawn.sources():
            tests = mutants.tests_for(path, True)
            self.assertTrue(tests, path)
            one = made(path=path, tests=tests)
            if mutant_guest.changes(one):
                mutant_guest.tests_of(one, mutant_guest.tests())
            else:
                mutant_lab.tests_of(one, known)

    def test_units_are_in_the_makefile(self):
        """Each unit test that is to catch a mutant is built by the Makefile, which links the
        file."""
        text = "".join((paths.REPO / "tests/unit" / name).read_text()
                       for name in ("Makefile", "backend.mk"))
        for found in mutant_units.UNITS.values():
            for program in found:
                self.assertIn(program, text)


class Boot(unittest.TestCase):
    """The results of a boot."""

    def read(self, reason, console="", current="two"):
        """Verdicts after mutant "one" was killed, while "two" was being tested."""
        with tempfile.TemporaryDirectory() as directory:
            path = Path(directory)
            (path / "one.json").write_text(
                json.dumps({"state": "killed", "by": ["R3_x"], "seconds": 1.5}))
            (path / "current").write_text(current)
            (path / "console.txt").write_text(console)
            return {verdict.name: (verdict.state, verdict.by) for verdict in mutant_lab.read_boot(
                path, [made("one"), made("two"), made("three")], SimpleNamespace(reason=reason))}

    def test_boot_anew(self):
        """The boot ended by itself: the other mutants have no verdict yet."""
        self.assertEqual(self.read(None, current="one"), {"one": ("killed", ["R3_x"])})

    def test_crash(self):
        """The console proves the crash, for this mutant and not for an earlier one."""
        before = "[1.0] Oops: 0000 [#1]\r\n[2.0] mutant: two\r\n"
        after = "[3.0] kernel BUG at drivers/vfio/type1_unmap.c:107!\r\n"
        self.assertEqual(self.read("went down", before + after)["two"],
                         ("killed", ["[3.0] kernel BUG at drivers/vfio/type1_unmap.c:107!"]))
        for console in (before, "", after):
            with self.subTest(console=console):
                self.assertEqual(self.read("went down", console)["two"][0], "error")

    def test_lab_broke(self):
        """A lab that stalls is no crash by the mutant, unless a trace has a function of ours."""
        ours = "[9.0]  mdma_thread+0x1c/0x90 [mdma]\r\n"
        for line in ("rcu: INFO: rcu_preempt detected stalls on CPUs/tasks:",
                     "INFO: task kworker/0:1:33 blocked for more than 300 seconds.",
                     "watchdog: BUG: soft lockup - CPU#1 stuck for 22s! [model:33]",
                     "Out of memory: Killed process 33 (model)",
                     "Kernel panic - not syncing: System is deadlocked on memory"):
            console = f"[2.0] mutant: two\r\n[8.0] {line}\r\n"
            with self.subTest(line=line):
                self.assertEqual(self.read("went down", console)["two"][0], "error")
                self.assertEqual(self.read("went down", console + ours)["two"][0], "killed")

    def test_plan(self):
        """All tests are run once without a mutant, in the first boot."""
        left = [made("one", tests=["R3_"]),
                made("two", tests=["mdma_stop"], path="samples/vfio-mdev/mdma/main.c"),
                made("three", tests=["iommufd_pins"], path="samples/vfio-mdev/mdma/main.c")]
        with unittest.mock.patch.object(mutant_lab.build.mutants, "load",
                                        lambda name: {one.name: one for one in left}[name]):
            plan = mutant_lab.plan(left, KNOWN, True)
            self.assertEqual(mutant_lab.plan(left, KNOWN, False)["baseline"], {})
        self.assertEqual(plan["baseline"], {"report": ["R3_D8_get"], "fault": ["R3_other"],
                                            "migration": ["mdma_stop"],
                                            "iommufd": ["iommufd_pins"]})
        self.assertEqual([entry["module"] for entry in plan["mutants"]],
                         ["vfio", "mdma", "iommufd"])


if __name__ == "__main__":
    unittest.main()
