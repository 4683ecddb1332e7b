# SPDX-License-Identifier: GPL-2.0-only
"""All tests: each part leaves KTAP in out/check; the last line of output is the count."""

import os
import sys

from base import ktap, process, say, workloads
from boot import job, scenario
from check import (beside, blame, browser, debs, hung_lab, lint, newest, reliability, repeat,
                   rules)
from make import (build, chroot, image, lab_kernel, own_driver, packages, paths, ready, trouble,
                  versions)


def _failed(name, error):
    """The result of a part that an error ended."""
    return [ktap.Result(name, ktap.FAILED, str(error), blame.of_error(error),
                        getattr(error, "log", None))]


# --- the parts --------------------------------------------------------------


def in_python(*directories):
    """Unit tests in Python."""
    results = []
    for directory in directories:
        _, said = process.output([sys.executable, "-B", paths.LAB_D / "check/unittest_ktap.py",
                                  paths.REPO / directory])
        results += ktap.parse(said, directory)
    return results


def python_tests():
    """Python unit tests: every directory that has test_*.py, except those of other parts."""
    directories = {path.parent for path in (paths.REPO / "tests").rglob("test_*.py")}
    return in_python(*sorted(str(path.relative_to(paths.REPO)) for path in directories
                             if path not in (paths.PAGES, paths.PLACES)))


def pages():
    """The pages that runs leave, in a browser."""
    if not browser.program():
        packages.ensure(packages.FOR_PAGES)
    return in_python(str(paths.PAGES.relative_to(paths.REPO)))


def places():
    """A clone in odd places, with the image of this one."""
    ready.make(ready.SHELL)
    return in_python(str(paths.PLACES.relative_to(paths.REPO)))


def style():
    """Style of all files."""
    ready.make_source()
    return lint.run()


def builds():
    """Everything compiles without a warning, with W=1 and sparse."""
    ready.make_tree()
    results = []
    for name in build.names():
        try:
            build.check(build.TARGETS[name])
            results.append(ktap.Result(f"build {name}", ktap.PASSED))
        except say.LabError as error:
            results += _failed(f"build {name}", error)
    return results


def unit_tests():
    """Data structures of backend and device in user space, under sanitizers."""
    ready.make_tree()
    target = build.UNIT
    with image.locked(target.directory, "its unit tests"):
        build.refresh(target)
        code, said = process.output(chroot.command(build.command(target), build.binds()))
    results = ktap.parse(said, "unit")
    if code and ktap.counts(results)[1] == 0:
        results.append(ktap.Result("unit: make", ktap.FAILED, f"exit code {code}"))
    return results


def model(**pairs):
    """The model run; SEED= and OPS= of the environment make it another or a longer one."""
    for key in ("seed", "ops"):
        if os.environ.get(key.upper()):
            pairs[key] = os.environ[key.upper()]
    return in_lab("model", **pairs)


def _run_in_lab(name, pairs, directory=None):
    """Run a scenario; returns its outcome and its results directory."""
    pairs = {**pairs, **scenario.of_versions(name, pairs)}
    directory = directory or paths.CHECK / name
    # If the build fails, nothing says what a former run has found, to the part "rules" for example.
    with job.results_directory(directory):
        pass
    ready.make(scenario.targets(name, pairs), scenario.mutants(name, pairs),
               scenario.container(pairs), scenario.driver(name, pairs))
    return job.run_scenario(name, pairs, directory), directory


def in_lab(name, part=None, **pairs):
    """A part that runs a scenario with these settings. Its results are the scenario's KTAP files,
    if any, and its verdict. Results of a part that has not the scenario's name begin with the
    part's name."""
    def run_part():
        outcome, directory = _run_in_lab(name, pairs, paths.CHECK / part if part else None)
        results = []
        for path in sorted(directory.rglob("*.ktap")):
            results += _read(path, directory, name)
        results += _outcome_results(name, outcome, results, directory)
        for result in results:
            result.evidence = result.evidence or directory
            if part:
                result.name = f"{part}: {result.name}"
        return results
    return run_part


def _read(path, directory, name):
    """Results of one KTAP file; those in a subdirectory begin with its name."""
    results = ktap.parse(path.read_text(errors="replace"), f"{name}: {path.stem}")
    blame.of_file(path, results, directory)
    if path.parent != directory:
        for result in results:
            result.name = f"{path.parent.name}: {result.name}"
    return results


