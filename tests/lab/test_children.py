# SPDX-License-Identifier: GPL-2.0-only
"""What scripts/lab has started ends with it, even by SIGKILL."""

import os
import re
import select
import signal
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

REPO = Path(__file__).resolve().parents[2]
SCRIPTS = REPO / "scripts/lab.d"
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
# Those who may start a process by themselves: the one that does it for all, one that gives its
# child descriptors, and one that is a host of its own.
BY_THEMSELVES = {"base/process.py", "check/browser.py", "play/libvirt_host.py"}


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

    def test_nobody_else(self):
        """All start their processes by base/process.py."""
        found = {str(path.relative_to(SCRIPTS)) for path in SCRIPTS.glob("*/*.py")
                 if re.search(r"\bPopen\(|os\.(fork|spawn\w*|posix_spawn\w*)\(", path.read_text())}
        self.assertEqual(found, BY_THEMSELVES)


if __name__ == "__main__":
    unittest.main()
