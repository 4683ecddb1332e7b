#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""The results of a check as JUnit XML (JUNIT=)."""

import contextlib
import io
import os
import sys
import tempfile
import unittest
import xml.etree.ElementTree as xml
from pathlib import Path
from unittest import mock

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "scripts/lab.d"))

# pylint: disable=wrong-import-position
from base import ktap, say
from check import blame, check, junit
from make import paths

# Element -> its attributes that readers know, those that it must have, and its children: the schema
# of Jenkins (xunit-plugin, junit-10.xsd) and what GitLab reads, as far as both agree.
KNOWN = {
    "testsuites": ({"name", "tests", "failures", "errors", "time"}, {"tests"}, {"testsuite"}),
    "testsuite": ({"name", "tests", "failures", "errors", "skipped", "time", "timestamp"},
                  {"name", "tests", "failures", "errors", "time"}, {"testcase"}),
    "testcase": ({"name", "classname"}, {"name", "classname"}, {"failure", "skipped"}),
    "failure": ({"message", "type"}, {"message", "type"}, set()),
    "skipped": ({"message"}, {"message"}, set()),
}

RESULTS = {
    "unit": [ktap.Result("a", ktap.PASSED), ktap.Result("a", ktap.PASSED),
             ktap.Result("b <&\">", ktap.SKIPPED, "no device")],
    "migrate": [ktap.Result("c", ktap.FAILED, "3 pages\nare \x1b lost \ud800", "", "/evidence/x"),
                ktap.Result("d", ktap.FAILED, "", blame.KERNEL)],
}


def parsed(data):
    """The root of a file; its structure is as readers expect."""
    root = xml.fromstring(data)
    for element in root.iter():
        known, needed, children = KNOWN[element.tag]
        assert needed <= set(element.attrib) <= known, element.attrib
        assert {child.tag for child in element} <= children, element.tag
    return root


def rendered(results=None):
    """The root of what is made of results."""
    return parsed(junit.render(results or RESULTS, {"unit": 1.5, "migrate": 2}, 2.25,
                               "2026-01-02T03:04:05+00:00"))


class Render(unittest.TestCase):
    """What is in the file."""

    def test_suites(self):
        """One for each part, with its time and its counts."""
        suites = [dict(suite.attrib) for suite in rendered()]
        when = {"errors": "0", "timestamp": "2026-01-02T03:04:05+00:00"}
        self.assertEqual(suites, [
            {"name": "unit", "tests": "3", "failures": "0", "skipped": "1", "time": "1.500",
             **when},
            {"name": "migrate", "tests": "2", "failures": "2", "skipped": "0", "time": "2.000",
             **when}])

    def test_sum(self):
        """The time of the check is its own: parts may have run side by side."""
        self.assertEqual(rendered().attrib, {"name": "mdma", "tests": "5", "failures": "2",
                                             "errors": "0", "time": "2.250"})

    def test_names(self):
        """No two test cases of a suite have the same."""
        cases = [(case.get("classname"), case.get("name")) for case in rendered()[0]]
        self.assertEqual(cases, [("mdma.unit", "a"), ("mdma.unit", "a (2)"),
                                 ("mdma.unit", "b <&\">")])

    def test_failure(self):
        """Says why, whose fault it is and where the evidence is; what XML can't have is gone."""
        first, second = rendered().iter("failure")
        self.assertEqual(dict(first.attrib), {"message": "3 pages", "type": blame.PRODUCT})
        self.assertEqual(first.text, "3 pages\nare ? lost ?\npart migrate: the product; "
                         "evidence: /evidence/x\n")
        self.assertEqual(second.get("type"), blame.KERNEL)
        self.assertIn("migrate.ktap", second.text)

    def test_skipped(self):
        """Says why."""
        self.assertEqual([one.get("message") for one in rendered().iter("skipped")],
                         ["no device"])


class File(unittest.TestCase):
    """When it is written."""

    def setUp(self):
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.home = Path(directory.name)
        self.path = self.home / "new/junit.xml"
        for patch in (mock.patch.object(paths, "CHECK", self.home),
                      mock.patch.object(say, "info"),
                      mock.patch.dict(os.environ, JUNIT=str(self.path))):
            patch.start()
            self.addCleanup(patch.stop)

    def test_first(self):
        """Before anything has run, it says that there is no verdict. Tests do not see JUNIT=."""
        self.assertIsNotNone(junit.wanted())
        self.assertNotIn("JUNIT", os.environ)
        failure, = parsed(self.path.read_bytes()).iter("failure")
        self.assertEqual(failure.get("message"), junit.NO_VERDICT)

    def test_not_asked_for(self):
        """Without JUNIT=, or with an empty one."""
        for words in ({}, {"JUNIT": ""}):
            with mock.patch.dict(os.environ, words, clear=True):
                self.assertIsNone(junit.wanted())

    def test_parts_that_fail(self):
        """It has all parts: one that passes, one that fails, one that breaks."""
        def broken():
            raise say.LabError("no disk")
        parts = {"good": lambda: [ktap.Result("a", ktap.PASSED)], "broken": broken,
                 "bad": lambda: [ktap.Result("b", ktap.FAILED, "why")]}
        with mock.patch.object(check, "parts_of_run", lambda short: parts), \
                contextlib.redirect_stdout(io.StringIO()):
            code = check.run(list(parts), short=True, report=junit.wanted())
        self.assertEqual(code, 1)
        root = parsed(self.path.read_bytes())
        self.assertEqual([suite.get("name") for suite in root], list(parts))
        self.assertEqual([one.get("message") for one in root.iter("failure")],
                         ["no disk", "why"])
        self.assertNotEqual(root[0].get("time"), "")
        self.assertEqual(list(self.path.parent.iterdir()), [self.path])

    def test_link(self):
        """A link stays, and what it names is written."""
        link = self.home / "link"
        link.symlink_to(self.path)
        with mock.patch.dict(os.environ, JUNIT=str(link)):
            self.assertIsNotNone(junit.wanted())
        self.assertTrue(link.is_symlink())
        parsed(self.path.read_bytes())

    def test_refused(self):
        """What can't be written is refused before anything runs; nothing of it is harmed."""
        (self.home / "file").touch()
        pipe, link = self.home / "pipe", self.home / "link"
        os.mkfifo(pipe)
        link.symlink_to(pipe)
        for path in ("/proc/junit.xml", str(pipe), str(link), str(self.home),
                     f"{self.home}/file/x.xml"):
            with self.subTest(path), mock.patch.dict(os.environ, JUNIT=path):
                with self.assertRaisesRegex(say.UsageError, "JUNIT=/"):
                    junit.wanted()
        self.assertTrue(link.is_symlink())
        self.assertTrue(pipe.is_fifo())

    def test_disk_full_at_the_end(self):
        """Then the check has failed."""
        report, parts = junit.wanted(), {"good": lambda: [ktap.Result("a", ktap.PASSED)]}
        with mock.patch.object(report, "write", side_effect=OSError(28, "No space left")), \
                mock.patch.object(check, "parts_of_run", lambda short: parts), \
                contextlib.redirect_stdout(io.StringIO()) as said:
            code = check.run(["good"], short=True, report=report)
        self.assertEqual(code, 1)
        self.assertIn("FAILED the file of JUNIT=", said.getvalue())


if __name__ == "__main__":
    unittest.main()
