# SPDX-License-Identifier: GPL-2.0-only
"""Errors of the machine, and of the lab itself, as one sentence for the user: which file, why, and
what to do."""

import errno
import os
import pwd
import shutil
import sys
import tempfile
import traceback
from pathlib import Path

from base import files, say
from make import paths

LOG = "lab.log"
ELSEWHERE = "choose another place with OUT= or --results"

# errno -> what to do.
REMEDIES = {
    errno.ENOSPC: f"free some space, or {ELSEWHERE}",
    errno.EDQUOT: f"remove files of yours, or {ELSEWHERE}",
    errno.EFBIG: f"raise the limit (ulimit -f), or {ELSEWHERE}",
    errno.EROFS: ELSEWHERE,
    errno.ENOTDIR: f"remove the file that is in the way, or {ELSEWHERE}",
    errno.EEXIST: f"remove what is in the way, or {ELSEWHERE}",
    errno.EISDIR: f"remove what is in the way, or {ELSEWHERE}",
    errno.ENAMETOOLONG: "choose a shorter place with OUT= or --results",
    errno.ELOOP: f"remove the link, or {ELSEWHERE}",
    errno.ENOMEM: "end what needs the memory, and try again",
    errno.EAGAIN: "end some processes, or raise the limit (ulimit -u), and try again",
    errno.EMFILE: "raise the limit (ulimit -n), and try again",
    errno.ENFILE: "end some processes, and try again",
    errno.EIO: f"look after the disk, or {ELSEWHERE}",
    errno.ESTALE: "mount it again, and try again",
    errno.EBUSY: "end what uses it, and try again",
    errno.ETXTBSY: "end what runs it, and try again",
}
# These errors may come without a file name; _full() then looks for the disk.
OF_A_DISK = (errno.ENOSPC, errno.EDQUOT)


def owner(path):
    """The name of the owner of a file, or of the directory that it would be in."""
    path = Path(path).absolute()
    for place in (path, *path.parents):
        try:
            number = os.lstat(place).st_uid
        except OSError:
            continue
        try:
            return place, pwd.getpwuid(number).pw_name
        except KeyError:
            return place, f"user {number}"
    return path, "nobody"


def denied(name):
    """Why a file can't be written or read, and what to do."""
    place, who = owner(name)
    if os.statvfs(place).f_flag & os.ST_RDONLY:
        return f"{files.short(place)} is on a read-only file system: {ELSEWHERE}"
    remedy = "run the lab as that user" if os.geteuid() else "look after its attributes (lsattr)"
    return f"{files.short(place)} belongs to {who}: {remedy}, or {ELSEWHERE}"


def _full():
    """The first of our places that has no space left."""
    for place in (paths.OUT, *(Path(name) for name in ("/tmp", "/var/tmp", "."))):
        try:
            if shutil.disk_usage(place).free < 1 << 20:
                return place
        except OSError:
            continue
    return None


def explain(error):
    """One sentence for an OSError: what, why, what to do. None if the machine can't be the cause,
    so that it is a defect of the lab."""
    name, why = error.filename, error.strerror
    if isinstance(name, bytes):
        name = os.fsdecode(name)
    if error.errno in OF_A_DISK and name is None:
        name = _full()
    where = f"{files.short(name)}: " if isinstance(name, (str, Path)) else ""
    if isinstance(error, PermissionError) and where:
        return f"{where}{why}: {denied(name)}"
    if isinstance(error, FileNotFoundError) and where:
        if os.sep not in str(name):
            return f"no program {name}: install it, or add its directory to PATH"
        return f"{where}it is gone: what removed it while the lab ran? Try again"
    if error.errno in REMEDIES:
        return f"{where}{why}: {REMEDIES[error.errno]}"
    return None


def keep_traceback():
    """Append the traceback of the exception that is being handled to the log; returns its path."""
    text = traceback.format_exc()
    if say.VERBOSE:
        print(text, file=sys.stderr)
    for place in (paths.OUT, Path(tempfile.gettempdir())):
        try:
            with open(place / LOG, "a") as stream:
                stream.write(text)
            return place / LOG
        except OSError:
            continue
    return None


def defect(error):
    """One sentence for an unforeseen exception: a defect of the lab."""
    *_, last = traceback.extract_tb(error.__traceback__) or [None]
    where = f" at {Path(last.filename).name}:{last.lineno}" if last else ""
    step = f", in the step '{say.Failure.step}'" if say.Failure.step else ""
    log = keep_traceback()
    more = f"the traceback is in {files.short(log)}" if log else "no disk took the traceback"
    words = " ".join(str(error).split())[:200]
    return f"a defect of the lab itself{step}: {type(error).__name__}{where}: {words}; {more}"


def words(error):
    """One sentence for any exception but a LabError."""
    return (explain(error) if isinstance(error, OSError) else None) or defect(error)
