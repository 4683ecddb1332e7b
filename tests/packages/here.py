#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""mdma-run on a system that has booted with the packages: whatever ends it, the host is as it was.

usage: here.py whole|interrupted|killed     (as root; results go to /results/here)
"""

import os
import pty
import re
import shutil
import signal
import sys
import time
from pathlib import Path

# What the guests boot; the lab has built it.
BUILT = "/mdma"
RESULTS = Path("/results/here")
# The lab may be slow.
WORDS = ("patience=600", "bandwidth=128")
SOURCE_WRITES = "workload and dmatest are running"
BY_CTRL_C = 128 + signal.SIGINT
DEVICES = Path("/sys/bus/mdev/devices")
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
    return {**found, "modules": sorted(line.split()[0] for line in modules), "QEMUs": qemus()}


class Run:
    """mdma-run on a terminal of its own."""

    def __init__(self, *words):
        self.directory = Path("/root/here")
        shutil.rmtree(self.directory, ignore_errors=True)
        self.directory.mkdir()
        self.said = ""
        self.child, self.terminal = pty.fork()
        if not self.child:
            os.chdir(self.directory)
            os.execvpe("mdma-run", ["mdma-run", "migrate", *WORDS, *words],
                       {**os.environ, "MDMA_BUILT": BUILT})

    def _more(self):
        """Read on. Whether there was more."""
        try:
            data = os.read(self.terminal, 4096)
        except OSError:
            data = b""
        self.said += data.decode(errors="replace")
        sys.stdout.write(data.decode(errors="replace"))
        return bool(data)

    def until_it_migrates(self):
        """Read until a device writes, and wait until its guest is in pre-copy."""
        while SOURCE_WRITES not in self.said:
            expect(self._more(), "it ended before the device wrote")
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
    before, run = state(), Run()
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
    run = Run("control=1")
    code = run.end()
    run.keep("whole")
    expect(code == 0, f"exit code {code}")
    expect(re.search(r"passed\s*$", run.said), "its last line does not say that it passed")


def main():
    """One of them, on a host without the modules."""
    before = state()
    try:
        {"whole": whole, "interrupted": interrupted, "killed": killed}[sys.argv[1]]()
        after = state()
        for what, names in before.items():
            expect(after[what] == names, f"{what}: it was {names}, and is {after[what]}")
    except Wrong as error:
        print(error)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
