#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""scripts/lab, from end to end, with a signal in the middle: it ends soon, with one sentence, and
nothing is left. What takes long is a stand-in, which sleeps and has children."""

import contextlib
import fcntl
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import unittest
from pathlib import Path
from unittest import mock

REPO = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(REPO / "scripts/lab.d"))

# pylint: disable=wrong-import-position
from base import process
from check import beside
from make import image, packages, versions

# Variables that would make another lab of it.
FOREIGN = ("KERNEL", "QEMU", "LIBVIRT", "LOCK", "CONTAINER", "DEBUG", "REPEAT", "JUNIT", "V")
# Seconds that anything may take; a machine of any speed is faster.
PATIENCE = 60
# What the lab says besides: what it does, and that this was stopped.
STEP = re.compile(r"lab: (.+ \.\.\.|.+: (stopped|done) after [\d.]+ s|.+: \d+ s\b.*|waiting for .+"
                  r"|check: newest: .+)")

# A program that takes long, and leaves a file when it has begun. Of its children, one ends only by
# SIGKILL.
SLOW = """#!/bin/sh
trap 'exit 1' INT TERM HUP
for last; do :; done
sleep 1000 &
sh -c 'trap "" INT TERM HUP; sleep 1000; true' &
{more}
: >"{began}"
wait
"""
# mmdebstrap makes a tree or an archive meanwhile.
TARGET = """case $last in
*.tar) : >"$last" ;;
*) mkdir "$last" "$last/usr" ;;
esac"""
# apt-get ends at SIGINT, but not before dpkg has done what it does.
APT = """#!/bin/sh
[ "$1" != -s ] || exit 0
trap 'asked=1' INT
sleep 1000 &
: >"{base}/began"
wait
sleep 0.3
kill $!
echo "asked $asked" >"{base}/whole"
"""
SUDO = """#!/bin/sh
shift
exec "$@"
"""
# A test that takes long, and has a child.
SLOW_TEST = """
import pathlib, subprocess, unittest
class Slow(unittest.TestCase):
    def test(self):
        with subprocess.Popen(["sleep", "1000"]) as child:
            pathlib.Path("{began}").touch()
            child.wait()
"""


def program(path, text):
    """Write a program."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)


def linked(name):
    """A program, and the files that it is linked with."""
    said = subprocess.run(["ldd", name], capture_output=True, text=True, check=True).stdout
    return [name, *(word for word in said.split() if word.startswith("/"))]


def usual():
    """In the child: signals as a shell in the foreground leaves them."""
    for number in process.CAUGHT:
        signal.signal(number, signal.SIG_DFL)


