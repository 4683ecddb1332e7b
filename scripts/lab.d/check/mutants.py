# SPDX-License-Identifier: GPL-2.0-only
"""All mutants: builds them, and checks whether the tests of a check catch each of them.

Mutants that unit tests can kill are killed there (mutant_units.py), the others in the lab
(mutant_lab.py); those of the guest's driver in guests there (mutant_guest.py). Those of
tests/mutants must all be killed; of those that are made by rule (drawn.py), the share is told, and
each that survives is kept as a patch.
"""

import json
import shutil
import threading
from dataclasses import asdict

from base import files, say, side_by_side
from boot import scenario
from check import drawn, mutant_guest, mutant_lab, mutant_units
from check.mutant_lab import RESULTS
from check.verdict import ERROR, KILLED, SURVIVED, Verdict
from make import build, mutant, ready

SURVIVORS = RESULTS / "survivors"


class Bench:
    """Tries mutants in unit tests, side by side, until enough of them were built.

    @source: mutants, in this order
    @wanted: how many of them that build; None: all
    @verdicts: of those that are judged
    @left: those that were built, and that no unit test caught, in no order
    @refused: name -> why it was not built
    """

    def __init__(self, source, wanted=None):
        self.source, self.wanted = iter(source), wanted
        self.verdicts, self.left, self.refused = [], [], {}
        self.units, self.lock, self.begun = mutant_units.Units(), threading.Lock(), 0

    def next(self):
        """The next mutant to be tried, or None. One that does not build is not counted, so another
        one is drawn for it."""
        with self.lock:
            if self.wanted is not None and self.begun - len(self.refused) >= self.wanted:
                return None
            one = next(self.source, None)
            self.begun += one is not None
            return one

    def work(self, number):
        """One of those who try them."""
        workshop = mutant_units.Workshop(number)
        while one := self.next():
            wanted = mutant_units.programs(one)
            with self.lock:
                self.units.measure(workshop, wanted)
            try:
                verdict = self.units.judge(workshop, one)
            except mutant_units.DoesNotBuild as error:
                with self.lock:
                    self.refused[one.name] = str(error)
                continue
            with self.lock:
                if verdict:
                    say.info(f"{one.name}: {verdict.state}: {'; '.join(verdict.by)}")
                    self.verdicts.append(verdict)
                else:
                    self.left.append(one)

    def run(self):
        """Try them all."""
        with say.Step("mutants: unit tests", quiet=True):
            side_by_side.run({str(number): side_by_side.Job(lambda number=number: self.work(number))
                              for number in range(side_by_side.WORKERS)})


def build_modules(left):
    """Build the modules of mutants. Returns (those that were built, verdicts on the others)."""
    built, verdicts, trees = [], [], {}

    def build_tree(mutants):
        for one in mutants:
            verdict = mutant_lab.try_build(one)
            if verdict:
                verdicts.append(verdict)
            elif one.tests == ["build"]:
                verdicts.append(Verdict(one.name, SURVIVED, "build"))
            else:
                built.append(one)

    # Sorted by file: the next one in the tree can then use what the last one compiled.
    in_order = sorted(left, key=lambda one: list(one.hunks))
    for one in in_order:
        trees.setdefault(build.mutant(one.name).name, []).append(one)
    side_by_side.run({name: side_by_side.Job(lambda mutants=mutants: build_tree(mutants))
                      for name, mutants in trees.items()})
    return sorted(built, key=in_order.index), verdicts


def judge_modules(left):
    """Verdicts of the lab and of guests in it."""
    verdicts = []
    guests = [one for one in left if mutant_guest.changes(one)]
    others = [one for one in left if one not in guests]
    for name, chosen, try_all in (("mutants", others, mutant_lab.try_all),
                                  ("guest_mutants", guests, mutant_guest.try_all)):
        if chosen:
            ready.make(scenario.targets(name, {}))
            built, refused = build_modules(chosen)
            verdicts += refused + try_all(built)
    return verdicts


def judge(chosen):
    """A verdict for each of these mutants."""
    ready.make_tree()
    bench = Bench(chosen)
    bench.run()
    verdicts = bench.verdicts + [Verdict(name, ERROR, "unit", [why])
                                 for name, why in bench.refused.items()]
    # A mutant that only unit tests are to catch has survived them.
    verdicts += [Verdict(one.name, SURVIVED, "unit") for one in bench.left if one.tests == ["unit"]]
    left = [one for one in bench.left if one.tests != ["unit"]]
    if not left:
        return verdicts
    return verdicts + judge_modules(left)


