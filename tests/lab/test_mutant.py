# SPDX-License-Identifier: GPL-2.0-only
"""A mutant changes the place that it means, or nothing."""

import sys
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "scripts/lab.d"))

# pylint: disable=wrong-import-position
from base import say
from make import mutant

PATCH = """\
R3, D8: records outside of the range go,
 too
Test: R3_D8_get, unit
--- a/one.c
+++ b/one.c
@@ -7,3 +7,2 @@ somewhere
 {

-\tlast = 1;
@@ -90 +90,2 @@
-\treturn last;
+\tlast++;
+\treturn last;
--- a/two.c
+++ b/two.c
@@ -1 +1 @@
-x
+y
"""
ONE = b"f()\n{\n\n\tlast = 1;\n\tfirst = 2;\n\treturn last;\n}\n"


class Parse(unittest.TestCase):
    """The header and the hunks."""

    def test_good(self):
        """Continued lines, a hunk without context, an empty context line."""
        one = mutant.parse(PATCH, "m")
        self.assertEqual((one.rules, one.breaks, one.tests),
                         (["R3", "D8"], "records outside of the range go, too",
                          ["R3_D8_get", "unit"]))
        self.assertEqual(one.hunks["one.c"],
                         [("{\n\n\tlast = 1;\n", "{\n\n"),
                          ("\treturn last;\n", "\tlast++;\n\treturn last;\n")])

    def test_no_test(self):
        """Then the tests are those of the rule."""
        self.assertEqual(mutant.parse(PATCH.replace("Test: R3_D8_get, unit\n", ""), "m").tests, [])

    def test_device(self):
        """A mutant of the device breaks no numbered rule."""
        self.assertEqual(mutant.parse(PATCH.replace("R3, D8", "The device"), "m").rules,
                         ["The device"])

    def test_bad(self):
        """A broken patch is refused."""
        for change in (("R3, D8: ", ""), ("R3, D8", "R3 D8"), ("R3", "X3"), ("-7,3", "-7,9"),
                       ("+++ b/one.c\n", "+++ b/one.c\nnonsense\n"),
                       (PATCH[PATCH.index("---"):], "")):
            with self.subTest(change=change), self.assertRaises(say.LabError):
                mutant.parse(PATCH.replace(*change), "m")


class Apply(unittest.TestCase):
    """A hunk applies where its old lines are, wherever that is."""

    def setUp(self):
        self.mutant = mutant.parse(PATCH, "m")

    def test_good(self):
        """Also at the beginning of a file; files that do not change are not returned."""
        self.assertEqual(self.mutant.apply({"one.c": ONE, "two.c": b"x\n", "three.c": b"x\n"}),
                         {"one.c": b"f()\n{\n\n\tfirst = 2;\n\tlast++;\n\treturn last;\n}\n",
                          "two.c": b"y\n"})

    def test_not_there(self):
        """The lines have changed, are there twice, or are parts of longer ones; or the file is
        gone."""
        for files in ({"one.c": ONE.replace(b"last = 1", b"last = 3"), "two.c": b"x\n"},
                      {"one.c": ONE + ONE, "two.c": b"x\n"},
                      {"one.c": ONE, "two.c": b"xx\nax\nx b\n"}, {"one.c": ONE}):
            with self.subTest(files=files), self.assertRaises(say.LabError):
                self.mutant.apply(files)


if __name__ == "__main__":
    unittest.main()
