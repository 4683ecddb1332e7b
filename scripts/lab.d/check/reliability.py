# SPDX-License-Identifier: GPL-2.0-only
"""What a check has tried, and what was lost: one table of figures, also in reliability.json.

The runs print figures of their own (base/figures.py); a proof has them in its report.json. Reports
of tools and leaks are counted by results: each run's kernel log is one, and so is each test that
looks for what is left."""

import json
import re
from pathlib import Path

from base import figures, ktap
from make import paths

# Name in reliability.json -> what it is. A number that no run has told is None.
TRIED = {
    "points": "allocations and copies made to fail",
    "kills": "users of a device ended at random",
    "migrations": "migrations",
    "writes": "page writes by devices, in migrations",
    "operations": "random operations",
    "looks": "looks for what is left",
    "logs": "kernel logs read",
}
LOST = {
    "lost": "pages lost",
    "leaks": "leaks",
    "reports": "kernel logs with a report",
}
# Tests that look for what is left, by the ends of their names.
LEFT = re.compile(r"(R7_modules_unload_and_leave_nothing|R7_nothing_is_left_of_killed_users)$")
LOG = re.compile(r"kernel log of \w+$")


def _of_report(report):
    """The figures of a proof: of each of its legs but the control. One that never ran, or whose
    evidence is broken, has told nothing."""
    found = {}
    for leg in (report, *(report.get(name) for name in ("compared", "iommufd", "back"))):
        known = {name: leg[name] for name in ("pages_written", "pages_lost", "ram_pages_different")
                 if leg and leg.get(name) is not None}
        writes = known.pop("pages_written", 0)
        if known:
            figures.add(found, {"migrations": 1, "writes": writes, "lost": max(known.values())})
    return found


def of_directory(directory):
    """The figures of a run, from what it left."""
    found = {}
    output, report = directory / "output.txt", directory / "report.json"
    if output.exists():
        figures.add(found, figures.read(output.read_text(errors="replace")))
    if report.exists():
        figures.add(found, _of_report(json.loads(report.read_text())))
    return found


def _failed(results, pattern):
    """(how many results have such a name, how many of them failed)"""
    chosen = [one for one in results if pattern.search(one.name) and one.state != ktap.SKIPPED]
    return len(chosen), sum(one.state == ktap.FAILED for one in chosen)


def of_looks(results):
    """How many of these results look for what is left, and how many found something."""
    looks, leaks = _failed(results, LEFT)
    return {"looks": looks, "leaks": leaks} if looks else {}


def collect(results):
    """name -> number, of all results of a check; None where no run has told it."""
    found = {}
    for directory in sorted({Path(one.evidence) for one in results if one.evidence}):
        figures.add(found, of_directory(directory))
    figures.add(found, of_looks(results))
    logs, reports = _failed(results, LOG)
    if logs:
        figures.add(found, {"logs": logs, "reports": reports})
    return {name: found.get(name) for name in (*TRIED, *LOST)}


def table(found):
    """The table, as lines; empty if no run has told anything."""
    if not any(found.values()):
        return []
    rows = [(text, "–" if found[name] is None else f"{found[name]:,}")
            for name, text in (*TRIED.items(), *LOST.items())]
    return ["reliability:", *(f"  {text:40} {number:>12}" for text, number in rows)]


def leave(results):
    """Save the figures of a check, and return their table."""
    found = collect(results)
    paths.CHECK.mkdir(parents=True, exist_ok=True)
    (paths.CHECK / "reliability.json").write_text(json.dumps(found, indent=1) + "\n")
    return table(found)
