# SPDX-License-Identifier: GPL-2.0-only
"""What the lab tells its user: steps with their elapsed time, and errors.

On a terminal a running step updates one line; elsewhere it prints a line now and then, so that a
log shows life.
"""

import os
import sys
import threading
import time

VERBOSE = os.environ.get("V", "0") not in ("", "0")

TICK_TERMINAL = 1.0
TICK_LOG = 15.0


class LabError(Exception):
    """Something failed; the text is all that the user needs. Exit code 1.

    @log: of the command that failed, if one did
    @target: what could not be built, see build.py
    """

    log = None
    target = None


class UsageError(LabError):
    """The command line was wrong. Exit code 2."""


def info(text):
    """One line for the user; standard output belongs to scenarios. In one write, as other threads
    have lines as well."""
    sys.stderr.write(f"lab: {text}\n")
    sys.stderr.flush()


def last_words(text):
    """The same where nobody may be left to read it."""
    try:
        info(text)
    except OSError:
        pass


class Failure:
    """The innermost step that the last failure passed through; None once another step begins."""

    step = None


class Step:
    """A step that may take long: says what runs, for how long, and how far it is.

    @name:   what is being done
    @detail: optional function that returns a few words on how far it is
    @quiet:  say only begin and end: the parts of the step print their own messages
    """

    def __init__(self, name, detail=None, quiet=False):
        self.name = name
        self.detail = detail
        self.quiet = quiet
        self.begin = time.monotonic()
        self.ended = threading.Event()
        self.terminal = sys.stderr.isatty()
        self.thread = threading.Thread(target=self._tick, daemon=True)

    def elapsed(self):
        """Seconds since the step began."""
        return time.monotonic() - self.begin

    def _line(self):
        words = self.detail() if self.detail else ""
        return f"{self.name}: {self.elapsed():.0f} s" + (f", {words}" if words else "")

    def _tick(self):
        while not self.ended.wait(TICK_TERMINAL if self.terminal else TICK_LOG):
            try:
                if self.terminal:
                    print(f"\r\033[Klab: {self._line()[:100]}", end="", file=sys.stderr,
                          flush=True)
                else:
                    info(self._line())
            except OSError:
                # Nobody reads it, or the disk is full: the main thread will notice that, too.
                return

    def __enter__(self):
        Failure.step = None
        info(f"{self.name} ...")
        if not self.quiet:
            self.thread.start()
        return self

    def __exit__(self, kind, value, trace):
        self.ended.set()
        if not self.quiet:
            self.thread.join()
        if self.terminal:
            print("\r\033[K", end="", file=sys.stderr, flush=True)
        if kind is not None:
            Failure.step = Failure.step or self.name
        word = "done" if kind is None else "stopped"
        info(f"{self.name}: {word} after {self.elapsed():.1f} s")
