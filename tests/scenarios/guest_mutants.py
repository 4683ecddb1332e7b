#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""The tests of the scenario driver on mutants of the guest's driver: one of them must fail.

scripts/lab.d/check/mutant_guest.py leaves a plan beside the modules: for each mutant, the tests.
First, all of these tests must pass without a mutant; how long each takes then says how long to wait
for anything later. One guest tries many mutants: all of them are in its initramfs, and the one that
is tried takes the place of the driver. Afterwards the driver itself must work again; if it does
not, there is a new guest for the next mutant. The guest's kernel marks freed memory
(slub_debug=FZPU), so that it notices writes to it. Tests that only driver's guest threaded has need
a guest like that. The verdict on a mutant goes to NAME.json at once.

A failed test kills a mutant. If the guest does not answer, that is doubtful: the driver itself must
then work in a new guest, and the mutant must fail once more there.

usage: guest_mutants.py --results DIR [key=value ...]        (as root; --help: keys)
"""

import json
import signal
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "scripts/lab.d"))

# pylint: disable=wrong-import-position
import driver
from base import initramfs, settings, site
from play import arguments, entry, guest_vm, mdev, more_initramfs
from play.guest_bench import Bench
from play.guest_shell import GuestShell
from play.host import FAILURES, Host, in_memory, set_workload, workload
from play.steps import TestError

# What a run needs to have built, and for which settings (boot/scenario.py).
BUILDS = {"guest": ""}

# The kernel is the packed one, as in driver.py: guests are suspended to RAM.
KEYS = settings.keys(
    "type", *settings.WORKLOAD, *settings.GUEST, type="mdma-4", mem_mb=160, window_mb=16,
    dirty_mb=1, kernel="guest/vmlinuz",
    own={
        "plan": settings.File("mutant/plan.json", "which mutants, and which tests"),
        "transfers": settings.Number(1600, "of dmatest in all, for the test with dmatest", 1),
        "rebinds": settings.Number(1, "how often the driver is unbound under load"),
        "loads": settings.Number(2, "how often load begins and ends"),
        "buf_size": settings.Number(4096, "of dmatest: bytes of a buffer", 1),
        "client_transfers": settings.Number(200, "of each client of mdma_load", 1),
        "timeout_ms": settings.Number(5000, "of dmatest: how long it waits for a transfer", 1),
    })

THREADED = {test.__name__: test for test in driver.THREADED_TESTS
            if test not in driver.POISONED_TESTS}
TESTS = {**THREADED, **{test.__name__: test for test in driver.POISONED_TESTS}}
# A test that waits longer than this without a verdict has failed: so many times what the whole test
# takes without a mutant, and some seconds more.
TIMES, MORE_SECONDS = 5, 20
# In the guest. Without a driver, its init would end it.
FUNCTIONS = """\
die() { echo "$*"; }
MODULE=/lib/modules/$(uname -r)/mdma_guest.ko
cp $MODULE /original.ko
swap() { rmmod dmatest 2>/dev/null; rmmod mdma_guest && cp $1 $MODULE; check_log; load_drivers; }
"""


def extended(config, names, directory):
    """The path of an initramfs that also has the mutants."""
    archive = initramfs.Cpio()
    for name in names:
        archive.file(f"mutants/{name}.ko",
                     Path(site.built(f"mutant/{name}/mdma_guest.ko")).read_bytes())
    return more_initramfs.write(config, archive, directory)


def words_for(names):
    """What the command line of a guest's kernel must have for these tests."""
    return driver.GUESTS["threaded"].words if THREADED.keys() & set(names) else ""


class Guest:
    """A guest that swaps its driver."""

    def __init__(self, config, directory, device, words):
        self.config = SimpleNamespace(**{**vars(config), "append": f"{config.append} {words}"})
        with ExitStack() as stack:
            host = Host(self.config, directory, device, commands=True)
            stack.callback(host.close)
            shell = GuestShell(host.vm, config.patience)
            stack.callback(shell.close)
            shell.answer()
            host.vm.connect()
            self.bench = Bench(host, shell, self.config)
            # How long a test may take is known, see test().
            self.bench.transfer_seconds = 0
            set_workload(host, workload(config), config.patience)
            for line in FUNCTIONS.splitlines():
                self.bench.do(line)
            self.close = stack.pop_all().close

    def swap(self, path):
        """Exchange the driver. Returns what is wrong, or nothing."""
        def load(bench):
            bench.check(f"swap {path} 2>&1")
        return driver.try_on(self.bench, load, "")

    def test(self, name, patience):
        """Run a test. Returns what is wrong, or nothing."""
        shell, bench = self.bench.shell, self.bench
        before = shell.patience
        shell.patience = bench.patience = patience
        try:
            return driver.try_on(bench, TESTS[name], "check_freed")
        finally:
            shell.patience = bench.patience = before

    def sound(self):
        """Whether the driver itself works again."""
        def work(bench):
            bench.transfers(1)
            bench.works()
        return self.bench.host.vm.alive() and not self.swap("/original.ko") \
            and not driver.try_on(self.bench, work, "check_freed")


