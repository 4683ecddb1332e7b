# SPDX-License-Identifier: GPL-2.0-only
"""The KTAP reader counts leaves, once, and misses no failure."""

import sys
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "scripts/lab.d"))

# pylint: disable=wrong-import-position
from base import ktap


def counts(*lines):
    """(passed, failed, skipped) of a text."""
    return ktap.counts(ktap.parse("\n".join(lines), "text"))


class Flat(unittest.TestCase):
    """What kselftest_harness writes."""

    def test_counts(self):
        """Each kind of result."""
        self.assertEqual(counts("TAP version 13", "1..3", "ok 1 a.b", "not ok 2 a.c",
                                "ok 3 a.d # SKIP no device"), (1, 1, 1))

    def test_names_and_reasons(self):
        """Name and reason are kept apart."""
        leaf = ktap.parse("ok 1 - start.twice # SKIP no /dev/vfio\n1..1", "text")[0]
        self.assertEqual((leaf.name, leaf.state, leaf.reason),
                         ("start.twice", ktap.SKIPPED, "no /dev/vfio"))

    def test_why(self):
        """The reason is the notes before a line without one, but no older notes."""
        leaves = ktap.parse("1..4\n# old\nok 1 a\n# x.c:7: Expected\n# 1 == 2\nnot ok 2 b\n"
                            "not ok 3 c\n# note\nnot ok 4 d # XPASS e", "text")
        self.assertEqual([leaf.reason for leaf in leaves],
                         ["", "x.c:7: Expected\n1 == 2", "", "XPASS e"])
        self.assertEqual(ktap.parse(ktap.render(leaves[1:2]), "text"), leaves[1:2])

    def test_diagnostics_are_no_results(self):
        """Comments that contain the words are not counted."""
        self.assertEqual(counts("1..1", "# Starting 1 tests from 1 test cases.",
                                "#  RUN           a.b ...", "#            OK  a.b",
                                "ok 1 a.b", "# PASSED: 1 / 1 tests passed.",
                                "# Totals: pass:1 fail:0 xfail:0 xpass:0 skip:0 error:0"),
                         (1, 0, 0))

    def test_expected_failure(self):
        """XFAIL and TODO are not failures."""
        self.assertEqual(counts("1..2", "not ok 1 a # XFAIL known", "not ok 2 b # TODO x"),
                         (2, 0, 0))

    def test_failed_before_it_was_skipped(self):
        """A test that failed has failed, whatever it says then."""
        self.assertEqual(counts("1..1", "not ok 1 a # SKIP no device"), (0, 1, 0))

    def test_one_after_the_other(self):
        """Two programs in one text, each with its own plan."""
        self.assertEqual(counts("KTAP version 1", "1..2", "ok 1 a", "ok 2 b",
                                "KTAP version 1", "1..1", "ok 1 c"), (3, 0, 0))
        self.assertEqual(counts("KTAP version 1", "1..2", "ok 1 a",
                                "KTAP version 1", "1..1", "ok 1 c"), (2, 1, 0))
        self.assertEqual(counts("KTAP version 1", "1..2",
                                "KTAP version 1", "1..1", "ok 1 c"), (1, 1, 0))

    def test_words_that_begin_with_ok(self):
        """Only a whole word counts."""
        self.assertEqual(counts("1..1", "okay then", "ok 1 a"), (1, 0, 0))


class Broken(unittest.TestCase):
    """A text that does not keep its promises counts as failed."""

    def test_empty(self):
        """No result at all."""
        self.assertEqual(counts(""), (0, 1, 0))

    def test_too_few(self):
        """A test program that died halfway."""
        self.assertEqual(counts("1..3", "ok 1 a"), (1, 1, 0))

    def test_too_many(self):
        """More than promised is wrong as well."""
        self.assertEqual(counts("1..1", "ok 1 a", "ok 2 b"), (2, 1, 0))

    def test_no_plan(self):
        """A script died that counts its results at its end; also before another text."""
        self.assertEqual(counts("KTAP version 1", "ok 1 a"), (1, 1, 0))
        self.assertEqual(counts("KTAP version 1", "ok 1 a", "KTAP version 1", "1..1", "ok 1 b"),
                         (2, 1, 0))
        self.assertEqual(counts("KTAP version 1", "ok 1 a", "ok 2 b", "1..2"), (2, 0, 0))

    def test_no_plan_of_parts(self):
        """Parts need none: the line that sums them up says that they are complete."""
        self.assertEqual(counts("1..1", "# ok 1 a", "# ok 2 b", "ok 1 suite"), (2, 0, 0))

    def test_bail_out(self):
        """Bail out! is a failure."""
        self.assertEqual(counts("Bail out! no memory"), (0, 1, 0))

    def test_all_skipped(self):
        """An empty plan with a reason is a skip; without a reason, a failure."""
        self.assertEqual(counts("1..0 # SKIP no device"), (0, 0, 1))
        self.assertEqual(counts("1..0"), (0, 1, 0))


class Nested(unittest.TestCase):
    """A line that sums up others is not a result of its own."""

    def test_ktap(self):
        """Two spaces a level."""
        self.assertEqual(counts("KTAP version 1", "1..2", "  KTAP version 1", "  1..2",
                                "  ok 1 a", "  not ok 2 b", "not ok 1 suite", "ok 2 alone"),
                         (2, 1, 0))

    def test_kselftest_runner(self):
        """A hash and a space a level."""
        self.assertEqual(counts("TAP version 13", "1..1", "# TAP version 13", "# 1..2",
                                "# ok 1 a", "# ok 2 b", "ok 1 selftests: vfio: start"),
                         (2, 0, 0))

    def test_three_levels(self):
        """Sums of sums are not counted either."""
        self.assertEqual(counts("1..1", "  1..1", "    1..2", "    ok 1 a", "    ok 2 b",
                                "  ok 1 inner", "ok 1 outer"), (2, 0, 0))

    def test_sum_fails_alone(self):
        """All parts passed, but the whole did not: it crashed at its end, for example."""
        self.assertEqual(counts("1..1", "  1..1", "  ok 1 a", "not ok 1 suite"), (1, 1, 0))

    def test_inner_plan_broken(self):
        """A missing part is found, and reported once."""
        self.assertEqual(counts("1..1", "  1..2", "  ok 1 a", "not ok 1 suite"), (1, 1, 0))

    def test_inner_without_sum(self):
        """Parts without the line that sums them up."""
        self.assertEqual(counts("1..1", "  1..1", "  ok 1 a"), (1, 1, 0))


class Round(unittest.TestCase):
    """We can read what we write."""

    def test_round_trip(self):
        """render() and parse() agree."""
        leaves = [ktap.Result("a", ktap.PASSED), ktap.Result("b", ktap.FAILED, "one\ntwo"),
                  ktap.Result("c d", ktap.SKIPPED, "no device"),
                  ktap.Result("e", ktap.PASSED, "XFAIL W3: words")]
        again = ktap.parse(ktap.render(leaves), "text")
        self.assertEqual([(leaf.name, leaf.state, leaf.reason) for leaf in again],
                         [(leaf.name, leaf.state, leaf.reason) for leaf in leaves])


if __name__ == "__main__":
    unittest.main()
