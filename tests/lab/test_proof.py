#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""The oracles must be able to fail: one case for each thing they check.

Each test takes the evidence of a small but good leg, breaks one thing in it, and expects the
verdict to fail for that reason and no other.
"""

import json
import sys
import tempfile
import unittest
from pathlib import Path
from unittest import mock

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parents[1] / "scripts/lab.d")]

# pylint: disable=wrong-import-position
import recording
from base import qemu_events
from judge import events, proof, ram

SOURCE, DESTINATION = "0badcafe-0000-4000-8000-000000000001", "feedf00d-0000-4000-8000-000000000002"
RAM_PAGES = 64


def write(seq, page, npages=1, device=SOURCE, channel=0):
    """A write of the device."""
    return (f"mdma_write: device={device[:8]} channel={channel} iova={page << 12:#x} "
            f"npages={npages} seq={seq}")


def pin(page, npages, ret=None, device=SOURCE):
    """Pages that the device pinned: @ret of them, all by default."""
    return (f"mdma_pin: device={device[:8]} iova={page << 12:#x} npages={npages} write=1 "
            f"ret={npages if ret is None else ret}")


def unpin(page, npages, device=SOURCE):
    """Pages that it unpinned."""
    return f"mdma_unpin: device={device[:8]} iova={page << 12:#x} npages={npages}"


def run(report, page, npages=1):
    """A run of pages that a report holds."""
    return f"vfio_dirty_run: report={report} iova={page << 12:#x} npages={npages}"


def report(number, dirty, ret=0, op="get"):
    """The end of a report."""
    return (f"vfio_dirty_report: report={number} op={op} iova=0x0 size=0x40000 "
            f"dirty={dirty} retained={dirty} ret={ret}")


START, STOP = "vfio_dirty_start: container=00000000aa", "vfio_dirty_stop: container=00000000aa"


def differs(page, **seqs):
    """The entry in ram.json of a page that differs, in a guest whose RAM begins at 0."""
    return {"page": page, "place": f"ram+{page << 12:#x}", **seqs}


class Evidence:
    """A leg's directory. The good one: pages 1 and 2 written before START,
    3 to 6 after it; 3 and 4 reported, then 3 written and reported again."""

    def __init__(self):
        self.events = [write(1, 1, 2), START, write(3, 3, 4), run(7, 3, 4), report(7, 4),
                       write(7, 3), run(8, 3), report(8, 1), STOP, write(8, 9, device=DESTINATION)]
        self.ledger = {1: (1, 1, 0), 2: (2, 1, 0), 3: (7, 2, 0), 4: (4, 1, 0),
                       5: (5, 1, 0), 6: (6, 1, 0)}
        self.different = []
        self.compared = RAM_PAGES
        self.stamps = {"stamps_checked": 6, "stamps_wrong": 0, "wrong": []}
        self.losses, self.slowed = (0, 0, 0), None
        self.lost_entries = 0
        self.source = "MDMA-GUEST ready\nMDMA-GUEST pass 1\n"
        self.destination = "MDMA-GUEST pass 2\n"
        self.qemu, self.get = [4, 1], qemu_events.GETS[0]
        self.stamp = "1@{}:"
        settings = {"seed": "1", "window": "0-fff"}
        self.facts = {
            "source_uuid": SOURCE, "destination_uuid": DESTINATION, "ram_pages": RAM_PAGES,
            "workload": {"source": settings, "destination": dict(settings)},
            "summary": {"kernel": "6.12", "qemu": "10.0", "accel": "kvm", "backend": "ours",
                        "container": "type1", "rounds": 4, "downtime_ms": 12,
                        "expected_downtime_ms": 10,
                        "migration_status": "completed", "held_s": 0.5, "held_idle_s": 0.4},
        }

    def forget(self):
        """Make it the evidence of a backend that forgets page 3 the second time."""
        self.events.remove(run(8, 3))
        self.events[self.events.index(report(8, 1))] = report(8, 0)
        self.qemu = [4, 0]
        self.different = [differs(3, source_seq=7, destination_seq=3)]
        self.facts["summary"]["backend"] = "mutant"
        return self

    def save_trace(self, directory):
        """Save the ftrace instance's files."""
        recording.save(directory, self.events, self.lost_entries, self.losses, self.slowed)

    def save(self, directory):
        """Save all files, as the scenario does."""
        self.save_trace(directory / "trace")
        files = {
            "leg.json": json.dumps(self.facts), "source.serial": self.source,
            "destination.serial": self.destination,
            "source.qemu": "".join(f"{self.stamp.format(10.4)}migration_bitmap_sync_start \n"
                                   f"{self.stamp.format(10.5)}{self.get} iova=0x0 dirty_pages={n}\n"
                                   for n in self.qemu),
            "stamps.json": json.dumps(self.stamps),
            "ram.json": json.dumps({"pages_compared": self.compared, "different": self.different,
                                    "pages_different": len(self.different)}),
        }
        for name, text in files.items():
            (directory / name).write_text(text)
        records = (proof.LEDGER_RECORD.pack(page << 12, seq, writes, channel, 0)
                   for page, (seq, writes, channel) in self.ledger.items())
        (directory / "ledger.bin").write_bytes(b"".join(records))


