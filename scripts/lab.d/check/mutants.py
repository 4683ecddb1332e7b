# SPDX-License-Identifier: GPL-2.0-only
"""All mutants: builds them, and checks whether the tests of a check catch each of them.

Mutants that unit tests can kill are killed there. The others go to the lab, all in one boot
(tests/scenarios/mutants.py), and in another one after a mutant that crashed the kernel. A mutant
that crashed it counts as killed only if the console proves that.
"""

import json
import re
import subprocess
from dataclasses import asdict, dataclass, field

from base import files, ktap, process, say
from boot import job, scenario
from judge import dmesg, rules
from make import build, chroot, mutant, paths, ready

RESULTS = paths.OUT / "mutants"
# Beginning of a file's path -> a unit test for it. All that fit are run.
UNITS = {"drivers/vfio/pin": "pin_store_test",
         "drivers/vfio/pin_": "pin_store_model_test",
         "drivers/vfio/dirty_report.": "dirty_report_test",
         "drivers/vfio/page_row.": "page_row_test",
         "drivers/vfio/type1_dma.": "type1_report_test",
         "drivers/vfio/type1_report.": "type1_report_test",
         "drivers/vfio/type1_unmap.": "type1_unmap_test",
         "samples/vfio-mdev/mdma/replay.": "stream_test",
         "samples/vfio-mdev/mdma/sequence.": "sequence_test",
         "samples/vfio-mdev/mdma/snapshot.": "stream_test",
         "samples/vfio-mdev/mdma/stream.": "stream_test",
         "samples/vfio-mdev/mdma/stream_values.": "stream_test",
         "samples/vfio-mdev/mdma/window.": "stream_test"}
UNIT_SECONDS = 180
BOOT_SECONDS = 240
MUTANT_SECONDS = 20
KILLED, SURVIVED, ERROR = "killed", "survived", "error"
AGAIN = 3


@dataclass
class Verdict:
    """The result for a mutant: @state, and the tests or lines that show it."""
    name: str
    state: str
    where: str
    by: list = field(default_factory=list)
    seconds: float = 0


# --- in user space ----------------------------------------------------------


def unit_programs(one):
    """The unit tests that are built from the files that a mutant changes."""
    if one.tests and "unit" not in one.tests:
        return []
    return sorted({program for begin, program in UNITS.items()
                   for path in one.hunks if path.startswith(begin)})


def unit_failures(text, code):
    """What failed in unit tests: names of tests, or a sanitizer's findings."""
    failed = [result.name for result in ktap.parse(text, "unit")
              if result.state == ktap.FAILED and not result.name.startswith("unit: plan")]
    failed += re.findall(r"(?:ERROR|SUMMARY): (\w+Sanitizer: [\w-]+)", text)[:1]
    failed += re.findall(r"runtime error: .*", text)[:1]
    return failed or ([f"exit code {code}"] if code else [])


def try_unit(one):
    """The unit tests' verdict; None if they do not cover the files, or find nothing."""
    programs = unit_programs(one)
    if not programs:
        return None
    target = build.mutant_unit(one.name, programs)
    try:
        build.build(target)
    except say.LabError as error:
        return Verdict(one.name, ERROR, "unit", [str(error)])
    script = "status=0; for p; do \"$p\" || status=1; done; exit $status"
    words = ["sh", "-c", script, "sh",
             *(f"/mnt/build/{target.name}/bin/{program}" for program in programs)]
    try:
        done = subprocess.run(chroot.command(words, build.binds()), text=True, check=False,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              stdin=subprocess.DEVNULL, timeout=UNIT_SECONDS,
                              env=process.ENVIRONMENT, preexec_fn=process.die_with_parent)
    except subprocess.TimeoutExpired:
        return Verdict(one.name, KILLED, "unit", [f"no end after {UNIT_SECONDS} s"])
    failed = unit_failures(done.stdout, done.returncode)
    return Verdict(one.name, KILLED, "unit", failed) if failed else None


# --- in the lab -------------------------------------------------------------


def selftests():
    """Name of a test -> its program, of all selftests."""
    found = {}
    for path in sorted(paths.SELFTESTS.glob("*.c")):
        for name in re.findall(r"(?m)^TEST_F\(\w+, (\w+), \d+\)", path.read_text()):
            found[name] = path.stem
    return found


def tests_of(one, known):
    """program -> names of the tests that must catch a mutant."""
    wanted = [word for word in one.tests if word not in ("unit", "build")]
    if one.tests:
        chosen = [name for name in known if any(name.startswith(word) for word in wanted)]
        for word in wanted:
            if not any(name.startswith(word) for name in known):
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
        return Verdict(one.name, KILLED if "build" in one.tests else ERROR, "build", [str(error)])
    return None


