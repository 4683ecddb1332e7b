#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""The guest's driver, and what the device does when that driver dies.

The kernel's dmatest runs on all channels of a guest, while the host's workload writes the window
that the driver gave it. The test sends commands to the guest's shell, and watches the device from
outside. A second guest does the same with slub_debug=FZPU, which shows writes to memory that its
kernel has freed.

usage: driver.py --results DIR [key=value ...]        (as root; --help: keys)
"""

import signal
import sys
import time
from collections import namedtuple
from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "scripts/lab.d"))

# pylint: disable=wrong-import-position
from base import ktap, settings
from play import arguments, guest_vm, mdev
from play.guest_shell import GuestShell
from play.host import FAILURES, Host, in_memory, set_workload, wait_until, workload

# What a run needs to have built, and for which settings (boot/scenario.py).
BUILDS = {"guest": ""}

KEYS = settings.keys(
    "type", *settings.WORKLOAD, *settings.GUEST, type="mdma-4", mem_mb=160, window_mb=16,
    dirty_mb=1,
    own={
        "guests": settings.Words("plain,poisoned", "which guests; poisoned has slub_debug=FZPU",
                                 ("plain", "poisoned")),
        "only": settings.Text("", "tests whose name begins so, by comma"),
        "transfers": settings.Number(
            100000, "of dmatest in all: memcpy and memset, by interrupt and polled", 1),
        "rebinds": settings.Number(3, "how often the driver is unbound under load"),
        "loads": settings.Number(25, "how often load begins and ends, in the guest poisoned"),
        "buf_size": settings.Number(4096, "of dmatest: bytes of a buffer", 1),
        "device": settings.File("", "an mdma.ko to run this on; default: the installed one"),
    })

# Seconds without DMA after which the device counts as quiet.
QUIET_S = 1
CHANNELS = {"mdma-1": 1, "mdma-4": 4, "mdma-16": 16}

# In the guest: PCI address of the device, and the bits of its command register.
SLOT = "slot=$(basename $DRIVER/*:*:*.*)"
COMMAND = "/sys/bus/pci/devices/$slot/config"
MEMORY, MASTER = 0x2, 0x4


class TestError(Exception):
    """A test fails; the text says why."""


def expect(condition, text):
    """Fail with this text unless @condition."""
    if not condition:
        raise TestError(text)


class Bench:
    """The guest, its device, and what the tests do with both."""

    def __init__(self, host, shell, config):
        self.host, self.shell, self.config = host, shell, config
        self.mdev, self.patience = host.mdev, config.patience

    def do(self, line, patience=None):
        """Run a command in the guest, which must succeed. Returns its output."""
        said, code = self.shell.run(line, patience)
        expect(code == 0, f"the guest's '{line}' ended with {code}: {said[-500:]}")
        return said

    def check(self, line, patience=None):
        """Run a command in the guest that prints only what is wrong."""
        said, _ = self.shell.run(line, patience)
        expect(not said, said[-1000:])

    def transfers(self, count, patience=None):
        """Make so many transfers on each channel, of each kind; all must succeed."""
        self.do(f"iterations={count}; channels=$(count_channels)")
        self.do("echo $iterations >$DMATEST/iterations")
        for kind in (0, 1):
            for polled in (0, 1):
                self.check(f"dmatest_round {kind} {polled}", patience)

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

    def works(self):
        """The window is there, the workload writes it, and the guest accepts what it finds in
        it."""
        wait_until("a window", self.patience, lambda: self.mdev.settings()["window"])
        self.writes()
        self.check("check_window")

    def writes(self):
        """The device continues to write."""
        seq = self.mdev.stat("seq")
        wait_until("the device writes", self.patience, lambda: self.mdev.stat("seq") > seq)

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


# --- the tests --------------------------------------------------------------


def dmatest_on_all_channels(bench):
    """All kinds of transfers, this many in all, without a failure."""
    channels = CHANNELS[bench.config.type]
    expect(bench.do("count_channels") == str(channels), "not all channels are there")
    count = -(-bench.config.transfers // (4 * channels))
    bench.transfers(count, bench.patience + count * channels / 10)
    bench.works()


def load_ends_before_its_memory(bench):
    """Load begins and ends, again and again; nothing is written to memory that was freed then."""
    for _ in range(bench.config.loads):
        bench.load()
        bench.writes()
        bench.unload()
        bench.do("check_freed")
        bench.check("check_log")


def module_in_use_stays(bench):
    """A driver whose channels are used can't be unloaded. Afterwards it can, and comes back."""
    bench.load()
    _, code = bench.shell.run("rmmod mdma_guest")
    expect(code, "the driver was unloaded under load")
    bench.unload()
    bench.do("rmmod dmatest && rmmod mdma_guest")
    bench.empty("without a driver")
    bench.do("load_drivers")
    bench.works()


