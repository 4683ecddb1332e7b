#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""Live migration of a guest with a device of the user's own vendor driver, or of one of
samples/drivers: all RAM must be the same at the switchover, and the guest must work at the
destination. If the driver says what it wrote, no page may be lost. Then the control, which the
driver's adapter names, and which must be found (Documentation/your-driver.rst).

This script gathers the evidence; scripts/lab.d/judge/vendor.py judges it.

usage: vendor.py --results DIR driver=NAME|PATH [key=value ...]     (as root; --help: keys)
"""

import json
import os
import signal
import sys
from pathlib import Path
from types import SimpleNamespace

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "scripts/lab.d"))

# pylint: disable=wrong-import-position
from base import settings
from play import arguments, entry, guest_vm, leg
from play.adapter import Adapter
from play.guest_vm import GuestError, GuestVM
from play.host import FAILURES, in_memory
from play.trace import Tracer, proof_events

# What a run needs to have built, and for which settings (boot/scenario.py).
BUILDS = {"guest": ""}

KEYS = settings.keys(
    "rounds", "pages_min", "bandwidth", "downtime_limit_ms", "smp", "checks", "pause_s", "control",
    *settings.GUEST, *settings.TRACE, pages_min=10000, own={
        "driver": settings.Driver("mtty", "one of samples/drivers, or the path of the directory "
                                  "that has adapter.py; make has DRIVER= for it"),
    })


class VendorLeg(leg.Leg):
    """A migration with the adapter's device."""

    def __init__(self, name, config, directory, adapter):
        self.adapter = adapter
        super().__init__(name, config, directory, {
            "settings": {key: getattr(config, key) for key in KEYS}, "writes": adapter.WRITES,
            "pages_min": config.pages_min, "caught_by": list(adapter.CAUGHT_BY),
            "guest": {"works": adapter.WORKS, "fails": adapter.FAILS}})
        self.device = None

    def counters(self):
        return {"written": self.adapter.written(self.device.path)}

    def play_in(self, stack):
        adapter, config = self.adapter, SimpleNamespace(**vars(self.config))
        self.facts["summary"].update(
            kernel=os.uname().release, accel=config.accel, container="type1",
            backend=stack.enter_context(adapter.loaded(self.name == "control")))
        self.device = stack.enter_context(adapter.device())
        there = stack.enter_context(adapter.device())
        config.append = f"{guest_vm.kernel_arguments(config)} {adapter.APPEND}"
        config.initrd = adapter.initrd(config.initrd, self.directory)
        tracer = stack.enter_context(Tracer(
            "mdma-vendor", self._events(), config.buffer_kb, self.directory,
            room_mb=config.trace_mb))
        # Runs after both QEMUs have ended, even after a failure: the trace is evidence.
        stack.callback(tracer.collect)
        source = self._guest(stack, "source", config, self.device)
        destination = self._guest(stack, "destination", config, there, incoming=True)
        self._start(source)
        source.connect()
        destination.connect()
        self.facts["summary"]["qemu"] = guest_vm.qemu_version(source)
        self.migrate(source, destination)
        self.wait_for_stop(source, destination)
        # What the device at the destination writes is of no interest.
        tracer.stop()
        self.compare(source, self.go_on(destination))
        self._check_there(destination)

    def _events(self):
        events = [event for event in proof_events("type1") if not event.startswith("mdma/")]
        return [*events, *(self.adapter.WRITES or ())[:1]]

    def _guest(self, stack, name, config, device, **more):
        words = [str(word) for word in self.adapter.qemu_args(device.path)]
        return stack.enter_context(GuestVM(name, config, self.directory, device, before=words,
                                           properties=self.adapter.PROPERTIES, **more))

    def _start(self, source):
        source.wait_console(self.adapter.READY, self.config.patience)
        self.say("guest is up")
        self.adapter.start(self.device.path)
        source.wait_console(self.adapter.WORKS, self.config.patience)
        self.say("the guest works")

    def _check_there(self, destination):
        """The guest continues. In the control anything may happen from here, until it fails."""
        adapter, control = self.adapter, self.name == "control"
        try:
            if control and "guest" in adapter.CAUGHT_BY:
                destination.wait_console(adapter.FAILS, self.config.patience)
                self.say("the guest fails at the destination")
            elif not control:
                destination.wait_console(adapter.WORKS, self.config.patience, self.config.checks)
                self.say("the guest's checks pass at the destination")
        except GuestError as err:
            if not control:
                raise
            self.say(f"after the switch: {err}")


def play_leg(name, config, results, adapter):
    """Play a leg; what it leaves goes to the results."""
    with in_memory(config.shm, results / name, "initrd") as directory:
        return VendorLeg(name, config, directory, adapter).play()


def configuration(values, adapter):
    """Settings as a namespace."""
    config = SimpleNamespace(**values)
    config.control = int(bool(config.control and adapter.CONTROL))
    # The lab can wait for a number of writes only where somebody counts them.
    config.pages_min = config.pages_min if hasattr(adapter.module, "written") else 0
    return config


def main(argv):
    """Main leg and control; judge/vendor.py judges what they leave."""
    results, values = arguments.read(__doc__, KEYS, argv)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        adapter = Adapter(values["driver"])
        config = configuration(values, adapter)
        (results / "run.json").write_text(json.dumps({"control": bool(config.control)}))
        played = play_leg("main", config, results, adapter)
        if config.control:
            played &= play_leg("control", config, results, adapter)
    except FAILURES as err:
        print(f"vendor: {err}", flush=True)
        return 1
    return 0 if played else 1


if __name__ == "__main__":
    entry.run(main)
