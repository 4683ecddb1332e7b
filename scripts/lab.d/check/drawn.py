# SPDX-License-Identifier: GPL-2.0-only
"""Mutants that are made by rule (make/places.py), some of which are drawn and tried.

They are drawn file after file, round and round, so that each file has its share; equal seeds give
equal mutants. One that does not build is replaced by the next one. One that changes nothing that
could be seen is in tests/mutants/equivalent, with the reason, and is not drawn.
"""

import itertools
import random
import shutil

from base import say
from make import mutant, paths, places

# What is changed: the product.
WHERE = ("drivers/vfio", "samples/vfio-mdev/mdma", "samples/vfio-mdev/mdma-guest")
# A trace header is no C that runs.
NOT = ("type1_trace.h", "trace.h")
EQUIVALENT = paths.MUTANTS / "equivalent"


def sources(begins=()):
    """path -> text of the files to be changed; with @begins those whose path begins so."""
    found = [str(path.relative_to(paths.REPO)) for directory in WHERE
             for path in sorted((paths.REPO / directory).glob("*.[ch]")) if path.name not in NOT]
    return {path: (paths.REPO / path).read_text() for path in found
            if not begins or path.startswith(tuple(begins))}


def _stripped(lines, sign):
    return tuple(line[1:].strip() for line in lines if line[:1] == sign)


def key(path, text, change):
    """What a change changes, and the line before it, whatever else stands around it."""
    lines = text.splitlines()
    first = text.count("\n", 0, change.edits[0][0])
    changed = mutant.compared(lines, change.apply(text).splitlines())
    return (path, change.function, lines[first - 1].strip(), _stripped(changed, "-"),
            _stripped(changed, "+"))


def listed(known, what):
    """Whether a key is in the list, with the line before it or without."""
    path, function, _, *changed = what
    return what in known or (path, function, "", *changed) in known


def equivalents(text):
    """{key: reason} of the list of mutants that change nothing that could be seen. The line before
    the change is "" in entries that do not have it."""
    found = {}
    for block in text.split("\n\n"):
        lines = [line for line in block.splitlines() if not line.startswith("#")]
        if not lines:
            continue
        path, _, function = lines[0].partition(" ")
        old, new = _stripped(lines[1:], "-"), _stripped(lines[1:], "+")
        before = _stripped(lines[1:], " ") or ("",)
        why = " ".join(line for line in lines[1:] if line[:1] not in ("-", "+", " "))
        if not (function and old and why):
            raise say.LabError(f"{EQUIVALENT.name}: '{lines[0]}' lacks a function, a change, or "
                               "a reason")
        found[path, function, before[0], old, new] = why
    return found


def of_file(path, text, tests):
    """(mutant, its key) of all places of a file."""
    for change in places.changes(text):
        yield mutant.by_rule(path, text, change, tests), key(path, text, change)


def draw(seed, begins=(), tests_of=lambda path: ()):
    """All mutants, in the order in which they are drawn.

    @tests_of: path -> tests that are to catch a mutant of the file; if none, it has none
    """
    known = equivalents(EQUIVALENT.read_text())
    files = []
    for path, text in sources(begins).items():
        tests = tests_of(path)
        found = list(of_file(path, text, tests)) if tests else []
        # Before some are left out, so that a longer list does not change the order.
        random.Random(f"{seed} {path}").shuffle(found)
        files.append([one for one, what in found if not listed(known, what)])
    random.Random(seed).shuffle(files)
    rounds = itertools.zip_longest(*files)
    return [one for found in rounds for one in found if one]


def keep(one):
    """Write a drawn mutant where mutant.load() finds it."""
    paths.DRAWN.mkdir(parents=True, exist_ok=True)
    (paths.DRAWN / f"{one.name}.patch").write_text(mutant.written(one))


def forget():
    """Remove mutants that were drawn before."""
    shutil.rmtree(paths.DRAWN, ignore_errors=True)