def _outcome_results(name, outcome, results, directory):
    """The scenario's own verdict, and the kernel's log. If the log shows why the lab ended, that
    decides who is to blame."""
    # A second lab has its own directory.
    left = "".join(path.read_text(errors="replace")
                   for file in ("output.txt", "console.txt", "dmesg.txt", "traceback.txt")
                   for path in (directory / file, *sorted(directory.glob(f"*/{file}")))
                   if path.exists())
    logged = blame.of_kernel_log(outcome.findings, left, results) if outcome.findings else ""
    bad, who = outcome.reason, logged or blame.LAB
    if not bad and outcome.code and ktap.counts(results)[1] == 0:
        bad, who = f"exit code {outcome.code}", ""
        if blame.TRACEBACK in left:
            bad, who = f"{bad}: the scenario broke, see output.txt", blame.LAB
    findings = "\n".join(f"{what}: {line}" for what, line in outcome.findings)
    return [ktap.Result(f"scenario {name}", ktap.FAILED if bad else ktap.PASSED, bad or "", who),
            ktap.Result(f"kernel log of {name}",
                        ktap.FAILED if findings else ktap.PASSED, findings, logged)]


# Weaknesses that the kernel's own type1 does not survive: the test for each, and the words that
# then appear in the kernel's log, or in the stack of a stuck thread.
DEADLY = {
    "W3": ("R11_W3_stop_while_unmap_waits_for_the_device",
           "usercopy: Kernel memory exposure attempt detected from null address"),
    "W7": ("R15_W7_leaking_driver_is_an_error_of_unmap",
           "kernel BUG at drivers/vfio/vfio_iommu_type1.c"),
    "W18": ("W18_unmap_while_a_device_opens",
            "stuck in state D: [<0>] vfio_iommu_type1_register_device"),
}


def deadly():
    """What kills the kernel's own type1, and with it the lab: one lab for each."""
    results = []
    for weakness, (test, words) in DEADLY.items():
        say.info(f"check: deadly: {test} must end badly")
        pairs = {"only": test, "backend": "stock", "deadly": "1"}
        outcome, directory = _run_in_lab("selftests", pairs, paths.CHECK / "deadly" / weakness)
        left = [directory / "console.txt", *sorted(directory.rglob("*.ktap"))]
        if any(words in path.read_text(errors="replace") for path in left if path.exists()):
            results.append(ktap.Result(test, ktap.PASSED, f"{ktap.EXPECTED}{weakness}: {words}"))
        else:
            # The lab broke if it did not end by itself and the kernel logged nothing.
            who = blame.LAB if outcome.reason and not outcome.findings else blame.KERNEL
            results.append(ktap.Result(test, ktap.FAILED, f"on stock, nothing says '{words}'",
                                       who, directory))
    return results


# Part migrate has the figures of make run. In the others, the rounds are shorter, and a device that
# writes faster than a slow machine sends is stopped sooner.
SHORT = {"bandwidth": "128", "downtime_limit_ms": "8000"}
# And less is written, in a smaller guest, where the proof is about what differs from part migrate.
SMALL = {**SHORT, "pages_min": "44000", "mem_mb": "256", "window_mb": "64"}
# For a preset that writes little.
HASTE = {"nvme-write": {"rate": "0"}}


def presets():
    """A migration with each preset. The control of the part migrate covers them."""
    results = []
    for name in workloads.names():
        results += in_lab("migrate", f"presets/{name}", workload=name, control="0",
                          **SMALL, **HASTE.get(name, {}))()
    return results


# What the lab must find after the defects of tests/reports, in the kernel's log and by kmemleak.
REPORTS = {
    "a use after free": "KASAN: slab-use-after-free",
    "a write out of bounds": "KASAN: slab-out-of-bounds",
    "a shift out of bounds": "UBSAN: shift-out-of-bounds",
    "a sleep under a spinlock": "BUG: sleeping function called from invalid context",
    "an order of locks": "possible circular locking dependency",
    "leaked memory": "unreferenced object",
}


def missed_reports(findings, leaks):
    """Names of REPORTS that appear in neither."""
    text = "\n".join([*(line for _, line in findings), leaks])
    return [name for name, words in REPORTS.items() if words not in text]


def reports():
    """The tools of the debug kernel find the defects, and a run in which they find some fails."""
    outcome, directory = _run_in_lab("reports", {})
    leaks = directory / "kmemleak.txt"
    missed = missed_reports(outcome.findings, leaks.read_text() if leaks.exists() else "")
    results = [ktap.Result(f"the debug kernel reports {name}",
                           ktap.FAILED if name in missed else ktap.PASSED) for name in REPORTS]
    good = outcome.code == 1 and not outcome.reason
    return results + [ktap.Result("a run with reports fails",
                                  ktap.PASSED if good else ktap.FAILED,
                                  "" if good else f"{outcome.code}, {outcome.reason}")]


