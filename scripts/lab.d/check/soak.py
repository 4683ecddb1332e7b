# SPDX-License-Identifier: GPL-2.0-only
"""A soak: for hours, one run after the other of what is drawn, each in a lab of its own.

Round N of a seed is always the same. What was done is in soak.json: a soak that was interrupted goes
on after its last whole round. The results of a round that failed are kept. A lab in which nothing
passes any more ends the soak, before such results fill the disk.
"""

import fcntl
import json
import random
import secrets
import shutil
import time
from dataclasses import dataclass
from typing import Callable

from base import figures, files, ktap, say, workloads
from boot import job, scenario
from check import reliability
from make import paths, place, ready

STATE = "soak.json"
# So many rounds may fail in a row.
IN_A_ROW = 5


@dataclass(frozen=True)
class Kind:
    """A kind of round.

    @scenario: what it runs
    @draw:     its settings, from a random.Random
    """
    scenario: str
    draw: Callable


def _seed(rng):
    return str(rng.randrange(1, 1 << 32))


KINDS = (
    Kind("migrate", lambda rng: {
        "workload": rng.choice(workloads.names()), "type": rng.choice(("mdma-1", "mdma-4")),
        "bandwidth": rng.choice(("32", "128")), "seed": _seed(rng), "rate": "0", "control": "0"}),
    Kind("failures", lambda rng: {
        "cases": "none", "moves": "0", "pause_s": "0", "control": "0", "fire": "12",
        "fire_seed": _seed(rng), "type": rng.choice(("mdma-1", "mdma-4"))}),
    Kind("driver", lambda rng: {
        "guests": rng.choice(("plain", "poisoned")), "only": "dmatest_on,migrated",
        "transfers": "20000", "moves": "3", "seed": _seed(rng)}),
    Kind("kills", lambda rng: {"kills": "200", "seed": _seed(rng)}),
    Kind("fuzz", lambda rng: {"seconds": "300", "seed": _seed(rng)}),
    Kind("model", lambda rng: {"ops": "1000000", "backends": "ours", "seed": _seed(rng)}),
    Kind("selftests", lambda rng: {
        "backend": "ours", "only": "storm,crowd,busy,sizes,fuzz", "seed": _seed(rng)}),
)


def draw(seed, number):
    """(scenario, settings) of a round. In seven rounds in a row, each kind comes once."""
    turn, place = divmod(number, len(KINDS))
    order = random.Random(f"{seed} {turn}").sample(KINDS, len(KINDS))
    kind = order[place]
    return kind.scenario, kind.draw(random.Random(f"{seed} round {number}"))


class Soak:
    """A soak and what came of it.

    @seed:    of what is drawn
    @seconds: how long it is to go on
    @rounds:  what its whole rounds were and how they ended
    """

    def __init__(self, directory, seed, seconds):
        self.directory, self.seconds = directory, seconds
        self.seed, self.rounds = seed or str(secrets.randbits(32)), []
        self._go_on(seed)

    def _go_on(self, seed):
        """Continue the one that is there, unless another one is wanted, or it has come to its
        end."""
        try:
            state = json.loads((self.directory / STATE).read_text())
        except (OSError, ValueError):
            state = {}
        went_on = sum(one["seconds"] for one in state.get("rounds", []))
        if state and seed in ("", state["seed"]) and went_on < self.seconds:
            self.seed, self.rounds = state["seed"], state["rounds"]
            say.info(f"soak: {len(self.rounds)} rounds are done; it goes on")
        else:
            for path in self.directory.iterdir():
                if path.is_dir():
                    shutil.rmtree(path)
                else:
                    path.unlink()

    def spent(self):
        """Seconds of all rounds."""
        return sum(one["seconds"] for one in self.rounds)

    def play(self):
        """Play the next round, and save what came of it."""
        number = len(self.rounds)
        name, pairs = draw(self.seed, number)
        where, begin = self.directory / f"{number:04}-{name}", time.monotonic()
        ready.make(scenario.targets(name, pairs), scenario.mutants(name, pairs),
                   scenario.container(pairs))
        outcome = job.run_scenario(name, pairs, where)
        found = reliability.of_directory(where)
        figures.add(found, {"logs": 1, "reports": int(bool(outcome.findings))})
        figures.add(found, reliability.of_looks(
            [result for path in sorted(where.rglob("*.ktap"))
             for result in ktap.parse(path.read_text(errors="replace"), path.stem)]))
        self.rounds.append({"scenario": name, "pairs": pairs, "passed": outcome.exit_code() == 0,
                            "seconds": round(time.monotonic() - begin), "figures": found})
        if self.rounds[-1]["passed"]:
            shutil.rmtree(where)
        with files.whole(self.directory / STATE) as temporary:
            temporary.write_text(json.dumps({"seed": self.seed, "rounds": self.rounds}, indent=1))

    def line(self):
        """What the last round was, and how far all is."""
        last = self.rounds[-1]
        words = " ".join(f"{key}={value}" for key, value in last["pairs"].items())
        return (f"soak: round {len(self.rounds)}, {self.spent() / 3600:.2f} of "
                f"{self.seconds / 3600:g} h: {last['scenario']} {words}: "
                f"{'passed' if last['passed'] else 'FAILED'} ({last['seconds']} s)")

    def table(self):
        """The figures of all rounds."""
        found = {}
        for one in self.rounds:
            figures.add(found, one["figures"])
        return reliability.table({name: found.get(name)
                                  for name in (*reliability.TRIED, *reliability.LOST)})

    def failed(self):
        """Names of the directories of rounds that failed."""
        return [f"{number:04}-{one['scenario']}" for number, one in enumerate(self.rounds)
                if not one["passed"]]


def run(hours, seed):
    """Soak for so many hours; the exit code is 0 only if each round passed."""
    paths.SOAK.mkdir(parents=True, exist_ok=True)
    with place.locked(paths.SOAK, fcntl.LOCK_EX, f"another soak is at work in "
                      f"{files.short(paths.SOAK)}: end it, or choose another place with OUT="):
        return _run(Soak(paths.SOAK, seed, hours * 3600))


def _run(soak):
    say.info(f"soak: {soak.seconds / 3600:g} h, SEED={soak.seed}")
    bad = 0
    while soak.spent() < soak.seconds and bad < IN_A_ROW:
        soak.play()
        bad = 0 if soak.rounds[-1]["passed"] else bad + 1
        say.info(soak.line())
    if bad == IN_A_ROW:
        say.info(f"soak: {bad} rounds have failed, one after the other: it ends before its time")
    for line in soak.table():
        print(line)
    for name in soak.failed():
        print(f"FAILED {files.short(soak.directory / name)}")
    print(f"soak: {len(soak.rounds)} rounds, {len(soak.failed())} failed, SEED={soak.seed}",
          flush=True)
    return 1 if soak.failed() or not soak.rounds else 0
