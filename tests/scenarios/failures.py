#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""Migrations that are cancelled, refused or broken, and many in a row.

One guest, whose device and CPU are busy, is migrated again and again. Where a migration must fail,
the guest and its device must continue at the source as if nothing had happened, and a second try
must succeed. scripts/lab.d/judge/moves.py has the oracles: the RAM of both sides at each
switchover, the device's writes against RAM at each stop, and the numbers of all page writes; and
scripts/lab.d/judge/stays.py has that of the reports: no page may be missing there.

There are two controls. A device always has more initial data: QEMU's switchover-ack must hold the
switchover back, and without switchover-ack the guest must move. And a backend forgets unpinned
pages, or with container=iommufd the device's own log does: both oracles of the moves must find what
is lost.

usage: failures.py --results DIR [key=value ...]        (as root; --help: keys)
"""

import errno
import random
import signal
import struct
import sys
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import SimpleNamespace

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "scripts/lab.d"))

# pylint: disable=wrong-import-position
from base import ktap, settings
from play import arguments, entry, forgetful, guest_vm, mdev, plugged, vfio_iommufd
from play.attempt import move
from play.host import in_memory, set_workload, wait_until, workload
from play.link import Trap
from play.steps import CAUGHT
from play.traveller import PRECOPY, RESET, STOP, Case, Traveller

# What a run needs to have built, and for which settings (boot/scenario.py).
BUILDS = {"guest": "", "mutant": "container=type1 control=1",
          "forgets": "container=type1 control=1",
          "iommufd": "container=iommufd", "logging": "container=iommufd",
          "iommufd_mutant": "container=iommufd control=1",
          "iommufd_forgets": "container=iommufd control=1"}

KEYS = settings.keys(
    "control", "type", *settings.WORKLOAD, *settings.GUEST, "pause_s", *settings.TRACE,
    "container", "device", mem_mb=128, window_mb=16, dirty_mb=2, pause_s=40,
    own={
        "cases": settings.Words("all", "which of the failures; none: only the moves", (
            "none", "cancelled-in-precopy", "cancelled-at-switchover", "refused-in-precopy",
            "refused-at-stop", "killed-in-precopy", "killed-at-stop", "broken-in-precopy",
            "broken-at-stop", "broken-at-answer", "completed-to-nobody")),
        "moves": settings.Number(10, "moves in a row, after the failures"),
        "fire": settings.Number(0, "moves under fire, last: what goes before each, and how the "
                                "device writes, is random"),
        "fire_seed": settings.Number(1, "of that", 0, settings.U32_MAX),
        "bandwidth": settings.Number(32, "MiB/s in pre-copy", 1),
        "mutant": settings.File("mutant/endless-initial-data/mdma.ko", "device of one control"),
        "forgets": settings.File("mutant/forget-unpinned/vfio_iommu_type1.ko",
                                 "backend of the other one"),
        "iommufd_mutant": settings.File("mutant/endless-initial-data/iommufd/mdma.ko",
                                        "device of one control, with container=iommufd"),
        "iommufd_forgets": settings.File("mutant/log-forgets/iommufd/mdma.ko",
                                         "device of the other one, likewise"),
        "backend": settings.BACKEND,
    })

# Fifty moves under fire take a quarter of an hour, and several times that on a busy machine.
TIMEOUT = 4 * 3600

# The record of the device's state in the stream, and a byte of its payload; see struct
# mdma_stream_record in <linux/mdma.h>.
STATE_RECORD = b"mstr" + struct.pack("<H", 1) + b".." + struct.pack("<I", 2) + b".{100}"
# QEMU's answer that everything was loaded without error: type, length, value.
LOADED = struct.pack(">HHI", 1, 4, 0)


def configuration(values):
    """Settings as a namespace, with what follows from them."""
    config = SimpleNamespace(**values, smp=1)
    config.append = f"{guest_vm.kernel_arguments(config)} mdma.iterations=5"
    if config.fire:
        config.append += " mdma.plugged=1"
    config.other_type = "mdma-4" if config.type != "mdma-4" else "mdma-1"
    words = list(CASES) if config.cases == "all" else config.cases.split(",")
    config.chosen = [name for name in words if name != "none"]
    if config.container == "iommufd":
        config.mutant, config.forgets = config.iommufd_mutant, config.iommufd_forgets
    return config


# --- what goes wrong --------------------------------------------------------


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
    one.start_refused()
    one.refused(errno.EINVAL)


def refused_at_stop(one):
    """The device refuses, since a byte of its state is damaged."""
    one.link.there = Trap(STATE_RECORD, damage)
    one.start_refused()
    one.let_go()
    one.refused(errno.EBADMSG)


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


def move_with_ack(one):
    """The source waits until the destination says that it has the device's initial data; here it
    says so late."""
    one.link.answers.clear()
    traced = one.start_for_word()
    one.let_go()
    one.held_back(traced)
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
    traced = one.start_for_word()
    one.let_go(rounds=1)    # QEMU counts its data as left, so there is no second one
    one.held_back(traced)
    one.run.complain_if("loadvm_approve_switchover" in one.destination.vm.log(),
                        "the switchover was approved with initial data left")
    # Also "failed", see above: switchover-ack needs a return path.
    one.source.vm.qmp.command("migrate_cancel")


# --- the run ----------------------------------------------------------------


def play_failures(run):
    """All cases that must fail, each with a second try; then moves in a row."""
    config = run.config
    if config.fire:
        run.before = plugged.ROOT_PORT
    with ExitStack() as stack:
        run.boot(stack)
        other = stack.enter_context(mdev.Mdev(config.other_type))
        other.track(guest_vm.by_iommufd(config))
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
# What may go before a move: a failure, the guest's reset, or nothing.
FIRE_CASES = {**CASES, "reset-in-precopy": RESET}


def play_fire(run, other):
    """Moves, each with another workload and bandwidth, and most of them after a failure. Before
    some, another device comes and goes."""
    config = run.config
    rng = random.Random(config.fire_seed)
    for number in range(1, config.fire + 1):
        values = {key: rng.choice(choices) for key, choices in FIRE.items()}
        config.bandwidth = rng.choice(FIRE_BANDWIDTH)
        name = rng.choice((*FIRE_CASES, None, None, None))
        passes = rng.choice((True, False, False))
        how = rng.choice((move, move_with_ack, move_without_ack))
        run.say(f"fire {number}: {values}, {config.bandwidth} MiB/s")
        if passes:
            run.pass_by(f"fire {number}: another device comes and goes", other)
        set_workload(run.host, {**workload(config), **values}, config.patience)
        if name:
            case = FIRE_CASES[name]
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
        mdev.load(vfio_iommufd.mdma() if guest_vm.by_iommufd(run.config) else None)


def play_forgetful(run):
    """On a backend that forgets, or with iommufd on a device that does."""
    config = run.config
    with mdma_that_forgets(config.forgets) if guest_vm.by_iommufd(config) \
            else forgetful.loaded(config.forgets, config):
        run.play()


@contextmanager
def mdma_that_forgets(path):
    """This device is loaded, and afterwards the good one for iommufd."""
    mdev.load(path)
    try:
        yield
    finally:
        mdev.load(vfio_iommufd.mdma())


def play(name, config, results, function, kind=Traveller):
    """One guest's run, in memory; what it leaves goes to the results."""
    with in_memory(config.shm, results / (name.strip(": ") or "main")) as directory:
        run = kind("failures", name, config, directory)
        try:
            function(run)
        except CAUGHT as err:
            run.complain(f"{type(err).__name__}: {err}")
            run.results_of.append(ktap.Result(f"{name}the end", ktap.FAILED,
                                              "\n".join(run.reasons)))
    return run.results_of


def main(argv):
    """Failures, moves and the controls; the exit code is 0 only if all is well."""
    results, values = arguments.read(__doc__, KEYS, argv)
    config = configuration(values)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    results.mkdir(parents=True, exist_ok=True)
    mdev.load_given(config)
    found = play("", config, results, play_failures)
    if config.control:
        found += play("control: ", config, results, play_control)
        found += play("control-forgetful: ", config, results, play_forgetful, forgetful.Forgetful)
    return ktap.leave(found, results, "failures")


if __name__ == "__main__":
    entry.run(main)
