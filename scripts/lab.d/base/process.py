# SPDX-License-Identifier: GPL-2.0-only
"""Child processes that end when the lab ends, however it ends.

Every child gets PR_SET_PDEATHSIG, so it ends even if scripts/lab gets SIGKILL. What a child starts
itself is in its process group, or in its PID namespace (see make/chroot.py), and ends with it.
"""

import ctypes
import os
import re
import select
import signal
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import contextmanager, suppress
from pathlib import Path

from base import files, say

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36
LIBC = ctypes.CDLL(None, use_errno=True)
OURSELVES = os.getpid()

# Variables that make, git or a developer set for something else: our make would warn about another
# make's jobs, and our git would commit to the repository whose hook runs us. And what is for us
# alone.
FOREIGN = re.compile(r"MAKE(FLAGS|LEVEL|FILES|OVERRIDES)|MFLAGS|GIT_.*|TAR_OPTIONS|XZ_.*"
                     r"|KBUILD_.*|K?CFLAGS|ARCH|CROSS_COMPILE|CC|BASH_ENV|ENV|CDPATH|JUNIT"
                     r"|LAB_INSIDE")


def environment(variables):
    """The environment of our children.

    An ordinary user's PATH lacks sbin, where mke2fs is. A TMPDIR that is full or missing is
    replaced by a usable one.
    """
    found = {name: value for name, value in variables.items() if not FOREIGN.fullmatch(name)}
    found.update(LC_ALL="C.UTF-8", PATH=variables.get("PATH", "/usr/bin:/bin")
                 + ":/usr/sbin:/sbin")
    if "TMPDIR" in found:
        try:
            found["TMPDIR"] = tempfile.gettempdir()
        except OSError:
            del found["TMPDIR"]
    return found


ENVIRONMENT = environment(os.environ)

# Seconds that the cleanup after a stop may take, see stop().
CLEANUP = 20
# Seconds that a child may take to end after SIGTERM; a lab of our own has things to clean up. And
# after SIGKILL.
GRACE, KILL_SECONDS = 3, 10
# Seconds until a signal whose exception was lost is sent again.
AGAIN = 0.05
# Seconds between two looks for signals while nobody types.
READ_SECONDS = 0.5


class Stopped(BaseException):
    """A signal asked the lab to end."""

    def __init__(self, number):
        super().__init__(f"stopped by {signal.Signals(number).name}: nothing of it runs any more; "
                         "to go on, give the same command again")
        self.number = number


class Stopper:
    """Turns the signals that end us into an exception, so that cleanup runs."""

    def __init__(self):
        self.at, self.late = None, None
        self.putting_off = False

    def __call__(self, number, _frame):
        """A second signal does not cut short the cleanup that the first one began."""
        if self.putting_off:
            self.late = number
            return
        now = time.monotonic()
        if self.at is None or now > self.at + CLEANUP:
            self.at = now
            raise Stopped(number)

    @contextmanager
    def put_off(self):
        """A signal raises nothing before the end of the outermost `with`. Other threads get no
        signals."""
        if self.putting_off or threading.current_thread() is not threading.main_thread():
            yield
            return
        self.putting_off = True
        try:
            yield
        finally:
            self.putting_off = False
            late, self.late = self.late, None
        if late:
            self(late, None)

    def lost(self, unraisable):
        """Python only prints an exception that is raised while it frees an object. This hook for
        that sends the signal again a moment later, after the hook has returned."""
        if not isinstance(unraisable.exc_value, Stopped):
            sys.__unraisablehook__(unraisable)
            return
        self.at = None
        again = threading.Timer(AGAIN, os.kill, (os.getpid(), unraisable.exc_value.number))
        again.daemon = True
        again.start()


CAUGHT = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
STOPPER = Stopper()


def catch_signals():
    """From now on, a signal raises Stopped. A signal that is ignored, as by nohup, stays
    ignored."""
    sys.unraisablehook = STOPPER.lost
    for number in CAUGHT:
        if signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, STOPPER)


def ignore_signals():
    """Ignore signals from now on: one has ended us, and another must not change the exit code."""
    for number in CAUGHT:
        signal.signal(number, signal.SIG_IGN)


def release_signals():
    """From now on, a signal just ends us: nothing is left to be cleaned up."""
    for number in CAUGHT:
        if signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, signal.SIG_DFL)


def open_standard_streams():
    """Standard streams that were closed become /dev/null; otherwise the next file that is opened
    would be taken for one of them."""
    for number, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        try:
            os.fstat(number)
        except OSError:
            # This gets the lowest free number, which is this stream's.
            os.open(os.devnull, os.O_RDWR)
            os.set_inheritable(number, True)
        if getattr(sys, name) is None:
            setattr(sys, name, open(number, mode, closefd=False))


def read_all(stream):
    """All bytes of a stream. A signal that comes just before read() would not interrupt it, so
    wait for the bytes first, and check for signals now and then."""
    parts = []
    while not parts or parts[-1]:
        while not select.select([stream], [], [], READ_SECONDS)[0]:
            pass
        parts.append(stream.read1())
    return b"".join(parts)


