# SPDX-License-Identifier: GPL-2.0-only
"""The directories that the lab writes to: checked before it begins, locked while it runs."""

import fcntl
import os
import shutil
import time
from contextlib import contextmanager

from base import files, say
from make import mark, paths, trouble

MIB = 1 << 20
# Bytes that must be free before anything begins, and while a lab runs.
NEEDED, LEFT = 64 * MIB, MIB
# Seconds between two checks of a directory.
INTERVAL = 0.5


def check(directory):
    """Refuse a directory that the lab could not work in, before it is made."""
    if "\n" in str(directory):
        raise say.UsageError(f"{str(directory)!r}: a line break in a path; "
                             f"{trouble.ELSEWHERE}")
    place = directory
    while not os.path.lexists(place):
        place = place.parent
    if not place.is_dir():
        raise say.LabError(f"{files.short(place)} is no directory: "
                           f"remove it, or {trouble.ELSEWHERE}")
    if not os.access(place, os.W_OK | os.X_OK):
        raise say.LabError(f"{files.short(directory)} can't be written: {trouble.denied(place)}")


def check_space(directory, needed=NEEDED, remedy=trouble.ELSEWHERE):
    """Refuse to begin what would end with a full disk."""
    free = shutil.disk_usage(directory).free
    if free < needed:
        raise say.LabError(f"{files.short(directory)}: {free // MIB} MiB free, the lab needs "
                           f"{needed // MIB} MiB there: free some, or {remedy}")


@contextmanager
def locked(directory, how, otherwise):
    """Hold a directory while the `with` lasts; LabError(@otherwise) if somebody else holds it.

    @how: fcntl.LOCK_SH or fcntl.LOCK_EX
    """
    handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        try:
            fcntl.flock(handle, how | fcntl.LOCK_NB)
        except BlockingIOError:
            raise say.LabError(otherwise) from None
        yield
    finally:
        os.close(handle)


def _marked(results):
    return [(paths.OUT, mark.OUT), *([(results, mark.RESULTS)] if results else [])]


def check_both(results=None):
    """Refuse an OUT or a directory for results that the lab could not, or must not, work in."""
    for directory, name in _marked(results):
        check(directory)
        mark.check(directory, name)


@contextmanager
def held(results=None):
    """OUT, and a directory for results, exist and can be written; "clean" waits for us.

    They are as private as the umask says. Everything in them is readable for those who may enter
    them, since programs in the lab that are not root need that.
    """
    check_both(results)
    for directory, name in _marked(results):
        directory.mkdir(parents=True, exist_ok=True)
        check_space(directory)
        mark.put(directory, name)
    umask = os.umask(0)
    os.umask(umask & 0o022)
    with locked(paths.OUT, fcntl.LOCK_SH,
                f"{files.short(paths.OUT)} is being cleaned: try again when that is done"):
        yield


@contextmanager
def alone():
    """OUT is there, nobody else uses it, and it can be cleaned."""
    check_both()
    with locked(paths.OUT, fcntl.LOCK_EX, f"another run of the lab works in "
                f"{files.short(paths.OUT)}: end it, or wait for its end"):
        yield


class Guard:
    """Checks that a running lab can still write its results. QEMU itself would stop the machine,
    or retry for ever, without a message."""

    def __init__(self, *directories):
        self.found = {directory: os.stat(directory).st_ino for directory in directories}
        self.next = 0

    def check(self, at_once=False):
        """Raise LabError if a directory is gone or full. Checks every INTERVAL seconds only,
        unless @at_once."""
        now = time.monotonic()
        if now < self.next and not at_once:
            return
        self.next = now + INTERVAL
        for directory, number in self.found.items():
            try:
                same = os.stat(directory).st_ino == number
            except FileNotFoundError:
                same = False
            if not same:
                raise say.LabError(f"{files.short(directory)} was removed while the lab wrote "
                                   "to it: run it again, and leave that directory alone")
            if shutil.disk_usage(directory).free < LEFT:
                raise say.LabError(f"{files.short(directory)}: the disk became full while the "
                                   f"lab ran: free some space, or {trouble.ELSEWHERE}")
