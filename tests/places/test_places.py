# SPDX-License-Identifier: GPL-2.0-only
"""A clone in odd places: what works anywhere works there, what can't is refused in one
sentence, and nothing is left behind.

The commands that need no image run with an OUT of their own; the boots use the image that
this tree has.
"""

import fcntl
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import unittest
from pathlib import Path

REPO = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(REPO / "scripts/lab.d"))

# pylint: disable=wrong-import-position
from base import process
from make import chroot, mark, paths

# All that a shell, make, QEMU, the loader and Python's format strings could stumble over.
ODD = "a b,c'd\"e$f#g%h;i:j&k(l)=\u00fc*{}\\~"
LONG = "x" * 120
NOBODY = 65534
PATIENCE = 120


def as_user():
    """Words that run a command as an ordinary user."""
    if os.geteuid():
        return []
    return ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"]


def on_disk(size, directory):
    """Words that run a command where @directory is a disk of this size, and of no other one's."""
    mount = 'mount -t tmpfs -o "size=$1" disk "$2" && shift 2 && exec "$@"'
    return [*chroot.namespace(), "--", "sh", "-c", mount, "sh", size, str(directory)]


class Clone(unittest.TestCase):
    """A copy of the tree, in a directory that each test names."""

    @classmethod
    def setUpClass(cls):
        # Short: a test adds names to it.
        cls.base = Path(tempfile.mkdtemp(prefix="mdma-places-"))
        cls.base.chmod(0o755)
        cls.addClassCleanup(shutil.rmtree, cls.base)
        shutil.copytree(REPO, cls.base / "clone", symlinks=True,
                        ignore=shutil.ignore_patterns("out", ".git", "__pycache__"))
        (cls.base / "clone").chmod(0o755)
        cls.clone = cls.base / "clone"

    def move(self, name):
        """The clone gets another name."""
        target = self.base / name
        type(self).clone = self.clone.rename(target)

    def run_in(self, *argv, prefix=(), **keywords):
        """Run a command in the clone; it never hangs, never shows a traceback."""
        environment = {key: value for key, value in os.environ.items()
                       if key not in ("OUT", "V", "MAKEFLAGS", "MFLAGS", "KDIR", "KSRC")}
        environment.update(keywords.pop("env", {}))
        keywords.setdefault("stdin", subprocess.DEVNULL)
        keywords.setdefault("stdout", subprocess.PIPE)
        done = subprocess.run([*prefix, *map(str, argv)], cwd=self.clone, text=True, check=False,
                              errors="replace", stderr=subprocess.PIPE, timeout=PATIENCE,
                              env=environment, preexec_fn=process.die_with_parent, **keywords)
        self.assertNotIn("Traceback", done.stderr)
        self.assertNotIn("Exception ignored", done.stderr)
        return done

    def refused(self, *argv, says, code=1, **keywords):
        """Run a command; it must end with one sentence of the lab."""
        done = self.run_in(*argv, **keywords)
        sentences = [line for line in done.stderr.splitlines() if not line.startswith("make")]
        self.assertEqual(len(sentences), 1, done.stderr)
        self.assertIn(says, sentences[0])
        self.assertEqual(done.returncode, code, done.stderr)
        return sentences[0]


class Names(Clone):
    """The clone's own path."""

    def short_commands(self):
        """What needs no image."""
        before = sorted(os.listdir(self.clone))
        self.assertIn("usage: make", self.run_in("make", "help").stdout)
        self.assertIn("settings:", self.run_in("scripts/lab", "run", "migrate", "--help").stdout)
        self.refused("make", "-s", "migrate-libvirt", "ARGS=nosuch=1",
                     says="libvirt: no setting nosuch", code=2)
        self.refused("make", "-s", "run", "SCENARIO=no such", says="no scenario no such", code=2)
        self.refused("make", "-s", "modules", "KDIR=/nonexistent", "OUT=rel",
                     says="KDIR=/nonexistent: no such directory", code=2)
        self.assertEqual(sorted(os.listdir(self.clone)), before)
        self.assertEqual(self.run_in("make", "-s", "clean").stderr, "")
        (self.clone / "rel").mkdir()
        self.assertEqual(self.run_in("make", "-s", "distclean", "OUT=rel").stderr, "")
        self.assertEqual(sorted(os.listdir(self.clone)), before)

    def test_odd(self):
        """All odd characters at once."""
        self.move(ODD)
        self.short_commands()

    def test_long(self):
        """120 of them."""
        self.move(LONG)
        self.short_commands()

    def test_line_break(self):
        """Refused: logs and lists of files have one name a line."""
        self.move("new\nline")
        self.refused("scripts/lab", "image", says="a line break in a path", code=2)


