#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""The selftests for each mutant's rule on that mutant: one of them must fail.

scripts/lab.d/check/mutants.py leaves a plan beside the modules: for each mutant, its module and
the tests. First, all of these tests must pass on the modules without a mutant. The verdict on a
mutant goes to NAME.json at once, and "current" has the name of the mutant that is being tested, in
case the kernel does not survive it. Exit code 3 asks for a new boot: something is stuck, or a
mutant has damaged the kernel.

A failed test kills a mutant, and so does what the kernel logs. If there is no end, or if the kernel
got no CPU time, that is doubtful: the same must then come to a good end without the mutant, and not
so once more with it. What is stuck in the kernel for ever can't be tried again: it kills the mutant
if a function of ours is on its stack.

usage: mutants.py --results DIR [key=value ...]          (as root; --help: keys)
"""

import json
import os
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "scripts/lab.d"))

# pylint: disable=wrong-import-position
import selftests
from base import ktap, say, settings, site
from judge import dmesg
from play import arguments, backend, entry, mdev, vfio_iommufd, vfio_logging

# What a run needs to have built, and for which settings (boot/scenario.py).
BUILDS = {"selftests": "", "nic": "", "logging": "", "iommufd": ""}

KEYS = settings.keys(own={
    "plan": settings.File("mutant/plan.json", "which mutants, and which tests"),
    "limit": settings.Number(300, "seconds for one program", 1),
    "scale": settings.Number(
        3, "multiplies the time limit of each test, and how long it waits for a thing", 1),
    "programs": settings.File("selftests", "directory of the programs"),
})

AGAIN = 3
# The module of a mutant, and the program, that need an iommufd.
IOMMUFD = "iommufd"
# Tests that follow a mutant that the kernel complained of: has it damaged the kernel?
SOUND = {"report": ["R2_unpinned_page_is_retained"], "account": ["R14_pin_and_unpin_are_counted"]}


def load(directory, module):
    """Load the module of a mutant and the other module unchanged; without a mutant, both
    unchanged. All tests run on the vfio.ko that lets a device track its writes, but those of
    iommufd, which have their own."""
    if module == IOMMUFD:
        vfio_iommufd.load()
        if directory:
            mdev.load(f"{directory}/mdma.ko")
        return
    if Path("/sys/module/iommufd").is_dir():
        vfio_logging.load()
    if Path("/sys/module/mdma").is_dir():
        backend.run("rmmod", "mdma")
    backend.load(f"{directory}/vfio_iommu_type1.ko" if module == "vfio" else "ours")
    mdev.load(f"{directory}/mdma.ko" if module == "mdma" else vfio_logging.mdma())


@dataclass
class Tried:
    """What some tests came to.

    @failed:   those that failed, and why
    @doubtful: what may be the machine's fault: there was no end, or the kernel got no CPU time
    @said:     what the kernel logged
    @stuck:    stacks of what is stuck in it
    """
    failed: list = field(default_factory=list)
    doubtful: list = field(default_factory=list)
    said: list = field(default_factory=list)
    stuck: list = field(default_factory=list)

    def all(self):
        """All that is not as it should be."""
        return self.failed + self.doubtful + self.said + self.stuck


def environment_of(config):
    """The environment that passes the settings to a program."""
    return selftests.environment_of({"scale": config["scale"], "seed": "", "deadly": 0})


def is_doubtful(result, program):
    """Whether a bad result says only that there was no end, of a test or of the program."""
    if "no end after" in result.reason:
        return True
    return result.name in (program, f"{program}: plan", f"{program}: bail out") \
        and not result.reason.startswith("kernel: ")


def try_tests(programs, config, log, first=True):
    """Run tests, until one is not good if @first."""
    tried = Tried()
    for program, names in sorted(programs.items()):
        text, tried.stuck = selftests.run_program(Path(config["programs"]) / program, names,
                                                  environment_of(config), config["limit"])
        findings = log.findings()
        tried.said += [line for _, line in findings]
        for result in ktap.parse(selftests.mark(text, findings), program):
            if result.state != ktap.PASSED and not result.reason.startswith(selftests.NO_CHANCE):
                bad = tried.doubtful if log.starved or is_doubtful(result, program) \
                    else tried.failed
                bad.append(result.name + (f": {result.reason}" if result.reason else ""))
        if tried.stuck or (first and tried.all()):
            break
    return tried


def keep(path, facts):
    """Write a file that is on the host when this returns: the next line may end the kernel."""
    with open(path, "w") as stream:
        stream.write(facts)
        stream.flush()
        os.fsync(stream.fileno())


def try_mutant(mutant, config, log):
    """Run the tests of a mutant on it."""
    load(site.built(f"mutant/{mutant['name']}"), mutant["module"])
    log.findings()
    return try_tests(mutant["programs"], config, log)


def try_again(mutant, config, log):
    """What was doubtful, once more, if all is well without the mutant. Returns (state, by, what the
    tests came to)."""
    load("", mutant["module"] if mutant["module"] == IOMMUFD else "")
    log.findings()
    without = try_tests(mutant["programs"], config, log, first=False)
    if without.all():
        return "error", ["without the mutant, too", *without.all()], without
    tried = try_mutant(mutant, config, log)
    by = tried.failed + tried.doubtful
    return "killed" if by else "survived", [f"twice: {line}" for line in by], tried


def judge(mutant, config, log):
    """(state, by, what the tests came to) of a mutant."""
    tried = try_mutant(mutant, config, log)
    if tried.failed:
        return "killed", tried.failed + tried.said[:1] + tried.stuck[:1], tried
    if tried.stuck:
        ours = any(dmesg.OF_MODULES.search(stack) for stack in tried.stuck)
        return "killed" if ours else "error", tried.stuck, tried
    if tried.doubtful:
        return try_again(mutant, config, log)
    return "survived", [], tried


def one(mutant, config, directory, log):
    """Test a mutant. Returns whether the kernel can be used for another one."""
    begin = time.monotonic()
    keep(directory / "current", mutant["name"])
    Path("/dev/kmsg").write_text(f"mutant: {mutant['name']}\n")
    state, by, tried = "error", [], Tried()
    try:
        state, by, tried = judge(mutant, config, log)
        unsure = tried.said or tried.doubtful
    except say.LabError as err:
        by, unsure = [str(err)], True
    seconds = round(time.monotonic() - begin, 1)
    keep(directory / f"{mutant['name']}.json",
         json.dumps({"state": state, "by": by, "seconds": seconds}))
    print(f"{mutant['name']:34} {state:9} {seconds:5.1f} s  {'; '.join(by)[:90]}", flush=True)
    return not tried.stuck and (not unsure or sound(config, log))


def sound(config, log):
    """Whether all is well without a mutant."""
    try:
        load("", "")
        log.findings()
        return not try_tests(SOUND, config, log).all()
    except say.LabError as err:
        print(f"mutants: {err}", flush=True)
        return False


def baseline(programs, config, log):
    """What fails without a mutant."""
    bad = []
    for module in ("", IOMMUFD):
        own = {program: names for program, names in programs.items()
               if (program == IOMMUFD) == (module == IOMMUFD)}
        if own:
            load("", module)
            bad += try_tests(own, config, log, first=False).all()
    return bad


def main(argv):
    """Test them all, or as many as this boot of the kernel allows."""
    directory, config = arguments.read(__doc__, KEYS, argv)
    plan = json.loads(Path(config["plan"]).read_text())
    vfio_logging.load()
    log = selftests.KernelLog()
    if plan["baseline"]:
        bad = baseline(plan["baseline"], config, log)
        print(f"mutants: without a mutant: {'; '.join(bad) or 'all tests pass'}", flush=True)
        if bad:
            return 1
        keep(directory / "baseline", "good\n")
    for mutant in plan["mutants"]:
        if not one(mutant, config, directory, log):
            return AGAIN
    return 0


if __name__ == "__main__":
    entry.run(main)
