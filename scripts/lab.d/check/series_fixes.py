# SPDX-License-Identifier: GPL-2.0-only
"""The fixes of type1 as it is, in a lab: the selftests that their messages name, on the module that
has the fixes and nothing else of the series. That these tests fail on the kernel's own type1 is
what the parts selftests and deadly of the check are for."""

import re

from base import ktap, say
from boot import job
from check.series_commits import FIXED, FIXES, HOME, MESSAGES
from make import payload, paths, ready

RESULTS = HOME / "fixes"


def named():
    """Selftest -> the fix whose message names it."""
    found = {}
    for name in FIXES:
        for test in re.findall(r"\b(?:R\d+|W\d+)_\w+", (MESSAGES / f"fix-{name}.txt").read_text()):
            found[test] = name
    return found


def judge(results, tests):
    """What is wrong with the results of these tests, in lines."""
    states = {result.name: result.state for result in results}
    return [f"{fix.upper()}: {test}: {states.get(test, 'did not run')}"
            for test, fix in tests.items() if states.get(test) != ktap.PASSED]


def run():
    """Run them in one lab."""
    tests = named()
    pairs = {"only": ",".join(tests), "backend": f"fixed/{FIXED.name}", "deadly": "1"}
    with job.results_directory(RESULTS):
        pass
    ready.make(("selftests", "nic"))
    payload.copy(FIXED, paths.PAYLOAD / "fixed" / FIXED.name)
    outcome = job.run_scenario("selftests", pairs, RESULTS)
    results = [result for path in sorted(RESULTS.rglob("*.ktap"))
               for result in ktap.parse(path.read_text(errors="replace"), "")]
    bad = judge(results, tests) or ([outcome.reason] if outcome.reason else [])
    bad += [line for _, line in outcome.findings]
    for line in bad:
        say.info(f"series: {line}")
    if bad:
        raise say.LabError(f"type1 with the fixes alone: {len(bad)} complaints")
    print(f"type1 with the fixes alone: {len(tests)} selftests: good", flush=True)
