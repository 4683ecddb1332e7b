# SPDX-License-Identifier: GPL-2.0-only
"""The oracles of a migration: pure functions on the files a leg left behind.

A leg is one live migration; its directory holds what was seen while it ran:

  ledger.bin       struct mdma_ledger_record of every page the source wrote
  trace/           one ftrace instance, trace_clock=counter: a global order; see ring_buffer.py
  ram.json         pages compared, pages that differ, and their stamps
  stamps.json      pages of the window that the device wrote, and those without its last stamp
  leg.json         what the scenario did, saw and sampled
  source.qemu      QEMU's own trace of the bitmaps that it was told
  source.serial, destination.serial   the guest's console before and after
  destination-trace/   of the other host, where there are two

Two oracles that share nothing but the ledger judge it. The set oracle asks
whether every page was in a report after its last write; the data oracle
whether every byte of RAM is the same on both sides, and whether the source's
RAM has what the ledger says was written last. Nothing here passes by absence:
no event, no report, no page compared is a failure.

Order is the trace's: a write event comes after its bytes were written and
while the page is pinned; a run event comes at or before the snapshot. So a run
after a write holds that write, and a page is lost if no run of a successful
report comes after its last write. Writes before START are excused: QEMU sends
all memory once after START.
"""

import json
import re
import struct
from collections import namedtuple
from pathlib import Path

from base import qemu_events
from judge import dmesg, events, moves, ram, standstill
from judge.events import DEVICE, BrokenOracle, Report, Run, Tracking, Write

PAGE_SHIFT = 12
PAGE_SIZE = 1 << PAGE_SHIFT
NAMED = 10
# Other legs, which must also pass if they exist: with tracking by the device, the same workload
# tracked by the container, and by the device on iommufd, to compare; between two hosts, the way
# back.
OTHER_LEGS = ("compared", "iommufd", "back")

# What a leg must have at least, or it proves nothing: page writes under tracking, or fewer if its
# settings ask for fewer, but not less than FEWEST; pages of RAM; rounds.
MIN_PAGES_WRITTEN = 100_000
FEWEST_PAGES_WRITTEN = 40_000
MIN_PAGES_COMPARED = 60_000
MIN_ROUNDS = 3

# What trace.py leaves of a workload that never had to wait for the trace.
NOT_SLOWED = {"times": 0, "least": None, "why": []}

LEDGER_RECORD = struct.Struct("<QQQII")

Ledger = namedtuple("Ledger", "seq writes channel")


# --- reading the evidence -------------------------------------------------


def read_ledger(path):
    """Return {page number: Ledger}; a truncated or unsorted file is no evidence."""
    return parse_ledger(Path(path).read_bytes(), Path(path).name)


def parse_ledger(data, name):
    """The same for the bytes of a ledger, which messages call @name."""
    if len(data) % LEDGER_RECORD.size:
        raise BrokenOracle(f"{name}: {len(data)} bytes is no whole number of records")
    ledger, last = {}, -1
    for iova, seq, writes, channel, _ in LEDGER_RECORD.iter_unpack(data):
        if iova <= last:
            raise BrokenOracle(f"{name}: IOVA {iova:#x} is out of order")
        last = iova
        ledger[iova >> PAGE_SHIFT] = Ledger(seq, writes, channel)
    return ledger


def read_qemu_log(path):
    """QEMU's own trace, see parse_qemu_log()."""
    return parse_qemu_log(Path(path).read_text(errors="replace"))


def parse_qemu_log(text):
    """What each GET told QEMU, and in which round, by its own trace.

    Returns [(time, round, dirty pages)], in order.
    """
    told, rounds = [], 0
    for time, event, rest in qemu_events.read(text):
        dirty = re.search(r"dirty_pages=(\d+)", rest)
        if event == "migration_bitmap_sync_start":
            rounds += 1
        elif event in qemu_events.GETS and dirty:
            told.append((time, rounds, int(dirty[1])))
    return told


def pages(iova, npages):
    """The page numbers of a run; a partial first page counts as a page."""
    first = iova >> PAGE_SHIFT
    return range(first, first + npages)


# --- the set oracle --------------------------------------------------------


class OpenReport:
    """A report whose end was not seen yet.

    @extra: pages in it that are sent for nothing
    @taken: pages that counted as fresh; they do so again if the report fails
    """

    def __init__(self):
        self.runs, self.extra, self.taken = [], 0, set()


