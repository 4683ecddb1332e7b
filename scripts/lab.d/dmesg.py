# SPDX-License-Identifier: GPL-2.0-only
"""What a kernel's log must not hold after a run."""

import re

# name of what is wrong -> pattern of the line that tells it
PATTERNS = {
    "warning": r"WARNING: (CPU|at |possible|suspicious|bad unlock|nested lock|inconsistent)",
    "lockdep": r"(possible (circular|recursive|irq)|INFO: possible|lock held when returning"
               r"|BUG: Invalid wait context|held lock freed|suspicious RCU usage"
               r"|INFO: trying to register non-static key"
               r"|turning off the locking correctness validator)",
    "bug": r"(kernel BUG at |BUG: |Oops: |Oops\b.*#\d|general protection fault"
           r"|unable to handle|Internal error:)",
    # Reports of the slab, and of memory that a cache still has when it goes.
    "slab": r"(BUG \S+ \(|Slab corruption|Objects remaining)",
    "list": r"list_(add|del) corruption",
    "panic": r"Kernel panic",
    "sanitizer": r"(UBSAN: |KASAN: |KCSAN: |KFENCE: |kmemleak: [1-9]\d* new suspected"
                 r"|usercopy: Kernel memory)",
    # a tool that turned itself off finds nothing
    "tool off": r"kmemleak: (Kernel memory leak detector disabled|Cannot|Memory pool empty)",
    "hung task": r"INFO: task .* blocked for more than",
    "lockup": r"(soft lockup|hard LOCKUP)",
    "rcu stall": r"rcu.*(detected (expedited )?stalls|self-detected stall)",
    "call trace": r"Call Trace:",
    "refcount": r"refcount_t: ",
    "leak": r"(Bad page state|Bad rss-counter|memory leak(?! detector init)|still has locks held)",
}
COMPILED = {name: re.compile(pattern) for name, pattern in PATTERNS.items()}


def scan(text):
    """Lines of a kernel log that tell of a defect: list of (what, line)."""
    found = []
    for line in text.splitlines():
        for name, pattern in COMPILED.items():
            if pattern.search(line):
                found.append((name, line.strip()))
                break
    return found


def scan_files(files):
    """The same for files, each line once; a file that is not there is empty."""
    seen = {}
    for path in files:
        if not path.exists():
            continue
        for name, line in scan(path.read_text(errors="replace")):
            seen.setdefault(re.sub(r"^\[[ \d.]+\] *", "", line), (name, line))
    return list(seen.values())
