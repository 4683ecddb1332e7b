# SPDX-License-Identifier: GPL-2.0-only
"""Child processes that end when the lab ends, however it ends.

Every child gets PR_SET_PDEATHSIG, so even SIGKILL of scripts/lab takes it
along; what a child starts itself is in its process group, or in its PID
namespace (see chroot.py), and goes with that.
"""

import ctypes
import os
import signal
import subprocess
import sys

import paths
import say

PR_SET_PDEATHSIG = 1
LIBC = ctypes.CDLL(None, use_errno=True)

# An ordinary user's PATH has no sbin, where mke2fs is.
ENVIRONMENT = dict(os.environ, LC_ALL="C.UTF-8",
                   PATH=os.environ.get("PATH", "/usr/bin:/bin") + ":/usr/sbin:/sbin")


class Stopped(Exception):
    """A signal asked the lab to end."""

    def __init__(self, number):
        super().__init__(f"stopped by {signal.Signals(number).name}")
        self.number = number


def _raise_stopped(number, _frame):
    raise Stopped(number)


def catch_signals():
    """Turn the signals that end us into an exception, so that cleanup runs."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _raise_stopped)


def die_with_parent():
    """In the child, before exec: be killed when the parent dies."""
    LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def start(argv, *, own_group=True, **keywords):
    """Start a child; it never outlives this process."""
    keywords.setdefault("env", ENVIRONMENT)
    return subprocess.Popen([str(word) for word in argv], preexec_fn=die_with_parent,
                            start_new_session=own_group, **keywords)


def stop(child, own_group=True):
    """End a child and all of its process group, kindly first."""
    for number, seconds in ((signal.SIGTERM, 3), (signal.SIGKILL, 10)):
        if child.poll() is not None:
            return
        try:
            if own_group:
                os.killpg(child.pid, number)
            else:
                child.send_signal(number)
        except ProcessLookupError:
            return
        try:
            child.wait(seconds)
        except subprocess.TimeoutExpired:
            continue


def run(argv, log, what, *, cwd=None, env=None, append=False):
    """Run a command with its output in a log; raise LabError if it fails.

    @what: named in the error, with the last telling line of the log
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    begin = log.stat().st_size if append and log.exists() else 0
    with open(log, "ab" if append else "wb") as stream:
        child = start(argv, stdin=subprocess.DEVNULL, stdout=stream, stderr=stream,
                      cwd=cwd, env=env or ENVIRONMENT)
        try:
            code = _wait_showing(child, log, begin) if say.VERBOSE else child.wait()
        finally:
            stop(child)
    if code:
        raise say.LabError(f"{what} failed (exit {code}): {_reason(log, begin)}"
                           f"see {paths.short(log)}")


def _wait_showing(child, log, begin):
    """Wait for a child and copy what it logs to standard error."""
    with open(log, errors="replace") as stream:
        stream.seek(begin)
        code = None
        while code is None:
            try:
                code = child.wait(0.2)
            except subprocess.TimeoutExpired:
                pass
            sys.stderr.write(stream.read())
    return code


def _reason(log, begin):
    """The line of a log that most likely tells what went wrong."""
    with open(log, errors="replace") as stream:
        stream.seek(begin)
        lines = [line.strip() for line in stream if line.strip()]
    chosen = ([line for line in lines if line.startswith("E: ")]
              or [line for line in lines if "error:" in line.lower() or " *** " in line]
              or lines[-1:])
    return f"{chosen[0][:200]}; " if chosen else ""
