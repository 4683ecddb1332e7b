# SPDX-License-Identifier: GPL-2.0-only
"""Sees that a lab hangs: a CPU of it that gives no sign of life, or a kernel that logs a stall.

Each CPU of the lab beats: a process that init binds to it writes the CPU's number to a port
every two seconds. A beat proves that the CPU's timer fires and that the CPU runs what is
runnable, whatever the job does or does not print. So a job may be silent for as long as it
likes, and a lab in which one CPU is dead is found, although the other one goes on.

A CPU's silence counts only the time in which the host let the lab run: if the machine stands
still, or its other work leaves the lab nothing, that is no hang.
"""

import re
import socket
from contextlib import suppress
from pathlib import Path

from judge import dmesg

# The word of the lab's kernel command line that makes init start the beats.
OPTION = "lab.heartbeat"

# Seconds of silence until a lab counts as hung, by accelerator. The clock of a lab that
# counts instructions is some ten times slower than ours, and so are its beats.
LIMIT = {"kvm": 60, "tcg": 60, "icount": 300}
# The firmware, the kernel and the initramfs come before the first beat.
BOOT = 3
# Seconds between two looks, and how many of them count at most: if we could not look more
# often, nor could the lab run.
LOOK, LONGEST_LOOK = 0.5, 1.0

# What a kernel logs, by the names of dmesg.PATTERNS, when it finds out by itself.
STALLS = ("hung task", "lockup", "rcu stall")


def stall(line):
    """What this line of the lab's console says about a stall; None if it says nothing."""
    if any(dmesg.COMPILED[name].search(line) for name in STALLS):
        return re.sub(r"^\[[ \d.]+\] *", "", line.strip())
    return None


class Waiting:
    """How long threads of a process wait for a CPU of the host."""

    def __init__(self, tasks):
        self.tasks = Path(tasks)        # /proc/PID/task
        self.seen = {}

    def seconds(self):
        """How long the one that waited longest has waited since the last call."""
        longest = 0
        for path in self.tasks.glob("*/schedstat"):
            # A thread may end at any time, and a kernel may lack the file.
            with suppress(OSError, ValueError, IndexError):
                waited = int(path.read_text().split()[1])
                longest = max(longest, waited - self.seen.get(path, waited))
                self.seen[path] = waited
        return longest / 1e9


class Watchdog:
    """Counts the silence of each CPU of a lab."""

    def __init__(self, cpus, limit):
        """@limit: seconds of silence, after the first beat."""
        self.limit = limit
        self.silent = dict.fromkeys(range(cpus), 0.0)
        self.alive = set()
        self.stalled = None
        self.waiting = Waiting("/proc/self/none")
        self.last = None
        self.ours, self.labs = socket.socketpair()
        self.ours.setblocking(False)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.ours.close()
        self.labs.close()

    def words(self):
        """What the lab's QEMU needs for the beats; it inherits self.labs."""
        return ("-chardev", f"socket,id=heartbeat,fd={self.labs.fileno()}",
                "-device", "virtserialport,chardev=heartbeat,name=heartbeat")

    def attend(self, pid):
        """The lab's QEMU has started."""
        self.waiting = Waiting(f"/proc/{pid}/task")

    def poll(self, now):
        """Take the beats that have come, and look at the clock.

        @now: seconds of time.monotonic()
        """
        with suppress(BlockingIOError, ConnectionError):
            while data := self.ours.recv(4096):
                self.beat(data)
        if self.last is None:
            self.last = now
        if now - self.last >= LOOK:
            self.look(now - self.last, self.waiting.seconds())
            self.last = now

    def beat(self, data):
        """Take beats: numbers of CPUs, one a line."""
        for word in set(data.split()):
            if word.isdigit() and int(word) in self.silent:
                self.silent[int(word)] = 0.0
                self.alive.add(int(word))

    def look(self, seconds, waited=0.0):
        """Time has passed; for a part of it, the lab waited for the host."""
        spent = min(seconds, LONGEST_LOOK) - waited
        for cpu in self.silent:
            self.silent[cpu] = max(0.0, self.silent[cpu] + spent)

    def read(self, line):
        """Look at a line of the lab's console."""
        self.stalled = self.stalled or stall(line)

    def verdict(self):
        """Why the lab counts as hung; None while it does not."""
        if self.stalled:
            return f"the lab's kernel says \"{self.stalled}\""
        for cpu, silent in self.silent.items():
            allowed = self.limit * (1 if cpu in self.alive else BOOT)
            if silent > allowed:
                return f"CPU {cpu} of the lab made no progress for {allowed:g} s"
        return None
