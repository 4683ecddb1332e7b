# SPDX-License-Identifier: GPL-2.0-only
"""What scripts/lab has started ends with it, even by SIGKILL."""

import os
import re
import select
import signal
import subprocess
import sys
import tempfile
import time
import unittest
from pathlib import Path

REPO = Path(__file__).resolve().parents[2]
SCRIPTS = REPO / "scripts/lab.d"
sys.path.insert(0, str(SCRIPTS))

# pylint: disable=wrong-import-position
from base import process

# A scenario with a guest, and a program in place of its QEMU.
PROGRAM = f"""
import sys
from pathlib import Path
sys.path.insert(0, {str(SCRIPTS)!r})
from play import guest_vm
guest_vm.command_line = lambda *_, **__: ["sleep", "1000"]
with guest_vm.GuestVM("guest", None, Path(sys.argv[1]), None) as vm:
    print(vm.process.pid, flush=True)
    sys.stdin.read()
"""
# Seconds until a process that was killed is gone, on the slowest machine.
PATIENCE = 60
# Those who may start a process by themselves: the one that does it for all, and one that is a host
# of its own.
BY_THEMSELVES = {"base/process.py", "play/libvirt_host.py"}


# A signal that comes while a child is started, before anybody knows of it.
SIGNALLED = f"""
import os, signal, subprocess, sys
sys.path.insert(0, {str(SCRIPTS)!r})
from base import process
real = subprocess.Popen
def popen(*words, **more):
    child = real(*words, **more)
    os.kill(os.getpid(), signal.SIGTERM)
    print(child.pid, flush=True)
    return child
subprocess.Popen = popen
process.catch_signals()
try:
    process.start(["sleep", "1000"])
    print("no signal")
except process.Stopped:
    process.stop_all()
    sys.stdin.read()
"""


class Children(unittest.TestCase):
    """Processes."""

    def test_killed_scenario(self):
        """Its QEMU would keep the device."""
        directory = self.enterContext(tempfile.TemporaryDirectory())
        with subprocess.Popen([sys.executable, "-B", "-c", PROGRAM, directory], text=True,
                              stdin=subprocess.PIPE, stdout=subprocess.PIPE) as scenario:
            # It stays the guest's, even if another process gets the number.
            guest = os.pidfd_open(int(scenario.stdout.readline()))
            self.addCleanup(os.close, guest)
            scenario.kill()
        gone = bool(select.select([guest], [], [], PATIENCE)[0])
        if not gone:
            signal.pidfd_send_signal(guest, signal.SIGKILL)
        self.assertTrue(gone)

    def test_signal_at_the_start(self):
        """The child is stopped, though start() has not returned it."""
        with subprocess.Popen([sys.executable, "-B", "-c", SIGNALLED], text=True,
                              stdin=subprocess.PIPE, stdout=subprocess.PIPE) as lab:
            child = os.pidfd_open(int(lab.stdout.readline()))
            self.addCleanup(os.close, child)
            # While its parent lives.
            gone = bool(select.select([child], [], [], PATIENCE)[0])
            self.assertEqual(lab.communicate()[0], "")
        self.assertTrue(gone)

    def test_rest_of_a_group(self):
        """What a child leaves in its group ends with it, whether it has ended well or is stopped;
        also if it ends by SIGKILL only."""
        lines = "trap '' TERM; sleep 1000 & trap - TERM; echo $!; "
        log = Path(self.enterContext(tempfile.TemporaryDirectory())) / "log"
        for more in ("", "exec sleep 1000"):
            with open(log, "w", encoding="ascii") as stream:
                child = process.start(["sh", "-c", lines + more], stdout=stream)
            if not more:
                child.wait()
            while not log.read_text().endswith("\n"):
                time.sleep(0.01)
            process.stop(child)
            deadline = time.monotonic() + PATIENCE
            while not self.gone(int(log.read_text())) and time.monotonic() < deadline:
                time.sleep(0.01)
            self.assertTrue(self.gone(int(log.read_text())), more)

    def test_put_off(self):
        """A signal waits for the outermost end, also where a child is started in it."""
        stopper, seen = process.Stopper(), []
        with self.assertRaises(process.Stopped):
            with stopper.put_off():
                with stopper.put_off():
                    stopper(signal.SIGTERM, None)
                seen.append("inner")
                stopper(signal.SIGTERM, None)
                seen.append("outer")
        self.assertEqual(seen, ["inner", "outer"])

    @staticmethod
    def gone(pid):
        """Whether a process is gone, or waits for nobody but init."""
        try:
            return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
        except (FileNotFoundError, ProcessLookupError):
            return True

    def test_nobody_else(self):
        """All start their processes by base/process.py."""
        found = {str(path.relative_to(SCRIPTS)) for path in SCRIPTS.glob("*/*.py")
                 if re.search(r"\bPopen\(|os\.(fork|spawn\w*|posix_spawn\w*)\(", path.read_text())}
        self.assertEqual(found, BY_THEMSELVES)


if __name__ == "__main__":
    unittest.main()