def table(chosen, verdicts):
    """Print the verdicts, and keep them in mutants.json. Returns their rows."""
    found = {verdict.name: verdict for verdict in verdicts}
    rows = [{"rules": one.rules, "breaks": one.breaks, "tests": one.tests,
             **asdict(found[one.name])} for one in chosen]
    RESULTS.mkdir(parents=True, exist_ok=True)
    (RESULTS / "mutants.json").write_text(json.dumps(rows, indent=1) + "\n")
    for row in rows:
        print(f"{row['name']:34} {', '.join(row['rules']):12} {row['state']:9} {row['where']:8}"
              f"{'; '.join(row['by'])[:100]}")
    return rows


def check_tests(chosen):
    """Refuse a mutant whose tests are not there, before anything is built."""
    known, of_guest = mutant_lab.selftests(), mutant_guest.tests()
    for one in chosen:
        if mutant_guest.changes(one):
            mutant_guest.tests_of(one, of_guest)
        else:
            mutant_lab.tests_of(one, known)


def run(names):
    """Judge these mutants (default: all of tests/mutants); the exit code is 0 if all are
    killed."""
    chosen = [mutant.load(name) for name in names or mutant.names()]
    check_tests(chosen)
    rows = table(chosen, judge(chosen))
    killed = [row for row in rows if row["state"] == KILLED]
    for row in rows:
        if row["state"] != KILLED:
            print(f"NOT KILLED {row['name']}: {row['state']}: {row['breaks']}")
    print(f"{len(rows)} mutants, {len(killed)} killed", flush=True)
    return 0 if rows and len(killed) == len(rows) else 1


# --- by rule ----------------------------------------------------------------


def keep_survivors(rows):
    """Leave the patches of those that were not killed. Says where they are."""
    shutil.rmtree(SURVIVORS, ignore_errors=True)
    SURVIVORS.mkdir(parents=True)
    for row in rows:
        if row["state"] != KILLED:
            one = mutant.load(row["name"])
            (SURVIVORS / f"{one.name}.patch").write_text(mutant.written(one))


def share(rows):
    """Print for each file how many were killed, and the sum."""
    by_file = {}
    for row in rows:
        path = next(iter(mutant.load(row["name"]).hunks))
        by_file.setdefault(path, []).append(row["state"] == KILLED)
    for path, states in sorted(by_file.items()):
        print(f"{path:48} {len(states):4} mutants {sum(states):4} killed")
    killed = sum(map(sum, by_file.values()))
    print(f"by rule: {len(rows)} mutants, {killed} killed, {killed / max(len(rows), 1):.1%}",
          flush=True)
    return killed


def tests_for(path, lab):
    """What is to catch a mutant that is made by rule in a file."""
    if path.startswith(mutant_guest.BEGIN):
        return mutant_guest.BY_RULE if lab else ()
    return mutant_lab.tests_for(path, lab)


def run_by_rule(count, seed, begins, lab):
    """Draw so many mutants and judge them; the exit code is 0 if all are killed.

    @begins: beginnings of paths, to draw from these files only; empty: all
    @lab:    whether to use the lab, too; if not, only files with unit tests are changed
    """
    ready.make_tree()
    drawn.forget()
    source = drawn.draw(seed, begins, lambda path: tests_for(path, lab))
    bench = Bench(source, count)
    for one in source:
        drawn.keep(one)
    bench.run()
    chosen = [one for one in source if one.name in {verdict.name for verdict in bench.verdicts}
              or one in bench.left]
    verdicts = bench.verdicts
    left = [one for one in bench.left if set(one.tests) - {"unit"}]
    verdicts += [Verdict(one.name, SURVIVED, "unit") for one in bench.left if one not in left]
    if left:
        verdicts += judge_modules(left)
    refused = {verdict.name for verdict in verdicts if verdict.where == "build"}
    rows = table([one for one in chosen if one.name not in refused], verdicts)
    keep_survivors(rows)
    killed = share(rows)
    if killed != len(rows):
        say.info(f"those that survived are in {files.short(SURVIVORS)}")
    return 0 if rows and killed == len(rows) else 1
