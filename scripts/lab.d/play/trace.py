# SPDX-License-Identifier: GPL-2.0-only
"""One ftrace instance that sees every write and every report in one order.

A process (drain.py) moves its buffer to files while it fills; ring_buffer.py reads them. If that
is too slow, the devices are slowed down (throttle.py). The kernel counts events that are dropped
nevertheless, and the judge refuses such a trace.
"""

import errno
import json
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

from base import process
from play.throttle import Throttle

ROOTS = (Path("/sys/kernel/tracing"), Path("/sys/kernel/debug/tracing"))

# A counter that all CPUs share, incremented at each event: a global order. Clocks can't tell a
# write just before a report from one just after it.
CLOCK = "counter"
# Percentage of a CPU's buffer at which drain.py empties it. The kernel counts one sub-buffer too
# many, so one percent of a small buffer would always be full.
LOOK_AT = 5
# Seconds that moving the rest of the buffers may take.
PATIENCE = 120
# Seconds that others may take to close an instance.
PATIENCE_TO_REMOVE = 5
# Of the text of a CPU's counters: its longest size, and the bytes that are not read yet.
STATS_MAX, UNREAD = 4096, re.compile(rb"^bytes: (\d+)$", re.M)
DRAIN = Path(__file__).with_name("drain.py")


# The events that the oracles judge, see judge/events.py.
PROOF_EVENTS = ("mdma/mdma_write", "mdma/mdma_pin", "mdma/mdma_unpin", "mdma/mdma_state",
                "vfio_type1/vfio_dirty_start", "vfio_type1/vfio_dirty_stop",
                "vfio_type1/vfio_dirty_run", "vfio_type1/vfio_dirty_report",
                "mdma/mdma_log_start", "mdma/mdma_log_stop", "mdma/mdma_log_run",
                "mdma/mdma_log_report")


def proof_events(container):
    """Those of them that there are with a container: iommufd tells of nothing."""
    return tuple(event for event in PROOF_EVENTS
                 if container == "type1" or event.startswith("mdma/"))


class TraceError(Exception):
    """The kernel lacks what the proof needs, or the trace can't be kept."""


class Tracer:
    """An ftrace instance of our own, so that nobody else's tracing disturbs the proof."""

    def __init__(self, name, events, buffer_kb, directory, **more):
        """@directory: the trace goes to its subdirectory "trace", while it is recorded

        @more: mdevs, which are slowed down if need be, and room_mb, the most that is kept; at most
               half of the free disk space is used
        """
        self.events, self.buffer_kb = events, buffer_kb
        self.directory = Path(directory) / "trace"
        self.mdevs, self.room_mb = more.get("mdevs", ()), more.get("room_mb", 512)
        root = next((root for root in ROOTS if (root / "instances").is_dir()), None)
        if root is None:
            raise TraceError("tracefs is not mounted")
        self.path = root / "instances" / name
        self.drain = self.throttle = None
        # The counters and the file of each CPU stay open, since they are read all the time.
        self.stats, self.files = [], []

    def __enter__(self):
        if self.path.is_dir():
            self._remove()
        self.path.mkdir()
        try:
            self._set_up()
            self._start()
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(self, *_):
        self._end()

    def _end(self):
        """Leave nothing behind but files, whatever happened."""
        if self.throttle:
            self.throttle.end()
        if self.drain:
            # The drain has the buffers open, so the instance can't be removed before it ends.
            self.drain.kill()
            self.drain.wait()
        for stats in self.stats:
            os.close(stats)
        self.stats = []
        self._remove()

    def _remove(self):
        """Remove the instance. If a run was killed, its drain ends a moment later."""
        deadline = time.monotonic() + PATIENCE_TO_REMOVE
        while True:
            try:
                return self.path.rmdir()
            except OSError as err:
                if err.errno != errno.EBUSY or time.monotonic() > deadline:
                    raise TraceError(f"{self.path}: {err.strerror}: somebody traces there") \
                        from err
                time.sleep(0.05)

    def _put(self, name, value):
        try:
            (self.path / name).write_text(f"{value}\n")
        except OSError as err:
            raise TraceError(f"ftrace: {name} refused '{value}': {err.strerror}") from err

    def _set_up(self):
        self._put("trace_clock", CLOCK)
        if f"[{CLOCK}]" not in (self.path / "trace_clock").read_text():
            raise TraceError(f"ftrace: no clock '{CLOCK}'")
        # A full buffer drops new events and counts them: then the proof fails.
        self._put("options/overwrite", 0)
        self._put("buffer_size_kb", self.buffer_kb)
        self._put("buffer_percent", LOOK_AT)

    def _start(self):
        self.directory.mkdir(parents=True)
        room = min(self.room_mb << 20, shutil.disk_usage(self.directory).free // 2)
        self.drain = process.start([sys.executable, DRAIN, self.path, self.directory],
                                   stdin=subprocess.PIPE, stdout=subprocess.DEVNULL,
                                   stderr=subprocess.PIPE)
        for cpu in sorted(path.name for path in self.path.glob("per_cpu/cpu[0-9]*")):
            self.stats.append(os.open(self.path / "per_cpu" / cpu / "stats", os.O_RDONLY))
            self.files.append(self.directory / f"{cpu}.raw")
            # The drain creates the files, but may not have done so yet.
            self.files[-1].touch()
        self.throttle = Throttle(self, self.mdevs, room)
        self.throttle.start()
        for event in self.events:
            self._put(f"events/{event}/enable", 1)
        self._put("tracing_on", 1)

    def backlog(self):
        """The share in use of the fullest CPU's buffer."""
        return max(self._unread()) / (self.buffer_kb << 10)

    def _unread(self):
        """Bytes in each CPU's buffer."""
        return [int(UNREAD.search(os.pread(stats, STATS_MAX, 0))[1]) for stats in self.stats]

    def used(self):
        """Bytes on disk, and in the buffers, which will be there at the end."""
        return sum(self._unread()) + sum(os.stat(path).st_size for path in self.files)

    def _counters(self):
        """The counters of all CPUs, in the form that ring_buffer.py reads."""
        return "".join(f"{path.stem}\n{os.pread(stats, STATS_MAX, 0).decode()}"
                       for path, stats in zip(self.files, self.stats))

    def stop(self):
        """Record nothing more."""
        self._put("tracing_on", 0)

    def collect(self):
        """Stop, and complete the directory that ring_buffer.py reads."""
        self.stop()
        self.throttle.end()
        try:
            _, said = self.drain.communicate(timeout=PATIENCE)
        except subprocess.TimeoutExpired as err:
            raise TraceError(f"the trace is not on disk after {PATIENCE} s") from err
        if self.drain.returncode:
            raise TraceError("the trace was not kept: " + (said.decode().strip() or
                             f"drain.py ended with {self.drain.returncode}"))
        formats = [(self.path / "events" / event / "format").read_text()
                   for event in self.events]
        files = {"formats.txt": "".join(formats),
                 "header_page.txt": (self.path / "events/header_page").read_text(),
                 "stats.txt": self._counters(),
                 "slowed.json": json.dumps(self.throttle.valve.facts()) + "\n"}
        for name, text in files.items():
            (self.directory / name).write_text(text)
