# SPDX-License-Identifier: GPL-2.0-only
"""A link of limited capacity between two QEMUs, that counts what it carries.

QEMU keeps to max-bandwidth only until it stops the guest; what is left then goes
as fast as the socket takes it. So max-bandwidth alone stands for no real link,
and no downtime measured with it for one. This is the link: a unix socket that
hands on what it gets, not faster than its rate, before and after the stop.
"""

import socket
import threading
import time

CHUNK = 32 << 10
# What a late wake-up may catch up with; beyond, time that passed idle is lost.
CATCH_UP = 0.02


class Link:
    """One connection from @path to @target, @rate bytes per second; 0: no limit.

    Ends when either side closes, or with its `with`.
    """

    def __init__(self, path, target, rate):
        self.path, self.target, self.rate = path, target, rate
        self.series = [(time.time(), 0)]
        self.error = None
        self._sockets = [socket.socket(socket.AF_UNIX)]
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self):
        self._sockets[0].bind(str(self.path))
        self._sockets[0].listen(1)
        self._thread.start()
        return self

    def __exit__(self, *_):
        for sock in self._sockets:
            try:
                sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass        # not connected, or closed by the other side
        self._thread.join()
        for sock in self._sockets:
            sock.close()
        self.path.unlink(missing_ok=True)

    @property
    def carried(self):
        """Bytes so far."""
        return self.series[-1][1]

    def _run(self):
        try:
            source, _ = self._sockets[0].accept()
            self._sockets.append(source)
            target = socket.socket(socket.AF_UNIX)
            self._sockets.append(target)
            target.connect(str(self.target))
            threading.Thread(target=self._answer, args=(target, source), daemon=True).start()
            self._carry(source, target)
        except OSError as err:
            self.error = str(err)

    @staticmethod
    def _answer(target, source):
        """The way back: a few bytes, if any."""
        try:
            while data := target.recv(CHUNK):
                source.sendall(data)
        except OSError:
            pass            # the way there tells

    def _carry(self, source, target):
        buffer = bytearray(CHUNK)
        view = memoryview(buffer)
        due, total = time.monotonic(), 0
        while count := source.recv_into(buffer):
            target.sendall(view[:count])
            total += count
            now = time.monotonic()
            self.series.append((time.time(), total))
            if not self.rate:
                continue
            due = max(due, now - CATCH_UP) + count / self.rate
            if due > now:
                time.sleep(due - now)
        # What QEMU takes for the end of the stream.
        target.shutdown(socket.SHUT_WR)