class Seen:
    """What the set oracle needs of a trace, collected event by event.

    Its size depends on the number of pages and reports, not of events.

    @written: page -> (place of its last write, last seq, number of writes), of one device
    @first:   device -> number of its first write
    @start:   place of START, None until then
    @tracked: page writes of the device since then
    @covered: page -> (place of the last successful run that holds it, report number)
    @got:     page -> place of the last such run in the report of a GET, whose user is QEMU for sure
    @extra:   pages in reports that the device had not written since the last report that held
              them, or since START; each counts as often as it is reported: sent for nothing
    """

    def __init__(self, device):
        self.device, self.start, self.tracked, self.extra = device, None, 0, 0
        self.written, self.first, self.covered, self.got = {}, {}, {}, {}
        self.tracking, self.reports, self.problems = [], [], []
        self.open, self.fresh, self.numbers = {}, set(), set()

    def add(self, event):
        """Process the next event."""
        add = self.ADD.get(type(event))
        if add:
            add(self, event)

    def _write(self, event):
        first = self.first.get(event.device)
        if first is None or event.seq < first:
            self.first[event.device] = event.seq
        if event.device != self.device:
            return
        for i, page in enumerate(pages(event.iova, event.npages)):
            _, seq, count = self.written.get(page, (0, 0, 0))
            self.written[page] = (event.pos, max(seq, event.seq + i), count + 1)
        if self.start is not None:
            self.tracked += event.npages
            self.fresh.update(pages(event.iova, event.npages))

    def _track(self, event):
        self.tracking.append(event)
        if event.on and self.start is None:
            self.start = event.pos

    def _run(self, event):
        report = self.open.setdefault(event.report, OpenReport())
        touched = set(pages(event.iova, event.npages))
        report.runs.append(event)
        report.extra += len(touched - self.fresh)
        report.taken |= touched & self.fresh
        self.fresh -= touched

    def _report(self, event):
        report = self.open.pop(event.report, None) or OpenReport()
        self.reports.append(event)
        if event.report in self.numbers:
            self.problems.append("trace: a report number is used twice")
        self.numbers.add(event.report)
        if event.ret:
            self.fresh |= report.taken
            return
        told = sum(run.npages for run in report.runs)
        if told != event.dirty:
            self.problems.append(f"report {event.report}: {event.dirty} pages, "
                                 f"its runs have {told}")
        self.extra += report.extra
        for run in report.runs:
            for page in pages(run.iova, run.npages):
                self.covered[page] = max(self.covered.get(page, (-1, 0)), (run.pos, run.report))
                if event.op == "get":
                    self.got[page] = max(self.got.get(page, -1), run.pos)

    ADD = {Write: _write, Run: _run, Report: _report, Tracking: _track}

    def good(self):
        """Reports that reached user space."""
        return [report for report in self.reports if not report.ret]

    def gets(self):
        """Successful GETs in order: what QEMU was told, without the UNMAPs."""
        return [report for report in self.good() if report.op == "get"]


