#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""Guests whose memory is not in one piece, and whose devices and memory come and go.

Each guest has two devices of different types, which write their windows all the time, while the
kernel's dmatest runs on all channels. It is migrated once. Both oracles judge each device, and the
trace must show the order of P2P. scripts/lab.d/judge/devices.py has what is judged.

hole: the machine's RAM continues at 4 GiB, in the middle of a window.
numa: the machine's RAM is two NUMA nodes, a file each, and there are windows in both.
dimm: the machine's RAM is in huge pages. A DIMM is plugged in, and one window moved into it. At the
     destination, QEMU asks for the DIMM back while a device has all of it pinned.
mem: the same with virtio-mem, and memory is taken away that a device has pinned. This guest does
     not move, as QEMU does not survive that.
plugged: one of the devices is plugged in, and unplugged under load, before the move and after it.

The control is the first guest on a backend that forgets unpinned pages: both oracles must find
what is lost.

usage: guests.py --results DIR [key=value ...]        (as root; --help: keys)
"""

import signal
import sys
from collections import namedtuple
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import SimpleNamespace

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "scripts/lab.d"))

# pylint: disable=wrong-import-position
from base import ktap, settings
from base.qmp import QmpError
from judge import devices, events, moves, proof, ram
from play import arguments, entry, forgetful, guest_vm, mdev, more_initramfs, plugged, switchover
from play.attempt import over_socket
from play.guest_bench import Devices
from play.guest_shell import GuestShell
from play.host import Host, in_memory, wait_until
from play.mdev import MdevError
from play.steps import Steps, each, expect
from play.trace import PROOF_EVENTS, Tracer

# What a run needs to have built, and for which settings (boot/scenario.py).
BUILDS = {"guest": "", "mutant": "control=1"}

KEYS = settings.keys(
    "bandwidth", "rounds", "pages_min", "control", *settings.WORKLOAD, *settings.GUEST,
    *settings.TRACE, "device", bandwidth=32, rounds=3, pages_min=5000, rate=100, mem_mb=192,
    low_mb=96, window_mb=40, dirty_mb=2,
    own={
        "guests": settings.Words("hole,numa,dimm,mem,plugged", "which guests",
                                 ("hole", "numa", "dimm", "mem", "plugged")),
        "mem_moves": settings.Number(0, "1: guest mem moves before; QEMU ends with a signal "
                                     "(found.rst)", 0, 1),
        "mutant": settings.File("mutant/forget-unpinned/vfio_iommu_type1.ko",
                                "backend of the control"),
        "backend": settings.BACKEND,
    })

TYPES = ("mdma-1", "mdma-4")
HUGE_PAGES = Path("/proc/sys/vm/nr_hugepages")
HUGE_MB = 2
# A block of memory that Linux plugs.
BLOCK_MB = 128
ABOVE = 1 << 32
# Where the guest has the driver of virtio-mem, and QEMU the device.
MODULES, MEM = "mem", "/machine/peripheral/mem"


class Leg(Steps):
    """One guest and its move."""

    # Devices that it boots with.
    at_boot = len(TYPES)

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
            if self.steps(("the devices work", self.boot), *self.before(),
                          ("the guest moves under load", self.move)):
                self.step("RAM is the same on both sides", self.same)
                works = self.step("the guest works at the destination", self.arrived)
                self.step("no page is lost, of either device", self.judge)
                self.step("P2P: no device stops or starts beside one that writes", self.judge_p2p)
                if works:
                    self.steps(*self.after())
        return self.results

    # What is different in each guest.

    def before(self):
        """Steps before the move."""
        return ("memory is where it should be", self.place),

    def after(self):
        """More steps at the destination, which are not traced."""
        return ()

    def source_host(self):
        """The QEMU in which the guest boots."""
        return self.host(self.here)

    def target_host(self):
        """The QEMU that the guest moves to."""
        return self.host(self.there, incoming=True)

    def in_precopy(self):
        """What else is tried in pre-copy."""

    # The steps.

    def host(self, mdevs, properties="", **more):
        """A QEMU with these devices.

        @properties: of the second one, with a comma before each
        """
        beside = [plugged.words(one, self.config) + properties for one in mdevs[1:]]
        host = Host(self.config, self.directory, mdevs[0], commands=True, beside=beside, **more)
        self.stack.callback(host.close)
        shell = GuestShell(host.vm, self.config.patience)
        self.stack.callback(shell.close)
        return host, shell

    def boot(self):
        """The guest, its devices and the trace."""
        config = self.config
        self.here, self.there = ([self.mdev(one) for one in TYPES] for _ in range(2))
        self.tracer = self.stack.enter_context(Tracer(
            "mdma-guests", PROOF_EVENTS, config.buffer_kb, self.directory,
            mdevs=self.here + self.there, room_mb=config.trace_mb))
        host, shell = self.source_host()
        shell.answer()
        host.vm.connect()
        self.bench = Devices(host, shell, config, self.here[:self.at_boot])
        for one in self.bench.mdevs:
            plugged.begin(one, config)

    def mdev(self, mdev_type):
        """A device that exists until the end."""
        return self.stack.enter_context(mdev.Mdev(mdev_type))

    def place(self):
        """The windows are where this guest is about. Returns them, and where RAM is."""
        memory = self.stack.enter_context(self.bench.host.vm.open_ram())
        windows = [self.window(one) for one in self.here]
        expect(not windows[0] & windows[1], "the windows overlap")
        return windows, memory.where

    def move(self):
        """Migrate the guest, and copy RAM while it is stopped on both sides."""
        bench, config = self.bench, self.config
        target, shell = self.target_host()
        target.vm.connect()
        bench.check("begin_load")
        bench.both_write()
        before = [one.stat("pages_written") for one in self.here]
        one = over_socket(self, bench.host, target)
        one.start(return_path=True)
        one.wait_precopy(config.rounds)
        self.in_precopy()
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

    def compare(self):
        """The source against the copy of the destination, and each window against its ledger.
        Returns the result of the comparison, and for each device what is wrong in its window."""
        wrong = []
        with self.source.vm.open_ram() as files:
            result = ram.compare(files, self.copy)
            for one in self.here:
                written = moves.Written()
                written.add(proof.parse_ledger(one.ledger(), "ledger"))
                wrong.append(written.missing(files, self.window(one)))
        self.copy.close()
        return result, wrong

    def window(self, device):
        """The pages of a device's window."""
        return moves.window_pages(device.settings()["window"])

    @staticmethod
    def blocks(where, window):
        """The blocks that a window is in. One of virtio-mem has the address of its device before
        its name."""
        return {where.name(where.position(page << 12)).partition("+")[0].rpartition("/")[2]
                for page in window}

    def same(self):
        """RAM is the same, and has what the devices wrote."""
        result, wrong = self.compare()
        for one, reasons in zip(self.here, wrong):
            for reason in reasons:
                self.complain(f"{one.type}: {reason}")
        pages = (self.config.mem_mb + self.config.more_mb) << 8
        expect(result["pages_compared"] == pages,
               f"{result['pages_compared']} of {pages} pages compared")
        expect(not result["different"], f"{result['pages_different']} pages differ, the first "
                                        f"{result['different'][:1]}")

    def arrived(self):
        """Both devices go on; the guest finds no error in what they wrote before or since."""
        self.bench.both_write()
        self.bench.check("end_load")
        self.works()

    def works(self):
        """The guest finds no error, in the windows or by dmatest."""
        self.bench.check("check_window")
        self.bench.check("check_log")
        self.bench.transfers()

    def watch(self):
        """Read the trace. The guest stands still, which leaves the CPU to that."""
        self.tracer.collect()
        self.bench.host.vm.qmp.command("stop")
        pairs = self.pairs()
        self.watched = [devices.Device(*pair) for pair in pairs], devices.peers(pairs)
        events.watch(events.Trace(self.directory / "trace"), *self.watched[0], *self.watched[1])

    def judge(self):
        """The set oracle, for each device."""
        self.watch()
        windows = [self.window(one) for one in self.here]
        for number, device in enumerate(self.watched[0]):
            ledger = proof.parse_ledger(self.here[number].ledger(), "ledger")
            self.reasons += device.reasons(ledger, windows[1 - number], self.config.pages_min)
            self.say(f"{self.here[number].type}: {device.seen.tracked} pages written while "
                     f"tracking, {len(ledger)} different ones")

    def judge_p2p(self):
        """What the trace shows of the order."""
        self.bench.host.vm.qmp.command("cont")
        for side in self.watched[1]:
            self.reasons += side.end()

    def pairs(self):
        """The numbers of each device, here and there."""
        return [tuple(proof.device_number(one.uuid) for one in pair)
                for pair in zip(self.here, self.there)]


