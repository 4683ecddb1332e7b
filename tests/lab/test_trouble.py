# SPDX-License-Identifier: GPL-2.0-only
"""An error of the machine is one sentence; a defect of the lab is told apart from it."""

import errno
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
import unittest
from pathlib import Path
from unittest import mock

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "scripts/lab.d"))

# pylint: disable=wrong-import-position
from base import process, say
from boot import vm, wire
from make import paths, place, trouble


def words(number, name=None):
    """The sentence for an OSError."""
    return trouble.explain(OSError(number, os.strerror(number), name))


class Explain(unittest.TestCase):
    """trouble.explain()"""

    def test_each_has_a_remedy(self):
        """File, reason, what to do."""
        for number in (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.ENOTDIR, errno.EACCES,
                       errno.ENAMETOOLONG, errno.ENOMEM, errno.EMFILE, errno.EIO):
            with self.subTest(number=errno.errorcode[number]):
                said = words(number, "/some/file")
                self.assertTrue(said.startswith("/some/file: " + os.strerror(number)), said)
                self.assertRegex(said, r": .*(OUT=|try again|limit)")

    def test_missing_program(self):
        """A program's name has no directory."""
        self.assertIn("install it", words(errno.ENOENT, "mke2fs"))
        self.assertIn("it is gone", words(errno.ENOENT, "/some/file"))

    def test_unknown_place(self):
        """An error of a write has no name: the full disk is searched for."""
        with tempfile.TemporaryDirectory() as directory, \
                mock.patch.object(paths, "OUT", Path(directory)), \
                mock.patch.object(trouble.shutil, "disk_usage", lambda _: mock.Mock(free=0)):
            self.assertIn(directory, words(errno.ENOSPC))

    def test_defect(self):
        """For an error that is not the machine's: the step, the place, and where the traceback
        is."""
        self.assertIsNone(words(errno.EBADF, 7))
        with tempfile.TemporaryDirectory() as directory, \
                mock.patch.object(paths, "OUT", Path(directory)), \
                mock.patch.object(say, "info"):
            try:
                with say.Step("thinking", quiet=True):
                    raise KeyError("x")
            except KeyError as error:
                said = trouble.words(error)
            self.assertRegex(said, r"^a defect of the lab itself, in the step 'thinking': KeyError "
                                   r"at test_trouble.py:\d+: 'x'; the traceback is in \S+lab.log$")
            self.assertIn("raise KeyError", (Path(directory) / "lab.log").read_text())


class Guard(unittest.TestCase):
    """A directory that a running lab writes to."""

    def setUp(self):
        self.directory = tempfile.TemporaryDirectory()
        self.addCleanup(self.directory.cleanup)
        self.place = Path(self.directory.name) / "results"
        self.place.mkdir()
        self.guard = place.Guard(self.place)

    def complaint(self):
        """The complaint of the next check; None if there is none."""
        try:
            return self.guard.check(at_once=True)
        except say.LabError as error:
            return str(error)

    def test_good(self):
        """No complaint, and not a check at each call."""
        self.assertIsNone(self.complaint())
        self.place.rmdir()
        self.assertIsNone(self.guard.check())

    def test_gone(self):
        """The directory was removed, or replaced by another one."""
        self.place.rename(self.place.with_name("other"))
        self.assertIn("was removed", self.complaint())
        self.place.mkdir()
        self.assertIn("was removed", self.complaint())

    def test_full(self):
        """Noticed before QEMU stops the machine because of it."""
        with mock.patch.object(place.shutil, "disk_usage", lambda _: mock.Mock(free=100)):
            self.assertIn("became full", self.complaint())