def check_ledger(ledger, written, first_seq=1):
    """Ledger and trace are two records of the same writes, so they must agree.

    A difference means that an event or a record is missing: the set oracle would be blind to that
    page.
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


def check_tracking(seen):
    """There was a START, of one container only, since reports do not name their container."""
    if seen.start is None:
        raise BrokenOracle("trace: tracking never started")
    if len({event.container for event in seen.tracking}) > 1:
        raise BrokenOracle("trace: more than one container tracked")


def check_tracker(tracking, wanted):
    """The tracker in the trace, "container" or "device", must be the one that was set."""
    for event in tracking:
        seen = "device" if event.container.startswith(DEVICE) else "container"
        if seen != wanted:
            raise BrokenOracle(f"trace: tracked by the {seen}, not by the {wanted}")


def lost_pages(seen):
    """Pages whose last write came after START and after the last run that holds them."""
    return sorted(page for page, (pos, _, _) in seen.written.items()
                  if pos > seen.start and seen.covered.get(page, (-1, 0))[0] < pos)


def unmapped_pages(seen):
    """Pages that are not lost, but whose last write is in reports of UNMAPs alone. QEMU does not
    say what it does with those."""
    return sorted(page for page, (pos, _, _) in seen.written.items()
                  if pos > seen.start and seen.got.get(page, -1) < pos
                  <= seen.covered.get(page, (-1, 0))[0])


def set_oracle(seen, ledger, first_seq=1):
    """Compare what was reported with what was written, by order.

    @first_seq: number of the device's first write here; earlier ones were made elsewhere
    """
    check_ledger(ledger, seen.written, first_seq)
    check_tracking(seen)
    if seen.problems:
        raise BrokenOracle(seen.problems[0])
    good = seen.good()
    if not any(report.dirty for report in good):
        raise BrokenOracle("no report holds a page")
    return {
        "pages_written": sum(record.writes for record in ledger.values()),
        "pages_written_tracked": seen.tracked,
        "pages_written_distinct": len(ledger),
        "pages_reported": len(seen.covered),
        "pages_reported_total": sum(report.dirty for report in good),
        "pages_extra": len(seen.covered.keys() - seen.written.keys()),
        "pages_sent_extra": seen.extra,
        "reports": len(good),
        "reports_failed": len(seen.reports) - len(good),
        "last_seq": max(record.seq for record in ledger.values()),
    }


# --- the data oracle -------------------------------------------------------


def data_oracle(found, expected_pages):
    """Judge the comparison of RAM that was made at switchover."""
    compared, different = found["pages_compared"], found["different"]
    if compared != expected_pages:
        raise BrokenOracle(f"RAM: {compared} of {expected_pages} pages compared")
    places = [entry["place"] for entry in different]
    if len(places) != found["pages_different"] or len(set(places)) != len(places):
        raise BrokenOracle("RAM: the list of different pages is not their number")
    return {"ram_pages_compared": compared, "ram_pages_different": len(places)}


def check_stamps(memory, ledger, window):
    """What stamps.json has. The ledger and the trace say what a device did; this is what came of
    it: each page of the window must hold the number of its last write.

    @memory: RamFiles or a Copy of the source, which is stopped
    @window: page numbers
    """
    pages = sorted(ledger.keys() & window)
    stamps = ram.stamps(memory, pages)
    wrong = [page for page in pages if stamps[page] != ledger[page].seq]
    return {"stamps_checked": len(pages), "stamps_wrong": len(wrong),
            "wrong": [{"iova": f"{page << PAGE_SHIFT:#x}", "seq": ledger[page].seq,
                       "stamp": stamps[page]} for page in wrong[:NAMED]]}


def name_page(page, ledger, covered, entry):
    """Details of a page: enough to start debugging.

    @page:  its number, None if the guest can't see it: then its place in RAM names it
    @entry: what ram.json has of it; empty if it does not differ
    """
    record = ledger.get(page)
    return {
        "iova": entry["place"] if page is None else f"{page << PAGE_SHIFT:#x}",
        "written_by_device": record is not None,
        "seq": record.seq if record else None,
        "writes": record.writes if record else 0,
        "channel": record.channel if record else None,
        "last_report": covered[page][1] if page in covered else None,
        "seq_in_source": entry.get("source_seq"),
        "seq_in_destination": entry.get("destination_seq"),
    }


# --- the guest and the workload -------------------------------------------


def guest_checks(source, destination):
    """Count the guest's own verdicts.

    The console is one stream over both VMs. A line may begin on the source and end on the
    destination, so the two logs are joined; a line counts where it ends.
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


def workload_continued(first, last_seq, settings):
    """Whether the destination's device continued with the very next page write.

    Returns None, or what is wrong. @first is the number of its first write, or None. @settings is
    (source's, destination's) workload attributes, read after the switchover.
    """
    if first is None:
        return "the destination's device wrote nothing"
    if first != last_seq + 1:
        return f"the source stopped at seq {last_seq}, the destination began with {first}"
    before, after = settings
    odd = [name for name in before if before[name] != after.get(name)]
    if not before or odd:
        return "the workload's settings did not travel: " + (", ".join(odd) or "none known")
    return None


# --- one leg ---------------------------------------------------------------


def device_number(uuid):
    """How trace events and stamps identify a device: the first 4 bytes of its UUID."""
    return int(uuid.split("-")[0], 16)


def read_leg(directory):
    """Load the evidence of a leg; raise BrokenOracle if some is missing."""
    directory = Path(directory)
    try:
        facts = json.loads((directory / "leg.json").read_text())
        if facts.get("error"):
            return facts, None
        return facts, {
            "trace": events.Trace(directory / "trace"),
            "destination_trace": destination_trace(directory),
            "ledger": read_ledger(directory / "ledger.bin"),
            "slowed": json.loads((directory / "trace/slowed.json").read_text()),
            "ram": json.loads((directory / "ram.json").read_text()),
            "stamps": json.loads((directory / "stamps.json").read_text()),
            "qemu": read_qemu_log(directory / "source.qemu"),
            "source": (directory / "source.serial").read_text(errors="replace"),
            "destination": (directory / "destination.serial").read_text(errors="replace"),
        }
    except (OSError, ValueError) as err:
        raise BrokenOracle(f"evidence: {err}") from err


def destination_trace(directory):
    """The trace of the destination's host; None if that is also the source's host."""
    path = directory / "destination-trace"
    return events.Trace(path) if path.is_dir() else None


