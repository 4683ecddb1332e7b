#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""Live migration of a guest whose mdma device writes its memory all the time.

Two mdevs, two QEMUs, several rounds of pre-copy, and at switchover a
comparison of all RAM; then the guest goes on at the destination. The control
is the same on a backend that forgets unpinned pages: both oracles must fail
there. This script gathers the evidence; scripts/lab.d/judge/proof.py judges it.

With tracking=device the device says what is dirty, and the same is played once more with
the container doing so, to compare them; the control is a device that forgets pages.

usage: migrate.py --results DIR [key=value ...]        (as root; --help: keys)
"""

import json
import os
import shutil
import signal
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(path) for path in (HERE.parent / "lab.d", HERE.parents[1] / "scripts/lab.d")
                if path.is_dir()]

# pylint: disable=wrong-import-position
from base import say
from base.qmp import QmpError
from judge import ram as ram_files
from play import arguments, backend, switchover, vfio_logging, workloads
from play.guest_vm import STOPPABLE_CLOCK, GuestError, GuestVM, boot_words
from play.mdev import Mdev, MdevError, load as load_mdma
from play.trace import TraceError, Tracer

EVENTS = ("mdma/mdma_write", "mdma/mdma_pin", "mdma/mdma_unpin", "mdma/mdma_state",
          "vfio_type1/vfio_dirty_start", "vfio_type1/vfio_dirty_stop",
          "vfio_type1/vfio_dirty_run", "vfio_type1/vfio_dirty_report",
          "mdma/mdma_log_start", "mdma/mdma_log_stop", "mdma/mdma_log_run",
          "mdma/mdma_log_report")
UNLIMITED = 1 << 40
# Bytes per second that QEMU is to expect of the switchover: less than a page in 1 ms, so that
# a workload that dirties little is not switched over before it has written enough.
HELD_BACK = 100_000
WORKLOAD = ("pattern", "direction", "batch", "hold_ms", "rate", "seed", "pages")
# The others stay as a new device has them if they are not given.
MORE = ("access", "write_percent", "on_error", "ring", "stride", "theta", "hot", "hot_percent",
        "drift", "burst", "pause_ms")
# What a setting can be, looked at before anything is booted.
CHOICES = {"workload": "gpu-working-set,nic-rx,nvme-write,rdma-registered,sparse-1TiB",
           "tracking": "container,device"}

# key: (default, what it is)
KEYS = {
    "type": ("mdma-1", "mdev type: mdma-1, mdma-4 or mdma-16"),
    "rounds": (4, "rounds of pre-copy before the guest may be switched over"),
    "pages_min": (110000, "page writes under tracking before that"),
    "bandwidth": (48, "MiB/s until then; afterwards there is no limit"),
    "downtime_limit_ms": (2000, "downtime QEMU may aim at afterwards"),
    "workload": ("", "a preset of samples/vfio-mdev/mdma/workloads; what else is given wins"),
    "pattern": ("random", "workload: sequential, random, ring, stride, zipf, hot or scatter"),
    "direction": ("write", "workload: write, read or mixed"),
    "batch": (24, "workload: pages per descriptor"),
    "hold_ms": (5, "workload: how long a run stays pinned"),
    "rate": (450, "workload: descriptors per second, 0 for no limit"),
    "seed": (1, "workload: seed"),
    "pages": (0, "workload: working set in pages, 0 for the whole window"),
    "access": ("", "workload: pin; by rw, the set oracle can't order reports and writes"),
    "write_percent": ("", "workload: share of writes, of direction mixed"),
    "on_error": ("", "workload: skip, stop or retry"),
    "ring": ("", "workload: runs that pattern ring keeps pinned"),
    "stride": ("", "workload: runs between two visits of pattern stride"),
    "theta": ("", "workload: skew of pattern zipf, in thousandths"),
    "hot": ("", "workload: runs of the hot set of pattern hot"),
    "hot_percent": ("", "workload: share of visits that go there"),
    "drift": ("", "workload: visits until the hot set moves on"),
    "burst": ("", "workload: descriptors between two pauses"),
    "pause_ms": ("", "workload: how long a pause is"),
    "mem_mb": (512, "guest memory, at most 2048"),
    "window_mb": (128, "memory that the guest gives to the workload"),
    "dirty_mb": (8, "memory that the guest's CPU dirties"),
    "smp": (1, "CPUs of the guest"),
    "checks": (2, "checks of the guest that must pass at the destination"),
    "pause_s": (0, "seconds to hold the guest at the switchover besides, which it must not notice"),
    "tracking": ("container", "who says what is dirty: container, or device and then both"),
    "control": (1, "1: also run on the mutant backend"),
    "patience": (180, "seconds to wait for any one thing"),
    "accel": ("kvm", "accelerator of the guest"),
    "qemu": ("qemu-system-x86_64", "QEMU to run"),
    "kernel": ("/mdma/guest/vmlinuz", "kernel of the guest"),
    "initrd": ("/mdma/guest/initramfs.cpio.gz", "initramfs of the guest"),
    "mutant": ("/mdma/mutant/forget-unpinned/vfio_iommu_type1.ko", "backend of the control"),
    "device_mutant": ("/mdma/mutant/log-forgets/mdma.ko", "device of it, with tracking=device"),
    "buffer_kb": (16384, "trace buffer per CPU"),
    "trace_mb": (512, "trace that is kept, at most: before, the workload is slowed"),
    "shm": ("/dev/shm", "directory for guest memory"),
}


class ScenarioError(Exception):
    """The scenario could not be played; the text says where it stopped."""


FAILURES = (ScenarioError, GuestError, MdevError, QmpError, TraceError, say.LabError,
            OSError)


# --- settings ---------------------------------------------------------------


def with_preset(known, argv):
    """The scenario's keys with what the preset in the command line says as defaults."""
    names = [word.partition("=")[2] for word in argv if word.startswith("workload=")]
    if not names or not names[0]:
        return known
    preset = workloads.read(names[0])
    return {key: (type(default)(preset.get(key, default)), what)
            for key, (default, what) in known.items()}


