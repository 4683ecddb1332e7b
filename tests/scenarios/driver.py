#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""The guest's driver, and what the device does when that driver dies.

The kernel's dmatest runs on all channels of a guest, while the host's workload writes the window
that the driver gave it. The test sends commands to the guest's shell, and watches the device from
outside. A second guest does the same with slub_debug=FZPU, which shows writes to memory that its
kernel has freed. In a third one, the device is behind a port and can be unplugged. In a fourth one,
handlers of interrupts are threads, and the channels share the function's line.

usage: driver.py --results DIR [key=value ...]        (as root; --help: keys)
"""

import signal
import sys
import time
from collections import namedtuple
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import SimpleNamespace

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "scripts/lab.d"))

# pylint: disable=wrong-import-position
from base import ktap, settings
from play import arguments, entry, guest_vm, mdev
from play.guest_bench import CHANNELS, LONG, QUIET_S, Bench
from play.guest_shell import BOOTED, GuestShell
from play.host import FAILURES, Host, in_memory, set_workload, wait_until, workload
from play.steps import TestError, expect

# What a run needs to have built, and for which settings (boot/scenario.py).
BUILDS = {"guest": ""}

# The kernel is the packed one. QEMU loads an ELF file at each reset, and waking from a suspend to
# RAM is one: the kernel that sleeps there would be overwritten. Nor does kexec take an ELF file.
KEYS = settings.keys(
    "type", "device", *settings.WORKLOAD, *settings.GUEST, type="mdma-4", mem_mb=256, window_mb=16,
    dirty_mb=1, kernel="guest/vmlinuz",
    own={
        "guests": settings.Words("plain,poisoned,plugged,threaded",
                                 "which guests; poisoned has slub_debug=FZPU, threaded threadirqs",
                                 ("plain", "poisoned", "plugged", "threaded")),
        "only": settings.Text("", "tests whose name begins so, by comma"),
        "transfers": settings.Number(
            100000, "of dmatest in all: memcpy and memset, by interrupt and polled", 1),
        "rebinds": settings.Number(3, "how often the driver is unbound under load"),
        "loads": settings.Number(25, "how often load begins and ends, in the guest poisoned"),
        "buf_size": settings.Number(4096, "of dmatest: bytes of a buffer", 1),
        "client_transfers": settings.Number(
            200, "of each client of mdma_load, four for each channel; in the guest poisoned, a "
                 "third of it", 1),
        "moves": settings.Number(2, "how often the guest is migrated under load", 1),
        "twice": settings.Number(1, "1: what poisoned tests, plain tests as well; 0: of that, only "
                                    "what depends on speed", 0, 1),
    })

# A million transfers may take hours on a slow machine.
TIMEOUT = 6 * 3600

# Of dmatest, on each channel; and clients of mdma_load.
THREADS, CLIENTS = 3, 4
# What a kexec boots, in the order of the guest's disks.
DISKS = ("kernel", "initrd")

# In the guest: PCI address of the device, and the bits of its command register.
SLOT = "slot=$(basename $DRIVER/*:*:*.*)"
COMMAND = "/sys/bus/pci/devices/$slot/config"
RESET = "echo 1 >/sys/bus/pci/devices/$slot/reset"
MEMORY, MASTER = 0x2, 0x4


# --- the tests --------------------------------------------------------------


def patience_of(bench):
    """Seconds to wait for the transfers of all clients of mdma_load."""
    config = bench.config
    return LONG * bench.patience + (CLIENTS * CHANNELS[config.type] * config.client_transfers
                                    * bench.transfer_seconds)


def dmatest_on_all_channels(bench):
    """All kinds of transfers, this many in all, without a failure."""
    channels = CHANNELS[bench.config.type]
    expect(bench.do("count_channels") == str(channels), "not all channels are there")
    count = -(-bench.config.transfers // (4 * channels))
    bench.transfers(count, bench.patience + count * channels * bench.transfer_seconds)
    bench.works()


def threads_on_each_channel(bench):
    """Several threads of dmatest share a channel, and wait for their interrupts. Not polled: there
    dmatest terminates all transfers of the channel after each."""
    bench.do(f"echo {THREADS} >$DMATEST/threads_per_chan; iterations=50; "
             f"channels=$(({THREADS} * $(count_channels))); echo $iterations >$DMATEST/iterations")
    try:
        for kind in (0, 1):
            bench.check(f"dmatest_round {kind} 0")
    finally:
        bench.do("echo 1 >$DMATEST/threads_per_chan")
    bench.works()


def rings_of_two(bench):
    """The smallest ring is full all the time."""
    bench.check("reload 2")
    try:
        bench.transfers(50)
        for name in (*LOAD, "unbound_under_load"):
            bench.check(f"load {name} {bench.config.client_transfers}", patience_of(bench))
        bench.check("client full_ring")
    finally:
        bench.check("reload 256")
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


@contextmanager
def shared_line(bench):
    """Meanwhile the function has no MSI-X, and all channels share its line."""
    bench.do(SLOT)
    rebind = ("echo 0 >$DMATEST/run; echo $slot >$DRIVER/unbind; "
              "echo {} >/sys/bus/pci/devices/$slot/msi_bus; echo $slot >$DRIVER/bind")
    bench.do(rebind.format(0))
    try:
        expect(bench.do("ls /sys/bus/pci/devices/$slot/msi_irqs 2>/dev/null; true") == "",
               "the function still has MSI-X")
        yield
    finally:
        bench.do(rebind.format(1))


def interrupts_by_line(bench):
    """Without MSI-X, the channels share the function's line, which is raised until each of them has
    acknowledged its interrupt."""
    with shared_line(bench):
        bench.transfers(50)
        bench.do(RESET)
        bench.transfers(5)
        # Nobody uses a channel now, so nothing raises the line.
        before = bench.do("grep mdma- /proc/interrupts")
        time.sleep(QUIET_S)
        expect(bench.do("grep mdma- /proc/interrupts") == before, "an interrupt does not end")
    bench.transfers(5)
    bench.works()


def reset_under_load(bench):
    """The function is reset while all channels work, as by a user: no transfer is lost, and the
    device has its window again."""
    bench.do(SLOT)
    for _ in range(bench.config.rebinds):
        bench.load()
        bench.writes()
        bench.do(RESET)
        bench.writes()
        bench.unload()
        bench.transfers(5)
        bench.works()


def pulled_out_under_load(bench):
    """The function does not answer any more, as if it had been pulled out: its registers read as
    ones. The kernel removes it. All clients come to an end. Then it is found again, and works."""
    bench.do(SLOT)
    bench.load()
    bench.writes()
    bench.do(f"printf '\\000' | dd of={COMMAND} bs=1 seek=4 conv=notrunc 2>/dev/null")
    bench.do("echo 1 >/sys/bus/pci/devices/$slot/remove")
    bench.quiet("by a function that was pulled out")
    bench.unload_unbound()
    bench.do("echo 1 >/sys/bus/pci/rescan")
    bench.check("reload 256")
    bench.transfers(5)
    bench.works()


def unplugged_under_load(bench):
    """The VMM takes the device away, and the guest lets it go; then it is plugged in anew."""
    qmp = bench.host.vm.qmp
    for _ in range(bench.config.rebinds):
        bench.load()
        bench.writes()
        guest_vm.unplug(qmp, "mdma", bench.patience)
        expect(not bench.mdev.stat("pinned"), "pages are pinned after the device was unplugged")
        bench.quiet("after the device was unplugged")
        bench.unload_unbound()
        guest_vm.plug(qmp, guest_vm.device(bench.mdev), bus=PORT)
        set_workload(bench.host, workload(bench.config), bench.patience)
        bench.do("while ! count_channels; do sleep 0.1; done")
        bench.check("reload 256")
        bench.transfers(5)
        bench.works()


def kexec_under_load(bench):
    """Another kernel takes over while the device works. Before it has a driver, the device does
    nothing in its memory; then it works."""
    bench.load()
    bench.writes()
    bench.shell.send("kexec_here")
    said, code = bench.shell.answer(LONG * bench.patience)
    expect((said, code) == ("", BOOTED), f"no other kernel: {said[-500:]}")
    expect("mdma.drivers=0" in bench.do("cat /proc/cmdline"), "the old kernel is still there")
    bench.empty("when another kernel had taken over")
    bench.do("load_drivers")
    bench.transfers(5)
    bench.works()


def migrated_under_load(bench):
    """The guest moves while dmatest runs, and while many clients share the channels."""
    for _ in range(bench.config.moves):
        bench.load()
        bench.writes()
        bench.move()
        bench.writes()
        bench.check(f"end_load {bench.config.client_transfers}", patience_of(bench))
        bench.check("check_log")
        bench.check("begin_clients shared_channels")
        bench.writes()
        bench.move()
        bench.writes()
        bench.check(f"end_clients {bench.config.client_transfers}", patience_of(bench))
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
    """Suspended under load, the device is quiet; afterwards everything continues.

    @wake: called when the device has lost its window, with the time before the suspend
    """
    modes = bench.do("cat /sys/power/mem_sleep")
    expect(mode in modes, f"the guest can't: {modes}")
    bench.do(f"echo {mode} >/sys/power/mem_sleep")
    bench.load()
    bench.writes()
    begin = time.monotonic()
    bench.shell.send("echo mem >/sys/power/state")
    wait_until("the device lost its window", bench.patience,
               lambda: not bench.mdev.settings()["window"])
    wake(begin)
    said, code = bench.shell.answer()
    expect(code == 0, f"suspend failed: {said}")
    bench.writes()
    time.sleep(QUIET_S)
    bench.unload()
    bench.transfers(5)
    bench.works()


def suspend_to_ram(bench):
    """The device loses its power, and so its whole state."""
    def wake(_):
        wait_until("the guest sleeps", bench.patience, lambda: bench.host.vm.qmp.command(
            "query-status")["status"] == "suspended")
        bench.empty("while the guest sleeps")
        bench.host.vm.qmp.command("system_wakeup")

    suspend(bench, "deep", wake)


def suspend_of_devices(bench):
    """The device keeps its power; the kernel's own test wakes it after some seconds. A look that
    comes later says nothing: then it sleeps once more, and longer."""
    seconds, seen = 5, False
    while not seen:
        bench.do("echo devices >/sys/power/pm_test; "
                 f"echo {seconds} >/sys/module/suspend/parameters/pm_test_delay")
        try:
            seen = sleeps_for(bench, seconds)
        finally:
            bench.do("echo none >/sys/power/pm_test")
        seconds *= 2


def sleeps_for(bench, seconds):
    """The devices sleep for so long. Returns whether they were seen in time to be quiet."""
    seen = False

    def look(begin):
        nonlocal seen
        wrong = None
        try:
            bench.empty("while the guest sleeps")
        except TestError as err:
            wrong = err
        seen = time.monotonic() < begin + seconds
        if seen and wrong:
            raise wrong

    suspend(bench, "s2idle", look)
    return seen


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
        bench.one_transfer()
        bench.works()
    test.__name__ = f"client_{name}"
    return test


def load(name):
    """Run a test of tests/guest-client/mdma_load.c: many clients at the same time."""
    def test(bench):
        bench.check(f"load {name} {bench.config.client_transfers}", patience_of(bench))
        bench.one_transfer()
        bench.works()
    test.__name__ = f"load_{name}"
    return test


def handlers_are_threads(bench):
    """With threadirqs, the thread of the driver's handler has a second thread."""
    bench.do("grep -q s-mdma /proc/[0-9]*/comm")


