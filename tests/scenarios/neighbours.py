#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""A guest with more than one device: two of mdma, and a NIC on vfio-pci.

One guest uses MSI-X, another one, which may not use it, the INTx line. In each, the kernel's
dmatest runs on all channels while the workload writes both windows; lspci in the guest must find
the intended functions; and one device's driver goes and returns while the other one works.

usage: neighbours.py --results DIR [key=value ...]        (as root; --help: keys)
"""

import re
import shutil
import signal
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "scripts/lab.d"))

# pylint: disable=wrong-import-position
from base import initramfs, ktap, settings
from judge import moves, proof
from play import arguments, entry, guest_vm, mdev, more_initramfs
from play.guest_bench import CHANNELS, Devices
from play.guest_shell import GuestShell
from play.host import FAILURES, Host, in_memory, set_workload, wait_until, workload
from play.steps import TestError, expect

# What a run needs to have built, and for which settings (boot/scenario.py).
BUILDS = {"guest": "", "nic": ""}

KEYS = settings.keys(
    *settings.WORKLOAD, *settings.GUEST, rate=100, mem_mb=160, window_mb=8, dirty_mb=0,
    own={
        "guests": settings.Words("msix,line", "how the guest is interrupted, a guest each",
                                 ("msix", "line")),
        "transfers": settings.Number(20, "of dmatest, each kind and channel", 1),
    })

TYPES = ("mdma-1", "mdma-4")
NIC_DRIVER = Path("/sys/bus/pci/drivers/vfio-pci")
LSPCI = "/lspci/run"

# Patterns that lspci -vvv must print in the guest for each mdma device.
FUNCTION = (
    r"^\S+ 0880: 1234:6d64 \(rev 01\)",
    r"Subsystem: 1234:6d64",
    r"Control: I/O- Mem\+ BusMaster\+ ",
    r"Status: Cap\+ .*<TAbort- <MAbort-",
    r"Region 0: Memory at [0-9a-f]{8} \(32-bit, non-prefetchable\) \[size=16K\]",
    r"Interrupt: pin A routed to IRQ \d+",
    r"Capabilities: \[40\] MSI-X: Enable(?P<msix>[+-]) Count=(?P<count>\d+) Masked-",
    r"Vector table: BAR=0 offset=00002000",
    r"PBA: BAR=0 offset=00003000",
    r"Capabilities: \[4c\] PCI Advanced Features",
    r"AFCap: TP\+ FLR\+",
    r"Kernel driver in use: mdma_guest",
)


# --- what the guest gets besides its own initramfs ---------------------------


def _libraries(program):
    """Files that the dynamic loader needs for a program, including itself."""
    text = subprocess.run(["ldd", program], capture_output=True, text=True, check=True).stdout
    return [Path(name) for name in re.findall(r"(/\S+) \(0x", text)]


def extended(config, directory):
    """The path of an initramfs that also has lspci and the NIC's driver."""
    archive = initramfs.Cpio()
    lspci = Path(shutil.which("lspci")).resolve()
    for path in (lspci, *_libraries(lspci)):
        archive.file(f"lspci/{path.name}", path.read_bytes(), 0o755)
    loader = next(path.name for path in _libraries(lspci) if path.name.startswith("ld-"))
    archive.file(LSPCI, f'#!/bin/sh\nexec /lspci/{loader} --library-path /lspci '
                        f'/lspci/{lspci.name} "$@"\n'.encode(), 0o755)
    more_initramfs.add_modules(archive, "nic", ["e1000e"])
    return more_initramfs.write(config, archive, directory)


# --- the guest ----------------------------------------------------------------


class Bench(Devices):
    """A guest with its devices, and perhaps a NIC."""

    def __init__(self, host, shell, config, mdevs, nic):
        super().__init__(host, shell, config, mdevs)
        self.nic = nic

    def interrupts(self):
        """{name of a channel: (how often, kind)} from /proc/interrupts; channels that share a line
        have one entry."""
        found = {}
        for line in self.do("grep mdma- /proc/interrupts").splitlines():
            count, kind, names = re.match(r"\s*\d+:\s+(\d+)\s+(\S+)\s+\S+\s+(.*)", line).groups()
            for name in names.split(", "):
                if name.startswith("mdma-"):
                    found[name] = int(count), kind
        return found


# --- the tests ----------------------------------------------------------------


def all_channels_of_both(bench, kind):
    """dmatest runs on both devices at once, and each channel gets interrupts of its own device."""
    total = bench.channels()
    bench.transfers()
    bench.both_write()
    bench.check("check_window")
    told = bench.interrupts()
    expect(len(told) == total, f"{sorted(told)}: not {total} channels")
    want = "PCI-MSIX" if kind == "msix" else "IO-APIC"
    for name, (count, how) in told.items():
        expect(how.startswith(want), f"{name} is on {how}, not {want}")
        expect(count, f"{name}: no interrupt")


def each_writes_its_own_window(bench, _):
    """Guest memory holds what the device of that window wrote."""
    vm = bench.host.vm
    vm.qmp.command("stop")
    try:
        windows = [moves.window_pages(one.settings()["window"]) for one in bench.mdevs]
        expect(not windows[0] & windows[1], "the windows overlap")
        for one, own, others in zip(bench.mdevs, windows, reversed(windows)):
            ledger = proof.parse_ledger(one.ledger(), "ledger")
            expect(not set(ledger) & others, f"{one.type} wrote the other one's window")
            written = moves.Written()
            written.add(ledger)
            with vm.open_ram() as memory:
                wrong = written.missing(memory, own)
            expect(not wrong, f"{one.type}: {'; '.join(wrong)}")
    finally:
        vm.qmp.command("cont")
    bench.both_write()


