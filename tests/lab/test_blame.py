# SPDX-License-Identifier: GPL-2.0-only
"""Whose fault a failure is: what failed decides."""

import contextlib
import io
import sys
import tempfile
import unittest
from pathlib import Path
from unittest import mock

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "scripts/lab.d"))

# pylint: disable=wrong-import-position
from base import ktap, say
from boot import job
from check import blame, check
from make import build, paths

STUCK = "not ok 1 R1_a\n# thread 7 stuck in state D: [<0>] x\nBail out! no end after 300 s\n1..1\n"
STALL = "[ 9.0] rcu: INFO: rcu_preempt detected stalls on CPUs/tasks:\n"
LATE = "ok 1 R1_a\nBail out! no end after 300 s\n1..2\n"


def failed(name, reason=""):
    """A result."""
    return ktap.Result(name, ktap.FAILED, reason)


class OfParts(unittest.TestCase):
    """Parts that leave nothing but results."""

    def test_by_part(self):
        """The product is what is built from our code, and what it must do."""
        for part, name, reason, who in (
                ("python", "test_vm.KvmMissing", "", blame.LAB),
                ("pages", "test_pages.Page", "", blame.LAB),
                ("lint", "checkpatch drivers/vfio/type1.h", "", blame.PRODUCT),
                ("lint", "house samples/vfio-mdev/mdma/main.c", "", blame.PRODUCT),
                ("lint", "checkpatch tests/selftests/get.c", "", blame.LAB),
                ("lint", "errno Documentation/errno.rst", "", blame.LAB),
                ("unit", "store: R3: records stay", "", blame.PRODUCT),
                ("deadly", "W18_unmap_while_a_device_opens", "", blame.KERNEL),
                ("rules", "rule R3", "a test fails", blame.PRODUCT),
                ("rules", "rule R3", "no test", blame.LAB),
                ("rules", "rule W3", "passed on the kernel's own type1", blame.KERNEL),
                ("rules", "rules", "the parts unit and selftests come first", blame.LAB),
                ("driver", "unbind", "the device has 3 pages pinned", blame.PRODUCT)):
            with self.subTest(part=part, name=name):
                self.assertEqual(blame.of_result(part, failed(name, reason)), who)

    def test_builds(self):
        """Our code, our tests, and a full disk."""
        broken, full, other = say.LabError("x.c:1: error: y"), \
            say.LabError("x.o: No space left on device"), say.LabError("no directory")
        broken.log = full.log = Path("build.log")
        for name, error, who in (("vfio", broken, blame.PRODUCT), ("mdma", broken, blame.PRODUCT),
                                 ("selftests", broken, blame.LAB), ("vfio", full, blame.LAB),
                                 ("vfio", other, blame.LAB)):
            error.target = build.TARGETS[name]
            with self.subTest(name=name, error=str(error)):
                self.assertEqual(blame.of_error(error), who)
        self.assertEqual(blame.of_error(broken.log), blame.LAB)