class Hole(Leg):
    """The machine's RAM continues at 4 GiB."""

    def place(self):
        windows, where = super().place()
        sides = [{page << 12 >= ABOVE for page in window} for window in windows]
        expect({True, False} in sides, f"no window is on both sides of the hole: {sides}")
        return windows, where


class Numa(Leg):
    """The machine's RAM is one block for each node."""

    def place(self):
        windows, where = super().place()
        found = set().union(*(self.blocks(where, window) for window in windows))
        expect(found == {f"ram{node}" for node in range(self.config.nodes)},
               f"the windows are in {', '.join(sorted(found))} only")
        return windows, where


class More(Leg):
    """A guest that gets more memory while it runs, and one window in it."""

    def more(self):
        """Let QEMU offer the memory."""
        raise NotImplementedError

    def place(self):
        """The guest has the memory, and the second device's driver takes its window from there."""
        bench = self.bench
        total = "awk '/MemTotal/ { print $2 }' /proc/meminfo"
        before = int(bench.do(total))
        self.more()
        wait_until("the guest has the memory", self.config.patience,
                   lambda: int(bench.do(total)) > before + (self.config.more_mb << 9))
        slot = bench.slots()[1]
        bench.do(f"echo {slot} >$DRIVER/unbind && echo {slot} >$DRIVER/bind")
        plugged.begin(self.here[1], self.config)
        bench.both_write()
        windows, where = super().place()
        blocks = [self.blocks(where, window) for window in windows]
        expect(blocks == [{"ram"}, {"more"}], f"the windows are in {blocks}")
        return windows, where

    def memory(self):
        """The memory, as QEMU takes it."""
        return ["-object", f"memory-backend-memfd,id=more,size={self.config.more_mb}M,share=on"]

    def pin_all(self, name):
        """The second device loses its driver, and has all of that memory pinned. Returns its slot
        in the guest.

        @name: of what QEMU calls a memory device
        """
        bench, device = self.bench, self.bench.mdevs[1]
        slot, full = bench.slots()[1], self.config.more_mb << 20
        bench.do(f"echo {slot} >$DRIVER/unbind")
        memory = next(one["data"] for one in bench.host.vm.qmp.command("query-memory-devices")
                      if one["data"]["id"] == name)
        expect(memory["size"] == full, f"the guest has only {memory['size']:#x} bytes")
        self.hold(device, memory.get("addr", memory.get("memaddr")), full)
        expect(device.stat("pinned") << 12 == full,
               f"{device.stat('pinned') << 12:#x} bytes are pinned, not {full:#x}")
        return slot

    def hold(self, device, first, size):
        """Pin memory for reading, each page once, and hold it."""
        device.set(run=0, pattern="sequential", direction="read", hold_ms=plugged.HOLD_MS,
                   window=f"{first:#x}-{first + size - 1:#x}")
        device.set(step=size // (self.config.batch << 12))

    def release(self, device):
        """Nothing is held any more."""
        device.set(hold_ms=0)
        wait_until("nothing is pinned", self.config.patience, lambda: not device.stat("pinned"))

    def bind_again(self, slot):
        """The second device gets its driver back, and everything works."""
        device = self.bench.mdevs[1]
        device.set(window="")
        self.bench.writes(self.bench.mdevs[0])
        self.bench.do(f"echo {slot} >$DRIVER/bind")
        plugged.begin(device, self.config)
        self.works()


GONE = "the guest gives the DIMM back"
# In an ACPI_DEVICE_OST: the guest answers to QEMU's wish to eject something; and a status that says
# that it still tries.
EJECT, IN_PROGRESS = 3, 0x84


def dimm_answer(events_seen):
    """What the guest has answered to the wish for its DIMM, in words; None: nothing yet."""
    for one in events_seen:
        info = one["data"].get("info", {})
        if one["event"] == "DEVICE_DELETED" and one["data"].get("device") == "dimm":
            return GONE
        if one["event"] == "ACPI_DEVICE_OST" and info["source"] == EJECT \
                and info["status"] not in (0, IN_PROGRESS):
            return f"the guest refuses to give the DIMM back: ACPI status {info['status']:#x}"
    return None


class Dimm(More):
    """In a DIMM."""

    def target_host(self):
        return self.host(self.there, incoming=True, before=[
            *self.memory(), "-device", "pc-dimm,id=dimm,memdev=more"])

    def more(self):
        qmp = self.bench.host.vm.qmp
        qmp.command("object-add", **{"qom-type": "memory-backend-memfd"}, id="more",
                    size=self.config.more_mb << 20, share=True)
        qmp.command("device_add", driver="pc-dimm", id="dimm", memdev="more")

    def after(self):
        return ("the DIMM is taken away with all of it pinned, or the guest refuses", self.unplug),

    def unplug(self):
        """What the guest gives back does not stay pinned. If it refuses, all does."""
        bench, patience, device = self.bench, self.config.patience, self.bench.mdevs[1]
        qmp, full = bench.host.vm.qmp, self.config.more_mb << 20
        slot = self.pin_all("dimm")
        before = len(qmp.events)
        qmp.command("device_del", id="dimm")
        answer = wait_until("the guest says what becomes of the DIMM", patience,
                            lambda: dimm_answer(self.heard(before)))
        self.say(answer)
        if answer == GONE:
            wait_until("what was taken away is not pinned", patience,
                       lambda: not device.stat("pinned"))
            self.release(device)
            try:
                device.set(step=1)
                self.complain("what was taken away can be pinned")
            except MdevError:
                pass
        else:
            expect(device.stat("pinned") << 12 == full,
                   f"{device.stat('pinned') << 12:#x} of {full:#x} bytes are still pinned")
            self.release(device)
        self.bind_again(slot)

    def heard(self, before):
        """Events of QEMU since then: an answer brings those that came before it."""
        qmp = self.bench.host.vm.qmp
        qmp.command("query-status")
        return qmp.events[before:]


class Mem(More):
    """In memory of virtio-mem, which QEMU can take away piece by piece."""

    def play(self):
        if self.config.mem_moves:
            return super().play()
        with ExitStack() as self.stack:
            self.steps(("the devices work", self.boot), *self.before(), *self.after())
        return self.results

    def source_host(self):
        return self.host(self.here, before=self.words())

    def target_host(self):
        return self.host(self.there, incoming=True, before=self.words())

    def words(self):
        """The device, without memory at first."""
        return [*self.memory(), "-device", "virtio-mem-pci,id=mem,memdev=more,requested-size=0"]

    def more(self):
        self.bench.do(more_initramfs.load_modules(MODULES))
        self.request(self.config.more_mb << 20)

    def after(self):
        return ("what is taken away does not stay pinned", self.shrink),

    def request(self, size):
        """Ask the guest to have so many bytes of it."""
        self.bench.host.vm.qmp.command("qom-set", path=MEM, property="requested-size", value=size)

    def size(self):
        """How many bytes the guest has of it."""
        return self.bench.host.vm.qmp.command("qom-get", path=MEM, property="size")

    def shrink(self):
        """The second device, which has no driver now, has all of that memory pinned. The guest
        gives back what it can: that is not pinned any more, and can't be. The rest stays pinned."""
        bench, patience, device = self.bench, self.config.patience, self.bench.mdevs[1]
        full, run = self.config.more_mb << 20, self.config.batch << 12
        slot = self.pin_all("mem")
        errors = device.stat("pin_errors")
        self.request(0)
        most = full - (self.config.window_mb << 20)
        wait_until("the guest gives back the window that was there", patience,
                   lambda: self.size() <= most)
        wait_until("what was taken away is not pinned", patience,
                   lambda: device.stat("pinned") << 12 == self.size())
        left = self.size()
        self.say(f"{left:#x} of {full:#x} bytes are left, all of them pinned")
        # The guest may give back more at any time.
        self.release(device)
        try:
            device.set(step=full // run)
            self.complain("what was taken away can be pinned")
        except MdevError:
            pass
        refused = (device.stat("pin_errors") - errors) * run
        expect(full - left <= refused <= full - self.size(),
               f"{refused:#x} bytes were refused; {self.size():#x} to {left:#x} bytes are left")
        self.bind_again(slot)


class Plugged(Leg):
    """The second device is behind a port. It moves; another one comes and goes there."""

    at_boot = 1
    passing = None

    def before(self):
        return (("a device is plugged in, and unplugged under load", self.pass_by),
                ("another one is plugged in", lambda: self.plug(self.here[1])),
                ("the windows do not overlap", self.place))

    def after(self):
        return (("it is unplugged under load at the destination",
                 lambda: self.unplug(self.there[1])),
                ("the former one is plugged in there", lambda: self.plug(self.passing)))

    def source_host(self):
        self.passing = self.mdev(TYPES[1])
        return self.host(self.here[:1], before=plugged.ROOT_PORT)

    def target_host(self):
        return self.host(self.there, f",bus={plugged.PORT}", incoming=True,
                         before=plugged.ROOT_PORT)

    def pass_by(self):
        """A device that does not move."""
        self.plug(self.passing)
        self.unplug(self.passing)

    def plug(self, device):
        """Plug a device in: it works, and so does the first one."""
        bench = self.bench
        plugged.plug(bench.host.vm, device, self.config)
        bench.mdevs = [bench.mdevs[0], device]
        wait_until("the guest has the channels of the device", self.config.patience,
                   lambda: bench.do("count_channels || :") == str(bench.channels()))
        plugged.begin(device, self.config)
        bench.both_write()
        self.works()

    def unplug(self, device):
        """Unplug a device while dmatest uses its channels and the workload writes its window. QEMU
        has nothing of it locked."""
        bench, first = self.bench, self.bench.mdevs[0]
        bench.do(f"echo {bench.slots()[1]} >$DMATEST/device")
        bench.check("begin_load")
        bench.both_write()
        wrong = plugged.unplug(bench.host.vm, device, self.window(first), self.config.patience)
        bench.mdevs = [first]
        expect(not wrong, "; ".join(wrong))
        self.nothing_locked(first)
        # dmatest must not look at channels that are gone (Documentation/found.rst).
        bench.do("echo 0 >$DMATEST/run")
        bench.check("check_log")
        bench.do("rmmod dmatest && load_drivers")
        self.works()

    def nothing_locked(self, first):
        """Without what the first device holds, QEMU has no memory locked."""
        first.set(run=0)
        wait_until("the first device has nothing pinned", self.config.patience,
                   lambda: not first.stat("pinned"))
        locked = guest_vm.locked_kb(self.bench.host.vm)
        expect(not locked, f"QEMU has {locked} kB locked")
        first.set(run=1)
        self.bench.writes(first)

    def in_precopy(self):
        """QEMU lets nothing come or go now, and says so."""
        vm = self.bench.host.vm
        for what, command in (
                ("device_del", lambda: vm.qmp.command("device_del", id=plugged.NAME)),
                ("device_add", lambda: plugged.plug(vm, self.passing, self.config, "third"))):
            said = "nothing"
            try:
                command()
            except QmpError as err:
                said = str(err)
            self.say(f"{what} in pre-copy: {said}")
            expect("migrat" in said, f"{what} in pre-copy: QEMU says {said}")


class Control(Leg):
    """On a backend that forgets unpinned pages. What else happens to the guest does not matter."""

    def play(self):
        with ExitStack() as self.stack:
            if self.steps(("the devices work", self.boot),
                          ("the guest moves under load", self.move)):
                self.step("both oracles find what is lost, of each device", self.found)
        return self.results

    def found(self):
        """Reasons why an oracle is blind."""
        result, wrong = self.compare()
        self.watch()
        for one, device, here in zip(self.here, self.watched[0], wrong):
            proof.set_oracle(device.seen, proof.parse_ledger(one.ledger(), "ledger"))
            lost = set(proof.lost_pages(device.seen))
            different = forgetful.in_window(result["different"], self.window(one))
            self.say(f"{one.type}: {len(lost)} pages are lost, {len(different)} differ")
            for reason in forgetful.blind(here, lost, different):
                self.complain(f"{one.type}: {reason}")
            if different - lost:
                self.complain(f"{one.type}: {len(different - lost)} pages differ that are not lost")


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


Guest = namedtuple("Guest", "leg words settings modules", defaults=("", {}, ()))
Guest.__doc__ = """A guest.

@leg:      what is done with it
@words:    for its kernel's command line
@settings: those that differ
@modules:  that it gets besides its own
"""
# So that the machine's RAM has both windows at first, and drivers can take one from what comes.
GROWS = {"low_mb": 0, "more_mb": BLOCK_MB}
ONLINE = " memhp_default_state=online_kernel"
GUESTS = {
    "hole": Guest(Hole),
    "numa": Guest(Numa, "", {"nodes": 2}),
    "dimm": Guest(Dimm, ONLINE, {**GROWS, "huge": True}),
    "mem": Guest(Mem, ONLINE, GROWS, ("virtio_mem",)),
    "plugged": Guest(Plugged, "", {"low_mb": 0}),
    "control": Guest(Control),
}


def configuration(name, values):
    """The settings of a guest as a namespace, with what follows from them."""
    guest = GUESTS[name]
    config = SimpleNamespace(**{**values, "smp": 1, "huge": False, "more_mb": 0, "transfers": 5,
                                **guest.settings})
    config.append = guest_vm.kernel_arguments(config) + " mdma.commands=1" + guest.words
    return config


def play(name, values, results):
    """One guest, in memory; what it leaves goes to the results."""
    config, guest = configuration(name, values), GUESTS[name]
    with ExitStack() as stack:
        if config.huge:
            stack.enter_context(huge_pages(2 * config.mem_mb))
        directory = stack.enter_context(in_memory(config.shm, results / name, "*.commands",
                                                  "initramfs"))
        if guest.modules:
            config.initrd = more_initramfs.with_modules(config, directory, MODULES, guest.modules)
        return guest.leg(name, config, directory).play()


def play_forgetful(name, values, results):
    """A guest on a backend that forgets."""
    with forgetful.loaded(values["mutant"], SimpleNamespace(**values)):
        return play(name, values, results)


def main(argv):
    """Run it; the exit code is 0 only if all is well."""
    results, values = arguments.read(__doc__, KEYS, argv)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    results.mkdir(parents=True, exist_ok=True)
    config = SimpleNamespace(**values)
    mdev.load_given(config)
    found = each("guests", values["guests"], lambda name: play(name, values, results))
    if config.control:
        found += each("guests", "control", lambda name: play_forgetful(name, values, results))
    return ktap.leave(found, results, "guests")


if __name__ == "__main__":
    entry.run(main)
