# SPDX-License-Identifier: GPL-2.0-only
"""The experiment on downtime: from the files of a trial to numbers, and what they show.

Pure functions; experiment.py gathers, downtime_report.py presents. A *trial* is one migration, a
*point* its parameters (points.py). The evidence of a trial is a dictionary of facts, and QEMU's
own trace of the source.

"Expected" is what QEMU knew when it decided to stop the guest: the size in its trace event
migration_thread_low_pending, after an exact count, and that size divided by the bandwidth of the
last migrate_transferred, which is how QEMU compares it with the downtime limit. "Actual" is what
it then had to send (downtime-bytes of query-migrate), and the time from STOP at the source to
RESUME at the destination. Sizes do not depend on the speed of the machine; times do.
"""

import json
import re
import statistics
from pathlib import Path

from base import qemu_events
from judge import points

PAGE_SIZE = points.PAGE_SIZE
MIB = 1 << 20

# The numbers that summarise a trial.
NUMBERS = ("rounds", "expected_pages", "actual_pages", "ratio", "ratio_least", "late",
           "expected_ms", "actual_ms", "ratio_ms", "reported_ms", "qemu_downtime_ms", "bytes",
           "bytes_again", "device_rate", "link_rate", "last_reported", "reported_again",
           "written_again", "reported_per_write")

# Those that say nothing if the link was not filled.
TIMES = ("expected_ms", "actual_ms", "ratio_ms", "reported_ms", "qemu_downtime_ms")

# Below this share of its capacity, the link was not what limited a migration.
LINK_RATE_MIN = 0.8

# Above this share of what QEMU expected, what was written between its decision and the stop hides
# whether it expected too little.
LATE_MAX = 0.25


class NoEvidence(Exception):
    """A trial's evidence is incomplete; the text says what is missing."""


# --- QEMU's trace -----------------------------------------------------------


def read_log(text):
    """The events that a source traced: [(time, event, rest)]."""
    events = qemu_events.read(text)
    if not any(event[1] == "migration_bitmap_sync_start" for event in events):
        raise NoEvidence("QEMU's trace has no count of dirty pages")
    return events


def number(name, text):
    """The number after @name in the text of an event."""
    match = re.search(rf"(?:^|\s){re.escape(name)}[ =](\d+)", text)
    if not match:
        raise NoEvidence(f"QEMU's trace: no {name} in '{text}'")
    return int(match[1])


def syncs(events):
    """For each count of dirty pages: (time, pages in the device's reports, number of reports)."""
    found = []
    for time, name, text in events:
        if name == "migration_bitmap_sync_start":
            found.append([time, 0, 0])
        elif name in qemu_events.GETS and found:
            found[-1][1] += number("dirty_pages", text)
            found[-1][2] += 1
    return [tuple(entry) for entry in found]


def decision(events):
    """What QEMU knew when it decided to stop: (time, bytes left, bytes per ms)."""
    bandwidth = None
    for time, name, text in events:
        if name == "migrate_transferred":
            bandwidth = number("bandwidth", text)
        elif name == "migration_thread_low_pending":
            if not bandwidth:
                raise NoEvidence("QEMU stopped before it knew a bandwidth")
            return time, int(text.split()[0]), bandwidth
    raise NoEvidence("QEMU's trace: it never decided to stop")


# --- a trial ----------------------------------------------------------------


def carried(series, time):
    """Bytes that a link had carried at a time, interpolated between its entries."""
    before = series[0]
    for after in series:
        if after[0] >= time:
            span = after[0] - before[0]
            part = (time - before[0]) / span if span > 0 else 1
            return before[1] + (after[1] - before[1]) * min(1, max(0, part))
        before = after
    return series[-1][1]


def device_rate(samples):
    """Pages per second that the device wrote while the guest ran."""
    first, last = samples[0], [s for s in samples if s["status"] == "active"][-1]
    return (last["written"] - first["written"]) / (last["time"] - first["time"])


def written_late(facts, decided):
    """Pages that the device and the vCPU can have written after QEMU decided to stop the guest, and
    before it did."""
    rate = device_rate(facts["samples"]) \
        + points.VCPU_RATE * points.capacity(facts["bandwidth"])
    return max(0, facts["stopped"] - decided) * rate


def reported_again(counts, samples, early):
    """Pages in the device's reports after the first round, pages that it wrote meanwhile, and, if
    reports were @early, the first divided by the second: above 1, pages are sent although nothing
    changed."""
    reported = sum(entry[1] for entry in counts[2:])
    after = [s["written"] for s in samples if len(counts) > 1 and s["time"] >= counts[1][0]]
    written = after[-1] - after[0] if after else 0
    return {"reported_again": reported, "written_again": written,
            "reported_per_write": reported / written if early and written else None}


