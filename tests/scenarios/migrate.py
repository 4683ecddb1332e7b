#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""Live migration of a guest whose mdma device writes its memory all the time.

Two mdevs, two QEMUs, several rounds of pre-copy, and at switchover a comparison of all RAM; then
the guest continues at the destination. The control is the same on a backend that forgets unpinned
pages: both oracles must fail there. This script gathers the evidence; scripts/lab.d/judge/proof.py
judges it.

With tracking=device the device reports what is dirty, and the control is a device that forgets
pages. For comparison, the same is played again with the container tracking, and with the device's
reports by iommufd, which does not track what such a device writes. A lab that is booted for iommufd
plays the latter alone, with its control.

usage: migrate.py --results DIR [key=value ...]        (as root; --help: keys)
"""

import json
import os
import signal
import sys
import time
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "scripts/lab.d"))

# pylint: disable=wrong-import-position
from base import say, settings, workloads
from base.patience import Patience
from judge import ram
from play import arguments, backend, entry, guest_vm, switchover, vfio_iommufd, vfio_logging
from play.attempt import HELD_BACK
from play.guest_vm import GuestError, GuestVM
from play.host import FAILURES, ScenarioError, in_memory, workload
from play.mdev import Mdev, load as load_mdma
from play.trace import Tracer, proof_events

# What a run needs to have built, and for which settings (boot/scenario.py).
BUILDS = {"guest": "", "logging": "container=type1 tracking=device",
          "mutant": "container=type1 control=1",
          "device_mutant": "container=type1 control=1 tracking=device",
          "iommufd": "tracking=device", "iommufd_mutant": "container=iommufd control=1"}

KEYS = settings.keys(
    "type", "rounds", "pages_min", "bandwidth", "downtime_limit_ms", "workload",
    *settings.WORKLOAD, *settings.MORE_WORKLOAD, "smp", "checks", "pause_s", "container",
    "tracking", "control", *settings.GUEST, *settings.TRACE, batch=24, rate=450, window_mb=128,
    own={
        "compare": settings.Words("container,iommufd", "tracking=device: played again with the "
                                  "container tracking, with the device by iommufd",
                                  ("container", "iommufd")),
        "mutant": settings.File("mutant/forget-unpinned/vfio_iommu_type1.ko",
                                "backend of the control"),
        "device_mutant": settings.File("mutant/log-forgets/mdma.ko",
                                       "device of the control, with tracking=device"),
        "iommufd_mutant": settings.File("mutant/log-forgets/iommufd/mdma.ko",
                                        "the same for container=iommufd"),
    })


# --- settings ---------------------------------------------------------------


def with_preset(known, argv):
    """The scenario's keys, with defaults from the preset in the command line."""
    names = [word.partition("=")[2] for word in argv if word.startswith("workload=")]
    if not names or not names[0]:
        return known
    preset = workloads.read(names[0])
    return {key: replace(setting, default=setting.value(preset.get(key, setting.default)))
            for key, setting in known.items()}


def configuration(values):
    """Settings as a namespace; those that can't work are an error."""
    if values["window_mb"] >= values["mem_mb"]:
        raise SystemExit("migrate: window_mb must be less than mem_mb")
    config = SimpleNamespace(**values)
    if config.container == "iommufd":
        config.tracking = "device"
        config.device_mutant = config.iommufd_mutant
    config.append = guest_vm.kernel_arguments(config)
    return config


# --- a leg ------------------------------------------------------------------


