#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""Two hosts with libvirt: virsh migrates a guest with an mdma device, and back again.

On one host mdevctl defines and starts the mdev, on the other virsh does. The guest works, and its
device writes its memory all the time. At each switchover all RAM of the two hosts is compared,
with the guest paused at the destination; then the guest continues there. Other operations of virsh
are tried on the guest as well. The control is a migration whose source has a backend that forgets
unpinned pages. scripts/lab.d/judge/proof.py judges the evidence.

With container=iommufd the device says what is dirty, and the control is a device whose log forgets
pages. libvirt can't have an mdev on iommufd by itself: host and guest are as libvirt.rst says, and
the cases have what libvirt says to its own ways.

usage: libvirt.py --results DIR [key=value ...]        (as root; --help: keys)
       libvirt.py --beside DIR                         (the other host)
"""

import json
import shutil
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from xml.etree import ElementTree
from xmlrpc.client import Error as RpcError

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "scripts/lab.d"))

# pylint: disable=wrong-import-position
from base import say, settings, site
from judge.events import BrokenOracle
from judge.memory_map import BadMemory
from play import arguments, entry, libvirt_cases, libvirt_guest, libvirt_host, switchover
from play import vfio_iommufd
from play.guest_vm import STOPPABLE_CLOCK, boot_words, by_iommufd
from play.host import workload
from play.libvirt_host import NAMES, HostError
from play.trace import TraceError, proof_events

HOSTS = 2
FILES = site.TREE / "samples/vfio-mdev/mdma/libvirt"
# The class that the parent of a device must have, unless it is hardware, so that virsh
# nodedev-define accepts it.
LIBVIRTS_CLASS = "mtty"
# MiB of memory of the guest for the other cases. The first round of each migration sends all of it.
SMALL_MB = 256
# MiB/s that QEMU expects at the switchover. If it measured them, a slow host's zero pages could
# count as none, and then it switches over without asking what is dirty (found.rst).
SWITCHOVER = 16

# What a run needs to have built, and for which settings (boot/scenario.py).
BUILDS = {"guest": "", "mutant": "container=type1 control=1",
          "iommufd": "container=iommufd", "logging": "container=iommufd",
          "iommufd_mutant": "container=iommufd control=1"}

KEYS = settings.keys(
    "type", "rounds", "pages_min", "bandwidth", "downtime_limit_ms", *settings.WORKLOAD,
    "mem_mb", "window_mb", "dirty_mb", "checks", "pause_s", "container", "control", "patience",
    *settings.TRACE, mem_mb=400, downtime_limit_ms=6000, batch=24, rate=250, patience=240,
    buffer_kb=32768, trace_mb=256,
    own={
        "cases": settings.Number(
            1, "1: also save, snapshot, abort, be refused, and do as libvirt.rst says", 0, 1),
        "mutant": settings.File("mutant/forget-unpinned/vfio_iommu_type1.ko",
                                "backend of the control"),
        "iommufd_mutant": settings.File("mutant/log-forgets/iommufd/mdma.ko",
                                        "device of the control, with container=iommufd"),
    })

FAILURES = (HostError, RpcError, libvirt_guest.GuestError, TraceError, BadMemory,
            BrokenOracle, say.LabError, OSError)


class Leg:
    """One migration from a host to the other, and the evidence of it."""

    def __init__(self, name, guest, config, results):
        self.name, self.guest, self.config = name, guest, config
        self.directory = results / name
        self.directory.mkdir()
        self.begin = time.time()
        # The time since which the guest is held at the destination.
        self.paused = None
        self.pace = libvirt_guest.Pace(config.rounds, config.pages_min,
                                       config.downtime_limit_ms)
        self.facts = {"settings": vars(config), "ram_pages": guest.mem_mb << 8,
                      "samples": [], "steps": [],
                      "tracking": "device" if guest.logs else "container",
                      "source_uuid": guest.mdev, "destination_uuid": guest.mdev,
                      "first_seq": guest.next_seq, "summary": {}}

    def say(self, text):
        """Print progress; people wait for it."""
        now = time.time() - self.begin
        self.facts["steps"].append([round(now, 2), text])
        print(f"libvirt: {self.name}: {now:6.1f} s  {text}", flush=True)

    def play(self, source, destination):
        """Migrate from here to there. Afterwards the guest is either where it was, or runs at the
        destination."""
        try:
            self._play(source, destination)
        except FAILURES as err:
            self.facts["error"] = f"{type(err).__name__}: {err}"
            self.say(self.facts["error"])
            self.guest.collect(source, self.directory, "source")
            self.guest.collect(destination, self.directory, "destination")
            raise
        finally:
            self.save()

    def save(self):
        """Save what was seen so far."""
        (self.directory / "leg.json").write_text(json.dumps(self.facts, indent=1))

    def _play(self, source, destination):
        guest = self.guest
        facts = source.facts(self.config.container)
        self.facts["summary"].update(kernel=facts["kernel"], backend=facts["backend"],
                                     container=self.config.container, accel="kvm",
                                     qemu=guest.qemu_version(source))
        guest.mark_log(source)
        source.hold_ram(guest.name)
        # Read this now: a device that nobody has open any more has no window, and does not run.
        self.facts["workload"] = {"source": source.settings(guest.mdev)}
        self._migrate(source, destination)
        # The last settings travel, and this host's trace may have slowed the workload until then.
        self.facts["workload"]["source"]["rate"] = source.settings(guest.mdev)["rate"]
        idle_s = destination.copy_ram(guest.name)
        time.sleep(self.config.pause_s)
        guest.virsh(destination, "resume", guest.name)
        self.facts["summary"].update(switchover.held(self.paused, idle_s))
        self._wait_running(destination)
        self.facts["workload"]["destination"] = destination.settings(guest.mdev)
        # The other host's trace may keep up where this one's could not.
        destination.set(guest.mdev, {"rate": self.config.rate})
        source.save_ledger(guest.mdev, self.name, self.facts["workload"]["source"]["window"])
        self._compare(source, destination)
        guest.next_seq = int(source.stat(guest.mdev, "seq")) + 1
        guest.collect(source, self.directory, "source")

    def _migrate(self, source, destination):
        """Hold the migration back until there is enough to judge, then let it end."""
        guest, config = self.guest, self.config
        before = int(source.stat(guest.mdev, "pages_written"))

        def seen(sample):
            nonlocal before
            sample["written"] = int(source.stat(guest.mdev, "pages_written"))
            if not sample["rounds"]:
                # virsh still calls the other host, and nobody tracks what is written.
                before = sample["written"]
            self.facts["samples"].append(sample)
            due = self.pace.next(sample["rounds"], sample["written"] - before)
            for words in due:
                self.say(f"{sample['rounds']} rounds: {' '.join(words)}")
            return due

        guest.virsh(source, "migrate-setmaxdowntime", guest.name, "1")
        guest.migrate(source, destination, "--suspend", "--bandwidth", str(config.bandwidth),
                      "--available-switchover-bandwidth", str(SWITCHOVER))
        done = guest.follow(source, seen)
        self.paused = time.monotonic()
        if done[0]:
            raise HostError(f"virsh migrate: {done[1]}")
        self._migrated(guest.completed(destination))

    def _wait_running(self, destination):
        """Wait until the device runs: only then has it taken over what it was sent."""
        deadline = time.monotonic() + self.config.patience
        while (state := destination.mdev_state(self.guest.mdev)) != "running":
            if time.monotonic() > deadline:
                raise HostError(f"the device at the destination is {state}")
            time.sleep(0.1)

    def _migrated(self, stats):
        expected = [sample["expected_downtime"] for sample in self.facts["samples"]
                    if sample["expected_downtime"] is not None]
        self.facts["migration"] = stats
        self.facts["summary"].update(
            migration_status="completed", rounds=stats["rounds"],
            downtime_ms=stats["downtime"],
            expected_downtime_ms=expected[-1] if expected else None)
        self.say(f"migrated: {stats['rounds']} rounds, downtime {stats['downtime']} ms")

    def _compare(self, source, destination):
        self.say(f"the destination was held {self.facts['summary']['held_s']} s for the "
                 "comparison")
        result = libvirt_guest.compare_ram(source, destination)
        (self.directory / "ram.json").write_text(json.dumps(result))
        self.say(f"RAM: {result['pages_compared']} pages compared, "
                 f"{result['pages_different']} differ")

    def arrived(self, destination, patience):
        """The guest continues at the destination, and checks what it finds."""
        self.guest.wait_console(destination, "MDMA-GUEST pass", patience, self.config.checks)
        self.guest.wait_console(destination, "MDMA-GUEST beat", patience)
        self.say("the guest's checks pass at the destination")

    def finish(self, destination):
        """Collect the rest of the evidence from the host that the guest went to."""
        self.guest.collect(destination, self.directory, "destination")
        self.save()


# --- the run ----------------------------------------------------------------


def guest_definition(config, mem_mb):
    """The example's XML, with changes for the test: memory that can be compared, a log of what
    QEMU was told, and the guest's settings."""
    words = [*boot_words(), *STOPPABLE_CLOCK, "no-steal-acc",
             f"mdma.window_mb={config.window_mb}", f"mdma.dirty_mb={config.dirty_mb}"]
    root = ElementTree.parse(FILES / "mdma-guest.xml").getroot()
    if by_iommufd(config):
        libvirt_guest.on_iommufd(root)
    return libvirt_guest.for_test(root, mem_mb, words)


