# SPDX-License-Identifier: GPL-2.0-only
"""One ftrace instance that sees every write and every report in one order."""

from pathlib import Path

ROOTS = (Path("/sys/kernel/tracing"), Path("/sys/kernel/debug/tracing"))

# A counter that all CPUs share, taken at each event: a global order. Clocks
# of time can't tell a write just before a report from one just after.
CLOCK = "counter"


class TraceError(Exception):
    """The kernel does not have what the proof needs."""


class Tracer:
    """An instance of its own, so nobody else's tracing disturbs the proof."""

    def __init__(self, name, events, buffer_kb):
        self.events = events
        self.buffer_kb = buffer_kb
        root = next((root for root in ROOTS if (root / "instances").is_dir()), None)
        if root is None:
            raise TraceError("tracefs is not mounted")
        self.path = root / "instances" / name

    def __enter__(self):
        if self.path.is_dir():
            self.path.rmdir()
        self.path.mkdir()
        try:
            self._start()
        except BaseException:
            self.path.rmdir()
            raise
        return self

    def __exit__(self, *_):
        self._put("tracing_on", 0)
        self.path.rmdir()

    def _put(self, name, value):
        try:
            (self.path / name).write_text(f"{value}\n")
        except OSError as err:
            raise TraceError(f"ftrace: {name} refused '{value}': {err.strerror}") from err

    def _start(self):
        self._put("trace_clock", CLOCK)
        if f"[{CLOCK}]" not in (self.path / "trace_clock").read_text():
            raise TraceError(f"ftrace: no clock '{CLOCK}'")
        # A full buffer drops new events and counts them: the proof then fails.
        self._put("options/overwrite", 0)
        self._put("buffer_size_kb", self.buffer_kb)
        for event in self.events:
            self._put(f"events/{event}/enable", 1)
        self._put("tracing_on", 1)

    def _stats(self):
        cpus = sorted(self.path.glob("per_cpu/cpu*/stats"))
        return "".join(f"{path.parent.name}\n{path.read_text()}" for path in cpus)

    def collect(self, directory):
        """Stop, and leave trace.txt and trace-stats.txt in @directory."""
        self._put("tracing_on", 0)
        (directory / "trace-stats.txt").write_text(self._stats())
        with open(self.path / "trace", "rb") as source, \
                open(directory / "trace.txt", "wb") as target:
            while block := source.read(1 << 20):
                target.write(block)