class Guests:
    """The guest that is there, or a new one."""

    def __init__(self, config, directory, device):
        self.make = lambda words: Guest(config, directory, device, words)
        self.guest, self.words = None, ""

    def get(self, words):
        """A guest whose driver works, with these words on its kernel's command line."""
        if words != self.words:
            self.drop()
        self.guest, self.words = self.guest or self.make(words), words
        return self.guest

    def drop(self):
        """End the guest, if there is one."""
        if self.guest:
            self.guest.close()
        self.guest = None


def baseline(guest, wanted):
    """Run tests without a mutant. Returns how long each takes, or None if one fails."""
    seconds = {}
    if not guest.sound():
        print("guest_mutants: the driver can't be exchanged for itself", flush=True)
        return None
    for name in wanted:
        begin = time.monotonic()
        wrong = guest.test(name, guest.config.patience)
        seconds[name] = time.monotonic() - begin
        print(f"guest_mutants: without a mutant: {name}: {wrong or 'ok'}, {seconds[name]:.1f} s",
              flush=True)
        if wrong:
            return None
    return seconds


def is_sure(wrong):
    """Whether a test failed, not what it needs: the guest, QEMU, the disk."""
    return wrong.startswith(TestError.__name__)


def try_mutant(guest, mutant, seconds):
    """What is wrong with a mutant in a guest, and where that was; nothing if nothing is."""
    wrong = guest.swap(f"/mutants/{mutant['name']}.ko")
    if wrong:
        return wrong, "load"
    for name in mutant["tests"]:
        wrong = guest.test(name, seconds[name] * TIMES + MORE_SECONDS)
        if wrong:
            return wrong, name
    return "", ""


def judge(guests, mutant, seconds):
    """Try a mutant. Returns (state, what shows it)."""
    words = words_for(mutant["tests"])
    try:
        wrong, where = try_mutant(guests.get(words), mutant, seconds)
        if not wrong:
            return "survived", []
        if is_sure(wrong):
            return "killed", [f"{where}: {wrong}"]
        guests.drop()
        if not guests.get(words).sound():
            return "error", [f"{where}: {wrong}", "and the driver itself does not work"]
        again, where = try_mutant(guests.get(words), mutant, seconds)
    except FAILURES as err:
        return "error", [f"no guest: {err}"]
    if again.startswith(OSError.__name__):
        return "error", [f"{where}: {again}"]
    return ("killed", [f"twice, {where}: {again}"]) if again else ("survived", [])


def try_all(plan, guests, results):
    """Try all mutants; the exit code."""
    seconds, by_words = {}, {}
    for name in plan["baseline"]:
        by_words.setdefault(words_for([name]), []).append(name)
    for words, names in by_words.items():
        found = baseline(guests.get(words), names)
        if found is None:
            return 1
        seconds.update(found)
    (results / "baseline").write_text("good\n")
    for mutant in plan["mutants"]:
        begin = time.monotonic()
        state, by = judge(guests, mutant, seconds)
        took = round(time.monotonic() - begin, 1)
        facts = {"state": state, "by": [line[:300] for line in by], "seconds": took}
        (results / f"{mutant['name']}.json").write_text(json.dumps(facts))
        # One that did not answer would not do so now, either.
        silent = any("GuestError" in line for line in by)
        if guests.guest and (silent or not guests.guest.sound()):
            guests.drop()
        print(f"{mutant['name']:34} {state:9} {took:5.1f} s, {time.monotonic() - begin:5.1f} s in "
              f"all  {'; '.join(by)[:90]}", flush=True)
    return 0


def configuration(values):
    """Settings as a namespace."""
    config = SimpleNamespace(**values, smp=1)
    config.append = (f"{guest_vm.kernel_arguments(config)} mdma.commands=1 slub_debug=FZPU "
                     f"mdma.buf_size={config.buf_size} mdma.timeout_ms={config.timeout_ms}")
    return config


def main(argv):
    """Test them all."""
    results, values = arguments.read(__doc__, KEYS, argv)
    config = configuration(values)
    plan = json.loads(Path(config.plan).read_text())
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    results.mkdir(parents=True, exist_ok=True)
    with in_memory(config.shm, results / "guest", "*.commands", "initramfs") as directory, \
            mdev.Mdev(config.type) as device:
        config.initrd = extended(config, [one["name"] for one in plan["mutants"]], directory)
        guests = Guests(config, directory, device)
        try:
            return try_all(plan, guests, results)
        finally:
            guests.drop()


if __name__ == "__main__":
    entry.run(main)
