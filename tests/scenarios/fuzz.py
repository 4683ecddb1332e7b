#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""Random operations on a container and a device, guided by the code that they reach.

libFuzzer (tests/fuzz) begins with the inputs of tests/fuzz/corpus. On the debug kernel, KCOV says
which blocks of our modules an input reaches; on any other kernel, new answers of calls are all that
guides it. An input that makes the kernel report something is left in "crash-...", one that ends the
lab is in "current". Put it into tests/fuzz/corpus to run it again. What a run found to be of use is
left in "corpus", unless keep=0.

usage: fuzz.py --results DIR [key=value ...]          (as root; --help: keys)
"""

import json
import os
import re
import struct
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "scripts/lab.d"))

# pylint: disable=wrong-import-position
from base import figures, settings, site
from judge import dmesg
from play import arguments, backend, entry

# What a run needs to have built, and for which settings (boot/scenario.py).
BUILDS = {"fuzz": ""}
# A run may take hours.
TIMEOUT = 6 * 3600

KEYS = settings.keys(own={
    "seconds": settings.Number(60, "how long; 0: only the corpus", 0, 4 * 3600),
    "inputs": settings.Number(0, "not so long, but so many inputs"),
    "seed": settings.Number(0, "of the changes; 0: a new one", 0, settings.U32_MAX),
    "keep": settings.Number(1, "1: leave the fewest inputs that reach as much as all; to find "
                               "them, each is run once more", 0, 1),
    "length": settings.Number(1024, "bytes of the longest input", 1, 4096),
    "backend": settings.Text("ours", "which type1: ours, or the file of a module"),
    "program": settings.File("fuzz/fuzz", "the fuzzer"),
})

CORPUS = site.TREE / "tests/fuzz/corpus"
MODULES = ("vfio_iommu_type1", "mdma")
# Seconds that an input may take; it then is a failure.
INPUT_SECONDS = 120
LAST = re.compile(r"# (\d+) inputs, (\d+) operations, (\d+) blocks")


def functions(text):
    """[(address, name, module)] of our modules in /proc/kallsyms, by address."""
    found = []
    for line in text.splitlines():
        address, kind, name, *module = line.split()
        if kind in "tT" and module and module[0].strip("[]") in MODULES \
                and not name.startswith("__pfx_"):
            found.append((int(address, 16), name, module[0].strip("[]")))
    return sorted(found)


def reached(known, addresses):
    """module -> names of the functions in which the addresses are."""
    found = {module: set() for module in MODULES}
    at = 0
    for address in sorted(addresses):
        while at + 1 < len(known) and known[at + 1][0] < address:
            at += 1
        if known and known[at][0] < address:
            found[known[at][2]].add(known[at][1])
    return found


def coverage(known, blocks):
    """What is said of the functions of each module."""
    found = reached(known, blocks)
    rows = {}
    for module in MODULES:
        names = {name for _, name, owner in known if owner == module}
        rows[module] = {"functions": len(names), "reached": len(found[module]),
                        "not_reached": sorted(names - found[module])}
    return rows


def command(config, directory, corpus):
    """The command line of the fuzzer."""
    words = [config["program"], f"-max_len={config['length']}", f"-timeout={INPUT_SECONDS}",
             "-len_control=0", "-reduce_inputs=0", "-rss_limit_mb=0",
             f"-artifact_prefix={directory}/", "-print_final_stats=1"]
    if config["seconds"] and not config["inputs"]:
        words += [f"-max_total_time={config['seconds']}"]
    else:
        words += [f"-runs={config['inputs']}"]
    words += [f"-seed={config['seed']}"] if config["seed"] else []
    return [*words, corpus, CORPUS]


def fuzz(config, directory, corpus):
    """Run the fuzzer; its output is printed as it comes. Returns (exit code, lines)."""
    patterns = directory / "patterns"
    patterns.write_text(dmesg.for_grep())
    environment = dict(os.environ, CURRENT=str(directory / "current"), PATTERNS=str(patterns),
                       BLOCKS=str(directory / "blocks"), TIMEOUT_SCALE=str(site.time_scale()))
    lines = []
    with subprocess.Popen(command(config, directory, corpus), stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, env=environment, text=True,
                          errors="replace") as child:
        for line in child.stdout:
            lines.append(line)
            print(line, end="", flush=True)
    return child.returncode, lines


def keep(config, directory, corpus):
    """Leave the fewest inputs that reach as much as all."""
    target = directory / "corpus"
    target.mkdir(exist_ok=True)
    return subprocess.run([config["program"], "-merge=1", "-rss_limit_mb=0", target, CORPUS,
                           corpus], check=False, capture_output=True).returncode


def judge(code, lines):
    """Why the run failed, or ""."""
    last = next((match for line in reversed(lines) if (match := LAST.match(line))), None)
    if code:
        return f"the fuzzer ended with {code}"
    if not last or not int(last[1]) or not int(last[2]):
        return "no input ran"
    if "# KCOV: yes\n" in lines and not int(last[3]):
        return "KCOV has seen nothing"
    return ""


def tell(directory, lines):
    """Print what was reached, and leave it in fuzz.json."""
    last = next(match for line in reversed(lines) if (match := LAST.match(line)))
    report = dict(zip(("inputs", "operations", "blocks"), map(int, last.groups())))
    print(figures.line(operations=report["operations"]))
    data = (directory / "blocks").read_bytes()
    blocks = [one for one, in struct.iter_unpack("<Q", data)]
    if blocks:
        report["modules"] = coverage(functions(Path("/proc/kallsyms").read_text()), blocks)
        for module, row in report["modules"].items():
            print(f"{module}: {row['reached']} of {row['functions']} functions reached")
    (directory / "fuzz.json").write_text(json.dumps(report, indent=1) + "\n")


def run(config, directory):
    """Run it; returns why the run failed, or ""."""
    with tempfile.TemporaryDirectory() as corpus:
        code, lines = fuzz(config, directory, corpus)
        bad = judge(code, lines)
        if not bad:
            tell(directory, lines)
            if config["seconds"] and config["keep"] and keep(config, directory, corpus):
                bad = "the corpus can't be merged"
    return bad


def main(argv):
    """Run it; the exit code is 0 if nothing was found."""
    directory, config = arguments.read(__doc__, KEYS, argv)
    backend.load(config["backend"])
    bad = run(config, directory)
    print(f"fuzz: {bad or 'nothing found'}", flush=True)
    return 1 if bad else 0


if __name__ == "__main__":
    entry.run(main)