class Signals(unittest.TestCase):
    """process.Stopper"""

    def test_once(self):
        """A second signal does not disturb the cleanup; one much later stops it."""
        stopper = process.Stopper()
        with self.assertRaises(process.Stopped):
            stopper(signal.SIGINT, None)
        stopper(signal.SIGTERM, None)
        later = time.monotonic() + process.CLEANUP + 1
        with mock.patch.object(process.time, "monotonic", lambda: later), \
                self.assertRaises(process.Stopped):
            stopper(signal.SIGTERM, None)

    def test_no_exception_handler_takes_it(self):
        """A handler of Exception does not catch it."""
        self.assertFalse(issubclass(process.Stopped, Exception))

    def test_ignored_stays_ignored(self):
        """nohup"""
        before = {number: signal.getsignal(number) for number in process.CAUGHT}
        try:
            signal.signal(signal.SIGHUP, signal.SIG_IGN)
            process.catch_signals()
            self.assertEqual(signal.getsignal(signal.SIGHUP), signal.SIG_IGN)
            self.assertIsInstance(signal.getsignal(signal.SIGTERM), process.Stopper)
        finally:
            sys.unraisablehook = sys.__unraisablehook__
            for number, handler in before.items():
                signal.signal(number, handler)

    # In a process of its own: the signal comes while Python frees an object.
    FREES = """
import os, signal, sys, time
sys.path.insert(0, sys.argv[1])
from base import process
class Freed:
    def __del__(self):
        os.kill(os.getpid(), signal.SIGTERM)
        for _ in range(1000): pass
process.catch_signals()
try:
    freed = Freed()
    del freed
    time.sleep(20)
    print("nothing came")
except process.Stopped as stopped:
    print(stopped)
"""

    def test_not_lost_in_a_finalizer(self):
        """A signal whose exception Python drops is sent again."""
        done = subprocess.run([sys.executable, "-c", self.FREES, paths.LAB_D], text=True,
                              capture_output=True, check=False)
        self.assertEqual((done.stdout, done.stderr), (f"{process.Stopped(signal.SIGTERM)}\n", ""))

    def test_read_all(self):
        """All of standard input, in whatever parts it comes."""
        ours, theirs = os.pipe()
        with open(ours, "rb") as stream, mock.patch.object(process, "READ_SECONDS", 0.01):
            def write():
                for part in (b"echo ", b"one\n", b"x" * 100000):
                    time.sleep(0.03)
                    os.write(theirs, part)
                os.close(theirs)
            writer = threading.Thread(target=write)
            writer.start()
            self.assertEqual(process.read_all(stream), b"echo one\n" + b"x" * 100000)
            writer.join()


class Environment(unittest.TestCase):
    """What children get."""

    def test_foreign(self):
        """Variables that another make, git or developer has set are removed."""
        found = process.environment({"PATH": "/bin", "MAKEFLAGS": "w -j8", "GIT_DIR": ".git",
                                     "CFLAGS": "-O9", "V": "1", "SEED": "7"})
        self.assertEqual(found, {"PATH": "/bin:/usr/sbin:/sbin", "LC_ALL": "C.UTF-8", "V": "1",
                                 "SEED": "7"})

    def test_tmpdir(self):
        """TMPDIR is replaced by a usable one."""
        found = process.environment({"TMPDIR": "/nonexistent"})
        self.assertTrue(os.path.isdir(found["TMPDIR"]))


class Words(unittest.TestCase):
    """Paths in QEMU's command line."""

    def test_comma(self):
        """A comma is doubled wherever a path is part of an option."""
        with mock.patch.object(paths, "ROOT_IMAGE", Path("/a,b/root.img")), \
                mock.patch.object(paths, "PAYLOAD", Path("/a,b/payload")), \
                mock.patch.object(vm.lab_kernel, "unpacked", lambda: "/a,b/vmlinuz"), \
                mock.patch.object(vm, "qemu", lambda _: ["qemu"]):
            line = vm.command(Path("/a,b/run"), "tcg", [], False)
        parts = [str(word) for word in line if "/a," in str(word) and "=" in str(word)]
        self.assertEqual(len(parts), 5)
        for word in parts:
            self.assertIn("/a,,b/", word)
            self.assertNotIn("/a,b/", word)

    def test_socket(self):
        """The socket's name is short and has no comma, whatever TMPDIR is."""
        for directory in ("/tmp/" + "x" * 120, "/tmp/a,b"):
            with mock.patch.object(wire.tempfile, "gettempdir", lambda name=directory: name):
                with wire.two_ends() as ends:
                    self.assertRegex(ends[0][1], r"addr.path=/(var/)?tmp/mdma-wire-\w+/socket,")


if __name__ == "__main__":
    unittest.main()
