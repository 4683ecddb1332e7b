#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""All selftests, one program after the other, on one or several backends.

The KTAP of each goes to BACKEND/NAME.ktap in the results. A kernel log with a finding fails the
test that ran. On the kernel's own type1 the tests that on_stock.py lists must fail, and all others
must pass: so each of them is seen to fail. Device-side dirty tracking has its own run, "logging",
on our backend and a vfio.ko that supports it; and so has iommufd, on no type1.

usage: selftests.py --results DIR [key=value ...]          (as root; --help: keys)
"""

import contextlib
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "scripts/lab.d"))

# pylint: disable=wrong-import-position
from base import figures, ktap, settings, site, workloads
from judge import dmesg, on_stock
from play import arguments, backend, entry, mdev, vfio_iommufd, vfio_logging

# What a run needs to have built, and for which settings (boot/scenario.py).
BUILDS = {"selftests": "", "nic": "", "logging": "", "iommufd": ""}

KEYS = settings.keys("device", own={
    "only": settings.Text("", "programs, or begins of names of tests, by comma"),
    "backend": settings.Text(
        "ours,logging,iommufd",
        "ours, stock, a vfio_iommu_type1.ko, logging, iommufd; several by comma"),
    "seed": settings.Text("", "seed of the random tests, to repeat a failure"),
    "deadly": settings.Number(0, "1: on stock, too, what kills it, and perhaps the lab", 0, 1),
    "scale": settings.Number(
        6, "multiplies the time limit of each test, and how long it waits for a thing", 1),
    "programs": settings.File("selftests", "directory of the programs"),
})

# A run -> programs for this run only, which leaves out all others, and how its modules are loaded.
OWN = {"logging": ("dirty_log*", vfio_logging.load), "iommufd": ("iommufd*", vfio_iommufd.load)}

# Begin of a program's name -> what a kernel must have so that its tests can run.
NEEDS = {"failing": "/sys/kernel/debug/failslab"}

# Before multiplication: seconds that a program may take, and that its end may take when it is
# killed.
PROGRAM_TIMEOUT, END_TIMEOUT = 300, 10
# How a test says that the machine kept it from seeing its subject (lib/wait.h).
NO_CHANCE = "no chance: "
# With deadly=1: a program is stuck for ever if a thread of it is where no signal gets, and none has
# run between so many looks, so many seconds apart.
STUCK_LOOKS, LOOK = 20, 0.5


class KernelLog:
    """What the kernel logs from now on."""

    def __init__(self):
        self.file = os.open("/dev/kmsg", os.O_RDONLY | os.O_NONBLOCK)
        os.lseek(self.file, 0, os.SEEK_END)
        self.scan = dmesg.Scan()
        self.starved = False

    def lines(self):
        """The text of each record since the last call."""
        lines = []
        while True:
            try:
                record = os.read(self.file, 8192).decode(errors="replace")
            except BlockingIOError:
                return lines
            except BrokenPipeError:
                continue
            lines.append(record.split("\n")[0].partition(";")[2])

    def findings(self):
        """(test, line) for each line since the last call that reports a defect. Sets "starved":
        whether they only say that the kernel got no CPU time or no memory."""
        test, found, names, lines = "", [], [], self.lines()
        for line in lines:
            if line.startswith("selftest: "):
                test = line.split()[1]
            what = self.scan.line(line)
            if what:
                names.append(what[0])
                found.append((test, what[1]))
        self.starved = dmesg.starved(names, "\n".join(lines))
        return found


def session(leader):
    """Threads of a session that are not zombies, also if their process is one: {its directory in
    /proc: state}."""
    found = {}
    for path in Path("/proc").glob("[0-9]*/task/[0-9]*/stat"):
        try:
            state, _, _, number = path.read_text().rpartition(")")[2].split()[:4]
        except (OSError, ValueError):
            continue
        if int(number) == leader and state != "Z":
            found[path.parent] = state
    return found


def activity(leader):
    """Each thread of a session: {its directory in /proc: (state, how often it has slept)}."""
    found = {}
    for thread, state in session(leader).items():
        with contextlib.suppress(OSError):
            sleeps = re.search(r"\nvoluntary_ctxt_switches:\t(\d+)",
                               (thread / "status").read_text())
            found[thread] = state, sleeps and int(sleeps[1])
    return found


def wait(child, limit, looks):
    """The exit code of a program. TimeoutExpired: it does not end within the limit, or (if @looks
    is not 0) seems to be stuck at so many looks."""
    deadline, seen, same = time.monotonic() + limit, None, 0
    while looks and same < looks and time.monotonic() < deadline:
        with contextlib.suppress(subprocess.TimeoutExpired):
            return child.wait(LOOK)
        now = activity(child.pid)
        stuck = any(state == "D" for state, _ in now.values())
        same, seen = (same + 1 if stuck and now == seen else 0), now
    return child.wait(0 if looks else limit)


def end(child, limit):
    """Kill a program and all of its tests. Returns the stacks of those that can't be killed within
    the limit: they wait in the kernel for ever."""
    deadline = time.monotonic() + limit
    while session(child.pid) and time.monotonic() < deadline:
        for thread in session(child.pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(thread.name), signal.SIGKILL)
        child.poll()
        time.sleep(0.1)
    stacks = []
    for thread, state in session(child.pid).items():
        with contextlib.suppress(OSError):
            stack = (thread / "stack").read_text().replace("\n", " ").strip()
            stacks.append(f"thread {thread.name} stuck in state {state}: {stack}")
    return stacks


def run_program(path, prefixes, environment, limit, end_limit=END_TIMEOUT, looks=0):
    """The KTAP of a program, and what is stuck, which fails it. If it hangs or dies, the rest of
    its KTAP is missing. @looks: as of wait()."""
    with tempfile.TemporaryFile() as output:
        child = subprocess.Popen([str(path), *prefixes], stdout=output, stderr=output,
                                 stdin=subprocess.DEVNULL, start_new_session=True,
                                 env=dict(os.environ, **environment))
        why, code, begin = "", 0, time.monotonic()
        try:
            code = wait(child, limit, looks)
        except subprocess.TimeoutExpired:
            why = ktap.bail_out(f"no end after {time.monotonic() - begin:.0f} s")
        finally:
            # Also if we are to end ourselves.
            stacks = end(child, end_limit)
        output.seek(0)
        text = output.read().decode(errors="replace") + why
    return text + ktap.of_exit_code(code, text) + ktap.bail_out(*stacks), stacks


def time_scale(config):
    """Factor for all time limits."""
    return config["scale"] * site.time_scale()


def limits_of(config):
    """Seconds for a program, and for its end, and looks that see it stuck."""
    limit = PROGRAM_TIMEOUT * time_scale(config)
    if config["deadly"]:
        return limit, END_TIMEOUT, STUCK_LOOKS
    return limit, END_TIMEOUT * time_scale(config), 0


def environment_of(config):
    """The environment that passes the settings to a program."""
    found = {"TIMEOUT_SCALE": str(time_scale(config)), "WORKLOADS": str(workloads.DIRECTORY)}
    if config["seed"]:
        found["SEED"] = config["seed"]
    if config["deadly"]:
        found["DEADLY"] = "1"
    return found


def without_chance(said):
    """The end of a test's line that makes a skip of it, if the test says that it had no chance."""
    found = [line[2:] for line in said if line.startswith(f"# {NO_CHANCE}")]
    return f" # SKIP {found[0]}" if found else ""


