# SPDX-License-Identifier: GPL-2.0-only
"""A QMP client: one command at a time; events are kept for those who ask."""

import json
import socket
import time


class QmpError(Exception):
    """QEMU refused a command, did not answer in time, or went away."""


class Qmp:
    """A connection to a QEMU monitor on a unix socket."""

    def __init__(self, path, alive=lambda: True, timeout=60.0):
        """Connect to a socket that QEMU creates some time after its start.

        @alive: tells whether QEMU still runs, so that its early death is reported at once and not
                after @timeout
        """
        self._begin(self._connect(str(path), alive, time.monotonic() + timeout), timeout)

    @classmethod
    def over(cls, sock, timeout=60.0):
        """A client on a socket that is already connected."""
        self = cls.__new__(cls)
        self._begin(sock, timeout)
        return self

    def _begin(self, sock, timeout):
        self.timeout = timeout
        self.events = []
        self._text = b""
        self._socket = sock
        self._read_until(lambda message: "QMP" in message, timeout)
        self.command("qmp_capabilities")

    @staticmethod
    def _connect(path, alive, deadline):
        while True:
            sock = socket.socket(socket.AF_UNIX)
            try:
                sock.connect(path)
                return sock
            except OSError as err:
                sock.close()
                if not alive():
                    raise QmpError("QEMU ended before its monitor was there") from err
                if time.monotonic() > deadline:
                    raise QmpError(f"no monitor at {path}: {err}") from err
                time.sleep(0.05)

    def command(self, name, /, timeout=None, **arguments):
        """Run a command and return what it returns. `_` in a key means `-`."""
        message = {"execute": name}
        if arguments:
            message["arguments"] = {key.replace("_", "-"): value
                                    for key, value in arguments.items()}
        try:
            self._socket.sendall(json.dumps(message).encode() + b"\n")
        except OSError as err:
            raise QmpError(f"{name}: {err}") from err
        reply = self._read_until(lambda m: "return" in m or "error" in m,
                                 timeout or self.timeout, name)
        if "error" in reply:
            raise QmpError(f"{name}: {reply['error'].get('desc', reply['error'])}")
        return reply["return"]

    def _read_until(self, wanted, timeout, what="greeting"):
        """Return the first message that is @wanted; keep the events before it."""
        deadline = time.monotonic() + timeout
        while True:
            line, newline, rest = self._text.partition(b"\n")
            if newline:
                self._text = rest
                message = json.loads(line)
                if wanted(message):
                    return message
                if "event" in message:
                    self.events.append(message)
                continue
            self._text += self._receive(deadline, what)

    def _receive(self, deadline, what):
        left = deadline - time.monotonic()
        if left <= 0:
            raise QmpError(f"{what}: no answer in time")
        self._socket.settimeout(left)
        try:
            data = self._socket.recv(65536)
        except TimeoutError as err:
            raise QmpError(f"{what}: no answer in time") from err
        except OSError as err:
            raise QmpError(f"{what}: {err}") from err
        if not data:
            raise QmpError(f"{what}: QEMU closed the monitor")
        return data

    def close(self):
        """Drop the connection; QEMU goes on."""
        self._socket.close()