# Mutants of tests/mutants/races -> the module of which KCSAN must name a function.
RACES = {"locked-without-lock": "vfio_iommu_type1", "count-without-atomic": "mdma"}
RACING_TEST = "mdma_channels_run_side_by_side"


def missed_races(findings):
    """Names of RACES that are not reported."""
    lines = [line for _, line in findings if "KCSAN: data-race in " in line]
    return [name for name, module in RACES.items()
            if not any(f"[{module}]" in line for line in lines)]


def races():
    """KCSAN finds the races of modules of ours that have one, and a run in which it does fails."""
    backend, device = (f"mutant/{name}/{module}.ko" for name, module in RACES.items())
    outcome, directory = _run_in_lab("selftests", {"only": RACING_TEST, "backend": backend,
                                                   "device": device}, paths.CHECK / "races")
    missed = missed_races(outcome.findings)
    results = [ktap.Result(f"KCSAN reports the race of {name}",
                           ktap.FAILED if name in missed else ktap.PASSED, evidence=directory)
               for name in RACES]
    good = outcome.code == 1 and not outcome.reason
    return results + [ktap.Result("a run with races fails", ktap.PASSED if good else ktap.FAILED,
                                  "" if good else f"{outcome.code}, {outcome.reason}")]


def watchdog():
    """The watchdog finds a lab that hangs."""
    ready.make(())
    return hung_lab.check()


def on_iommufd(name, part, **pairs):
    """A part that runs a scenario on iommufd, where QEMU can use the kernel's."""
    def run_part():
        if versions.no_iommufd():
            return [ktap.Result(part, ktap.SKIPPED, versions.no_iommufd())]
        return in_lab(name, part, container=versions.IOMMUFD, **pairs)()
    return run_part


def iommufd():
    """A device with iommufd: a migration with its control."""
    return on_iommufd("migrate", "iommufd/migrate", tracking="device", **SMALL)()


def all_of_iommufd():
    """The same, and its selftests, which part selftests has in a check of the default kernel."""
    return in_lab("selftests", "iommufd/selftests", backend="iommufd")() + iommufd()


def drivers():
    """Drivers by an adapter: each of samples/drivers, with its control."""
    return [result for name in own_driver.names()
            for result in in_lab("vendor", f"drivers/{name}", driver=name, **SHORT)()]


PARTS = {
    "python": python_tests,
    "lint": style,
    "places": places,
    "build": builds,
    "unit": unit_tests,
    "watchdog": watchdog,
    "selftests": in_lab("selftests", backend="ours,stock,logging,iommufd"),
    "iommufd": iommufd,
    "deadly": deadly,
    "rules": rules.check,
    "citizen": in_lab("citizen"),
    "neighbours": in_lab("neighbours"),
    "guests": in_lab("guests"),
    "viommu": in_lab("viommu"),
    "model": model(ops="300000"),
    "kills": in_lab("kills", kills="48"),
    "answers": in_lab("answers"),
    "fuzz": in_lab("fuzz", inputs="3000", seed="1", keep="0"),
    "evidence": in_lab("evidence"),
    "migrate": in_lab("migrate"),
    "tracking": in_lab("migrate", "tracking", tracking="device", compare="none", **SMALL),
    "presets": presets,
    "failures": in_lab("failures", bandwidth=SHORT["bandwidth"], moves="2"),
    "detours": in_lab("detours"),
    "remapped": in_lab("remapped"),
    "libvirt": in_lab("libvirt", **SMALL),
    "libvirt-iommufd": on_iommufd("libvirt", "libvirt-iommufd", **SMALL),
    "driver": in_lab("driver", transfers="30000", loads="10", twice="0"),
    "fire": in_lab("failures", "fire", cases="none", moves="0", pause_s="0", control="0",
                   fire="50"),
    "fire-iommufd": on_iommufd("failures", "fire-iommufd", cases="none", moves="0", pause_s="0",
                               control="0", fire="50"),
    "experiment": in_lab("experiment", points="thread", repeat="1"),
    "newest": newest.check,
    "packages": debs.check,
    "drivers": drivers,
    "pages": pages,
}

# By DEBUG=: parts that find more on that kernel. Its tools report in the kernel's log.
DEBUG_PARTS = {
    "1": {
        "reports": reports,
        "selftests": in_lab("selftests", backend="ours"),
        "model": model(backends="ours", ops="100000"),
        "fuzz": in_lab("fuzz", inputs="150", keep="0"),
    },
    "kcsan": {
        "races": races,
        "selftests": in_lab("selftests", backend="ours"),
        "kills": in_lab("kills", kills="24"),
    },
}