class Leg:
    """One live migration and the evidence of it."""

    def __init__(self, name, config, directory, tracking):
        self.name = name
        self.tracking = tracking
        self.config = config
        self.directory = directory
        self.begin = time.time()
        self.limited, self.downtime_ms, self.next_round = True, 0, config.rounds
        self.throttle = None
        self.facts = {"settings": {key: getattr(config, key) for key in KEYS},
                      "ram_pages": config.mem_mb << 8, "samples": [], "steps": [],
                      "tracking": tracking, "summary": {}}

    def say(self, text):
        """Print progress; people wait for it."""
        now = time.time() - self.begin
        self.facts["steps"].append([round(now, 2), text])
        print(f"migrate: {self.name}: {now:6.1f} s  {text}", flush=True)

    def play(self):
        """Play the whole leg; evidence is written whatever happens."""
        try:
            with ExitStack() as stack:
                self._play(stack)
                self.say("collecting the trace")
        except FAILURES as err:
            self.facts["error"] = f"{type(err).__name__}: {err}"
            self.say(self.facts["error"])
        (self.directory / "leg.json").write_text(json.dumps(self.facts, indent=1))
        return "error" not in self.facts

    def _play(self, stack):
        config = self.config
        self._describe()
        source_mdev = stack.enter_context(Mdev(config.type))
        destination_mdev = stack.enter_context(Mdev(config.type))
        for mdev in (source_mdev, destination_mdev):
            mdev.track(self.tracking == "device")
        self.facts["source_uuid"] = source_mdev.uuid
        self.facts["destination_uuid"] = destination_mdev.uuid
        tracer = stack.enter_context(Tracer(
            "mdma-proof", proof_events(config.container), config.buffer_kb, self.directory,
            mdevs=(source_mdev, destination_mdev), room_mb=config.trace_mb))
        self.throttle = tracer.throttle
        # Runs after both QEMUs have ended, even after a failure: the trace is evidence.
        stack.callback(tracer.collect)
        source = stack.enter_context(GuestVM("source", config, self.directory, source_mdev))
        destination = stack.enter_context(
            GuestVM("destination", config, self.directory, destination_mdev, incoming=True))
        self._start_workload(source, source_mdev)
        source.connect()
        destination.connect()
        self.facts["summary"]["qemu"] = guest_vm.qemu_version(source)
        self._migrate(source, source_mdev, destination)
        self._at_switchover(source, source_mdev, destination, destination_mdev)
        self._go_on(destination, destination_mdev)

    def _describe(self):
        self.facts["summary"].update(kernel=os.uname().release, accel=self.config.accel,
                                     container=self.config.container)
        self.facts["summary"]["backend"] = ", ".join(filter(None, self._backend()))

    def _backend(self):
        """What maps memory, and what says which of it is dirty."""
        iommufd, device = self.config.container == "iommufd", self.tracking == "device"
        broken = f" ({self.config.device_mutant})" if self.name == "control" else ""
        return (backend.of_iommufd() if iommufd else "" if device else backend.name(),
                f"tracking by mdma{broken}" if device else "")

    def _start_workload(self, source, mdev):
        source.wait_console("MDMA-GUEST ready", self.config.patience)
        self.say("guest is up")
        if not mdev.settings()["window"]:
            raise ScenarioError("the guest gave the device no window")
        mdev.set(**workload(self.config), run=1)
        source.wait_console("MDMA-GUEST pass", self.config.patience)
        self.say("workload and dmatest are running")

    def _migrate(self, source, mdev, destination):
        """Several rounds at a limited rate, then let it converge."""
        config = self.config
        address = f"unix:{self.directory / 'migration.socket'}"
        destination.qmp.command("migrate-incoming", uri=address)
        source.qmp.command("migrate-set-parameters", max_bandwidth=config.bandwidth << 20,
                           downtime_limit=1, avail_switchover_bandwidth=HELD_BACK)
        before = mdev.stat("pages_written")
        source.qmp.command("migrate", uri=address)
        patience = Patience(config.patience)
        while True:
            sample = self._sample(source, mdev)
            if sample["status"] in ("completed", "failed", "cancelled"):
                break
            written = sample["written"] - before
            # A workload that writes little takes long to write enough.
            patience.progress(sample["status"], sample["rounds"], sample["transferred"],
                              min(written, self.config.pages_min))
            self._pace(source, sample, written)
            if patience.exhausted():
                raise ScenarioError(f"migration is {sample['status']}, and made no progress for "
                                    f"{config.patience} s in round {sample['rounds']}")
            time.sleep(0.1)
        self._migrated(source.qmp.command("query-migrate"))

    def _pace(self, source, sample, written):
        """Hold the migration back until there is enough to judge, then let it end.

        The bandwidth limit goes first and the downtime limit later, so that QEMU estimates the
        downtime with the real bandwidth. A machine that is too slow to converge gets a longer
        downtime.
        """
        config, rounds = self.config, sample["rounds"]
        if rounds < self.next_round:
            return
        if self.downtime_ms:
            self.downtime_ms *= 2
        elif self.limited:
            if written < self.config.pages_min:
                return
            self.limited = False
            self.say(f"{rounds} rounds, {written} page writes: full bandwidth")
            source.qmp.command("migrate-set-parameters", max_bandwidth=guest_vm.UNLIMITED,
                               avail_switchover_bandwidth=0)
        else:
            self.downtime_ms = config.downtime_limit_ms
        if self.downtime_ms:
            self.say(f"{rounds} rounds: downtime of {self.downtime_ms} ms allowed")
            source.qmp.command("migrate-set-parameters", downtime_limit=self.downtime_ms)
        self.next_round = rounds + (4 if self.downtime_ms else 2)

    def _sample(self, source, mdev):
        """One point of the charts."""
        info = source.qmp.command("query-migrate")
        memory = info.get("ram", {})
        sample = {
            "time": time.time(), "status": info.get("status", "none"),
            "rounds": memory.get("dirty-sync-count", 0),
            "remaining": memory.get("remaining", 0),
            "transferred": memory.get("transferred", 0),
            "expected_downtime": info.get("expected-downtime"),
            "vfio": info.get("vfio", {}).get("transferred"),
            "written": mdev.stat("pages_written"), "pinned": mdev.stat("pinned"),
        }
        self.facts["samples"].append(sample)
        return sample

    def _migrated(self, info):
        expected = [sample["expected_downtime"] for sample in self.facts["samples"]
                    if sample["expected_downtime"] is not None]
        self.facts["migration"] = info
        self.facts["summary"].update(
            migration_status=info["status"],
            rounds=info.get("ram", {}).get("dirty-sync-count", 0),
            downtime_ms=info.get("downtime"),
            expected_downtime_ms=expected[-1] if expected else None)
        if info["status"] != "completed":
            raise ScenarioError(f"migration {info['status']}: {info.get('error-desc', '')}")
        self.say(f"migrated: {self.facts['summary']['rounds']} rounds, "
                 f"downtime {info.get('downtime')} ms")

    def _at_switchover(self, source, mdev, destination, there):
        """The source is stopped and the destination not yet started: RAM must be the same. It is
        copied now and compared later, so that the guest need not wait for the comparison."""
        guest_vm.wait_status(source, ("postmigrate",), self.config.patience)
        guest_vm.wait_status(destination, ("paused", "prelaunch"), self.config.patience)
        # The settings that travelled are compared with those that arrived: nobody slows the
        # devices meanwhile.
        self.throttle.rest()
        copy, held = switchover.go_on(destination, self.config.pause_s)
        self.facts["summary"].update(held)
        self.say(f"the destination was held {held['held_s']} s for the comparison")
        # Only when it runs has the device taken over what it was sent.
        guest_vm.wait_status(destination, ("running",), self.config.patience)
        self.facts["workload"] = {"source": mdev.settings(), "destination": there.settings()}
        self.throttle.go_on()
        self.facts["source_state"] = mdev.state()
        (self.directory / "ledger.bin").write_bytes(mdev.ledger())
        with source.open_ram() as files:
            result = ram.compare(files, copy)
        copy.close()
        (self.directory / "ram.json").write_text(json.dumps(result))
        self.say(f"RAM: {result['pages_compared']} pages compared, "
                 f"{result['pages_different']} differ")

    def _go_on(self, destination, mdev):
        """The guest and its device continue where they stopped.

        On the control's broken backend anything may happen from here, so nothing is required of
        it.
        """
        config = self.config
        patience = 5 if self.name == "control" else config.patience
        try:
            destination.wait_console("MDMA-GUEST pass", patience, config.checks)
            destination.wait_console("MDMA-GUEST beat", patience)
            self.say("the guest's checks pass at the destination")
        except GuestError as err:
            if self.name != "control":
                raise
            self.say(f"after the switch: {err}")
        self.facts["destination_seq"] = mdev.stat("seq")


