# SPDX-License-Identifier: GPL-2.0-only
"""Mutants in the lab, all in one boot (tests/scenarios/mutants.py), and in another one after a
mutant that crashed the kernel. A mutant that crashed it counts as killed only if the console proves
that: a lab that got no CPU time, or no memory, ends as well."""

import json
import re

from base import files, say
from boot import job, scenario
from check import blame
from check.mutant_units import UNITS
from check.verdict import ERROR, KILLED, Verdict
from judge import dmesg, rules
from make import build, paths

RESULTS = paths.OUT / "mutants"
# Of a boot, with the tests without a mutant, and with one mutant whose tests do not end.
BOOT_SECONDS = 1200
# For a mutant, by scenario.
SECONDS = {"mutants": 60, "guest_mutants": 300}
# Beginning of a file's path -> programs of tests/selftests that are about it; the longest that
# fits counts. They are to catch mutants that are made by rule.
BACKEND = {
    "": ("report", "range", "repin", "account", "unmap", "fault", "rw", "start"),
    "dirty_report": ("report", "fault", "range"),
    "pin_": ("report", "repin", "range", "account", "unmap"),
    "type1_account": ("account", "locked", "repin"),
    "type1_container": ("lifetime", "start", "account"),
    "type1_dirty": ("start", "report", "errno"),
    "type1_pin": ("repin", "account", "fault", "slow"),
    "type1_report": ("report", "range", "fault"),
    "type1_rw": ("rw", "slow"),
    "type1_unmap": ("unmap", "busy", "sizes", "errno"),
    "type1_unpin": ("account", "unmap", "repin"),
}
DEVICE = {
    "": ("uapi", "ring", "workload", "fsm"),
    "access": ("ring", "held", "going", "unmap"),
    "channel": ("channels", "ring", "fsm"),
    "debugfs": ("repin", "rw", "ledger"),
    "device": ("create", "request", "fsm"),
    "dirty_log": ("dirty_log", "dirty_log_model"),
    "file": ("file", "migration", "fsm"),
    "going": ("going", "unmap"),
    "held": ("held", "midway", "account"),
    "intx": ("intx", "pci"),
    "irq": ("msix", "intx"),
    "job": ("ring", "workload", "midway"),
    "knobs": ("settings", "workload"),
    "ledger": ("ledger", "account"),
    "main": ("create", "request", "uapi"),
    "manual": ("repin", "rw", "account"),
    "migration": ("migration", "fsm", "file"),
    "pci": ("pci", "uapi", "msix"),
    "regs": ("ring", "uapi", "channels"),
    "replay": ("replay", "stream"),
    "ring": ("ring", "channels"),
    "run": ("workload", "held"),
    "sequence": ("pattern", "workload"),
    "settings": ("settings", "stream", "waiting"),
    "snapshot": ("stream", "migration"),
    "stats": ("uapi", "workload"),
    "stream": ("stream", "settings", "moved"),
    "sysfs": ("create", "workload"),
    "thread": ("workload", "ring", "fsm"),
    "trace": ("trace",),
    "unmap": ("unmap", "going", "request"),
    "upload": ("file", "stream"),
    "vfio": ("uapi", "pci"),
    "window": ("stream", "uapi", "ring"),
    "workload": ("workload", "pattern", "waiting"),
}
PROGRAMS = {**{f"drivers/vfio/{begin}": found for begin, found in BACKEND.items()},
            **{f"samples/vfio-mdev/mdma/{begin}": found for begin, found in DEVICE.items()}}


def selftests():
    """Name of a test -> its program, of all selftests."""
    found = {}
    for path in sorted(paths.SELFTESTS.glob("*.c")):
        for name in re.findall(r"(?m)^TEST_F\(\w+, (\w+), \d+\)", path.read_text()):
            found[name] = path.stem
    return found


def tests_for(path, lab=True):
    """What is to catch a mutant that is made by rule in a file: unit tests, programs."""
    unit = any(path.startswith(begin) for begin in UNITS)
    begin = max((begin for begin in PROGRAMS if path.startswith(begin)), key=len, default=None)
    found = [f"{program}.c" for program in PROGRAMS.get(begin, ())] if lab else []
    return (["unit"] if unit else []) + found


