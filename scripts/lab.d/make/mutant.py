# SPDX-License-Identifier: GPL-2.0-only
"""Mutants: patches of tests/mutants, each of which breaks the product in one place.

A patch begins with what it breaks (rules, defects and weaknesses by number, or the device), and
with what must catch it: selftests by name or by the beginning of their name, "unit" or "build".

    R11, W6: the mappings go before the report has reached the user
    Test: R11_faulting_unmap_changes_nothing

A hunk applies where its old lines are, and they must be there exactly once. So a patch never
breaks another place than the one it means, and line numbers do not matter.
"""

import re
from dataclasses import dataclass

from base import say
from make import paths

HUNK = re.compile(r"@@ -\d+(?:,(\d+))? \+\d+(?:,(\d+))? @@")
SUBJECTS = re.compile(r"((?:[RDW]\d{1,2}, )*[RDW]\d{1,2}|The device): (.*)")


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

    def apply(self, files):
        """Apply the patch: path -> bytes of the tree in, path -> changed bytes out."""
        changed = {}
        for path, hunks in self.hunks.items():
            if path not in files:
                raise say.LabError(f"mutant {self.name}: no file {path}")
            text = files[path].decode()
            for old, new in hunks:
                times = len(re.findall(rf"(?m)^{re.escape(old)}", text))
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


def names():
    """Names of all mutants."""
    return sorted(path.stem for path in paths.MUTANTS.glob("*.patch"))


def load(name):
    """One mutant, or a UsageError that lists what there is."""
    path = paths.MUTANTS / f"{name}.patch"
    if not path.exists():
        raise say.UsageError(f"no mutant {name}; there are: {', '.join(names()) or 'none'}")
    return parse(path.read_text(), name)