def small_results(case):
    """Give a test case a temporary results directory, and lower limits that few pages reach."""
    temporary = tempfile.TemporaryDirectory()
    case.addCleanup(temporary.cleanup)
    case.results = Path(temporary.name)
    for name, value in (("MIN_PAGES_WRITTEN", 4), ("MIN_PAGES_COMPARED", RAM_PAGES - 1)):
        patch = mock.patch.object(proof, name, value)
        patch.start()
        case.addCleanup(patch.stop)


class Case(unittest.TestCase):
    """A temporary results directory and low limits."""

    def setUp(self):
        small_results(self)
        self.leg = Evidence()
        self.control = Evidence().forget()

    def judge(self, with_control=True):
        """Save both legs and judge the run."""
        self.leg.save(self.results / "main")
        if with_control:
            self.control.save(self.results / "control")
        return proof.judge(self.results, with_control)

    def fails(self, reason):
        """The run fails with exactly one reason, which has this text in it."""
        verdict = self.judge()
        self.assertEqual(verdict["verdict"], "fail")
        self.assertEqual(len(verdict["reasons"]), 1, verdict["reasons"])
        self.assertIn(reason, verdict["reasons"][0])
        return verdict


class Tracker(Case):
    """Who tracks, and extra pages in reports."""

    def by_device(self, leg):
        """Turn it into a leg whose device tracks."""
        words = (("vfio_dirty_run:", "mdma_log_run: device=0badcafe"),
                 ("vfio_dirty_report:", "mdma_log_report: device=0badcafe"),
                 ("vfio_dirty_start: container=00000000aa", "mdma_log_start: device=0badcafe"),
                 ("vfio_dirty_stop: container=00000000aa", "mdma_log_stop: device=0badcafe"),
                 ("op=get ", ""))
        for old, new in words:
            leg.events = [event.replace(old, new) for event in leg.events]
        leg.facts["tracking"] = "device"

    def compare(self, **legs):
        """A run whose device tracks, and the legs that it is compared with: these, or good ones."""
        by_iommufd = Evidence()
        by_iommufd.facts["summary"]["container"] = "iommufd"
        legs = {"compared": Evidence(), "iommufd": by_iommufd, **legs}
        for leg in (self.leg, self.control, legs["iommufd"]):
            self.by_device(leg)
        for name, leg in legs.items():
            leg.save(self.results / name)
        return self.judge()

    def test_device(self):
        verdict = self.compare()
        self.assertEqual((verdict["verdict"], verdict["reasons"]), ("pass", []))
        self.assertEqual(verdict["control"]["verdict"], "caught")
        for name, container in (("compared", "type1"), ("iommufd", "iommufd")):
            self.assertEqual(verdict[name]["pages_reported"], 4)
            self.assertEqual(verdict[name]["container"], container)
        self.assertEqual(verdict["container"], "type1")

    def test_the_other_one(self):
        self.leg.facts["tracking"] = "device"
        self.fails("tracked by the container, not by the device")

    def test_both(self):
        self.leg.events.insert(2, "mdma_log_start: device=0badcafe page_size=4096 ranges=1")
        self.fails("tracked by the device, not by the container")

    def test_container_that_loses(self):
        verdict = self.compare(compared=Evidence().forget())
        self.assertEqual(verdict["verdict"], "fail")
        self.assertIn("compared: pages_lost is 1, must be 0", verdict["reasons"])

    def test_iommufd_that_loses(self):
        leg = Evidence().forget()
        leg.facts["summary"]["container"] = "iommufd"
        self.assertIn("iommufd: pages_lost is 1, must be 0",
                      self.compare(iommufd=leg)["reasons"])

    def test_iommufd_that_was_type1(self):
        """A leg that is to show iommufd, and ran without it."""
        verdict = self.compare(iommufd=Evidence())
        self.assertEqual(verdict["reasons"], ["iommufd: the container was type1"])

    def test_another_qemu(self):
        """Whose event has another name, and other times; nothing of the proof gets lost by
        that."""
        self.leg.get = qemu_events.GETS[1]
        self.leg.stamp = "1970-01-01T00:00:{:09.6f}Z "
        verdict = self.judge()
        self.assertEqual((verdict["verdict"], verdict["reasons"]), ("pass", []))

    def test_event_of_no_qemu(self):
        self.leg.get = "an_event_of_no_qemu"
        self.assertEqual(self.judge()["verdict"], "fail")

    def test_sent_for_nothing(self):
        self.assertEqual(self.judge()["pages_sent_extra"], 0)

    def test_sent_again(self):
        at = self.leg.events.index(STOP)
        self.leg.events[at:at] = [run(9, 3, 2), report(9, 2), write(8, 3), run(10, 3, 3),
                                  report(10, 3, ret=-14), run(11, 3), report(11, 1)]
        self.leg.ledger[3] = (8, 3, 0)
        self.leg.qemu += [2, 1]
        self.leg.events[-1] = write(9, 9, device=DESTINATION)
        self.assertEqual(self.judge()["pages_sent_extra"], 2)


