#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""The oracles of a migration: pure functions on the files a leg left behind.

A leg is one live migration; its directory holds what was seen while it ran:

  ledger.bin       struct mdma_ledger_record of every page the source wrote
  trace.txt        one ftrace instance, trace_clock=counter: a global order
  trace-stats.txt  that instance's per-CPU counters
  ram.json         pages compared, pages that differ, and their stamps
  leg.json         what the scenario did, saw and sampled
  source.qemu      QEMU's own trace of the bitmaps that it was told
  source.serial, destination.serial   the guest's console before and after
  destination-trace.txt, -trace-stats.txt   of the other host, where there are two

Two oracles that share nothing but the ledger judge it. The set oracle asks
whether every page was in a report after its last write; the data oracle
whether every byte of RAM is the same on both sides. Nothing here passes by
absence: no event, no report, no page compared is a failure.

Order is the trace's: a write event comes after its bytes were written and
while the page is pinned; a run event comes at or before the snapshot. So a run
after a write holds that write, and a page is lost if no run of a successful
report comes after its last write. Writes before START are excused: QEMU sends
all memory once after START.
"""

import json
import re
import struct
import sys
from collections import namedtuple
from pathlib import Path

import dmesg
import switchover

PAGE_SHIFT = 12
PAGE_SIZE = 1 << PAGE_SHIFT
NAMED = 10
# Legs that there may be and that must pass too: the same workload, tracked by the container,
# where the main leg's is by the device; and the way back.
OTHER_LEGS = ("container", "back")

MIN_PAGES_WRITTEN = 100_000
MIN_PAGES_COMPARED = 100_000
MIN_ROUNDS = 3

LEDGER_RECORD = struct.Struct("<QQQII")

Ledger = namedtuple("Ledger", "seq writes channel")
Write = namedtuple("Write", "pos device channel iova npages seq")
# @on: pinned, or unpinned
Pin = namedtuple("Pin", "pos device on iova npages")
Run = namedtuple("Run", "pos report iova npages")
Report = namedtuple("Report", "pos report op iova size dirty retained ret")
Tracking = namedtuple("Tracking", "pos on container")
# Of one that is no container, but the device.
DEVICE = "device "
State = namedtuple("State", "pos device to")


class BrokenOracle(Exception):
    """The evidence contradicts itself or is missing: no verdict can rest on it."""


# --- reading the evidence -------------------------------------------------


def read_ledger(path):
    """Return {page number: Ledger}; a torn or unsorted file is no evidence."""
    return parse_ledger(Path(path).read_bytes(), Path(path).name)


def parse_ledger(data, name):
    """The same for the bytes of a ledger that @name stands for in messages."""
    if len(data) % LEDGER_RECORD.size:
        raise BrokenOracle(f"{name}: {len(data)} bytes is no whole number of records")
    ledger, last = {}, -1
    for iova, seq, writes, channel, _ in LEDGER_RECORD.iter_unpack(data):
        if iova <= last:
            raise BrokenOracle(f"{name}: IOVA {iova:#x} is out of order")
        last = iova
        ledger[iova >> PAGE_SHIFT] = Ledger(seq, writes, channel)
    return ledger


class Trace:
    """The events of one trace.txt, each with its place in the global order."""

    ENTRIES = re.compile(r"entries-in-buffer/entries-written: (\d+)/(\d+)")
    EVENT = re.compile(r"\s(\d+): (\w+): (.*)$")

    def __init__(self):
        self.writes, self.runs, self.reports, self.tracking = [], [], [], []
        self.states, self.pins = [], []

    @classmethod
    def read(cls, path):
        """Parse the text of an instance's `trace` file."""
        trace, entries, clock, pos = cls(), None, 0, 0
        with open(path, encoding="ascii", errors="replace") as lines:
            for line in lines:
                if line.startswith("#"):
                    entries = cls.ENTRIES.search(line) or entries
                    continue
                if not line.strip():
                    continue
                clock = trace._add(line.rstrip("\n"), clock, pos)
                pos += 1
        cls._check_entries(entries, pos)
        return trace

    @staticmethod
    def _check_entries(entries, seen):
        if entries is None:
            raise BrokenOracle("trace: no count of entries in its head")
        kept, written = map(int, entries.groups())
        if not kept == written == seen:
            raise BrokenOracle(f"trace: {written} events happened, {kept} kept, {seen} read")

    def _add(self, line, clock, pos):
        """File one event; return its clock, which must never go back."""
        match = self.EVENT.search(line)
        if not match:
            raise BrokenOracle(f"trace: not an event: {line.strip()!r}")
        now, name, text = int(match[1]), match[2], match[3]
        if now < clock:
            raise BrokenOracle(f"trace: order goes back from {clock} to {now}")
        field = dict(item.split("=", 1) for item in text.split() if "=" in item)
        add = self.PARSERS.get(name)
        if add:
            try:
                add(self, pos, field)
            except (KeyError, ValueError) as err:
                raise BrokenOracle(f"trace: {name} without a good {err}: {text!r}") from err
        return now

    def _write(self, pos, f):
        self.writes.append(Write(pos, int(f["device"], 16), int(f["channel"]),
                                 int(f["iova"], 16), int(f["npages"]), int(f["seq"])))

    def _pin(self, pos, f):
        # Fewer than were asked for are given back at once.
        if f["ret"] == f["npages"]:
            self.pins.append(Pin(pos, int(f["device"], 16), True, int(f["iova"], 16),
                                 int(f["npages"])))

    def _unpin(self, pos, f):
        self.pins.append(Pin(pos, int(f["device"], 16), False, int(f["iova"], 16),
                             int(f["npages"])))

    def _run(self, pos, f):
        self.runs.append(Run(pos, int(f["report"]), int(f["iova"], 16), int(f["npages"])))

    def _report(self, pos, f):
        self.reports.append(Report(pos, int(f["report"]), f["op"], int(f["iova"], 16),
                                   int(f["size"], 16), int(f["dirty"]), int(f["retained"]),
                                   int(f["ret"])))

    def _start(self, pos, f):
        self.tracking.append(Tracking(pos, True, f["container"]))

    def _stop(self, pos, f):
        self.tracking.append(Tracking(pos, False, f["container"]))

    # The same of a device that tracks by itself.

    def _log_report(self, pos, f):
        self._report(pos, dict(f, op="get", retained="0"))

    def _log_start(self, pos, f):
        self.tracking.append(Tracking(pos, True, DEVICE + f["device"]))

    def _log_stop(self, pos, f):
        self.tracking.append(Tracking(pos, False, DEVICE + f["device"]))

    def _state(self, pos, f):
        self.states.append(State(pos, int(f["device"], 16), int(f["to"])))

    PARSERS = {
        "mdma_write": _write,
        "mdma_pin": _pin,
        "mdma_unpin": _unpin,
        "mdma_state": _state,
        "vfio_dirty_run": _run,
        "vfio_dirty_report": _report,
        "vfio_dirty_start": _start,
        "vfio_dirty_stop": _stop,
        "mdma_log_run": _run,
        "mdma_log_report": _log_report,
        "mdma_log_start": _log_start,
        "mdma_log_stop": _log_stop,
    }


