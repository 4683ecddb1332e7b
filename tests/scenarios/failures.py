#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""Migrations that are cancelled, refused or broken, and many in a row.

One guest, whose device and CPU are busy, is migrated again and again. Where a migration must fail,
the guest and its device must continue at the source as if nothing had happened, and a second try
must succeed. scripts/lab.d/judge/moves.py has the oracles: the RAM of both sides at each
switchover, the device's writes against RAM at each stop, and the numbers of all page writes.

The control is a device that always has more initial data: QEMU's switchover-ack must hold the
switchover back, and without switchover-ack the guest must move.

usage: failures.py --results DIR [key=value ...]        (as root; --help: keys)
"""

import random
import signal
import struct
import sys
import time
from collections import namedtuple
from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "scripts/lab.d"))

# pylint: disable=wrong-import-position
from base import figures, ktap, settings
from judge import events, moves, proof, ram, standstill
from play import arguments, backend, entry, guest_vm, mdev, switchover
from play.guest_vm import GuestError
from play.host import FAILURES, Host, boot, in_memory, set_workload, wait_until, workload
from play.link import Link, Trap
from play.trace import Tracer

# What a run needs to have built, and for which settings (boot/scenario.py).
BUILDS = {"guest": "", "mutant": "control=1"}

KEYS = settings.keys(
    "control", "type", *settings.WORKLOAD, *settings.GUEST, "pause_s", *settings.TRACE,
    mem_mb=128, window_mb=16, dirty_mb=2, pause_s=40,
    own={
        "cases": settings.Words("all", "which of the failures; none: only the moves", (
            "none", "cancelled-in-precopy", "cancelled-at-switchover", "refused-in-precopy",
            "refused-at-stop", "killed-in-precopy", "killed-at-stop", "broken-in-precopy",
            "broken-at-stop", "broken-at-answer", "completed-to-nobody")),
        "moves": settings.Number(10, "moves in a row, after the failures"),
        "fire": settings.Number(0, "moves under fire, last: what goes before each, and how the "
                                "device writes, is random"),
        "fire_seed": settings.Number(1, "of that", 0, settings.U32_MAX),
        "device": settings.File("", "an mdma.ko to run this on; default: the installed one"),
        "backend": settings.File("", "the same for vfio_iommu_type1.ko"),
        "bandwidth": settings.Number(32, "MiB/s in pre-copy", 1),
        "mutant": settings.File("mutant/endless-initial-data/mdma.ko", "device of the control"),
    })

# Fifty moves under fire take a quarter of an hour.
TIMEOUT = 3600
EVENTS = ("mdma/mdma_write", "mdma/mdma_state")
# Questions to QEMU about a guest that is silent; each twice, to see what changes.
LOOKS = 2 * ("info registers", "info lapic", "info pic", "info irq")
ENDS = ("completed", "failed", "cancelled")
CAPABILITIES = ("return-path", "switchover-ack", "pause-before-switchover", "multifd", "mapped-ram")
ANY_DOWNTIME = 600_000
# Seconds to wait for a switchover that must not come.
HELD_BACK_S = 2

# The record of the device's state in the stream, and a byte of its payload; see struct
# mdma_stream_record in <linux/mdma.h>.
STATE_RECORD = b"mstr" + struct.pack("<H", 1) + b".." + struct.pack("<I", 2) + b".{100}"
# QEMU's answer that everything was loaded without error: type, length, value.
LOADED = struct.pack(">HHI", 1, 4, 0)


def configuration(values):
    """Settings as a namespace, with what follows from them."""
    config = SimpleNamespace(**values, smp=1)
    config.append = f"{guest_vm.kernel_arguments(config)} mdma.iterations=5"
    config.other_type = "mdma-4" if config.type != "mdma-4" else "mdma-1"
    words = list(CASES) if config.cases == "all" else config.cases.split(",")
    config.chosen = [name for name in words if name != "none"]
    return config


# --- what goes wrong --------------------------------------------------------


class Attempt:
    """One try to migrate: both sides, the link between them, and what is done to it."""

    def __init__(self, run, source, destination, link):
        self.run, self.source, self.destination, self.link = run, source, destination, link

    def start(self, **capabilities):
        """Start pre-copy over the link. It does not end before let_go()."""
        self.prepare(**capabilities)
        self.destination.vm.qmp.command("migrate-incoming", uri=f"unix:{self.link.target}")
        self.source.vm.qmp.command("migrate", uri=f"unix:{self.link.path}")

    def prepare(self, **capabilities):
        """Set these of QEMU's capabilities and no others, and limits that keep pre-copy going."""
        for host in (self.source, self.destination):
            host.vm.qmp.command("migrate-set-capabilities", capabilities=[
                {"capability": name, "state": capabilities.get(name.replace("-", "_"), False)}
                for name in CAPABILITIES])
        self.source.vm.qmp.command("migrate-set-parameters", downtime_limit=1,
                                   max_bandwidth=self.run.config.bandwidth << 20)

    def let_go(self, rounds=2):
        """Allow the switchover, after some rounds under load."""
        self.wait_precopy(rounds)
        self.source.vm.qmp.command("migrate-set-parameters", downtime_limit=ANY_DOWNTIME,
                                   max_bandwidth=guest_vm.UNLIMITED)

    def info(self):
        """The source's information on the migration."""
        return self.source.vm.qmp.command("query-migrate")

    def wait(self, *statuses):
        """Wait until the migration has one of these statuses."""
        wait_until(f"migration is {' or '.join(statuses)}", self.run.config.patience,
                   lambda: self.info()["status"] in statuses)
        return self.info()["status"]

    def wait_precopy(self, rounds):
        """Wait until the migration is in that round of pre-copy, and the device in pre-copy."""
        wait_until(f"round {rounds} of pre-copy", self.run.config.patience,
                   lambda: self.info().get("ram", {}).get("dirty-sync-count", 0) >= rounds)
        self.expect("the device", self.source.mdev.state(), "pre_copy")

    def expect(self, what, is_, must):
        """Check something; a failure does not end the attempt."""
        if is_ != must:
            self.run.complain(f"{what} is {is_}, not {must}")