class Good(Case):
    """The results of a good run."""

    def test_passes(self):
        verdict = self.judge()
        self.assertEqual((verdict["verdict"], verdict["reasons"]), ("pass", []))

    def test_numbers(self):
        verdict = self.judge()
        expected = {"pages_written": 7, "pages_written_tracked": 5, "pages_written_distinct": 6,
                    "pages_reported": 4, "pages_reported_total": 5, "pages_lost": 0,
                    "pages_extra": 0, "ram_pages_compared": RAM_PAGES, "ram_pages_different": 0,
                    "guest_checks_passed": 2, "guest_checks_passed_destination": 1,
                    "guest_checks_failed": 0, "workload_continued": True}
        self.assertEqual({key: verdict[key] for key in expected}, expected)

    def test_reports_by_round(self):
        self.assertEqual([(entry["round"], entry["reported"], entry["retained"])
                          for entry in self.judge()["by_round"]], [(1, 4, 4), (2, 1, 1)])

    def test_control_names_its_pages(self):
        control = self.judge()["control"]
        self.assertEqual((control["pages_lost"], control["ram_pages_different"]), (1, 1))
        self.assertEqual(control["verdict"], "caught")
        self.assertEqual(control["lost"], [{
            "iova": "0x3000", "written_by_device": True, "seq": 7, "writes": 2, "channel": 0,
            "last_report": 7, "seq_in_source": 7, "seq_in_destination": 3}])

    def test_without_control_on_request(self):
        verdict = self.judge(with_control=False)
        self.assertEqual((verdict["verdict"], verdict["control"]), ("pass", None))

    def test_every_key_is_there_when_everything_is_missing(self):
        verdict = proof.judge(self.results / "nothing")
        good = self.judge()
        self.assertEqual(verdict["verdict"], "fail")
        self.assertLessEqual(set(proof.empty_leg()), set(good))
        self.assertLessEqual(set(proof.empty_leg()), set(verdict))

    def test_extra_pages_are_no_failure(self):
        self.leg.events[3:5] = [run(7, 3, 6), report(7, 6)]
        self.leg.qemu = [6, 1]
        verdict = self.judge()
        self.assertEqual((verdict["verdict"], verdict["pages_extra"]), ("pass", 2))

    def test_order_of_channels_may_differ_from_sequence(self):
        self.leg.events[5:5] = [write(8, 6), run(9, 6), report(9, 1)]
        self.leg.events[8] = write(7, 3)
        self.leg.ledger[6] = (8, 2, 0)
        self.leg.events[-1] = write(9, 9, device=DESTINATION)
        self.leg.qemu = [4, 1, 1]
        self.assertEqual(self.judge()["reasons"], [])

    def test_pages_named_are_ten(self):
        self.control.different = [differs(page) for page in range(20, 40)]
        control = self.judge()["control"]
        self.assertEqual((len(control["different"]), control["ram_pages_different"]), (10, 20))
        self.assertFalse(control["different"][0]["written_by_device"])


