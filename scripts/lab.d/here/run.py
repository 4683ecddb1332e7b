# SPDX-License-Identifier: GPL-2.0-only
"""Runs a scenario on this host: scripts/lab --here run."""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from contextlib import contextmanager, suppress
from pathlib import Path

from base import files, process, say
from boot import job, scenario, vm
from here import conditions
from here.changes import Changes
from here.host import Host
from make import paths, place

# The scenarios that can, and the settings by which they would need modules that only the lab has.
SCENARIOS = ("migrate",)
OF_THE_LAB = {"tracking": "container", "container": "type1"}
# Seconds that a scenario has to end by itself.
PATIENCE = 60


def pairs(name, words):
    """key=value words as a dictionary. No control unless it is asked for: it loads a broken
    backend."""
    if name not in SCENARIOS:
        raise say.UsageError(f"--here: {name} runs in the lab only; without one: "
                             f"{', '.join(SCENARIOS)}")
    given = {"control": "0", **scenario.pairs(name, words)}
    for key, only in OF_THE_LAB.items():
        if given.get(key, only) != only:
            raise say.UsageError(f"--here: {key}={given[key]} needs modules that only the lab has; "
                                 f"give {key}={only}, or leave out --here")
    return given


def built():
    """The directory of what the guests boot."""
    return Path(os.environ.get("MDMA_BUILT") or paths.PAYLOAD).resolve()


def settings_of(name, given):
    """The scenario's settings by key; files as paths."""
    known = scenario.keys(name)
    found = {key: setting.value(given.get(key, setting.default)) for key, setting in known.items()}
    for key in ("kernel", "initrd", "mutant"):
        found[key] = str(built() / given.get(key, known[key].default))
    return found


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


@contextmanager
def kernel_log(target):
    """Leave what the kernel logs meanwhile in a file."""
    mark = f"mdma: scripts/lab --here begins, process {os.getpid()}"
    with suppress(OSError):
        Path("/dev/kmsg").write_text(mark + "\n")
    try:
        yield
    finally:
        done = subprocess.run(["dmesg"], capture_output=True, text=True, errors="replace",
                              check=False, env=process.ENVIRONMENT)
        before, found, after = done.stdout.rpartition(mark)
        target.write_text(after if found else before or done.stdout)


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
            *(f"{key}={value}" for key, value in {**given, "shm": shm}.items())]
    child = process.start(argv, stdin=subprocess.DEVNULL,
                          env={**process.ENVIRONMENT, "MDMA_BUILT": str(built())})
    try:
        return child.wait()
    finally:
        _end(child)


def _scenario(host, name, given, results):
    """Load, play, put back. Returns the exit code of the scenario."""
    wanted = settings_of(name, given)
    changes = Changes(host)
    try:
        with kernel_log(results / "dmesg.txt"), memory(wanted["shm"]) as shm:
            changes.load()
            return _play(name, given, results, shm)
    finally:
        for sentence in changes.put_back():
            say.info(f"left behind: {sentence}")


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
        code = job.JUDGES[name](results) or code
    say.info(f"scenario {name} on this host: "
             + ("passed" if code == 0 else f"failed (exit {code}); see {files.short(results)}"))
    return code