def plan(left, known, baseline):
    """The scenario's input: mutants and their tests, and all of these tests."""
    everything, entries = {}, []
    for one in left:
        programs = tests_of(one, known)
        for program, names in programs.items():
            everything.setdefault(program, set()).update(names)
        module = build.mutant(one.name).products[0]
        entries.append({"name": one.name, "programs": programs,
                        "module": "mdma" if module == "mdma.ko" else "vfio"})
    return {"baseline": {program: sorted(names) for program, names in everything.items()}
                        if baseline else {}, "mutants": entries}


def proof(console, name):
    """What the console says about the kernel's end, after the name of this mutant."""
    _, told, after = console.rpartition(f"mutant: {name}\n")
    return [line for _, line in dmesg.scan(after)][:2] if told else []


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
        lines = proof(console, name)
        verdicts.append(Verdict(name, KILLED if lines else ERROR, "console",
                                lines or [f"{outcome.reason}, and the console does not say why"]))
    return verdicts


def boot(number, left, known):
    """One boot of the lab, for as many of the mutants as it survives."""
    first = number == 1
    (paths.PAYLOAD / "mutant" / "plan.json").write_text(json.dumps(plan(left, known, first)))
    directory = RESULTS / f"boot{number}"
    argv = ["python3", scenario.PROGRAM.format("mutants"), "--results", "/results"]
    with job.results_directory(directory):
        outcome = job.run(directory, {"scenario": "mutants", "args": {}}, argv,
                          timeout=BOOT_SECONDS + MUTANT_SECONDS * len(left), quiet=True)
    if first and not (directory / "baseline").exists():
        raise say.LabError("the tests fail without a mutant, or the lab does not run: "
                           f"{outcome.reason or files.short(directory / 'output.txt')}")
    return read_boot(directory, left, outcome), outcome


def try_lab(left):
    """Verdicts of the lab, one boot after another, until each mutant has one."""
    verdicts, number, known = [], 0, selftests()
    while left:
        number += 1
        found, outcome = boot(number, left, known)
        verdicts += found
        done = {verdict.name for verdict in found}
        left = [one for one in left if one.name not in done]
        if left and not found:
            why = outcome.reason or f"exit code {outcome.code}"
            return verdicts + [Verdict(one.name, ERROR, "lab", [why]) for one in left]
    return verdicts


# --- all of it --------------------------------------------------------------


def judge(chosen):
    """A verdict for each of these mutants."""
    verdicts, left = [], []
    with say.Step("mutants: unit tests", quiet=True):
        for one in chosen:
            verdict = try_unit(one)
            if verdict:
                say.info(f"{one.name}: {verdict.state}: {'; '.join(verdict.by)}")
                verdicts.append(verdict)
            else:
                left.append(one)
    # A mutant that only unit tests are to catch has survived them.
    verdicts += [Verdict(one.name, SURVIVED, "unit") for one in left if one.tests == ["unit"]]
    left = [one for one in left if one.tests != ["unit"]]
    if not left:
        return verdicts
    ready.make(scenario.targets("mutants", {}))
    built = []
    # Sorted by file: the next one can then use what the last one compiled.
    for one in sorted(left, key=lambda one: list(one.hunks)):
        verdict = try_build(one)
        if verdict:
            verdicts.append(verdict)
        elif one.tests == ["build"]:
            verdicts.append(Verdict(one.name, SURVIVED, "build"))
        else:
            built.append(one)
    return verdicts + try_lab(built)


def run(names):
    """Judge these mutants (default: all); the exit code is 0 if all are killed."""
    chosen = [mutant.load(name) for name in names or mutant.names()]
    known = selftests()
    for one in chosen:
        tests_of(one, known)
    RESULTS.mkdir(parents=True, exist_ok=True)
    verdicts = {verdict.name: verdict for verdict in judge(chosen)}
    rows = [{"rules": one.rules, "breaks": one.breaks, "tests": one.tests,
             **asdict(verdicts[one.name])} for one in chosen]
    (RESULTS / "mutants.json").write_text(json.dumps(rows, indent=1) + "\n")
    for row in rows:
        print(f"{row['name']:34} {', '.join(row['rules']):12} {row['state']:9} {row['where']:8}"
              f"{'; '.join(row['by'])[:100]}")
    killed = [row for row in rows if row["state"] == KILLED]
    for row in rows:
        if row["state"] != KILLED:
            print(f"NOT KILLED {row['name']}: {row['state']}: {row['breaks']}")
    print(f"{len(rows)} mutants, {len(killed)} killed", flush=True)
    return 0 if rows and len(killed) == len(rows) else 1
