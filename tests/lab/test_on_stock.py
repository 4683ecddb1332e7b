#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""A test counts as failing on stock only if it fails because of the weakness that it shows."""

import sys
import unittest
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "scripts/lab.d"), str(ROOT / "tests/scenarios")]

# pylint: disable=wrong-import-position
import selftests
from base import ktap
from judge import on_stock

NAME = "R2_descriptors_are_reported"
OTHER = "R2_unpinned_page_is_retained"
WORDS = f"# ring.c:9: dirty_all(): {on_stock.TESTS[NAME].says}"


class Mark(unittest.TestCase):
    """The KTAP of a test after marking."""

    def state(self, *said, name=NAME, word="not ok", findings=(), stock=True, rest="",
              release="6.12.118+deb13-amd64"):
        """(state, reason) of the test."""
        text = "\n".join(["KTAP version 1", "1..1", *said, f"{word} 1 {name}{rest}", ""])
        result, = ktap.parse(selftests.mark(text, findings, release if stock else None), "program")
        return result.state, result.reason

    def test_as_expected(self):
        self.assertEqual(self.state(WORDS), (ktap.PASSED, "XFAIL W11"))

    def test_more_fails_afterwards(self):
        self.assertEqual(self.state(WORDS, "# ring.c:11: 1 == 2")[0], ktap.PASSED)

    def test_passes(self):
        state, reason = self.state(word="ok")
        self.assertEqual(state, ktap.FAILED)
        self.assertIn("passes on stock in spite of W11", reason)

    def test_something_else_fails_first(self):
        state, reason = self.state("# ring.c:8: 1 == 2", WORDS)
        self.assertEqual(state, ktap.FAILED)
        self.assertIn("fails on stock, but not by", reason)

    def test_nothing_is_said(self):
        self.assertEqual(self.state()[0], ktap.FAILED)

    def test_words_of_another_test(self):
        text = "\n".join(["KTAP version 1", "1..2", WORDS, f"ok 1 {OTHER}", f"not ok 2 {NAME}", ""])
        states = [result.state for result in
                  ktap.parse(selftests.mark(text, (), "7.3.4"), "program")]
        self.assertEqual(states, [ktap.PASSED, ktap.FAILED])

    def test_the_kernel_complains(self):
        self.assertEqual(self.state(WORDS, findings=[(NAME, "WARNING: x")])[0], ktap.FAILED)

    def test_not_on_stock(self):
        self.assertEqual(self.state(WORDS, stock=False)[0], ktap.FAILED)
        self.assertEqual(self.state(word="ok", stock=False)[0], ktap.PASSED)

    def test_of_no_weakness(self):
        self.assertEqual(self.state(WORDS, name=OTHER)[0], ktap.FAILED)
        self.assertEqual(self.state(word="ok", name=OTHER)[0], ktap.PASSED)

    def test_later_kernel(self):
        """What a later kernel does right must pass there, and what fails otherwise must do so."""
        name = "R8_unmap_all_has_the_last_page"
        words = f"# range.c:9: {on_stock.TESTS[name].says}"
        for release, passes in (("6.12.118+deb13-amd64", False), ("6.13.0", False),
                                ("7.2.9", False), ("7.3.4+deb13-amd64", True), ("10.0", True)):
            for word in ("ok", "not ok"):
                with self.subTest(release=release, word=word):
                    good = passes if word == "ok" else not passes
                    self.assertEqual(self.state(words, name=name, word=word, release=release)[0],
                                     ktap.PASSED if good else ktap.FAILED)
        name = "R8_last_page_of_the_space"
        words = f"# range.c:9: {on_stock.TESTS[name].says}"
        self.assertEqual(self.state(words, name=name)[0], ktap.PASSED)
        self.assertEqual(self.state(words, name=name, release="7.3.4")[0], ktap.FAILED)
        self.assertEqual(self.state('# range.c:9: want "0-63", seen "0"', name=name,
                                    release="7.3.4"), (ktap.PASSED, "XFAIL W15"))
        name = "R14_reserved_frames_and_a_failed_attach"
        self.assertEqual(self.state(word="ok", name=name)[0], ktap.PASSED)
        self.assertEqual(self.state(word="ok", name=name, release="7.3.4")[0], ktap.FAILED)

    def test_no_chance(self):
        """A test that says so has not passed, unless something else is wrong."""
        said = "# no chance: the move took longer than the hold"
        self.assertEqual(self.state(said, word="ok", stock=False), (ktap.SKIPPED, said[2:]))
        self.assertEqual(self.state(said, stock=False)[0], ktap.FAILED)
        self.assertEqual(self.state(said, word="ok", stock=False, findings=[(NAME, "BUG: x")]),
                         (ktap.FAILED, f"{said[2:]}\nkernel: BUG: x"))
        self.assertEqual(self.state(said, word="ok")[0], ktap.FAILED)
        self.assertEqual(self.state(said, word="ok", name=OTHER)[0], ktap.PASSED)

    def test_skipped(self):
        self.assertEqual(self.state(word="ok", rest=" # SKIP no such thing")[0], ktap.SKIPPED)


if __name__ == "__main__":
    unittest.main()
