# SPDX-License-Identifier: GPL-2.0-only
"""Another device, which comes to a guest while it runs, and goes."""

import time
from types import SimpleNamespace

from judge import proof
from play import guest_vm
from play.host import set_workload, wait_until, wait_writes, workload

# Its name in QEMU, and where it is plugged in.
NAME, PORT = "second", "below"
ROOT_PORT = ("-device", f"pcie-root-port,id={PORT},chassis=1")
# Pins that end only when they must.
HOLD_MS = 600_000
# Seconds without DMA after which the device counts as quiet.
QUIET_S = 1


def words(device, config, name=NAME):
    """The device, as -device takes it."""
    return ",".join(filter(None, (guest_vm.device(device, name), guest_vm.mapped_by(config)[1])))


def plug(vm, device, config, name=NAME):
    """Plug it in, at the port."""
    guest_vm.plug(vm.qmp, words(device, config, name), bus=PORT)


def begin(device, config):
    """The guest has given a device its window, which the workload begins to write."""
    wait_until(f"the guest gives {device.type} a window", config.patience,
               lambda: device.settings()["window"])
    set_workload(SimpleNamespace(mdev=device), workload(config), config.patience)
    wait_writes(device, config.patience)


def unplug(vm, device, window, patience):
    """Unplug a device while its workload writes: it has nothing pinned, does nothing more, and did
    nothing in the window of another one. Returns what is wrong.

    @window: the pages of that
    """
    # No run of the workload's ends by itself.
    device.set(hold_ms=HOLD_MS)
    wait_writes(device, patience)
    guest_vm.unplug(vm.qmp, NAME, patience)
    pinned, before = device.stat("pinned"), _work(device)
    astray = proof.parse_ledger(device.ledger(), "ledger").keys() & window
    time.sleep(QUIET_S)
    return [f"{pinned} pages of the device that is gone are pinned"] * bool(pinned) \
        + [f"it wrote {len(astray)} pages of another device's window"] * bool(astray) \
        + ["it goes on without a guest"] * (_work(device) != before)


def _work(device):
    return device.stat("seq"), device.stat("descriptors")