def break_link(*_):
    """A trap's spring: the link breaks here."""
    raise ConnectionAbortedError("broken")


def damage(data, at):
    """A trap's spring: one byte arrives changed."""
    data[at] ^= 0xff


# Cancelled without a return path: QEMU closes that a moment before it says that the migration is
# cancelled. So its own thread may see an error first, and say "failed".

def cancelled_in_precopy(one):
    """The administrator cancels, in the second round."""
    one.start()
    one.wait_precopy(2)
    one.source.vm.qmp.command("migrate_cancel")


def cancelled_at_switchover(one):
    """The administrator cancels, when the guest is already stopped."""
    one.start(pause_before_switchover=True)
    one.let_go()
    one.wait("pre-switchover")
    one.expect("the device", one.source.mdev.state(), "stop_copy")
    one.source.vm.qmp.command("migrate_cancel")


def refused_in_precopy(one):
    """The device refuses: it is of another type, which the first record shows."""
    one.start(return_path=True)


def refused_at_stop(one):
    """The device refuses, since a byte of its state is damaged."""
    one.link.there = Trap(STATE_RECORD, damage)
    one.start(return_path=True)
    one.let_go()


def killed_in_precopy(one):
    """The destination's QEMU is killed."""
    one.start(return_path=True)
    one.wait_precopy(2)
    one.destination.vm.process.kill()


def killed_at_stop(one):
    """The destination's QEMU is killed when the device's state arrives."""
    one.link.there = Trap(STATE_RECORD, lambda *_: one.destination.vm.process.kill())
    one.start(return_path=True)
    one.let_go()


def broken_in_precopy(one):
    """The link breaks in the first round."""
    one.start(return_path=True)
    one.wait_precopy(1)
    one.link.cut()


def broken_at_stop(one):
    """The link breaks within the device's state."""
    one.link.there = Trap(STATE_RECORD, break_link)
    one.start(return_path=True)
    one.let_go()


def broken_at_answer(one):
    """The link breaks when the destination has everything and says so."""
    one.link.back = Trap(LOADED, break_link)
    one.start(return_path=True)
    one.let_go()


def completed_to_nobody(one):
    """Without a return path, QEMU can't know that nobody received it. The administrator lets the
    source continue."""
    def vanish(*_):
        one.destination.vm.process.kill()
        one.link.deaf.set()

    one.link.there = Trap(STATE_RECORD, vanish)
    one.start()
    one.let_go()
    one.wait("completed")
    guest_vm.wait_status(one.source.vm, ("postmigrate",), one.run.config.patience)
    one.source.vm.qmp.command("cont")


