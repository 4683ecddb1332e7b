#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""Guests whose memory is not in one piece, with two devices that move together.

Each guest has two devices of different types, which write their windows all the time, while the
kernel's dmatest runs on all channels. It is migrated once. Both oracles judge each device, and the
trace must show the order of P2P. scripts/lab.d/judge/devices.py has what is judged.

hole: the machine's RAM continues at 4 GiB, in the middle of a window.
dimm: the machine's RAM is in huge pages. A DIMM is plugged in, and one window moved into it.

usage: guests.py --results DIR [key=value ...]        (as root; --help: keys)
"""

import signal
import sys
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import SimpleNamespace

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "scripts/lab.d"))

# pylint: disable=wrong-import-position
from base import ktap, settings
from judge import devices, events, moves, proof, ram
from play import arguments, entry, guest_vm, mdev, switchover
from play.attempt import Attempt
from play.guest_bench import Devices
from play.guest_shell import GuestShell
from play.host import Host, in_memory, set_workload, wait_until, workload
from play.steps import Steps, each, expect
from play.trace import PROOF_EVENTS, Tracer

# What a run needs to have built, and for which settings (boot/scenario.py).
BUILDS = {"guest": ""}

KEYS = settings.keys(
    "bandwidth", "rounds", "pages_min", *settings.WORKLOAD, *settings.GUEST, *settings.TRACE,
    "device", bandwidth=32, rounds=3, pages_min=5000, rate=100, mem_mb=192, low_mb=96,
    window_mb=40, dirty_mb=2,
    own={
        "guests": settings.Words("hole,dimm", "which guests", ("hole", "dimm")),
        "backend": settings.BACKEND,
    })

TYPES = ("mdma-1", "mdma-4")
HUGE_PAGES = Path("/proc/sys/vm/nr_hugepages")
HUGE_MB = 2
# A block of memory that Linux plugs.
DIMM_MB = 128
ABOVE = 1 << 32


class Leg(Steps):
    """One guest and its move."""

    def __init__(self, name, config, directory):
        super().__init__("guests", name)
        self.config, self.directory = config, directory
        self.bench = self.stack = self.tracer = None
        # Devices of the source, and of the destination.
        self.here, self.there = [], []
        self.watched = ()
        # Of the move: the source, and the RAM of the destination at the switchover.
        self.source = self.copy = None

    def play(self):
        """All of it. A guest that did not move is not judged; of one that did, all is."""
        with ExitStack() as self.stack:
            steps = (("two devices work", self.boot), ("memory is where it should be", self.place),
                     ("the guest moves under load", self.move))
            if self.steps(*steps):
                self.step("RAM is the same on both sides", self.same)
                self.step("the guest works at the destination", self.arrived)
                self.step("no page is lost, of either device", self.judge)
                self.step("P2P: no device stops or starts beside one that writes", self.judge_p2p)
        return self.results

    # The steps.

    def host(self, mdevs, **more):
        """A QEMU with these devices."""
        beside = [f"vfio-pci,sysfsdev={mdevs[1].path},enable-migration=on"]
        host = Host(self.config, self.directory, mdevs[0], commands=True, beside=beside, **more)
        self.stack.callback(host.close)
        shell = GuestShell(host.vm, self.config.patience)
        self.stack.callback(shell.close)
        return host, shell

    def boot(self):
        """The guest, its devices and the trace."""
        config = self.config
        self.here, self.there = ([self.stack.enter_context(mdev.Mdev(one)) for one in TYPES]
                                 for _ in range(2))
        self.tracer = self.stack.enter_context(Tracer(
            "mdma-guests", PROOF_EVENTS, config.buffer_kb, self.directory,
            mdevs=self.here + self.there, room_mb=config.trace_mb))
        host, shell = self.host(self.here)
        shell.answer()
        host.vm.connect()
        for one in self.here:
            expect(one.settings()["window"], f"the guest gave {one.type} no window")
            set_workload(SimpleNamespace(mdev=one), workload(config), config.patience)
        self.bench = Devices(host, shell, config, self.here)
        self.bench.both_write()

    def place(self):
        """The windows are where this guest is about."""
        if self.config.dimm_mb:
            self.plug()
        memory = self.stack.enter_context(self.bench.host.vm.open_ram())
        windows = [moves.window_pages(one.settings()["window"]) for one in self.here]
        expect(not windows[0] & windows[1], "the windows overlap")
        blocks = [{memory.where.name(memory.where.position(page << 12)).partition("+")[0]
                   for page in window} for window in windows]
        if self.config.dimm_mb:
            expect(blocks == [{"ram"}, {"more"}], f"the windows are in {blocks}")
            return
        sides = [{page << 12 >= ABOVE for page in window} for window in windows]
        expect({True, False} in sides, f"no window is on both sides of the hole: {sides}")

    def plug(self):
        """Plug a DIMM in, and let the second device's driver take its window from there."""
        qmp, bench, config = self.bench.host.vm.qmp, self.bench, self.config
        total = "awk '/MemTotal/ { print $2 }' /proc/meminfo"
        before = int(bench.do(total))
        qmp.command("object-add", **{"qom-type": "memory-backend-memfd"}, id="more",
                    size=config.dimm_mb << 20, share=True)
        qmp.command("device_add", driver="pc-dimm", id="dimm", memdev="more")
        wait_until("the guest has the memory of the DIMM", config.patience,
                   lambda: int(bench.do(total)) > before + (config.dimm_mb << 9))
        slot = bench.slots()[1]
        bench.do(f"echo {slot} >$DRIVER/unbind && echo {slot} >$DRIVER/bind")
        set_workload(SimpleNamespace(mdev=self.here[1]), workload(config), config.patience)
        bench.both_write()

    def move(self):
        """Migrate the guest, and copy RAM while it is stopped on both sides."""
        bench, config = self.bench, self.config
        dimm = ["-object", f"memory-backend-memfd,id=more,size={config.dimm_mb}M,share=on",
                "-device", "pc-dimm,id=dimm,memdev=more"] if config.dimm_mb else []
        target, shell = self.host(self.there, incoming=True, before=dimm)
        target.vm.connect()
        bench.check("begin_load")
        bench.both_write()
        before = [one.stat("pages_written") for one in self.here]
        path = self.directory / "migration.socket"
        one = Attempt(self, bench.host, target, SimpleNamespace(path=path, target=path))
        one.start(return_path=True)
        one.wait_precopy(config.rounds)
        wait_until("enough is written", config.patience, lambda: all(
            one.stat("pages_written") > count + config.pages_min
            for one, count in zip(self.here, before)))
        one.allow()
        one.completes()
        self.tracer.throttle.rest()
        self.copy, _ = switchover.go_on(target.vm)
        guest_vm.wait_status(target.vm, ("running",), config.patience)
        for here, there in zip(self.here, self.there):
            if here.settings() != there.settings():
                self.complain(f"{here.type}: the workload's settings did not travel")
        self.tracer.throttle.go_on()
        bench.shell.close()
        self.source, bench.host, bench.shell, bench.mdevs = bench.host, target, shell, self.there

    def same(self):
        """The source against the copy of the destination, and each window against its ledger."""
        with self.source.vm.open_ram() as files:
            result = ram.compare(files, self.copy)
            for one in self.here:
                written = moves.Written()
                written.add(proof.parse_ledger(one.ledger(), "ledger"))
                for reason in written.missing(files, moves.window_pages(one.settings()["window"])):
                    self.complain(f"{one.type}: {reason}")
        self.copy.close()
        pages = (self.config.mem_mb + self.config.dimm_mb) << 8
        expect(result["pages_compared"] == pages,
               f"{result['pages_compared']} of {pages} pages compared")
        expect(not result["different"], f"{result['pages_different']} pages differ, the first "
                                        f"{result['different'][:1]}")

    def arrived(self):
        """Both devices go on; the guest finds no error in what they wrote before or since."""
        self.bench.both_write()
        self.bench.check("end_load")
        self.bench.check("check_window")
        self.bench.check("check_log")
        self.bench.transfers()

    def judge(self):
        """The set oracle, for each device."""
        self.tracer.collect()
        pairs = self.pairs()
        self.watched = [devices.Device(*pair) for pair in pairs], devices.peers(pairs)
        events.watch(events.Trace(self.directory / "trace"), *self.watched[0], *self.watched[1])
        windows = [moves.window_pages(one.settings()["window"]) for one in self.here]
        for number, device in enumerate(self.watched[0]):
            ledger = proof.parse_ledger(self.here[number].ledger(), "ledger")
            self.reasons += device.reasons(ledger, windows[1 - number], self.config.pages_min)
            self.say(f"{self.here[number].type}: {device.seen.tracked} pages written while "
                     f"tracking, {len(ledger)} different ones")

    def judge_p2p(self):
        """What the trace shows of the order."""
        for side in self.watched[1]:
            self.reasons += side.end()

    def pairs(self):
        """The numbers of each device, here and there."""
        return [tuple(proof.device_number(one.uuid) for one in pair)
                for pair in zip(self.here, self.there)]