def check_trace_stats(text):
    """An event that the ring buffer dropped would be a page nobody misses."""
    counters = re.findall(r"^(overrun|commit overrun|dropped events): (\d+)$", text, re.M)
    if not counters:
        raise BrokenOracle("trace: no counters of the ring buffer")
    for name, value in counters:
        if int(value):
            raise BrokenOracle(f"trace: ring buffer {name}: {value}")


def read_qemu_log(path):
    """QEMU's own trace: what each GET told it, and in which round.

    Returns [(time, round, dirty pages)], in order.
    """
    event = re.compile(r"(\d+\.\d+):(migration_bitmap_sync_start"
                       r"|vfio_get_dirty_bitmap .*dirty_pages=(\d+))")
    told, rounds = [], 0
    for line in Path(path).read_text(errors="replace").splitlines():
        match = event.search(line)
        if match and match[3] is None:
            rounds += 1
        elif match:
            told.append((float(match[1]), rounds, int(match[3])))
    return told


def pages(iova, npages):
    """The page numbers of a run; a partial first page is a page."""
    first = iova >> PAGE_SHIFT
    return range(first, first + npages)


# --- the set oracle --------------------------------------------------------


def writes_of(trace, device):
    """{page: (place of its last write, last seq, number of writes)} of one device."""
    last = {}
    for event in trace.writes:
        if event.device != device:
            continue
        for i, page in enumerate(pages(event.iova, event.npages)):
            _, seq, count = last.get(page, (0, 0, 0))
            last[page] = (event.pos, max(seq, event.seq + i), count + 1)
    return last


