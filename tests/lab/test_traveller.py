#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""What a migration that must fail has to leave: no crash is a good end."""

import contextlib
import io
import sys
import unittest
from pathlib import Path
from types import SimpleNamespace
from unittest import mock

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "scripts/lab.d"), str(ROOT / "tests/scenarios")]

# pylint: disable=wrong-import-position
import failures
from base import ktap
from play import attempt, guest_vm, traveller
from play.host import GuestError
from play.link import Link

TRACE = "1@2.5:vfio_migration_set_device_state  (a-uuid) state RESUMING\n"
REFUSAL = "1@2.6:vfio_load_state_device_data  (a-uuid) size 4124 ret {}\n"


class Vm(guest_vm.GuestVM):
    """A destination's QEMU that has ended, or has not."""

    def __init__(self, code, said=""):  # pylint: disable=super-init-not-called
        self.process, self.said = mock.Mock(returncode=code), said
        self.process.poll.return_value = code
        self.qmp = mock.Mock()

    def log(self):
        return self.said


class Refused(unittest.TestCase):
    """The cases in which the destination's device refuses."""

    def reasons(self, name, code, said):
        """What a case complains of, if the destination ends so."""
        complaints = []
        run = SimpleNamespace(config=SimpleNamespace(patience=0, bandwidth=1),
                              complain=complaints.append)
        source = SimpleNamespace(vm=mock.Mock())
        one = attempt.Attempt(run, source, SimpleNamespace(vm=Vm(code, said)),
                              SimpleNamespace(path="p", target="t"))
        with mock.patch.object(one, "let_go"):
            failures.CASES[name].disturb(one)
        return complaints

    def test_refused(self):
        """Each with its own error."""
        for name, error in (("refused-in-precopy", -22), ("refused-at-stop", -74)):
            text = TRACE + REFUSAL.format(0) + REFUSAL.format(error)
            self.assertEqual(self.reasons(name, 1, text), [])

    def test_other_error(self):
        """QEMU refused something, but not the device, or not for this reason."""
        for text, said in ((TRACE, []), (REFUSAL.format(0), ["0"]),
                           (REFUSAL.format(-74) + REFUSAL.format(-22), ["-22"])):
            self.assertEqual(self.reasons("refused-at-stop", 1, text), [
                f"the last answer of the destination's device is {said}, not ['-74']"])

    def test_crash(self):
        """A destination that dies on the damaged stream has refused nothing."""
        self.assertEqual(self.reasons("refused-at-stop", -11, REFUSAL.format(-74)),
                         ["the destination's exit code is -11, not 1"])

    def test_lives(self):
        """One that goes on waiting has not refused."""
        with self.assertRaisesRegex(GuestError, "not in 0 s: the destination ends"):
            self.reasons("refused-at-stop", None, "")


class Reset(unittest.TestCase):
    """The guest is reset while it is migrated."""

    def test_draws(self):
        """It is drawn under fire, and is no case of the scenario's own."""
        self.assertEqual(failures.FIRE_CASES.keys() - failures.CASES.keys(), {"reset-in-precopy"})
        self.assertTrue(traveller.RESET.boots)

    def test_boots(self):
        """The guest boots before anything is asked of it; what it had is forgotten. QEMU ends
        with a reboot that nobody asked for, but not before."""
        run = traveller.Traveller("failures", "", SimpleNamespace(patience=0), Path("/d"))
        run.host, run.window, seen = mock.MagicMock(), {1}, []
        run.host.vm.wait_console = lambda text, _, count: seen.append((text, count))
        run.host.vm.qmp.command = lambda name, **words: seen.append((name, *words.values()))
        run.host.mdev.settings.return_value = {"window": "0x2000-0x3fff"}
        run.host.mdev.state.return_value = "running"
        with mock.patch.object(run, "_goes_on", lambda *_: seen.append("goes on")), \
                mock.patch.object(run, "_account"), mock.patch.object(guest_vm, "wait_status"):
            run._stayed(2)  # pylint: disable=protected-access
        self.assertEqual(seen, [("MDMA-GUEST ready", 2), ("set-action", "shutdown"), "goes on",
                                ("stop",), ("cont",)])
        self.assertEqual(run.window, {2, 3})

    def test_fast_guest(self):
        """One that has booted, and has another window, when its destination has ended."""
        run = traveller.Traveller("failures", "", SimpleNamespace(patience=0, bandwidth=1),
                                  Path("/d"))
        run.host = run.mdevs = mock.MagicMock()
        console, settings = ["MDMA-GUEST ready\n"], {"window": "0x1000-0x1fff"}
        run.host.vm.console = lambda: "".join(console)
        run.host.vm.log.return_value = ""
        run.host.mdev.settings = lambda: dict(settings)
        run.host.mdev.stat = lambda name: {"pinned": 0, "seq": 7}[name]

        def command(name, **_words):
            if name == "system_reset":
                settings["window"] = ""
        run.host.vm.qmp.command = command

        def close():
            settings["window"] = "0x2000-0x2fff"
            console.append("MDMA-GUEST ready\n")
        destination = SimpleNamespace(vm=Vm(-15), close=close)
        destination.vm.connect = mock.Mock()
        disturb = mock.Mock(side_effect=lambda one: one.reset())
        with mock.patch.object(attempt.Attempt, "wait", lambda *_: "failed"), \
                mock.patch.multiple(traveller, Host=lambda *_, **__: destination,
                                    Link=mock.MagicMock(spec=Link)), \
                mock.patch.object(run, "_stayed") as stayed, \
                contextlib.redirect_stdout(io.StringIO()):
            run.fail("x", traveller.RESET._replace(disturb=disturb), object())
        stayed.assert_called_once_with(2)
        self.assertEqual(run.written.since, 7)
        self.assertEqual(run.results_of[0].state, ktap.PASSED)


class Crash(unittest.TestCase):
    """Any migration that must fail."""

    def state(self, code):
        """(state, reason) of a broken migration after which the destination has ended so."""
        run = traveller.Traveller("failures", "", SimpleNamespace(), Path("/d"))
        run.host = run.mdevs = mock.MagicMock()
        run.host.vm.log.return_value = ""
        destination = SimpleNamespace(vm=Vm(code), close=mock.Mock())
        destination.vm.connect = mock.Mock()
        one = mock.Mock()
        one.wait.return_value = "failed"
        with mock.patch.multiple(traveller, Host=lambda *_, **__: destination,
                                 Attempt=lambda *_: one, Link=mock.MagicMock(spec=Link)), \
                mock.patch.object(run, "_stayed"), contextlib.redirect_stdout(io.StringIO()):
            run.fail("x", traveller.Case(mock.Mock(), traveller.PRECOPY, ("failed",)), object())
        return run.results_of[0].state, run.results_of[0].reason

    def test_ends(self):
        """It may end by itself, or be ended."""
        for code in (0, 1, -9, -15):
            self.assertEqual(self.state(code), (ktap.PASSED, ""))

    def test_crash(self):
        """It may not crash."""
        for code, name in ((-11, "SIGSEGV"), (-6, "SIGABRT")):
            self.assertEqual(self.state(code), (ktap.FAILED, f"the destination ended by {name}"))


if __name__ == "__main__":
    unittest.main()
