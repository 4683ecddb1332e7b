# SPDX-License-Identifier: GPL-2.0-only
"""Mutants of the guest's driver: tests of the scenario driver, in guests of one boot of the lab
(tests/scenarios/guest_mutants.py)."""

import re

from base import say
from check import mutant_lab
from make import paths

BEGIN = "samples/vfio-mdev/mdma-guest/"
# What is to catch a mutant that is made by rule; quick ones first.
BY_RULE = ("dmatest_on_all_channels", "client_status_of_each", "client_restart_forgets",
           "client_full_ring", "client_terminate_in_callback", "client_callback_without_interrupt",
           "client_unbound_while_held",
           "client_resume_fails", "client_synchronize_in_removal", "client_reset_before_bus_master",
           "client_shutdown_is_quiet", "client_halt_beside_completion", "client_end_is_unmapped",
           "client_released_in_callback", "client_suspended_is_quiet",
           "client_thread_after_suspend", "client_callback_at_suspend", "client_reset_continues",
           "client_error_recovers", "client_window_refused_by_resume",
           "client_window_refused_by_reset", "client_lost_is_no_master", "rebind_under_load",
           "suspend_of_devices")


def changes(one):
    """Whether a mutant is one of the guest's driver."""
    return all(path.startswith(BEGIN) for path in one.hunks)


def tests():
    """Names of the tests of the scenario driver."""
    text = (paths.SCENARIOS / "driver.py").read_text()
    found = re.findall(r"(?m)^def (\w+)\(bench\):", text)
    for kind in ("client", "load", "line"):
        names = re.search(rf"(?ms)^{kind.upper()} = \((.*?)\)", text)[1]
        found += [f"{kind}_{name}" for name in re.findall(r'"(\w+)"', names)]
    return found


def tests_of(one, known):
    """Names of the tests that are to catch a mutant."""
    for word in one.tests:
        if word not in known:
            raise say.LabError(f"mutant {one.name}: no test {word}")
    if not one.tests:
        raise say.LabError(f"mutant {one.name}: no test is to catch it")
    return one.tests


def plan(left, known):
    """The scenario's input: mutants and their tests, and all of these tests."""
    entries = [{"name": one.name, "tests": tests_of(one, known)} for one in left]
    return {"baseline": [name for name in known
                         if any(name in entry["tests"] for entry in entries)],
            "mutants": entries}


def try_all(left):
    """A verdict for each of these mutants."""
    known = tests()
    return mutant_lab.boot_until_judged("guest_mutants", left,
                                        lambda rest, first: plan(rest, known))
