#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""When a lab counts as hung, and what is saved of it then."""

import json
import socket
import sys
import tempfile
import threading
import unittest
from pathlib import Path
from unittest import mock

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "scripts/lab.d"))

# pylint: disable=wrong-import-position
from base import ktap, process
from boot import hang, job, vm, watchdog
from check import hung_lab
from make import paths

LOST = ("[  225.123456] rcu: \trcu_preempt kthread timer wakeup didn't happen for 29999 "
        "jiffies! g5069 f0x0 RCU_GP_WAIT_FQS(5) ->state=0x402")


class Silence(unittest.TestCase):
    """watchdog.Watchdog, with a simulated clock."""

    def setUp(self):
        # Its beats here are as frequent as looks.
        self.dog = watchdog.Watchdog(2, 60, real=False)
        self.addCleanup(self.dog.__exit__)

    def pass_time(self, seconds, waited=0.0, beat=b""):
        """Look twice a second, as vm.py does."""
        for _ in range(seconds * 2):
            self.dog.look(0.5, waited)
            self.dog.beat(beat)

    def test_both_beat(self):
        """A job may print nothing and compute as long as it likes."""
        self.pass_time(1200, beat=b"0\n1\n")
        self.assertIsNone(self.dog.verdict())

    def test_one_dies(self):
        """The other CPU goes on, as it does when a timer is lost."""
        self.pass_time(10, beat=b"0\n1\n")
        self.pass_time(60, beat=b"1\n")
        self.assertIsNone(self.dog.verdict())
        self.pass_time(1, beat=b"1\n")
        self.assertRegex(self.dog.verdict(), "CPU 0 .* no progress for 60 s")

    def test_boot_takes_longer(self):
        """The firmware and the kernel come before the first beat."""
        self.pass_time(60 * watchdog.BOOT)
        self.assertIsNone(self.dog.verdict())
        self.pass_time(1)
        self.assertIn("CPU 0", self.dog.verdict())

    def test_one_never_starts(self):
        """The second CPU is not forgotten although the first one beats."""
        self.pass_time(60 * watchdog.BOOT + 1, beat=b"0\n")
        self.assertIn("CPU 1", self.dog.verdict())

    def test_host_starves_the_lab(self):
        """Time that the lab waits for the host is not silence."""
        self.pass_time(1, beat=b"0\n1\n")
        self.pass_time(600, waited=0.48)
        self.assertIsNone(self.dog.verdict())

    def test_machine_stood_still(self):
        """An hour between two looks: neither we nor the lab could run."""
        self.dog.beat(b"0\n1\n")
        self.dog.look(3600)
        self.assertIsNone(self.dog.verdict())

    def test_late_account_of_waiting(self):
        """The host's kernel counts a wait when it is over."""
        self.dog.beat(b"0\n1\n")
        self.pass_time(40)
        self.dog.look(0.5, 40)
        self.pass_time(40)
        self.assertIsNone(self.dog.verdict())

    def test_noise_is_no_beat(self):
        """Only the number of an existing CPU counts."""
        self.dog.beat(b"0\n1\n")
        self.pass_time(61, beat=b"7\n-1\nxyz\n")
        self.assertIn("CPU 0", self.dog.verdict())

    def beaten(self, often, real):
        """The verdict after a while with one CPU that beats so many times too often."""
        with watchdog.Watchdog(2, 60, real) as dog:
            for second in range(watchdog.WINDOW):
                if second % watchdog.PERIOD == 0:
                    dog.beat(b"0\n" + b"1\n" * often)
                dog.look(1)
            return dog.verdict()

    def test_clock_too_fast(self):
        """Beats that come too often are a wrong clock; some more than usual are not, nor are
        any where the lab's clock is its own."""
        self.assertIsNone(self.beaten(2, True))
        self.assertIsNone(self.beaten(7, False))
        self.assertEqual(self.beaten(7, True), "the lab's clock runs 7.0 times too fast")

    def test_beats_by_the_socket(self):
        """QEMU writes beats to the socket that it inherits."""
        self.dog.look(61)
        self.dog.labs.sendall(b"0\n1\n0\n")
        self.dog.poll(1.0)
        self.assertEqual({0, 1}, self.dog.alive)
        self.dog.labs.close()
        self.dog.poll(2.0)
        self.dog.poll(3.0)
        self.assertEqual({0: 2.0, 1: 2.0}, self.dog.silent)

    def test_words(self):
        """The device has the name that init looks for."""
        self.assertIn(f"socket,id=heartbeat,fd={self.dog.labs.fileno()}", self.dog.words())
        self.assertIn("virtserialport,chardev=heartbeat,name=heartbeat", self.dog.words())


