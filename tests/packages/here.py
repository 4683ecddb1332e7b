#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""mdma-run on a system that has booted with the packages: whatever ends it, the host is as it was.

usage: here.py CASE     (as root; results go to /results/here)
"""

import os
import pty
import re
import shutil
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

# What the guests boot; the lab has built it.
BUILT = "/mdma"
RESULTS = Path("/results/here")
# The lab may be slow.
PATIENCE = "patience=600"
MIGRATE = ("migrate", PATIENCE, "bandwidth=128")
SOURCE_WRITES = "workload and dmatest are running"
BY_CTRL_C = 128 + signal.SIGINT
DEVICES = Path("/sys/bus/mdev/devices")
MODULES = ("vfio", "vfio_iommu_type1", "mdma")
# The drivers of the lab's NICs, of which the selftests use two. A host need not have such.
NICS = ("mdma_nic", "vfio_pci", "vfio_pci_core")
# An ordinary user, and what root gives to such.
USER = "tester"
GROUP = "kvm"
LIMIT = Path("/etc/security/limits.d/mdma.conf")
EXAMPLE = Path("/usr/share/doc/mdma-tools/examples/60-mdma.rules")
RULE = Path("/etc/udev/rules.d/60-mdma.rules")
# Files by which the kernel is set up, and that a run may change.
FILES = ("/proc/sys/vm/nr_hugepages", "/sys/kernel/debug/sched/preempt",
         "/sys/kernel/tracing/options/record-cmd", "/sys/kernel/tracing/set_event_pid",
         "/sys/fs/cgroup/cgroup.subtree_control", "/sys/module/mdma/parameters/ledger_bytes")
LEDGER_BYTES = 1 << 26
# Directories in which a run has something of its own.
PLACES = (DEVICES, Path("/sys/kernel/tracing/instances"), Path("/dev/shm"), Path("/dev/vfio"),
          Path("/tmp"))


class Wrong(Exception):
    """Something is not as it must be."""


def expect(good, text):
    """Fail with this text unless @good."""
    if not good:
        raise Wrong(text)


def qemus():
    """Processes that run a QEMU."""
    return sorted(int(path.parent.name) for path in Path("/proc").glob("[0-9]*/comm")
                  if path.read_text().startswith("qemu-system"))


def state():
    """What a run changes on a host."""
    found = {str(place): sorted(os.listdir(place)) if place.is_dir() else [] for place in PLACES}
    modules = Path("/proc/modules").read_text().splitlines()
    for path in map(Path, FILES):
        found[str(path)] = path.read_text() if path.exists() else None
    return {**found, "modules": sorted(line.split()[0] for line in modules), "QEMUs": qemus()}


def do(*words):
    """A command that must succeed."""
    subprocess.run(words, check=True)


class Run:
    """mdma-run on a terminal of its own, by root or by somebody else."""

    def __init__(self, *words, user="root"):
        self.directory = Path("/var/tmp/here")
        shutil.rmtree(self.directory, ignore_errors=True)
        self.directory.mkdir()
        shutil.chown(self.directory, user)
        self.said = ""
        self.child, self.terminal = pty.fork()
        if not self.child:
            os.chdir(self.directory)
            become = [] if user == "root" else ["runuser", "-u", user, "--"]
            argv = [*become, "env", f"MDMA_BUILT={BUILT}", "mdma-run", *words]
            os.execvp(argv[0], argv)

    def _more(self):
        """Read on. Whether there was more."""
        try:
            data = os.read(self.terminal, 4096)
        except OSError:
            data = b""
        self.said += data.decode(errors="replace")
        sys.stdout.write(data.decode(errors="replace"))
        return bool(data)

    def until_it_says(self, words):
        """Read until then."""
        while words not in self.said:
            expect(self._more(), f"it ended before it said '{words}'")

    def until_it_migrates(self):
        """Read until a device writes, and wait until its guest is in pre-copy."""
        self.until_it_says(SOURCE_WRITES)
        while "pre_copy" not in [path.read_text().strip()
                                 for path in DEVICES.glob("*/migration_state")]:
            expect(qemus(), "it ended before the migration")
            time.sleep(0.05)

    def type(self, character):
        """As its user would."""
        os.write(self.terminal, character)

    def end(self):
        """Read what it still says. Returns its exit code."""
        while self._more():
            pass
        return os.waitstatus_to_exitcode(os.waitpid(self.child, 0)[1])

    def keep(self, name):
        """Its results are evidence; but for the biggest of them."""
        shutil.copytree(self.directory / "out/run", RESULTS / name, dirs_exist_ok=True,
                        ignore=shutil.ignore_patterns("trace*", "ledger.bin"))


def begun():
    """A run whose guest is in pre-copy. Much of the host is not as it was."""
    before, run = state(), Run(*MIGRATE)
    run.until_it_migrates()
    now = state()
    for what in (str(DEVICES), "/sys/kernel/tracing/instances", "/dev/shm", "modules", "QEMUs"):
        expect(now[what] != before[what], f"while it runs, nothing has changed: {what}")
    return run


def interrupted():
    """Ctrl-C in pre-copy."""
    run = begun()
    run.type(b"\x03")
    code = run.end()
    expect(code == BY_CTRL_C, f"exit code {code}, not {BY_CTRL_C}")


def killed():
    """A QEMU dies in pre-copy."""
    run = begun()
    os.kill(qemus()[0], signal.SIGKILL)
    code = run.end()
    run.keep("killed")
    expect(code == 1, f"exit code {code}, not 1")


def whole():
    """The proof, with a control."""
    passes("whole", Run(*MIGRATE, "control=1"))


def passes(name, run):
    """A run comes to a good end."""
    code = run.end()
    run.keep(name)
    expect(code == 0, f"exit code {code}")
    expect(re.search(r"passed\s*$", run.said), "its last line does not say that it passed")


def selftests():
    """Some of all kinds: they use the kernel's trace, huge pages, groups of processes. What needs a
    NIC is skipped, and says so."""
    run = Run("selftests", "only=uapi,account,stall,trace,worker,locked")
    passes("selftests", run)
    expect("23 skipped, which need an e1000e on vfio-pci" in run.said, "no skip was told")


def selftests_interrupted():
    """Ctrl-C within a test that has a device, and on a host that had the modules before."""
    before, run = state(), Run("selftests", "only=stall,kills")
    while not os.listdir(DEVICES):
        expect(not os.waitpid(run.child, os.WNOHANG)[0], "it ended before there was a device")
        time.sleep(0.01)
    expect(state() != before, "while it runs, nothing has changed")
    run.type(b"\x03")
    code = run.end()
    expect(code == BY_CTRL_C, f"exit code {code}, not {BY_CTRL_C}")


def failures():
    """A migration that is cancelled, and moves."""
    passes("failures", Run("failures", "cases=cancelled-in-precopy", "moves=1", "pause_s=0",
                           PATIENCE))


def experiment():
    """One point of it."""
    passes("experiment", Run("experiment", "points=pre-thread", "repeat=1", PATIENCE))


def driver():
    """Some of its tests, with a move."""
    passes("driver", Run(*DRIVER))


DRIVER = ("driver", "guests=plain", "transfers=100", "client_transfers=20", "moves=1", PATIENCE,
          "only=dmatest_on_all_channels,rings_of_two,migrated_under_load")


def user_without_rights():
    """An ordinary user is told of each right that is missing, and of what only root can do."""
    run = Run(*DRIVER, user=USER)
    code = run.end()
    expect(code == 1, f"exit code {code}, not 1")
    for words in ("you may not open /dev/kvm", "you may not write /sys/class/mdev_bus/mdma/",
                  "MiB of memory, and mem_mb=256", "kernel.dmesg_restrict=0"):
        expect(words in run.said, f"it does not say '{words}'")
    run = Run(*MIGRATE, user=USER)
    run.end()
    expect("only root may trace, and read the ledger" in run.said, "migrate does not ask for root")


def user_with_rights():
    """The same user with the rights that are documented, and then root is as before."""
    passes("user", Run(*DRIVER, user=USER))


def give_rights():
    """As root, by packages.rst."""
    RULE.write_text(EXAMPLE.read_text())
    LIMIT.write_text(f"@{GROUP} - memlock 524288\n")
    do("adduser", "--quiet", USER, GROUP)
    do("sysctl", "-q", "kernel.dmesg_restrict=0")
    do("udevadm", "control", "--reload")
    do("rmmod", "mdma")
    do("modprobe", "-a", *MODULES)
    do("udevadm", "settle")


@contextmanager
def user():
    """A host with udev and an ordinary user, where root has loaded the modules."""
    do("/usr/lib/systemd/systemd-udevd", "--daemon")
    try:
        do("udevadm", "trigger", "--action=add", "--settle", "/dev/kvm")
        do("useradd", USER)
        with loaded():
            yield
    finally:
        do("udevadm", "control", "--exit")


@contextmanager
def loaded(*parameters):
    """A host that has the modules loaded, with these parameters of the device."""
    do("modprobe", "-a", *MODULES[:-1])
    do("modprobe", "mdma", *parameters)
    try:
        yield
    finally:
        # What can't be unloaded is seen, as it was not there before.
        subprocess.run(["rmmod", "mdma", "vfio_iommu_type1"], check=False)


def played(cases):
    """Play cases one after the other; each leaves the host as it was."""
    for one in cases:
        before = state()
        one()
        after = state()
        for what, names in before.items():
            expect(after[what] == names, f"{one.__name__}: {what}: it was {names}, and is "
                   f"{after[what]}")


def as_user():
    """Without rights, and with them."""
    with user():
        played([user_without_rights])
        give_rights()
        played([user_with_rights])


def has_modules():
    """On a host that has the modules loaded, with a parameter."""
    with loaded(f"ledger_bytes={LEDGER_BYTES}"):
        played([selftests_interrupted, selftests, failures])


CASES = {"whole": [whole], "interrupted": [interrupted], "killed": [killed],
         "loaded": [has_modules], "others": [experiment, driver], "user": [as_user]}


def main():
    """One of them, on a host without the modules, and without NICs to give away."""
    try:
        for name in NICS:
            if Path("/sys/module", name).is_dir():
                do("rmmod", name)
        played(CASES[sys.argv[1]])
    except (Wrong, subprocess.CalledProcessError) as error:
        print(error)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