# --- the run ----------------------------------------------------------------


def play_leg(name, config, results, tracking):
    """Play a leg; what it leaves goes to the results."""
    with in_memory(config.shm, results / name) as directory:
        return Leg(name, config, directory, tracking).play()


def play_control(config, results):
    """The same on the broken backend; then load the good one again."""
    try:
        if config.tracking == "device":
            load_mdma(config.device_mutant)
        else:
            backend.load(config.mutant)
        return play_leg("control", config, results, config.tracking)
    except (ScenarioError, say.LabError) as err:
        (results / "control").mkdir(exist_ok=True)
        (results / "control/leg.json").write_text(json.dumps({"error": str(err)}))
        raise
    finally:
        if config.container == "iommufd":
            load_mdma(vfio_iommufd.mdma())
        elif config.tracking == "device":
            load_mdma(vfio_logging.mdma())
        else:
            backend.load()


def play_by_iommufd(config, results):
    """The same on iommufd; then load type1 again."""
    vfio_iommufd.load()
    try:
        return play_leg("iommufd", SimpleNamespace(**{**vars(config), "container": "iommufd"}),
                        results, config.tracking)
    finally:
        vfio_logging.load()


def main(argv):
    """Main leg and control; proof.py judges what they leave."""
    results, values = arguments.read(__doc__, with_preset(KEYS, argv), argv)
    config = configuration(values)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    results.mkdir(parents=True, exist_ok=True)
    (results / "run.json").write_text(json.dumps({"control": bool(config.control)}))
    try:
        others = config.compare.split(",") \
            if config.container == "type1" and config.tracking == "device" else ()
        if others:
            vfio_logging.load()
        played = play_leg("main", config, results, config.tracking)
        if "container" in others:
            played &= play_leg("compared", config, results, "container")
        if config.control:
            played &= play_control(config, results)
        if "iommufd" in others:
            played &= play_by_iommufd(config, results)
    except FAILURES as err:
        print(f"migrate: {err}", flush=True)
        return 1
    return 0 if played else 1


if __name__ == "__main__":
    entry.run(main)
