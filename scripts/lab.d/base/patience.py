# SPDX-License-Identifier: GPL-2.0-only
"""How long to wait for something that may be slow, but must not stand still."""

import time


class Patience:
    """A time limit that restarts whenever there is progress, so that it suits a machine of any
    speed.

    @seconds: how long there may be no progress
    """

    def __init__(self, seconds):
        self.seconds = seconds
        self.seen = None
        self.begin = time.monotonic()

    def progress(self, *seen):
        """Report how far it is. Anything but the value of the last call counts as progress."""
        if seen != self.seen:
            self.seen, self.begin = seen, time.monotonic()

    def exhausted(self):
        """Whether there was no progress for too long."""
        return time.monotonic() - self.begin > self.seconds
