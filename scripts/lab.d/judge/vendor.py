# SPDX-License-Identifier: GPL-2.0-only
"""Judges the migration of a device whose driver is not mdma: pure functions on the files a leg left
behind, as in proof.py.

The data oracle and the guest's own checks are for any device. The set oracle needs a tracepoint of
the driver's that says what it wrote; there is no ledger to compare it with. The trace ends at the
switchover, so all writes in it are those of the source.

In the control, all must fail that the adapter names (CAUGHT_BY), and the guest must have worked
until the switchover.
"""

import json
import re
from pathlib import Path

from judge import events, proof, standstill
from judge.events import BrokenOracle, Write

# The one device of the trace.
DEVICE = 0

# So many page writes must be traced while tracking is on, whatever the settings say: a driver that
# does not count its writes can't make the lab wait for them.
WRITES_MIN = 1000
WAIT = "; give the adapter a written(), or try more rounds="

# Who may find what a control does: number of a leg that must not be 0 then, and words about it.
FOUND = {"guest": ("guest_checks_failed_destination", "the guest fails at the destination"),
         "ram": ("ram_pages_different", "the data oracle names different pages"),
         "set": ("pages_lost", "the set oracle names lost pages")}


def makers(writes):
    """The events of a trace, as events.MAKERS. @writes: the adapter's WRITES, or None"""
    found = {name: maker for name, maker in events.MAKERS.items() if not name.startswith("mdma_")}
    if writes:
        event, iova, npages = writes
        found[event.rpartition("/")[2]] = (
            lambda pos, first, count: Write(pos, DEVICE, 0, first, count, 0), (iova, npages))
    return found


def guest_checks(source, destination, words):
    """Count the guest's own verdicts on both sides; a line counts where it ends. @words: patterns
    of a check that passed, and of one that failed"""
    joined, edge, result = source + destination, len(source), {}
    for key, pattern in (("passed", words["works"]), ("failed", words["fails"])):
        lines = list(re.finditer(f"(?:{pattern})[^\n]*\n", joined))
        result[f"guest_checks_{key}"] = len(lines)
        result[f"guest_checks_{key}_destination"] = sum(line.end() > edge for line in lines)
        if key == "failed":
            result["guest_said"] = lines[0][0].strip() if lines else ""
    return result


def set_oracle(seen, writes):
    """What was reported and, if the driver says what it wrote, whether that was all of it."""
    proof.check_tracking(seen)
    if seen.problems:
        raise BrokenOracle(seen.problems[0])
    good = seen.good()
    result = {"pages_reported": len(seen.covered),
              "pages_reported_total": sum(report.dirty for report in good)}
    if writes:
        result.update(pages_written=sum(count for _, _, count in seen.written.values()),
                      pages_written_tracked=seen.tracked, pages_written_distinct=len(seen.written),
                      pages_extra=len(seen.covered.keys() - seen.written.keys()),
                      pages_sent_extra=seen.extra, pages_lost=len(proof.lost_pages(seen)))
    return result


def name_page(page, seen, entry):
    """Details of a page, as proof.name_page()."""
    return {**proof.name_page(page, {}, seen.covered, entry),
            "written_by_device": page in seen.written}


def examine(directory, facts):
    """All numbers of a leg, without a judgement."""
    seen = proof.Seen(DEVICE)
    events.watch(events.Trace(directory / "trace", makers(facts["writes"])), seen)
    result = set_oracle(seen, facts["writes"])
    ram = json.loads((directory / "ram.json").read_text())
    result.update(proof.data_oracle(ram, facts["ram_pages"]))
    source, destination = ((directory / f"{name}.serial").read_text(errors="replace")
                           for name in ("source", "destination"))
    result.update(guest_checks(source, destination, facts["guest"]))
    result["guest_clock_jump_s"] = standstill.clock_jump(source, destination)
    different = {entry["page"]: entry for entry in ram["different"]}
    if facts["writes"]:
        result["lost"] = [name_page(page, seen, different.get(page, {}))
                          for page in proof.lost_pages(seen)[:proof.NAMED]]
    result["different"] = [name_page(entry["page"], seen, entry)
                           for entry in ram["different"][:proof.NAMED]]
    log = proof.read_qemu_log(directory / "source.qemu")
    proof.check_told(log, seen.gets())
    result["by_round"] = proof.by_round(log, seen.gets())
    return result


