# SPDX-License-Identifier: GPL-2.0-only
"""Reads the trace that trace.py left of an ftrace instance: sub-buffers as the kernel has them.

A directory holds

  cpuN.raw         the sub-buffers of a CPU, one after the other (trace_pipe_raw)
  header_page.txt  the header of a sub-buffer
  formats.txt      the `format` file of each event that was enabled
  stats.txt        the counters of each CPU's buffer, read after everything was moved
  slowed.json      how often the workload had to wait for the trace

Pure functions on these files. They are read as a stream: only one sub-buffer of each CPU is in
memory, however many events there are.
"""

import heapq
import re
import struct
from operator import itemgetter
from pathlib import Path

# Header of a sub-buffer: the clock of its first event, and the bytes of its data with flags. See
# events/header_page and kernel/trace/ring_buffer.c.
PAGE = struct.Struct("<QQ")
COMMIT, MISSED = (1 << 27) - 1, 1 << 31
# Header of an event, see events/header_event: its kind in 5 bits, then how far the clock advanced.
EVENT = struct.Struct("<I")
KIND_BITS = 5
KIND = (1 << KIND_BITS) - 1
LONG, PADDING, EXTEND, STAMP = 0, 29, 30, 31
DELTA_BITS = 27
# Bits of the clock that an absolute time stamp lacks.
STAMP_MASK = ~((1 << 59) - 1)
TYPE = struct.Struct("<H")

FIELD = re.compile(r"^\s*field:.*?(\w+)(?:\[[^]]*\])?;\s*offset:(\d+);\s*size:(\d+);"
                   r"\s*signed:([01]);", re.M)
LETTERS = {1: "b", 2: "h", 4: "i", 8: "q"}
# Counters that must be 0 if nothing was lost.
LOSSES = ("overrun", "commit overrun", "dropped events")


class BadTrace(Exception):
    """The files are damaged, or some events are not in them."""


class Layout:
    """The offsets of an event's fields."""

    def __init__(self, text):
        self.name = re.search(r"^name: (\w+)$", text, re.M)[1]
        self.number = int(re.search(r"^ID: (\d+)$", text, re.M)[1])
        self.fields = {name: tuple(map(int, where)) for name, *where in FIELD.findall(text)}

    def unpacker(self, names):
        """A function that returns the values of these fields, in this order, for a buffer and the
        place of the event in it; and the number of bytes that it needs."""
        missing = [name for name in names if name not in self.fields]
        if missing:
            raise BadTrace(f"{self.name} without a field {missing[0]}")
        at, words, order = 0, "<", sorted(names, key=lambda name: self.fields[name])
        for name in order:
            offset, size, signed = self.fields[name]
            letter = LETTERS[size] if signed else LETTERS[size].upper()
            words += f"{offset - at}x{letter}"
            at = offset + size
        unpack = struct.Struct(words).unpack_from
        if tuple(order) == tuple(names):
            return unpack, at
        places = [order.index(name) for name in names]
        pick = itemgetter(*places)
        return (lambda data, where: pick(unpack(data, where))), at


def layouts(text):
    """The layouts in a file of formats, by the number of the event."""
    parts = re.split(r"^(?=name: )", text, flags=re.M)
    return {layout.number: layout for layout in map(Layout, filter(str.strip, parts))}


def page_size(text):
    """Bytes of a sub-buffer, from header_page."""
    fields = {name: (int(offset), int(size)) for name, offset, size, _ in FIELD.findall(text)}
    if fields.get("timestamp") != (0, 8) or fields.get("commit") != (8, 8) \
            or fields.get("data", (0, 0))[0] != PAGE.size:
        raise BadTrace("sub-buffers begin as none that is known")
    return PAGE.size + fields["data"][1]