def workload_settings(config):
    """The workload's attributes that are to be written."""
    settings = {key: getattr(config, key) for key in WORKLOAD + MORE}
    return {key: value for key, value in settings.items() if value != ""}


def configuration(values):
    """Settings as a namespace; those that can't work are an error."""
    if not 0 < values["mem_mb"] <= 2048:
        raise SystemExit("migrate: mem_mb must be 1 to 2048: beyond, an IOVA is no offset in RAM")
    if values["window_mb"] >= values["mem_mb"]:
        raise SystemExit("migrate: window_mb must be less than mem_mb")
    config = SimpleNamespace(**values)
    config.append = kernel_arguments(config)
    return config


def kernel_arguments(config, clock=STOPPABLE_CLOCK):
    """The guest's kernel command line: what its init reads, a clock, and a quick boot."""
    return " ".join(["console=ttyS0", "quiet", *boot_words(), *clock,
                     f"mdma.window_mb={config.window_mb}", f"mdma.dirty_mb={config.dirty_mb}"])


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
        """Progress: people wait for this."""
        now = time.time() - self.begin
        self.facts["steps"].append([round(now, 2), text])
        print(f"migrate: {self.name}: {now:6.1f} s  {text}", flush=True)

    def play(self):
        """The whole leg; evidence is written whatever happens."""
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
            "mdma-proof", EVENTS, config.buffer_kb, self.directory,
            mdevs=(source_mdev, destination_mdev), room_mb=config.trace_mb))
        self.throttle = tracer.throttle
        # After both QEMUs have ended, also where something failed: it is evidence.
        stack.callback(tracer.collect)
        source = stack.enter_context(GuestVM("source", config, self.directory, source_mdev))
        destination = stack.enter_context(
            GuestVM("destination", config, self.directory, destination_mdev, incoming=True))
        self._start_workload(source, source_mdev)
        source.connect()
        destination.connect()
        self.facts["summary"]["qemu"] = qemu_version(source)
        self._migrate(source, source_mdev, destination)
        self._at_switchover(source, source_mdev, destination, destination_mdev)
        self._go_on(destination, destination_mdev)

    def _describe(self):
        self.facts["summary"].update(kernel=os.uname().release, accel=self.config.accel,
                                     backend=backend.name())
        if self.tracking == "device":
            broken = f" ({self.config.device_mutant})" if self.name == "control" else ""
            self.facts["summary"]["backend"] = f"tracking by mdma{broken}"

    def _start_workload(self, source, mdev):
        source.wait_console("MDMA-GUEST ready", self.config.patience)
        self.say("guest is up")
        if not mdev.settings()["window"]:
            raise ScenarioError("the guest gave the device no window")
        mdev.set(**workload_settings(self.config), run=1)
        source.wait_console("MDMA-GUEST pass", self.config.patience)
        self.say("workload and dmatest are running")

    def _migrate(self, source, mdev, destination):
        """Several rounds at a limited rate, then let it converge."""
        config = self.config
        address = f"unix:{self.directory / 'migration.socket'}"
        destination.qmp.command("migrate-incoming", uri=address)
        source.qmp.command("migrate-set-parameters", max_bandwidth=config.bandwidth << 20,
                           downtime_limit=1, avail_switchover_bandwidth=HELD_BACK)
        before, written = mdev.stat("pages_written"), 0
        source.qmp.command("migrate", uri=address)
        deadline = time.monotonic() + config.patience
        while True:
            sample = self._sample(source, mdev)
            if sample["status"] in ("completed", "failed", "cancelled"):
                break
            if written < sample["written"] - before <= config.pages_min:
                # A workload that writes little takes long to write enough.
                deadline = time.monotonic() + config.patience
            written = sample["written"] - before
            self._pace(source, sample, written)
            if time.monotonic() > deadline:
                raise ScenarioError(f"migration still {sample['status']} after "
                                    f"{config.patience} s in round {sample['rounds']}")
            time.sleep(0.1)
        self._migrated(source.qmp.command("query-migrate"))

    def _pace(self, source, sample, written):
        """Hold the migration back until there is enough to judge, then let it end.

        The bandwidth is set free first and the downtime later, so that QEMU's
        estimate of the downtime is one for the bandwidth that it really has.
        Whoever is too slow to converge gets a longer downtime.
        """
        config, rounds = self.config, sample["rounds"]
        if rounds < self.next_round:
            return
        if self.downtime_ms:
            self.downtime_ms *= 2
        elif self.limited:
            if written < config.pages_min:
                return
            self.limited = False
            self.say(f"{rounds} rounds, {written} page writes: full bandwidth")
            source.qmp.command("migrate-set-parameters", max_bandwidth=UNLIMITED,
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
        """Source stopped, destination not yet started: RAM must be the same. It is copied and
        compared later, so that the guest need not wait for that."""
        wait_status(source, ("postmigrate",), self.config.patience)
        wait_status(destination, ("paused", "prelaunch"), self.config.patience)
        # What travelled is compared with what came: nobody slows the devices meanwhile.
        self.throttle.rest()
        copy, held = switchover.go_on(destination, self.config.pause_s)
        self.facts["summary"].update(held)
        self.say(f"the destination was held {held['held_s']} s for the comparison")
        # Only when it runs has the device taken over what it was sent.
        wait_status(destination, ("running",), self.config.patience)
        self.facts["workload"] = {"source": mdev.settings(), "destination": there.settings()}
        self.throttle.go_on()
        self.facts["source_state"] = mdev.state()
        (self.directory / "ledger.bin").write_bytes(mdev.ledger())
        result = ram_files.compare(source.ram, copy)
        copy.close()
        (self.directory / "ram.json").write_text(json.dumps(result))
        self.say(f"RAM: {result['pages_compared']} pages compared, "
                 f"{result['pages_different']} differ")

    def _go_on(self, destination, mdev):
        """The guest and its device continue where they stopped.

        On the broken backend of the control anything may happen from here,
        so nothing is asked of it.
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


def qemu_version(vm):
    """QEMU's version as it says it itself."""
    version = vm.qmp.command("query-version")
    number = ".".join(str(version["qemu"][key]) for key in ("major", "minor", "micro"))
    return f"{number} {version['package']}".strip()


def wait_status(vm, wanted, patience):
    """Wait until a QEMU's run state is one of @wanted."""
    deadline = time.monotonic() + patience
    while (status := vm.qmp.command("query-status")["status"]) not in wanted:
        if time.monotonic() > deadline:
            raise ScenarioError(f"{vm.name} is {status}, not {' or '.join(wanted)}")
        time.sleep(0.05)


# --- the run ----------------------------------------------------------------


def play_leg(name, config, results, tracking):
    """Play a leg in memory and copy what it left to the results.

    The lab's results are a network file system: writing every character of a
    guest's console there would slow the guest down.
    """
    work = Path(tempfile.mkdtemp(prefix="mdma-", dir=config.shm))
    try:
        return Leg(name, config, work, tracking).play()
    finally:
        shutil.copytree(work, results / name, dirs_exist_ok=True,
                        ignore=shutil.ignore_patterns("*.socket", "*.ram"))
        shutil.rmtree(work)


def play_control(config, results):
    """The same on the broken backend; then the backend as it was."""
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
        if config.tracking == "device":
            load_mdma(vfio_logging.mdma())
        else:
            backend.load()


def main(argv):
    """Main leg and control; proof.py judges what they leave."""
    results, values = arguments.read(__doc__, with_preset(KEYS, argv), argv)
    config = configuration(values)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    results.mkdir(parents=True, exist_ok=True)
    (results / "run.json").write_text(json.dumps({"control": bool(config.control)}))
    try:
        if config.tracking == "device":
            vfio_logging.load()
        played = play_leg("main", config, results, config.tracking)
        if config.tracking == "device":
            played &= play_leg("container", config, results, "container")
        if config.control:
            played &= play_control(config, results)
    except FAILURES as err:
        print(f"migrate: {err}", flush=True)
        return 1
    return 0 if played else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