def line(test):
    """Run a test while the channels share the line."""
    def on_line(bench):
        with shared_line(bench):
            test(bench)
    on_line.__name__ = f"line_{test.__name__}"
    return on_line


CLIENT = ("status_of_each", "restart_forgets", "halt_beside_completion", "full_ring",
          "terminate_in_callback", "callback_without_interrupt", "unbound_while_held",
          "synchronize_in_removal", "released_in_callback", "end_is_unmapped",
          "reset_before_bus_master", "shutdown_is_quiet", "resume_continues", "suspended_is_quiet",
          "thread_after_suspend", "callback_at_suspend", "reset_continues", "error_recovers",
          "resume_fails", "window_refused_by_resume", "window_refused_by_reset",
          "lost_is_no_master")

LOAD = ("shared_channels", "several_channels", "overlapping_buffers", "terminate_at_any_time")

LOADS = tuple(map(load, (*LOAD, "unbound_under_load")))

TESTS = (dmatest_on_all_channels, threads_on_each_channel, *map(client, CLIENT), *LOADS,
         rings_of_two, rebind_under_load, interrupts_by_line, module_in_use_stays,
         bus_master_off_and_on, reset_under_load, pulled_out_under_load, suspend_of_devices,
         suspend_to_ram, migrated_under_load, kexec_under_load, guest_crashes, qemu_is_killed)