Case = namedtuple("Case", "disturb stage statuses other_type", defaults=(False,))
Case.__doc__ = """A migration that must not succeed.

@disturb:    sees to that
@stage:      where it ends: PRECOPY, or STOP: with the guest stopped
@statuses:   what QEMU says of it then
@other_type: the destination has a device of another type
"""
PRECOPY, STOP = "pre-copy", "stop"
CASES = {
    "cancelled-in-precopy": Case(cancelled_in_precopy, PRECOPY, ("cancelled",)),
    "cancelled-at-switchover": Case(cancelled_at_switchover, STOP, ("cancelled",)),
    "refused-in-precopy": Case(refused_in_precopy, PRECOPY, ("failed",), True),
    "refused-at-stop": Case(refused_at_stop, STOP, ("failed",)),
    "killed-in-precopy": Case(killed_in_precopy, PRECOPY, ("failed",)),
    "killed-at-stop": Case(killed_at_stop, STOP, ("failed",)),
    "broken-in-precopy": Case(broken_in_precopy, PRECOPY, ("failed",)),
    "broken-at-stop": Case(broken_at_stop, STOP, ("failed",)),
    "broken-at-answer": Case(broken_at_answer, STOP, ("failed",)),
    "completed-to-nobody": Case(completed_to_nobody, STOP, ("completed",)),
}


# --- what goes right --------------------------------------------------------


def move(one):
    """A move without disturbance."""
    one.start(return_path=True)
    one.let_go()


def move_with_ack(one):
    """The source waits until the destination says that it has the device's initial data; here it
    says so late."""
    one.link.answers.clear()
    one.start(return_path=True, switchover_ack=True)
    one.let_go()
    time.sleep(HELD_BACK_S)
    one.expect("without the destination's word the migration", one.info()["status"], "active")
    one.link.answers.set()
    one.wait("completed")
    one.run.complain_if("loadvm_approve_switchover" not in one.destination.vm.log(),
                        "the destination did not have the device's word")


def move_without_ack(one):
    """The answers come late as well, but nothing waits for them before the switchover."""
    one.link.answers.clear()
    one.start(return_path=True)
    one.let_go()
    wait_until("switchover without an answer", one.run.config.patience,
               lambda: one.source.mdev.state() == "stop_copy")
    one.link.answers.set()


def move_at_once(one):
    """Without waiting for a second round, which the control's device never allows."""
    one.start(return_path=True)
    one.let_go(rounds=1)


def held_back(one):
    """The control: a device that always has more initial data."""
    one.start(return_path=True, switchover_ack=True)
    one.let_go(rounds=1)    # QEMU counts its data as left, so there is no second one
    time.sleep(HELD_BACK_S)
    one.expect("a migration with initial data left", one.info()["status"], "active")
    one.run.complain_if("loadvm_approve_switchover" in one.destination.vm.log(),
                        "the switchover was approved with initial data left")
    # Also "failed", see above: switchover-ack needs a return path.
    one.source.vm.qmp.command("migrate_cancel")


# --- the run ----------------------------------------------------------------