class SetOracle(Case):
    """Reports against writes."""

    def test_page_never_reported(self):
        self.leg.events[3:5] = [run(7, 3, 3), report(7, 3)]
        self.leg.qemu = [3, 1]
        self.assertEqual(self.fails("pages_lost is 1")["lost"][0]["iova"], "0x6000")

    def test_page_reported_only_before_its_last_write(self):
        events = self.leg.events
        events[5], events[6] = events[6], events[5]
        self.fails("pages_lost is 1")

    def test_run_counts_and_not_the_end_of_its_report(self):
        events = self.leg.events
        events[5:8] = [run(8, 3), write(7, 3), report(8, 1)]
        self.fails("pages_lost is 1")

    def test_failed_report_covers_nothing(self):
        self.leg.events[7] = report(8, 1, ret=-14)
        self.leg.qemu = [4]
        self.fails("pages_lost is 1")

    def test_run_without_report_covers_nothing(self):
        del self.leg.events[7]
        self.leg.qemu = [4]
        self.fails("pages_lost is 1")

    def test_report_of_an_unmap_alone(self):
        """The page is not lost, but whether QEMU sent it is not known; a GET tells."""
        self.leg.events[7] = report(8, 1, op="unmap")
        self.leg.qemu = [4]
        verdict = self.fails("1 pages are in reports of UNMAPs alone")
        self.assertEqual(verdict["pages_lost"], 0)

    def test_report_of_an_unmap_and_a_get(self):
        self.leg.events[7:8] = [report(8, 1, op="unmap"), run(9, 3), report(9, 1)]
        self.leg.qemu = [4, 1]
        self.assertEqual(self.judge()["verdict"], "pass")

    def test_qemu_asked_for_nothing(self):
        for at in (4, 7):
            self.leg.events[at] = self.leg.events[at].replace("op=get", "op=unmap")
        self.leg.qemu = []
        self.fails("QEMU asked for no report")

    def test_write_before_start_is_excused_and_after_is_not(self):
        self.leg.events[0], self.leg.events[1] = self.leg.events[1], self.leg.events[0]
        self.fails("pages_lost is 2")

    def test_write_after_the_last_report(self):
        self.leg.events[8:8] = [write(8, 4)]
        self.leg.ledger[4] = (8, 2, 0)
        self.leg.events[-1] = write(9, 9, device=DESTINATION)
        self.fails("pages_lost is 1")

    def test_run_and_report_disagree(self):
        self.leg.events[4] = report(7, 5)
        self.fails("its runs have 4")

    def test_report_number_used_twice(self):
        self.leg.events[6:8] = [run(7, 3), report(7, 1)]
        self.fails("used twice")

    def test_nothing_reported(self):
        del self.leg.events[3:5]
        self.leg.events[4:6] = [report(8, 0)]
        self.fails("no report holds a page")

    def test_no_report_at_all(self):
        self.leg.events = [e for e in self.leg.events if "dirty_r" not in e]
        self.fails("no report holds a page")

    def test_tracking_never_started(self):
        self.leg.events.remove(START)
        self.fails("never started")

    def test_two_containers(self):
        self.leg.events.append(START.replace("aa", "bb"))
        self.fails("more than one container")

    def test_qemu_was_told_something_else(self):
        self.leg.qemu = [4, 2]
        self.fails("QEMU was told 6 pages")