# Its kernel is slower, and the last tests leave no memory to check.
POISONED_TESTS = (load_ends_before_its_memory, *TESTS[:-3])
PLUGGED_TESTS = (unplugged_under_load,)
# Where a handler that is a thread may come too late, or not at all.
LINE = ("client_callback_without_interrupt", "client_callback_at_suspend",
        "client_error_recovers", "pulled_out_under_load", "suspend_of_devices")
THREADED_TESTS = (handlers_are_threads, interrupts_by_line,
                  *(line(test) for test in TESTS if test.__name__ in LINE))
# What is more likely to show something at full speed, and what poisoned has not.
FAST_TESTS = (dmatest_on_all_channels, *LOADS, migrated_under_load, *TESTS[-3:])

# A port for a device that is unplugged.
PORT = "below"

Guest = namedtuple("Guest", "words tests share client_share after qemu properties")
Guest.__doc__ = """A guest, and what is tried on it.

@words: for its kernel's command line
@tests: which tests
@share: of the transfers that dmatest must do in all, one in so many
@client_share: the same of those of each client of mdma_load
@after: in its shell, after each test
@qemu: more words for its QEMU
@properties: more properties of the device
"""
GUESTS = {
    "plain": Guest("", TESTS, 1, 1, "", (), ""),
    "poisoned": Guest("slub_debug=FZPU", POISONED_TESTS, 20, 3, "check_freed", (), ""),
    "plugged": Guest("", PLUGGED_TESTS, 1, 1, "",
                     ("-device", f"pcie-root-port,id={PORT},chassis=1"), f"bus={PORT}"),
    "threaded": Guest("threadirqs", THREADED_TESTS, 1, 1, "", (), ""),
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
        tests = FAST_TESTS if name == "plain" and not config.twice else GUESTS[name].tests
        chosen = [test for test in tests
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
                              "transfers": config.transfers // guest.share,
                              "client_transfers": max(1, config.client_transfers
                                                      // guest.client_share)})


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
    results, begin, guest = [], time.monotonic(), GUESTS[name]
    with ExitStack() as stack:
        devices = [stack.enter_context(mdev.Mdev(config.type)) for _ in range(2)]
        drives = [word for name in DISKS for word in (
            "-drive", f"if=none,id={name},format=raw,readonly=on,file={getattr(config, name)}")]

        def host(device, **more):
            return Host(config, directory, device, commands=True,
                        before=[*guest.qemu, *drives], properties=guest.properties,
                        beside=[f"virtio-blk-pci,drive={name}" for name in DISKS], **more)

        def other(device):
            return host(devices[device is devices[0]], incoming=True, paused=False)

        here = host(devices[0])
        stack.callback(here.close)
        # Connect at once, or the guest's first answer is lost.
        bench = Bench(here, GuestShell(here.vm, config.patience), config, other)
        stack.callback(bench.close)
        bench.shell.answer()
        here.vm.connect()
        set_workload(bench.host, workload(config), config.patience)
        for test in config.chosen[name]:
            title, reason = f"{name}: {test.__name__}", try_on(bench, test, guest.after)
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
    mdev.load_given(config)
    found = []
    for name in config.chosen:
        found += play_in_memory(name, config, results)
    code = ktap.leave(found, results, "driver")
    return code or int(len(found) != sum(map(len, config.chosen.values())))


if __name__ == "__main__":
    entry.run(main)
