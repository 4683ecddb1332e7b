#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""Tools for style that look at many files at once: whose fault is what they say?"""

import sys
import tempfile
import unittest
from pathlib import Path
from unittest import mock

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "scripts/lab.d"))

# pylint: disable=wrong-import-position
from base import ktap
from check import lint
from make import paths

# In place of checkpatch: it says "LINE: TEXT" of each line that has "bad", and ends with 1 then.
TOOL = r'''
my $code = 0;
for my $file (grep { -f } @ARGV) {
    open(my $in, "<", $file) or die;
    while (<$in>) { if (/bad/) { print "$file:$.: $_"; $code = 1; } }
}
exit $code;
'''


class OfEach(unittest.TestCase):
    """A result for each file."""

    def states(self, *found, code=0, said=""):
        """File -> whether it is good."""
        results = lint.of_each("tool", found, code, said)
        self.assertEqual([result.name for result in results], [f"tool {path}" for path in found])
        return [(result.state == ktap.PASSED, result.reason) for result in results]

    def test_good(self):
        self.assertEqual(self.states("a.c", "b.c"), [(True, "")] * 2)

    def test_named(self):
        """Only the files that are named are bad, each with what was said of it."""
        said = "b.c:1: one\nc.c:2: two\nb.c:3: three"
        self.assertEqual(self.states("a.c", "b.c", "c.c", code=1, said=said), [
            (True, ""), (False, "b.c:1: one\nb.c:3: three"), (False, "c.c:2: two")])
        # By what it says alone, or by its exit code alone.
        self.assertEqual(self.states("a.c", "b.c", said="a.c:1: x"),
                         [(False, "a.c:1: x"), (True, "")])
        self.assertEqual(self.states("a.c", "b.c", code=2), [(False, "exit code 2")] * 2)

    def test_not_named(self):
        """If it says what is of no file, it may have ended before it saw them all."""
        said = "a.c:1: x\nCan't locate strict.pm"
        self.assertEqual(self.states("a.c", "b.c", code=2, said=said), [(False, said)] * 2)
        self.assertEqual(self.states("a.c", said="aa.c:1: x"), [(False, "aa.c:1: x")])
        self.assertEqual(self.states("a.c", "b.c", code=-9, said="a.c:1: x"),
                         [(False, "a.c:1: x")] * 2)

    def test_count(self):
        """How many errors there are is said of no file."""
        said = "b.c:1: error: x\n1 errors"
        self.assertEqual(self.states("a.c", "b.c", code=1, said=said),
                         [(True, ""), (False, "b.c:1: error: x")])
        self.assertEqual(self.states("a.c", code=1, said="1 errors"), [(False, "1 errors")])


class Run(unittest.TestCase):
    """The run, on a tree of a few files."""

    def setUp(self):
        self.tree = Path(self.enterContext(tempfile.TemporaryDirectory()))
        tools = self.tree / "kernel/scripts"
        tools.mkdir(parents=True)
        for name in ("checkpatch.pl", "kernel-doc"):
            (tools / name).write_text(TOOL)
        for patch in (mock.patch.object(paths, "REPO", self.tree),
                      mock.patch.object(paths, "KERNEL_SOURCE", self.tree / "kernel"),
                      mock.patch.object(lint.packages, "ensure"),
                      mock.patch.object(lint, "pylint", lambda path: []),
                      mock.patch.object(lint, "errno_table", lambda path: [])):
            self.enterContext(patch)

    def test_run(self):
        """Each file gets the result of each tool, by however many calls."""
        names = ["drivers/vfio/a.c", "drivers/vfio/b.c", "drivers/vfio/c.h", "tests/shim/d.h",
                 "tests/e.c"]
        for name in names:
            (self.tree / name).parent.mkdir(parents=True, exist_ok=True)
            (self.tree / name).write_text(f"/* {lint.LICENCE} */\n"
                                          + "bad\n" * name.endswith(("b.c", "e.c")))
        results = {one.name: one.state for one in lint.run()}
        wanted = {f"{tool} {name}": ktap.FAILED if name.endswith(("b.c", "e.c"))
                  and tool != "house" else ktap.PASSED
                  for tool in ("house", "checkpatch", "kernel-doc") for name in names
                  if tool != "kernel-doc" or name.startswith("drivers")}
        self.assertEqual(results, wanted)

    def test_parts(self):
        """No file is left out."""
        for count in (1, lint.WORKERS, 3 * lint.WORKERS + 1):
            parts = lint.in_parts(list(range(count)))
            self.assertEqual(sorted(sum(parts, [])), list(range(count)))
            self.assertEqual(len(parts), min(count, lint.WORKERS))


if __name__ == "__main__":
    unittest.main()