class Run:
    """One guest from its boot to its end, on two devices in turn."""

    scenario = "failures"

    def __init__(self, name, config, results, directory):
        self.name, self.config, self.results, self.directory = name, config, results, directory
        self.begin = time.monotonic()
        self.written, self.results_of, self.reasons = moves.Written(), [], []
        self.moves, self.lost, self.host, self.mdevs = 0, 0, None, []
        self.pause_s, self.throttle = 0, None

    def say(self, text):
        """Print progress; people wait for it."""
        print(f"{self.scenario}: {time.monotonic() - self.begin:6.1f} s  {text}", flush=True)

    def complain(self, text):
        """Note that something is not as it should be; the attempt continues."""
        self.reasons.append(text)
        self.say(f"    {text}")

    def complain_if(self, wrong, text):
        """The same, if @wrong."""
        if wrong:
            self.complain(text)

    def boot(self, stack):
        """Start the devices, the trace and the guest; they end with @stack."""
        config = self.config
        self.mdevs = [stack.enter_context(mdev.Mdev(config.type)) for _ in range(2)]
        tracer = stack.enter_context(Tracer(
            "mdma-failures", EVENTS, config.buffer_kb, self.directory, mdevs=self.mdevs,
            room_mb=config.trace_mb))
        self.throttle = tracer.throttle
        stack.callback(tracer.collect)
        stack.callback(lambda: self.host and self.host.close())
        self.host = boot(config, self.directory, self.mdevs[0])
        self.window = moves.window_pages(self.host.mdev.settings()["window"])
        set_workload(self.host, workload(config), config.patience)
        self.host.vm.wait_console("MDMA-GUEST pass", config.patience)
        self.say("guest is up")

    # An attempt, and what must hold afterwards.

    def fail(self, title, case, there=None):
        """A try that must fail.

        @there: the destination's mdev, if it is neither of the two
        """
        self._attempt(title, case, there or self._elsewhere())

    def succeed(self, title, disturb, pause_s=0):
        """A try that must succeed.

        @pause_s: seconds to hold the guest at the switchover
        """
        self.pause_s = pause_s
        self._attempt(title, Case(disturb, STOP, ("completed",)), self._elsewhere(), True)

    def _elsewhere(self):
        return next(one for one in self.mdevs if one is not self.host.mdev)

    def _attempt(self, title, case, there, moves=False):
        """One try to migrate to the mdev @there.

        @moves: whether the guest must move
        """
        self.reasons = []
        begin = time.monotonic()
        with ExitStack() as stack:
            destination = Host(self.config, self.directory, there, incoming=True)
            stack.callback(destination.close)
            destination.vm.connect()
            here, socket = self.directory / "link.socket", self.directory / "incoming.socket"
            link = stack.enter_context(Link(here, socket))
            one = Attempt(self, self.host, destination, link)
            traced = len(self.host.vm.log())
            case.disturb(one)
            ended = one.wait(*ENDS)
            self.complain_if(ended not in case.statuses, f"the migration is {ended}")
            stopped = "state STOP_COPY" in self.host.vm.log()[traced:]
            one.expect("it ended at", STOP if stopped else PRECOPY, case.stage)
            if moves:
                self._moved(destination)
                stack.pop_all()
                link.__exit__()
        if not moves:
            self._stayed()
        self._file(title, time.monotonic() - begin)

    def _file(self, title, seconds):
        state = ktap.FAILED if self.reasons else ktap.PASSED
        self.results_of.append(ktap.Result(f"{self.name}{title}", state, "\n".join(self.reasons)))
        self.say(f"{title}: {'not ' if self.reasons else ''}ok ({seconds:.1f} s)")

    def _account(self, host):
        """The guest is stopped: RAM must hold what the devices wrote."""
        self.written.add(proof.parse_ledger(host.mdev.ledger(), "ledger"))
        with host.vm.open_ram() as memory:
            for reason in self.written.missing(memory, self.window):
                self.lost += 1
                self.complain(reason)
        self.complain_if(host.mdev.stat("pinned"), "a stopped device has pages pinned")

    def _goes_on(self, host, checks):
        """Guest and device work; @checks is how many passed before."""
        patience = self.config.patience
        seq = host.mdev.stat("seq")
        wait_until("the device goes on", patience, lambda: host.mdev.stat("seq") > seq)
        try:
            host.vm.wait_console("MDMA-GUEST pass", patience, checks + 1)
        except GuestError:
            self._look_at(host)
            raise
        self.complain_if("MDMA-GUEST fail" in host.vm.console(), "a check of the guest failed")

    def _look_at(self, host):
        """A guest is silent: save what may show why."""
        with open(self.directory / f"{host.name}.state", "w") as file:
            for command in LOOKS:
                file.write(f"{command}\n")
                file.write(host.vm.qmp.command("human-monitor-command", command_line=command))

    def _stayed(self):
        """The migration failed: the guest must be intact at the source."""
        host, qmp = self.host, self.host.vm.qmp
        guest_vm.wait_status(host.vm, ("running",), self.config.patience)
        if host.mdev.state() != "running":
            self.complain(f"the device is {host.mdev.state()} after a failure")
        self._goes_on(host, host.vm.console().count("MDMA-GUEST pass"))
        qmp.command("stop")
        self._account(host)
        qmp.command("cont")

    def _moved(self, destination):
        """The migration succeeded: both sides are stopped, and must be the same."""
        source = self.host
        guest_vm.wait_status(source.vm, ("postmigrate",), self.config.patience)
        guest_vm.wait_status(destination.vm, ("paused", "prelaunch"), self.config.patience)
        # The settings that travelled are compared with those that arrived: nobody slows the
        # devices meanwhile.
        self.throttle.rest()
        copy, held = switchover.go_on(destination.vm, self.pause_s)
        guest_vm.wait_status(destination.vm, ("running",), self.config.patience)
        workloads = [host.mdev.settings() for host in (source, destination)]
        self.throttle.go_on()
        with source.vm.open_ram() as files:
            compared = ram.compare(files, copy)
        copy.close()
        self.complain_if(compared["pages_compared"] != self.config.mem_mb << 8,
                         f"only {compared['pages_compared']} pages compared")
        self.lost += compared["pages_different"]
        self.complain_if(compared["pages_different"],
                         f"{compared['pages_different']} pages differ, the first "
                         f"{compared['different'][:1]}")
        self._account(source)
        self.complain_if(workloads[0] != workloads[1],
                         "the workload's settings did not travel")
        self.host = destination
        self.moves += 1
        source.close()
        self._goes_on(destination, 0)
        destination.vm.wait_console("MDMA-GUEST beat", self.config.patience)
        jump = standstill.clock_jump(source.vm.console(), destination.vm.console())
        for reason in standstill.noticed(held["held_s"], jump):
            self.complain(reason)

    def judge(self):
        """Check what only the whole trace shows."""
        self.reasons = []
        try:
            order = moves.Order()
            events.watch(events.Trace(self.directory / "trace"), order)
            order.end()
            known = [proof.device_number(one.uuid) for one in self.mdevs]
            must = [known[i % 2] for i in range(self.moves + 1)]
            for reason in order.reasons:
                self.complain(reason)
            self.complain_if(order.visits != must, f"{len(order.visits)} times another device "
                             f"went on to write, the guest was at {len(must)} places")
            self.say(f"{order.writes} writes, {self.moves} moves")
            print(figures.line(migrations=self.moves, writes=order.writes, lost=self.lost))
        except events.BrokenOracle as err:
            self.complain(f"oracle broken: {err}")
        self._file("every write has a number of its own, where the guest was", 0)