def check_ledger(ledger, written, first_seq=1):
    """Ledger and trace are two records of the same writes: they must agree.

    Where they do not, an event or a record is missing, and the set oracle
    would be blind to that page.
    """
    if not ledger:
        raise BrokenOracle("ledger: empty")
    if ledger.keys() != written.keys():
        odd = sorted(ledger.keys() ^ written.keys())
        raise BrokenOracle(f"ledger and trace differ in {len(odd)} pages, "
                           f"first {odd[0] << PAGE_SHIFT:#x}")
    for page, record in ledger.items():
        _, seq, count = written[page]
        if (record.seq, record.writes) != (seq, count):
            raise BrokenOracle(
                f"page {page << PAGE_SHIFT:#x}: ledger has seq {record.seq} and "
                f"{record.writes} writes, trace has seq {seq} and {count}")
    total = sum(record.writes for record in ledger.values())
    newest = max(record.seq for record in ledger.values())
    if first_seq + total - 1 != newest:
        raise BrokenOracle(f"ledger: {total} writes from number {first_seq} on, but the "
                           f"last has number {newest}")


def reports_of(trace):
    """Return (successful reports, {report number: its runs}), checked."""
    runs, good = {}, []
    for run in trace.runs:
        runs.setdefault(run.report, []).append(run)
    for report in trace.reports:
        if report.ret:
            continue
        told = sum(run.npages for run in runs.get(report.report, ()))
        if told != report.dirty:
            raise BrokenOracle(f"report {report.report}: {report.dirty} pages, "
                               f"its runs have {told}")
        good.append(report)
    numbers = [report.report for report in trace.reports]
    if len(set(numbers)) != len(numbers):
        raise BrokenOracle("trace: a report number is used twice")
    return good, runs


def tracking_start(trace):
    """Place of START. One container only: reports do not name theirs."""
    starts = [event for event in trace.tracking if event.on]
    if not starts:
        raise BrokenOracle("trace: tracking never started")
    if len({event.container for event in trace.tracking}) > 1:
        raise BrokenOracle("trace: more than one container tracked")
    return starts[0].pos


def check_tracker(trace, wanted):
    """Who was asked what is dirty, "container" or "device", must be who should be."""
    for event in trace.tracking:
        seen = "device" if event.container.startswith(DEVICE) else "container"
        if seen != wanted:
            raise BrokenOracle(f"trace: tracked by the {seen}, not by the {wanted}")


def sent_extra(trace, device, good):
    """Pages in reports, each as often as it is in one, that the device had not written
    since the report before that held it, or since the start: sent for nothing."""
    numbers = {report.report for report in good}
    start = tracking_start(trace)
    events = [event for event in trace.writes if event.device == device and event.pos > start]
    events += [run for run in trace.runs if run.report in numbers]
    fresh, extra = set(), 0
    for event in sorted(events, key=lambda event: event.pos):
        touched = set(pages(event.iova, event.npages))
        if isinstance(event, Write):
            fresh |= touched
        else:
            extra += len(touched - fresh)
            fresh -= touched
    return extra


def coverage(good, runs):
    """{page: (place of the last successful run that holds it, report number)}."""
    covered = {}
    for report in good:
        for run in runs.get(report.report, ()):
            for page in pages(run.iova, run.npages):
                covered[page] = max(covered.get(page, (-1, 0)), (run.pos, run.report))
    return covered


def lost_pages(written, covered, start):
    """Pages whose last write came after START and after the last run that holds them."""
    return sorted(page for page, (pos, _, _) in written.items()
                  if pos > start and covered.get(page, (-1, 0))[0] < pos)


