# SPDX-License-Identifier: GPL-2.0-only
"""The table of the rules: for each rule, defect and weakness its tests, on ours and on stock.

The documentation lists them: the rules R in design.rst, the defects D and the weaknesses W in
testing.rst. A test's name says what it checks. A test that fails on the kernel's own type1 because
of a weakness also counts as a test of that weakness.
"""

import re
from dataclasses import asdict, dataclass, field

from base import ktap

# (file, heading of the section with the table).
WHAT = (("design.rst", "The rules"), ("testing.rst", "Defects"), ("testing.rst", "Weaknesses"))
UNSHOWN = ("testing.rst", "Not shown")

NAMED = re.compile(r"(?<![A-Za-z0-9])([RDW]\d{1,2})(?=[_:,]|$)")
ROW = re.compile(r"([RDW]\d{1,2}) +(\S.*)")


# --- what the documentation says --------------------------------------------


def section(text, heading):
    """The lines of a section of a reStructuredText, up to the next section."""
    lines = text.splitlines()
    found = None
    for at in range(len(lines) - 1):
        if re.fullmatch(r"([=~-])\1{2,}", lines[at + 1]) and lines[at].strip():
            if found is not None:
                return lines[found:at]
            if lines[at] == heading:
                found = at + 2
    return lines[found:] if found is not None else []


def rows(lines):
    """id -> text of the simple tables in these lines."""
    found, last = {}, None
    for line in lines:
        row = ROW.match(line)
        if row:
            last = row[1]
            found[last] = row[2].strip()
        elif last and line.startswith("   "):
            found[last] += " " + line.strip()
        else:
            last = None
    return found


def documented(directory):
    """(id -> what it is, id -> why it can't be shown), from the documentation there."""
    what = {}
    for name, heading in WHAT:
        what.update(rows(section((directory / name).read_text(), heading)))
    name, heading = UNSHOWN
    return what, rows(section((directory / name).read_text(), heading))


# --- what the tests did -----------------------------------------------------


def subjects(result):
    """The rules, defects and weaknesses that a result is about."""
    text = result.name
    if result.reason.startswith(ktap.EXPECTED):
        text += "," + result.reason[len(ktap.EXPECTED):]
    return NAMED.findall(text)


@dataclass
class Test:
    """One test by its name, and how it ended on each backend; None: it did not run."""
    name: str
    ours: str = None
    stock: str = None


@dataclass
class Row:
    """One line of the table."""
    id: str
    what: str
    tests: list = field(default_factory=list)
    unshown: str = None

    def ours(self):
        """"passed", or what prevents that."""
        states = [test.ours for test in self.tests]
        if ktap.FAILED in states:
            return ktap.FAILED
        return ktap.PASSED if ktap.PASSED in states else "no test"

    def stock(self):
        """How many tests fail on the kernel's own type1."""
        ran = [test.stock for test in self.tests if test.stock not in (None, ktap.SKIPPED)]
        failed = ran.count(ktap.FAILED)
        if not ran:
            return "not run"
        return f"fails {failed} of {len(ran)}" if failed else ktap.PASSED

    def wrong(self):
        """Why this line fails the check, or None."""
        shown = self.stock().startswith("fails") if self.id.startswith("W") \
            else self.ours() == ktap.PASSED
        if self.ours() == ktap.FAILED:
            return "a test fails"
        if self.unshown:
            return "shown, and the documentation says that it is not" if shown else None
        if self.ours() != ktap.PASSED:
            return "no test"
        if not shown:
            return f"{self.stock()} on the kernel's own type1, and the documentation says no reason"
        return None


def table(ours, stock, what, unshown):
    """All lines.

    @ours, @stock: results; unit tests are in @ours
    """
    tests, found = {}, {name: Row(name, text, unshown=unshown.get(name))
                        for name, text in what.items()}
    for side, results in (("ours", ours), ("stock", stock)):
        for result in results:
            test = tests.setdefault(result.name, Test(result.name))
            state = ktap.FAILED if result.reason.startswith(ktap.EXPECTED) else result.state
            if side == "stock" and result.state == ktap.FAILED:
                # Not as expected: this shows no weakness, and fails the check elsewhere.
                state = None
            setattr(test, side, state)
            for name in subjects(result):
                row = found.setdefault(name, Row(name, ""))
                if test not in row.tests:
                    row.tests.append(test)
    return list(found.values())


def verdicts(lines):
    """One result for each line of the table."""
    results = []
    for row in lines:
        wrong = row.wrong() if row.what else "no documentation says what it is"
        results.append(ktap.Result(f"rule {row.id}", ktap.FAILED if wrong else ktap.PASSED,
                                   wrong or ""))
    return results


# --- for people and programs ------------------------------------------------


def as_json(lines):
    """The table for programs."""
    return [{"id": row.id, "what": row.what, "ours": row.ours(), "stock": row.stock(),
             "not_shown": row.unshown, "tests": [asdict(test) for test in row.tests]}
            for row in lines]


def as_text(lines):
    """The table for people: a test's name is cut so that a line does not break."""
    text = []
    for row in lines:
        first = row.tests[0].name if row.tests else "-"
        more = f" and {len(row.tests) - 1} more" if len(row.tests) > 1 else ""
        text.append(f"{row.id:4} {row.ours():8} {row.stock():14} {first[:62 - len(more)]}{more}")
        if row.unshown:
            text.append(f"     not shown: {row.unshown}")
    head = f"{'':4} {'ours':8} {'stock':14} tests"
    return "\n".join([head, *text])
