# SPDX-License-Identifier: GPL-2.0-only
"""The command line of a scenario: --results DIR [key=value ...]."""

import sys
from pathlib import Path

from base import settings


def values(known, words):
    """key=value words over the defaults; ends the scenario with a message if a word is wrong.

    @known: the scenario's KEYS
    """
    try:
        given = settings.checked(known, words)
    except settings.BadSetting as error:
        sys.exit(str(error))
    return {key: setting.value(given.get(key, setting.default))
            for key, setting in known.items()}


def usage(text, known):
    """A scenario's docstring, and its settings."""
    return "\n".join([text.strip(), "", "settings:", settings.explained(known)])


def read(text, known, argv):
    """(results directory, settings) of --results DIR [key=value ...]. Ends the scenario on --help,
    and with a message if the command line is wrong."""
    if "--help" in argv or "-h" in argv:
        print(usage(text, known))
        sys.exit(0)
    if len(argv) < 2 or argv[0] != "--results":
        sys.exit(usage(text, known))
    return Path(argv[1]), values(known, argv[2:])
