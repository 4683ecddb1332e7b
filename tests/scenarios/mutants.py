#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""The selftests for each mutant's rule on that mutant: one of them must fail.

scripts/lab.d/check/mutants.py leaves a plan beside the modules: for each mutant, its module and
the tests. First, all of these tests must pass on the modules without a mutant. The verdict on a
mutant goes to NAME.json at once, and "current" has the name of the mutant that is being tested, in
case the kernel does not survive it. Exit code 3 asks for a new boot: something is stuck, or a
mutant has damaged the kernel.

usage: mutants.py --results DIR [key=value ...]          (as root; --help: keys)
"""

import json
import os
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "scripts/lab.d"))

# pylint: disable=wrong-import-position
import selftests
from base import ktap, say, settings, site
from play import arguments, backend, entry, mdev, vfio_iommufd, vfio_logging

# What a run needs to have built, and for which settings (boot/scenario.py).
BUILDS = {"selftests": "", "nic": "", "logging": "", "iommufd": ""}

KEYS = settings.keys(own={
    "plan": settings.File("mutant/plan.json", "which mutants, and which tests"),
    "limit": settings.Number(100, "seconds for one program", 1),
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


def try_tests(programs, config, log, first=True):
    """Run tests, until one fails if @first. Returns (those that failed, what the kernel logged,
    what is stuck in the kernel)."""
    failed, said = [], []
    for program, names in sorted(programs.items()):
        text, stuck = selftests.run_program(Path(config["programs"]) / program, names, {},
                                            config["limit"])
        findings = log.findings()
        said += [line for _, line in findings]
        failed += [result.name + (f": {result.reason}" if result.reason else "") for result
                   in ktap.parse(selftests.mark(text, findings), program)
                   if result.state != ktap.PASSED]
        if stuck or (first and failed):
            return failed, said, stuck
    return failed, said, []


def keep(path, facts):
    """Write a file that is on the host when this returns: the next line may end the kernel."""
    with open(path, "w") as stream:
        stream.write(facts)
        stream.flush()
        os.fsync(stream.fileno())


def one(mutant, config, directory, log):
    """Test a mutant. Returns whether the kernel can be used for another one."""
    begin = time.monotonic()
    keep(directory / "current", mutant["name"])
    Path("/dev/kmsg").write_text(f"mutant: {mutant['name']}\n")
    state, by, doubtful, stuck = "error", [], True, []
    try:
        load(site.built(f"mutant/{mutant['name']}"), mutant["module"])
        log.findings()
        failed, said, stuck = try_tests(mutant["programs"], config, log)
        state, by = "killed" if failed else "survived", failed + said[:1] + stuck[:1]
        doubtful = said or any("bail out" in line for line in failed)
    except say.LabError as err:
        by = [str(err)]
    seconds = round(time.monotonic() - begin, 1)
    keep(directory / f"{mutant['name']}.json",
         json.dumps({"state": state, "by": by, "seconds": seconds}))
    print(f"{mutant['name']:34} {state:9} {seconds:5.1f} s  {'; '.join(by)[:90]}", flush=True)
    return not stuck and (not doubtful or sound(config, log))


def sound(config, log):
    """Whether all is well without a mutant."""
    try:
        load("", "")
        log.findings()
        return try_tests(SOUND, config, log) == ([], [], [])
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
            bad += sum(try_tests(own, config, log, first=False), [])
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