def soundness(leg, facts):
    """Reasons why a leg's numbers prove nothing, whatever they are."""
    reasons = []
    if leg["rounds"] < proof.MIN_ROUNDS:
        reasons.append(f"rounds is {leg['rounds']}, must be at least {proof.MIN_ROUNDS}")
    if leg["migration_status"] != "completed":
        reasons.append(f"migration: {leg['migration_status']}")
    if not leg["guest_checks_passed"] - leg["guest_checks_passed_destination"]:
        reasons.append("no check of the guest passed at the source")
    if leg["guest_checks_failed"] - leg["guest_checks_failed_destination"]:
        reasons.append("a check of the guest failed at the source")
    if facts["writes"]:
        least = max(WRITES_MIN, facts["pages_min"])
        if leg["pages_written_tracked"] < least:
            reasons.append(f"pages_written_tracked is {leg['pages_written_tracked']}, must be at "
                           f"least {least}" + WAIT * (not facts["pages_min"]))
    return reasons


def judge_leg(directory):
    """Numbers of a leg plus `reasons`: why it proves nothing. Never raises."""
    leg = {**proof.empty_leg(), "workload_continued": None,
           "guest_checks_failed_destination": None, "guest_said": "", "caught_by": []}
    directory = Path(directory)
    try:
        facts = json.loads((directory / "leg.json").read_text())
        leg.update(facts.get("summary", {}), caught_by=facts.get("caught_by", []))
        if facts.get("error"):
            leg["reasons"] = [facts["error"]]
            return leg
        leg.update(examine(directory, facts))
        leg["reasons"] = soundness(leg, facts)
    except (BrokenOracle, OSError, ValueError, KeyError, TypeError) as err:
        text = f"missing: {err}" if isinstance(err, KeyError) else str(err)
        leg["reasons"] = ["oracle broken: " + text]
    return leg


# --- the verdict -----------------------------------------------------------


def control_reasons(leg):
    """Why the control fails: what it does was not found."""
    if leg["reasons"]:
        return leg["reasons"]
    if not leg["caught_by"]:
        return ["nobody had to find it"]
    return [f"{FOUND[who][0]} is {leg[FOUND[who][0]]}, must not be 0: what CONTROL breaks was not "
            "noticed" for who in leg["caught_by"] if not leg[FOUND[who][0]]]


def claims(report):
    """What was proven: [(what, whether)]."""
    found = [("all RAM is the same", report["ram_pages_different"] == 0),
             ("the guest's checks pass at the destination",
              not report["guest_checks_failed"]
              and bool(report["guest_checks_passed_destination"]))]
    if report["pages_lost"] is not None:
        found.append(("no page is lost", report["pages_lost"] == 0))
    control = report["control"]
    if control:
        found += [(f"control: {FOUND[who][1]}", bool(control[FOUND[who][0]]))
                  for who in control["caught_by"]]
    return found


def judge(results, with_control=True):
    """Judge the whole run: the main leg must pass and the control must fail."""
    results = Path(results)
    report = judge_leg(results / "main")
    reasons = proof.guest_reasons(report)
    report["control"] = None
    if with_control:
        control = judge_leg(results / "control")
        trouble = control_reasons(control)
        if not trouble and control["backend"] == report["backend"]:
            trouble = ["ran on the same modules as the main leg"]
        control.update(verdict="blind" if trouble else "caught", reasons=trouble)
        report["control"] = control
        reasons = reasons + [f"control: {reason}" for reason in trouble]
    report["reasons"] = reasons + proof.lab_reasons(results)
    report["verdict"] = "fail" if report["reasons"] else "pass"
    report["claims"] = claims(report)
    return report
