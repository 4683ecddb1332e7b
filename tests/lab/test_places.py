# SPDX-License-Identifier: GPL-2.0-only
"""Changes by rule: where they are, what they are called, and which are drawn."""

import sys
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "scripts/lab.d"))

# pylint: disable=wrong-import-position
from base import say
from check import drawn
from make import mutant, paths, places

FILE = """\
#define LIMIT 7
static const int table[] = { 1, 2 };

/* if (a < b) in a comment */
static int one(struct thing *thing, u64 a)
{
	u64 b = 3;

	if (a < b && thing->name)
		pr_info("a < b");
	if (a == 4)
		return -EINVAL;
	for (; a; a--)
		thing->sum += a;
	mutex_lock(&thing->lock);
	change(thing,
	       a);
	mutex_unlock(&thing->lock);
	return 0;
}

static bool two(void)
{
	return true;
}
"""


def changed():
    """(function, rule, index) -> the lines that are new."""
    found = {}
    for change in places.changes(FILE):
        old, new = FILE.splitlines(), change.apply(FILE).splitlines()
        found[change.function, change.rule, change.index] = [
            line[1:].strip() for line in mutant.compared(old, new) if line[0] == "+"]
    return found


class Rules(unittest.TestCase):
    """Each rule changes what it is meant to change, and nothing else."""

    def test_all(self):
        """Nothing outside of functions, in comments, in texts; no call of the log."""
        lock = ["mutex_lock(&thing->lock);", "change(thing,", "a);", "mutex_unlock(&thing->lock);"]
        self.assertEqual(changed(), {
            ("one", "negate", 0): ["if (!(a < b && thing->name))"],
            ("one", "border", 0): ["if (a <= b && thing->name)"],
            ("one", "logic", 0): ["if (a < b || thing->name)"],
            ("one", "equal", 0): ["if (a != 4)"],
            ("one", "plus", 0): ["u64 b = 4;"],
            ("one", "minus", 0): ["u64 b = 2;"],
            ("one", "plus", 1): ["if (a == 5)"],
            ("one", "minus", 1): ["if (a == 3)"],
            ("one", "assign", 0): [";"],
            ("one", "call", 0): [";"],
            ("one", "lock", 0): [";", *lock[1:3], ";"],
            ("one", "return", 0): ["return 0;"],
            ("one", "return", 1): ["return -EINVAL;"],
            ("two", "return", 0): ["return false;"],
        })

    def test_names_are_stable(self):
        """Lines that come or go elsewhere change no name."""
        longer = "\n\n" + FILE.replace("two(void)\n{", "two(void)\n{\n\tpr_info(\"x\");\n")
        self.assertEqual([change[:3] for change in map(_name, places.changes(longer))],
                         [change[:3] for change in map(_name, places.changes(FILE))])


def _name(change):
    return change.function, change.rule, change.index


class Patches(unittest.TestCase):
    """A change becomes a patch as those of tests/mutants."""

    def test_product(self):
        """Of each file: the patch is read as it was written, changes what the rule changes, and has
        a name of its own."""
        names = set()
        for path, text in drawn.sources().items():
            for change in places.changes(text):
                one = mutant.by_rule(path, text, change, ["unit"])
                self.assertEqual(mutant.parse(mutant.written(one), one.name), one)
                self.assertEqual(one.apply({path: text.encode()}),
                                 {path: change.apply(text).encode()})
                names.add(one.name)
        self.assertEqual(len(names), sum(len(places.changes(text))
                                         for text in drawn.sources().values()))

    def test_lines_that_are_there_twice(self):
        """The patch has as many lines around as make it apply once."""
        text = "int f(void)\n{\n\tg();\n\tg();\n}\n\nint h(void)\n{\n\tg();\n\tg();\n}\n"
        for change in places.changes(text):
            one = mutant.by_rule("x.c", text, change, [])
            self.assertEqual(one.apply({"x.c": text.encode()})["x.c"].decode(), change.apply(text))


class Draw(unittest.TestCase):
    """Which mutants are drawn."""

    def test_seed(self):
        """Equal seeds give equal mutants, each file in turn."""
        def draw(seed):
            return drawn.draw(seed, ["drivers/vfio/"], lambda path: ["unit"])
        names = [one.name for one in draw("1")]
        self.assertEqual(names, [one.name for one in draw("1")])
        self.assertNotEqual(names, [one.name for one in draw("2")])
        files = [path for one in draw("1")[:5] for path in one.hunks]
        self.assertEqual(len(set(files)), 5)

    def test_without_tests(self):
        """A file whose mutants nothing could catch has none."""
        found = drawn.draw("1", ["drivers/vfio/"],
                           lambda path: ["unit"] if path.endswith("pin_leaf.c") else [])
        self.assertEqual({path for one in found for path in one.hunks},
                         {"drivers/vfio/pin_leaf.c"})


class Equivalent(unittest.TestCase):
    """The list of mutants that change nothing that could be seen."""

    def test_list(self):
        """Each entry is one of today's mutants; one whose line has changed has to be judged
        anew."""
        text = drawn.EQUIVALENT.read_text()
        left = dict(drawn.equivalents(text))
        for path, source in drawn.sources().items():
            if path in text:
                for _, what in drawn.of_file(path, source, []):
                    for key in (what, (*what[:2], "", *what[3:])):
                        left.pop(key, None)
        self.assertEqual(left, {})

    def test_matched_by_content(self):
        """Not by line; a changed line is not matched any more."""
        entry = "x.c f\n-\tif (a < b)\n+\tif (a <= b)\nthey are never equal\n"
        text = "int f(void)\n{\n\tif (a < b)\n\t\tg();\n}\n"
        listed = drawn.equivalents(f"# about the list\n\n{entry}")
        self.assertEqual(list(listed.values()), ["they are never equal"])
        for change, same in (("", True), ("\n\n", True)):
            self.assertEqual(any(drawn.listed(listed, what) for _, what
                                 in drawn.of_file("x.c", change + text, [])), same)
        self.assertFalse(any(drawn.listed(listed, what) for _, what in
                             drawn.of_file("x.c", text.replace("a <", "c <"), [])))

    def test_line_before(self):
        """Where equal changes are possible in one function, the line before tells which is
        meant."""
        text = "int f(void)\n{\n\tif (a)\n\t\treturn -E;\n\tif (b)\n\t\treturn -E;\n}\n"
        known = drawn.equivalents("x.c f\n \tif (b)\n-\t\treturn -E;\n+\t\treturn 0;\nwhy\n")
        found = [one.name for one, what in drawn.of_file("x.c", text, [])
                 if drawn.listed(known, what)]
        self.assertEqual(found, ["x.c-f-return-1"])

    def test_bad(self):
        """An entry needs a function, a change and a reason."""
        for text in ("x.c\n-a\n+b\nwhy\n", "x.c f\n+b\nwhy\n", "x.c f\n-a\n+b\n"):
            with self.subTest(text), self.assertRaises(say.LabError):
                drawn.equivalents(text)

    def test_file(self):
        """It is beside the patches, and is none."""
        self.assertEqual(drawn.EQUIVALENT.parent, paths.MUTANTS)
        self.assertNotIn("equivalent", mutant.names())


if __name__ == "__main__":
    unittest.main()
