# SPDX-License-Identifier: GPL-2.0-only
"""Where a scenario begins as a program, and ends with a sentence whatever breaks."""

import sys
import traceback
from pathlib import Path

TRACEBACK = "traceback.txt"


def step(error, program):
    """Where a scenario broke: its innermost function, and the place where Python raised."""
    frames = traceback.extract_tb(error.__traceback__)
    own = next((frame for frame in reversed(frames) if Path(frame.filename).name == program
                and not frame.name.startswith("<")), None)
    last = frames[-1]
    return (f"in the step {own.name}()" if own else "before its first step") + \
        f", at {Path(last.filename).name}:{last.lineno}"


def _keep(argv):
    """Save the traceback in the results; returns a hint where it is."""
    if len(argv) < 2:
        return ""
    try:
        (Path(argv[1]) / TRACEBACK).write_text(traceback.format_exc())
        return f"; the traceback is in {TRACEBACK} of the results"
    except OSError:
        return ""


def run(main):
    """Run the main() of a scenario. An exception that nobody expected is a defect of the scenario:
    one sentence names the step, and the exit code is 1."""
    program, argv = Path(sys.argv[0]).name, sys.argv[1:]
    try:
        code = main(argv)
    except Exception as error:  # pylint: disable=broad-exception-caught
        words = " ".join(str(error).split())[:200]
        print(f"{Path(program).stem}: a defect of the scenario itself, {step(error, program)}: "
              f"{type(error).__name__}: {words}{_keep(argv)}", flush=True)
        code = 1
    sys.exit(code)