class Output(Clone):
    """OUT and --results in bad places. Each is refused at once, whatever is asked for."""

    def test_file(self):
        """A file is in the way, of OUT or of one of its parents."""
        (self.base / "file").touch()
        for out in ("file", "file/below"):
            self.refused("scripts/lab", "image", says="is no directory",
                         env={"OUT": str(self.base / out)})
        self.refused("scripts/lab", "shell", "--results", self.base / "file",
                     says="is no directory", env={"OUT": str(self.base / "out")})

    def test_not_writable(self):
        """It belongs to somebody else, or may not be written."""
        place = self.base / "locked"
        place.mkdir(mode=0o555)
        for command in ("image", "check", "clean"):
            sentence = self.refused("scripts/lab", command, says="can't be written",
                                    prefix=as_user(), env={"OUT": str(place)})
            self.assertIn("belongs to", sentence)
            self.assertIn("OUT=", sentence)

    def test_image_of_somebody_else(self):
        """OUT is ours, and what is in it is not."""
        out = self.base / "mixed"
        lab = out / "lab" / paths.VARIANT
        lab.mkdir(parents=True)
        (out / mark.OUT).touch()
        out.chmod(0o777)
        lab.chmod(0o555)
        self.refused("scripts/lab", "image", says="Permission denied: ", prefix=as_user(),
                     env={"OUT": str(out)})

    def test_full(self):
        """A full disk, for OUT and for results: nothing begins that it would end."""
        disk = self.base / "disk"
        disk.mkdir(exist_ok=True)
        for argv in (("image",), ("check", "python"),
                     ("shell", "--results", disk / "results")):
            out = self.base / "out" if "--results" in argv else disk
            self.refused("scripts/lab", *argv, says="MiB free, the lab needs",
                         prefix=on_disk("1m", disk), env={"OUT": str(out)})

    def test_clean_of_a_full_disk(self):
        """Cleaning is the remedy, so it works there."""
        disk = self.base / "disk"
        disk.mkdir(exist_ok=True)
        script = ('touch "$0/.mdma-out" && mkdir "$0/run" '
                  '&& { cat /dev/zero >"$0/run/x" 2>&-; scripts/lab clean; } && ls "$0"')
        done = self.run_in("sh", "-c", script, disk, prefix=on_disk("1m", disk),
                           env={"OUT": str(disk)})
        self.assertEqual((done.returncode, done.stdout, done.stderr), (0, "", ""))

    def test_in_use(self):
        """Two at once: cleaning what another run works in is refused."""
        out = self.base / "used"
        out.mkdir()
        handle = os.open(out, os.O_RDONLY)
        self.addCleanup(os.close, handle)
        fcntl.flock(handle, fcntl.LOCK_SH)
        self.refused("scripts/lab", "clean", says="another run of the lab works in",
                     env={"OUT": str(out)})


class Surroundings(Clone):
    """Standard streams, environment, signals."""

    def test_closed_streams(self):
        """Any of them may be closed."""
        for closed in ("<&-", ">&-", "2>&-", "<&- >&- 2>&-"):
            done = self.run_in("sh", "-c", f"scripts/lab run nosuch {closed}")
            self.assertEqual(done.returncode, 2, closed)

    def test_nobody_reads(self):
        """A closed pipe ends it in silence; a full disk does not."""
        for command in ("scripts/lab run migrate --help", "make -s help"):
            done = self.run_in("bash", "-c", f"{command} | true")
            self.assertEqual(done.stderr, "")
        done = self.run_in("sh", "-c", "scripts/lab run migrate --help >/dev/full")
        self.assertEqual(done.returncode, 1)
        self.assertIn("can't be written: No space left", done.stderr)

    def test_poor_environment(self):
        """No HOME, no TMPDIR or a wrong one, a PATH without sbin, no rights for others."""
        python = os.path.dirname(sys.executable)
        words = ["env", "-i", f"PATH={python}:/usr/bin:/bin", "TMPDIR=/nonexistent",
                 f"OUT={self.base / 'poor'}"]
        script = 'umask 077; mkdir -p "$OUT/run"; touch "$OUT/.mdma-out"; scripts/lab clean'
        done = self.run_in("sh", "-c", script, prefix=words)
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        self.assertEqual(os.listdir(self.base / "poor"), [mark.OUT])

    def test_signals(self):
        """While it waits for commands on standard input; a second one changes nothing."""
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            child = subprocess.Popen([sys.executable, "scripts/lab", "shell"], cwd=self.clone,
                                     stdin=subprocess.PIPE, stdout=subprocess.DEVNULL,
                                     stderr=subprocess.PIPE, text=True,
                                     env=dict(os.environ, OUT=str(self.base / "signals")),
                                     preexec_fn=self.with_signals)
            self.addCleanup(child.kill)
            while child.poll() is None and not self.waits(child):
                time.sleep(0.05)
            child.send_signal(number)
            child.send_signal(number)
            _, said = child.communicate(timeout=PATIENCE)
            self.assertEqual(said, f"lab: {process.Stopped(number)}\n")
            self.assertEqual(child.returncode, 128 + number)
        self.assertFalse((self.base / "signals").exists())

    @staticmethod
    def with_signals():
        """In the child: no signal is ignored, as it would be below nohup, or in the background
        of a shell."""
        for number in process.CAUGHT:
            signal.signal(number, signal.SIG_DFL)
        process.die_with_parent()

    @staticmethod
    def waits(child):
        """Whether it catches all of these signals, as it does before it reads."""
        status = Path(f"/proc/{child.pid}/status").read_text()
        line = next(line for line in status.splitlines() if line.startswith("SigCgt:"))
        wanted = sum(1 << number - 1 for number in process.CAUGHT)
        return int(line.split()[1], 16) & wanted == wanted


