#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""What else is done to guests that migrate, and to their devices.

The first guest is that of the scenario failures, with its oracles: what QEMU refuses with such a
device; dirty rates that QEMU measures; moves over several channels and through a file; resets in
pre-copy and at the stop. The second one takes commands: it is saved and loaded with runs held,
moves to a host that may lock little memory, and powers off in pre-copy. Then a new guest gets the
device that the second one has left, and its QEMU quits at the stop. The control is a move on a
backend that forgets unpinned pages: both oracles must find what is lost.

usage: detours.py --results DIR [key=value ...]        (as root; --help: keys)
"""

import re
import signal
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "scripts/lab.d"))

# pylint: disable=wrong-import-position
from base import ktap, qemu_events, settings
from base.qmp import QmpError
from judge import ram
from play import arguments, entry, forgetful, guest_vm, mdev, switchover
from play.attempt import ENDS, move, over_socket, reset_in_round
from play.guest_bench import Bench
from play.guest_shell import GuestShell
from play.host import Host, in_memory, set_workload, wait_until, workload
from play.steps import CAUGHT, Steps, each, expect
from play.traveller import RESET, STOP, Case, Traveller

# What a run needs to have built, and for which settings (boot/scenario.py).
BUILDS = {"guest": "", "mutant": "control=1"}

KEYS = settings.keys(
    "type", "bandwidth", "control", *settings.WORKLOAD, *settings.GUEST, *settings.TRACE, "device",
    bandwidth=32, mem_mb=128, window_mb=32, dirty_mb=2, pattern="sequential",
    own={
        "guests": settings.Words("moved,commanded", "which guests", ("moved", "commanded")),
        "mutant": settings.File("mutant/forget-unpinned/vfio_iommu_type1.ko",
                                "backend of the control"),
        "backend": settings.BACKEND,
    })

# --- the first guest: what QEMU refuses, and ways to move --------------------

CHANNELS = 4
# QEMU's trace of a device whose state arrives over a channel of its own.
DEVICE_CHANNEL = "vfio_load_state_device_buffer_start"
# The property of vfio-pci by which it does.
DEVICE_TRANSFER = "x-migration-multifd-transfer"


def over_channels(transfer):
    """A move over several channels, with the device's state in them (on), or beside them (off)."""
    def disturb(one):
        path = one.run.directory / "channels.socket"
        one.prepare(return_path=True, multifd=True)
        for host in (one.source, one.destination):
            host.vm.qmp.command("migrate-set-parameters", multifd_channels=CHANNELS)
            host.vm.qmp.command("qom-set", path="/machine/peripheral/mdma",
                                property=DEVICE_TRANSFER, value=transfer)
        one.destination.vm.qmp.command("trace-event-set-state", name=DEVICE_CHANNEL, enable=True)
        one.destination.vm.qmp.command("migrate-incoming", uri=f"unix:{path}")
        one.source.vm.qmp.command("migrate", uri=f"unix:{path}")
        one.let_go()
        one.wait("completed")
        arrived = DEVICE_CHANNEL in one.destination.vm.log()
        one.expect("the device's state in a channel", arrived, transfer == "on")
    return disturb


def through_a_file(one):
    """Into a file in which each page has its place, and from there into the destination."""
    path = one.run.directory / "saved.ram"
    try:
        one.prepare(mapped_ram=True)
        one.source.vm.qmp.command("migrate", uri=f"file:{path}")
        one.let_go()
        one.wait("completed")
        one.destination.vm.qmp.command("migrate-incoming", uri=f"file:{path}")
        one.run.wait_loaded(one.destination)
    finally:
        path.unlink(missing_ok=True)


# Seconds for which QEMU measures; and those in which a migration must begin, on a slow machine too.
MEASURE_S, MEASURE_LONG_S = 2, 5
# The backend's records, where the kernel counts them. Other caches may share their slabs.
RECORDS = [Path("/sys/kernel/slab", name) for name in ("vfio_pin_leaf", "vfio_pin_plane")]
# So many more are not ours: what the device writes while QEMU measures needs more.
SLACK = 2


def switches(text):
    """How often dirty tracking began, and how often it ended, by QEMU's trace: it is on while
    anybody in QEMU wants it."""
    wanted = [False, *(int(rest.split()[-1], 16) > 0 for _, name, rest in qemu_events.read(text)
                       if name == guest_vm.TRACKING)]
    pairs = list(zip(wanted, wanted[1:]))
    return pairs.count((False, True)), pairs.count((True, False))