def tests_of(one, known):
    """program -> names of the tests that must catch a mutant."""
    wanted = [word for word in one.tests if word not in ("unit", "build")]
    if one.tests:
        def meant(name, word):
            return f"{known[name]}.c" == word or name.startswith(word)
        chosen = [name for name in known if any(meant(name, word) for word in wanted)]
        for word in wanted:
            if not any(meant(name, word) for name in known):
                raise say.LabError(f"mutant {one.name}: no test {word}")
    else:
        chosen = [name for name in known if set(rules.NAMED.findall(name)) & set(one.rules)]
    programs = {}
    for name in chosen:
        programs.setdefault(known[name], []).append(name)
    if not programs and not {"unit", "build"} & set(one.tests):
        raise say.LabError(f"mutant {one.name}: no test is to catch it")
    return programs


def try_build(one):
    """Build the module of a mutant. Returns a verdict if that fails, otherwise None."""
    try:
        build.make_mutant(one.name)
    except say.LabError as error:
        if not build.refused(error):
            return Verdict(one.name, ERROR, "lab", [str(error)])
        return Verdict(one.name, KILLED if "build" in one.tests else ERROR, "build", [str(error)])
    return None


def plan(left, known, baseline):
    """The scenario's input: mutants and their tests, and all of these tests."""
    everything, entries = {}, []
    for one in left:
        programs = tests_of(one, known)
        for program, names in programs.items():
            everything.setdefault(program, set()).update(names)
        module = "mdma" if build.mutant(one.name).products[0] == "mdma.ko" else "vfio"
        entries.append({"name": one.name, "programs": programs,
                        "module": "iommufd" if one.of_iommufd else module})
    return {"baseline": {program: sorted(names) for program, names in everything.items()}
                        if baseline else {}, "mutants": entries}


def proof(console, name):
    """What the console says about the kernel's end, after the name of this mutant: (lines, whether
    they prove that the mutant is the reason)."""
    _, told, after = console.rpartition(f"mutant: {name}\n")
    findings = dmesg.scan(after) if told else []
    # A panic follows from something else.
    causes = [one for one in findings if one[0] not in ("no memory", "panic")]
    who = blame.of_kernel_log(causes, after, [])
    return [line for _, line in findings][:2], bool(findings) and who != blame.LAB


def read_boot(directory, left, outcome):
    """The verdicts that a boot left, and the one that the console shows."""
    verdicts = []
    for one in left:
        path = directory / f"{one.name}.json"
        if path.exists():
            facts = json.loads(path.read_text())
            verdicts.append(Verdict(one.name, facts["state"], "lab", facts["by"],
                                    facts["seconds"]))
    current = directory / "current"
    name = current.read_text() if current.exists() else None
    if outcome.reason and name and name not in {verdict.name for verdict in verdicts}:
        console = (directory / "console.txt").read_text(errors="replace").replace("\r\n", "\n")
        lines, proves = proof(console, name)
        why = f"{outcome.reason}, and the console does not show that the mutant is the reason"
        verdicts.append(Verdict(name, KILLED if proves else ERROR, "console",
                                lines if proves else [why, *lines]))
    return verdicts


def boot(name, number, left, entries):
    """One boot of the lab, for as many of the mutants as it survives.

    @name:    the scenario
    @entries: its plan
    """
    (paths.PAYLOAD / "mutant" / "plan.json").write_text(json.dumps(entries))
    directory = RESULTS / f"{name}{number}"
    argv = ["python3", scenario.PROGRAM.format(name), "--results", "/results"]
    with job.results_directory(directory):
        outcome = job.run(directory, {"scenario": name, "args": {}}, argv,
                          timeout=BOOT_SECONDS + SECONDS[name] * len(left), quiet=True)
    if number == 1 and not (directory / "baseline").exists():
        raise say.LabError("the tests fail without a mutant, or the lab does not run: "
                           f"{outcome.reason or files.short(directory / 'output.txt')}")
    return read_boot(directory, left, outcome), outcome


def boot_until_judged(name, left, plan_of):
    """Verdicts of a scenario, one boot after another, until each mutant has one.

    @plan_of: (mutants that are left, whether this is the first boot) -> the scenario's plan
    """
    verdicts, number = [], 0
    while left:
        number += 1
        found, outcome = boot(name, number, left, plan_of(left, number == 1))
        verdicts += found
        done = {verdict.name for verdict in found}
        left = [one for one in left if one.name not in done]
        if left and not found:
            why = outcome.reason or f"exit code {outcome.code}"
            return verdicts + [Verdict(one.name, ERROR, "lab", [why]) for one in left]
    return verdicts


def try_all(left):
    """A verdict for each of these mutants of the lab's modules."""
    known = selftests()
    return boot_until_judged("mutants", left, lambda rest, first: plan(rest, known, first))