def measure(facts, log):
    """All numbers of a trial; NoEvidence if it did not complete."""
    if facts.get("error"):
        raise NoEvidence(facts["error"])
    if facts["stopped"] is None or facts["resumed"] is None:
        raise NoEvidence("QEMU did not say when the guest stopped and went on")
    events, memory = read_log(log), facts["migration"]["ram"]
    counts = syncs(events)
    decided, pending, bandwidth = decision(events)
    before = [entry for entry in counts if entry[0] <= decided]
    samples = [s for s in facts["samples"] if s["expected_downtime"] is not None]
    actual_ms = (facts["resumed"] - facts["stopped"]) * 1000
    series = facts["link"]["series"]
    begin = counts[1][0] if len(counts) > 1 else series[-1][0]
    again = facts["link"]["bytes"] - carried(series, begin)
    late = written_late(facts, decided) * PAGE_SIZE
    return {
        "converged": facts["converged"],
        "rounds": memory["dirty-sync-count"],
        "counts": len(counts),
        "expected_pages": pending / PAGE_SIZE,
        "expected_ms": pending / bandwidth,
        "reported_ms": samples[-1]["expected_downtime"] if samples else None,
        "actual_pages": memory["downtime-bytes"] / PAGE_SIZE,
        "actual_ms": actual_ms,
        "qemu_downtime_ms": facts["migration"]["downtime"],
        "ratio": memory["downtime-bytes"] / pending,
        "ratio_least": (memory["downtime-bytes"] - late) / pending,
        "late": late / pending,
        "ratio_ms": actual_ms * bandwidth / pending,
        "bytes": memory["transferred"],
        "bytes_link": facts["link"]["bytes"],
        "bytes_downtime": memory["downtime-bytes"],
        "bytes_again": again,
        "link_rate": again / max(series[-1][0] - begin, 0.001)
        / (points.capacity(facts["bandwidth"]) * PAGE_SIZE),
        "device_rate": device_rate(facts["samples"]),
        "reports_before": sum(entry[2] for entry in before),
        "last_reported": counts[-1][1],
        "reported": [entry[1] for entry in counts],
        "complaints": facts["guest_complaints"],
        **reported_again(counts, facts["samples"],
                         facts["point"]["reported"] == points.PRECOPY),
    }


def problems(facts, row):
    """Contradictions within a trial: reasons why its numbers prove nothing."""
    bad = list(row["complaints"])
    if row["counts"] != row["rounds"]:
        bad.append(f"{row['rounds']} rounds, but {row['counts']} counts in QEMU's trace")
    if row["bytes_downtime"] < row["last_reported"] * PAGE_SIZE:
        bad.append(f"{row['last_reported']} pages reported at last, but only "
                   f"{row['bytes_downtime']} bytes sent after the stop")
    # QEMU expects 4096 bytes of each page, and sends only a few of one that is all zeroes.
    if row["bytes_downtime"] < row["expected_pages"] * PAGE_SIZE * 0.75:
        bad.append(f"{row['expected_pages']:.0f} pages expected, but only "
                   f"{row['bytes_downtime']} bytes sent after the stop")
    if row["bytes_link"] < row["bytes"]:
        bad.append(f"QEMU sent {row['bytes']} bytes, the link carried {row['bytes_link']}")
    if facts["link"]["error"]:
        bad.append(f"link: {facts['link']['error']}")
    early = facts["point"]["reported"] == points.PRECOPY
    if early != bool(row["reports_before"]):
        bad.append(f"{row['reports_before']} reports before the stop, "
                   f"{'some' if early else 'none'} wanted")
    if facts["point"]["direction"] == "write" and not any(row["reported"]):
        bad.append("no report holds a page, though the device wrote")
    if facts["point"]["direction"] == "read" and any(row["reported"]):
        bad.append(f"{max(row['reported'])} pages reported, though the device only read")
    return bad


def judge_trial(path):
    """The numbers of a trial, with `problems`; only those if it failed."""
    path = Path(path)
    try:
        facts = json.loads(path.read_text())
        row = measure(facts, path.with_suffix(".qemu").read_text(errors="replace"))
        row["problems"] = problems(facts, row)
    except (NoEvidence, OSError, ValueError, KeyError, TypeError, IndexError,
            ZeroDivisionError) as err:
        text = str(err) if isinstance(err, NoEvidence) else f"{type(err).__name__}: {err}"
        row = {"problems": [text]}
    row["repeat"] = int(path.stem.rpartition(".")[2])
    return row


def is_starved(one, row):
    """Whether a trial's link carried less than it could, because the machine was too slow or busy.
    Then its sizes count, but not its times, nor whether it converged."""
    return one.limited and row["link_rate"] < LINK_RATE_MIN