# Parts that run only if they are named: what takes too long for every check.
BY_NAME = ("fire", "fire-iommufd", "libvirt-iommufd", "guests", "viommu", "detours", "remapped",
           "packages", "drivers")

# What a check of a kernel of the user's own is.
OWN_PARTS = {
    "build": builds,
    "selftests": in_lab("selftests", backend="ours"),
    "migrate": in_lab("migrate"),
    "iommufd": all_of_iommufd,
}

# What the check of the default versions tries on others (newest.py): what depends on the kernel and
# on QEMU. Tests of the backend's rules have names that begin with R.
SHORT_PARTS = {
    "build": builds,
    "selftests": in_lab("selftests", backend="ours", only="R"),
    "migrate": in_lab("migrate"),
    "iommufd": on_iommufd("migrate", "iommufd/migrate", tracking="device", control="0", **SMALL),
}


def parts_of_run(short=False):
    """name -> part, for the kernel that the lab boots, and its container. @short: the few that
    are tried on other versions"""
    if short:
        return SHORT_PARTS
    if lab_kernel.OWN:
        return OWN_PARTS
    if versions.debug():
        return DEBUG_PARTS[versions.debug()]
    if versions.container() != versions.TYPE1:
        return {"iommufd": all_of_iommufd}
    if versions.image() != versions.SUITE:
        # Of the default versions' own.
        return {name: part for name, part in PARTS.items() if name != "newest"}
    return PARTS


def names():
    """The parts that can be named."""
    return list(PARTS)


# --- the count --------------------------------------------------------------


def _cpu_seconds():
    """What this process and those that it has waited for have used of the CPUs."""
    return sum(os.times()[:4])


def _run_part(name, part, took):
    before = _cpu_seconds()
    with say.Step(f"check: {name}", quiet=True) as step:
        try:
            results = part() or [ktap.Result(name, ktap.FAILED, "no result at all", blame.LAB)]
        except say.LabError as error:
            results = _failed(name, error)
        except BrokenPipeError:
            raise
        except Exception as error:  # pylint: disable=broad-exception-caught
            results = _failed(name, trouble.words(error))
    try:
        paths.CHECK.mkdir(parents=True, exist_ok=True)
        (paths.CHECK / f"{name}.ktap").write_text(ktap.render(results))
    except OSError as error:
        results += _failed(f"results of {name}", trouble.words(error))
    took[name] = step.elapsed()
    passed, failed, skipped = ktap.counts(results)
    say.info(f"check: {name}: {passed} passed, {failed} failed, {skipped} skipped; "
             f"{_cpu_seconds() - before:.0f} s of a CPU")
    return results


def _leave(report, by_part, took):
    """Leave the results for a CI; returns what failed."""
    try:
        report.write(by_part, took)
        return []
    except OSError as error:
        return _failed("the file of JUNIT=", trouble.words(error))


def _tell(result):
    first, *more = result.reason.splitlines() or [""]
    word = "FAILED" if result.state == ktap.FAILED else "SKIPPED"
    print(f"{word} {result.name}" + (f": {first}" if first else ""))
    for line in more[:15]:
        print(f"\t{line}")


def _figures(results):
    """The table of what was tried and lost, which is left in a file as well."""
    try:
        return reliability.leave(results)
    except (OSError, ValueError) as error:
        return [f"no reliability.json: {trouble.words(error)}"]


def check_parts(parts):
    """Refuse an unknown part."""
    for name in parts:
        if name not in parts_of_run():
            raise say.UsageError(f"no part {name}; there are: {', '.join(parts_of_run())}")


def run(parts, left=None, short=False, report=None, count=1):
    """Run these parts (default: all); returns the exit code.

    @left:   file for the results, see beside.py
    @short:  the check of other versions
    @report: gets the results as well, see junit.py
    @count:  how often each part runs, see repeat.py; a part in a process of its own asks there
    """
    took = {}
    known = {name: repeat.part(name, part, count) for name, part in parts_of_run(short).items()}
    names = list(parts or (name for name in known if name not in BY_NAME))
    by_part = beside.run(names, took) if beside.possible(names) and not short else \
        {name: _run_part(name, known[name], took) for name in names}
    results = [result for results in by_part.values() for result in results]
    if left:
        beside.save(left, results)
    if report:
        results += _leave(report, by_part, took)
    for result in results:
        if result.state != ktap.PASSED:
            _tell(result)
    for line in blame.lines(by_part):
        print(line)
    for line in _figures(results):
        print(line)
    passed, failed, skipped = ktap.counts(results)
    print(f"{passed} passed, {failed} failed, {skipped} skipped", flush=True)
    return 1 if failed or not passed else 0