class OfRuns(unittest.TestCase):
    """What a scenario leaves in its directory."""

    def setUp(self):
        self.directory = tempfile.TemporaryDirectory()
        self.addCleanup(self.directory.cleanup)
        self.root = Path(self.directory.name)

    def leave(self, name, text):
        """A file of the run."""
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def lines(self, reason=None, code=1, findings=(), name="selftests", part=None):
        """The lines for a part that runs a scenario, without the evidence."""
        outcome = job.Outcome(code, reason, list(findings))
        with mock.patch.object(check, "_run_in_lab", lambda *_: (outcome, self.root)):
            results = check.in_lab(name, part)()
        found = blame.lines({part or name: results})
        for line in found:
            self.assertTrue(line.endswith(str(self.root)), line)
        return [line.partition("; evidence: ")[0] for line in found]

    def test_both_backends(self):
        """If several are to blame, each has a line."""
        self.leave("ours/get.ktap", "not ok 1 R3_a\nnot ok 2 R3_b\n1..2\n")
        self.leave("stock/get.ktap", "# passes on stock in spite of W1\nnot ok 1 R3_a\n1..1\n")
        self.assertEqual(self.lines(), [
            "part selftests: the product: ours: R3_a and 1 more",
            "part selftests: the kernel's own: stock: R3_a"])

    def test_model(self):
        """The model's files have the names of the backends."""
        self.leave("stock.ktap", "not ok 1 R8_model\n1..1\n")
        self.assertEqual(self.lines(name="model"), ["part model: the kernel's own: R8_model"])

    def test_no_verdict(self):
        """The lab hung, or its QEMU was killed."""
        self.leave("ours/get.ktap", "ok 1 R3_a\n1..1\n")
        for reason in ("no end after 1200 s, during step: running", "the lab left no status",
                       "QEMU ended with -9 during step: running selftests.py"):
            self.assertEqual(self.lines(reason, None),
                             ["part selftests: the lab: scenario selftests"])

    def test_time_limit(self):
        """A program does not end: it is slow, or stuck in the kernel."""
        self.leave("ours/get.ktap", LATE)
        late = "ours: selftests: get: bail out"
        self.assertIn(f"part selftests: the product or the lab: {late}", self.lines())
        self.leave("console.txt", STALL)
        self.assertIn(f"part selftests: the lab: {late}", self.lines())
        self.leave("console.txt", f"{STALL} x+0x1/0x2 [mdma]\n")
        self.assertIn(f"part selftests: the product or the lab: {late}", self.lines())
        self.leave("ours/get.ktap", STUCK)
        self.assertEqual(self.lines(), ["part selftests: the product: ours: R1_a and 1 more"])

    def test_crash(self):
        """The lab went down since our module crashed its kernel."""
        self.leave("console.txt", "BUG: KASAN: use-after-free\n x+0x1/0x2 [vfio_iommu_type1]\n")
        lines = self.lines("the lab went down during step: running", None,
                           [("bug", "BUG: KASAN: use-after-free")])
        self.assertEqual(lines, ["part selftests: the product: scenario selftests and 1 more"])

    def test_old_code(self):
        """A breakpoint in the kernel's own code that is not there any more, as QEMU executed what
        the code was before. One in a module is not excused. Of two labs, either may die."""
        found = [("oops", "Oops: int3: 0000 [#1] PREEMPT SMP NOPTI")]
        for console in ("console.txt", "host-b/console.txt"):
            for where, who in (("__schedule+0x343/0xbe0\n", "lab"),
                               ("x+0x1/0x2 [mdma]\n", "product")):
                self.leave(console, f"[ 1.0] {found[0][1]}\n[ 1.1] RIP: 0010:{where}")
                self.assertEqual(
                    self.lines("the lab went down during step: running", None, found),
                    [f"part selftests: the {who}: scenario selftests and 1 more"])
            self.leave(console, "")

    def test_stall(self):
        """A kernel that got no CPU time is the lab's fault, unless our code is in the trace."""
        found = [("rcu stall", "rcu: INFO: rcu_preempt detected stalls on CPUs/tasks:")]
        self.leave("dmesg.txt", "rcu: INFO: rcu_preempt detected stalls\n pv_native_safe_halt\n")
        self.assertEqual(self.lines(code=0, findings=found, name="migrate"),
                         ["part migrate: the lab: kernel log of migrate"])
        self.leave("dmesg.txt", "rcu: INFO: rcu_preempt detected stalls\n x+0x1/0x2 [mdma]\n")
        self.assertEqual(self.lines(code=0, findings=found, name="migrate"),
                         ["part migrate: the product: kernel log of migrate"])

    def test_finding_on_stock(self):
        """What the kernel logged during a test of its own type1 is the kernel's fault."""
        self.leave("stock/get.ktap", "# kernel: WARNING: CPU: 0 at x\nnot ok 1 R3_a\n1..1\n")
        self.leave("dmesg.txt", "WARNING: CPU: 0 at x\n y+0x1/0x2 [vfio_iommu_type1]\n")
        self.assertEqual(self.lines(findings=[("warning", "[  1.5] WARNING: CPU: 0 at x")]),
                         ["part selftests: the kernel's own: stock: R3_a and 1 more"])

    def test_broken_scenario(self):
        """The scenario ends with a traceback."""
        self.leave("output.txt", f"{blame.TRACEBACK}\n  File ...\nKeyError: 'x'\n")
        self.assertEqual(self.lines(name="citizen"), ["part citizen: the lab: scenario citizen"])
        self.leave("output.txt", "")
        self.assertEqual(self.lines(name="citizen"),
                         ["part citizen: the product: scenario citizen"])
        self.leave("traceback.txt", f"{blame.TRACEBACK}\n  File ...\nKeyError: 'x'\n")
        self.assertEqual(self.lines(name="citizen"), ["part citizen: the lab: scenario citizen"])

    def proof(self, *reasons):
        """The lines for a migration whose verdict has these reasons."""
        text = "".join(f"# {reason}\n" for reason in reasons)
        self.leave("proof.ktap", f"not ok 1 no page is lost\n{text}not ok 2 verdict\n1..2\n")
        return self.lines(name="migrate")

    def test_proof(self):
        """Lost pages are the product's fault. A run without a proof is not, whatever its numbers
        say."""
        self.assertEqual(self.proof("pages_lost is 3, must be 0", "the scenario ended with 1"),
                         ["part migrate: the product: no page is lost and 1 more"])
        for reason in ("oracle broken: trace: ring buffer dropped events: 278576",
                       "container: oracle broken: x", "control: pages_lost is 0 on a backend",
                       "rounds is 1, must be at least 3", "TraceError: no events"):
            with self.subTest(reason=reason):
                self.assertEqual(self.proof(reason),
                                 ["part migrate: the lab: no page is lost and 1 more"])
        self.assertEqual(
            self.proof("ScenarioError: migration is active, and made no progress for 180 s"),
            ["part migrate: the product: no page is lost and 1 more"])
        self.assertEqual(self.proof("pages_lost is 3, must be 0", "oracle broken: x"),
                         ["part migrate: the product and the lab: no page is lost and 1 more"])


    def test_late(self):
        """What took too long is the lab's fault only if its kernel got no CPU time."""
        late = "GuestError: destination: no 'MDMA-GUEST pass' on the console in 180 s"
        rest = "no page is lost and 1 more"
        for reasons, who in ((("oracle broken: x", late), "the product or the lab"),
                             (("pages_lost is 3, must be 0", late), "the product"), ((late,),
                              "the product or the lab")):
            self.assertEqual(self.proof(*reasons), [f"part migrate: {who}: {rest}"])
        self.leave("console.txt", STALL)
        self.assertEqual(self.proof(late), [f"part migrate: the lab: {rest}"])
        self.leave("console.txt", "WARNING: CPU: 0 at x\nCall Trace:\n")
        self.assertEqual(self.proof(late), [f"part migrate: the product or the lab: {rest}"])
        self.leave("console.txt", f"{STALL} x+0x1/0x2 [vfio_iommu_type1]\n")
        self.assertEqual(self.proof(late), [f"part migrate: the product or the lab: {rest}"])


