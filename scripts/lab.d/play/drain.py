#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""Moves the ring buffer of an ftrace instance to files, one for each CPU, while it fills.

usage: drain.py INSTANCE DIRECTORY

It is a process of its own, so that nothing in a scenario delays the trace. It takes sub-buffers as
the kernel has them (trace_pipe_raw): 42 bytes an event, where text takes 150. The end of standard
input means that tracing is over: it moves the rest, and ends.
"""

import os
import select
import sys
from contextlib import suppress
from pathlib import Path

PAGE_SIZE = os.sysconf("SC_PAGE_SIZE")
# Bytes of a write, and so of a 9p message, since the lab's results are on 9p.
CHUNK = 64 * PAGE_SIZE
# Milliseconds until it looks by itself, in case the kernel does not wake it.
LOOK_MS = 50


class Cpu:
    """The buffer of a CPU and its file."""

    def __init__(self, source, target):
        self.source = os.open(source / "trace_pipe_raw", os.O_RDONLY | os.O_NONBLOCK)
        self.target = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        self.chunk = memoryview(bytearray(CHUNK))

    def move(self):
        """Move what there is, at most CHUNK; returns whether there was anything."""
        used = 0
        while used < CHUNK:
            try:
                # A read returns one sub-buffer, which may be nearly empty.
                got = os.readv(self.source, [self.chunk[used:used + PAGE_SIZE]])
            except BlockingIOError:
                break
            if not got:
                break
            used += got
        begin = 0
        while begin < used:
            begin += os.write(self.target, self.chunk[begin:used])
        return bool(used)


def go_first():
    """Run this thread as soon as it has something to do, before the devices that fill the trace.
    Does nothing if that is not permitted."""
    with suppress(OSError):
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(1))


def drain(instance, directory):
    """Drain until standard input ends, and then until nothing is left."""
    poll, cpus = select.poll(), {}
    poll.register(sys.stdin.fileno(), select.POLLIN)
    for path in sorted(instance.glob("per_cpu/cpu[0-9]*")):
        cpu = Cpu(path, directory / f"{path.name}.raw")
        cpus[cpu.source] = cpu
        # Readable when the buffer is as full as the instance's buffer_percent says.
        poll.register(cpu.source, select.POLLIN)
    ready = []
    while sys.stdin.fileno() not in ready:
        ready = [number for number, _ in poll.poll(LOOK_MS)]
        for number in ready:
            if number in cpus:
                cpus[number].move()
    for cpu in cpus.values():
        while cpu.move():
            pass


if __name__ == "__main__":
    go_first()
    try:
        drain(Path(sys.argv[1]), Path(sys.argv[2]))
    except OSError as err:
        sys.exit(f"{err.strerror}: {err.filename or sys.argv[2]}")