def switched(host, before):
    """The same, since @before."""
    return tuple(now - then for now, then in zip(switches(host.vm.log()), before))


def measure(host, seconds=MEASURE_S):
    """Let QEMU begin to measure, by dirty bitmaps, how fast memory becomes dirty."""
    host.vm.qmp.command("calc-dirty-rate", calc_time=seconds, mode="dirty-bitmap")


def wait_measured(host, patience):
    """Wait for the result, in MiB/s."""
    ask = host.vm.qmp.command
    wait_until("the dirty rate is measured", patience,
               lambda: ask("query-dirty-rate")["status"] == "measured")
    return ask("query-dirty-rate")["dirty-rate"]


def while_measured(one):
    """A move that begins while QEMU measures: tracking is on already, and goes on."""
    before = switches(one.source.vm.log())
    measure(one.source, MEASURE_LONG_S)
    one.start(return_path=True)
    wait_measured(one.source, one.run.config.patience)
    one.expect("tracking's begins and ends", switched(one.source, before), (1, 0))
    one.let_go()


def measured_in_round(number):
    """A move in which QEMU measures from that round of pre-copy on: tracking goes on."""
    def disturb(one):
        one.start(return_path=True)
        one.wait_precopy(number)
        before = switches(one.source.vm.log())
        measure(one.source)
        rate = wait_measured(one.source, one.run.config.patience)
        one.run.complain_if(not rate, "nothing was dirtied, by QEMU's dirty bitmaps")
        one.expect("tracking's begins and ends", switched(one.source, before), (0, 0))
        one.let_go(number + 1)
    return disturb


def records():
    """How many records the backend has, without those that a CPU only keeps for the next one."""
    for cache in RECORDS:
        (cache / "shrink").write_text("1\n")
    return sum(int((cache / "objects").read_text().split()[0]) for cache in RECORDS)


def reset_at_stop(one):
    """The guest is reset, when it is stopped and the device saves its state."""
    one.start(return_path=True, pause_before_switchover=True)
    one.let_go()
    one.wait("pre-switchover")
    one.expect("the device", one.source.mdev.state(), "stop_copy")
    one.reset()
    one.source.vm.qmp.command("migrate-continue", state="pre-switchover")
    one.fails()


RESETS = {"in round 1 of pre-copy": RESET._replace(disturb=reset_in_round(1)),
          "in round 3 of pre-copy": RESET._replace(disturb=reset_in_round(3)),
          "at the stop": Case(reset_at_stop, STOP, ("failed",), boots=True)}


class Moved(Traveller):
    """The first guest."""

    def wait_loaded(self, host):
        """Wait until a destination has loaded the guest."""
        wait_until("the guest is loaded", self.config.patience, lambda: host.vm.qmp.command(
            "query-migrate").get("status") == "completed")

    def refused(self, capability, words):
        """QEMU refuses to migrate such a device with a capability, and says so."""
        self.reasons, begin = [], time.monotonic()
        qmp, said = self.host.vm.qmp, "nothing"
        try:
            qmp.command("migrate-set-capabilities",
                        capabilities=[{"capability": capability, "state": True}])
            # Nobody listens there. It must not come to that.
            qmp.command("migrate", uri=f"unix:{self.directory / 'nobody.socket'}")
            said = qmp.command("query-migrate").get("error-desc", said)
        except QmpError as err:
            said = str(err)
        finally:
            qmp.command("migrate-set-capabilities",
                        capabilities=[{"capability": capability, "state": False}])
        self.complain_if(words not in said.lower(), f"QEMU says {said}")
        self._stayed()
        self._file(f"{capability} is refused", time.monotonic() - begin)

    def measured(self):
        """QEMU measures the dirty rate without a migration: tracking begins and ends once, and
        leaves no record."""
        self.reasons, begin = [], time.monotonic()
        before, kept = switches(self.host.vm.log()), self.at_rest()
        measure(self.host)
        rate = wait_measured(self.host, self.config.patience)
        self.complain_if(not rate, "nothing was dirtied, by its dirty bitmaps")
        found = switched(self.host, before)
        self.complain_if(found != (1, 1), f"tracking began {found[0]} times, and ended {found[1]}")
        left = self.at_rest()
        self.complain_if(left > kept + SLACK, f"{left} records are left, there were {kept}")
        self._stayed()
        self._file(f"the dirty rate is measured: {rate} MiB/s", time.monotonic() - begin)

    def at_rest(self):
        """Stop the guest, so that nothing is pinned, for a look at the backend's records."""
        self.host.vm.qmp.command("stop")
        self.complain_if(self.host.mdev.stat("pinned"), "a stopped device has pages pinned")
        found = records()
        self.host.vm.qmp.command("cont")
        return found

    def play(self):
        """All of it."""
        with ExitStack() as stack:
            self.boot(stack)
            self.refused("postcopy-ram", "postcopy")
            self.refused("background-snapshot", "background")
            self.measured()
            self.succeed("a move while the dirty rate is measured", while_measured)
            self.succeed("the dirty rate is measured in round 3", measured_in_round(3))
            self.succeed("over channels, the device's state in them", over_channels("on"))
            self.succeed("over channels, the device's state beside them", over_channels("off"))
            self.succeed("through a file", through_a_file)
            for when, case in RESETS.items():
                self.fail(f"a reset {when}", case)
                self.succeed(f"second try after a reset {when}", move)
        self.judge()