def nodedev_definition(config):
    """The example's XML of the mdev, with the type of the settings, as it is called there."""
    root = ElementTree.parse(FILES / "mdma-nodedev.xml").getroot()
    root.find("capability/type").set("id", config.type.replace("mdma", LIBVIRTS_CLASS))
    if by_iommufd(config):
        ElementTree.SubElement(root.find("capability"), "attr", name=libvirt_guest.LOG, value="1")
    return ElementTree.tostring(root, encoding="unicode")


def introduce(one, two):
    """Allow root of each host to log in at the other: virsh uses ssh."""
    for here, there in ((one, two), (two, one)):
        here.know(there.trust(here.new_key()))


def play(config, results):
    """Play everything; raises one of FAILURES."""
    here = libvirt_host.LibvirtHost(NAMES[0], results)
    here.set_up()
    there = libvirt_host.other(NAMES[1])
    try:
        introduce(here, there)
        if by_iommufd(config):
            lines, _ = libvirt_guest.iommufd_documented()
            for host in (here, there):
                host.allow("\n".join(lines))
        guest, small = (libvirt_guest.Guest(guest_definition(config, mem_mb), config.patience,
                                            by_iommufd(config))
                        for mem_mb in (config.mem_mb, SMALL_MB))
        guest.define_mdev(here, config.type)
        there.load_mdma(own_mdma(config), f"class_name={LIBVIRTS_CLASS}")
        guest.define_nodedev(there, nodedev_definition(config))
        there_and_back(guest, config, results, here, there)
        guest.destroy(here)
        cases = libvirt_cases.Cases(small, config, here, there)
        seen = []
        if config.cases:
            begin(small, config, here)
            seen = cases.play()
        save_cases(seen, results)
        if config.control:
            control(guest, config, results, here, there)
        if config.cases:
            save_cases(seen + cases.play_last(), results)
    finally:
        there.end()


