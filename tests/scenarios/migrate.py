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
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "scripts/lab.d"))

# pylint: disable=wrong-import-position
from base import say, settings, workloads
from judge import moves, proof
from play import arguments, backend, entry, guest_vm, leg, vfio_iommufd, vfio_logging
from play.guest_vm import GuestVM
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
                                  ("container", "iommufd", "none")),
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


class DeviceLeg(leg.Leg):
    """A migration with mdma."""

    def __init__(self, name, config, directory, tracking):
        super().__init__(name, config, directory, {
            "settings": {key: getattr(config, key) for key in KEYS}, "tracking": tracking})
        self.tracking = tracking
        self.throttle = self.mdev = None

    def counters(self):
        return {"written": self.mdev.stat("pages_written"), "pinned": self.mdev.stat("pinned")}

    def play_in(self, stack):
        config = self.config
        self._describe()
        source_mdev = self.mdev = stack.enter_context(Mdev(config.type))
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
        self.migrate(source, destination)
        self._at_switchover(source, source_mdev, destination, destination_mdev)
        self._go_on(destination, destination_mdev)

    def _describe(self):
        self.facts["summary"].update(kernel=os.uname().release, accel=self.config.accel,
                                     container=self.config.container)
        self.facts["summary"]["backend"] = ", ".join(filter(None, self._backend()))

    def _backend(self):
        """What maps memory, and what says which of it is dirty."""
        iommufd, device = self.config.container == "iommufd", self.tracking == "device"
        return (backend.of_iommufd() if iommufd else "" if device else backend.name(),
                f"tracking by {backend.name('mdma')}" if device else "")

    def _start_workload(self, source, mdev):
        source.wait_console("MDMA-GUEST ready", self.config.patience)
        self.say("guest is up")
        if not mdev.settings()["window"]:
            raise ScenarioError("the guest gave the device no window")
        mdev.set(**workload(self.config), run=1)
        source.wait_console("MDMA-GUEST pass", self.config.patience)
        self.say("workload and dmatest are running")

    def _at_switchover(self, source, mdev, destination, there):
        """RAM must be the same there, and the device must have its settings."""
        self.wait_for_stop(source, destination)
        # The settings that travelled are compared with those that arrived: nobody slows the
        # devices meanwhile.
        self.throttle.rest()
        copy = self.go_on(destination)
        self.facts["workload"] = {"source": mdev.settings(), "destination": there.settings()}
        self.throttle.go_on()
        self.facts["source_state"] = mdev.state()
        ledger = mdev.ledger()
        (self.directory / "ledger.bin").write_bytes(ledger)
        self.compare(source, copy)
        self._check_stamps(source, ledger)

    def _check_stamps(self, source, ledger):
        """The source's RAM must have what its device wrote."""
        window = moves.window_pages(self.facts["workload"]["source"]["window"])
        with source.open_ram() as files:
            found = proof.check_stamps(files, proof.parse_ledger(ledger, "ledger"), window)
        (self.directory / "stamps.json").write_text(json.dumps(found))
        self.say(f"{found['stamps_checked']} pages that the device wrote: "
                 f"{found['stamps_wrong']} do not have its last stamp")

    def _go_on(self, destination, mdev):
        """The guest and its device continue where they stopped.

        On the control's broken backend anything may happen from here, so nothing is required of
        it, nor waited for.
        """
        if self.name != "control":
            patience = self.config.patience
            destination.wait_console("MDMA-GUEST pass", patience, self.config.checks)
            destination.wait_console("MDMA-GUEST beat", patience)
            self.say("the guest's checks pass at the destination")
        self.facts["destination_seq"] = mdev.stat("seq")


# --- the run ----------------------------------------------------------------


def play_leg(name, config, results, tracking):
    """Play a leg; what it leaves goes to the results."""
    with in_memory(config.shm, results / name) as directory:
        return DeviceLeg(name, config, directory, tracking).play()


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
