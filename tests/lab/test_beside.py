#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""Parts of a check, two at a time, each in a process of its own."""

import functools
import sys
import tempfile
import threading
import time
import unittest
from pathlib import Path
from unittest import mock

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "scripts/lab.d"))

# pylint: disable=wrong-import-position
from base import ktap, process, say
from base.side_by_side import Job
from check import beside, blame, check, lint
from make import paths, ready

RESULTS = [ktap.Result("a", ktap.PASSED),
           ktap.Result("b", ktap.FAILED, "why", blame.KERNEL, Path("/evidence"))]


class Beside(unittest.TestCase):
    """beside.py"""

    def setUp(self):
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        for patch in (mock.patch.object(paths, "CHECK", Path(directory.name)),
                      mock.patch.object(say, "info"),
                      mock.patch.object(process, "run", self.process)):
            patch.start()
            self.addCleanup(patch.stop)
        self.lock = threading.Lock()
        self.running, self.most, self.begun, self.ended = set(), 0, [], []
        # Part -> others that must have begun before it ends.
        self.until = {}
        self.two = threading.Event()

    def process(self, argv, _log, what, **_more):
        """In place of the process of a part."""
        name = argv[-1]
        with self.lock:
            self.running.add(name)
            self.begun.append(name)
            self.most = max(self.most, len(self.running))
            if len(self.running) == 2:
                self.two.set()
        self.two.wait(10)
        # If a third one may run, it begins now.
        time.sleep(0.2)
        end = time.monotonic() + 10
        while not self.until.get(name, set()) <= set(self.begun) and time.monotonic() < end:
            time.sleep(0.02)
        with self.lock:
            self.running.remove(name)
            self.ended.append(name)
        if name != "lost":
            beside.save(argv[argv.index("--results") + 1], RESULTS)
        if name != "good":
            raise say.LabError(f"{what} failed (exit 1)")

    def test_two_at_a_time(self):
        """All parts run, not more than two at a time, and come back in the order of the names."""
        names = ["migrate", "good", "driver", "selftests"]
        took = {}
        found = beside.run(names, took)
        self.assertEqual(list(found), names)
        self.assertGreater(min(took[name] for name in names), 0)
        self.assertEqual(self.most, 2)
        for results in found.values():
            self.assertEqual(results, RESULTS)

    def test_after(self):
        """What judges other parts waits for these, and for nothing else."""
        self.until["python"] = {"rules", "pages"}
        beside.run(["pages", "rules", "unit", "selftests", "deadly", "python", "migrate"], {})
        for late, early in (("rules", "unit"), ("rules", "selftests"), ("rules", "deadly"),
                            ("pages", "migrate")):
            self.assertLess(self.begun.index(early), self.begun.index(late))
        self.assertIn("python", self.ended[-2:])

    def test_beside_the_image(self):
        """While the image is made, parts run that do not wait for it."""
        self.until["selftests"] = {"lint"}
        beside.run([*check.PARTS], {})
        self.assertEqual(set(self.begun[:2]), {"selftests", "python"})
        self.assertEqual(self.begun[2], "lint")
        made = []
        tree = {name: Job(functools.partial(made.append, name)) for name in ready.TREE}
        with mock.patch.object(ready, "TREE", tree), mock.patch.object(lint, "run"):
            check.style()
        self.assertEqual(made, ["source"])

    def test_lost(self):
        """A part that leaves no results has failed, and the lab is to blame."""
        result, = beside.run(["lost", "good"], {})["lost"]
        self.assertEqual((result.state, result.blame), (ktap.FAILED, blame.LAB))
        self.assertIn("part lost failed", result.reason)

    def test_memory(self):
        """A machine without memory for two labs runs one part after the other."""
        for gib, expected in ((13.9, False), (14, True)):
            with mock.patch.object(beside.vm, "available", return_value=gib):
                self.assertEqual(beside.possible(["a", "b"]), expected)
                self.assertFalse(beside.possible(["a"]))

    def test_names(self):
        """The parts that this module names exist."""
        after = [name for names in beside.AFTER.values() for name in names]
        self.assertLessEqual({*beside.FIRST, *beside.AFTER, *after}, set(check.PARTS))


if __name__ == "__main__":
    unittest.main()
