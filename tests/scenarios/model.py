#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""Random sequences of calls against a plain reference, on our type1 and on the kernel's own.

Both get the same sequences (tests/selftests/model.c), the kernel's own the first tenth of them.
Ours must do what the reference does; the kernel's own may differ by its known weaknesses, which
are counted.

usage: model.py --results DIR [key=value ...]          (as root; --help: keys)
"""

import os
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "scripts/lab.d"))

# pylint: disable=wrong-import-position
from base import ktap, settings, site
from play import arguments, backend, entry

# What a run needs to have built, and for which settings (boot/scenario.py).
BUILDS = {"selftests": ""}

KEYS = settings.keys(own={
    "seed": settings.Text("0x6d646d61", "of the sequences; 0: a new one"),
    "ops": settings.Number(1000000, "calls on ours; a tenth of it on stock", 1),
    "backends": settings.Text(
        "ours,stock", "which, by comma: ours, stock, or the file of a module"),
    "program": settings.File("selftests/model", "what makes the calls"),
})

TEST = "R8_random_calls_against_a_model"
# The lab's limit is generous, since ops can be any number; the program's own limit depends on it.
# The slowest seen was 1100 calls a second, on a busy machine without KVM; this allows for 100.
TIMEOUT = 7200
CALLS_OF_A_SCALE = 12500


def timeout_scale(ops):
    """Time limit for so many calls, in units of the test's own limit."""
    return site.time_scale() * (1 + -(-ops // CALLS_OF_A_SCALE))


def run(program, name, seed, ops):
    """The KTAP of one backend; its messages are printed as they come."""
    environment = dict(os.environ, SEED=seed, OPS=str(ops),
                       TIMEOUT_SCALE=str(timeout_scale(ops)))
    lines = []
    with subprocess.Popen([program, TEST], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          env=environment, text=True, errors="replace") as child:
        for line in child.stdout:
            lines.append(line)
            if line.startswith(("#", "not ok", "Bail")):
                print(f"{name}: {line.lstrip('# ')}", end="", flush=True)
    text = "".join(lines)
    return text + ktap.of_exit_code(child.returncode, text)


def main(argv):
    """Run it; the exit code is 0 only if each backend behaves as it should."""
    directory, config = arguments.read(__doc__, KEYS, argv)
    everything = []
    for word in config["backends"].split(","):
        name = Path(word).stem
        backend.load(word)
        begin = time.monotonic()
        ops = config["ops"] // 10 if word == "stock" else config["ops"]
        text = run(config["program"], name, config["seed"], ops)
        (directory / f"{name}.ktap").write_text(text)
        results = ktap.parse(text, name)
        everything += results
        passed, failed, _ = ktap.counts(results)
        print(f"{name}: {passed} passed, {failed} failed ({time.monotonic() - begin:.0f} s)",
              flush=True)
    passed, failed, skipped = ktap.counts(everything)
    return 1 if failed or skipped or not passed else 0


if __name__ == "__main__":
    entry.run(main)