class TwoHosts(Case):
    """A guest that goes to another host, and back; each host has its own trace."""

    def setUp(self):
        super().setUp()
        self.there = Evidence()
        self.there.events = [self.leg.events.pop()]

    def add_trace(self, leg):
        """The other host's trace in a leg's directory."""
        self.there.save_trace(self.results / leg / "destination-trace")

    def judge_both(self):
        """The main leg and the way back, both with the other host's trace."""
        self.leg.save(self.results / "main")
        self.leg.save(self.results / "back")
        self.add_trace("main")
        self.add_trace("back")
        return proof.judge(self.results, with_control=False)

    def test_pass(self):
        """The workload continues in the other host's trace."""
        verdict = self.judge_both()
        self.assertEqual((verdict["verdict"], verdict["reasons"]), ("pass", []))
        self.assertEqual(verdict["back"]["pages_lost"], 0)

    def test_destination_did_not_go_on(self):
        """The other host's trace decides."""
        self.there.events = [write(9, 9, device=DESTINATION)]
        self.assertIn("the destination began with 9", self.judge_both()["reasons"][0])

    def test_destination_dropped_events(self):
        """A ring buffer that overflowed on the other host."""
        self.there.losses = (3, 0, 0)
        self.assertIn("overrun: 3", self.judge_both()["reasons"][0])

    def test_way_back_loses(self):
        """Both ways must be good."""
        self.leg.save(self.results / "main")
        self.add_trace("main")
        self.leg.forget().save(self.results / "back")
        self.add_trace("back")
        verdict = proof.judge(self.results, with_control=False)
        self.assertIn("back: pages_lost is 1, must be 0", verdict["reasons"])

    def test_numbers_begin_elsewhere(self):
        """This host's device continues where the other one ended."""
        self.leg.facts["first_seq"] = 2
        self.assertIn("7 writes from number 2 on", self.judge_both()["reasons"][0])


class LedgerAgainstTrace(Case):
    """Two records of the same writes."""

    def test_empty_ledger(self):
        self.leg.ledger = {}
        self.fails("ledger: empty")

    def test_torn_ledger(self):
        self.leg.save(self.results / "x")
        path = self.results / "x/ledger.bin"
        path.write_bytes(path.read_bytes()[:-1])
        with self.assertRaisesRegex(proof.BrokenOracle, "whole number"):
            proof.read_ledger(path)

    def test_unsorted_ledger(self):
        self.leg.ledger = dict(reversed(self.leg.ledger.items()))
        self.fails("out of order")

    def test_page_missing_in_ledger(self):
        del self.leg.ledger[4]
        self.fails("differ in 1 pages, first 0x4000")

    def test_page_missing_in_trace(self):
        self.leg.ledger[8] = (8, 1, 0)
        self.fails("differ in 1 pages, first 0x8000")

    def test_last_sequence_number_differs(self):
        self.leg.ledger[4] = (3, 1, 0)
        self.fails("ledger has seq 3")

    def test_number_of_writes_differs(self):
        self.leg.ledger[4] = (4, 2, 0)
        self.fails("2 writes, trace")

    def test_hole_in_the_sequence(self):
        self.leg.events[5] = write(9, 3)
        self.leg.ledger[3] = (9, 2, 0)
        self.leg.events[-1] = write(10, 9, device=DESTINATION)
        self.fails("7 writes from number 1 on, but the last has number 9")

    def test_write_of_the_source_after_its_stop(self):
        self.leg.events.append(write(8, 3))
        self.fails("ledger has seq 7")


