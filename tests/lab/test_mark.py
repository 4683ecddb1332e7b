# SPDX-License-Identifier: GPL-2.0-only
"""Only what the lab has made is emptied or cleaned."""

import os
import re
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path
from unittest import mock

REPO = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(REPO / "scripts/lab.d"))

# pylint: disable=wrong-import-position
from base import process, say
from boot import job
from make import mark, paths, place, trouble


class Marks(unittest.TestCase):
    """A directory in which everything is."""

    def setUp(self):
        self.base = Path(self.enterContext(tempfile.TemporaryDirectory())).resolve()
        self.enterContext(mock.patch.object(paths, "OUT", self.base / "out"))
        self.enterContext(mock.patch.object(paths, "REPO", self.base / "clone"))

    def filled(self, name, *names):
        """A directory with these files."""
        for file in names:
            (self.base / name / file).parent.mkdir(parents=True, exist_ok=True)
            (self.base / name / file).write_text("somebody's\n")
        return self.base / name

    def refused(self, words, results):
        """A run is refused in one sentence, and nothing is removed or written."""
        before = sorted(self.base.rglob("*"))
        with self.assertRaisesRegex(say.LabError, words) as caught, job.results_directory(results):
            pass
        self.assertNotIn("\n", str(caught.exception))
        self.assertEqual(sorted(self.base.rglob("*")), before)

    def test_results(self):
        """Whatever is in them, if it is not ours."""
        self.refused(r"not empty, and not made by the lab: choose another one with --results, or "
                     r"if an older lab has made it, `touch '.*/my files/\.mdma-results'`$",
                     self.filled("my files", "job.json", "thesis.tex"))
        self.refused("OUT= is in it", Path("/"))
        (self.base / "link").symlink_to("my files")
        self.refused("not made by the lab", self.base / "link")

    def test_results_again(self):
        """Old results go; what a link points to stays."""
        outside, results = self.filled("outside", "kept"), self.base / "results"
        with job.results_directory(results):
            (results / "old").touch()
            (results / "link").symlink_to(outside)
        with job.results_directory(results):
            self.assertEqual(os.listdir(results), [mark.RESULTS])
        self.assertTrue((outside / "kept").exists())

    def test_results_of_before_the_mark(self):
        """Below OUT alone."""
        with job.results_directory(self.filled("out/run", "job.json", "status")):
            pass
        self.assertEqual(os.listdir(self.base / "out/run"), [mark.RESULTS])
        self.refused("not made by the lab", self.filled("out/lab", "trixie/root.img"))

    def test_cache(self):
        """What ci.rst says to cache, in an OUT that was just unpacked; and an empty disk."""
        self.filled("out", "lab/trixie/root.img", "lost+found/x")
        mark.put(paths.OUT, mark.OUT)
        (paths.OUT / mark.OUT).unlink()
        self.filled("out", "thesis.tex")
        with self.assertRaisesRegex(say.LabError, "not made by the lab"):
            mark.put(paths.OUT, mark.OUT)

    def test_results_around_out(self):
        """OUT is no result."""
        self.filled("out", mark.OUT, "image")
        self.filled("", mark.RESULTS)
        self.refused("OUT= is in it", self.base)
        self.filled("out", mark.RESULTS)
        self.refused("OUT= is in it", self.base / "out")

    def held(self, results=None):
        """The lab runs."""
        with place.held(results):
            pass

    def test_out(self):
        """Made, found empty, or marked before."""
        for _ in range(2):
            self.held(self.base / "results")
        self.assertEqual(os.listdir(paths.OUT), [mark.OUT])
        (paths.OUT / mark.OUT).unlink()
        self.held()
        self.assertTrue((paths.OUT / mark.OUT).exists())

    def test_out_of_somebody_else(self):
        """Nothing is put there; not even for results that are good."""
        self.filled("out", "build/precious")
        with self.assertRaisesRegex(say.LabError, "not made by the lab: .* with OUT="):
            self.held(self.base / "results")
        self.assertEqual(sorted(os.listdir(self.base)), ["out"])

    def test_results_are_looked_at_first(self):
        """Before the lab is built for them."""
        self.filled("results", "precious")
        with self.assertRaisesRegex(say.LabError, "with --results"):
            self.held(self.base / "results")

    def test_out_of_the_clone(self):
        """It is from before the mark, and gets one; not one that is elsewhere."""
        self.filled("clone/out", "lab/image")
        with mock.patch.object(paths, "OUT", self.base / "clone/out"):
            self.held()
        self.assertTrue((self.base / "clone/out" / mark.OUT).exists())
        self.filled("out", "lab/image")
        with self.assertRaises(say.LabError):
            self.held()


class Clean(unittest.TestCase):
    """make clean, from outside."""

    def setUp(self):
        self.base = Path(self.enterContext(tempfile.TemporaryDirectory()))

    def clean(self, out, *words, cwd=None):
        """Exit code, and what it says."""
        done = subprocess.run([sys.executable, "-B", REPO / "scripts/lab", "clean", *words],
                              env={**process.ENVIRONMENT, "OUT": str(out)}, text=True, check=False,
                              cwd=cwd, stdin=subprocess.DEVNULL, capture_output=True)
        return done.returncode, done.stderr

    def test_somebody_elses(self):
        """A home: it stays as it is."""
        home = self.base / "my home"
        (home / "build/precious").mkdir(parents=True)
        (self.base / "link").symlink_to(home)
        for words in ((), ("--all",)):
            for out, cwd in ((home, None), ("my home", self.base), (self.base / "link", None)):
                code, said = self.clean(out, *words, cwd=cwd)
                self.assertEqual((code, said.count("\n")), (1, 1), said)
                self.assertIn("not empty, and not made by the lab: choose another one with OUT=",
                              said)
        self.assertTrue((home / "build/precious").exists())

    def test_ours(self):
        """What the lab does not know stays, and with it the mark."""
        for name in ("run", "build", "lab", "notes"):
            (self.base / name).mkdir()
        (self.base / mark.OUT).touch()
        (self.base / trouble.LOG).touch()
        self.assertEqual(self.clean(self.base), (0, ""))
        self.assertEqual(set(os.listdir(self.base)), {"lab", "notes", mark.OUT})
        self.assertEqual(self.clean(self.base, "--all"), (0, ""))
        self.assertEqual(set(os.listdir(self.base)), {"notes", mark.OUT})
        (self.base / "notes").rmdir()
        self.assertEqual(self.clean(self.base, "--all"), (0, ""))
        self.assertFalse(self.base.exists())
        self.base.mkdir()

    def test_all_results(self):
        """Those of each target of the Makefile."""
        names = set(re.findall(r'--results "\$\$OUT/(\w+)"', (REPO / "Makefile").read_text()))
        self.assertGreater(len(names), 3)
        (self.base / mark.OUT).touch()
        for name in names:
            (self.base / name).mkdir()
        self.assertEqual(self.clean(self.base), (0, ""))
        self.assertEqual(os.listdir(self.base), [mark.OUT])


if __name__ == "__main__":
    unittest.main()