class End(unittest.TestCase):
    """The end of a check."""

    def run_parts(self, **parts):
        """The output of a check of these parts, and its exit code."""
        output = io.StringIO()
        with tempfile.TemporaryDirectory() as directory, \
                mock.patch.object(paths, "CHECK", Path(directory)), \
                mock.patch.object(paths, "OUT", Path(directory)), \
                mock.patch.object(check, "PARTS", parts), mock.patch.object(say, "info"), \
                mock.patch.object(check.beside, "possible", return_value=False), \
                contextlib.redirect_stdout(output):
            code = check.run([])
        return output.getvalue().splitlines(), code

    def test_lines_come_before_the_count(self):
        """One line for each part that failed; no line if none did."""
        lines, code = self.run_parts(unit=lambda: [failed("a")], python=lambda: [failed("b")])
        self.assertEqual(code, 1)
        self.assertRegex(lines[-3], r"^part unit: the product: a; evidence: \S+unit\.ktap$")
        self.assertRegex(lines[-2], r"^part python: the lab: b; evidence: \S+python\.ktap$")
        self.assertEqual(lines[-1], "0 passed, 2 failed, 0 skipped")
        lines, code = self.run_parts(unit=lambda: [ktap.Result("a", ktap.PASSED)])
        self.assertEqual((lines, code), (["1 passed, 0 failed, 0 skipped"], 0))

    def test_no_result(self):
        """A part that tried nothing has not passed."""
        lines, code = self.run_parts(driver=lambda: [],
                                     unit=lambda: [ktap.Result("a", ktap.PASSED)])
        self.assertEqual((lines[-1], code), ("1 passed, 1 failed, 0 skipped", 1))
        self.assertIn("FAILED driver: no result at all", lines)

    def test_errors(self):
        """A part can't be run, because of the machine or a defect: the other parts do run."""
        def no_image():
            raise say.LabError("mmdebstrap failed")

        def full():
            raise OSError(28, "No space left on device", "/x")

        def defect():
            raise KeyError("x")
        lines, code = self.run_parts(migrate=no_image, driver=full, unit=defect,
                                     build=lambda: [ktap.Result("a", ktap.PASSED)])
        self.assertEqual(code, 1)
        self.assertEqual([line.split(";")[0] for line in lines[-4:-1]],
                         ["part migrate: the lab: migrate", "part driver: the lab: driver",
                          "part unit: the lab: unit"])
        self.assertTrue(any("defect of the lab itself" in line for line in lines))


if __name__ == "__main__":
    unittest.main()
