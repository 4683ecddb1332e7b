#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""What reporting device-dirtied pages early, late and how does to downtime.

One guest is migrated again and again over a link of limited capacity, each time with another
workload of its device; its CPU dirties memory as well. QEMU decides when to stop it. Each
migration leaves what QEMU expected at that time, and what happened;
scripts/lab.d/judge/downtime.py turns that into numbers, downtime_report.py does the rest.

A migration that does not converge after a while gets a downtime limit that it can't exceed. So
each one ends, and the guest can continue to the next point.

usage: experiment.py --results DIR [key=value ...]        (as root; --help: keys)
"""

import json
import os
import shutil
import signal
import sys
import time
from pathlib import Path
from types import SimpleNamespace

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "scripts/lab.d"))

# pylint: disable=wrong-import-position
from base import settings
from base.patience import Patience
from judge import points as all_points
from play import arguments, backend, entry, guest_vm, vfio_logging
from play.guest_vm import STEADY_CLOCK
from play.host import FAILURES, Host, ScenarioError, boot, in_memory, set_workload
from play.link import Link

# What a run needs to have built, and for which settings (boot/scenario.py).
BUILDS = {"guest": "", "logging": ""}

KEYS = settings.keys(
    "mem_mb", "patience", "accel", "qemu", "kernel", "initrd", "shm", mem_mb=128, patience=120,
    own={
        "points": settings.Text("all", "which: names, groups (thread, matrix, remedy, link) or "
                                "patterns, by comma"),
        "repeat": settings.Number(3, "how often each is played", 1),
        "bandwidth": settings.Number(
            4, "MiB/s that the link carries, and QEMU's max-bandwidth", 1),
        "downtime_limit_ms": settings.Number(1000, "QEMU's downtime-limit", 1),
        "give_up_s": settings.Number(
            15, "seconds after the first round until it counts as not converging", 1),
    })

SAMPLE_S = 0.1
# The downtime limit, in ms, that ends a migration that did not converge.
ANY_DOWNTIME = 600_000


# --- settings ---------------------------------------------------------------


def configuration(values):
    """Settings as a namespace, with what follows from them; settings that can't work are an
    error."""
    config = SimpleNamespace(**values, smp=1)
    try:
        config.chosen = all_points.choose(config.points)
    except ValueError as err:
        raise SystemExit(f"experiment: {err}") from None
    size_guest(config)
    return config


def size_guest(config):
    """Sizes of the guest, and its command line."""
    budget = all_points.budget(config.bandwidth, config.downtime_limit_ms)
    largest = max(one.pages for one in all_points.all_points()) * budget
    config.window_mb = (int(largest) >> 8) + 4
    config.dirty_mb = max(1, round(all_points.VCPU_PAGES * budget / 256))
    if config.window_mb + config.dirty_mb + 96 > config.mem_mb:
        raise SystemExit(f"experiment: mem_mb must be more than "
                         f"{config.window_mb + config.dirty_mb + 96} at this bandwidth")
    rate = round(all_points.VCPU_RATE * all_points.capacity(config.bandwidth))
    # Freed memory is all zeroes, which cost no bandwidth: the first round does not matter here.
    config.append = (f"{guest_vm.kernel_arguments(config, STEADY_CLOCK)} init_on_free=1 "
                     f"mdma.checks=0 mdma.dirty_pages_per_s={rate}")


def place(one):
    """The parameters of a Host for a point; those of the source count."""
    words = [f"x-pre-copy-dirty-page-tracking={'on' if one.reported == 'pre' else 'off'}"]
    if one.tracking == "container":
        words.append("x-device-dirty-page-tracking=off")
    return {"properties": ",".join(words), "track": one.tracking == "device"}


# --- a point ----------------------------------------------------------------


class Trial:
    """One migration at one point, and what was seen of it."""

    def __init__(self, one, number, config, say):
        self.one, self.config, self.say = one, config, say
        self.workload = all_points.settings(one, config.bandwidth, config.downtime_limit_ms)
        self.first_round_end = None
        self.facts = {"point": one._asdict(), "repeat": number, "workload": self.workload,
                      "bandwidth": config.bandwidth, "converged": None, "samples": [],
                      "downtime_limit_ms": config.downtime_limit_ms,
                      "ram_pages": config.mem_mb << 8}

    def play(self, source, destination, directory):
        """Migrate; afterwards the guest runs on the destination."""
        set_workload(source, self.workload, self.config.patience)
        rate = (self.config.bandwidth << 20) if self.one.limited else 0
        here, there = directory / "link.socket", directory / "incoming.socket"
        destination.vm.connect()
        destination.vm.qmp.command("migrate-incoming", uri=f"unix:{there}")
        with Link(here, there, rate) as link:
            self._migrate(source, here)
            guest_vm.wait_status(destination.vm, ("running",), self.config.patience)
            self._ended(source, destination, link)

    def _migrate(self, source, address):
        config, qmp = self.config, source.vm.qmp
        qmp.events.clear()
        qmp.command("migrate-set-parameters", max_bandwidth=config.bandwidth << 20,
                    downtime_limit=config.downtime_limit_ms)
        qmp.command("migrate", uri=f"unix:{address}")
        patience = Patience(config.patience)
        while True:
            sample = self._sample(source)
            patience.progress(sample["status"], sample["rounds"], sample["transferred"])
            if sample["status"] in ("completed", "failed", "cancelled"):
                break
            if self.facts["converged"] is None and self._is_late(sample):
                self.facts["converged"] = False
                qmp.command("migrate-set-parameters", downtime_limit=ANY_DOWNTIME)
            if patience.exhausted():
                raise ScenarioError(f"migration is {sample['status']}, without progress for "
                                    f"{config.patience} s, in round {sample['rounds']}")
            time.sleep(SAMPLE_S)
        if sample["status"] != "completed":
            raise ScenarioError(f"migration {sample['status']}")
        self.facts["converged"] = self.facts["converged"] is None

    def _is_late(self, sample):
        """Whether pre-copy has taken longer than the limit."""
        if sample["rounds"] < 2:
            return False
        self.first_round_end = self.first_round_end or sample["time"]
        return sample["time"] > self.first_round_end + self.config.give_up_s

    def _sample(self, source):
        info = source.vm.qmp.command("query-migrate")
        memory = info.get("ram", {})
        sample = {"time": time.time(), "status": info.get("status", "none"),
                  "rounds": memory.get("dirty-sync-count", 0),
                  "remaining": memory.get("remaining", 0),
                  "transferred": memory.get("transferred", 0),
                  "expected_downtime": info.get("expected-downtime"),
                  "written": source.mdev.stat("pages_written"),
                  "pinned": source.mdev.stat("pinned")}
        self.facts["samples"].append(sample)
        return sample

    def _ended(self, source, destination, link):
        """Add what is known only afterwards."""
        destination.vm.qmp.command("query-status")
        self.facts.update(
            migration=source.vm.qmp.command("query-migrate"),
            stopped=event_time(source.vm.qmp, "STOP"),
            resumed=event_time(destination.vm.qmp, "RESUME"),
            link={"bytes": link.carried, "error": link.error, "series": thin(link.series)})
        console = source.vm.console() + destination.vm.console()
        self.facts["guest_complaints"] = [line for line in console.splitlines()
                                          if "MDMA-GUEST fail" in line]


def event_time(qmp, name):
    """The time of an event by QEMU, in seconds; None if it did not happen."""
    times = [event["timestamp"] for event in qmp.events if event["event"] == name]
    return times[-1]["seconds"] + times[-1]["microseconds"] / 1e6 if times else None


def thin(series, step=0.02):
    """Thin a time series: one entry per @step seconds, and the last one."""
    kept = series[:1]
    for entry in series[1:]:
        if entry[0] - kept[-1][0] >= step:
            kept.append(entry)
    return kept if kept[-1] == series[-1] else kept + series[-1:]


# --- the run ----------------------------------------------------------------


class Experiment:
    """All points in order, each as often as the settings say."""

    def __init__(self, config, results):
        self.config, self.results = config, results
        self.begin = time.time()
        self.host, self.failed = None, 0

    def say(self, text):
        """Print progress; people wait for it."""
        print(f"experiment: {time.time() - self.begin:6.1f} s  {text}", flush=True)

    def play(self, directory):
        """Play every trial; a failed one loses its guest, but does not end the run."""
        trials = [(one, number) for number in range(1, self.config.repeat + 1)
                  for one in self.config.chosen]
        try:
            for i, (one, number) in enumerate(trials):
                after = trials[i + 1][0] if i + 1 < len(trials) else one
                self._trial(f"{i + 1}/{len(trials)} {one.name}", one, number, after, directory)
        finally:
            self._leave(None)
        return self.failed == 0

    def _leave(self, host):
        """The guest is now on @host, or nowhere: end the other one."""
        if self.host:
            self.host.close()
        self.host = host

    def _trial(self, title, one, number, after, directory):
        trial = Trial(one, number, self.config, self.say)
        destination = log = None
        try:
            if not self.host or self.host.properties != place(one)["properties"]:
                self._leave(None)
                self.host = boot(self.config, directory, **place(one))
                self.say("guest is up")
                self._describe()
            log = directory / f"{self.host.name}.qemu"
            destination = Host(self.config, directory, incoming=True, paused=False,
                               **place(after))
            trial.play(self.host, destination, directory)
            self._leave(destination)
            rounds = trial.facts["migration"]["ram"]["dirty-sync-count"]
            self.say(f"{title}: {rounds} rounds, {'' if trial.facts['converged'] else 'not '}"
                     f"converged, downtime {trial.facts['migration'].get('downtime')} ms")
        except FAILURES as err:
            self.failed += 1
            trial.facts["error"] = f"{type(err).__name__}: {err}"
            self.say(f"{title}: {trial.facts['error']}")
            if destination and destination is not self.host:
                destination.close()
            self._leave(None)
        self._file(trial, log)

    def _describe(self):
        """Save what it was played on, once."""
        path = self.results / "machine.json"
        if not path.exists():
            path.write_text(json.dumps({
                "kernel": os.uname().release, "backend": backend.name(),
                "qemu": guest_vm.qemu_version(self.host.vm), "accel": self.config.accel}))

    def _file(self, trial, log):
        """Save what is known of a trial."""
        name = f"{trial.one.name}.{trial.facts['repeat']}"
        directory = self.results / "trials"
        directory.mkdir(exist_ok=True)
        (directory / f"{name}.json").write_text(json.dumps(trial.facts))
        if log and log.exists():
            shutil.copy(log, directory / f"{name}.qemu")


def main(argv):
    """Play it; downtime_report.py says outside the lab what it means."""
    results, values = arguments.read(__doc__, KEYS, argv)
    config = configuration(values)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    results.mkdir(parents=True, exist_ok=True)
    plan = {key: getattr(config, key) for key in KEYS}
    plan["chosen"] = [one.name for one in config.chosen]
    (results / "plan.json").write_text(json.dumps(plan))
    if any(one.tracking == "device" for one in config.chosen):
        vfio_logging.load()
    with in_memory(config.shm, results / "vms", "*.qemu") as directory:
        return 0 if Experiment(config, results).play(directory) else 1


if __name__ == "__main__":
    entry.run(main)
