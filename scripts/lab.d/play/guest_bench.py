# SPDX-License-Identifier: GPL-2.0-only
"""A guest that takes commands, its devices, and what tests do with both."""

import time

from base import figures
from play import guest_vm
from play.guest_shell import GuestShell
from play.host import FAILURES, wait_until, wait_writes
from play.steps import expect

# Seconds without DMA after which the device counts as quiet.
QUIET_S = 1
# So many times the usual patience for what does much.
LONG = 5
# Enough for a guest that is never idle.
DOWNTIME_MS = 60000
# Of dmatest: memcpy or memset, by interrupt or polled.
KINDS = ((0, 0), (0, 1), (1, 0), (1, 1))
CHANNELS = {"mdma-1": 1, "mdma-4": 4, "mdma-16": 16}


class Commanded:
    """A guest with a shell."""

    def __init__(self, host, shell, config):
        self.host, self.shell, self.config = host, shell, config

    def close(self):
        """End the guest, wherever it is."""
        self.shell.close()
        self.host.close()

    def do(self, line, patience=None):
        """Run a command in the guest, which must succeed. Returns its output."""
        said, code = self.shell.run(line, patience)
        expect(code == 0, f"the guest's '{line}' ended with {code}: {said[-500:]}")
        return said

    def check(self, line, patience=None):
        """Run a command in the guest that prints only what is wrong."""
        said, _ = self.shell.run(line, patience)
        expect(not said, said[-1000:])

    def dmatest(self, count, channels, patience=None, kinds=KINDS):
        """Make so many transfers on each channel, of each of these kinds; all must succeed.

        @channels: how many there are
        """
        self.do(f"iterations={count}; channels={channels}; echo $iterations >$DMATEST/iterations")
        for kind, polled in kinds:
            self.check(f"dmatest_round {kind} {polled}", patience)


class Bench(Commanded):
    """The guest, its device, and what the tests do with both."""

    def __init__(self, host, shell, config, other=None):
        """@other: makes a Host for the guest to move to, with another device than this one."""
        super().__init__(host, shell, config)
        self.other = other
        self.mdev, self.patience = host.mdev, config.patience
        # Seconds more to wait for each transfer of a test that makes many.
        self.transfer_seconds = 0.1

    def transfers(self, count, patience=None):
        """Make so many transfers on each channel, of each kind; all must succeed."""
        self.dmatest(count, "$(count_channels)", patience)

    def one_transfer(self):
        """All channels still work, after a test that did not set them up anew: one transfer on
        each, of one kind."""
        self.dmatest(1, "$(count_channels)", kinds=KINDS[:1])

    def load(self):
        """Run dmatest on all channels until unload()."""
        self.check("begin_load")

    def unload(self):
        """End the load; no transfer may have failed. Each thread of dmatest waits for its last
        transfer, so none of its buffers is freed while the device writes to it."""
        said = self.do("end_load; true")
        expect(not said, said[-1000:])
        self.check("check_log")

    def unload_unbound(self):
        """End the load after the driver was unbound. There is no more DMA, so dmatest may free its
        buffers. It must not look at its channels (Documentation/found.rst)."""
        self.do("echo 0 >$DMATEST/run")
        self.check("check_log")

    def move(self):
        """Migrate the guest, and go with it."""
        source, target = self.host, self.other(self.mdev)
        try:
            shell = GuestShell(target.vm, self.patience)
            target.vm.connect()
            address = f"unix:{target.vm.monitor.with_suffix('.migration.socket')}"
            target.vm.qmp.command("migrate-incoming", uri=address)
            source.vm.qmp.command("migrate-set-parameters", max_bandwidth=guest_vm.UNLIMITED,
                                  downtime_limit=DOWNTIME_MS)
            source.vm.qmp.command("migrate", uri=address)
            wait_until("the migration ends", LONG * self.patience, lambda: source.vm.qmp.command(
                "query-migrate").get("status") in ("completed", "failed"))
            guest_vm.wait_status(target.vm, ("running",), self.patience)
        except FAILURES:
            target.close()
            raise
        self.shell.close()
        self.host, self.shell, self.mdev = target, shell, target.mdev
        source.close()
        print(figures.line(migrations=1), flush=True)

    def works(self):
        """The window is there, the workload writes it, and the guest accepts what it finds in
        it."""
        wait_until("a window", self.patience, lambda: self.mdev.settings()["window"])
        self.writes()
        self.check("check_window")

    def writes(self):
        """The device continues to write."""
        wait_writes(self.mdev, self.patience)

    def quiet(self, what):
        """There is no DMA, and nothing is pinned."""
        seq, began = self.mdev.stat("seq"), self.mdev.stat("descriptors")
        time.sleep(QUIET_S)
        expect(self.mdev.stat("seq") == seq and self.mdev.stat("descriptors") == began,
               f"{self.mdev.stat('seq') - seq} pages were written {what}")

    def empty(self, what):
        """There is no window, and nothing is pinned: the state of a device without a driver."""
        expect(not self.mdev.settings()["window"], f"the device keeps the window {what}")
        expect(not self.mdev.stat("pinned"), f"the device has pages pinned {what}")
        self.quiet(what)


class Devices(Commanded):
    """A guest with several devices, of different types."""

    def __init__(self, host, shell, config, mdevs):
        super().__init__(host, shell, config)
        self.mdevs = mdevs

    def channels(self):
        """How many they have together."""
        return sum(CHANNELS[one.type] for one in self.mdevs)

    def transfers(self, channels=None):
        """dmatest on all channels, of each kind, by interrupt and polled.

        @channels: how many there must be; None: those of all devices
        """
        found, must = self.do("count_channels"), str(channels or self.channels())
        expect(found == must, f"the guest has {found} channels, not {must}")
        self.dmatest(self.config.transfers, must)

    def slots(self):
        """PCI addresses of the mdma devices in the guest, in the order of their mdevs."""
        text = self.do("for d in $DRIVER/*:*:*.*; do "
                       "echo $(basename $d) $(ls -d $d/dma/dma*chan* | wc -l); done")
        channels = {int(count): slot for slot, count in map(str.split, text.splitlines())}
        return [channels[CHANNELS[one.type]] for one in self.mdevs]

    def writes(self, device):
        """A device continues to write."""
        wait_writes(device, self.config.patience)

    def both_write(self):
        """Each device continues to write."""
        for one in self.mdevs:
            self.writes(one)
