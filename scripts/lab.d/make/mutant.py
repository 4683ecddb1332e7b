# SPDX-License-Identifier: GPL-2.0-only
"""Mutants: patches, each of which breaks the product in one place. Those of tests/mutants are made
by hand; others are made by rule (places.py), and kept in out/mutants/drawn.

A patch begins with what it breaks (rules, defects and weaknesses by number, or the device), and
with what must catch it: selftests by name or by the beginning of their name, all those of a program
("ledger.c"), "unit" or "build".

    R11, W6: the mappings go before the report has reached the user
    Test: R11_faulting_unmap_changes_nothing

A hunk applies where its old lines are, and they must be there exactly once. So a patch never
breaks another place than the one it means, and line numbers do not matter.
"""

import re
from dataclasses import dataclass
from pathlib import Path

from base import say
from make import paths

HUNK = re.compile(r"@@ -\d+(?:,(\d+))? \+\d+(?:,(\d+))? @@")
SUBJECTS = re.compile(r"((?:[RDW]\d{1,2}, )*[RDW]\d{1,2}|The device|The driver|By rule): (.*)")


@dataclass
class Mutant:
    """One patch.

    @rules:  which it breaks
    @breaks: in words
    @tests:  that must catch it; empty: those of the rules
    @hunks:  path -> list of (old text, new text)
    """
    name: str
    rules: list
    breaks: str
    tests: list
    hunks: dict

    @property
    def of_iommufd(self):
        """Whether its tests need an iommufd."""
        return bool(self.tests) and all(word.startswith("iommufd") for word in self.tests)

    def apply(self, files):
        """Apply the patch: path -> bytes of the tree in, path -> changed bytes out."""
        changed = {}
        for path, hunks in self.hunks.items():
            if path not in files:
                raise say.LabError(f"mutant {self.name}: no file {path}")
            text = files[path].decode()
            for old, new in hunks:
                times = _times(old, text)
                if times != 1:
                    first = old.strip().splitlines()[0].strip()
                    raise say.LabError(f"mutant {self.name}: {path} has '{first}' and what "
                                       f"follows {times} times, not once")
                text = text.replace(old, new, 1) if text.startswith(old) \
                    else text.replace("\n" + old, "\n" + new, 1)
            changed[path] = text.encode()
        return changed


def _header(lines, name):
    """(rules, breaks, tests) from the lines before the first file."""
    text = " ".join(line.strip() for line in lines)
    text, _, tests = text.partition("Test: ")
    found = SUBJECTS.fullmatch(text.strip())
    if not found:
        raise say.LabError(f"mutant {name}: begins with '{text[:60]}', not with what it breaks")
    return found[1].split(", "), found[2], re.findall(r"[^, ]+", tests)


def _hunk(lines, at, name):
    """(old, new, index after it) of the hunk whose head is at lines[at]."""
    sizes = [int(size or 1) for size in HUNK.match(lines[at]).groups()]
    begin, old, new = at, [], []
    while len(old) < sizes[0] or len(new) < sizes[1]:
        at += 1
        line = lines[at] if at < len(lines) else "end"
        if line[:1] not in (" ", "-", "+", ""):
            raise say.LabError(f"mutant {name}: hunk of line {begin + 1} is shorter than it says")
        if line[:1] != "+":
            old.append(line[1:] + "\n")
        if line[:1] != "-":
            new.append(line[1:] + "\n")
    return "".join(old), "".join(new), at + 1


def parse(text, name):
    """Parse a patch's text; LabError says what is wrong with it."""
    lines = text.splitlines()
    at = next((n for n, line in enumerate(lines) if line.startswith("--- a/")), len(lines))
    header, hunks, path = _header(lines[:at], name), {}, None
    while at < len(lines):
        if lines[at].startswith("+++ b/"):
            path = lines[at][6:]
        elif HUNK.match(lines[at]) and path:
            old, new, at = _hunk(lines, at, name)
            hunks.setdefault(path, []).append((old, new))
            continue
        elif not lines[at].startswith("--- a/"):
            raise say.LabError(f"mutant {name}: line {at + 1}: '{lines[at]}' is no part of a patch")
        at += 1
    if not hunks:
        raise say.LabError(f"mutant {name}: no change")
    return Mutant(name, *header, hunks)


def _times(old, text):
    """How often these lines are in a file."""
    return len(re.findall(rf"(?m)^{re.escape(old)}", text))


def _unique(text, begin, end):
    """(first line, last line + 1) of the lines around a piece of a file that are there once."""
    lines = text.splitlines(keepends=True)
    first, last = text.count("\n", 0, begin), text.count("\n", 0, end) + 1
    while _times("".join(lines[first:last]), text) > 1:
        first, last = max(first - 1, 0), min(last + 1, len(lines))
    return first, last


def by_rule(path, text, change, tests):
    """The mutant of a file that has this change (places.py)."""
    first, last = _unique(text, change.edits[0][0], change.edits[-1][1])
    lines = text.splitlines(keepends=True)
    begin = sum(map(len, lines[:first]))
    old = "".join(lines[first:last])
    new = change.apply(text)[begin:len(change.apply(text)) - (len(text) - begin - len(old))]
    name = f"{Path(path).name}-{change.function}-{change.rule}-{change.index}"
    return Mutant(name, ["By rule"], f"{change.rule} in {change.function}()", list(tests),
                  {path: [(old, new)]})


def written(one):
    """The text of a mutant's patch."""
    text = f"{', '.join(one.rules)}: {one.breaks}\n"
    if one.tests:
        text += f"Test: {', '.join(one.tests)}\n"
    for path, hunks in one.hunks.items():
        text += f"--- a/{path}\n+++ b/{path}\n"
        for old, new in hunks:
            old, new = old.splitlines(), new.splitlines()
            text += f"@@ -1,{len(old)} +1,{len(new)} @@\n"
            text += "".join(f"{line}\n" for line in compared(old, new))
    return text


def compared(old, new):
    """The lines of a hunk: common ones first and last, what differs between them."""
    head = 0
    while head < min(len(old), len(new)) and old[head] == new[head]:
        head += 1
    tail = 0
    while tail < min(len(old), len(new)) - head and old[-1 - tail] == new[-1 - tail]:
        tail += 1
    return [*(f" {line}" for line in old[:head]),
            *(f"-{line}" for line in old[head:len(old) - tail]),
            *(f"+{line}" for line in new[head:len(new) - tail]),
            *(f" {line}" for line in old[len(old) - tail:])]


def names():
    """Names of all mutants that are made by hand."""
    return sorted(path.stem for path in paths.MUTANTS.glob("*.patch"))


def load(name):
    """One mutant, or a UsageError that lists what there is."""
    places = [directory / f"{name}.patch" for directory in (paths.MUTANTS, paths.RACES,
                                                            paths.FAILING, paths.DRAWN)]
    path = next((path for path in places if path.exists()), None)
    if not path:
        raise say.UsageError(f"no mutant {name}; there are: {', '.join(names()) or 'none'}")
    return parse(path.read_text(), name)