class TraceFile(Case):
    """A trace that lost an event proves nothing."""

    def test_losses_fail_the_run(self):
        for name, losses in (("overrun", (3, 0, 0)), ("commit overrun", (0, 3, 0)),
                             ("dropped events", (0, 0, 3))):
            with self.subTest(name=name):
                self.leg.losses = losses
                self.leg.save(self.results / name)
                self.assertEqual(proof.judge_leg(self.results / name)["reasons"],
                                 [f"oracle broken: trace: ring buffer {name}: 3"])

    def test_event_not_taken(self):
        self.leg.lost_entries = 2
        self.fails("cpu0: 7 events happened, 5 were taken")

    def test_file_of_a_cpu_cut(self):
        self.leg.save(self.results / "main")
        path = self.results / "main/trace/cpu1.raw"
        path.write_bytes(path.read_bytes()[:-1])
        self.assertIn("ends within a sub-buffer",
                      proof.judge_leg(self.results / "main")["reasons"][0])

    def test_memory_grows_with_pages_and_not_with_events(self):
        seen = proof.Seen(1)
        seen.add(events.Tracking(0, True, "aa"))
        for i in range(1, 5000):
            seen.add(events.Write(4 * i, 1, 0, i % 3 << 12, 1, i))
            seen.add(events.Run(4 * i + 1, i, i % 3 << 12, 1))
            seen.add(events.Report(4 * i + 2, i, "get", 0, 0, 1, 1, -14 if i % 2 else 0))
        self.assertEqual((len(seen.written), len(seen.covered), len(seen.open)), (3, 3, 0))
        self.assertLessEqual(len(seen.fresh), 3)

    def test_missing_file(self):
        for name in ("trace/cpu1.raw", "trace/stats.txt", "trace/formats.txt",
                     "trace/header_page.txt",
                     "trace/slowed.json", "ledger.bin", "ram.json", "stamps.json",
                     "leg.json",
                     "source.serial", "destination.serial", "source.qemu"):
            directory = self.results / name
            Evidence().save(directory)
            (directory / name).unlink()
            self.assertIn(name, proof.judge_leg(directory)["reasons"][0])


class DataOracle(Case):
    """RAM of both sides."""

    def test_one_different_page(self):
        self.leg.different = [differs(40)]
        verdict = self.fails("ram_pages_different is 1")
        self.assertEqual(verdict["different"][0]["iova"], "0x28000")

    def test_pages_that_the_guest_does_not_see(self):
        """They have no address, and differ all the same."""
        self.leg.different = [dict(differs(page), page=None) for page in (4, 5)]
        verdict = self.fails("ram_pages_different is 2")
        self.assertEqual([page["iova"] for page in verdict["different"]],
                         ["ram+0x4000", "ram+0x5000"])
        self.assertEqual(verdict["ram_pages_unexplained"], 2)

    def test_not_all_pages_compared(self):
        self.leg.compared = RAM_PAGES - 1
        self.fails("63 of 64 pages compared")

    def test_too_few_pages_compared(self):
        self.leg.compared = self.leg.facts["ram_pages"] = RAM_PAGES - 1
        self.fails("ram_pages_compared is 63")

    def test_list_is_not_the_number(self):
        self.leg.different = [differs(4), differs(4)]
        self.fails("not their number")


class Stamps(Case):
    """The source's RAM against the ledger."""

    def test_wrong(self):
        """Also of the control: its source must have what its device wrote."""
        for leg in (self.leg, self.control):
            leg.stamps = {"stamps_checked": 6, "stamps_wrong": 2, "wrong": []}
        words = "2 pages of the source's RAM do not hold what the device wrote last"
        self.assertEqual(self.judge()["reasons"], [words, f"control: {words}"])

    def test_none(self):
        self.leg.stamps = {"stamps_checked": 0, "stamps_wrong": 0, "wrong": []}
        self.fails("stamps_checked is 0")

    def check(self, stamps):
        """proof.check_stamps() with RAM that has {page: (write, IOVA)}."""
        memory = mock.Mock()
        memory.where.position = lambda address: address
        chunk = bytearray(ram.CHUNK)
        for page, stamp in stamps.items():
            ram.STAMP.pack_into(chunk, page << 12, ram.STAMP_MAGIC, *stamp)
        memory.chunk = lambda position: chunk if not position else None
        return proof.check_stamps(memory, proof.parse_ledger(b"".join(
            proof.LEDGER_RECORD.pack(page << 12, 100 + page, 1, 0, 0) for page in range(1, 5)),
            "ledger"), {2, 3, 4, 5})

    def test_right(self):
        """Only pages of the window that the device has written count."""
        self.assertEqual(self.check({page: (100 + page, page << 12) for page in (2, 3, 4)}),
                         {"stamps_checked": 3, "stamps_wrong": 0, "wrong": []})

    def test_pages_that_are_not_what_was_written(self):
        """An older write, another page's stamp, none at all."""
        found = self.check({2: (2, 2 << 12), 3: (103, 4 << 12)})
        self.assertEqual((found["stamps_wrong"], found["wrong"][0]),
                         (3, {"iova": "0x2000", "seq": 102, "stamp": 2}))