def lspci_in_the_guest(bench, kind):
    """Each function is the intended one, has a driver, and as many vectors as channels."""
    for one, slot in zip(bench.mdevs, bench.slots()):
        text = bench.do(f"{LSPCI} -vvv -n -k -s {slot}")
        found = {}
        for pattern in FUNCTION:
            match = re.search(pattern, text, re.MULTILINE)
            expect(match, f"no '{pattern}' in:\n{text}")
            found.update(match.groupdict())
        expect(found["count"] == str(CHANNELS[one.type]), f"{found['count']} vectors")
        expect(found["msix"] == ("+" if kind == "msix" else "-"), f"MSI-X: {found['msix']}")
        expect(("DisINTx+" in text) == (kind == "msix"), f"INTx is wrong in:\n{text}")


def nic_beside(bench, _):
    """The NIC, for which the IOMMU translates, works in the same container."""
    bench.do(more_initramfs.load_modules("nic"))
    text = bench.do(f"{LSPCI} -vvv -n -k -d 8086:10d3")
    expect("Kernel driver in use: e1000e" in text, f"no driver has the NIC:\n{text}")
    address = bench.do("cat /sys/class/net/*/address | grep -v 00:00:00:00:00:00")
    expect(re.fullmatch(r"(?:[0-9a-f]{2}:){5}[0-9a-f]{2}", address), f"address {address}")
    bench.do("ip link set $(ls /sys/class/net | grep -v lo) up")
    bench.transfers()
    bench.both_write()


def one_goes_and_comes(bench, _):
    """One device loses its driver, and is quiet; the other one is not affected."""
    for one, slot in zip(bench.mdevs, bench.slots()):
        other = next(device for device in bench.mdevs if device is not one)
        bench.do(f"echo {slot} >$DRIVER/unbind")
        expect(not one.settings()["window"], f"{one.type} keeps its window")
        wait_until("nothing is pinned", bench.config.patience,
                   lambda one=one: not one.stat("pinned"))
        seq = one.stat("seq")
        bench.transfers(CHANNELS[other.type])
        expect(one.stat("seq") == seq, f"{one.type} writes without a driver")
        bench.do(f"echo {slot} >$DRIVER/bind")
        bench.both_write()
    bench.check("check_window")


TESTS = (all_channels_of_both, each_writes_its_own_window, lspci_in_the_guest, nic_beside,
         one_goes_and_comes)


# --- the run ------------------------------------------------------------------


def find_nic():
    """PCI address of a NIC that vfio-pci has, or None."""
    return next((path.name for path in sorted(NIC_DRIVER.glob("*:*:*.*"))
                 if (path / "device").read_text().strip() == "0x10d3"), None)


def start(config, directory, stack):
    """The guest, with two mdma devices and the NIC, if there is one."""
    mdevs = [stack.enter_context(mdev.Mdev(one)) for one in TYPES]
    nic = find_nic()
    beside = [f"vfio-pci,sysfsdev={mdevs[1].path},enable-migration=on"]
    if nic:
        beside.append(f"vfio-pci,host={nic}")
    host = Host(config, directory, mdevs[0], commands=True, beside=beside)
    stack.callback(host.close)
    # Connect at once, or the guest's first answer is lost.
    shell = GuestShell(host.vm, config.patience)
    stack.callback(shell.close)
    shell.answer()
    host.vm.connect()
    for one in mdevs:
        set_workload(SimpleNamespace(mdev=one),
                     workload(config), config.patience)
    return Bench(host, shell, config, mdevs, nic)


def play(kind, config, directory):
    """One guest, all tests. Returns results."""
    results, begin = [], time.monotonic()
    config = SimpleNamespace(**vars(config), smp=1, append=guest_vm.kernel_arguments(config)
                             + " mdma.commands=1" + (" pci=nomsi" if kind == "line" else ""))
    config.initrd = extended(config, directory)
    with ExitStack() as stack:
        bench = start(config, directory, stack)
        print(f"neighbours: {time.monotonic() - begin:6.1f} s  {kind}: guest is up", flush=True)
        for test in TESTS:
            name, state, reason = f"{kind}: {test.__name__}", ktap.PASSED, ""
            if test is nic_beside and not bench.nic:
                state, reason = ktap.SKIPPED, f"no NIC on {NIC_DRIVER.name}"
            else:
                try:
                    test(bench, kind)
                    bench.check("check_log")
                except (TestError, *FAILURES) as err:
                    state, reason = ktap.FAILED, f"{type(err).__name__}: {err}"
                    bench.shell.drain()
            results.append(ktap.Result(name, state, reason))
            print(f"neighbours: {time.monotonic() - begin:6.1f} s  {name}: "
                  f"{reason or 'ok'}", flush=True)
    return results


def main(argv):
    """Run it; the exit code is 0 only if all is well."""
    results, values = arguments.read(__doc__, KEYS, argv)
    config = SimpleNamespace(**values)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    results.mkdir(parents=True, exist_ok=True)
    found = []
    for kind in config.guests.split(","):
        with in_memory(config.shm, results / kind, "*.commands", "initramfs") as directory:
            try:
                found += play(kind, config, directory)
            except FAILURES as err:
                print(f"neighbours: {kind}: {type(err).__name__}: {err}", flush=True)
                found.append(ktap.Result(f"{kind}: the guest comes up", ktap.FAILED, str(err)))
    return ktap.leave(found, results, "neighbours")


if __name__ == "__main__":
    entry.run(main)
