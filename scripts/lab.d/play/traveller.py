# SPDX-License-Identifier: GPL-2.0-only
"""A guest that is migrated again and again between two devices, and what must hold after each
attempt, whether it succeeds or not."""

import time
from collections import namedtuple
from contextlib import ExitStack

from base import figures, ktap
from judge import events, moves, proof, ram, standstill, stays
from play import guest_vm, mdev, plugged, switchover
from play.attempt import ENDS, Attempt, reset_in_round
from play.guest_vm import GuestError
from play.host import Host, boot, set_workload, wait_writes, workload
from play.link import Link
from play.trace import Tracer, proof_events

# Questions to QEMU about a guest that is silent; each twice, to see what changes.
LOOKS = 2 * ("info registers", "info lapic", "info pic", "info irq")

Case = namedtuple("Case", "disturb stage statuses other_type boots", defaults=(False, False))
Case.__doc__ = """A migration that must not succeed.

@disturb:    sees to that
@stage:      where it ends: PRECOPY, or STOP: with the guest stopped
@statuses:   what QEMU says of it then
@other_type: the destination has a device of another type
@boots:      the guest boots anew at the source
"""
PRECOPY, STOP = "pre-copy", "stop"
RESET = Case(reset_in_round(2), PRECOPY, ("failed",), boots=True)


class Traveller:
    """One guest from its boot to its end, on two devices in turn.

    @before: words for each QEMU, before the device
    @left:   what is left of each place that it has moved from, see judge/stays.py
    """

    before = ()

    def __init__(self, scenario, name, config, directory):
        self.scenario, self.name, self.config, self.directory = scenario, name, config, directory
        self.begin = time.monotonic()
        self.written, self.results_of, self.reasons = moves.Written(), [], []
        self.moves, self.lost, self.host, self.mdevs = 0, 0, None, []
        self.pause_s, self.throttle, self.window, self.left = 0, None, (), []

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
        stack.callback(self._tell)
        self.mdevs = [stack.enter_context(mdev.Mdev(config.type)) for _ in range(2)]
        for one in self.mdevs:
            one.track(guest_vm.by_iommufd(config))
        tracer = stack.enter_context(Tracer(
            f"mdma-{self.scenario}", proof_events(guest_vm.container(config)), config.buffer_kb,
            self.directory, mdevs=self.mdevs, room_mb=config.trace_mb))
        self.throttle = tracer.throttle
        stack.callback(tracer.collect)
        stack.callback(lambda: self.host and self.host.close())
        self.host = boot(config, self.directory, self.mdevs[0], before=self.before)
        self.window = moves.window_pages(self.host.mdev.settings()["window"])
        set_workload(self.host, workload(config), config.patience)
        self.host.vm.wait_console("MDMA-GUEST pass", config.patience)
        self.say("guest is up")

    def _tell(self):
        """Print what this guest has been through, whatever ended it. A control does not count."""
        if not self.name.startswith("control"):
            print(figures.line(migrations=self.moves, lost=self.lost), flush=True)

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
        boots = self._booted() + 1 if case.boots else 0
        with ExitStack() as stack:
            destination = Host(self.config, self.directory, there, incoming=True,
                               before=self.before)
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
            self.complain_if(destination.vm.crash(),
                             f"the destination ended by {destination.vm.crash()}")
            self._stayed(boots)
        self._file(title, time.monotonic() - begin)

    def pass_by(self, title, device):
        """Another device is plugged in, and unplugged while it writes. The first one must not
        notice; the next look at the guest also finds what QEMU has locked since."""
        self.reasons, begin = [], time.monotonic()
        vm, config = self.host.vm, self.config
        plugged.plug(vm, device, config)
        plugged.begin(device, config)
        for reason in plugged.unplug(vm, device, self.window, config.patience):
            self.complain(reason)
        device.set(run=0)
        self._stayed()
        self._file(title, time.monotonic() - begin)

    def _file(self, title, seconds):
        state = ktap.FAILED if self.reasons else ktap.PASSED
        self.results_of.append(ktap.Result(f"{self.name}{title}", state, "\n".join(self.reasons)))
        self.say(f"{title}: {'not ' if self.reasons else ''}ok ({seconds:.1f} s)")

    def _account(self, host):
        """The guest is stopped: RAM must hold what the devices wrote, and nothing is pinned.
        Returns the ledger."""
        ledger = proof.parse_ledger(host.mdev.ledger(), "ledger")
        self.written.add(ledger)
        with host.vm.open_ram() as memory:
            for reason in self.written.missing(memory, self.window):
                self.lost += 1
                self.complain(reason)
        self.complain_if(host.mdev.stat("pinned"), "a stopped device has pages pinned")
        locked = guest_vm.locked_kb(host.vm)
        self.complain_if(locked, f"QEMU has {locked} kB locked, and its device is stopped")
        return ledger

    def _goes_on(self, host, checks):
        """Guest and device work; @checks is how many passed before."""
        patience = self.config.patience
        wait_writes(host.mdev, patience)
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

    def forgets(self, seq):
        """A reset: what the device wrote up to this number is gone with the guest's memory."""
        self.written = moves.Written(seq)

    def _booted(self):
        """How often the guest has booted on this host."""
        return self.host.vm.console().count("MDMA-GUEST ready")

    def _boots_anew(self, times):
        """After a reset, the guest has a window again when it has booted so many times."""
        host = self.host
        host.vm.wait_console("MDMA-GUEST ready", self.config.patience, times)
        # From now on a guest that panics must not go unnoticed.
        host.vm.qmp.command("set-action", reboot="shutdown")
        self.window = moves.window_pages(host.mdev.settings()["window"])

    def _stayed(self, boots=0):
        """The guest did not move: it must be intact at the source.

        @boots: it boots anew, and then has booted there so many times; 0: it does not
        """
        if boots:
            self._boots_anew(boots)
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
        self.leaves(source, self._account(source))
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

    def leaves(self, host, ledger):
        """The guest has moved from here: keep what judge() needs of this place."""
        self.left.append(stays.Left(ledger, proof.parse_qemu_log(host.vm.log())))

    def watch(self, *watchers):
        """Read the trace, which must be complete. Returns the numbers of the two devices."""
        known = [proof.device_number(one.uuid) for one in self.mdevs]
        events.watch(events.of(events.Trace(self.directory / "trace"), known), *watchers)
        for one in watchers:
            one.end()
        return known

    def judge(self):
        """Check what only the whole trace shows."""
        self.reasons = []
        order, reported = moves.Order(), stays.Stays(self.left)
        try:
            known = self.watch(order, reported)
            must = [known[i % 2] for i in range(self.moves + 1)]
            self.complain_if(order.visits != must, f"{len(order.visits)} times another device "
                             f"went on to write, the guest was at {len(must)} places")
        except events.BrokenOracle as err:
            self.complain(f"oracle broken: {err}")
        for reason in order.reasons + reported.reasons():
            self.complain(reason)
        self.say(f"{order.writes} writes, {self.moves} moves, {reported.tracked} pages written "
                 f"while tracking, {len(reported.lost)} pages lost")
        print(figures.line(writes=order.writes, lost=len(reported.lost)))
        self._file("every write has a number of its own, where the guest was, and none is missing "
                   "in the reports", 0)
