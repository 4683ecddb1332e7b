#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""RAM that QEMU unmaps and maps again during a migration: a defect of QEMU before 11.0.

The guest writes the register of its host bridge that opens the firmware's memory to writes, as its
firmware does at each boot. QEMU then takes all RAM below the hole out of the device's container
and maps it anew, as a part of a larger region. Up to 10.2 it does not ask which pages are dirty
before: what the device wrote since the last report is lost (Documentation/found.rst).

The device writes between two reports and stops, and then the guest writes the register. A QEMU with
the defect must lose pages, no other ones, and both oracles must name the same; any other QEMU must
lose none.

usage: remapped.py --results DIR [key=value ...]        (as root; --help: keys)
"""

import json
import signal
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "scripts/lab.d"))

# pylint: disable=wrong-import-position
from base import ktap, settings
from judge import events, moves, proof, ram
from play import arguments, entry, guest_vm, mdev, switchover
from play.attempt import over_socket
from play.guest_bench import Bench
from play.guest_shell import GuestShell
from play.host import Host, in_memory, wait_until, workload
from play.mdev import Mdev
from play.steps import CAUGHT, TestError, expect
from play.trace import PROOF_EVENTS, Tracer

# What a run needs to have built, and for which settings (boot/scenario.py).
BUILDS = {"guest": ""}

KEYS = settings.keys(
    "type", "bandwidth", "rounds", *settings.WORKLOAD, *settings.GUEST, *settings.TRACE, "device",
    bandwidth=32, rounds=3, mem_mb=192, window_mb=64, dirty_mb=8, pattern="sequential",
    own={
        "least": settings.Number(500, "pages that the device writes in that round", 1),
        "dirty_ring": settings.Number(4096, "entries of KVM's dirty ring; 0: bitmaps, with which "
                                      "QEMU happens to send all RAM again"),
        "tries": settings.Number(20, "how often to try to do it within a round", 1),
        "backend": settings.BACKEND,
    })

# The first version of QEMU that asks before it unmaps.
REPAIRED = (11, 0)
# PAM0 of the q35: what the upper 64 KiB of the first MiB are, for reading and for writing.
PAM = "dd of=/sys/bus/pci/devices/0000:00:00.0/config bs=1 seek=144 conv=notrunc 2>/dev/null"
READ_ONLY, WRITABLE = 0x10, 0x30
# Bytes per second in the round that must be long.
SLOW = 16 << 10
# QEMU's trace of what it takes out of a container.
UNMAPPED = "vfio_listener_region_del"
# Percent of the lost pages that may be the same on both sides. QEMU sends a page anyway if it had
# still to be sent in that round when the device wrote it. Each time, the device writes other pages
# than before, so these are few.
SENT_ANYWAY = 10


class Run:
    """The guest and its migration."""

    def __init__(self, config, directory):
        self.config, self.directory = config, directory
        self.begin = time.monotonic()
        self.facts = {"late": 0}

    def say(self, text):
        """Print progress; people wait for it."""
        print(f"remapped: {time.monotonic() - self.begin:6.1f} s  {text}", flush=True)

    def complain(self, text):
        """Of an Attempt: something is not as it should be."""
        raise TestError(text)

    def play(self):
        """The evidence: what was lost, and what differs."""
        config = self.config
        with ExitStack() as stack:
            here, there = (stack.enter_context(Mdev(config.type)) for _ in range(2))
            tracer = stack.enter_context(Tracer(
                "mdma-remapped", PROOF_EVENTS, config.buffer_kb, self.directory,
                mdevs=(here, there), room_mb=config.trace_mb))
            source = Host(config, self.directory, here, commands=True,
                          before=["-trace", UNMAPPED])
            stack.callback(source.close)
            shell = GuestShell(source.vm, config.patience)
            stack.callback(shell.close)
            shell.answer()
            source.vm.connect()
            self.facts["qemu"] = guest_vm.qemu_version(source.vm)
            self.say(f"guest is up, on QEMU {self.facts['qemu']}")
            here.set(**workload(config))
            target = Host(config, self.directory, there, incoming=True, commands=True)
            stack.callback(target.close)
            target.vm.connect()
            self.migrate(Bench(source, shell, config), target)
            different = self.compare(source, target)
            tracer.collect()
            seen = proof.Seen(proof.device_number(here.uuid))
            events.watch(events.Trace(self.directory / "trace"), seen)
            ledger = proof.parse_ledger(here.ledger(), "ledger")
            self.facts["written"] = proof.set_oracle(seen, ledger)["pages_written_tracked"]
            window = moves.window_pages(here.settings()["window"])
            self.facts["lost"] = proof.lost_pages(seen)
            self.facts["different"] = [page for page in different if page in window]
            self.facts["elsewhere"] = len(different) - len(self.facts["different"])

    def migrate(self, bench, target):
        """Migrate; in one round the device writes, and then RAM is mapped anew."""
        one = over_socket(self, bench.host, target)
        one.start(return_path=True)
        one.wait_precopy(1)
        # What is written now is in a report: the oracles see some.
        self.write(bench.mdev)
        one.wait_precopy(self.config.rounds)
        for attempt in range(self.config.tries):
            if self.in_one_round(one, bench, attempt):
                break
        else:
            raise TestError(f"no round was long enough, of {self.config.tries}")
        one.allow()
        one.completes()

    def write(self, device):
        """Let the device write some pages, and stop. Returns how many."""
        before = device.stat("pages_written")
        device.set(run=1)
        wait_until("the device writes", self.config.patience,
                   lambda: device.stat("pages_written") > before + self.config.least)
        device.set(run=0)
        wait_until("nothing is pinned", self.config.patience, lambda: not device.stat("pinned"))
        return device.stat("pages_written") - before

    def in_one_round(self, one, bench, attempt):
        """Write pages, and map RAM anew; whether no report came in between. What is left of the
        round is sent slowly, so that it takes long."""
        bench.host.vm.qmp.command("migrate-set-parameters", max_bandwidth=SLOW)
        # The firmware leaves its memory read-only.
        value = (WRITABLE, READ_ONLY)[attempt % 2]
        number = one.info()["ram"]["dirty-sync-count"]
        written = self.write(bench.mdev)
        self.facts["late"] += written
        unmapped = bench.host.vm.log().count(UNMAPPED)
        bench.do(f"printf '\\{value:03o}' | {PAM}")
        expect(bench.host.vm.log().count(UNMAPPED) > unmapped, "QEMU unmapped no RAM")
        again = one.info()["ram"]["dirty-sync-count"] != number
        self.say(f"{written} pages written in round {number}, and RAM mapped anew"
                 + ": too late" * again)
        return not again

    def compare(self, source, target):
        """The pages that differ, while both sides are stopped."""
        copy, _ = switchover.go_on(target.vm)
        with source.vm.open_ram() as files:
            result = ram.compare(files, copy)
        copy.close()
        return [entry["page"] for entry in result["different"]]


def disagree(facts):
    """Why the oracles contradict each other, or say something that QEMU's defect can't do."""
    lost, different = set(facts["lost"]), set(facts["different"])
    found = []
    if different - lost:
        found.append(f"{len(different - lost)} pages differ that are not lost")
    if 100 * len(lost - different) > SENT_ANYWAY * len(lost):
        found.append(f"of {len(lost)} lost pages {len(lost - different)} do not differ")
    if len(lost) > facts["late"]:
        found.append(f"{len(lost)} pages are lost, but only {facts['late']} were written in a "
                     "round in which RAM was mapped anew")
    if facts["elsewhere"]:
        found.append(f"{facts['elsewhere']} pages outside of the window differ")
    return found


def judge(facts):
    """Results: what the oracles must have found in this version of QEMU."""
    lost, different = facts["lost"], facts["different"]
    words = (f"QEMU {facts['qemu']}: {facts['written']} pages were written, {facts['late']} of "
             f"them before RAM was mapped anew; {len(lost)} are lost, {len(different)} differ")
    if lost:
        words += f", the first {lost[0] << 12:#x}"
    defect = tuple(int(word) for word in facts["qemu"].split()[0].split(".")[:2]) < REPAIRED
    wrong = disagree(facts)
    results = [ktap.Result("both oracles name the same pages",
                           ktap.FAILED if wrong else ktap.PASSED, "; ".join([words, *wrong]))]
    if not defect:
        results.append(ktap.Result("no page is lost", ktap.FAILED if lost else ktap.PASSED, words))
    elif lost:
        results.append(ktap.Result("QEMU's defect is shown", ktap.PASSED, words))
    else:
        results.append(ktap.Result("QEMU's defect is shown", ktap.SKIPPED,
                                   f"{words}: is it repaired in this one?"))
    return results


def main(argv):
    """Run it; the exit code is 0 only if QEMU is as its version says."""
    results, values = arguments.read(__doc__, KEYS, argv)
    config = SimpleNamespace(**values, smp=1)
    config.append = guest_vm.kernel_arguments(config) + " mdma.commands=1"
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    results.mkdir(parents=True, exist_ok=True)
    mdev.load_given(config)
    with in_memory(config.shm, results, "*.commands") as directory:
        run = Run(config, directory)
        try:
            run.play()
            found = judge(run.facts)
        except CAUGHT as err:
            found = [ktap.Result("the guest moves", ktap.FAILED, f"{type(err).__name__}: {err}")]
    (results / "remapped.json").write_text(json.dumps(run.facts) + "\n")
    for one in found:
        run.say(f"{one.name}: {one.state}: {one.reason}")
    return ktap.leave(found, results, "remapped")


if __name__ == "__main__":
    entry.run(main)