# --- points -----------------------------------------------------------------


def spread(rows, key):
    """{median, min, max} of a number over the trials of a point."""
    values = [row[key] for row in rows if row.get(key) is not None]
    if not values:
        return None
    return {"median": statistics.median(values), "min": min(values), "max": max(values)}


def summarise(one, rows):
    """A point with its trials, as in experiment.json."""
    good = [row for row in rows if not row["problems"]]
    timely = [row for row in good if not is_starved(one, row)]
    entry = dict(one._asdict(), load=one.rate + points.VCPU_RATE, trials=rows,
                 measured=len(good), starved=len(good) - len(timely),
                 converged=sum(row["converged"] for row in timely), judged=len(timely))
    entry.update({key: spread(timely if key in TIMES else good, key) for key in NUMBERS})
    return entry


def collect(results):
    """All data of a results directory, for experiment.json."""
    results = Path(results)
    plan = json.loads((results / "plan.json").read_text())
    machine = results / "machine.json"
    entries = []
    for one in points.all_points():
        if one.name in plan["chosen"]:
            rows = [judge_trial(path) for path in
                    sorted((results / "trials").glob(f"{one.name}.*.json"))]
            entries.append(summarise(one, rows))
    return {"machine": json.loads(machine.read_text()) if machine.exists() else {},
            "settings": {key: value for key, value in plan.items() if key != "chosen"},
            "budget": points.budget(plan["bandwidth"], plan["downtime_limit_ms"]),
            "capacity": points.capacity(plan["bandwidth"]),
            "points": entries}


# --- what they show ---------------------------------------------------------


def median(entry, key):
    """The median of a number of a point."""
    return entry[key]["median"]


def always(entry):
    """Whether a point converged in each trial; None if that is not known."""
    return entry["converged"] == entry["judged"] if entry["judged"] else None


def never(entry):
    """Whether a point converged in no trial; None if that is not known."""
    return entry["converged"] == 0 if entry["judged"] else None


def estimate_holds(entry):
    """Whether what QEMU expected was right; None if that is not known."""
    if median(entry, "late") > LATE_MAX:
        return None
    return median(entry, "ratio") > 0.9 and median(entry, "ratio_least") < 1.25


# name: (its points, whether they show it). These compare sizes only, so that none of them fails on
# a slow machine.
FINDINGS = {
    "thread: reported at the stop, the guest is down for more than it was stopped for":
        (("stop-thread",), lambda stop: median(stop, "ratio") > 1.5),
    "thread: reported in pre-copy, QEMU's estimate holds":
        (("pre-thread",), estimate_holds),
    "reported in pre-copy, more is sent":
        (("pre-retained-0.5", "stop-retained-0.5"),
         lambda pre, stop: median(pre, "bytes_again") > median(stop, "bytes_again")),
    "held pages above the budget never converge in pre-copy":
        (("pre-held-0.5",), never),
    "retained pages at the same rate do":
        (("pre-retained-0.5",), always),
    "held pages are reported again and again, retained ones as often as they are written":
        (("pre-held-0.5", "pre-retained-0.5"),
         lambda held, retained: median(held, "reported_per_write") > 2
         and median(retained, "reported_per_write") < 1.5),
    "a shorter hold makes it converge": (("short-hold",), always),
    "fewer held pages make it converge": (("fewer-held",), always),
    "pins for reading only make it converge": (("read-only",), always),
    "device-side tracking makes it converge": (("device-tracking",), always),
    "device-side tracking reports held pages as often as they are written":
        (("device-tracking",), lambda entry: median(entry, "reported_per_write") < 1.5),
    "max-bandwidth alone is no link: the stop is not slowed by it":
        (("no-link",), lambda entry: median(entry, "ratio_ms") < 0.75),
}


def findings(experiment):
    """[(name, shown)]; None if its points were not measured, or the machine was too slow."""
    entries = {entry["name"]: entry for entry in experiment["points"] if entry["measured"]}
    shown = []
    for name, (wanted, check) in FINDINGS.items():
        known = [entries.get(point) for point in wanted]
        shown.append((name, check(*known) if all(known) else None))
    return shown


def complaints(experiment):
    """Why the data is incomplete or inconsistent; empty if it is not."""
    bad = []
    for entry in experiment["points"]:
        repeats = experiment["settings"]["repeat"]
        if len(entry["trials"]) != repeats:
            bad.append(f"{entry['name']}: {len(entry['trials'])} trials of {repeats}")
        bad += [f"{entry['name']}.{row['repeat']}: {problem}"
                for row in entry["trials"] for problem in row["problems"]]
    if not experiment["points"]:
        bad.append("no point was played")
    return bad
