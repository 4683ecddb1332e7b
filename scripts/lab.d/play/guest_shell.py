# SPDX-License-Identifier: GPL-2.0-only
"""Commands for a guest's shell, over its second serial port; see obey() in guest/init."""

import re
import socket
import time

from play.guest_vm import GuestError

# The exit code of the answer that says that the guest has booted. No command ends with it.
BOOTED = 250
ANSWER = re.compile(rb"(?s)(.*?)(?:^|(?<=\n))\.(\d+)\n")


class GuestShell:
    """The connection. The guest may reboot; it then says when it listens again."""

    def __init__(self, vm, patience):
        self.vm, self.patience, self._text = vm, patience, b""
        self._socket = socket.socket(socket.AF_UNIX)
        deadline = time.monotonic() + patience
        while True:
            try:
                self._socket.connect(str(vm.commands))
                break
            except OSError as err:
                if not vm.alive() or time.monotonic() > deadline:
                    raise GuestError(f"{vm.commands}: {err}; {vm.errors()}") from err
                time.sleep(0.05)

    def answer(self, patience=None):
        """The output of the last command. The first answer, also after a reboot, belongs to no
        command: it says that the guest listens."""
        deadline = time.monotonic() + (patience or self.patience)
        while not (found := ANSWER.match(self._text)):
            self._socket.settimeout(max(0.01, deadline - time.monotonic()))
            try:
                data = self._socket.recv(4096)
            except TimeoutError as err:
                raise GuestError(f"the guest's shell: no answer; it says {self._text[-200:]!r}, "
                                 f"its console {self.vm.console()[-200:]!r}") from err
            if not data:
                raise GuestError(f"the guest's shell: QEMU ended: {self.vm.errors()}")
            self._text += data
        self._text = self._text[found.end():]
        return found[1].decode(errors="replace").strip(), int(found[2])

    def send(self, line):
        """Send a command; answer() must follow."""
        self._socket.sendall(line.encode() + b"\n")

    def run(self, line, patience=None):
        """Run a command; returns (its output, its exit code). A guest that boots meanwhile has
        crashed, and its first answer is not that of the command."""
        self.send(line)
        said, code = self.answer(patience)
        if code == BOOTED:
            raise GuestError(f"the guest booted anew in '{line}'; its console: "
                             f"{self.vm.console()[-500:]!r}")
        return said, code

    def drain(self):
        """After a failure: discard answers that nobody waited for, if the guest still answers."""
        mark = f"drained {time.monotonic()}"
        try:
            self.send(f"echo {mark}")
            while self.answer()[0] != mark:
                pass
        except (GuestError, OSError):
            pass

    def close(self):
        """Hang up."""
        self._socket.close()
