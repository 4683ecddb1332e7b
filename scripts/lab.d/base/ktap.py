# SPDX-License-Identifier: GPL-2.0-only
"""KTAP version 1: parses what tests print, and prints our own results.

Only leaves are results: a line "ok" that sums up the lines nested before it (two spaces, or "# "
as the kselftest runner does) is not counted again. A promise that the text does not keep (a plan,
an end) is a failure of its own, and so are results without a plan: who knows what is missing?
"""

import re
from dataclasses import dataclass

PASSED, FAILED, SKIPPED = "passed", "failed", "skipped"
# How the reason begins of a test that failed as expected, and so passes.
EXPECTED = "XFAIL "

RESULT = re.compile(r"(?P<indent>(?:  |# )*)(?P<bad>not )?ok\b *\d*(?: -)? ?(?P<rest>.*)")
PLAN = re.compile(r"(?P<indent>(?:  |# )*)1\.\.(?P<count>\d+)(?P<rest>.*)")
VERSION = re.compile(r"(?P<indent>(?:  |# )*)K?TAP version \d+$")
BAIL = re.compile(r"(?:  |# )*Bail out!(?P<rest>.*)")


@dataclass
class Result:
    """One leaf: the test's name, how it ended, and why.

    The reason is what its line says or, if the test failed without a reason, the notes ("# ...")
    before that line. A failed one may also have who is to blame (blame.py) and the path of the
    evidence.
    """
    name: str
    state: str
    reason: str = ""
    blame: str = ""
    evidence: object = None


class _Level:
    """Results at one depth of nesting, until the line that sums them up."""

    def __init__(self):
        self.plan = None
        self.count = 0
        self.failed = False


class Parser:
    """Turns a KTAP text into leaves."""

    def __init__(self, title):
        self.title = title
        self.results = []
        self.levels = [_Level()]
        self.notes = []         # since the last result

    def _add(self, name, state, reason=""):
        self.results.append(Result(name or self.title, state, reason.strip()))

    def _close(self, depth):
        """End all levels deeper than depth; return the one right below it, if any."""
        child = None
        while len(self.levels) > depth + 1:
            child = self.levels.pop()
            self._check_plan(child)
        return child

    def _check_end(self):
        """The text ends, so all results of its top level must be there."""
        level = self.levels[0]
        if level.count and level.plan is None:
            self._add(f"{self.title}: plan", FAILED, "results, but no plan of how many there are")
        self._check_plan(level)

    def _check_plan(self, level):
        if level.plan is not None and level.count != level.plan:
            level.failed = True
            self._add(f"{self.title}: plan", FAILED,
                      f"{level.plan} results promised, {level.count} given")

    def _deepen(self, depth):
        while len(self.levels) <= depth:
            self.levels.append(_Level())

    def line(self, text):
        """Parse one line."""
        found = BAIL.match(text)
        if found:
            self._add(f"{self.title}: bail out", FAILED, found["rest"])
            return
        found = VERSION.match(text)
        if found:
            self._version(len(found["indent"]) // 2)
            return
        found = PLAN.match(text)
        if found:
            self._plan(len(found["indent"]) // 2, int(found["count"]), found["rest"])
            return
        found = RESULT.match(text)
        if found:
            self._result(len(found["indent"]) // 2, found)
            self.notes = []
        elif text.lstrip().startswith("# "):
            self.notes.append(text.lstrip()[2:])

    def _version(self, depth):
        """A text begins; at the top level, another one begins where one program follows
        another."""
        self._close(depth)
        if depth == 0 and (self.levels[0].count or self.levels[0].plan):
            self._check_end()
            self.levels = [_Level()]

    def _plan(self, depth, count, rest):
        self._close(depth)
        self._deepen(depth)
        self.levels[depth].plan = count
        skip = re.match(r"\s*#\s*SKIP\b(.*)", rest, re.IGNORECASE)
        if count == 0 and skip:
            self._add(self.title, SKIPPED, skip[1])

    def _result(self, depth, found):
        child = self._close(depth)
        self._deepen(depth)
        level = self.levels[depth]
        level.count += 1
        name, _, directive = found["rest"].partition(" # ")
        if found["rest"].startswith("# "):
            name, directive = "", found["rest"][2:]
        word, _, reason = directive.partition(" ")
        bad = bool(found["bad"]) and word.upper() not in ("TODO", "XFAIL")
        level.failed |= bad
        if child is not None and child.count:
            if bad and not child.failed:
                self._add(name, FAILED, "failed although all of its parts passed")
            return
        if word.upper() == "SKIP" and not bad:
            self._add(name, SKIPPED, reason)
        else:
            self._add(name, FAILED if bad else PASSED,
                      directive or ("\n".join(self.notes) if bad else ""))

    def end(self):
        """All results of the text."""
        self._close(0)
        self._check_end()
        if not self.results:
            self._add(self.title, FAILED, "no result at all")
        return self.results


def parse(text, title):
    """The leaves of a KTAP text; title names what has no name of its own."""
    parser = Parser(title)
    for line in text.splitlines():
        parser.line(line.rstrip())
    return parser.end()


def render(results):
    """Results as a KTAP text."""
    lines = ["KTAP version 1", f"1..{len(results)}"]
    for number, result in enumerate(results, 1):
        expected = result.state == PASSED and result.reason.startswith(EXPECTED)
        word = "not ok" if result.state == FAILED or expected else "ok"
        name = result.name.replace("#", "")
        directive = f" # SKIP {result.reason}" if result.state == SKIPPED else ""
        directive += f" # {result.reason}" if expected else ""
        if result.state == FAILED:
            lines += [f"# {line}" for line in result.reason.splitlines()]
        lines.append(f"{word} {number} {name}{directive}")
    return "\n".join(lines) + "\n"


def bail_out(*reasons):
    """The lines of a KTAP that fail a program as a whole."""
    return "".join(f"Bail out! {reason}\n" for reason in reasons)


def of_exit_code(code, text):
    """What is wrong with the exit code of a program: nothing if its KTAP says that a test failed,
    or that none was chosen."""
    if code < 0:
        return bail_out(f"signal {-code}")
    if code and not re.search(r"(?m)^(not ok |Bail out!|1\.\.0$)", text):
        return bail_out(f"exit code {code}, and nothing failed")
    return ""


def counts(results):
    """(passed, failed, skipped)"""
    states = [result.state for result in results]
    return tuple(states.count(state) for state in (PASSED, FAILED, SKIPPED))


def leave(results, directory, name):
    """Write NAME.ktap and print how many results there are, at the end of a scenario. Returns its
    exit code."""
    (directory / f"{name}.ktap").write_text(render(results))
    passed, failed, skipped = counts(results)
    print(f"{name}: {passed} passed, {failed} failed, {skipped} skipped", flush=True)
    return 1 if failed or not passed else 0
