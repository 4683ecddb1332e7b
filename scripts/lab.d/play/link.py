# SPDX-License-Identifier: GPL-2.0-only
"""A link of limited capacity between two QEMUs that counts what it carries.

QEMU respects max-bandwidth only until it stops the guest; the rest goes as fast as the socket
takes it. So max-bandwidth alone does not model a real link, nor does a downtime measured with it.
This does: a unix socket that passes data on no faster than its rate, before and after the stop.
"""

import re
import socket
import threading
import time

CHUNK = 32 << 10
# Seconds that a late wake-up may catch up; idle time beyond that is lost.
CATCH_UP = 0.02


class Trap:
    """Springs once, when the first @mark, a pattern of bytes, has passed.

    @spring: called in the link's thread with the data that is about to be passed on, and the
             position in it of the mark's last byte. It may change the data, unless it is an
             answer. An OSError breaks the link there
    """

    LONGEST = 512       # bytes of a mark; it may come in pieces

    def __init__(self, mark, spring):
        self.mark, self.spring = re.compile(mark, re.DOTALL), spring
        self.sprung, self._before = False, b""

    def look(self, data):
        """Look at data that passes."""
        if self.sprung:
            return
        text = self._before + bytes(data)
        found = self.mark.search(text)
        if found:
            self.sprung = True
            self.spring(data, found.end() - 1 - len(self._before))
        self._before = text[-self.LONGEST:]


class Link:
    """One connection from @path to @target, @rate bytes per second; 0: no limit.

    Ends when either side closes, or with its `with`. @there and @back: traps for data and for
    answers. Answers wait while `answers` is not set; data is discarded while `deaf` is set.
    """

    def __init__(self, path, target, rate=0, *, there=None, back=None):
        self.path, self.target, self.rate = path, target, rate
        self.there, self.back = there, back
        self.answers = threading.Event()
        self.answers.set()
        self.deaf = threading.Event()
        self.series = [(time.time(), 0)]
        self.error = None
        self._sockets = [socket.socket(socket.AF_UNIX)]
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self):
        self._sockets[0].bind(str(self.path))
        self._sockets[0].listen(1)
        self._thread.start()
        return self

    def cut(self):
        """Break the link: both sides see the end."""
        for sock in self._sockets:
            try:
                sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass        # not connected, or closed by the other side

    def __exit__(self, *_):
        self.answers.set()
        self.cut()
        self._thread.join()
        for sock in self._sockets:
            sock.close()
        self.path.unlink(missing_ok=True)

    @property
    def carried(self):
        """Bytes carried so far."""
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
            self.cut()

    def _answer(self, target, source):
        """Pass on the answers, if there are any: a few bytes."""
        try:
            while data := target.recv(CHUNK):
                if self.back:
                    self.back.look(data)
                self.answers.wait()
                source.sendall(data)
            source.shutdown(socket.SHUT_WR)
        except OSError:
            self.cut()      # the way there tells

    def _carry(self, source, target):
        buffer = bytearray(CHUNK)
        view = memoryview(buffer)
        due, total = time.monotonic(), 0
        while count := source.recv_into(buffer):
            if self.there:
                self.there.look(view[:count])
            if not self.deaf.is_set():
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