def see(facts, evidence, *watchers, there=()):
    """Collect what a leg's traces show; @watchers see the source's trace as well, and those of
    @there the destination's, if it has its own."""
    seen = Seen(device_number(facts["source_uuid"]))
    events.watch(evidence["trace"], seen, *watchers)
    at_destination = seen
    if evidence["destination_trace"]:
        at_destination = Seen(None)
        events.watch(evidence["destination_trace"], at_destination, *there)
    return seen, at_destination.first.get(device_number(facts["destination_uuid"]))


def order_reasons(facts, orders):
    """What is wrong with the order of page writes: each has a number of its own, the source's come
    first, and none is made by a device that must not write."""
    for order in orders:
        if order.writes:
            order.end()
    reasons = [reason for order in orders for reason in order.reasons]
    visits = [device for order in orders for device in order.visits]
    if visits != [device_number(facts[key]) for key in ("source_uuid", "destination_uuid")]:
        reasons.append("not the source and then the destination wrote, but "
                       + (", ".join(f"{device:08x}" for device in visits) or "nobody"))
    return reasons


def examine(facts, evidence):
    """All numbers of a leg, without a judgement."""
    ledger, memory = evidence["ledger"], evidence["ram"]
    first_seq = facts.get("first_seq", 1)
    here = moves.Order(first_seq)
    there = moves.Order(max((record.seq for record in ledger.values()), default=0) + 1)
    seen, first_there = see(facts, evidence, here, there=[there])
    check_tracker(seen.tracking, facts.get("tracking", "container"))
    result = set_oracle(seen, ledger, first_seq)
    lost, covered = lost_pages(seen), seen.covered
    result["pages_lost"] = len(lost)
    result["pages_told_by_unmap"] = len(unmapped_pages(seen))
    result.update(data_oracle(memory, facts["ram_pages"]))
    result.update((key, evidence["stamps"][key]) for key in ("stamps_checked", "stamps_wrong"))
    result.update(guest_checks(evidence["source"], evidence["destination"]))
    result["guest_clock_jump_s"] = standstill.clock_jump(evidence["source"],
                                                         evidence["destination"])
    different = {entry["page"]: entry for entry in memory["different"]}
    explained = set(lost)
    result["ram_pages_unexplained"] = sum(entry["page"] not in explained
                                          for entry in memory["different"])
    result["lost"] = [name_page(page, ledger, covered, different.get(page, {}))
                      for page in lost[:NAMED]]
    result["different"] = [name_page(entry["page"], ledger, covered, entry)
                           for entry in memory["different"][:NAMED]]
    problem = workload_continued(first_there, result["last_seq"],
                                 (facts["workload"]["source"],
                                  facts["workload"]["destination"]))
    result["workload_continued"] = problem is None
    result["workload_problem"] = problem
    result["order"] = order_reasons(facts, (here, there))
    check_told(evidence["qemu"], seen.gets())
    result["by_round"] = by_round(evidence["qemu"], seen.gets())
    return result


