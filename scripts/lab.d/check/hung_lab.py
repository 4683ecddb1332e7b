# SPDX-License-Identifier: GPL-2.0-only
"""A check: the watchdog finds a lab that is made to hang, and what it saves says why.

The lab masks the timer of its CPU 0 in the local APIC, behind the kernel's back. That looks like a
lost timer interrupt: Linux believes that the timer is armed and never arms it again. Everything
that waits for a timer of that CPU waits for ever, while the other CPU goes on.
"""

from base import ktap
from boot import job
from make import paths

# Seconds that a CPU may be silent here.
SILENCE = 20
# The APIC must be in memory, and accessible from user space.
OPTIONS = ("lab.bare", "iomem=relaxed", "nox2apic")
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
# What it shows -> words that hang.txt must have for it.
KEPT = {
    "the registers of both CPUs": ("CPU#0", "CPU#1", "HLT="),
    "the masked timer": ("=== QEMU: info lapic 0 ===", "LVTT\t 0x000100ec"),
    "what QEMU's threads wait for": ("CPU 0/TCG", "wchan "),
    "stacks of the lab's kernel": ("Kernel panic - not syncing: NMI", "Call Trace:"),
    "timers of the lab's kernel": ("Tick Device", "event_handler:  hrtimer_interrupt"),
}


def missing(text):
    """Names in KEPT whose words are not all in the text."""
    return [what for what, words in KEPT.items() if not all(word in text for word in words)]


def check():
    """The part of the check."""
    results = paths.CHECK / "watchdog"
    with job.results_directory(results):
        (results / "hangs.py").write_text(HANGS)
        outcome = job.run(results, {"scenario": "watchdog", "args": {}},
                          ["python3", "/results/hangs.py"], options=OPTIONS, silence=SILENCE,
                          quiet=True)
        said = (results / "output.txt").read_text(errors="replace")
        kept = results / "hang.txt"
        gone = missing(kept.read_text(errors="replace") if kept.exists() else "")
    wrong = {
        "the lab has masked its timer": "" if MASKED in said else f"it said {said!r}",
        "a lab without a timer counts as hung":
            "" if (outcome.reason or "").startswith(REASON) else str(outcome),
        "hang.txt has what is needed": ", ".join(gone),
        # Otherwise a run of mutants would take it for a kernel that a mutant killed.
        "the panic that we asked for is no finding":
            "\n".join(line for _, line in outcome.findings),
    }
    return [ktap.Result(name, ktap.FAILED if why else ktap.PASSED, why)
            for name, why in wrong.items()]