def rebind_under_load(bench):
    """The driver is unbound while all channels work: the device is quiet at once, and works when
    it is bound again."""
    bench.do(SLOT)
    for _ in range(bench.config.rebinds):
        bench.load()
        bench.writes()
        bench.do("echo $slot >$DRIVER/unbind")
        bench.empty("after the driver was unbound")
        bench.unload_unbound()
        bench.check("echo $slot >$DRIVER/bind || dmesg | tail -n 5")
        bench.transfers(5)
        bench.works()


def bus_master_off_and_on(bench):
    """Without bus mastering, the function does no DMA; it continues when that is on again."""
    bench.do(SLOT)
    bench.load()
    bench.writes()
    write = f"dd of={COMMAND} bs=1 seek=4 conv=notrunc 2>/dev/null"
    bench.do(f"printf '\\{MEMORY:03o}' | {write}")
    try:
        bench.quiet("by a function that is no bus master")
    finally:
        bench.do(f"printf '\\{MEMORY | MASTER:03o}' | {write}")
    bench.writes()
    bench.unload()
    bench.transfers(5)
    bench.works()


def suspend(bench, mode, wake):
    """Suspended under load, the device is quiet; afterwards everything continues."""
    modes = bench.do("cat /sys/power/mem_sleep")
    expect(mode in modes, f"the guest can't: {modes}")
    bench.do(f"echo {mode} >/sys/power/mem_sleep")
    bench.load()
    bench.writes()
    bench.shell.send("echo mem >/sys/power/state")
    wait_until("the device lost its window", bench.patience,
               lambda: not bench.mdev.settings()["window"])
    wake(bench)
    said, code = bench.shell.answer()
    expect(code == 0, f"suspend failed: {said}")
    bench.writes()
    time.sleep(QUIET_S)
    bench.unload()
    bench.transfers(5)
    bench.works()


def suspend_to_ram(bench):
    """The device loses its power, and so its whole state."""
    def wake(bench):
        wait_until("the guest sleeps", bench.patience, lambda: bench.host.vm.qmp.command(
            "query-status")["status"] == "suspended")
        bench.empty("while the guest sleeps")
        bench.host.vm.qmp.command("system_wakeup")

    suspend(bench, "deep", wake)


def suspend_of_devices(bench):
    """The device keeps its power; the kernel's own test wakes it after 5 s."""
    bench.do("echo devices >/sys/power/pm_test")
    try:
        suspend(bench, "s2idle", lambda bench: bench.empty("while the guest sleeps"))
    finally:
        bench.do("echo none >/sys/power/pm_test")


def guest_crashes(bench):
    """The guest panics and reboots: the device is like a new one, and works."""
    bench.load()
    bench.writes()
    bench.shell.send("echo c >/proc/sysrq-trigger")
    wait_until("the device lost its window", bench.patience,
               lambda: not bench.mdev.settings()["window"])
    bench.empty("after the guest crashed")
    bench.shell.answer()
    bench.transfers(5)
    bench.works()


def qemu_is_killed(bench):
    """Nothing of QEMU's is left. This is the last test, since the guest is gone then."""
    bench.load()
    bench.writes()
    bench.host.vm.process.kill()
    bench.host.vm.process.wait()
    bench.quiet("after QEMU was killed")
    expect(not bench.mdev.stat("pinned"), "pages are pinned after QEMU was killed")


def client(name):
    """Run a test of tests/guest-client: a client that does what dmatest does not."""
    def test(bench):
        bench.check(f"client {name} 2>&1")
        bench.transfers(1)
        bench.works()
    test.__name__ = f"client_{name}"
    return test


CLIENT = ("status_of_each", "halt_beside_completion", "full_ring", "terminate_in_callback",
          "unbound_while_held", "synchronize_in_removal", "reset_before_bus_master",
          "shutdown_is_quiet", "resume_fails")

