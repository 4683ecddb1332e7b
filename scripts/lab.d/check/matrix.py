# SPDX-License-Identifier: GPL-2.0-only
"""The proof on each kernel, QEMU and container that can work together, and a table of what came of
it, for the documentation.

Each run is a process of its own, as the versions are chosen once for a process. It leaves a record;
the table has all records, so a run can be repeated alone.
"""

import json
import os
import re
import subprocess
import time
from dataclasses import dataclass
from itertools import product

from base import files, rst, say
from check import inside
from make import paths, versions

TABLE = paths.MATRIX / "tested.rst"
HEADS = ("kernel", "QEMU", "container", "proof", "written", "lost", "control lost", "rounds",
         "downtime", "date, commit")


@dataclass(frozen=True)
class Run:
    """One combination, by its words."""
    kernel: str
    qemu: str
    container: str

    @property
    def variables(self):
        """What chooses it."""
        return {"KERNEL": self.kernel, "QEMU": self.qemu, "CONTAINER": self.container}

    @property
    def directory(self):
        """Where it leaves its results."""
        return paths.MATRIX / f"{self.kernel}-{self.qemu}-{self.container}"

    @property
    def record(self):
        """The file that says how it ended. Beside the results, which a run empties."""
        return self.directory.with_name(f"{self.directory.name}.json")

    @property
    def report(self):
        """What the proof leaves."""
        return self.directory / "report.json"


def runs():
    """All that can work, the default first."""
    found = product([one.word for one in versions.KERNELS], [one.word for one in versions.QEMUS],
                    versions.CONTAINERS)
    return [Run(*words) for words in found
            if words[2] != versions.IOMMUFD or words[:2] not in versions.NO_IOMMUFD]


def chosen(environment):
    """Those that the environment does not exclude."""
    return [run for run in runs() if all(environment.get(variable) in (None, "", word)
                                         for variable, word in run.variables.items())]


def commit():
    """The commit that is tried; with a + if files differ from it."""
    def git(*words):
        return subprocess.run(["git", "-C", paths.REPO, *words], capture_output=True, text=True,
                              check=False).stdout.strip()
    name = git("rev-parse", "--short=7", "HEAD") or "unknown"
    return name + ("+" if git("status", "--porcelain", "--untracked-files=no") else "")


def play(run):
    """Play it and leave its record. Returns whether the proof passed."""
    began, tried = time.strftime("%Y-%m-%d", time.gmtime()), commit()
    say.info("matrix: " + " ".join(f"{name}={word}" for name, word in run.variables.items()))
    # A run that ends early leaves that of the one before; one that a signal stops, no record.
    run.report.unlink(missing_ok=True)
    run.record.unlink(missing_ok=True)
    code = inside.run("run", "--results", run.directory, "migrate", **run.variables)
    run.record.write_text(json.dumps({"code": code, "date": began, "commit": tried}) + "\n")
    return code == 0


def row(run):
    """Its row of the table; None if it was never played."""
    try:
        record = json.loads(run.record.read_text())
    except FileNotFoundError:
        return None
    try:
        report = json.loads(run.report.read_text())
    except (FileNotFoundError, ValueError):
        report = {}
    control = report.get("control") or {}
    # A run that could not be judged has no report, or none of these values.
    return [_version(report.get("kernel") or run.kernel), _version(report.get("qemu") or run.qemu),
            run.container, "passed" if record["code"] == 0 else "failed",
            _number(report, "pages_written"), _number(report, "pages_lost"),
            _number(control, "pages_lost"), _number(report, "rounds"),
            _number(report, "downtime_ms", " ms"), f"{record['date']}, {record['commit']}"]


def _version(text):
    """Without what a distribution adds."""
    return re.match(r"[\d.]*", text)[0]


def _number(leg, key, unit=""):
    return "-" if leg.get(key) is None else f"{leg[key]:,}{unit}"


def write_table():
    """The table of all records."""
    rows = [values for values in map(row, runs()) if values]
    with files.whole(TABLE) as temporary:
        temporary.write_text(".. SPDX-License-Identifier: GPL-2.0-only\n\n"
                             ".. Written by make matrix.\n\n" + rst.table(HEADS, rows))
    return rows


def run_all():
    """Play all that are chosen; the exit code is 0 only if each proof passed."""
    paths.MATRIX.mkdir(parents=True, exist_ok=True)
    wanted = chosen(os.environ)
    if not wanted:
        raise say.UsageError("matrix: no such combination can work")
    passed = 0
    for run in wanted:
        passed += play(run)
        write_table()
    print(f"{len(wanted)} combinations, {passed} passed; the table is in {files.short(TABLE)}",
          flush=True)
    return 0 if passed == len(wanted) else 1
