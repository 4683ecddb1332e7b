# SPDX-License-Identifier: GPL-2.0-only
"""The command line of a scenario: --results DIR [key=value ...]."""

import sys
from pathlib import Path


def values(known, words):
    """key=value words over the defaults, each of its default's type.

    @known: a scenario's KEYS, key -> (default, what it is)
    """
    found = {key: default for key, (default, _) in known.items()}
    for word in words:
        key, equals, value = word.partition("=")
        if not equals or key not in known:
            sys.exit(f"unknown setting '{word}'; known: {' '.join(known)}")
        try:
            found[key] = type(known[key][0])(value)
        except ValueError:
            sys.exit(f"{key} wants a number, not '{value}'")
    return found


def usage(text, known):
    """A scenario's docstring, and its keys with their defaults."""
    lines = [f"  {key}={default}  {what}" for key, (default, what) in known.items()]
    return "\n".join([text.strip(), "", "keys:", *lines])


def read(text, known, argv):
    """(results directory, settings) of --results DIR [key=value ...]; ends the scenario
    on --help, and with a message on nonsense."""
    if "--help" in argv or "-h" in argv:
        print(usage(text, known))
        sys.exit(0)
    if len(argv) < 2 or argv[0] != "--results":
        sys.exit(usage(text, known))
    return Path(argv[1]), values(known, argv[2:])
