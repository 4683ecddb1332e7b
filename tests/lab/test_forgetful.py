#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""The control on a backend that forgets must be able to be blind."""

import contextlib
import io
import sys
import tempfile
import unittest
from pathlib import Path
from types import SimpleNamespace
from unittest import mock

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "scripts/lab.d"), str(ROOT / "tests/scenarios")]

# pylint: disable=wrong-import-position
import detours
import failures
import guest_memory
import guests
from base import ktap
from judge import events, proof, ram
from play import forgetful
from play.host import GuestError
from play.steps import TestError

PAGES = ram.CHUNK // ram.PAGE_SIZE
LAST = {1: 9, 2: 8, 3: 7}


def memory(stack, held):
    """RAM with these stamps: page -> number."""
    data = bytearray(ram.CHUNK)
    for page, seq in held.items():
        ram.STAMP.pack_into(data, page * ram.PAGE_SIZE, ram.STAMP_MAGIC, seq, page << 12)
    file = stack.enter_context(tempfile.TemporaryFile())
    file.write(data)
    file.flush()
    return contextlib.nullcontext(guest_memory.files_of(file.fileno(), len(data), 0))


class Look(unittest.TestCase):
    """What the oracles say of a guest that has moved."""

    def setUp(self):
        self.stack = self.enterContext(contextlib.ExitStack())
        ledger = {page: proof.Ledger(seq, 1, 0) for page, seq in LAST.items()}
        self.enterContext(mock.patch.object(proof, "parse_ledger", lambda *_: ledger))

    def reasons(self, here, there):
        """Reasons for RAM with these stamps on both sides."""
        run = forgetful.Forgetful("failures", "forgetful: ", SimpleNamespace(), Path("/d"))
        run.window = {1, 2, 3, 4}
        run.host = mock.MagicMock()
        run.host.vm.open_ram.return_value = memory(self.stack, here)
        destination = mock.MagicMock()
        destination.vm.open_ram.return_value = memory(self.stack, there)
        with contextlib.redirect_stdout(io.StringIO()):
            run.look(destination)
        return run.reasons

    def test_caught(self):
        """Both oracles find it."""
        self.assertEqual(self.reasons(LAST, {1: 9, 2: 3}), [])

    def test_nothing_lost(self):
        """On a good backend the control fails."""
        self.assertEqual(self.reasons(LAST, LAST), ["the ledger's oracle found no lost page",
                                                    "the comparison of RAM found no lost page"])

    def test_outside(self):
        """What differs elsewhere is no lost page of the window."""
        self.assertEqual(len(self.reasons(LAST, {**LAST, 9: 1})), 2)

    def test_wrong_before(self):
        """A source that is wrong shows nothing about the move."""
        self.assertRegex(self.reasons({1: 9}, {1: 9})[0], "wrong before the move: 2 pages of the w")

    def test_one_is_blind(self):
        """Each oracle for itself."""
        self.assertRegex(forgetful.blind([], [], {1})[0], "the ledger's oracle found no")
        self.assertRegex(forgetful.blind([], ["x"], set())[0], "the comparison of RAM found no")


class Trace(unittest.TestCase):
    """What the set oracle says of it."""

    def reasons(self, lost, different, broken=()):
        """Reasons for a trace in which these pages are lost."""
        run = forgetful.Forgetful("failures", "forgetful: ", SimpleNamespace(), Path("/d"))
        reported = SimpleNamespace(lost=lost, broken=broken)
        with contextlib.redirect_stdout(io.StringIO()), mock.patch.object(run, "watch"), \
                mock.patch.object(forgetful.stays, "Stays", lambda _: reported):
            run.look_at_trace(different)
        return run.reasons

    def test_caught(self):
        """More may be lost than differs: a page may hold the same bytes."""
        self.assertEqual(self.reasons([1, 2], {1}), [])

    def test_blind(self):
        """It finds nothing, or not what differs, or can't tell."""
        self.assertEqual(self.reasons([], set()), ["the set oracle found no lost page"])
        self.assertEqual(self.reasons([1], {1, 2}), ["1 pages differ that are not lost"])
        self.assertEqual(self.reasons([1], {1}, ["x"]), ["x"])


