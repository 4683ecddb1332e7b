#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""The parts of the scenario driver that need no guest."""

import re
import subprocess
import sys
import tempfile
import threading
import unittest
from pathlib import Path
from types import SimpleNamespace

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "scripts/lab.d"), str(ROOT / "tests/scenarios")]

# pylint: disable=wrong-import-position
import driver
from boot import scenario
from play import arguments, guest_vm
from play.guest_bench import Bench
from play.guest_shell import GuestShell
from sockets import listening


class Shell(unittest.TestCase):
    """Commands and answers."""

    def shell(self, *pieces):
        """A shell whose guest sends these pieces, whatever it is asked."""
        path, server = listening(self, "commands")

        def talk():
            connection, _ = server.accept()
            with connection:
                for piece in pieces:
                    connection.sendall(piece)
                    threading.Event().wait(0.01)
                if pieces:
                    connection.recv(100)

        thread = threading.Thread(target=talk)
        thread.start()
        self.addCleanup(thread.join)
        vm = SimpleNamespace(commands=path, alive=lambda: True, errors=lambda: "why",
                             console=lambda: "hello")
        shell = GuestShell(vm, 0.3)
        self.addCleanup(shell.close)
        return shell

    def test_answers(self):
        shell = self.shell(b".0\nfi", b"ve\n.25\n.1", b"2\n.5 of it\n.0\n")
        self.assertEqual(shell.answer(), ("", 0))
        self.assertEqual(shell.answer(), ("five", 25))
        self.assertEqual(shell.answer(), ("", 12))
        self.assertEqual(shell.answer(), (".5 of it", 0))

    def test_booted_anew(self):
        """The first answer of a guest that crashed in a command is not taken for the
        command's."""
        shell = self.shell(b".250\n", b".250\n")
        self.assertEqual(shell.answer(), ("", 250))
        with self.assertRaisesRegex(guest_vm.GuestError, "booted anew in 'true'.*hello"):
            shell.run("true")

    def test_drain(self):
        shell = self.shell(b".0\n.7\n")
        shell.drain()
        with self.assertRaises(guest_vm.GuestError):
            shell.answer()

    def test_no_answer(self):
        shell = self.shell(b"a.0\n")
        with self.assertRaisesRegex(guest_vm.GuestError, "no answer; it says b'a.0"):
            shell.answer()

    def test_end(self):
        with self.assertRaisesRegex(guest_vm.GuestError, "QEMU ended: why"):
            self.shell().answer()


class Settings(unittest.TestCase):
    """Which tests, and what QEMU is told."""

    def configuration(self, *words):
        """The configuration of a command line."""
        return driver.configuration(arguments.values(driver.KEYS, words))

    def test_only(self):
        chosen = self.configuration().chosen
        self.assertEqual(tuple(chosen["plain"]), driver.TESTS)
        self.assertEqual(tuple(chosen["poisoned"]), driver.POISONED_TESTS)
        self.assertEqual(self.configuration("only=suspend,guest").chosen,
                         {"plain": [driver.suspend_of_devices, driver.suspend_to_ram,
                                    driver.guest_crashes],
                          "poisoned": [driver.suspend_of_devices, driver.suspend_to_ram]})
        self.assertEqual(list(self.configuration("only=guest").chosen), ["plain"])
        with self.assertRaisesRegex(SystemExit, "no such test"):
            self.configuration("only=x")

    def test_once(self):
        """Each test is played, and those that need speed at full speed."""
        chosen = self.configuration("twice=0").chosen
        self.assertEqual(set(chosen["plain"] + chosen["poisoned"]),
                         {*driver.TESTS, *driver.POISONED_TESTS})
        self.assertEqual(chosen["poisoned"], list(driver.POISONED_TESTS))
        names = [test.__name__ for test in chosen["plain"]]
        self.assertFalse([name for name in names if name.startswith("client_")])
        self.assertLess({f"load_{name}" for name in driver.LOAD}, set(names))
        self.assertEqual(names[-1], "qemu_is_killed")

    def test_guests(self):
        config = self.configuration("guests=poisoned", "transfers=1000")
        self.assertEqual(list(config.chosen), ["poisoned"])
        one = driver.of_guest(config, "poisoned")
        self.assertIn(" slub_debug=FZPU", one.append)
        self.assertEqual(one.transfers, 50)
        self.assertEqual(one.client_transfers, 66)
        self.assertEqual(driver.of_guest(self.configuration(), "plain").client_transfers, 200)
        self.assertNotIn("slub_debug", driver.of_guest(self.configuration(), "plain").append)
        with self.assertRaisesRegex(SystemExit, "guests=x: must be .* of plain, poisoned"):
            self.configuration("guests=x")
        self.assertEqual(driver.KEYS["guests"].words, tuple(driver.GUESTS))

    def test_kernel_survives_suspend_to_ram(self):
        """QEMU would load an ELF file once more when the guest wakes, over its memory."""
        for name in ("driver", "guest_mutants"):
            self.assertEqual(scenario.keys(name)["kernel"].default, "guest/vmlinuz")

    def test_reboots(self):
        config = self.configuration()
        self.assertIn("mdma.commands=1", config.append)
        words = guest_vm.command_line("vm", config, None, Path("/d"), "/r", "/m", commands=True)
        self.assertNotIn("-no-reboot", words)
        self.assertIn("socket,id=commands,path=/d/vm.commands,server=on,wait=off", words)
        self.assertIn("-no-reboot",
                      guest_vm.command_line("vm", config, None, Path("/d"), "/r", "/m"))


