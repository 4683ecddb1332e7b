# SPDX-License-Identifier: GPL-2.0-only
"""Parts of a check that run several times, to see whether a test passes only now and then:
REPEAT= in the environment says how often."""

from base import ktap, say

# What needs no lab, or runs parts of its own, runs once.
ONCE = ("python", "lint", "places", "build", "unit", "rules", "pages", "newest")


def wanted(environment):
    """How often parts are to run."""
    text = environment.get("REPEAT") or "1"
    if not (text.isascii() and text.isdecimal() and 1 <= int(text) <= 1000):
        raise say.UsageError(f"REPEAT={text}: a number from 1 to 1000")
    return int(text)


def part(name, run_part, count):
    """The part of this name, to run @count times. The results of the last run count, and each run
    before it is a result more. After a run that fails there is no other one, so its evidence
    stays; nor is there after one in which nothing passed, which says nothing by its number."""
    if count == 1 or name in ONCE:
        return run_part

    def run_parts():
        before = []
        for number in range(1, count + 1):
            say.info(f"check: {name}: run {number} of {count}")
            results = run_part()
            passed, failed, _ = ktap.counts(results)
            if failed or not passed or number == count:
                break
            before.append(ktap.Result(f"{name}: run {number} of {count}", ktap.PASSED,
                                      f"{passed} passed"))
        return before + results if results else results
    return run_parts