def play_failures(run):
    """All cases that must fail, each with a second try; then moves in a row."""
    config = run.config
    with ExitStack() as stack:
        run.boot(stack)
        other = stack.enter_context(mdev.Mdev(config.other_type))
        for name in config.chosen:
            run.fail(name, CASES[name], other if CASES[name].other_type else None)
            run.succeed(f"second try after {name}", move)
        run.succeed("answers come late, with switchover-ack", move_with_ack)
        run.succeed("answers come late, without switchover-ack", move_without_ack)
        for number in range(1, config.moves + 1):
            run.succeed(f"move {number} in a row", move)
        if config.pause_s:
            run.succeed(f"a move with the guest held for {config.pause_s} s", move, config.pause_s)
        play_fire(run, other)
    run.judge()


# How the device writes, under fire.
FIRE = {
    "pattern": ("sequential", "random", "ring", "stride", "zipf", "hot", "scatter"),
    "direction": ("write", "mixed"),
    "batch": (1, 3, 16, 64),
    "rate": (50, 200, 400),
    "hold_ms": (0, 5, 30),
}
FIRE_BANDWIDTH = (16, 48, 128)


def play_fire(run, other):
    """Moves, each with another workload and bandwidth, and most of them after a failure."""
    config = run.config
    rng = random.Random(config.fire_seed)
    for number in range(1, config.fire + 1):
        values = {key: rng.choice(choices) for key, choices in FIRE.items()}
        config.bandwidth = rng.choice(FIRE_BANDWIDTH)
        name = rng.choice((*CASES, None, None, None))
        how = rng.choice((move, move_with_ack, move_without_ack))
        run.say(f"fire {number}: {values}, {config.bandwidth} MiB/s")
        set_workload(run.host, {**workload(config), **values}, config.patience)
        if name:
            case = CASES[name]
            run.fail(f"fire {number}: {name}", case, other if case.other_type else None)
        run.succeed(f"fire {number}: {how.__name__}", how)


def play_control(run):
    """On a device that always has more initial data."""
    mdev.load(run.config.mutant)
    try:
        with ExitStack() as stack:
            run.boot(stack)
            run.fail("switchover-ack holds the switchover back",
                     Case(held_back, PRECOPY, ("cancelled", "failed")))
            run.succeed("without it the guest is moved", move_at_once)
    finally:
        mdev.load()


def play(name, config, results, function):
    """One guest's run, in memory; what it leaves goes to the results."""
    with in_memory(config.shm, results / (name.strip(": ") or "main")) as directory:
        run = Run(name, config, results, directory)
        try:
            function(run)
        except FAILURES as err:
            run.complain(f"{type(err).__name__}: {err}")
            run.results_of.append(ktap.Result(f"{name}the end", ktap.FAILED,
                                              "\n".join(run.reasons)))
    return run.results_of


def main(argv):
    """Failures, moves and the control; the exit code is 0 only if all is well."""
    results, values = arguments.read(__doc__, KEYS, argv)
    config = configuration(values)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    results.mkdir(parents=True, exist_ok=True)
    if config.backend:
        backend.load(config.backend)
    if config.device:
        mdev.load(config.device)
    found = play("", config, results, play_failures)
    if config.control:
        found += play("control: ", config, results, play_control)
    return ktap.leave(found, results, "failures")


if __name__ == "__main__":
    entry.run(main)