def set_oracle(trace, ledger, device, first_seq=1):
    """Compare what was reported with what was written, by order.

    @first_seq: number of the device's first write here; what is before was elsewhere
    """
    written = writes_of(trace, device)
    check_ledger(ledger, written, first_seq)
    start = tracking_start(trace)
    good, runs = reports_of(trace)
    if not any(report.dirty for report in good):
        raise BrokenOracle("no report holds a page")
    covered = coverage(good, runs)
    lost = lost_pages(written, covered, start)
    return {
        "pages_written": sum(record.writes for record in ledger.values()),
        "pages_written_tracked": sum(event.npages for event in trace.writes
                                     if event.device == device and event.pos > start),
        "pages_written_distinct": len(ledger),
        "pages_reported": len(covered),
        "pages_reported_total": sum(report.dirty for report in good),
        "pages_extra": len(covered.keys() - written.keys()),
        "pages_sent_extra": sent_extra(trace, device, good),
        "pages_lost": len(lost),
        "reports": len(good),
        "reports_failed": len(trace.reports) - len(good),
        "last_seq": max(record.seq for record in ledger.values()),
        "lost": lost,
        "covered": covered,
    }


# --- the data oracle -------------------------------------------------------


def data_oracle(ram, expected_pages):
    """Judge the comparison of RAM that was made at switchover."""
    compared, different = ram["pages_compared"], ram["different"]
    if compared != expected_pages:
        raise BrokenOracle(f"RAM: {compared} of {expected_pages} pages compared")
    numbers = [entry["page"] for entry in different]
    if len(numbers) != ram["pages_different"] or len(set(numbers)) != len(numbers):
        raise BrokenOracle("RAM: the list of different pages is not their number")
    return {"ram_pages_compared": compared, "ram_pages_different": len(numbers)}


def name_pages(numbers, ledger, covered, stamps):
    """What is known of the first few pages: enough to start debugging."""
    named = []
    for page in numbers[:NAMED]:
        record = ledger.get(page)
        stamp = stamps.get(page, {})
        named.append({
            "iova": f"{page << PAGE_SHIFT:#x}",
            "written_by_device": record is not None,
            "seq": record.seq if record else None,
            "writes": record.writes if record else 0,
            "channel": record.channel if record else None,
            "last_report": covered[page][1] if page in covered else None,
            "seq_in_source": stamp.get("source_seq"),
            "seq_in_destination": stamp.get("destination_seq"),
        })
    return named


# --- the guest and the workload -------------------------------------------


def guest_checks(source, destination):
    """Count the guest's own verdicts. The console is one stream over both VMs.

    A line may begin on the source and end on the destination, so the two logs
    are joined; a line counts where it ended.
    """
    joined, edge = source + destination, len(source)
    result = {"guest_checks_passed": 0, "guest_checks_passed_destination": 0,
              "guest_checks_failed": 0}
    for match in re.finditer(r"MDMA-GUEST (pass|fail) (\d+)[^\n]*\n", joined):
        if match[1] == "fail":
            result["guest_checks_failed"] += 1
            continue
        result["guest_checks_passed"] += 1
        if match.end() > edge:
            result["guest_checks_passed_destination"] += 1
    return result


def workload_continued(trace, device, last_seq, settings):
    """Did the destination's device go on with the very next page write?

    Returns None, or what is wrong. @settings is (source's, destination's)
    workload attributes, read after the switch.
    """
    writes = [event for event in trace.writes if event.device == device]
    if not writes:
        return "the destination's device wrote nothing"
    first = min(event.seq for event in writes)
    if first != last_seq + 1:
        return f"the source stopped at seq {last_seq}, the destination began with {first}"
    before, after = settings
    odd = [name for name in before if before[name] != after.get(name)]
    if not before or odd:
        return "the workload's settings did not travel: " + (", ".join(odd) or "none known")
    return None


# --- one leg ---------------------------------------------------------------


def device_number(uuid):
    """What trace events and stamps call a device: the UUID's first 4 bytes."""
    return int(uuid.split("-")[0], 16)


