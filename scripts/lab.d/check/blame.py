# SPDX-License-Identifier: GPL-2.0-only
"""Whose fault it is that a part of a check failed, and where the evidence is.

Decided by what failed: a proof, a rule of ours, or our code's build is the product; what the
kernel's own type1 must show, and does not, is the kernel's own; a run without a verdict, a
broken oracle, a full disk, and our own scripts and tests are the lab.
"""

import re

from base import files, ktap
from make import paths

PRODUCT, KERNEL, LAB = "the product", "the kernel's own", "the lab"

OURS = ("drivers/", "samples/", "include/")
# Parts whose failures are about our own scripts, or about what they measured.
OF_SCRIPTS = ("python", "pages", "experiment", "reports")

# The log of a kernel that got no time; a function of ours in it says that it was not that.
STALLS = ("rcu stall", "lockup", "hung task", "tool off", "call trace")
OF_MODULES = re.compile(r"\[(mdma|mdma_guest|vfio_iommu_type1)\]")
TRACEBACK = "Traceback (most recent call last)"

# Reasons of a proof's verdict that are no proof: what gathers the evidence or judges it broke,
# or was too slow; and those that only follow from others.
NO_PROOF = re.compile(r"(\w+: )?(oracle broken|control: |there was no control"
                      r"|(TraceError|LabError|OSError|\w*NotFoundError|TimeoutError): "
                      r"|\w+ is [\d.]+, must be (more than|at least)|nothing was reported"
                      r"|\w+ is not known|the other cases were not played"
                      r"|.*\b(after|in) \d+ s\b)")
FOLLOWS = re.compile(r"the lab ended without a status|the scenario ended with|kernel log: ")


def of_reason(reason):
    """Who is to blame for one reason of a proof's verdict; None if it follows from others."""
    if FOLLOWS.match(reason):
        return None
    return LAB if NO_PROOF.match(reason) else PRODUCT


def of_proof(results):
    """The results of a proof: the verdict says why all others failed. A reason each."""
    verdict = next((one for one in results if one.name.split(": ")[-1] == "verdict"), None)
    if not verdict or verdict.state != ktap.FAILED:
        return
    found = {}
    for reason in verdict.reason.splitlines():
        found.setdefault(of_reason(reason), reason)
    found.pop(None, None)
    for one in results:
        one.blame = one.blame or " and ".join(found)


def of_file(path, results):
    """The results of a KTAP file that a run left: who is to blame, by where it is from."""
    stock = "stock" in (path.stem, path.parent.name)
    text = path.read_text(errors="replace")
    for one in results:
        late = "bail out" in one.name and "no end after" in one.reason
        stuck = "stuck in state" in text
        one.blame = LAB if late and not stuck or TRACEBACK in one.reason \
            else KERNEL if stock else PRODUCT
    if path.stem == "proof":
        for one in results:
            one.blame = ""
        of_proof(results)


def of_kernel_log(findings, text, results):
    """Who is to blame for what the kernel logged: whose test said so; whoever is in a trace;
    a kernel that got no time is the lab's.

    @text: the log; @results: those of the run
    """
    lines = [re.sub(r"^\[[ \d.]+\] *", "", line) for _, line in findings]
    said = {one.blame for one in results if one.state == ktap.FAILED and one.blame
            and any(line in one.reason for line in lines)}
    if said:
        return " and ".join(sorted(said))
    if OF_MODULES.search(text):
        return PRODUCT
    return LAB if all(what in STALLS for what, _ in findings) else PRODUCT


def of_error(error):
    """What kept a part from being run: the lab, but where code of ours can't be built. What
    the compiler says of a disk is not about that."""
    target, log = getattr(error, "target", None), getattr(error, "log", None)
    if not target or not log or "No space left on device" in str(error):
        return LAB
    return PRODUCT if target.trees[0].startswith(OURS) else LAB


def of_rule(name, reason):
    """A line of the table of the rules, by why it is wrong."""
    if reason == "a test fails":
        return PRODUCT
    weakness = name.split()[-1].startswith("W")
    return KERNEL if weakness and not reason.startswith("no documentation") else LAB


def of_result(part, result):
    """Who is to blame for a failed result of a part."""
    if result.blame:
        return result.blame
    if part in OF_SCRIPTS:
        return LAB
    if part == "lint":
        return PRODUCT if result.name.split()[-1].startswith(OURS) else LAB
    if part == "rules":
        return of_rule(result.name, result.reason)
    return KERNEL if part == "deadly" else PRODUCT


def lines(parts):
    """One line for each part that failed and each who is to blame.

    @parts: name of a part -> its results
    """
    found = {}
    for part, results in parts.items():
        for one in results:
            if one.state == ktap.FAILED:
                found.setdefault((part, of_result(part, one)), []).append(one)
    text = []
    for (part, who), failed in found.items():
        more = f" and {len(failed) - 1} more" if len(failed) > 1 else ""
        where = failed[0].evidence or paths.CHECK / f"{part}.ktap"
        text.append(f"part {part}: {who}: {failed[0].name}{more}; "
                    f"evidence: {files.short(where)}")
    return text