TESTS = (dmatest_on_all_channels, *map(client, CLIENT), rebind_under_load, module_in_use_stays,
         bus_master_off_and_on, suspend_of_devices, suspend_to_ram, guest_crashes, qemu_is_killed)
# Its kernel is slower, and the last two tests leave no memory to check.
POISONED_TESTS = (load_ends_before_its_memory, *TESTS[:-2])

Guest = namedtuple("Guest", "words tests share after")
Guest.__doc__ = """A guest, and what is tried on it.

@words: for its kernel's command line
@tests: which tests
@share: of the transfers that dmatest must do in all, one in so many
@after: in its shell, after each test
"""
GUESTS = {
    "plain": Guest("", TESTS, 1, ""),
    "poisoned": Guest("slub_debug=FZPU", POISONED_TESTS, 20, "check_freed"),
}


# --- the run ----------------------------------------------------------------


def configuration(values):
    """Settings as a namespace; those that can't work are an error. `chosen` has the name of each
    guest to be booted, and its tests."""
    config = SimpleNamespace(**values, smp=1, chosen={})
    config.append = (f"{guest_vm.kernel_arguments(config)} mdma.commands=1 "
                     f"mdma.buf_size={config.buf_size}")
    words = [word for word in config.only.split(",") if word]
    for name in config.guests.split(","):
        chosen = [test for test in GUESTS[name].tests
                  if not words or any(test.__name__.startswith(word) for word in words)]
        if chosen:
            config.chosen[name] = chosen
    if not config.chosen:
        tests = dict.fromkeys(test.__name__ for one in GUESTS.values() for test in one.tests)
        raise SystemExit("driver: no such test; there are: " + " ".join(tests))
    return config


def of_guest(config, name):
    """The settings of one guest."""
    guest = GUESTS[name]
    return SimpleNamespace(**{**vars(config), "append": f"{config.append} {guest.words}",
                              "transfers": config.transfers // guest.share})


def try_on(bench, test, after):
    """Run a test, then check the log of the guest's kernel. Returns what is wrong."""
    try:
        test(bench)
        if bench.host.vm.alive():
            if after:
                bench.do(after)
            bench.check("check_log")
        return ""
    except (TestError, *FAILURES) as err:
        bench.shell.drain()
        return f"{type(err).__name__}: {err}"


def play(name, config, directory):
    """Boot a guest, and run its tests until one loses the guest. Returns results."""
    results, begin = [], time.monotonic()
    with ExitStack() as stack:
        device = stack.enter_context(mdev.Mdev(config.type))
        host = Host(config, directory, device, commands=True)
        stack.callback(host.close)
        # Connect at once, or the guest's first answer is lost.
        shell = GuestShell(host.vm, config.patience)
        stack.callback(shell.close)
        shell.answer()
        host.vm.connect()
        bench = Bench(host, shell, config)
        set_workload(host, workload(config), config.patience)
        for test in config.chosen[name]:
            title, reason = f"{name}: {test.__name__}", try_on(bench, test, GUESTS[name].after)
            state = ktap.FAILED if reason else ktap.PASSED
            results.append(ktap.Result(title, state, reason))
            print(f"driver: {time.monotonic() - begin:6.1f} s  {title}: "
                  f"{reason or 'ok'}", flush=True)
    return results


def play_in_memory(name, config, results):
    """The same with the guest in memory; its files go to the results."""
    with in_memory(config.shm, results / name, "*.commands") as directory:
        try:
            return play(name, of_guest(config, name), directory)
        except FAILURES as err:
            print(f"driver: {name}: {type(err).__name__}: {err}", flush=True)
            return [ktap.Result(f"{name}: the guest comes up", ktap.FAILED, str(err))]


def main(argv):
    """Run it; the exit code is 0 only if all is well."""
    results, values = arguments.read(__doc__, KEYS, argv)
    config = configuration(values)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    results.mkdir(parents=True, exist_ok=True)
    if config.device:
        mdev.load(config.device)
    found = []
    for name in config.chosen:
        found += play_in_memory(name, config, results)
    code = ktap.leave(found, results, "driver")
    return code or int(len(found) != sum(map(len, config.chosen.values())))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