# --- the second guest: commands ----------------------------------------------

# What a QEMU may lock at the destination, and how many pages are held when the guest comes there.
LOCKED_MB = 8
HELD = 2 * (LOCKED_MB << 8)
HOLD_MS = 600_000
# Seconds in which nothing may happen.
QUIET_S = 1
FORGOTTEN = re.compile(r"(\d+) held runs can't be pinned again, and are forgotten")
# A QEMU that can't lock more than that: root may lock any amount, so it runs without that right.
LIMITED = """#!/bin/sh
exec setpriv --bounding-set -ipc_lock --inh-caps -ipc_lock prlimit --memlock={bytes} {qemu} "$@"
"""
LIMITED_QEMU = "limited"
DISK = "snapshots"


class Commanded(Steps):
    """The second guest."""

    def __init__(self, config, directory):
        super().__init__("detours", "commanded")
        self.config, self.directory = config, directory
        self.stack, self.bench, self.mdevs = None, None, []

    def play(self):
        """All steps; those after a failure are left out."""
        with ExitStack() as self.stack:
            self.mdevs = [self.stack.enter_context(mdev.Mdev(self.config.type)) for _ in range(2)]
            self.steps(("the guest works", self.boot),
                       ("saved and loaded with runs held", self.snapshot),
                       ("a destination that may lock little", self.little),
                       ("power-off in pre-copy", self.power_off),
                       ("a new guest on a device that was left", self.successor),
                       ("its QEMU quits at the stop", self.quit_at_stop))
        return self.results

    def host(self, device, config=None, **more):
        """A QEMU with a device, and the shell of its guest."""
        host = Host(config or self.config, self.directory, device, commands=True,
                    before=["-no-shutdown"], **more)
        self.stack.callback(host.close)
        shell = GuestShell(host.vm, self.config.patience)
        self.stack.callback(shell.close)
        return host, shell

    def boot(self, device=None):
        """A guest whose device writes."""
        host, shell = self.host(device or self.mdevs[0])
        shell.answer()
        host.vm.connect()
        self.bench = Bench(host, shell, self.config)
        set_workload(host, workload(self.config), self.config.patience)
        self.bench.works()

    def hold(self, pages, hold_ms):
        """Let the device pin so many pages, and then begin no more. Returns how many it has."""
        device = self.bench.mdev
        device.set(hold_ms=hold_ms, run=1)
        wait_until(f"{pages} pages are pinned", self.config.patience,
                   lambda: device.stat("pinned") >= pages)
        device.set(run=0)
        time.sleep(QUIET_S)
        return device.stat("pinned")

    def release(self):
        """Nothing is held any more, and the device goes on."""
        set_workload(self.bench.host, workload(self.config), self.config.patience)
        self.bench.works()
        self.bench.transfers(2)
        self.bench.check("check_log")

    # Snapshots.

    def snapshot(self):
        """A snapshot has the runs that were held. What was written since is undone, but no number
        of a write comes twice."""
        bench, qmp = self.bench, self.bench.host.vm.qmp
        self.disk(qmp)
        held = self.hold(100, HOLD_MS)
        saved = bench.mdev.stat("pages_written")
        self.job(qmp, "snapshot-save")
        expect(bench.mdev.stat("pinned") == held, "the save changed what is held")
        bench.mdev.set(hold_ms=0, run=1)
        bench.writes()
        last = bench.mdev.stat("seq")
        self.job(qmp, "snapshot-load")
        now = bench.mdev.stat("pages_written")
        expect(now == saved, f"{now} pages are written after the load, {saved} before the save")
        now = bench.mdev.stat("seq")
        expect(now >= last, f"the last write is number {now} after the load, was {last}")
        expect(bench.mdev.stat("pinned") == held,
               f"{bench.mdev.stat('pinned')} pages are pinned after the load, were {held}")
        expect(bench.mdev.settings()["hold_ms"] == str(HOLD_MS), "the settings were not loaded")
        self.say(f"{saved} pages written again, {held} pinned again; the last write was {now}")
        guest_vm.wait_status(bench.host.vm, ("running",), self.config.patience)
        self.release()

    def disk(self, qmp):
        """A disk that the guest does not have, for snapshots."""
        path, size = self.directory / f"{DISK}.ram", self.config.mem_mb << 20
        path.touch()
        qmp.command("blockdev-add", driver="file", **{"node-name": "file"}, filename=str(path))
        qmp.command("blockdev-create", job_id="create", options={
            "driver": "qcow2", "file": "file", "size": size})
        self.wait_job(qmp, "create")
        qmp.command("blockdev-add", driver="qcow2", **{"node-name": DISK}, file="file")

    def job(self, qmp, command):
        """Save or load the snapshot."""
        qmp.command(command, job_id=command, tag="one", vmstate=DISK, devices=[DISK])
        self.wait_job(qmp, command)

    def wait_job(self, qmp, name):
        """Wait until a job of QEMU has succeeded."""
        def concluded():
            return next((job for job in qmp.command("query-jobs")
                         if job["id"] == name and job["status"] == "concluded"), None)
        error = wait_until(f"{name} ends", self.config.patience, concluded).get("error")
        qmp.command("job-dismiss", id=name)
        expect(not error, f"{name}: {error}")

    # A destination that may lock little.

    def little(self):
        """Runs that can't be pinned there are forgotten, and the kernel's log says how many. The
        rest of the guest is not affected."""
        bench, config = self.bench, self.config
        held = self.hold(HELD, HOLD_MS)
        qemu = self.directory / LIMITED_QEMU
        qemu.write_text(LIMITED.format(bytes=LOCKED_MB << 20, qemu=config.qemu))
        qemu.chmod(0o755)
        target, shell = self.host(self.mdevs[1], SimpleNamespace(**{**vars(config),
                                                                   "qemu": str(qemu)}),
                                  incoming=True)
        target.vm.connect()
        said = len(_kernel_log())
        source = bench.host
        self.move(source, target)
        device = self.mdevs[1]
        guest_vm.wait_status(target.vm, ("running",), config.patience)
        wait_until("the device runs", config.patience, lambda: device.state() == "running")
        pinned, errors = device.stat("pinned"), device.stat("pin_errors")
        locked = guest_vm.locked_kb(target.vm)
        told = FORGOTTEN.search(_kernel_log()[said:])
        expect(told, "the kernel's log does not tell of the runs that were forgotten")
        forgotten = int(told[1])
        self.say(f"of {held} pages {pinned} are pinned, {locked} kB locked, {errors} pin errors, "
                 f"{forgotten} runs forgotten")
        # No page is held twice: the pattern does not come back so soon.
        expect(0 < pinned <= LOCKED_MB << 8 and locked == pinned << 2,
               f"{pinned} pages pinned, {locked} kB locked, {LOCKED_MB << 10} are allowed")
        expect(held - pinned == forgotten * config.batch,
               f"{held - pinned} pages were given up, but {forgotten} runs of {config.batch}")
        expect(errors, "no pin error was counted")
        bench.shell.close()
        bench.host, bench.shell, bench.mdev = target, shell, device
        source.close()
        self.release()

    def move(self, source, target):
        """Migrate, and compare RAM."""
        one = over_socket(self, source, target)
        one.start(return_path=True)
        one.allow()
        one.completes()
        copy, _ = switchover.go_on(target.vm)
        with source.vm.open_ram() as files:
            result = ram.compare(files, copy)
        copy.close()
        expect(not result["different"], f"{result['pages_different']} pages differ")

    # The end of a guest.

    def power_off(self):
        """The guest powers off while it is migrated: the migration fails, and the device is at
        rest."""
        bench, qmp = self.bench, self.bench.host.vm.qmp
        qmp.command("migrate-set-capabilities",
                    capabilities=[{"capability": "return-path", "state": False}])
        qmp.command("migrate-set-parameters", downtime_limit=1,
                    max_bandwidth=self.config.bandwidth << 20)
        qmp.command("migrate", uri="exec:cat >/dev/null")
        wait_until("the device is in pre-copy", self.config.patience,
                   lambda: bench.mdev.state() == "pre_copy")
        bench.writes()
        bench.shell.send("poweroff -f")
        guest_vm.wait_status(bench.host.vm, ("shutdown",), self.config.patience)
        wait_until("the migration ends", self.config.patience,
                   lambda: qmp.command("query-migrate")["status"] in ENDS)
        info = qmp.command("query-migrate")
        self.say(f"the migration is {info['status']}: {info.get('error-desc')}")
        expect(info["status"] == "failed" and info.get("error-desc"),
               f"the migration is {info['status']}: {info.get('error-desc')}")
        expect(not bench.mdev.stat("pinned"), "pages are pinned after the power-off")
        bench.quiet("after the power-off")

    def successor(self):
        """A new guest gets the device that the source left when its guest had moved: nothing of the
        former guest is in it, and the administrator's settings are."""
        device = self.mdevs[0]
        before = device.settings()
        expect(device.stat("seq"), "the device has never written")
        self.bench.host.close()
        host, shell = self.host(device)
        shell.answer()
        host.vm.connect()
        self.bench = Bench(host, shell, self.config)
        expect(not device.stat("seq") and not device.stat("pinned") and not device.ledger(),
               "the new guest's device has writes of the former one")
        after = device.settings()
        expect(after["run"] == "0", "the device runs before the administrator says so")
        odd = [name for name in before if before[name] != after[name]
               and name not in ("window", "run")]
        expect(not odd, f"settings of the administrator are lost: {', '.join(odd)}")
        self.release()


    def quit_at_stop(self):
        """QEMU quits while the guest is stopped for the switchover. The destination ends by itself,
        and in neither device anything is left of the guest."""
        source, patience = self.bench.host, self.config.patience
        target, _ = self.host(self.mdevs[1], incoming=True)
        target.vm.connect()
        one = over_socket(self, source, target)
        one.start(return_path=True, pause_before_switchover=True)
        one.let_go()
        one.wait("pre-switchover")
        one.expect("the device", source.mdev.state(), "stop_copy")
        source.vm.qmp.command("quit")
        for vm in (source.vm, target.vm):
            wait_until(f"{vm.name} ends", patience, lambda vm=vm: not vm.alive())
            expect(not vm.crash(), f"{vm.name} ended by {vm.crash()}")
        self.say(f"the destination says: {target.vm.errors()}")
        for device in self.mdevs:
            self.bench.mdev = device
            self.bench.empty("after QEMU has quit")


