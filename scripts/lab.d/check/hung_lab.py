# SPDX-License-Identifier: GPL-2.0-only
"""A check: the watchdog finds a lab that is made to hang, and what it saves says why.

The lab masks the timer of its CPU 0 in the local APIC, behind the kernel's back. That looks like a
lost timer interrupt: Linux believes that the timer is armed and never arms it again. Everything
that waits for a timer of that CPU waits for ever, while the other CPU goes on.

Another lab is well, but its kernel's log says that it is not.
"""

import re

from base import ktap
from boot import job
from make import paths

# Seconds that a CPU may be silent here.
SILENCE = 20
# The APIC must be in memory, and accessible from user space. With KVM, the kernel would report the
# stall by itself, a second after we see the silence, or before.
OPTIONS = ("lab.bare", "iomem=relaxed", "nox2apic", "rcupdate.rcu_cpu_stall_timeout=120")
MASKED = "the timer of CPU 0 is masked"
HANGS = f"""
import mmap, os, struct, time
os.sched_setaffinity(0, {{0}})
apic = mmap.mmap(os.open("/dev/mem", os.O_RDWR | os.O_SYNC), 4096, offset=0xfee00000)
timer, = struct.unpack_from("<I", apic, 0x320)
os.write(os.open("/dev/kmsg", os.O_WRONLY), b"selftest: timer_is_masked (hung_lab)\\n")
print("{MASKED}", flush=True)
struct.pack_into("<I", apic, 0x320, timer | 1 << 16)
time.sleep(3600)
"""

REASON = f"CPU 0 of the lab made no progress for {SILENCE} s, in hung_lab: timer_is_masked"
# What it shows -> patterns that hang.txt must have for it. With KVM, threads have other names, and
# the CPU a timer that has a deadline (bit 18), not a count.
KEPT = {
    "the registers of both CPUs": ("CPU#0", "CPU#1", "HLT="),
    "the masked timer": ("=== QEMU: info lapic 0 ===", "LVTT\t 0x000[15]00ec"),
    "what QEMU's threads wait for": ("CPU 0/(TCG|KVM)", "wchan "),
    "stacks of the lab's kernel": ("Kernel panic - not syncing: NMI", "Call Trace:"),
    "timers of the lab's kernel": ("Tick Device", "event_handler:  hrtimer_interrupt"),
}


# What the kernel logs of a stall. No CPU is silent, so nothing else ends this lab.
STALL = "rcu: INFO: rcu_preempt detected stalls on CPUs/tasks:"
STALLS = f"""
import os, time
kmsg = os.open("/dev/kmsg", os.O_WRONLY)
os.write(kmsg, b"selftest: stall_is_logged (hung_lab)\\n")
os.write(kmsg, b"<3>{STALL}\\n")
time.sleep(3600)
"""
STALL_REASON = f'the lab\'s kernel says "{STALL}", in hung_lab: stall_is_logged'


def missing(text):
    """Names in KEPT whose patterns are not all in the text."""
    return [what for what, patterns in KEPT.items()
            if not all(re.search(pattern, text) for pattern in patterns)]


def hang(name, program):
    """A lab that runs this program: (outcome, what it said, hang.txt)."""
    results = paths.CHECK / "watchdog" / name
    with job.results_directory(results):
        (results / "hangs.py").write_text(program)
        outcome = job.run(results, {"scenario": "watchdog", "args": {}},
                          ["python3", "/results/hangs.py"], options=OPTIONS, silence=SILENCE,
                          quiet=True)
        said, kept = (path.read_text(errors="replace") if path.exists() else ""
                      for path in (results / "output.txt", results / "hang.txt"))
    return outcome, said, kept


def timer():
    """Name of a test -> what is wrong, for the lab without a timer."""
    outcome, said, kept = hang("timer", HANGS)
    return {
        "the lab has masked its timer": "" if MASKED in said else f"it said {said!r}",
        "a lab without a timer counts as hung":
            "" if (outcome.reason or "").startswith(REASON) else str(outcome),
        "hang.txt has what is needed": ", ".join(missing(kept)),
        # Otherwise a run of mutants would take it for a kernel that a mutant killed.
        "the panic that we asked for is no finding":
            "\n".join(line for _, line in outcome.findings),
    }


def stall():
    """The same for the lab whose kernel logs a stall."""
    outcome, _, kept = hang("stall", STALLS)
    logged = [what for what, _ in outcome.findings]
    return {
        "a lab whose kernel logs a stall counts as hung":
            "" if (outcome.reason or "").startswith(STALL_REASON) else str(outcome),
        "hang.txt says which stall": "" if kept.startswith(STALL_REASON) else kept[:200] or "none",
        "the stall is a finding, and the only one":
            "" if logged == ["rcu stall"] else str(outcome.findings),
    }


def check():
    """The part of the check."""
    return [ktap.Result(name, ktap.FAILED if why else ktap.PASSED, why)
            for name, why in {**timer(), **stall()}.items()]
