# SPDX-License-Identifier: GPL-2.0-only
"""The frequency of this machine's time stamp counter, which an emulated lab has as well."""

import ctypes
import mmap
import platform
import time

# rdtsc; shl $32, %rdx; or %rdx, %rax; ret
RDTSC = b"\x0f\x31\x48\xc1\xe2\x20\x48\x09\xd0\xc3"
# Flags in /proc/cpuinfo of a counter with one constant frequency.
FLAGS = {"tsc", "constant_tsc"}
# Seconds to measure, and tries to read both clocks, of which the quickest counts.
SECONDS, LOOKS = 0.2, 20


def counter():
    """A function that reads the counter."""
    page = mmap.mmap(-1, mmap.PAGESIZE,
                     prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    page.write(RDTSC)
    code = ctypes.c_char.from_buffer(page)
    function = ctypes.CFUNCTYPE(ctypes.c_uint64)(ctypes.addressof(code))
    function.page = page, code
    return function


def _look(read):
    """(nanoseconds, counter) at one moment. It takes the quickest of several tries, since the host
    may take the CPU away between the two readings."""
    tries = []
    for _ in range(LOOKS):
        begin = time.monotonic_ns()
        count = read()
        end = time.monotonic_ns()
        tries.append((end - begin, begin + (end - begin) // 2, count))
    return min(tries)[1:]


def measured(read):
    """The frequency of a counter in kHz."""
    begin, first = _look(read)
    time.sleep(SECONDS)
    end, last = _look(read)
    return round((last - first) * 1_000_000 / (end - begin))


def khz(cpuinfo="/proc/cpuinfo"):
    """The frequency in kHz; None if there is no such counter, or it can't be read."""
    if platform.machine() != "x86_64":
        return None
    with open(cpuinfo) as stream:
        flags = next((line for line in stream if line.startswith("flags")), "").split()
    if not FLAGS <= set(flags):
        return None
    try:
        return measured(counter())
    except OSError:
        # A hardened host allows no page that is both writable and executable.
        return None