class Signals(unittest.TestCase):
    """A run that is stopped."""

    def setUp(self):
        self.base = Path(self.enterContext(tempfile.TemporaryDirectory(prefix="mdma-signals-")))
        self.out, self.lab = self.base / "out", self.base / "out/lab" / versions.SUITE
        self.lab.mkdir(parents=True)
        (self.base / "tmp").mkdir()
        (self.out / ".mdma-out").touch()
        self.enterContext(mock.patch.dict(os.environ, PATH=f"{self.base}/bin:{os.environ['PATH']}",
                                          OUT=str(self.out), TMPDIR=f"{self.base}/tmp"))
        for name in FOREIGN:
            os.environ.pop(name, None)

    def need(self, programs, room):
        """Skip where the lab would first install something, or say that the disk is too small."""
        if packages.missing({one: one for one in programs}) or os.geteuid() \
                and packages.missing(packages.FOR_USERS):
            self.skipTest("the lab has never made an image here")
        if shutil.disk_usage(self.base).free < room:
            self.skipTest(f"less than {room >> 30} GiB in {self.base.parent}")

    def make_tree(self):
        """A root tree that has a shell, and a make that takes long; and a kernel's source."""
        self.need(("unshare", "mount"), 1 << 30)
        root, recipe = self.lab / "root", image.recipe()
        for path in {*linked("/bin/sh"), *linked("/bin/sleep")}:
            (root / path[1:]).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, root / path[1:])
        for name in ("tmp", "mnt", "etc", "lib/modules/6.12.1", "var/lib/dpkg"):
            (root / name).mkdir(parents=True, exist_ok=True)
        program(root / "bin/make", SLOW.format(began="/mnt/build/began", more=""))
        (root / "var/lib/dpkg/status").write_text(
            "Package: linux-image-amd64\nStatus: install ok installed\nVersion: 6.12.1-1\n")
        (root / image.STAMP).write_text(recipe)
        (self.lab / image.SOURCE_ARCHIVE).touch()
        (self.lab / "source.stamp").write_text(recipe)
        (self.lab / "src").mkdir()
        (self.lab / "src/Makefile").write_text("VERSION = 6\nPATCHLEVEL = 12\nSUBLEVEL = 1\n")
        (self.lab / "src/.stamp").write_text(image.digest(recipe, *image.SOURCE_FILES))

    def make_clone(self):
        """The scripts, in a tree whose only test takes long."""
        clone = self.base / "clone"
        shutil.copytree(REPO / "scripts", clone / "scripts",
                        ignore=shutil.ignore_patterns("__pycache__"))
        for name in ("samples", "drivers", "include", "Documentation"):
            (clone / name).symlink_to(REPO / name)
        program(clone / "tests/slow/test_slow.py", SLOW_TEST.format(began=self.base / "began"))
        return clone

    def begun(self):
        """Files of stand-ins that have begun, which see different directories."""
        return [path for name in ("began*", "out/build/*/began", "out/lab/*/root.new/began")
                for path in self.base.glob(name)]

    def left(self):
        """Processes that are left: all have this OUT in their environment."""
        found = []
        for path in Path("/proc").glob("[0-9]*/environ"):
            with contextlib.suppress(OSError):
                if f"OUT={self.out}\0".encode() in path.read_bytes():
                    found.append((path.parent / "cmdline").read_text().replace("\0", " "))
        return found

    def locked(self):
        """Directories and files of which somebody still has the lock."""
        found = []
        for path in (self.out, *self.out.rglob(".*lock")):
            handle = os.open(path, os.O_RDONLY)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                found.append(path)
            os.close(handle)
        return found

    def stopped(self, number, *words, repo=REPO, ready=1, **more):
        """Start the lab, and send it the signal, twice, when so many stand-ins have begun. It must
        end, say so in one sentence, and leave nothing."""
        for path in self.base.glob("began*"):
            path.unlink()
        with subprocess.Popen([sys.executable, "-B", repo / "scripts/lab", *words], text=True,
                              stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                              stderr=subprocess.PIPE, start_new_session=True, preexec_fn=usual,
                              env={**os.environ, **more}) as child:
            deadline = time.monotonic() + PATIENCE
            while len(self.begun()) < ready and child.poll() is None \
                    and time.monotonic() < deadline:
                time.sleep(0.02)
            with contextlib.suppress(ProcessLookupError):
                # A terminal sends it to all of its group. Somebody is impatient.
                for _ in range(2):
                    (os.killpg if number == signal.SIGINT else os.kill)(child.pid, number)
            said = self.rest(child)
        self.assertEqual(child.returncode, 128 + number, said)
        *steps, last = said.splitlines()
        self.assertEqual(last, f"lab: {process.Stopped(number)}")
        self.assertEqual([line for line in steps if not STEP.fullmatch(line)], [])
        self.assertEqual((self.left(), self.locked(), os.listdir(self.base / "tmp")), ([], [], []))

    @staticmethod
    def rest(child):
        """What it says until its end, which is soon."""
        try:
            return child.communicate(timeout=PATIENCE)[1]
        except subprocess.TimeoutExpired:
            os.killpg(child.pid, signal.SIGKILL)
            raise

    def test_image(self):
        """In mmdebstrap, which runs twice; and the half of a tree is gone."""
        self.need((*packages.FOR_IMAGE.keys() - {"mmdebstrap"},), image.DISK_NEEDED)
        if not os.path.exists(packages.KEYRING):
            self.skipTest("the lab has never made an image here")
        program(self.base / "bin/mmdebstrap",
                SLOW.format(began=f"{self.base}/began-${{last##*/}}", more=TARGET))
        for number in process.CAUGHT:
            with self.subTest(number.name):
                self.stopped(number, "image", ready=2)
                self.assertEqual([path.name for path in self.lab.iterdir() if path.is_dir()
                                  or path.suffix == ".tar" or ".new" in path.name], [])

    def test_compile(self):
        """In a compiler, in the root tree."""
        self.make_tree()
        self.stopped(signal.SIGTERM, "build", "vfio")
        self.assertFalse((self.out / "build" / versions.SUITE / "vfio/stamp").exists())

    def test_check_unit(self):
        """In a part of a check that runs in the root tree."""
        self.make_tree()
        self.stopped(signal.SIGINT, "check", "unit")

    def test_check_python(self):
        """In one that runs on the host, and whose tests have children."""
        clone = self.make_clone()
        for number in (signal.SIGINT, signal.SIGTERM):
            with self.subTest(number.name):
                self.stopped(number, "check", "python", repo=clone)

    def test_check_beside(self):
        """In two parts that run side by side, each in a lab of its own."""
        if not beside.possible(["python", "unit"]):
            self.skipTest("no memory for two parts at a time")
        self.make_tree()
        clone = self.make_clone()
        for name in ("unit", "selftests"):
            (clone / "tests" / name).symlink_to(REPO / "tests" / name)
        self.stopped(signal.SIGTERM, "check", "python", "unit", repo=clone, ready=2)

    def test_check_lint(self):
        """In one that has many things to do, side by side."""
        self.make_tree()
        for name in packages.FOR_LINT:
            program(self.base / f"bin/{name}", SLOW.format(began=self.base / "began", more=""))
        self.stopped(signal.SIGTERM, "check", "lint", repo=self.make_clone())

    def test_other_run(self):
        """While it waits for another run, it does not wait for that to end."""
        self.make_tree()
        (self.lab / "root" / image.STAMP).unlink()
        with open(self.lab / ".lock", "w") as stream:
            fcntl.flock(stream, fcntl.LOCK_EX)
            with mock.patch.object(self, "locked", list), \
                    mock.patch.object(self, "begun", self.waiting):
                self.stopped(signal.SIGTERM, "build", "vfio")

    def waiting(self):
        """Files by which a process of this run has a lock, or waits for it."""
        found = []
        for path in Path("/proc").glob("[0-9]*/environ"):
            with contextlib.suppress(OSError):
                if f"OUT={self.out}\0".encode() in path.read_bytes():
                    found += [one for one in path.parent.glob("fd/*")
                              if os.readlink(one) == str(self.lab / ".lock")]
        return found

    def test_packages(self):
        """While apt-get installs something on the host: dpkg does all of what it does."""
        program(self.base / "bin/apt-get", APT.format(base=self.base))
        program(self.base / "bin/sudo", SUDO)
        for name in ("sh", "env", "sleep", "unshare", "mount"):
            (self.base / "bin" / name).symlink_to(shutil.which(name))
        self.need((), image.DISK_NEEDED)
        self.stopped(signal.SIGTERM, "image", PATH=f"{self.base}/bin")
        self.assertEqual((self.base / "whole").read_text(), "asked 1\n")

    def test_lab_in_a_lab(self):
        """In a check that part newest runs for other versions, while it adds to a copy of the tree:
        only the outer one says that it was stopped."""
        self.make_tree()
        self.need((), image.LAYER_NEEDED)
        root = self.lab / "root"
        (root / "etc/apt/sources.list.d").mkdir(parents=True)
        program(root / "bin/mkdir", "#!/bin/sh\n")
        program(root / "bin/sed", SLOW.format(began="/began", more=""))
        program(self.base / "bin/mmdebstrap", SLOW.format(began=self.base / "began", more=""))
        self.stopped(signal.SIGINT, "check", "newest", ready=2)
        self.assertEqual([*self.out.glob("lab/*/root.new")], [])


if __name__ == "__main__":
    unittest.main()