class Order(unittest.TestCase):
    """The control runs on its backend, and then the usual one is there again."""

    def setUp(self):
        self.loaded, self.played = [], []
        self.enterContext(mock.patch.object(forgetful.backend, "load", self.loaded.append))

    def test_loaded(self):
        """Also after a failure, and with a backend of the user's."""
        config = SimpleNamespace(backend="/mine.ko")
        with self.assertRaises(GuestError), forgetful.loaded("/forgets.ko", config):
            raise GuestError("no")
        with forgetful.loaded("/forgets.ko", SimpleNamespace()):
            pass
        self.assertEqual(self.loaded, ["/forgets.ko", "/mine.ko", "/forgets.ko", "ours"])

    def run_main(self, scenario, *words):
        """The exit code of a scenario whose guests all pass; each says on which backend it ran."""
        def one(name, *_words):
            self.played.append((name.strip(": "), self.loaded[-1:]))
            return [ktap.Result(name, ktap.PASSED)]
        with tempfile.TemporaryDirectory() as directory, \
                mock.patch.object(scenario, "play", one), \
                mock.patch.object(scenario.signal, "signal"), \
                contextlib.redirect_stdout(io.StringIO()):
            return scenario.main(["--results", directory, *words])

    def control(self, scenario):
        """The guest of the control, which comes last; without control= there is none."""
        self.assertEqual(self.run_main(scenario), 0)
        self.assertTrue(all(not loaded for _, loaded in self.played[:-1]))
        last, self.played = self.played[-1], []
        self.loaded.clear()
        self.assertEqual(self.run_main(scenario, "control=0"), 0)
        self.assertFalse(self.loaded)
        self.assertNotIn(last[0], [name for name, _ in self.played])
        return last

    def test_scenarios(self):
        """Those whose parts run only by name."""
        for scenario in (detours, guests):
            self.played.clear()
            name, loaded = self.control(scenario)
            self.assertEqual(name, "control")
            self.assertRegex(loaded[0], "mutant/forget-unpinned/vfio_iommu_type1.ko$")

    def test_failures(self):
        """It loads the backend itself."""
        self.assertEqual(self.control(failures), ("control-forgetful", []))
        run = mock.Mock(config=SimpleNamespace(forgets="/forgets.ko"))
        run.play.side_effect = lambda: self.assertEqual(self.loaded, ["/forgets.ko"])
        failures.play_forgetful(run)
        run.play.assert_called_once()

    def test_iommufd(self):
        """There the device forgets, and then that of iommufd is there again."""
        loaded = self.enterContext(mock.patch.object(failures.mdev, "load"))
        self.enterContext(mock.patch.object(failures.vfio_iommufd, "builtin", lambda: False))
        run = mock.Mock(config=SimpleNamespace(forgets="/forgets.ko", container="iommufd"))
        run.play.side_effect = GuestError("no")
        with self.assertRaises(GuestError):
            failures.play_forgetful(run)
        self.assertEqual([one.args[0] for one in loaded.call_args_list],
                         ["/forgets.ko", failures.vfio_iommufd.MDMA])
        self.assertFalse(self.loaded)

    def test_other_failures(self):
        """A control that does not come so far has failed, whatever for."""
        for error in (TestError("the migration is failed"), GuestError("QEMU ended"),
                      events.BrokenOracle("ledger: empty")):
            with tempfile.TemporaryDirectory() as directory, \
                    contextlib.redirect_stdout(io.StringIO()), \
                    mock.patch.object(forgetful.Forgetful, "play", side_effect=error):
                config = SimpleNamespace(shm=directory, forgets="/forgets.ko", backend="")
                found = failures.play("forgetful: ", config, Path(directory, "results"),
                                      failures.play_forgetful, forgetful.Forgetful)
            self.assertEqual([(one.name, one.state) for one in found],
                             [("forgetful: the end", ktap.FAILED)])
            self.assertIn(str(error), found[0].reason)


class Guests(unittest.TestCase):
    """The control of the scenario guests."""

    def reasons(self, lost, different, wrong=()):
        """Reasons for two devices, whose windows are pages 1 to 4, and 5 to 8."""
        leg = guests.Control("control", SimpleNamespace(), Path("/d"))
        leg.here = [mock.MagicMock(type=name) for name in ("a", "b")]
        windows = dict(zip("ab", ({1, 2, 3, 4}, {5, 6, 7, 8})))
        seen = [SimpleNamespace(seen=set(lost) & windows[name]) for name in "ab"]
        with contextlib.redirect_stdout(io.StringIO()), mock.patch.multiple(
                guests.proof, parse_ledger=mock.Mock(), set_oracle=mock.Mock(),
                lost_pages=sorted), mock.patch.multiple(
                    leg, compare=lambda: ({"different": [{"page": one} for one in different]},
                                          [list(wrong), []]),
                    window=lambda one: windows[one.type],
                    watch=lambda: setattr(leg, "watched", (seen, ()))):
            leg.found()
        return leg.reasons

    def test_caught(self):
        """Both oracles find it, for each device."""
        self.assertEqual(self.reasons({1, 2, 5, 6}, {1, 2, 5, 99}), [])

    def test_blind(self):
        """For one device, by one oracle."""
        self.assertEqual(self.reasons({1, 5}, {1}),
                         ["b: the comparison of RAM found no lost page"])
        self.assertEqual(self.reasons({5}, {1, 5}), ["a: the ledger's oracle found no lost page",
                                                     "a: 1 pages differ that are not lost"])
        self.assertRegex(self.reasons({1, 5}, {1, 5}, ["x"])[0], "a: wrong before the move: x")


if __name__ == "__main__":
    unittest.main()
