# SPDX-License-Identifier: GPL-2.0-only
"""Detects that a lab hangs: a CPU of the lab gives no sign of life, or its kernel logs a stall.

Each CPU of the lab has a heartbeat: a process that init binds to it writes the CPU's number to a
port every two seconds. A beat proves that the CPU's timer fires and that the CPU runs what is
runnable, whatever the job prints. So a job may be silent as long as it likes, and a lab with one
dead CPU is found although the other CPU goes on.

Only time in which the host let the lab run counts as silence. If the machine stands still, or its
other work leaves the lab no time, that is not a hang.

Beats that come too often mean that the lab's clock runs too fast. Then each time limit in the lab
is too short, and none of its results can be trusted.
"""

import re
import socket
from contextlib import suppress
from pathlib import Path

from judge import dmesg

# The word on the lab's kernel command line that makes init start the heartbeats.
OPTION = "lab.heartbeat"

# Seconds of silence until a lab counts as hung, by accelerator. In a lab that counts instructions,
# the clock is about ten times slower than ours, and so are the beats.
LIMIT = {"kvm": 60, "tcg": 60, "icount": 300}
# Factor until the first beat: the firmware, the kernel and the initramfs come before it.
BOOT = 3
# Seconds between two beats of a CPU, by the lab's clock (lab/heartbeat).
PERIOD = 2
# Seconds over which beats are counted, and the factor above which they come too often.
WINDOW, FAST = 30, 2
# Seconds between two looks, and the most that one interval counts: if we could not look more
# often, the lab could not run either.
LOOK, LONGEST_LOOK = 0.5, 1.0

# Names in dmesg.PATTERNS of what a kernel logs when it detects a stall itself.
STALLS = ("hung task", "lockup", "rcu stall")


def stall(line):
    """The stall that this line of the lab's console reports; None if it reports none."""
    if any(dmesg.COMPILED[name].search(line) for name in STALLS):
        return re.sub(r"^\[[ \d.]+\] *", "", line.strip())
    return None


class Waiting:
    """How long the threads of a process wait for a CPU of the host."""

    def __init__(self, tasks):
        self.tasks = Path(tasks)        # /proc/PID/task
        self.seen = {}

    def seconds(self):
        """The longest time that a thread has waited since the last call."""
        longest = 0
        for path in self.tasks.glob("*/schedstat"):
            # A thread may end at any time, and the file may be missing on some kernels.
            with suppress(OSError, ValueError, IndexError):
                waited = int(path.read_text().split()[1])
                longest = max(longest, waited - self.seen.get(path, waited))
                self.seen[path] = waited
        return longest / 1e9


class Watchdog:
    """Measures the silence of each CPU of a lab."""

    def __init__(self, cpus, limit, real=True):
        """@limit: seconds of silence, after the first beat

        @real: whether the lab's clock should run like ours
        """
        self.limit = limit
        self.real = real
        self.window, self.beats = 0.0, dict.fromkeys(range(cpus), 0)
        self.fast = None
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
        """QEMU's options for the heartbeat; QEMU inherits self.labs."""
        return ("-chardev", f"socket,id=heartbeat,fd={self.labs.fileno()}",
                "-device", "virtserialport,chardev=heartbeat,name=heartbeat")

    def attend(self, pid):
        """The lab's QEMU has started."""
        self.waiting = Waiting(f"/proc/{pid}/task")

    def poll(self, now):
        """Take the beats that have arrived, and check the clock. @now: seconds of
        time.monotonic()"""
        with suppress(BlockingIOError, ConnectionError):
            while data := self.ours.recv(4096):
                self.beat(data)
        if self.last is None:
            self.last = now
        if now - self.last >= LOOK:
            self.look(now - self.last, self.waiting.seconds())
            self.last = now

    def beat(self, data):
        """Take beats: CPU numbers, one a line."""
        for word in data.split():
            if word.isdigit() and int(word) in self.silent:
                self.silent[int(word)] = 0.0
                self.beats[int(word)] += 1
                self.alive.add(int(word))

    def look(self, seconds, waited=0.0):
        """Account for the time since the last look, without what the lab waited for the host."""
        spent = min(seconds, LONGEST_LOOK) - waited
        for cpu in self.silent:
            self.silent[cpu] = max(0.0, self.silent[cpu] + spent)
        self.window += seconds
        if self.window >= WINDOW:
            pace = max(self.beats.values()) * PERIOD / self.window
            if self.real and pace > FAST:
                self.fast = pace
            self.window, self.beats = 0.0, dict.fromkeys(self.beats, 0)

    def read(self, line):
        """Check a line of the lab's console."""
        self.stalled = self.stalled or stall(line)

    def verdict(self):
        """Why the lab must be ended; None if it need not."""
        if self.stalled:
            return f"the lab's kernel says \"{self.stalled}\""
        if self.fast:
            return f"the lab's clock runs {self.fast:.1f} times too fast"
        for cpu, silent in self.silent.items():
            allowed = self.limit * (1 if cpu in self.alive else BOOT)
            if silent > allowed:
                return f"CPU {cpu} of the lab made no progress for {allowed:g} s"
        return None
