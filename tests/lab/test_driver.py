#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""The parts of the scenario driver that need no guest."""

import socket
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
import guest_vm
import scenario
from guest_shell import GuestShell


class Shell(unittest.TestCase):
    """Commands and answers."""

    def shell(self, *pieces):
        """A shell whose guest says these, piece by piece, whatever it is asked."""
        temporary = tempfile.TemporaryDirectory()
        self.addCleanup(temporary.cleanup)
        path = Path(temporary.name, "commands")
        server = socket.socket(socket.AF_UNIX)
        self.addCleanup(server.close)
        server.bind(str(path))
        server.listen()

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
        return driver.configuration(scenario.values(driver.KEYS, words))

    def test_only(self):
        self.assertEqual(tuple(self.configuration().chosen), driver.TESTS)
        self.assertEqual(self.configuration("only=suspend,guest").chosen,
                         [driver.suspend_of_devices, driver.suspend_to_ram,
                          driver.guest_crashes])
        with self.assertRaisesRegex(SystemExit, "no such test"):
            self.configuration("only=x")

    def test_reboots(self):
        config = self.configuration()
        self.assertIn("mdma.commands=1", config.append)
        words = guest_vm.command_line("vm", config, None, Path("/d"), "/r", "/m", commands=True)
        self.assertNotIn("-no-reboot", words)
        self.assertIn("socket,id=commands,path=/d/vm.commands,server=on,wait=off", words)
        self.assertIn("-no-reboot",
                      guest_vm.command_line("vm", config, None, Path("/d"), "/r", "/m"))


if __name__ == "__main__":
    unittest.main()
