# SPDX-License-Identifier: GPL-2.0-only
"""Mutants in the unit tests, in user space.

Each of several workshops has a copy of the tree, in which one mutant after the other is built: only
what the change touches is compiled. The tests run one after the other until one fails. Their limit
is CPU time, as a multiple of what the same test takes without a mutant, so it does not depend on
the machine or its load.
"""

import re
import signal
import time

from base import ktap, process, say
from check.verdict import ERROR, KILLED, Verdict
from make import build, chroot

# Beginning of a file's path -> unit tests for it. All that fit are run, in this order: quick ones,
# and those that find much, first.
UNITS = {"drivers/vfio/page_row.": ("page_row_test",),
         "drivers/vfio/pin_": ("pin_store_model_test", "pin_store_test"),
         "drivers/vfio/pin_dirty.": ("type1_report_test", "type1_unmap_test"),
         "drivers/vfio/dirty_report.": ("dirty_report_test", "type1_report_test"),
         "drivers/vfio/type1_dma.": ("type1_report_test", "type1_unmap_test"),
         "drivers/vfio/type1_report.": ("type1_report_test", "type1_unmap_test"),
         "drivers/vfio/type1_unmap.": ("type1_unmap_test",),
         "drivers/vfio/type1_compat.": ("type1_compat_test",),
         "drivers/vfio/type1_container.": ("type1_container_test",),
         "drivers/vfio/type1_pin.": ("type1_pin_test",),
         "drivers/vfio/type1_pin_page.": ("type1_pin_test",),
         "drivers/vfio/type1_unpin.": ("type1_pin_test",),
         "samples/vfio-mdev/mdma/replay.": ("values_test", "stream_test", "stream_fuzz"),
         "samples/vfio-mdev/mdma/snapshot.": ("values_test", "stream_test", "stream_fuzz"),
         "samples/vfio-mdev/mdma/stream.": ("stream_test", "stream_fuzz"),
         "samples/vfio-mdev/mdma/stream_values.": ("values_test", "stream_test",
                                                   "stream_fuzz"),
         "samples/vfio-mdev/mdma/window.": ("stream_test", "stream_fuzz"),
         "samples/vfio-mdev/mdma/sequence.": ("sequence_test",),
         "samples/vfio-mdev/mdma/going.": ("going_test",)}
# CPU seconds that a test may take: so many times what it takes without a mutant, and some more.
TIMES, MORE_SECONDS = 3, 10
# The test may neither fill the memory nor the disk.
MEMORY_MB, OUTPUT_BLOCKS = 2048, 4096
# The shell stays: a program that is the first of its PID namespace ignores the signal of a limit.
RUN = f"""
cd /mnt/build/$1/tree/tests/unit
export ASAN_OPTIONS=hard_rss_limit_mb={MEMORY_MB} FIRST=1
ulimit -c 0; ulimit -f {OUTPUT_BLOCKS}; ulimit -S -t $3
/mnt/build/$1/tree/built/$2 >/mnt/build/$1/output 2>&1
exit $?
"""
NO_LIMIT = 1000000
OVER_CPU, OVER_OUTPUT = 128 + signal.SIGXCPU, 128 + signal.SIGXFSZ
# No limit of ours ends a test so: the machine has no memory left.
OF_THE_MACHINE = (128 + signal.SIGKILL, -signal.SIGKILL)
# What a test prints before anything else.
BEGIN = "KTAP version 1\n"


def no_verdict(text, code):
    """Why the end of a unit test says nothing about the mutant; nothing if it does."""
    if BEGIN not in text:
        return f"it did not begin, exit code {code}"
    return "it was killed, probably for want of memory" if code in OF_THE_MACHINE else ""


class DoesNotBuild(Exception):
    """The compiler refuses the mutant."""


def programs(one):
    """The unit tests that are built from the files that a mutant changes."""
    if one.tests and "unit" not in one.tests:
        return []
    return list(dict.fromkeys(program for begin, found in UNITS.items() for program in found
                              if any(path.startswith(begin) for path in one.hunks)))


def failures(text, code):
    """What failed in unit tests: names of tests, or a sanitizer's findings."""
    failed = [result.name for result in ktap.parse(text, "unit")
              if result.state == ktap.FAILED and not result.name.startswith("unit: plan")]
    failed += re.findall(r"(?:ERROR|SUMMARY): (\w+Sanitizer: [\w-]+)", text)[:1]
    failed += re.findall(r"runtime error: .*", text)[:1]
    return failed or ([f"exit code {code}"] if code else [])


class Workshop:
    """A copy of the unit tests."""

    def __init__(self, number):
        self.number = number
        self.name = build.unit_workshop(number).name

    def build(self, wanted, one=None):
        """Build these tests, with a mutant or without."""
        try:
            build.build(build.unit_workshop(self.number, wanted, one), quiet=True)
        except say.LabError as error:
            if error.log and not build.refused(error):
                raise
            raise DoesNotBuild(str(error)) from error

    def run(self, program, limit):
        """Run a test. Returns (its output, its exit code, CPU seconds)."""
        target = build.unit_workshop(self.number)
        output = target.directory / "output"
        # It may be that of the mutant before.
        output.unlink(missing_ok=True)
        argv = chroot.command(["sh", "-c", RUN, "sh", target.name, program, str(int(limit))],
                              build.binds())
        code, seconds = process.measured(argv)
        text = output.read_text(errors="replace") if output.exists() else ""
        return text, code, seconds


class Units:
    """The unit tests, and how long each takes without a mutant."""

    def __init__(self):
        self.seconds = {}

    def measure(self, workshop, wanted):
        """Run tests without a mutant. They must pass."""
        wanted = [program for program in wanted if program not in self.seconds]
        if not wanted:
            return
        workshop.build(wanted)
        for program in wanted:
            text, code, seconds = workshop.run(program, NO_LIMIT)
            wrong = no_verdict(text, code) or "; ".join(failures(text, code))
            if wrong:
                raise say.LabError(f"{program} fails without a mutant: {wrong}")
            self.seconds[program] = seconds

    def judge(self, workshop, one):
        """The verdict on a mutant; None if the tests do not cover its files, or find nothing.
        Raises DoesNotBuild."""
        wanted = programs(one)
        if not wanted:
            return None
        begin = time.monotonic()
        try:
            workshop.build(wanted, one)
        except say.LabError as error:
            # The machine's fault: it is no reason to end all the others.
            return Verdict(one.name, ERROR, "unit", [str(error)])
        for program in wanted:
            limit = self.seconds[program] * TIMES + MORE_SECONDS
            text, code, seconds = workshop.run(program, limit)
            if no_verdict(text, code):
                return Verdict(one.name, ERROR, "unit", [f"{program}: {no_verdict(text, code)}"])
            if code == OVER_CPU:
                found = [f"{program}: no end after {seconds:.0f} s of CPU time"]
            elif code == OVER_OUTPUT:
                found = [f"{program}: no end of its output"]
            else:
                found = failures(text, code)
            if found:
                return Verdict(one.name, KILLED, "unit", found,
                               round(time.monotonic() - begin, 1))
        return None
