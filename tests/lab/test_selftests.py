#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""The scenario selftests passes only if all programs that were to run came to a good end."""

import io
import sys
import tempfile
import time
import unittest
from contextlib import redirect_stdout
from pathlib import Path
from unittest import mock

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "scripts/lab.d"), str(ROOT / "tests/scenarios")]

# pylint: disable=wrong-import-position
import kills
import model
import selftests
from base import ktap

STACK = "thread 7 stuck in state D: [<0>] vfio_unpin"
# A program with one test, which passes; an argument may be the beginning of its name.
PROGRAM = """\
#!/bin/sh
echo "KTAP version 1"
case $NAME in
"$1"*) echo "1..1"; echo "ok 1 $NAME"; exit $CODE ;;
esac
echo "1..0"
exit 1
"""


class Log:
    """A kernel that says nothing."""

    def __init__(self):
        self.scan = None

    def findings(self):
        """What it logged."""
        return []


class Run(unittest.TestCase):
    """A run on one backend, with two programs."""

    def setUp(self):
        found = tempfile.TemporaryDirectory()
        self.addCleanup(found.cleanup)
        self.directory = Path(found.name)
        self.programs = self.directory / "programs"
        self.programs.mkdir()
        self.program("aa", "R1_a")
        self.program("bb", "R2_b")

    def program(self, name, test, code=0):
        """Make a program."""
        path = self.programs / name
        path.write_text(PROGRAM.replace("$NAME", test).replace("$CODE", str(code)))
        path.chmod(0o755)

    def played(self, stuck=(), scenario=selftests, **pairs):
        """(the exit code of the scenario, what it prints) if that is stuck after each program."""
        argv = ["--results", str(self.directory)]
        argv += [f"{key}={value}" for key, value in pairs.items()]
        unloaded = "KTAP version 1\n1..1\nok 1 R7_modules_unload\n"
        with mock.patch.multiple(selftests, load=mock.DEFAULT, KernelLog=Log,
                                 end=lambda *_: list(stuck), unload=lambda *_: unloaded), \
                mock.patch.multiple(kills, backend=mock.DEFAULT, mdev=mock.DEFAULT), \
                redirect_stdout(io.StringIO()) as text:
            code = scenario.main(argv)
        return code, text.getvalue()

    def on_ours(self, stuck=(), **pairs):
        """The same for these programs on our backend."""
        return self.played(stuck, backend="ours", programs=self.programs, **pairs)

    def results(self, name):
        """(name, state) of a program's results, without its own name."""
        text = (self.directory / "ours" / f"{name}.ktap").read_text()
        return [(one.name, one.state, one.reason) for one in ktap.parse(text, name)]

    def test_good(self):
        """All is well."""
        code, said = self.on_ours()
        self.assertEqual(code, 0)
        self.assertIn("on ours: 3 passed, 0 failed", said)

    def test_only(self):
        """A word that matches nothing fails the run, beside one that matches, too."""
        for only, wanted in (("R2", 0), ("aa", 0), ("aa,R2", 0), ("R7_modules", 0), ("R9_typo", 1),
                             ("R2,R9_typo", 1), ("cc", 1), ("aa,cc", 1)):
            with self.subTest(only=only):
                code, said = self.on_ours(only=only)
                self.assertEqual(code, wanted, said)
                self.assertEqual("no program has this name" in said, bool(wanted))

    def test_only_of_another_run(self):
        """The program of another run is not one of this."""
        self.program("iommufd", "iommufd_a")
        self.assertEqual(self.on_ours(only="iommufd")[0], 1)
        self.assertEqual(self.played(backend="ours,iommufd", programs=self.programs,
                                     only="iommufd")[0], 0)

    def test_no_chance(self):
        """A skip that says so is told, and fails nothing; another skip does."""
        path = self.programs / "aa"
        for reason, wanted in (("# no chance: too slow\nok 1 R1_a", 0),
                               ("ok 1 R1_a # SKIP no device", 1)):
            path.write_text(f"#!/bin/sh\ncat <<END\nKTAP version 1\n1..1\n{reason}\nEND\n")
            code, said = self.on_ours()
            self.assertEqual(code, wanted, said)
        self.assertIn("1 failed", said)

    def test_skip(self):
        """A failure in the lab, which has all; elsewhere its user is told what is missing."""
        text = "KTAP version 1\n1..2\nok 1 R1_a\nok 2 R2_b # SKIP a NIC\n"
        for own_host, state in ((False, ktap.FAILED), (True, ktap.SKIPPED)):
            with mock.patch.object(selftests.site, "OWN_HOST", own_host), \
                    redirect_stdout(io.StringIO()) as said:
                found = selftests.report("aa", text, 1, False)
            self.assertEqual([one.state for one in found], [ktap.PASSED, state])
            self.assertEqual("1 skipped, which need a NIC" in said.getvalue(), own_host)

    def test_all_skip(self):
        """Then a host has shown nothing."""
        for path in self.programs.iterdir():
            path.write_text("#!/bin/sh\necho KTAP version 1; echo 1..1; "
                            "echo 'ok 1 R1_a # SKIP a NIC'\n")
        with mock.patch.object(selftests.site, "OWN_HOST", True):
            self.assertEqual(self.on_ours()[0], 1)
            self.program("aa", "R1_a")
            self.assertEqual(self.on_ours()[0], 0)

    def test_told_to_end(self):
        """A program ends with the scenario."""
        with mock.patch.object(selftests, "wait", side_effect=SystemExit), \
                mock.patch.object(selftests, "end") as end:
            with self.assertRaises(SystemExit):
                selftests.run_program("/bin/true", [], {}, 1)
        end.assert_called_once()
        end.call_args[0][0].wait()

    def test_exit_code(self):
        """A program that says that it failed, but not which test, has failed."""
        self.program("aa", "R1_a", code=7)
        code, _ = self.on_ours()
        self.assertEqual(code, 1)
        self.assertEqual(self.results("aa")[1:], [
            ("aa: bail out", ktap.FAILED, "exit code 7, and nothing failed")])

    def test_exit_code_of_a_failure(self):
        """A test that failed is the reason."""
        path = self.programs / "aa"
        path.write_text("#!/bin/sh\necho KTAP version 1; echo 1..1; echo not ok 1 R1_a; exit 1\n")
        self.on_ours()
        self.assertEqual(self.results("aa"), [("R1_a", ktap.FAILED, "")])

    def test_exit_code_of_the_model(self):
        """The same where the model runs."""
        for code, wanted in ((0, 0), (3, 1)):
            self.program("aa", model.TEST, code)
            with mock.patch.object(model, "backend"), redirect_stdout(io.StringIO()):
                self.assertEqual(model.main(["--results", str(self.directory), "backends=ours",
                                             f"program={self.programs / 'aa'}"]), wanted)

    def test_stuck(self):
        """A thread that is stuck in the kernel fails the run, and so do programs that did not
        run."""
        code, _ = self.on_ours([STACK])
        self.assertEqual(code, 1)
        self.assertEqual(self.results("aa"),
                         [("R1_a", ktap.PASSED, ""), ("aa: bail out", ktap.FAILED, STACK),
                          ("aa: bail out", ktap.FAILED, "not run after that: bb, unload")])
        self.assertFalse((self.directory / "ours/bb.ktap").exists())

    def test_stuck_after_a_kill(self):
        """The same for the scenario kills; then nothing is unloaded."""
        ends = ("# ends: 9 by signal, 0 by exec, 0 by exec and signal, 0 by want of memory, "
                "unload refused 1 times, unloaded 1 times, removed 1 times")
        path = self.programs / "kills"
        path.write_text(f"#!/bin/sh\necho 'KTAP version 1'; echo 1..1; echo '{ends}'; "
                        f"echo ok 1 {kills.TEST}\n")
        path.chmod(0o755)
        for stuck, wanted in (([], 0), ([STACK], 1)):
            code, said = self.played(stuck, kills, kills=9, program=path)
            self.assertEqual(code, wanted, said)
        self.assertIn("not tried", (self.directory / "unload.ktap").read_text())