class Order(Case):
    """The writes of both devices, by their numbers."""

    def test_number_left_out_later(self):
        """The destination's first number is right; what follows must be, too."""
        self.leg.events.append(write(12, 9, device=DESTINATION))
        self.fails("writes: write 12 of device")

    def test_source_writes_again(self):
        self.leg.events.append(write(9, 9))
        self.leg.ledger[9] = (9, 1, 0)
        self.assertEqual(self.judge()["verdict"], "fail")

    def test_on_two_hosts(self):
        """Each host has a trace of its own."""
        first = self.leg.events.pop()
        self.leg.save(self.results / "main")
        for name, later, reasons in (("good", 9, 0), ("bad", 10, 1)):
            self.leg.events = [first, write(later, 9, device=DESTINATION)]
            self.leg.save_trace(self.results / name)
            facts, evidence = proof.read_leg(self.results / "main")
            evidence["destination_trace"] = events.Trace(self.results / name)
            self.assertEqual(len(proof.examine(facts, evidence)["order"]), reasons)


class Migration(Case):
    """What else must have happened."""

    def summary(self, **values):
        """Change the scenario's summary."""
        self.leg.facts["summary"].update(values)

    def test_too_few_pages_written(self):
        with mock.patch.object(proof, "MIN_PAGES_WRITTEN", 5):
            verdict = self.judge()
        self.assertIn("pages_written_tracked is 5, must be more than 5", verdict["reasons"])

    def test_pages_that_were_asked_for(self):
        """A run that asks for fewer pages must write fewer, but not as few as it likes."""
        with mock.patch.object(proof, "MIN_PAGES_WRITTEN", 100_000):
            for asked, least in ((110_000, 100_000), (10**6, 100_000), (44_000, 40_000),
                                 (1, 40_000)):
                self.assertEqual(proof.least_written({"pages_min": asked}), least)
            self.assertEqual(proof.least_written({}), 100_000)
        with mock.patch.object(proof, "MIN_PAGES_WRITTEN", 9), \
                mock.patch.object(proof, "FEWEST_PAGES_WRITTEN", 4):
            self.leg.facts["settings"] = {"pages_min": 1}
            self.assertEqual(self.judge(with_control=False)["verdict"], "pass")

    def test_too_few_rounds(self):
        self.summary(rounds=2)
        self.fails("rounds is 2")

    def test_downtime_unknown(self):
        self.summary(downtime_ms=None)
        self.fails("downtime_ms is not known")

    def test_not_known_how_long_it_was_held(self):
        self.summary(held_s=None)
        self.fails("held_s is not known")

    def test_migration_failed(self):
        self.summary(migration_status="failed")
        self.fails("migration: failed")

    def test_scenario_stopped_half_way(self):
        self.leg.facts["error"] = "GuestError: no guest"
        self.fails("GuestError: no guest")

    def test_scenario_left_nothing(self):
        self.control.save(self.results / "control")
        self.assertIn("leg.json", proof.judge(self.results)["reasons"][0])

    def test_fact_missing(self):
        del self.leg.facts["source_uuid"]
        self.fails("missing: 'source_uuid'")