def mark(text, findings, release=None):
    """The KTAP with the kernel's log in it, and with what is expected of the kernel's own type1.

    @release: of the kernel whose own type1 was tested; None if that was another type1
    """
    blamed, lines, said = {}, [], []
    for test, line in findings:
        blamed.setdefault(test, []).append(line)
    for line in text.splitlines():
        found = re.match(r"(not ok|ok) (\d+) (\S+)(.*)", line)
        if found:
            word, number, name, rest = found.groups()
            logged = blamed.pop(name, [])
            lines += [f"# kernel: {one}" for one in logged]
            if not release and word == "ok" and not logged:
                rest += without_chance(said)
            if release and "# SKIP" not in rest:
                why, wrong = on_stock.judge(name, word == "ok", said, release)
                lines += [f"# {wrong}"] if wrong else []
                word = "not ok" if wrong else word
                rest += f" # XFAIL {why}" if why and not logged else ""
            line, said = f"{'not ok' if logged else word} {number} {name}{rest}", []
        else:
            said.append(line)
        lines.append(line)
    logged = [f"kernel: {line}" for rest in blamed.values() for line in rest]
    return "\n".join(lines) + "\n" + ktap.bail_out(*logged)


def run_of(path):
    """The run that a program is for; None: all others."""
    return next((run for run, (pattern, _) in OWN.items() if path.match(pattern)), None)


def chosen(config, wanted):
    """(program, prefixes of tests) for each program to run."""
    words = [word for word in config["only"].split(",") if word]
    found = sorted(path for path in Path(config["programs"]).iterdir()
                   if path.is_file() and os.access(path, os.X_OK))
    run = wanted if wanted in OWN else None
    programs = [path for path in found if run_of(path) == run]
    named = [path for path in programs if path.name in words]
    prefixes = [word for word in words if word not in {path.name for path in found}]
    if words and not prefixes:
        return [(path, []) for path in named]
    return [(path, [] if path in named else prefixes) for path in programs]


def unmatched(config, results):
    """Words of "only" that neither named a program of these runs nor began the name of a test."""
    programs = {path.name for wanted in config["backend"].split(",")
                for path, _ in chosen(config, wanted)}
    return [word for word in config["only"].split(",")
            if word and word not in programs
            and not any(result.name.startswith(word) for result in results)]


