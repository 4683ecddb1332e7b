# SPDX-License-Identifier: GPL-2.0-only
"""A link of limited capacity between two QEMUs, that counts what it carries.

QEMU keeps to max-bandwidth only until it stops the guest; what is left then goes
as fast as the socket takes it. So max-bandwidth alone stands for no real link,
and no downtime measured with it for one. This is the link: a unix socket that
hands on what it gets, not faster than its rate, before and after the stop.
"""

import re
import socket
import threading
import time

CHUNK = 32 << 10
# What a late wake-up may catch up with; beyond, time that passed idle is lost.
CATCH_UP = 0.02


class Trap:
    """Springs once, when the first @mark, a pattern of bytes, has come by.

    @spring: called in the link's thread with what is about to be handed on, which it
             may change if it is no answer, and the place in it of the mark's last byte;
             an OSError breaks the link there
    """

    LONGEST = 512       # bytes of a mark; it may come in pieces

    def __init__(self, mark, spring):
        self.mark, self.spring = re.compile(mark, re.DOTALL), spring
        self.sprung, self._before = False, b""

    def look(self, data):
        """Something comes by."""
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

    Ends when either side closes, or with its `with`. @there and @back: traps for
    what is sent and for the answers. Answers wait while `answers` is not set; what is
    sent gets nowhere while `deaf` is.
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
        """Break it: both sides see the end."""
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
            self.cut()

    def _answer(self, target, source):
        """The way back: a few bytes, if any."""
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
