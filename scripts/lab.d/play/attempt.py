# SPDX-License-Identifier: GPL-2.0-only
"""One try to migrate a guest from one QEMU to another one."""

import time
from types import SimpleNamespace

from base import qemu_events
from base.patience import Patience
from judge import decisions
from play import guest_vm
from play.host import GuestError, wait_until
from play.steps import expect

ENDS = ("completed", "failed", "cancelled")
CAPABILITIES = ("return-path", "switchover-ack", "pause-before-switchover", "multifd", "mapped-ram")
ANY_DOWNTIME = 600_000
# The bandwidth that QEMU is to expect at the switchover, in bytes per second: less than a page in
# 1 ms. So a workload that dirties little is not switched over before it has written enough, and
# neither is a guest on a slow host (found.rst).
HELD_BACK = 100_000
# QEMU's exit code when it can't load what arrives, and its trace of what a device said of its data.
NOT_LOADED = 1
DEVICE_DATA = "vfio_load_state_device_data"
# The event by which 11.1 says what is left, and so often must it have been little enough.
LEFT_NEWER = "qemu_savevm_query_pending*"
TURNS = 5


class Attempt:
    """One try to migrate: both sides, the link between them, and what is done to it.

    @run:  has the settings (config), and hears of what is wrong (complain)
    @link: has the path that the source connects to, and the target at which it ends
    """

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
                                   max_bandwidth=self.run.config.bandwidth << 20,
                                   avail_switchover_bandwidth=HELD_BACK)

    def let_go(self, rounds=2):
        """Allow the switchover, after some rounds under load."""
        self.wait_precopy(rounds)
        self.allow()

    def allow(self):
        """Allow the switchover now."""
        self.source.vm.qmp.command("migrate-set-parameters", downtime_limit=ANY_DOWNTIME,
                                   max_bandwidth=guest_vm.UNLIMITED,
                                   avail_switchover_bandwidth=0)

    def completes(self):
        """Wait until the guest is stopped on both sides, after it was allowed."""
        ended = self.wait("completed", "failed")
        expect(ended == "completed", f"the migration is {ended}: {self.info().get('error-desc')}")
        patience = self.run.config.patience
        guest_vm.wait_status(self.source.vm, ("postmigrate",), patience)
        guest_vm.wait_status(self.destination.vm, ("paused", "prelaunch"), patience)

    def start_refused(self):
        """Start pre-copy whose data the destination's device will refuse, see refused()."""
        self.destination.vm.qmp.command("trace-event-set-state", name=DEVICE_DATA, enable=True)
        self.start(return_path=True)

    def refused(self, error):
        """Wait until the destination's device has refused its data with this errno. QEMU then ends
        by itself; a crash is no refusal."""
        vm = self.destination.vm
        wait_until("the destination ends", self.run.config.patience, lambda: not vm.alive())
        self.expect("the destination's exit code", vm.process.returncode, NOT_LOADED)
        said = [rest.rpartition(" ret ")[2] for _, name, rest in qemu_events.read(vm.log())
                if name == DEVICE_DATA]
        self.expect("the last answer of the destination's device", said[-1:], [f"-{error}"])

    def start_for_word(self):
        """Start pre-copy that must not end without the destination's word. Returns where the trace
        of it begins, for held_back()."""
        vm = self.source.vm
        vm.qmp.command("trace-event-set-state", name=LEFT_NEWER, enable=True)
        traced = len(vm.log())
        self.start(return_path=True, switchover_ack=True)
        return traced

    def held_back(self, traced):
        """The switchover is allowed. Wait until QEMU could have begun it several times, by what it
        says itself, and see that it has not."""
        def look():
            passed, switches = decisions.passed_up(self.source.vm.log()[traced:])
            return (passed, switches) if switches or passed >= TURNS else None
        passed, switches = wait_until("QEMU could have switched over", self.run.config.patience,
                                      look)
        if switches:
            self.run.complain(f"QEMU waited {passed} times, and then switched over without the "
                              "destination's word")
        self.expect("without the destination's word the migration", self.info()["status"],
                    "active")

    def reset(self):
        """Reset the guest, which boots again. The reset takes the window and gives back what is
        pinned; that must be seen before a fast guest has booted. QEMU may end with a reboot again,
        but not before the guest has booted: told right after the reset, it ends. See Traveller."""
        qmp, mdev = self.source.vm.qmp, self.source.mdev
        qmp.command("set-action", reboot="reset")
        qmp.command("system_reset")
        wait_until("the reset takes the window, and gives back what is pinned",
                   self.run.config.patience,
                   lambda: not mdev.settings()["window"] and not mdev.stat("pinned"))
        self.run.forgets(mdev.stat("seq"))

    def fails(self):
        """QEMU says why the migration has failed."""
        self.wait("failed")
        self.run.complain_if(not self.info().get("error-desc"), "QEMU does not say why it failed")

    def info(self):
        """The source's information on the migration."""
        return self.source.vm.qmp.command("query-migrate")

    def _wait(self, what, reached):
        """Wait until the source's information is as @reached wants it, and return it. On a slow
        host this may take long, but the migration must not stand still."""
        patience = Patience(self.run.config.patience)
        while not reached(info := self.info()):
            ram = info.get("ram", {})
            patience.progress(info["status"], ram.get("dirty-sync-count"), ram.get("transferred"))
            if patience.exhausted():
                raise GuestError(f"not in {patience.seconds} s without progress: {what}")
            time.sleep(0.05)
        return info

    def wait(self, *statuses):
        """Wait until the migration has one of these statuses."""
        return self._wait(f"migration is {' or '.join(statuses)}",
                          lambda info: info["status"] in statuses)["status"]

    def wait_precopy(self, rounds):
        """Wait until the migration is in that round of pre-copy, and the device in pre-copy."""
        self._wait(f"round {rounds} of pre-copy",
                   lambda info: info.get("ram", {}).get("dirty-sync-count", 0) >= rounds)
        self.expect("the device", self.source.mdev.state(), "pre_copy")

    def expect(self, what, is_, must):
        """Check something; a failure does not end the attempt."""
        if is_ != must:
            self.run.complain(f"{what} is {is_}, not {must}")


def over_socket(run, source, destination):
    """An attempt whose link is a socket in the run's directory, to which nothing is done."""
    path = run.directory / "migration.socket"
    return Attempt(run, source, destination, SimpleNamespace(path=path, target=path))


def move(one):
    """A move without disturbance."""
    one.start(return_path=True)
    one.let_go()


def reset_in_round(number):
    """The guest is reset, in that round of pre-copy."""
    def disturb(one):
        one.start(return_path=True)
        one.wait_precopy(number)
        one.reset()
        one.fails()
    return disturb