class Boot(Clone):
    """The lab itself, from the clone in the oddest place, with this tree's image."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.clone = cls.clone.rename(cls.base / ODD)
        out = cls.clone / "out"
        out.mkdir()
        for name in ("lab", "build"):
            (out / name).symlink_to(paths.OUT / name)
        # Which is put together anew for each OUT: so most of it is found there.
        shutil.copytree(paths.PAYLOAD, out / "payload" / paths.VARIANT)

    def qemus(self):
        """Processes that have a file of the clone in their command line."""
        found = []
        for path in Path("/proc").glob("[0-9]*/cmdline"):
            try:
                if b"mdma-lab" in path.read_bytes() \
                        and ODD.encode()[:3] in path.read_bytes():
                    found.append(int(path.parent.name))
            except OSError:
                continue
        return found

    def start(self):
        """A shell whose lab has begun to boot."""
        child = subprocess.Popen([sys.executable, "scripts/lab", "shell"], cwd=self.clone,
                                 stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                 stderr=subprocess.PIPE, text=True,
                                 env=dict(os.environ, OUT="", TMPDIR="/nonexistent"),
                                 preexec_fn=process.die_with_parent)
        self.addCleanup(child.kill)
        deadline = time.monotonic() + PATIENCE
        while not self.qemus() and child.poll() is None and time.monotonic() < deadline:
            time.sleep(0.1)
        self.assertIsNone(child.poll(), child.stderr.read() if child.poll() else "")
        return child

    def gone(self):
        """Whether no QEMU is left, at once or soon."""
        deadline = time.monotonic() + 20
        while self.qemus() and time.monotonic() < deadline:
            time.sleep(0.1)
        return not self.qemus()

    def test_shell(self):
        """A command's output and exit code."""
        done = self.run_in("scripts/lab", "shell", stdin=None, input="echo ok; exit 3\n",
                           env={"OUT": ""})
        self.assertEqual((done.returncode, done.stdout), (3, "ok\n"), done.stderr)

    def test_stopped(self):
        """A signal, twice, ends the lab and says so."""
        child = self.start()
        for _ in range(2):
            child.send_signal(signal.SIGTERM)
        said = child.communicate(timeout=PATIENCE)[1].splitlines()
        self.assertEqual((child.returncode, said[-1]),
                         (143, f"lab: {process.Stopped(signal.SIGTERM)}"))
        self.assertTrue(self.gone())

    def test_killed(self):
        """Its children end with it."""
        child = self.start()
        child.kill()
        child.communicate(timeout=PATIENCE)
        self.assertTrue(self.gone())

    def test_results_vanish(self):
        """Somebody removes what the lab writes to: it does not go on for nobody."""
        child = self.start()
        # The lab may put something there in the middle of it.
        while (results := self.clone / "out/shell").exists():
            shutil.rmtree(results, ignore_errors=True)
        said = child.communicate(timeout=PATIENCE)[1].splitlines()
        self.assertIn("was removed while the lab wrote to it", said[-1])
        self.assertEqual(child.returncode, 1)
        self.assertTrue(self.gone())


if __name__ == "__main__":
    unittest.main()
