#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""A guest with an IOMMU of its own: its device sees only what the guest maps for it.

QEMU refuses such a device if it must migrate, and runs it if it may not. Each of the guest's
mappings is one of the container's; what the guest unmaps must not stay pinned. A migration is
refused, and the guest runs on. A reset and a kill under load leave nothing pinned.

usage: viommu.py --results DIR [key=value ...]        (as root; --help: keys)
"""

import signal
import sys
from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "scripts/lab.d"))

# pylint: disable=wrong-import-position
from base import ktap, settings
from base.qmp import QmpError
from judge import moves
from play import arguments, entry, guest_vm, mdev
from play.guest_bench import Bench
from play.guest_shell import GuestShell
from play.host import Host, in_memory, set_workload, wait_until, workload
from play.steps import Steps, TestError, each, expect

# What a run needs to have built, and for which settings (boot/scenario.py).
BUILDS = {"guest": ""}

KEYS = settings.keys(
    "type", *settings.WORKLOAD, *settings.GUEST, "device", mem_mb=160, window_mb=16, dirty_mb=0,
    own={"backend": settings.BACKEND})

# With caching-mode, the guest tells the IOMMU also what it maps, not only what it unmaps.
IOMMU = ("-device", "intel-iommu,caching-mode=on")
# What QEMU says of a device that must migrate. Of one that need not, it finds another reason first,
# which does not depend on the IOMMU.
NOT_WITH_IOMMU = "not supported with vIOMMU"
NOT_TRACKED = "dirty tracking"
# The guest takes the IOVAs of its transfers from right below what it has mapped for good.
BELOW_PAGES = 256
# Transfers of dmatest on each channel, of each kind.
TRANSFERS = 20
# Pins that end only when they must.
HOLD_MS = 600_000


class Translated(Steps):
    """The guest."""

    def __init__(self, config, directory):
        super().__init__("viommu", "translated")
        self.config, self.directory = config, directory
        self.stack = self.bench = self.device = None

    def play(self):
        """All steps; those after a failure are left out."""
        with ExitStack() as self.stack:
            self.device = self.stack.enter_context(mdev.Mdev(self.config.type))
            self.steps(("a device that must migrate is refused", self.must_migrate),
                       ("the device works by the guest's mappings", self.boot),
                       ("what the guest unmaps is not pinned", self.unmapped),
                       ("a migration is refused", self.migrate),
                       ("a reset under load leaves nothing pinned", self.reset),
                       ("a kill under load leaves nothing pinned", self.kill))
        return self.results

    def host(self, properties=""):
        """A QEMU with the IOMMU and the device."""
        host = Host(self.config, self.directory, self.device, commands=True, before=IOMMU,
                    properties=properties)
        self.stack.callback(host.close)
        return host

    def must_migrate(self):
        """QEMU does not even begin, and says why."""
        host = self.host()
        wait_until("QEMU ends", self.config.patience, lambda: not host.vm.alive())
        said = host.vm.errors()
        self.say(f"QEMU says: {said}")
        expect(NOT_WITH_IOMMU in said, f"QEMU says {said}")

    def boot(self):
        """The window has the guest's IOVAs, which are beyond its memory; the device writes there,
        and the guest finds it."""
        host = self.host("enable-migration=auto")
        shell = GuestShell(host.vm, self.config.patience)
        self.stack.callback(shell.close)
        shell.answer()
        host.vm.connect()
        self.bench = Bench(host, shell, self.config)
        self.works()
        window = moves.window_pages(self.device.settings()["window"])
        expect(min(window) >= self.config.mem_mb << 8,
               f"the window begins in the guest's memory, at {min(window) << 12:#x}")

    def works(self):
        """The workload and dmatest do DMA, and the guest finds what was written."""
        bench = self.bench
        wait_until("the guest gives a window", self.config.patience,
                   lambda: self.device.settings()["window"])
        set_workload(bench.host, workload(self.config), self.config.patience)
        bench.works()
        bench.transfers(TRANSFERS)
        stamped = int(bench.do("cat /sys/kernel/debug/mdma_guest/*/window_check").split()[3])
        expect(stamped, "the guest finds no write in its window")
        bench.check("check_log")

    # What the guest unmaps.

    def unmapped(self):
        """Pages of transfers in progress are pinned by hand as well: they are pinned until the guest
        unmaps them, and no longer."""
        bench, device, patience = self.bench, self.device, self.config.patience
        device.set(run=0)
        wait_until("nothing is pinned", patience, lambda: not device.stat("pinned"))
        first = min(moves.window_pages(device.settings()["window"]))
        below = range(first - BELOW_PAGES, first)
        mapped = self.pin(below)
        for page in mapped:
            device.hook("unpin", f"{page << 12:#x} 1")
        bench.load()
        pinned = wait_until("a page of a transfer is pinned", patience,
                            lambda: self.pin(set(below) - mapped))
        try:
            bench.unload()
        except TestError as err:
            # What can't be unmapped is in the way of the next transfers.
            self.complain(str(err))
        wait_until("no page of a transfer is pinned", patience, lambda: not device.stat("pinned"))
        self.say(f"{len(pinned)} pages of transfers were pinned; {len(mapped)} others were mapped")
        locked = guest_vm.locked_kb(bench.host.vm)
        expect(not locked, f"QEMU has {locked} kB locked")
        device.set(run=1)
        bench.works()

    def pin(self, pages):
        """Pin what is mapped of these pages. Returns which."""
        found = set()
        for page in sorted(pages):
            try:
                self.device.hook("pin", f"{page << 12:#x} 1 r")
                found.add(page)
            except mdev.MdevError:
                pass
        return found

    def migrate(self):
        """QEMU refuses, and says why; guest and device go on."""
        said = "nothing"
        try:
            self.bench.host.vm.qmp.command("migrate", uri="exec:cat >/dev/null")
        except QmpError as err:
            said = str(err)
        self.say(f"QEMU says: {said}")
        expect(NOT_WITH_IOMMU in said or NOT_TRACKED in said, f"QEMU says {said}")
        self.bench.works()

    # The end of it.

    def hold(self):
        """The device is busy, and holds pages."""
        self.device.set(hold_ms=HOLD_MS)
        self.bench.load()
        self.bench.writes()
        expect(self.device.stat("pinned"), "nothing is held")

    def nothing_left(self, what):
        """No window, no pin."""
        wait_until(f"the device has no window {what}", self.config.patience,
                   lambda: not self.device.settings()["window"])
        self.bench.empty(what)

    def reset(self):
        """The guest boots anew, and gets its device back."""
        self.hold()
        host = self.bench.host
        host.vm.qmp.command("system_reset")
        # It takes longer to boot than to look.
        self.nothing_left("after a reset")
        locked = guest_vm.locked_kb(host.vm)
        expect(not locked, f"QEMU has {locked} kB locked")
        self.bench.shell.answer()
        self.works()

    def kill(self):
        """Nobody is left who could unmap anything."""
        self.hold()
        self.bench.host.vm.process.kill()
        self.bench.host.vm.process.wait()
        self.nothing_left("after QEMU was killed")


def play(values, results):
    """The guest, in memory; what it leaves goes to the results."""
    config = SimpleNamespace(**values, smp=1)
    config.append = f"{guest_vm.kernel_arguments(config)} mdma.commands=1 intel_iommu=on"
    with in_memory(config.shm, results, "*.commands") as directory:
        return Translated(config, directory).play()


def main(argv):
    """Run it; the exit code is 0 only if all is well."""
    results, values = arguments.read(__doc__, KEYS, argv)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    results.mkdir(parents=True, exist_ok=True)
    mdev.load_given(SimpleNamespace(**values))
    found = each("viommu", "translated", lambda _: play(values, results))
    return ktap.leave(found, results, "viommu")


if __name__ == "__main__":
    entry.run(main)