class Stuck(unittest.TestCase):
    """A program that a test waits for in vain ends long before its limit, and only that one."""

    # A process that waits for the child that it made by vfork() is in state D.
    DEADLOCK = "import ctypes; libc = ctypes.CDLL(None); libc.vfork() or libc.pause()"

    def tried(self, program):
        """(The KTAP, seconds) of a program."""
        begin = time.monotonic()
        with mock.patch.object(selftests, "LOOK", 0.05):
            text, _ = selftests.run_program(sys.executable, ["-c", program], {}, 60, looks=5)
        return text, time.monotonic() - begin

    def test_deadlock(self):
        """A thread that no signal reaches, and nothing else that happens."""
        text, seconds = self.tried(self.DEADLOCK)
        self.assertIn("Bail out! no end after", text)
        self.assertLess(seconds, 60)

    def test_progress(self):
        """Something else happens, or all that sleeps can be woken."""
        busy = "import threading, time\nthreading.Thread(daemon=True, target=lambda: " \
            f"exec({self.DEADLOCK!r})).start()\nfor _ in range(20): time.sleep(0.05)\n" \
            "import os; print('1..0', flush=True); os._exit(0)"
        for program in ("import time; time.sleep(1); print('1..0')", busy):
            with self.subTest(program=program):
                self.assertEqual(self.tried(program)[0], "1..0\n")


class KernelLog(unittest.TestCase):
    """What the kernel says."""

    def test_starved(self):
        """A stall alone, or with what else is wrong."""
        log = object.__new__(selftests.KernelLog)
        log.scan, stall = selftests.dmesg.Scan(), "rcu: INFO: rcu_preempt detected stalls on CPUs"
        for lines, starved in (([], False), (["selftest: R1_a (aa)", stall], True),
                               ([stall, "BUG: x"], False), ([stall, " f+0x1/0x2 [mdma]"], False)):
            log.lines = lambda lines=lines: lines
            found = log.findings()
            self.assertEqual((log.starved, bool(found)), (starved, stall in lines), lines)
        log.lines = lambda: ["selftest: R1_a (aa)", stall]
        self.assertEqual(log.findings(), [("R1_a", stall)])


if __name__ == "__main__":
    unittest.main()