def cannot_run(name):
    """Whether the running kernel lacks what all tests of a program need."""
    return any(name.startswith(begin) and not os.path.exists(path)
               for begin, path in NEEDS.items())


def report(name, text, seconds, stock):
    """Print the results of a program, and return them. A skip is a failure, unless the test must
    skip here, or had no chance. A host may lack what the lab has; its user is told."""
    results = ktap.parse(text, name)
    lacks = [result for result in results if result.state == ktap.SKIPPED and not stock
             and not cannot_run(name) and not result.reason.startswith(NO_CHANCE)]
    if site.OWN_HOST:
        for reason, number in Counter(result.reason for result in lacks).items():
            print(f"    {number} skipped, which need {reason}", flush=True)
    else:
        for result in lacks:
            result.state = ktap.FAILED
    passed, failed, skipped = ktap.counts(results)
    extra = f", {skipped} skipped" if skipped else ""
    print(f"{name:12} {passed:3} passed, {failed} failed{extra}  ({seconds:.1f} s)", flush=True)
    if failed:
        print("".join(f"    {line}\n" for line in text.splitlines()
                      if not line.startswith("ok ")), end="", flush=True)
    for line in text.splitlines():
        if line.startswith(f"# {NO_CHANCE}"):
            print(f"    {line[2:]}", flush=True)
    if figures.read(text):
        print(figures.line(**figures.read(text)), flush=True)
    return results


# Our modules, in the order of unloading.
BOTH = ("mdma", "vfio_iommu_type1")


def unload(log, *names):
    """Unload modules, which shows what is still in use, or left in a cache of ours."""
    bad = []
    for name in names:
        done = subprocess.run(["rmmod", name], capture_output=True, text=True, check=False)
        bad += [done.stderr.strip() or f"rmmod {name}"] if done.returncode else []
    bad += [line for _, line in log.findings()]
    lines = ["KTAP version 1", "1..1", *(f"# {line}" for line in bad),
             f"{'not ok' if bad else 'ok'} 1 R7_modules_unload_and_leave_nothing"]
    return "\n".join(lines) + "\n"


def load(wanted, device=""):
    """Load the modules for a run. @device: the file of an mdma.ko, or ours"""
    if wanted in OWN:
        OWN[wanted][1]()
    else:
        backend.load(wanted)
        if device:
            mdev.load(device)
    # It is missing if unload() has ended a run before.
    backend.run("modprobe", "mdma")


def run_all(wanted, directory, config):
    """All programs on one backend. Returns their results."""
    stock, results = wanted == "stock", []
    directory.mkdir(exist_ok=True)
    load(wanted, config["device"])
    log = KernelLog()
    left = chosen(config, wanted)
    while left:
        path, prefixes = left.pop(0)
        started = time.monotonic()
        text, stuck = run_program(path, prefixes, environment_of(config), *limits_of(config))
        findings = log.findings()
        if prefixes and "\n1..0\n" in text and not findings and not stuck:
            continue
        if stuck:
            others = ", ".join([other.name for other, _ in left] + ["unload"])
            text += ktap.bail_out(f"not run after that: {others}")
        text = mark(text, findings, os.uname().release if stock else None)
        (directory / f"{path.name}.ktap").write_text(text)
        results += report(path.name, text, time.monotonic() - started, stock)
        if stuck:
            # Otherwise others would wait for its locks.
            return results
    text = unload(log, *(vfio_iommufd.LOADED if wanted == "iommufd" else BOTH))
    (directory / "unload.ktap").write_text(text)
    return results + report("unload", text, 0, stock)


def main(argv):
    """Run them; the exit code is 0 only if all is as it should be."""
    directory, config = arguments.read(__doc__, KEYS, argv)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    bad, everything = False, []
    for wanted in config["backend"].split(","):
        begin = time.monotonic()
        print(f"selftests: on {wanted}", flush=True)
        # The name of a backend, or of a module's directory.
        name = wanted if "/" not in wanted else Path(wanted).parent.name
        results = run_all(wanted, directory / name, config)
        everything += results
        passed, failed, skipped = ktap.counts(results)
        print(f"selftests: on {wanted}: {passed} passed, {failed} failed, {skipped} skipped "
              f"in {time.monotonic() - begin:.0f} s")
        # A host on which all tests skip has shown nothing but that the modules go.
        bad |= failed > 0 or passed < (2 if site.OWN_HOST else 1)
    # What went wrong may be the reason.
    for word in [] if bad else unmatched(config, everything):
        print(f"selftests: only={word}: no program has this name, and no test's begins so on "
              f"{config['backend']}")
        bad = True
    return 1 if bad else 0


if __name__ == "__main__":
    entry.run(main)
