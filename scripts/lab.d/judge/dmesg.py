# SPDX-License-Identifier: GPL-2.0-only
"""What a kernel's log must not contain after a run: the log of the lab host, and of the guest in
it.

The guest has no Python, and checks the same list by grep -E. So the patterns are POSIX extended
regular expressions, which mean the same in both.
"""

import re

from judge import races

# Name of a defect -> pattern of the line that reports it.
PATTERNS = {
    # A WARN() is "WARNING: CPU: 1 PID: 7 at FILE:LINE" or, as of 7.3, "WARNING: FILE:LINE at
    # FUNCTION, CPU#1".
    "warning": "WARNING: (CPU|at |possible|suspicious|bad unlock|nested lock|inconsistent"
               "|.*:[0-9]+ at .*, CPU#[0-9])",
    "lockdep": "(possible (circular|recursive|irq)|INFO: possible|lock held when returning"
               "|held lock freed|suspicious RCU usage"
               "|INFO: trying to register non-static key"
               "|turning off the locking correctness validator)",
    # "BUG: soft lockup" and the like are no bugs of that kind.
    "lockup": "(soft lockup|hard LOCKUP|workqueue lockup)",
    # "BUG: " is most of them, "BUG CACHE (Tainted...): " the slab, "kernel BUG at " an assertion.
    "bug": "(^|[^A-Za-z_])BUG[: ]",
    "oops": "(Oops: |Oops[^A-Za-z].*#[0-9]|general protection fault|unable to handle"
            "|Internal error:)",
    # What the slab logs besides its "BUG CACHE": before that line, or after it.
    "slab": "(Slab corruption|Objects remaining|Slab cache still has objects"
            "|(Poison|Redzone|[Pp]adding) overwritten|Object already free|FIX [^ ]+: )",
    "page": "(Bad page state|Bad page map|pagealloc: (memory corruption|single bit error))",
    "list": "list_(add|del) corruption",
    "panic": "Kernel panic",
    "sanitizer": "(UBSAN: |KASAN: |KCSAN: |KFENCE: |ODEBUG: "
                 "|kmemleak: [1-9][0-9]* new suspected|usercopy: Kernel memory)",
    # A tool that turned itself off finds nothing.
    "tool off": "kmemleak: (Kernel memory leak detector disabled|Cannot (allocate a kmemleak"
                "|insert)|Memory pool empty)",
    "hung task": "INFO: task .* blocked for more than",
    "rcu stall": "rcu.*(detected (expedited )?stalls|self-detected stall"
                 "|timer wakeup didn't happen|kthread starved)",
    "interrupt": "irq [0-9]+: nobody cared",
    "call trace": "Call Trace:",
    "refcount": "refcount_t: ",
    # That of a control group is none: a test may ask for it.
    "no memory": "Out of memory: Killed process",
    "leak": "(Bad rss-counter|memory leak([^ ]| [^d]|$)|still has locks held)",
}
# Not a defect, although a trace follows. A kernel with CONFIG_DEBUG_VM says that a pin can't wait for
# a userfaultfd: the kernel's own type1 never lets a pin wait for one; ours does not let a thread
# of a device. And a process is to be killed for want of memory: "no memory" is for that. And the
# stack of a new thread may not be had, where a test makes allocations fail.
NO_DEFECT = re.compile("FAULT_FLAG_ALLOW_RETRY missing|invoked oom-killer: |vmalloc error: size ")
# In the log of a kernel that got no CPU time, and what may follow. If a function of ours is in the
# log, that was not the cause.
STALLED = ("rcu stall", "lockup", "hung task")
STALLS = (*STALLED, "tool off", "call trace")
OF_MODULES = re.compile(r"\[(mdma|mdma_guest|vfio_iommu_type1)\]")
# The trace begins at most so many lines after such a line.
HEADER = 4
# A WARN() of the kernel's own, where a test makes vfio's allocations fail (found.rst). Its trace
# begins at most so many lines later.
KERNELS_OWN = re.compile("WARNING: .* vfio_group_release[+]")
ITS_HEADER = 30

COMPILED = {name: re.compile(pattern) for name, pattern in PATTERNS.items()}


def for_grep():
    """The patterns as a file for grep -E -f."""
    return "".join(f"{pattern}\n" for pattern in PATTERNS.values())


class Scan:
    """Looks at the lines of one log, in their order."""

    def __init__(self):
        self.header = 0
        self.foreign = 0
        self.races = races.Reports()

    def line(self, line):
        """(what, line) if the line reports a defect, or shows that a former line did; otherwise
        None."""
        race = self.races.line(line)
        if race or races.BEGIN.search(line):
            return race and ("sanitizer", race.strip())
        if KERNELS_OWN.search(line):
            self.foreign = ITS_HEADER
            return None
        self.foreign -= 1
        if self.foreign >= 0 and line.endswith("Call Trace:"):
            self.foreign = 0
            return None
        self.header = HEADER if NO_DEFECT.search(line) else self.header - 1
        for name, pattern in COMPILED.items():
            if pattern.search(line) and not (name == "call trace" and self.header >= 0):
                return name, line.strip()
        return None

    def end(self):
        """The same, where the log ends."""
        race = self.races.end()
        return race and ("sanitizer", race.strip())


def starved(names, text):
    """Whether these are only reports of a kernel that got no CPU time, or no memory.

    @text: the log
    """
    cause = {*STALLED, "no memory"}
    return bool(cause & set(names)) and set(names) <= {*STALLS, "no memory"} \
        and not OF_MODULES.search(text)


def scan(text):
    """Lines of a kernel log that report a defect: list of (what, line)."""
    one = Scan()
    return list(filter(None, [*map(one.line, text.splitlines()), one.end()]))


def scan_files(files):
    """The same for files, each line once; a missing file counts as empty."""
    seen = {}
    for path in files:
        if not path.exists():
            continue
        for name, line in scan(path.read_text(errors="replace")):
            seen.setdefault(re.sub(r"^\[[ \d.]+\] *", "", line), (name, line))
    return list(seen.values())
