# SPDX-License-Identifier: GPL-2.0-only
"""The results of a check as JUnit XML, for a CI: JUNIT= in the environment names the file.

A part is a testsuite. A failure has whose fault it is as its type, and in its text the reason and
where the evidence is. The file is there from the beginning, and says until the end that there is no
verdict: a CI that ends a check does not take the file of a former one for its results.
"""

import os
import re
import time
import xml.etree.ElementTree as xml
from pathlib import Path

from base import files, ktap, say
from check import blame
from make import paths, place

# What XML can't contain.
FORBIDDEN = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
NO_VERDICT = "the check has not ended, or was stopped"


def text(words):
    """A text as XML can have it."""
    return FORBIDDEN.sub("?", str(words))


def _seconds(number):
    return f"{number:.3f}"


def _why(case, part, result):
    """Add to a test case how it ended, unless it passed."""
    first = (result.reason.splitlines() or ["no reason given"])[0]
    if result.state == ktap.SKIPPED:
        xml.SubElement(case, "skipped", message=text(first))
    elif result.state == ktap.FAILED:
        who = blame.of_result(part, result)
        where = result.evidence or paths.CHECK / f"{part}.ktap"
        failure = xml.SubElement(case, "failure", message=text(first), type=text(who))
        failure.text = text(f"{result.reason or first}\npart {part}: {who}; "
                            f"evidence: {files.short(where)}\n")


def _counts(results):
    _, failed, skipped = ktap.counts(results)
    return {"tests": str(len(results)), "failures": str(failed), "errors": "0"}, skipped


def _suite(part, results, seconds, begin):
    """The testsuite of a part. Readers keep one of several test cases of the same name, so a name
    that comes again gets a number."""
    counts, skipped = _counts(results)
    suite = xml.Element("testsuite", name=text(part), **counts, skipped=str(skipped),
                        time=_seconds(seconds), timestamp=begin)
    seen = {}
    for result in results:
        name = seen[result.name] = seen.get(result.name, 0) + 1
        name = result.name if name == 1 else f"{result.name} ({name})"
        _why(xml.SubElement(suite, "testcase", classname=text(f"mdma.{part}"), name=text(name)),
             part, result)
    return suite


def render(by_part, took, seconds, begin):
    """The whole file, as bytes.

    @by_part: name of a part -> its results
    @took:    name of a part -> its seconds
    @seconds: of the check; parts may have run side by side
    @begin:   when it began, in ISO 8601
    """
    counts, _ = _counts([one for results in by_part.values() for one in results])
    root = xml.Element("testsuites", name="mdma", **counts, time=_seconds(seconds))
    for part, results in by_part.items():
        root.append(_suite(part, results, took.get(part, 0), begin))
    xml.indent(root)
    return xml.tostring(root, encoding="utf-8", xml_declaration=True) + b"\n"


class Report:
    """The file of one check. Made before anything runs, which refuses a path that can't be
    written."""

    def __init__(self, path):
        # Of a link, the file is replaced.
        self.path = Path(path).resolve()
        if self.path.exists() and not self.path.is_file():
            raise say.UsageError(f"JUNIT={path} is no file: choose another place with JUNIT=")
        self.clock = time.monotonic()
        self.begin = time.strftime("%Y-%m-%dT%H:%M:%S+00:00", time.gmtime())
        waiting = ktap.Result("verdict", ktap.FAILED, NO_VERDICT, blame.LAB, paths.CHECK)
        try:
            place.check(self.path.parent)
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self.write({"check": [waiting]}, {})
        except (OSError, say.LabError) as error:
            why = error.strerror if isinstance(error, OSError) else str(error)
            raise say.UsageError(f"JUNIT={path} can't be written: {why}") from error

    def write(self, by_part, took):
        """Put these results there; see render()."""
        with files.whole(self.path) as temporary:
            temporary.write_bytes(render(by_part, took, time.monotonic() - self.clock,
                                         self.begin))


def wanted():
    """The Report that the environment asks for, or None. Tests that run a check of their own must
    not write to it."""
    path = os.environ.pop("JUNIT", None)
    return Report(path) if path else None