class Stall(unittest.TestCase):
    """A kernel that reports a stall itself."""

    def test_stalls(self):
        for line in (LOST, "watchdog: BUG: soft lockup - CPU#1 stuck for 122s! [bash:1]",
                     "rcu: INFO: rcu_preempt detected stalls on CPUs/tasks:",
                     "rcu: rcu_preempt kthread starved for 29999 jiffies!",
                     "[  400.1] INFO: task W18:123 blocked for more than 300 seconds."):
            with self.subTest(line):
                self.assertTrue(watchdog.stall(line))

    def test_no_stall(self):
        for line in ("", "MDMA-LAB step init", "WARNING: CPU: 0 PID: 1 at kernel/x.c:1 f+0x1",
                     "watchdog_thresh=60", "rcu: Hierarchical RCU implementation."):
            with self.subTest(line):
                self.assertIsNone(watchdog.stall(line))

    def test_verdict(self):
        """At once, whoever beats; without the time before the line."""
        dog = watchdog.Watchdog(1, 60)
        self.addCleanup(dog.__exit__)
        dog.read("all is well")
        self.assertIsNone(dog.verdict())
        dog.read(LOST)
        dog.read("rcu: INFO: rcu_preempt detected stalls on CPUs/tasks:")
        self.assertRegex(dog.verdict(), '^the lab\'s kernel says "rcu: .*didn\'t happen')


class Waiting(unittest.TestCase):
    """How long QEMU's threads wait for a CPU of the host."""

    def setUp(self):
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.root = Path(directory.name)

    def account(self, task, waited):
        """Set the account that the host's kernel keeps for a thread."""
        (self.root / task).mkdir(exist_ok=True)
        (self.root / task / "schedstat").write_text(f"123 {waited} 4\n")

    def test_longest(self):
        waiting = watchdog.Waiting(self.root)
        self.account("1", 5_000_000_000)
        self.account("2", 0)
        self.assertEqual(0, waiting.seconds())
        self.account("1", 5_100_000_000)
        self.account("2", 300_000_000)
        self.account("3", 9_000_000_000)
        self.assertAlmostEqual(0.3, waiting.seconds())
        self.assertEqual(0, waiting.seconds())

    def test_no_account(self):
        """A thread that ends, and a kernel that does not count."""
        (self.root / "1").mkdir()
        self.assertEqual(0, watchdog.Waiting(self.root).seconds())
        (self.root / "1" / "schedstat").write_text("")
        self.assertEqual(0, watchdog.Waiting(self.root).seconds())
        self.assertEqual(0, watchdog.Waiting(self.root / "none").seconds())