def read_leg(directory):
    """Load the evidence of a leg; raise BrokenOracle where some is missing."""
    directory = Path(directory)
    try:
        facts = json.loads((directory / "leg.json").read_text())
        if facts.get("error"):
            return facts, None
        check_trace_stats((directory / "trace-stats.txt").read_text())
        trace = Trace.read(directory / "trace.txt")
        return facts, {
            "trace": trace,
            "destination_trace": destination_trace(directory) or trace,
            "ledger": read_ledger(directory / "ledger.bin"),
            "ram": json.loads((directory / "ram.json").read_text()),
            "qemu": read_qemu_log(directory / "source.qemu"),
            "source": (directory / "source.serial").read_text(errors="replace"),
            "destination": (directory / "destination.serial").read_text(errors="replace"),
        }
    except (OSError, ValueError) as err:
        raise BrokenOracle(f"evidence: {err}") from err


def destination_trace(directory):
    """The trace of the host that the guest came to; None if it is the source's host."""
    path = directory / "destination-trace.txt"
    if not path.exists():
        return None
    check_trace_stats((directory / "destination-trace-stats.txt").read_text())
    return Trace.read(path)


def examine(facts, evidence):
    """All numbers of a leg, without judging them."""
    trace, ledger, ram = evidence["trace"], evidence["ledger"], evidence["ram"]
    check_tracker(trace, facts.get("tracking", "container"))
    result = set_oracle(trace, ledger, device_number(facts["source_uuid"]),
                        facts.get("first_seq", 1))
    lost, covered = result.pop("lost"), result.pop("covered")
    result.update(data_oracle(ram, facts["ram_pages"]))
    result.update(guest_checks(evidence["source"], evidence["destination"]))
    result["guest_clock_jump_s"] = switchover.clock_jump(evidence["source"],
                                                         evidence["destination"])
    different = [entry["page"] for entry in ram["different"]]
    stamps = {entry["page"]: entry for entry in ram["different"]}
    result["ram_pages_unexplained"] = len(set(different) - set(lost))
    result["lost"] = name_pages(lost, ledger, covered, stamps)
    result["different"] = name_pages(different, ledger, covered, stamps)
    problem = workload_continued(evidence["destination_trace"],
                                 device_number(facts["destination_uuid"]),
                                 result["last_seq"], (facts["workload"]["source"],
                                                      facts["workload"]["destination"]))
    result["workload_continued"] = problem is None
    result["workload_problem"] = problem
    return result


def soundness(result):
    """Reasons why a leg's numbers prove nothing, whatever they say."""
    floors = (("pages_written", MIN_PAGES_WRITTEN), ("ram_pages_compared", MIN_PAGES_COMPARED))
    reasons = [f"{key} is {result[key]}, must be more than {floor}"
               for key, floor in floors if result[key] <= floor]
    if result["rounds"] < MIN_ROUNDS:
        reasons.append(f"rounds is {result['rounds']}, must be at least {MIN_ROUNDS}")
    if not result["pages_reported"]:
        reasons.append("nothing was reported")
    for key in ("downtime_ms", "expected_downtime_ms", "held_s", "held_idle_s"):
        if result[key] is None:
            reasons.append(f"{key} is not known")
    if result["migration_status"] != "completed":
        reasons.append(f"migration: {result['migration_status']}")
    return reasons


def gets(trace):
    """Successful GETs in order: what QEMU was told, UNMAPs apart."""
    return [report for report in trace.reports if report.op == "get" and not report.ret]


def check_told(log, trace):
    """QEMU's own count of what each GET told it must be the trace's count."""
    told = [dirty for _, _, dirty in log]
    traced = [report.dirty for report in gets(trace)]
    if told != traced:
        raise BrokenOracle(f"QEMU was told {sum(told)} pages in {len(told)} reports, "
                           f"the trace has {sum(traced)} in {len(traced)}")


def by_round(log, trace):
    """What the device's reports held in each round of pre-copy."""
    rounds = {}
    for (time, number, _), report in zip(log, gets(trace)):
        entry = rounds.setdefault(number, {"round": number, "time": time,
                                           "reported": 0, "retained": 0})
        entry["reported"] += report.dirty
        entry["retained"] += report.retained
    return list(rounds.values())


