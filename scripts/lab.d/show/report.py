# SPDX-License-Identifier: GPL-2.0-only
"""The end of a migrate run: judges it, and leaves report.json, report.html and proof.ktap.

Runs outside the lab, on the files that the scenario left in the results directory. So it is fast,
and can be repeated on old results.
"""

import json
import shlex
import time
from pathlib import Path

from base import ktap
from judge import proof, standstill
from show import heatmap, report_html


# The legs of a run: directory and name. The second and the third one exist only with
# tracking=device, the fourth one only between two hosts.
LEGS = {"main": "Main leg", "compared": "Tracked by the container",
        "iommufd": "Tracked by the device on iommufd", "back": "Way back", "control": "Control"}


def read_json(path):
    """A JSON file, or nothing if a run ended before it was written."""
    try:
        return json.loads(Path(path).read_text())
    except (OSError, ValueError):
        return {}


def legs_of(report):
    """{directory: its judgement} of all legs that ran."""
    legs = {name: report if name == "main" else report.get(name) for name in LEGS}
    return {name: leg for name, leg in legs.items() if leg}


def chart_data(facts, leg, heat):
    """The data for the charts of one leg; None if its migration never ran.

    Times are seconds since the first sample. Before round 1 QEMU does not know how much is left to
    send.
    """
    samples = facts.get("samples", [])
    if not samples or not samples[-1]["rounds"]:
        return None
    begin = samples[0]["time"]
    return {
        "begin": begin,
        "end": samples[-1]["time"] - begin,
        "remaining": [(sample["time"] - begin, sample["remaining"] / (1 << 20))
                      for sample in samples if sample["rounds"]],
        "by_round": leg["by_round"],
        "heat": heat,
    }


def table(report):
    """The report for a terminal."""
    legs = legs_of(report).items()
    lines = ["", f"{'':26}" + "".join(f"{name:>12}" for name, _ in legs)]
    for key, name, _ in report_html.ROWS:
        if not report_html.told(report, key):
            continue
        values = "".join(f"{report_html.number(leg[key]):>12}" for _, leg in legs)
        lines.append(f"{name:26}{values}")
    lines.append("")
    lines += [f"{name}: {text}\n" for name, leg in legs if (text := report_html.slowed(leg))]
    for name, leg in legs:
        lines += named(name, "lost", leg["lost"], leg["pages_lost"])
        lines += named(name, "different", leg["different"], leg["ram_pages_different"])
    return "\n".join(lines)


def named(leg, what, entries, total):
    """The first pages of a kind, one line each."""
    if not entries:
        return []
    lines = [f"{leg}: {total} pages {what}, the first {len(entries)}:"]
    for entry in entries:
        if not entry["written_by_device"]:
            lines.append(f"  {entry['iova']}  not written by the device")
            continue
        lines.append(f"  {entry['iova']}  last write {report_html.number(entry['seq'])}, "
                     f"last report {report_html.number(entry['last_report'])}"
                     + (f"; holds {entry['seq_in_source']} at the source, "
                        f"{report_html.number(entry['seq_in_destination'])} at the destination"
                        if entry["seq_in_source"] else ""))
    return lines + [""]


def add_cases(report, cases, wanted):
    """Add the other cases. One that went wrong also decides the verdict, and so do none where some
    are @wanted."""
    report["cases"] = [{"name": name, "wrong": wrong, "seen": seen}
                       for name, wrong, seen in cases]
    reasons = [f"{name}: {wrong}" for name, wrong, _ in cases if wrong]
    if wanted and not cases:
        reasons.append("the other cases were not played")
    if reasons:
        report["reasons"] = report["reasons"] + reasons
        report["verdict"] = "fail"


def held_shortly(leg):
    """Whether the comparison holds the destination for a moment only."""
    return leg["held_idle_s"] is not None and standstill.is_short(leg["held_idle_s"],
                                                                  leg["ram_pages_compared"] or 0)


def claims_of(report):
    """What was proven: [(what, whether)]."""
    control = report["control"]
    claims = [("no page is lost", report["pages_lost"] == 0),
              ("RAM has what the device wrote",
               bool(report["stamps_checked"]) and report["stamps_wrong"] == 0),
              ("all RAM is the same", report["ram_pages_different"] == 0),
              ("the guest's checks pass at the destination",
               report["guest_checks_failed"] == 0
               and bool(report["guest_checks_passed_destination"])),
              ("the workload continues where it stopped", report["workload_continued"]),
              ("the comparison holds the destination for a moment only", held_shortly(report))]
    if control:
        claims += [("control: the set oracle names lost pages", bool(control["lost"])),
                   ("control: the data oracle names different pages",
                    bool(control["different"]))]
    if report.get("back"):
        claims.append(("nothing is lost on the way back", not proof.main_reasons(report["back"])))
    claims += [(case["name"], not case["wrong"]) for case in report["cases"]]
    return claims


def as_tests(report):
    """What was proven, as test results; the last one has the reasons of the verdict."""
    claims = report.get("claims") or claims_of(report)
    claims = [*claims, ("verdict", report["verdict"] == "pass")]
    return [ktap.Result(name, ktap.PASSED if good else ktap.FAILED,
                        "\n".join(report["reasons"]) if name == "verdict" else "")
            for name, good in claims]


def page(results, report, legs, facts, known):
    """report.html: the report, and what the results directory says of the run. @known: see
    finish()."""
    job = read_json(results / "job.json")
    name, pairs = job.get("scenario", "migrate"), job.get("args", {})
    words = [shlex.quote(f"{key}={value}") for key, value in pairs.items() if key != "container"]
    chosen = [f"CONTAINER={pairs['container']}"] if "container" in pairs else []
    about = [("Command", " ".join([*chosen, "scripts/lab run", name, *words]))]
    if facts.get("samples"):
        began = time.gmtime(facts["samples"][0]["time"])
        about.append(("Migrated at", time.strftime("%Y-%m-%d %H:%M UTC", began)))
    if job.get("machine"):
        about.append(("Machine", job["machine"]))
    window = facts.get("workload", {}).get("source", {}).get("window")
    return report_html.render(report, legs, facts.get("settings", {}), known, window,
                              about)


def finish(results, known=None, judge=proof.judge):
    """Judge a results directory; the return value is an exit code.

    @known: the settings of the scenario, see base/settings.py
    @judge: judges the evidence
    """
    results = Path(results)
    run = read_json(results / "run.json")
    report = judge(results, run.get("control", True))
    report["hosts"] = run.get("hosts", 1)
    add_cases(report, read_json(results / "cases.json"), run.get("cases", False))
    judged = legs_of(report)
    facts = {name: read_json(results / name / "leg.json") for name in judged}
    lab = read_json(results / "job.json").get("accel")
    for leg in judged.values():
        if lab and leg["accel"]:
            leg["accel"] = f"{leg['accel']} in a lab on {lab}"
    legs = [(LEGS[name], chart_data(facts[name], leg, heatmap.of_leg(results / name)))
            for name, leg in judged.items()]
    (results / "report.json").write_text(json.dumps(report, indent=1) + "\n")
    (results / "report.html").write_text(page(results, report, legs, facts["main"], known))
    (results / "proof.ktap").write_text(ktap.render(as_tests(report)))
    print(table(report))
    for reason in report["reasons"]:
        print(f"reason: {reason}")
    print(f"verdict: {report['verdict']}   {results}/report.json   {results}/report.html")
    return 0 if report["verdict"] == "pass" else 1