class Guest(Case):
    """The guest's checks and the device's workload continue."""

    def test_check_failed(self):
        self.leg.source += "MDMA-GUEST fail 2: dmatest found 3 errors\n"
        self.fails("guest_checks_failed is 1")

    def test_no_check_at_the_destination(self):
        self.leg.destination = ""
        self.fails("no check of the guest passed at the destination")

    def test_line_across_the_switch(self):
        self.leg.source += "MDMA-GU"
        self.leg.destination = "EST pass 2\n"
        self.assertEqual(self.judge()["guest_checks_passed_destination"], 1)

    def held(self, first):
        """The guest was held for a minute and a half; this is its clock at the destination."""
        self.leg.facts["summary"]["held_s"] = 90.5
        self.leg.source += "MDMA-GUEST beat 9 31.00\n"
        self.leg.destination += f"MDMA-GUEST beat 10 {first}\n"

    def test_clock_that_stood_still(self):
        self.held("32.10")
        self.assertEqual(self.judge()["verdict"], "pass")

    def test_clock_that_ran_on(self):
        self.held("122.50")
        self.fails("the guest was held for 90.5 s, and its clock went on by 91.5 s")

    def test_half_a_line_is_no_check(self):
        self.leg.destination = "MDMA-GUEST pass 2"
        self.fails("no check of the guest")

    def test_destination_wrote_nothing(self):
        del self.leg.events[-1]
        self.fails("wrote nothing")

    def test_destination_began_elsewhere(self):
        for seq in (1, 7, 9):
            with self.subTest(seq=seq):
                self.leg.events[-1] = write(seq, 9, device=DESTINATION)
                self.leg.save(self.results / str(seq))
                leg = proof.judge_leg(self.results / str(seq))
                self.assertIn(f"began with {seq}", proof.main_reasons(leg)[0])

    def test_settings_did_not_travel(self):
        self.leg.facts["workload"]["destination"]["seed"] = "2"
        self.fails("did not travel: seed")


class Control(Case):
    """The control must fail, by both oracles."""

    def test_missing(self):
        self.leg.save(self.results / "main")
        self.assertIn("control: oracle broken", proof.judge(self.results)["reasons"][0])

    def test_set_oracle_is_blind(self):
        good = Evidence()
        self.control.events, self.control.qemu = good.events, good.qemu
        self.assertEqual(self.fails("control: pages_lost is 0")["control"]["verdict"], "blind")

    def test_data_oracle_is_blind(self):
        self.control.different = []
        self.fails("control: ram_pages_different is 0")

    def test_page_differs_that_was_not_lost(self):
        self.control.different.append(differs(20))
        self.fails("control: 1 pages differ, but none was lost there")

    def test_proves_nothing(self):
        self.control.facts["summary"]["rounds"] = 1
        self.fails("control: rounds is 1")

    def test_ran_on_the_same_backend(self):
        self.control.facts["summary"]["backend"] = "ours"
        self.fails("same backend")

    def test_backend_is_not_known(self):
        self.control.facts["summary"]["backend"] = None
        self.fails("control: which backend the main leg or the control ran on is not known")

    def test_guest_may_suffer(self):
        self.control.destination = "MDMA-GUEST fail 2: wrong data\n"
        self.control.events.pop()
        self.assertEqual(self.judge()["verdict"], "pass")


class Lab(Case):
    """Findings of the lab around the scenario."""

    def lab(self, status=None, log=""):
        """Save the lab's files."""
        (self.results / "job.json").write_text("{}")
        (self.results / "dmesg.txt").write_text(log)
        if status is not None:
            (self.results / "status").write_text(status)

    def test_good(self):
        self.lab("0\n")
        self.assertEqual(self.judge()["verdict"], "pass")

    def test_no_status(self):
        self.lab()
        self.fails("without a status")

    def test_bad_status(self):
        self.lab("1\n")
        self.fails("ended with 1")

    def test_kernel_warning(self):
        self.lab("0", "[ 12.3] WARNING: CPU: 0 PID: 7 at mm/gup.c:1\n")
        self.fails("kernel log: warning")


if __name__ == "__main__":
    unittest.main()
