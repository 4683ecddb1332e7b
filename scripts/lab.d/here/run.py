# SPDX-License-Identifier: GPL-2.0-only
"""Runs a scenario on this host: scripts/lab --here run."""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from base import files, process, say, settings, site
from boot import job, scenario, vm
from here import conditions, needs
from here.changes import Changes
from here.host import Host
from judge import dmesg
from make import gnuplot, paths, place
from show import downtime_report

# Settings of modules to be loaded instead of the installed ones, if they are given.
EXCHANGE = ("device", "backend")
# What judges evidence: as for the lab, with programs of the host.
JUDGES = {**job.JUDGES,
          "experiment": lambda results: downtime_report.finish(results, gnuplot.draw_here)}
LOG = "dmesg.txt"

# Seconds that a scenario has to end by itself.
PATIENCE = 60


def pairs(name, words):
    """key=value words as a dictionary, with what differs from the lab."""
    wanted = needs.of(name)
    given = {**wanted.defaults, **scenario.pairs(name, words)}
    needs.check(name, given)
    return given


def built():
    """The directory of what the guests boot."""
    return Path(os.environ.get("MDMA_BUILT") or paths.PAYLOAD).resolve()


def settings_of(name, given):
    """The scenario's settings by key, with files as paths; what it needs, and the modules that it
    loads instead of ours."""
    known = scenario.keys(name)
    found = {key: setting.value(given.get(key, setting.default)) for key, setting in known.items()}
    of_files = {key for key, setting in known.items() if isinstance(setting, settings.File)}
    for key in of_files:
        word = given.get(key, known[key].default)
        found[key] = str(built() / word) if word else ""
    loads = {*scenario.files(name, given), *EXCHANGE} & of_files
    return {**found, "needs": needs.of(name),
            "modules": {key: found[key] for key in sorted(loads) if found[key]}}


def check(host, name, given):
    """Say all that is missing."""
    sentences = conditions.missing(host, settings_of(name, given))
    for sentence in sentences:
        say.info(f"missing: {sentence}")
    if sentences:
        raise say.LabError(f"{len(sentences)} things are missing for {name} on this host, see above"
                           if len(sentences) > 1 else f"{name} can't run on this host, see above")


@contextmanager
def memory(directory):
    """A directory in memory for the scenario, removed at the end."""
    found = tempfile.mkdtemp(prefix=conditions.MEMORY, dir=directory)
    try:
        yield found
    finally:
        shutil.rmtree(found, ignore_errors=True)


def _logged():
    """What the kernel has logged, as far as it still has that."""
    return subprocess.run(["dmesg"], capture_output=True, text=True, errors="replace",
                          check=False, env=process.ENVIRONMENT).stdout


@contextmanager
def kernel_log(target):
    """Leave what the kernel logs meanwhile in a file. Who may not write to its log takes the last
    line in it for the beginning."""
    mark = f"mdma: scripts/lab --here begins, process {os.getpid()}\n"
    try:
        Path("/dev/kmsg").write_text(mark)
    except OSError:
        mark = "".join(_logged().splitlines(True)[-1:])
    try:
        yield
    finally:
        text = _logged()
        target.write_text(text.rpartition(mark)[2] if mark and mark in text else text)


def _end(child):
    """End the scenario, which has devices to remove, and then all that it has left."""
    with suppress(ProcessLookupError, subprocess.TimeoutExpired):
        if child.poll() is None:
            child.terminate()
            child.wait(PATIENCE)
    with suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGKILL)
    child.wait()


def _play(name, given, results, shm):
    """Run the scenario's program. Returns its exit code."""
    argv = [sys.executable, "-B", paths.SCENARIOS / f"{name}.py", "--results", results,
            *(f"{key}={value}" for key, value in {**given, **shm}.items())]
    process.adopt_orphans()
    child = process.start(argv, stdin=subprocess.DEVNULL,
                          env={**process.ENVIRONMENT, site.VARIABLE: str(built())})
    try:
        return child.wait()
    finally:
        with process.STOPPER.put_off():
            _end(child)
            process.end_children(PATIENCE)


def _scenario(host, name, given, results):
    """Load, play, put back. Returns the exit code of the scenario."""
    wanted = settings_of(name, given)
    changes = Changes(host, wanted["needs"])
    try:
        with kernel_log(results / LOG), ExitStack() as stack:
            shm = {"shm": stack.enter_context(memory(wanted["shm"]))} if "shm" in wanted else {}
            changes.load()
            return _play(name, given, results, shm)
    finally:
        with process.STOPPER.put_off():
            for sentence in changes.put_back():
                say.info(f"left behind: {sentence}")


def verdict(name, results, code):
    """The exit code of all: of the scenario, of the kernel's log, and of what judges it."""
    findings = dmesg.scan_files([results / LOG])
    for what, line in findings[:20]:
        say.info(f"kernel log: {what}: {line}")
    judged = JUDGES[name](results) if name in JUDGES else 0
    return judged or code or int(bool(findings))


def run(name, words, results):
    """Run a scenario; returns the exit code."""
    given, host = pairs(name, words), Host()
    check(host, name, given)
    with place.held(results), job.results_directory(results):
        machine = vm.machine().partition(";")[0]
        (results / job.JOB).write_text(json.dumps(
            {"scenario": name, "args": given, "machine": machine}, indent=1) + "\n")
        code = _scenario(host, name, given, results)
        (results / "status").write_text(f"{code}\n")
        code = verdict(name, results, code)
    say.info(f"scenario {name} on this host: "
             + ("passed" if code == 0 else f"failed (exit {code}); see {files.short(results)}"))
    return code