def events_of_page(page):
    """(clock, place, bytes) of each event in a sub-buffer."""
    clock, commit = PAGE.unpack_from(page)
    if commit & MISSED:
        raise BadTrace("events are missing before a sub-buffer")
    at, end, word_at = PAGE.size, PAGE.size + (commit & COMMIT), EVENT.unpack_from
    if end > len(page):
        raise BadTrace(f"{end} bytes in a sub-buffer of {len(page)}")
    while at < end:
        word, = word_at(page, at)
        kind, delta = word & KIND, word >> KIND_BITS
        at += EVENT.size
        if LONG < kind < PADDING:
            clock += delta
            yield clock, at, kind << 2
            at += kind << 2
            continue
        if kind == PADDING and not delta:
            return
        if at >= end:
            raise BadTrace("an event goes beyond its sub-buffer")
        more, = word_at(page, at)
        if kind == EXTEND:
            clock += (more << DELTA_BITS) + delta
            at += EVENT.size
        elif kind == STAMP:
            clock = (clock & STAMP_MASK) | (more << DELTA_BITS) + delta
            at += EVENT.size
        else:
            if kind == LONG:
                clock += delta
                yield clock, at + EVENT.size, more - EVENT.size
            at += more


def events_of_cpu(path, size, known):
    """(clock, name, values) of each event of a CPU, in order.

    @known: number -> (name, function of buffer and place, bytes that it needs)
    """
    with open(path, "rb") as file:
        while page := file.read(size):
            if len(page) != size:
                raise BadTrace(f"{path.name} ends within a sub-buffer")
            for clock, at, length in events_of_page(page):
                number, = TYPE.unpack_from(page, at)
                if number not in known:
                    raise BadTrace(f"an event of number {number}, which has no format")
                name, unpack, needs = known[number]
                if needs > length or at + length > size:
                    raise BadTrace(f"{name} of {length} bytes, must be {needs}")
                yield clock, name, unpack(page, at)


def counters(text):
    """{CPU: {counter: number}} of stats.txt."""
    found, cpu = {}, None
    for line in text.splitlines():
        name, colon, value = line.partition(": ")
        if not colon and line.strip():
            cpu = line.strip()
            found.setdefault(cpu, {})
        elif value.isdecimal() and cpu is not None:
            found[cpu][name] = int(value)
    return found


def check_losses(text):
    """An event that the ring buffer dropped would be a page that nobody misses."""
    found = counters(text)
    if not found or any(name not in cpu for cpu in found.values() for name in LOSSES):
        raise BadTrace("no counters of the ring buffer")
    for name in LOSSES:
        lost = sum(cpu[name] for cpu in found.values())
        if lost:
            raise BadTrace(f"ring buffer {name}: {lost}")


class Recording:
    """The events of a directory, in the global order of the clock."""

    def __init__(self, directory, wanted):
        """@wanted: event -> names of the fields to return; other events are only counted"""
        self.directory, self.wanted = Path(directory), wanted

    def __iter__(self):
        """(clock, name, values) of each wanted event. At the end, the number of events must be
        what the kernel counted."""
        text = {name: (self.directory / f"{name}.txt").read_text()
                for name in ("stats", "formats", "header_page")}
        check_losses(text["stats"])
        size, known = page_size(text["header_page"]), self._known(text["formats"])
        stats = counters(text["stats"])
        seen = dict.fromkeys(stats, 0)
        cpus = [self._counted(seen, cpu, events_of_cpu(self.directory / f"{cpu}.raw", size, known))
                for cpu in stats]
        last = -1
        for event in heapq.merge(*cpus, key=itemgetter(0)):
            if event[0] <= last:
                raise BadTrace(f"order goes back from {last} to {event[0]}")
            last = event[0]
            if event[1]:
                yield event
        self._check_counts(stats, seen)

    def _known(self, text):
        known = {}
        for number, layout in layouts(text).items():
            names = self.wanted.get(layout.name)
            name = layout.name if names is not None else None
            known[number] = (name, *layout.unpacker(names or ("common_type",)))
        return known

    @staticmethod
    def _counted(seen, cpu, events):
        for event in events:
            seen[cpu] += 1
            yield event

    @staticmethod
    def _check_counts(stats, seen):
        for cpu, counted in stats.items():
            happened = counted["entries"] + counted["read events"]
            if happened != seen[cpu]:
                raise BadTrace(f"{cpu}: {happened} events happened, {seen[cpu]} were taken")