@contextmanager
def huge_pages(mebibytes):
    """Reserve so much memory of the lab for huge pages."""
    wanted = mebibytes // HUGE_MB
    HUGE_PAGES.write_text(f"{wanted}\n")
    try:
        found = int(HUGE_PAGES.read_text())
        expect(found >= wanted, f"the lab has {found} huge pages, not {wanted}")
        yield
    finally:
        HUGE_PAGES.write_text("0\n")


def configuration(name, values):
    """The settings of a guest as a namespace, with what follows from them."""
    config = SimpleNamespace(**values, smp=1, huge=False, dimm_mb=0, transfers=5)
    more = " mdma.commands=1"
    if name == "dimm":
        # The machine's RAM has both windows at first.
        config.low_mb, config.huge, config.dimm_mb = 0, True, DIMM_MB
        more += " memhp_default_state=online_kernel"
    config.append = guest_vm.kernel_arguments(config) + more
    return config


def play(name, values, results):
    """One guest, in memory; what it leaves goes to the results."""
    config = configuration(name, values)
    with ExitStack() as stack:
        if config.huge:
            stack.enter_context(huge_pages(2 * config.mem_mb))
        directory = stack.enter_context(in_memory(config.shm, results / name, "*.commands"))
        return Leg(name, config, directory).play()


def main(argv):
    """Run it; the exit code is 0 only if all is well."""
    results, values = arguments.read(__doc__, KEYS, argv)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    results.mkdir(parents=True, exist_ok=True)
    mdev.load_given(SimpleNamespace(**values))
    found = each("guests", values["guests"], lambda name: play(name, values, results))
    return ktap.leave(found, results, "guests")


if __name__ == "__main__":
    entry.run(main)