def judge_leg(directory):
    """Numbers of a leg plus `reasons`: why it proves nothing. Never raises."""
    result = empty_leg()
    try:
        facts, evidence = read_leg(directory)
        result.update(facts.get("summary", {}))
        if evidence is None:
            result["reasons"] = [facts["error"]]
            return result
        result.update(examine(facts, evidence))
        check_told(evidence["qemu"], evidence["trace"])
        result["by_round"] = by_round(evidence["qemu"], evidence["trace"])
        result["reasons"] = soundness(result)
    except (BrokenOracle, KeyError, TypeError) as err:
        text = f"missing: {err}" if isinstance(err, KeyError) else str(err)
        result["reasons"] = ["oracle broken: " + text]
    return result


def empty_leg():
    """Every stable key, with the value that can not be mistaken for a pass."""
    keys = ("pages_written", "pages_written_tracked", "pages_written_distinct",
            "pages_reported", "pages_reported_total", "pages_lost", "pages_extra",
            "pages_sent_extra",
            "ram_pages_compared", "ram_pages_different", "ram_pages_unexplained",
            "rounds", "downtime_ms", "expected_downtime_ms", "guest_checks_failed",
            "guest_checks_passed", "guest_checks_passed_destination", "held_s",
            "held_idle_s", "guest_clock_jump_s")
    leg = dict.fromkeys(("kernel", "qemu", "accel", "backend"))
    leg.update(dict.fromkeys(keys))
    leg.update(migration_status="unknown", workload_continued=False,
               workload_problem=None, lost=[], different=[], by_round=[], reasons=[])
    return leg


# --- the verdict -----------------------------------------------------------


def main_reasons(leg):
    """Why the main leg fails; empty if it passes."""
    if leg["reasons"]:
        return leg["reasons"]
    must_be_zero = ("pages_lost", "ram_pages_different", "guest_checks_failed")
    reasons = [f"{key} is {leg[key]}, must be 0" for key in must_be_zero if leg[key]]
    if not leg["guest_checks_passed_destination"]:
        reasons.append("no check of the guest passed on the destination")
    if not leg["workload_continued"]:
        reasons.append("workload: " + leg["workload_problem"])
    return reasons + switchover.noticed(leg["held_s"], leg["guest_clock_jump_s"])


def control_reasons(leg):
    """Why the control fails: an oracle that passes a broken backend is blind."""
    if leg is None:
        return ["there was no control"]
    if leg["reasons"]:
        return leg["reasons"]
    must_fail = (("pages_lost", "lost"), ("ram_pages_different", "different"))
    reasons = [f"{key} is {leg[key]} on a backend that forgets pages"
               for key, names in must_fail if not leg[key] or not leg[names]]
    if not reasons and leg["ram_pages_unexplained"]:
        reasons.append(f"{leg['ram_pages_unexplained']} pages differ, but none was lost there")
    return reasons


def lab_reasons(results):
    """What went wrong around the scenario; a real host leaves no job.json."""
    if not (results / "job.json").exists():
        return []
    status, reasons = results / "status", []
    if not status.exists():
        reasons.append("the lab ended without a status")
    elif status.read_text().strip() != "0":
        reasons.append(f"the scenario ended with {status.read_text().strip()}")
    findings = dmesg.scan_files([results / "dmesg.txt", results / "console.txt"])
    return reasons + [f"kernel log: {what}: {line}" for what, line in findings[:NAMED]]


def judge(results, with_control=True):
    """The whole run: the main leg must pass and the control must fail."""
    results = Path(results)
    verdict = judge_leg(results / "main")
    reasons = main_reasons(verdict)
    verdict["control"] = None
    for name in OTHER_LEGS:
        verdict[name] = None
        if (results / name).is_dir():
            verdict[name] = judge_leg(results / name)
            reasons = reasons + [f"{name}: {reason}"
                                 for reason in main_reasons(verdict[name])]
    if with_control:
        control = judge_leg(results / "control")
        trouble = control_reasons(control)
        control["verdict"] = "blind" if trouble else "caught"
        control["reasons"] = trouble
        verdict["control"] = control
        reasons = reasons + ["control: " + reason for reason in trouble]
        if control["backend"] is not None and control["backend"] == verdict["backend"]:
            reasons.append("control: ran on the same backend as the main leg")
    reasons = reasons + lab_reasons(results)
    verdict["verdict"] = "fail" if reasons else "pass"
    verdict["reasons"] = reasons
    return verdict


if __name__ == "__main__":
    from report import finish
    sys.exit(finish(sys.argv[1]))