def drop_unwritten():
    """Discard output that could not be written, which Python would otherwise try again."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def die_with_parent():
    """In the child, before exec: get killed when the parent dies, also if it just has."""
    LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != OURSELVES:
        os.kill(os.getpid(), signal.SIGKILL)


# Children that nobody has stopped so far: a signal may come before start() has returned one.
STARTED = set()


def start(argv, *, own_group=True, grace=GRACE, whole=False, **keywords):
    """Start a child; it never outlives this process, nor the thread that started it.

    @grace: seconds that it may take to end after SIGTERM
    @whole: it must not be killed in the middle of what it does, see stop(); it may outlive us
    """
    keywords.setdefault("env", ENVIRONMENT)
    keywords.setdefault("preexec_fn", None if whole else die_with_parent)
    with STOPPER.put_off():
        child = subprocess.Popen([str(word) for word in argv], start_new_session=own_group,
                                 **keywords)
        child.own_group, child.grace, child.whole = own_group, grace, whole
        STARTED.add(child)
    return child


def adopt_orphans():
    """From now on, what our children leave behind when they end becomes a child of ours."""
    LIBC.prctl(PR_SET_CHILD_SUBREAPER, 1)


def _children():
    """All children of ours, also adopted ones, and those that have ended but were not waited for."""
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            if int(path.read_text(errors="replace").rpartition(")")[2].split()[1]) == os.getpid():
                yield int(path.parent.name)


def end_children(patience):
    """Kill all children, and theirs, which we adopt by that. What the kernel keeps stays."""
    deadline = time.monotonic() + patience
    while (left := list(_children())) and time.monotonic() < deadline:
        for number in left:
            # One that sudo has made root's can't be killed.
            with suppress(OSError):
                os.kill(number, signal.SIGKILL)
                os.waitpid(number, os.WNOHANG)
        time.sleep(AGAIN)


def _send(child, number):
    """Send a signal to a child, or to what is left of its process group."""
    with suppress(ProcessLookupError):
        if child.own_group and not child.whole:
            os.killpg(child.pid, number)
        elif child.poll() is None:
            child.send_signal(number)


def _let_end(child):
    """Ask a child to end when it has come to a good place, and wait for that. One that sudo has
    made another user's can't be asked."""
    if child.poll() is None:
        say.info(f"waiting for {Path(child.args[0]).name} to end: it must not be killed half way")
    with suppress(PermissionError):
        _send(child, signal.SIGINT)
    child.wait()


def _wait(child, seconds):
    """Whether it ends in time."""
    try:
        child.wait(max(0, seconds))
    except subprocess.TimeoutExpired:
        return False
    return True


def stop(*children):
    """End children and their whole process groups: SIGTERM first, then SIGKILL, which also ends
    what a child leaves in its group. A child that must do all of its work is asked by SIGINT."""
    deadlines = []
    for child in children:
        if child.poll() is None and not child.whole:
            _send(child, signal.SIGTERM)
            deadlines.append((child, time.monotonic() + child.grace))
    for child, deadline in deadlines:
        _wait(child, deadline - time.monotonic())
    for child in sorted(children, key=lambda child: child.whole):
        if child.whole:
            _let_end(child)
        else:
            _send(child, signal.SIGKILL)
            _wait(child, KILL_SECONDS)
        STARTED.discard(child)


def stop_all():
    """End all that this process has started and not stopped."""
    stop(*(child for child in list(STARTED) if child.poll() is None))


# The children of run() in the threads of side_by_side.py, and whether they must end.
CHILDREN = set()
ENDING = threading.Event()


@contextmanager
def all_stopped():
    """Stop what other threads run(), and keep them from starting anything meanwhile."""
    ENDING.set()
    try:
        stop(*list(CHILDREN))
        yield
    finally:
        ENDING.clear()


def check_ending():
    """Called where a thread waits for something else than a child: end it, if it must end."""
    if ENDING.is_set():
        raise say.LabError("stopped")


def _start_logged(argv, stream, **keywords):
    """Start a child that all_stopped() finds, or not at all."""
    check_ending()
    child = start(argv, **{"stdin": subprocess.DEVNULL, "stdout": stream, "stderr": stream,
                           **keywords})
    CHILDREN.add(child)
    if ENDING.is_set():
        stop(child)
    return child


def measured(argv):
    """Run a command, whose output goes nowhere. Returns (its exit code, CPU seconds that it and its
    children took)."""
    child = _start_logged(argv, subprocess.DEVNULL)
    try:
        _, status, used = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
    finally:
        stop(child)
        CHILDREN.discard(child)
    return child.returncode, used.ru_utime + used.ru_stime


def output(argv, **keywords):
    """Run a command. Returns its exit code, and what it prints on standard output, as text."""
    child = _start_logged(argv, subprocess.PIPE, text=True, errors="replace",
                          **{"stderr": None, **keywords})
    try:
        said, _ = child.communicate()
    finally:
        stop(child)
        CHILDREN.discard(child)
    return child.returncode, said


def run(argv, log, what, *, append=False, **keywords):
    """Run a command with its output in a log; raise LabError if it fails.

    @what: named in the error, with the most telling line of the log
    @keywords: of start()
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    begin = log.stat().st_size if append and log.exists() else 0
    with open(log, "ab" if append else "wb") as stream:
        child = _start_logged(argv, stream, **keywords)
        try:
            code = _wait_showing(child, log, begin) if say.VERBOSE else child.wait()
        finally:
            stop(child)
            CHILDREN.discard(child)
    if code:
        error = say.LabError(f"{what} failed (exit {code}): {_reason(log, begin)}"
                             f"see {files.short(log)}")
        error.log = log
        raise error


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
    """The line of a log that most likely says what went wrong."""
    with open(log, errors="replace") as stream:
        stream.seek(begin)
        lines = [line.strip() for line in stream if line.strip()]
    chosen = ([line for line in lines if "No space left on device" in line]
              or [line for line in lines if line.startswith("E: ")]
              or [line for line in lines if "error:" in line.lower() or " *** " in line]
              or lines[-1:])
    return f"{chosen[0][:500]}; " if chosen else ""