class Where(unittest.TestCase):
    """What ran last, according to the lab's console."""

    def setUp(self):
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.root = Path(directory.name)
        self.dog = watchdog.Watchdog(2, 60)
        self.addCleanup(self.dog.__exit__)
        self.watch = vm.Watch(self.root, 1200, quiet=True, dog=self.dog)

    def says(self, text):
        """New text on the console."""
        with open(self.root / "console.txt", "a", encoding="utf-8") as stream:
            stream.write(text)
        self.watch.poll()

    def test_step_and_test(self):
        self.assertEqual("step: boot", self.watch.where())
        self.says("MDMA-LAB step running python3 selftests.py\n")
        self.assertEqual("step: running python3 selftests.py", self.watch.where())
        self.says("[    9.1] selftest: R14_exec_then_close (locked)\n[    9.2] selftest: R1")
        self.assertEqual("locked: R14_exec_then_close", self.watch.where())
        self.says("5_x (pins)\n")
        self.assertEqual("pins: R15_x", self.watch.where())
        self.says("[    9.3] mutant: drop\n")
        self.assertEqual("drop", self.watch.where())
        self.says("MDMA-LAB step ending\n")
        self.assertEqual("step: ending", self.watch.where())

    def test_stuck(self):
        self.says("selftest: R14_exec_then_close (locked)\n")
        self.assertIsNone(self.watch.stuck())
        self.dog.beat(b"0\n1\n")
        for _ in range(61):
            self.dog.look(1)
        self.assertEqual("CPU 0 of the lab made no progress for 60 s, in locked: "
                         "R14_exec_then_close", self.watch.stuck())

    def test_stall(self):
        self.says(f"selftest: R1 (locked)\n{LOST}\n")
        self.assertRegex(self.watch.stuck(), "didn't happen.*, in locked: R1$")

    def test_late(self):
        """The time limit also says where."""
        self.watch.timeout = -1
        self.assertEqual("no end after -1 s, in step: boot", self.watch.stuck())

    def test_terminal(self):
        """A shell for people has no watchdog and no limit."""
        watch = vm.Watch(self.root, None, quiet=True)
        self.says(LOST + "\n")
        watch.poll()
        self.assertIsNone(watch.stuck())


class Monitor(threading.Thread):
    """QEMU's end of the monitor: gives its answers, and then falls silent."""

    def __init__(self, end, answers):
        super().__init__(daemon=True)
        self.end, self.answers, self.asked = end, answers, []

    def run(self):
        with self.end, self.end.makefile("rw") as stream:
            self.say(stream, {"QMP": {}})
            for line in stream:
                message = json.loads(line)
                words = message.get("arguments", {}).get("command-line", message["execute"])
                self.asked.append(words)
                if words not in self.answers:
                    self.say(stream, {"error": {"desc": f"no {words}"}})
                else:
                    self.say(stream, {"return": self.answers[words]})

    @staticmethod
    def say(stream, message):
        """Send a message."""
        stream.write(json.dumps(message) + "\n")
        stream.flush()


class Evidence(unittest.TestCase):
    """hang.keep()"""

    def setUp(self):
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.root = Path(directory.name)
        (self.root / "console.txt").write_text("before\n")
        self.ours, self.labs = socket.socketpair()
        self.addCleanup(self.ours.close)

    def keep(self, answers, script):
        """What is saved about a child that runs this script, with these answers of the monitor."""
        monitor = Monitor(self.labs, dict(answers, qmp_capabilities={}))
        monitor.start()
        with process.start(["sh", "-c", script], cwd=self.root) as child:
            path = hang.keep(self.root, "why it is", child, self.ours)
            self.assertIsNotNone(child.poll())
        return path.read_text(), monitor.asked

    def test_running(self):
        answers = {command: f"<{command}>" for command in hang.COMMANDS}
        answers.update({"info status": "VM status: running", "inject-nmi": {}})
        text, asked = self.keep(answers, "sleep 3; echo 'Kernel panic: NMI' >>console.txt")
        self.assertTrue(text.startswith("why it is\n"))
        for word in ("<info registers -a>", "<info lapic 0>", "Kernel panic: NMI", "wchan"):
            self.assertIn(word, text)
        self.assertEqual("inject-nmi", asked[-1])
        # What we made the kernel print is not a finding of the run.
        self.assertEqual("before\n", (self.root / "console.txt").read_text())

    def test_paused(self):
        """A paused machine would not react to an NMI."""
        answers = dict.fromkeys(hang.COMMANDS, "")
        answers["info status"] = "VM status: paused"
        text, asked = self.keep(answers, "sleep 100")
        self.assertNotIn("inject-nmi", asked)
        self.assertIn("QEMU does not run it", text)

    def test_monitor_refuses(self):
        """The rest is saved."""
        text, _ = self.keep({"info status": "VM status: paused"}, "sleep 100")
        self.assertIn("VM status: paused", text)
        self.assertIn("no info cpus", text)

    def test_monitor_is_gone(self):
        self.labs.close()
        with process.start(["sleep", "100"]) as child:
            text = hang.keep(self.root, "why", child, self.ours).read_text()
            child.kill()
        self.assertIn("QEMU closed the monitor", text)


