# SPDX-License-Identifier: GPL-2.0-only
"""One job for the lab: what it runs, where its results go, and how it ended."""

import fcntl
import json
import os
import shutil
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Optional

from base import files, say
from boot import scenario, vm
from judge import dmesg, races, vendor
from make import gnuplot, mark, place, versions
from show import downtime_report, report

JOB = "job.json"
# How often KCSAN reported each race of the kernel's own.
FOREIGN = "races.txt"
SECOND = "host-b"

# Scenarios that only gather evidence -> what judges it, outside the lab.
JUDGES = {
    "migrate": lambda results: report.finish(results, scenario.keys("migrate")),
    "vendor": lambda results: report.finish(results, scenario.keys("vendor"), vendor.judge),
    "libvirt": lambda results: report.finish(results, scenario.keys("libvirt")),
    "experiment": lambda results: downtime_report.finish(results, gnuplot.draw),
}


@contextmanager
def results_directory(path):
    """An empty directory for results; no other run uses it until this one is over."""
    path.mkdir(parents=True, exist_ok=True)
    with place.locked(path, fcntl.LOCK_EX, f"another run writes to {files.short(path)} right now; "
                      "choose another with --results"):
        _empty(path)
        yield path


def _empty(path):
    """Remove old results, and nothing else."""
    mark.put(path, mark.RESULTS)
    for name in os.listdir(path):
        if name == mark.RESULTS:
            continue
        entry = path / name
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        else:
            entry.unlink()


@dataclass
class Outcome:
    """How a job ended.

    @code:     exit code of the program in the lab, None without a verdict
    @reason:   why there is no verdict, or None
    @findings: what the kernel logged and must not: list of (what, line)
    """
    code: Optional[int]
    reason: Optional[str]
    findings: list

    def exit_code(self):
        """0 only if all is well."""
        if self.reason or self.code is None or self.findings:
            return self.code or 1
        return self.code


def run(results, job, argv, *, accel=None, options=(), terminal=False, timeout=None,
        quiet=False, beside=None, silence=None, guest_mb=0, disk=None):
    """Run argv in the lab, say what went wrong, return the Outcome.

    @job: what /results/job.json tells the program in the lab; the accelerator and the machine are
          added
    @accel: the accelerator; None: the best there is
    @quiet: say nothing, since the run is expected to go wrong
    @beside: the command of a second lab, whose results are in the directory SECOND of ours
    @silence: seconds until a CPU that gives no sign of life counts as dead; None: the usual
    @guest_mb: MiB of memory that a guest in the lab has
    @disk: the root disk, if it is not the image's
    """
    accel = accel or vm.accelerator()
    job = dict(job, accel=accel, machine=vm.machine())
    (results / JOB).write_text(json.dumps(job, indent=1) + "\n")
    _write_argv(results, argv)
    second = None
    if beside:
        second = results / SECOND
        second.mkdir()
        (second / JOB).write_text(json.dumps(job, indent=1) + "\n")
        _write_argv(second, beside)
    reason = vm.run(results, accel, options, terminal, timeout, second, silence,
                    guest_mb, disk)
    logs = [directory / name for directory in filter(None, (results, second))
            for name in ("dmesg.txt", "console.txt")]
    outcome = Outcome(_status(results), reason, dmesg.scan_files(logs))
    if second and _status(second) and not reason:
        outcome.reason = f"the second lab ended with {_status(second)}"
    if outcome.code is None and not reason:
        outcome.reason = "the lab left no status"
    if not quiet:
        _tell(outcome, results)
    leave_foreign(logs, results)
    return outcome


def leave_foreign(logs, results):
    """Show the kernel's own races, which fail nothing."""
    found = races.foreign(path.read_text(errors="replace") for path in logs if path.exists())
    if not found:
        return
    path = results / FOREIGN
    path.write_text("".join(f"{number:6} {what}\n" for what, number in found.most_common()))
    say.info(f"kernel log: {found.total()} reports of {len(found)} races of the kernel's own, where "
             f"no side is in our code: {files.short(path)}")


def _write_argv(results, argv):
    """Tell the lab what to run."""
    (results / "argv").write_text("".join(f"{word}\n" for word in argv))


def _status(results):
    """The exit code, which the lab writes last; None if it did not get there."""
    try:
        return int((results / "status").read_text())
    except (FileNotFoundError, ValueError):
        return None


def _tell(outcome, results):
    """Say everything that went wrong, and where the evidence is."""
    for what, line in outcome.findings[:20]:
        say.info(f"kernel log: {what}: {line}")
    if outcome.reason:
        say.info(f"no verdict: {outcome.reason}")
        for name in ("qemu-errors.txt", "console.txt"):
            path = results / name
            lines = path.read_text(errors="replace").splitlines() if path.exists() else []
            for line in lines[-8:]:
                say.info(f"{name}: {line}")
    if outcome.reason or outcome.findings:
        say.info(f"evidence is in {files.short(results)}")


def run_scenario(name, pairs, results, timeout=None):
    """Run a scenario of tests/scenarios."""
    argv = ["python3", scenario.PROGRAM.format(name), "--results", "/results",
            *(f"{key}={value}" for key, value in pairs.items())]
    accel = scenario.accelerator(name)
    # There is no nested virtualisation under icount, and the scenario loads the modules it
    # measures.
    options = ["lab.bare"] if accel == "icount" else _of_container(scenario.container(pairs))
    beside = [*argv[:2], "--beside", "/results"] if scenario.hosts(name) == 2 else None
    with results_directory(results):
        outcome = run(results, {"scenario": name, "args": pairs}, argv, accel=accel,
                      options=options, timeout=timeout or scenario.timeout(name),
                      beside=beside, guest_mb=scenario.guest_mb(name, pairs))
        if name in JUDGES:
            outcome.code = JUDGES[name](results)
    code = outcome.exit_code()
    say.info(f"scenario {name}: " + ("passed" if code == 0 else f"failed (exit {code})"))
    return outcome


def _of_container(container):
    """What tells the lab's init which modules to load."""
    return ["lab.iommufd"] if container == versions.IOMMUFD else []


def run_commands(text, results, *, bare=False, timeout=None):
    """Run a shell script (what came on standard input, as bytes) in the lab."""
    options = ["lab.bare"] if bare else _of_container(versions.container())
    with results_directory(results):
        (results / "commands").write_bytes(text)
        return run(results, {"scenario": "shell", "args": {}}, ["bash", "/results/commands"],
                   options=options, timeout=timeout)


def run_terminal(results, *, bare=False):
    """An interactive shell in the lab."""
    size = os.get_terminal_size(0)
    begin = (f"stty rows {size.lines} cols {size.columns}; cd /root; "
             f"export TERM={os.environ.get('TERM', 'vt100')}; exec bash -i")
    options = ["lab.terminal",
               *(["lab.bare"] if bare else _of_container(versions.container()))]
    with results_directory(results):
        return run(results, {"scenario": "shell", "args": {}}, ["bash", "-c", begin],
                   options=options, terminal=True)