def least_written(settings):
    """Page writes under tracking that a leg with these settings must have. The scenario waits for
    pages_min by its own clock: some of these may come before START."""
    wanted = settings.get("pages_min", MIN_PAGES_WRITTEN * 2)
    return min(MIN_PAGES_WRITTEN, max(FEWEST_PAGES_WRITTEN, wanted * 10 // 11))


def soundness(result, settings):
    """Reasons why the numbers of a leg with these settings prove nothing, whatever they are."""
    floors = (("pages_written_tracked", least_written(settings)), ("stamps_checked", 0),
              ("ram_pages_compared", MIN_PAGES_COMPARED))
    reasons = [f"{key} is {result[key]}, must be more than {floor}"
               for key, floor in floors if result[key] <= floor]
    if result["rounds"] < MIN_ROUNDS:
        reasons.append(f"rounds is {result['rounds']}, must be at least {MIN_ROUNDS}")
    if not result["pages_reported"]:
        reasons.append("nothing was reported")
    if result["stamps_wrong"]:
        reasons.append(f"{result['stamps_wrong']} pages of the source's RAM do not hold what the "
                       "device wrote last")
    if result["pages_told_by_unmap"]:
        reasons.append(f"{result['pages_told_by_unmap']} pages are in reports of UNMAPs alone: "
                       "whether QEMU sent them is not known")
    for key in ("downtime_ms", "expected_downtime_ms", "held_s", "held_idle_s"):
        if result[key] is None:
            reasons.append(f"{key} is not known")
    if result["migration_status"] != "completed":
        reasons.append(f"migration: {result['migration_status']}")
    return reasons


def check_told(log, gets):
    """QEMU's own count of the pages that each GET reported must equal the trace's."""
    if not log:
        raise BrokenOracle("QEMU asked for no report")
    told = [dirty for _, _, dirty in log]
    traced = [report.dirty for report in gets]
    if told != traced:
        raise BrokenOracle(f"QEMU was told {sum(told)} pages in {len(told)} reports, "
                           f"the trace has {sum(traced)} in {len(traced)}")


def by_round(log, gets):
    """Pages in the device's reports, for each round of pre-copy."""
    rounds = {}
    for (time, number, _), report in zip(log, gets):
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
        result["slowed"] = evidence["slowed"]
        result["slowed_times"] = evidence["slowed"]["times"]
        result.update(examine(facts, evidence))
        result["reasons"] = soundness(result, facts.get("settings", {}))
    except (BrokenOracle, KeyError, TypeError) as err:
        text = f"missing: {err}" if isinstance(err, KeyError) else str(err)
        result["reasons"] = ["oracle broken: " + text]
    return result


def empty_leg():
    """Every key of a leg, with a value that can't be mistaken for a pass."""
    keys = ("pages_written", "pages_written_tracked", "pages_written_distinct",
            "pages_reported", "pages_reported_total", "pages_lost", "pages_extra",
            "pages_sent_extra", "pages_told_by_unmap", "stamps_checked", "stamps_wrong",
            "ram_pages_compared", "ram_pages_different", "ram_pages_unexplained",
            "rounds", "downtime_ms", "expected_downtime_ms", "guest_checks_failed",
            "guest_checks_passed", "guest_checks_passed_destination", "held_s",
            "held_idle_s", "guest_clock_jump_s", "slowed_times")
    leg = dict.fromkeys(("kernel", "qemu", "accel", "container", "backend"))
    leg.update(dict.fromkeys(keys))
    leg.update(migration_status="unknown", workload_continued=False,
               workload_problem=None, slowed=NOT_SLOWED, order=[], lost=[], different=[],
               by_round=[], reasons=[])
    return leg


# --- the verdict -----------------------------------------------------------


def guest_reasons(leg):
    """Why a leg fails of which only the guest and its memory are known; empty if it passes."""
    if leg["reasons"]:
        return leg["reasons"]
    must_be_zero = ("pages_lost", "ram_pages_different", "guest_checks_failed")
    reasons = [f"{key} is {leg[key]}, must be 0" for key in must_be_zero if leg[key]]
    if not leg["guest_checks_passed_destination"]:
        reasons.append("no check of the guest passed at the destination")
    return reasons


def main_reasons(leg):
    """Why the main leg fails; empty if it passes."""
    if leg["reasons"]:
        return leg["reasons"]
    reasons = guest_reasons(leg)
    if not leg["workload_continued"]:
        return [*reasons, "workload: " + leg["workload_problem"]]
    reasons += [f"writes: {reason}" for reason in leg["order"]]
    return reasons + standstill.noticed(leg["held_s"], leg["guest_clock_jump_s"])


def other_reasons(name, leg):
    """The same for one of OTHER_LEGS."""
    reasons = main_reasons(leg)
    if not reasons and name == "iommufd" and leg["container"] != name:
        reasons = [f"the container was {leg['container']}"]
    return reasons


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


def same_backend(main, control):
    """Whether the control ran on what it is to be compared with: a reason, or none."""
    if not main or not control:
        return ["which backend the main leg or the control ran on is not known"]
    return ["it ran on the same backend as the main leg"] * (main == control)


def lab_reasons(results):
    """What went wrong in the lab around the scenario; on a real host there is no job.json."""
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
    """Judge the whole run: the main leg must pass and the control must fail."""
    results = Path(results)
    verdict = judge_leg(results / "main")
    reasons = main_reasons(verdict)
    verdict["control"] = None
    for name in OTHER_LEGS:
        verdict[name] = None
        if (results / name).is_dir():
            verdict[name] = judge_leg(results / name)
            reasons = reasons + [f"{name}: {reason}"
                                 for reason in other_reasons(name, verdict[name])]
    if with_control:
        control = judge_leg(results / "control")
        trouble = control_reasons(control)
        control["verdict"] = "blind" if trouble else "caught"
        control["reasons"] = trouble
        verdict["control"] = control
        reasons = reasons + ["control: " + reason for reason in trouble]
        reasons = reasons or [f"control: {reason}" for reason
                              in same_backend(verdict["backend"], control["backend"])]
    reasons = reasons + lab_reasons(results)
    verdict["verdict"] = "fail" if reasons else "pass"
    verdict["reasons"] = reasons
    return verdict