class Check(unittest.TestCase):
    """hung_lab.py, with labs that are made up."""

    KEPT = ("thread 7 CPU 0/TCG: state S\nwchan x\nCPU#0\nHLT=1\nCPU#1\n"
            "=== QEMU: info lapic 0 ===\nLVTT\t 0x000100ec masked\n"
            "Tick Device\n event_handler:  hrtimer_interrupt\n"
            "Kernel panic - not syncing: NMI\nCall Trace:\n")
    # Of each lab: why it ended, what its kernel logged, what it said, what was kept.
    GOOD = {"timer": (hung_lab.REASON, [], hung_lab.MASKED, KEPT),
            "stall": (hung_lab.STALL_REASON, [("rcu stall", hung_lab.STALL)], "",
                      hung_lab.STALL_REASON)}

    def setUp(self):
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        patch = mock.patch.object(paths, "CHECK", Path(directory.name))
        patch.start()
        self.addCleanup(patch.stop)

    def failed(self, **labs):
        """Names of the tests that fail with these labs."""
        def run(results, *_args, **_more):
            reason, findings, said, kept = {**self.GOOD, **labs}[results.name]
            self.assertIn("hung_lab", (results / "hangs.py").read_text())
            (results / "output.txt").write_text(said)
            if kept:
                (results / "hang.txt").write_text(kept)
            return job.Outcome(None, reason, findings)

        with mock.patch.object(job, "run", run):
            return [result.name for result in hung_lab.check() if result.state == ktap.FAILED]

    def test_good(self):
        self.assertEqual(self.failed(), [])

    def test_stall(self):
        """The watchdog finds what the program logs, not the silence of a CPU."""
        self.assertEqual(watchdog.stall(f"[   12.3] {hung_lab.STALL}"), hung_lab.STALL)
        compile(hung_lab.STALLS, "stalls", "exec")
        compile(hung_lab.HANGS, "hangs", "exec")
        late = ("no end after 1200 s", [("rcu stall", hung_lab.STALL)], "", "no end")
        self.assertEqual(self.failed(stall=late), [
            "a lab whose kernel logs a stall counts as hung", "hang.txt says which stall"])
        clean = (hung_lab.STALL_REASON, [], "", hung_lab.STALL_REASON)
        self.assertEqual(self.failed(stall=clean), ["the stall is a finding, and the only one"])

    def test_silence_comes_first(self):
        """The kernel does not report the stall itself before the CPU counts as dead."""
        for accel in ("kvm", "tcg"):
            words = vm.kernel_command_line(accel, hung_lab.OPTIONS).split()
            limits = [int(word.partition("=")[2]) for word in words
                      if word.startswith("rcupdate.rcu_cpu_stall_timeout=")]
            self.assertGreater(min(limits, default=21), 2 * hung_lab.SILENCE)

    def test_kvm(self):
        """What a lab with KVM leaves; and a timer that is not masked, with either accelerator."""
        for thread, masked, unmasked in (("TCG", "000100ec", "000000ec"),
                                         ("KVM", "000500ec", "000400ec")):
            text = self.KEPT.replace("TCG", thread)
            self.assertEqual(hung_lab.missing(text.replace("000100ec", masked)), [])
            self.assertEqual(hung_lab.missing(text.replace("000100ec", unmasked)),
                             ["the masked timer"])

    def test_nothing_is_kept(self):
        for name, tests in (("timer", ["hang.txt has what is needed"]),
                            ("stall", ["hang.txt says which stall"])):
            with self.subTest(name):
                self.assertEqual(self.failed(**{name: (*self.GOOD[name][:3], "")}), tests)


if __name__ == "__main__":
    unittest.main()
