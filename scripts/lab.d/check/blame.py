# SPDX-License-Identifier: GPL-2.0-only
"""Whose fault it is that a part of a check failed, and where the evidence is.

What failed decides. The product is at fault if a proof, a rule of ours or the build of our code
fails. The kernel's own is at fault if its type1 does not show what it must show. The lab is at
fault if there is no verdict, an oracle broke, a disk is full, or our own scripts or tests fail.
What took too long may be the product's fault or the lab's, unless the lab's kernel logged a stall.
"""

import re

from base import files, ktap
from judge import dmesg
from make import paths

PRODUCT, KERNEL, LAB = "the product", "the kernel's own", "the lab"
UNKNOWN = f"{PRODUCT} or {LAB}"

OURS = ("drivers/", "samples/", "include/")
# Parts whose failures are about our own scripts, or about what they measured.
OF_SCRIPTS = ("python", "pages", "experiment", "reports", "races")

# A breakpoint of the kernel's own, which it had removed: QEMU executed old code (lab.rst, "The
# emulated CPU").
OLD_CODE = re.compile(r"Oops: int3.*?\bRIP: 0010:[^ \n]+\n", re.DOTALL)
TRACEBACK = "Traceback (most recent call last)"

# Reasons of a proof's verdict that are not about the product: the gathering or judging of evidence
# broke, or was too slow; and those that only follow from others.
NO_PROOF = re.compile(r"(\w+: )?(oracle broken|control: |there was no control"
                      r"|(TraceError|LabError|OSError|\w*NotFoundError|TimeoutError): "
                      r"|\w+ is [\d.]+, must be (more than|at least)|nothing was reported"
                      r"|\w+ is not known|\d+ pages are in reports of UNMAPs"
                      r"|the other cases were not played)")
# Something took too long.
LATE = re.compile(r".*\b(after|in) \d+ s\b")
FOLLOWS = re.compile(r"the lab ended without a status|the scenario ended with|kernel log: ")


def of_reason(reason, late=UNKNOWN):
    """Who is to blame for one reason of a proof's verdict; None if it follows from others.

    @late: who is to blame if something took too long
    """
    if FOLLOWS.match(reason):
        return None
    if NO_PROOF.match(reason):
        return LAB
    return late if LATE.match(reason) else PRODUCT


def of_proof(results, late):
    """The results of a proof. The verdict has the reasons of all other failures; each becomes a
    result."""
    verdict = next((one for one in results if one.name.split(": ")[-1] == "verdict"), None)
    if not verdict or verdict.state != ktap.FAILED:
        return
    found = {}
    for reason in verdict.reason.splitlines():
        found.setdefault(of_reason(reason, late), reason)
    found.pop(None, None)
    if PRODUCT in found:
        found.pop(UNKNOWN, None)
    elif UNKNOWN in found:
        found.pop(LAB, None)
    for one in results:
        one.blame = one.blame or " and ".join(found)


def of_delay(directory):
    """Who is to blame if something took too long in a run: the lab, if its kernel got no CPU time
    or no memory, and no function of ours was in the trace."""
    logs = [path for name in ("console.txt", "dmesg.txt")
            for path in (directory / name, *sorted(directory.glob(f"*/{name}")))]
    names = [name for name, _ in dmesg.scan_files(logs)]
    text = "".join(path.read_text(errors="replace") for path in logs if path.exists())
    return LAB if dmesg.starved(names, text) else UNKNOWN


def of_file(path, results, directory):
    """Set who is to blame for the results of a KTAP file, by where the file is from.

    @directory: of the run
    """
    stock = "stock" in (path.stem, path.parent.name)
    stuck = "stuck in state" in path.read_text(errors="replace")
    for one in results:
        late = "bail out" in one.name and "no end after" in one.reason
        one.blame = LAB if TRACEBACK in one.reason \
            else of_delay(directory) if late and not stuck \
            else KERNEL if stock else PRODUCT
    if path.stem == "proof":
        for one in results:
            one.blame = ""
        of_proof(results, of_delay(directory))


def of_kernel_log(findings, text, results):
    """Who is to blame for what the kernel logged: the tests during which it was logged; or the
    modules in a trace; or the lab, if the kernel got no CPU time, or executed old code.

    @text: the log
    @results: those of the run
    """
    lines = [re.sub(r"^\[[ \d.]+\] *", "", line) for _, line in findings]
    said = {one.blame for one in results if one.state == ktap.FAILED and one.blame
            and any(line in one.reason for line in lines)}
    if said:
        return " and ".join(sorted(said))
    if OLD_CODE.search(text):
        return LAB
    if dmesg.OF_MODULES.search(text):
        return PRODUCT
    return LAB if all(what in dmesg.STALLS for what, _ in findings) else PRODUCT


def of_error(error):
    """Who is to blame for an error that kept a part from running: the lab, unless our code does
    not build. A compiler's message about the disk does not count as that."""
    target, log = getattr(error, "target", None), getattr(error, "log", None)
    if not target or not log or "No space left on device" in str(error):
        return LAB
    return PRODUCT if target.trees[0].startswith(OURS) else LAB


def of_rule(name, reason):
    """Who is to blame for a line of the table of the rules, by what is wrong with it."""
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
    """One line for each failed part and each one to blame.

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
