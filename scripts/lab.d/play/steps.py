# SPDX-License-Identifier: GPL-2.0-only
"""A test of a guest in steps: each is a result, and says in a sentence what is wrong."""

import time

from base import ktap
from judge.events import BrokenOracle
from play.host import FAILURES


class TestError(Exception):
    """A test fails; the text says why."""


def expect(condition, text):
    """Fail with this text unless @condition."""
    if not condition:
        raise TestError(text)


# What can go wrong in a step.
CAUGHT = (TestError, BrokenOracle, *FAILURES)


class Steps:
    """What is done with a guest, step by step. Each is a test.

    @results: of the steps so far
    @reasons: what is wrong in this one
    """

    def __init__(self, scenario, name):
        self.scenario, self.name = scenario, name
        self.begin = time.monotonic()
        self.reasons, self.results = [], []

    def say(self, text):
        """Print progress; people wait for it."""
        print(f"{self.scenario}: {time.monotonic() - self.begin:6.1f} s  {self.name}: {text}",
              flush=True)

    def step(self, what, function):
        """One step: what fails in it does so in a sentence. Returns whether it passed."""
        self.reasons = []
        try:
            function()
        except CAUGHT as err:
            self.reasons.append(f"{type(err).__name__}: {err}")
        state = ktap.FAILED if self.reasons else ktap.PASSED
        self.results.append(ktap.Result(f"{self.name}: {what}", state, "\n".join(self.reasons)))
        self.say(f"{what}: " + ("; ".join(self.reasons) or "ok"))
        return not self.reasons

    def steps(self, *steps):
        """Steps, each (what, function), up to the first that fails. Returns whether all passed."""
        return all(self.step(*one) for one in steps)

    def complain(self, text):
        """Something is wrong; the step goes on."""
        self.reasons.append(text)


def each(scenario, names, play):
    """Play guest after guest. Returns the results of all; a guest that breaks is one of them."""
    results = []
    for name in names.split(","):
        try:
            results += play(name)
        except CAUGHT as err:
            print(f"{scenario}: {name}: {type(err).__name__}: {err}", flush=True)
            results.append(ktap.Result(f"{name}: the end", ktap.FAILED, str(err)))
    return results