def own_mdma(config):
    """The file of the mdma that fits to the container; None: the installed one."""
    return vfio_iommufd.mdma() if by_iommufd(config) else None


def save_cases(seen, results):
    """Save the results of the other cases, for the judge."""
    (results / "cases.json").write_text(json.dumps(seen, indent=1))


def begin(guest, config, host):
    """Start a guest that works, and a device that writes."""
    guest.begin(host)
    guest.next_seq = 1
    guest.wait_console(host, "MDMA-GUEST ready", config.patience)
    host.set(guest.mdev, workload(config))
    host.set(guest.mdev, {"run": 1})
    guest.wait_console(host, "MDMA-GUEST pass", config.patience)


def there_and_back(guest, config, results, here, there):
    """The main leg, and the way back; each host's trace is evidence of both."""
    tracing = (proof_events(config.container), guest.mdev, config.buffer_kb, config.trace_mb)
    here.trace(*tracing)
    there.trace(*tracing)
    begin(guest, config, here)
    main = Leg("main", guest, config, results)
    main.say("workload and dmatest are running")
    main.play(here, there)
    here.end_trace("main")
    main.arrived(there, config.patience)
    main.finish(there)
    here.trace(*tracing)
    back = Leg("back", guest, config, results)
    back.play(there, here)
    there.end_trace("back")
    back.arrived(here, config.patience)
    here.end_trace("back-destination")
    back.finish(here)
    fetch_traces(results)


def fetch_traces(results):
    """Move the other host's traces to the legs that ended there."""
    other = results / NAMES[1]
    shutil.copytree(other / "back/trace", results / "main/destination-trace")
    shutil.move(results / "back-destination/trace", results / "back/destination-trace")
    for path in (other / "back").iterdir():
        shutil.move(path, results / "back" / path.name)


def control(guest, config, results, here, there):
    """The same from a backend that forgets unpinned pages, or a device whose log forgets pages."""
    exchange(guest, config, here, broken=True)
    try:
        here.trace(proof_events(config.container), guest.mdev, config.buffer_kb, config.trace_mb)
        begin(guest, config, here)
        leg = Leg("control", guest, config, results)
        leg.play(here, there)
        here.end_trace("control")
        leg.finish(there)
        guest.destroy(there)
    finally:
        here.end_trace("")
        guest.destroy(here)
        exchange(guest, config, here, broken=False)


def exchange(guest, config, host, broken):
    """Have what loses pages on a host, or the good one again. No guest may be there."""
    if not by_iommufd(config):
        host.load_backend(config.mutant if broken else "ours")
        return
    guest.mdevctl(host, "stop", "-u", guest.mdev)
    host.load_mdma(config.iommufd_mutant if broken else own_mdma(config))
    guest.start_mdev(host)


def main(argv):
    """Gather the evidence; proof.py judges it."""
    if len(argv) == 2 and argv[0] == "--beside":
        libvirt_host.serve(NAMES[1], argv[1])
        return 0
    results, values = arguments.read(__doc__, KEYS, argv)
    config = SimpleNamespace(**values)
    results.mkdir(parents=True, exist_ok=True)
    (results / "run.json").write_text(json.dumps({"control": bool(config.control),
                                                  "cases": bool(config.cases),
                                                  "hosts": HOSTS}))
    try:
        play(config, results)
    except FAILURES as err:
        print(f"libvirt: {type(err).__name__}: {err}", flush=True)
        return 1
    return 0


if __name__ == "__main__":
    entry.run(main)