def _kernel_log():
    """The log of the lab's kernel."""
    return subprocess.run(["dmesg"], capture_output=True, text=True, check=True).stdout


# --- the run ------------------------------------------------------------------


def play(name, config, results):
    """One guest, in memory; what it leaves goes to the results."""
    append = guest_vm.kernel_arguments(config)
    with in_memory(config.shm, results / name, "*.commands", LIMITED_QEMU) as directory:
        if name == "commanded":
            config.append = f"{append} mdma.commands=1"
            return Commanded(config, directory).play()
        config.append = f"{append} mdma.iterations=5"
        kind = {"moved": Moved, "control": forgetful.Forgetful}[name]
        run = kind("detours", f"{name}: ", config, directory)
        try:
            run.play()
        except CAUGHT as err:
            run.complain(f"{type(err).__name__}: {err}")
            run.results_of.append(ktap.Result(f"{name}: the end", ktap.FAILED,
                                              "\n".join(run.reasons)))
        return run.results_of


def play_forgetful(name, config, results):
    """A guest on a backend that forgets."""
    with forgetful.loaded(config.mutant, config):
        return play(name, config, results)


def main(argv):
    """Both guests; the exit code is 0 only if all is well."""
    results, values = arguments.read(__doc__, KEYS, argv)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    results.mkdir(parents=True, exist_ok=True)
    config = SimpleNamespace(**values, smp=1)
    mdev.load_given(config)
    found = each("detours", config.guests, lambda name: play(name, config, results))
    if config.control:
        found += each("detours", "control", lambda name: play_forgetful(name, config, results))
    return ktap.leave(found, results, "detours")


if __name__ == "__main__":
    entry.run(main)
