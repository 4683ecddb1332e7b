#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""The same calls to our type1 and to the kernel's own, and what they answer, side by side.

The calls are those of the model (tests/selftests/model.c) that use type1 as it is meant to be used:
no bitmap faults, and no driver keeps its pins. Every error, size and bit that differs must be one of
the deliberate differences in errno.rst.

usage: answers.py --results DIR [key=value ...]          (as root; --help: keys)
"""

import os
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "scripts/lab.d"))

# pylint: disable=wrong-import-position
from base import ktap, settings
from judge import answers
from play import arguments, backend, entry
import model

# What a run needs to have built, and for which settings (boot/scenario.py).
BUILDS = {"selftests": ""}

KEYS = settings.keys(own={
    "seed": settings.Text("0x6d646d61", "of the calls; 0: a new one"),
    "ops": settings.Number(60000, "calls on each backend", 1),
    "keep": settings.Number(0, "1: keep the logs of the answers, 25 bytes a call", 0, 1),
    "program": settings.File("selftests/model", "what makes the calls"),
})

# As that of the model, whose program it is.
TIMEOUT = 7200
BACKENDS = ("ours", "stock")


def seed(text):
    """The same for both backends, also where it is to be a new one."""
    return text if int(text, 0) else hex(int.from_bytes(os.urandom(7), "little") | 1)


def lines(path):
    """The lines of a log."""
    with path.open() as log:
        for line in log:
            yield line.rstrip("\n")


def compare(directory):
    """Compare the logs of each process."""
    comparison, logs = answers.Comparison(), 0
    for ours in sorted(directory.glob("ours.log.*")):
        stock = directory / ours.name.replace("ours", "stock")
        comparison.add(lines(ours), lines(stock) if stock.exists() else ())
        logs += 1
    return comparison, logs


def tell(comparison, logs):
    """Print what was found, and return results for the count."""
    print(f"{comparison.equal} answers are equal, in {logs} logs")
    for difference in answers.DELIBERATE:
        print(f"{comparison.known[difference]} differ on purpose: {difference}")
    for trial, call, ours, stock in comparison.unknown:
        print(f"{trial}: {call}:\n  ours:  {ours}\n  stock: {stock}")
    bad = f"{len(comparison.unknown)} differences that are not in errno.rst" \
        if comparison.unknown else "" if comparison.equal else "no answers"
    return [ktap.Result("R18_answers_as_the_kernels_own", ktap.FAILED if bad else ktap.PASSED, bad)]


def main(argv):
    """Run it; the exit code is 0 only if no answer differs but on purpose."""
    directory, config = arguments.read(__doc__, KEYS, argv)
    everything, number = [], seed(config["seed"])
    for name in BACKENDS:
        os.environ["ANSWERS"] = str(directory / f"{name}.log")
        backend.load(name)
        begin = time.monotonic()
        text = model.run(config["program"], name, number, config["ops"])
        (directory / f"{name}.ktap").write_text(text)
        everything += ktap.parse(text, name)
        print(f"{name}: {time.monotonic() - begin:.0f} s", flush=True)
    results = tell(*compare(directory))
    (directory / "compared.ktap").write_text(ktap.render(results))
    if not config["keep"]:
        for path in directory.glob("*.log.*"):
            path.unlink()
    passed, failed, skipped = ktap.counts(everything + results)
    return 1 if failed or skipped or not passed else 0


if __name__ == "__main__":
    entry.run(main)
