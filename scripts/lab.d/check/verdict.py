# SPDX-License-Identifier: GPL-2.0-only
"""What became of a mutant."""

from dataclasses import dataclass, field

KILLED, SURVIVED, ERROR = "killed", "survived", "error"


@dataclass
class Verdict:
    """The result for a mutant: @state, and the tests or lines that show it."""
    name: str
    state: str
    where: str
    by: list = field(default_factory=list)
    seconds: float = 0