class Transfers(unittest.TestCase):
    """What the guest is told to transfer."""

    def rounds(self, function):
        """The rounds of dmatest in it."""
        told = []
        shell = SimpleNamespace(run=lambda line, _=None: told.append(line) or ("", 0))
        host = SimpleNamespace(mdev=None)
        bench = Bench(host, shell, SimpleNamespace(patience=1))
        function(bench)
        self.assertIn("iterations=1;", told[0])
        return [line for line in told if line.startswith("dmatest_round")]

    def test_patience(self):
        """Ten times as long as a busy machine takes, for those of "make transfers" as well."""
        target = re.search(r"^transfers:.*?\n\n", (ROOT / "Makefile").read_text(), re.M | re.S)[0]
        words = re.findall(r"\b(?:\w+_)?(?:transfers|moves)=\d+", target)
        config = driver.configuration(arguments.values(driver.KEYS, words))
        bench = Bench(SimpleNamespace(mdev=None), None, config)
        clients = driver.CLIENTS * 4 * config.client_transfers
        self.assertGreater(driver.patience_of(bench), clients * 0.03)
        total = config.transfers + config.moves * (clients + 4 * config.client_transfers)
        self.assertGreater(total, 600000)
        self.assertGreater(driver.TIMEOUT, total * 0.03)

    def test_kinds(self):
        self.assertEqual(self.rounds(lambda bench: bench.transfers(1)),
                         [f"dmatest_round {kind} {polled}" for kind in (0, 1) for polled in (0, 1)])
        self.assertEqual(self.rounds(lambda bench: bench.one_transfer()), ["dmatest_round 0 0"])


class Dmatest(unittest.TestCase):
    """guest/dmatest.awk, on lines of real logs."""

    GOOD = """[ 2.1] dmatest: No channels configured, continue with any
[ 2.1] dmatest: Added 1 threads using dma0chan0
[ 2.1] dmatest: Started 1 threads using dma0chan0
[ 2.3] dmatest: dma0chan0-copy0: summary 5 tests, 0 failures 83.31 iops 366 KB/s (0)
"""
    # What run=0 does to a transfer in progress: its buffers are freed.
    STOPPED = """[ 90.9] dmatest: dma0chan0-copy0: result #11: 'test timed out' with \
src_off=0xa57 dst_off=0x12fa len=0x39d (0)
[ 90.9] dmatest: dma0chan0-copy0: summary 11 tests, 1 failures 260.42 iops 1018 KB/s (0)
"""

    def verdict(self, log, threads, want):
        """The script's output for a log."""
        return subprocess.run(["awk", "-f", ROOT / "scripts/lab.d/guest/dmatest.awk",
                               "-v", f"threads={threads}", "-v", f"want={want}"], input=log,
                              capture_output=True, text=True, check=True).stdout.strip()

    def waited(self, wait, verdict):
        """What a round says if the kernel's wait and log are these."""
        script = f"""
            . {ROOT}/scripts/lab.d/guest/dmatest.sh
            DMATEST={wait.parent}
            check_log() {{ :; }}
            dmatest_verdict() {{ printf '%s' '{verdict}'; }}
            dmatest_round 0 0
        """
        return subprocess.run(["sh", "-c", script], capture_output=True, text=True,
                              check=False).stdout.strip()

    def test_wait(self):
        """A round is good only if dmatest was waited for."""
        wait = Path(self.enterContext(tempfile.TemporaryDirectory())) / "wait"
        said = "dmatest type 0 polled 0:"
        self.assertEqual(self.waited(wait, ""), f"{said} running")
        wait.touch()
        self.assertEqual(self.waited(wait, ""), "")
        self.assertEqual(self.waited(wait, "3 errors"), f"{said} 3 errors")

    def test_good(self):
        self.assertEqual(self.verdict(self.GOOD, 1, 5), "")
        self.assertEqual(self.verdict(self.GOOD, 1, 0), "")

    def test_of_another_number(self):
        self.assertIn("1 of 1 channels: 5 tests", self.verdict(self.GOOD, 1, 6))

    def test_running(self):
        self.assertEqual(self.verdict(self.GOOD, 2, 0), "running")
        self.assertEqual(self.verdict("", 1, 0), "running")

    def test_stopped_under_load(self):
        self.assertIn("1 of 1 channels: dma0chan0-copy0: result #11: 'test timed out'",
                      self.verdict(self.STOPPED, 1, 0))


if __name__ == "__main__":
    unittest.main()
