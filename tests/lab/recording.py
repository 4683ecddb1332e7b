# SPDX-License-Identifier: GPL-2.0-only
"""Makes a directory as trace.py leaves it for an ftrace instance, from events in words.

tests/lab/recorded is what the lab left of a short run; the formats of events are from there.
"""

from pathlib import Path

from judge import ring_buffer

RECORDED = Path(__file__).resolve().parent / "recorded"
CPUS = 2
FIRST_CLOCK = 100
HEXADECIMAL = ("device", "container", "iova", "size")


def number(name, text):
    """The value of a field that a tracepoint prints as @text."""
    return int(text, 16 if name in HEXADECIMAL else 10)


def record(layout, text):
    """The bytes of an event that prints these fields; all others are 0."""
    fields = dict(word.split("=") for word in text.split())
    fields["unmap"] = str(int(fields.pop("op", "") == "unmap"))
    data = bytearray(max(offset + size for offset, size, _ in layout.fields.values()))
    values = {name: number(name, value) for name, value in fields.items()}
    values["common_type"] = layout.number
    for name, value in values.items():
        if name in layout.fields:
            offset, size, _ = layout.fields[name]
            data[offset:offset + size] = (value % (1 << 8 * size)).to_bytes(size, "little")
    return bytes(data) + bytes(-len(data) % 4)


def event(delta, data):
    """An event in the ring buffer's format, @delta after the one before."""
    return ring_buffer.EVENT.pack(delta << 5 | len(data) // 4) + data


def page(clock, body, flags=0):
    """A sub-buffer that begins at a clock."""
    data = ring_buffer.PAGE.pack(clock, len(body) | flags) + body
    return data + bytes(4096 - len(data))


def stats(counts, losses=(0, 0, 0)):
    """The counters of each CPU at the end.

    @losses: those of the first CPU
    """
    text = ""
    for cpu, count in enumerate(counts):
        lost = losses if cpu == 0 else (0, 0, 0)
        text += (f"cpu{cpu}\nentries: 0\noverrun: {lost[0]}\ncommit overrun: {lost[1]}\n"
                 f"bytes: 0\ndropped events: {lost[2]}\nread events: {count}\n")
    return text


def save(directory, events, lost=0, losses=(0, 0, 0), slowed=None):
    """Make a directory with these events, "name: field=value ...", in this order, on alternating
    CPUs.

    @lost: events that the kernel counted but that are not in the files
    """
    directory.mkdir(parents=True)
    formats = (RECORDED / "formats.txt").read_text()
    known = {layout.name: layout for layout in ring_buffer.layouts(formats).values()}
    pages, counts = [[] for _ in range(CPUS)], [0] * CPUS
    for i, text in enumerate(events):
        name, fields = text.split(": ", 1)
        pages[i % CPUS].append(page(FIRST_CLOCK + i, event(0, record(known[name], fields))))
        counts[i % CPUS] += 1
    for cpu, data in enumerate(pages):
        (directory / f"cpu{cpu}.raw").write_bytes(b"".join(data))
    counts[0] += lost
    (directory / "formats.txt").write_text(formats)
    (directory / "header_page.txt").write_text((RECORDED / "header_page.txt").read_text())
    (directory / "stats.txt").write_text(stats(counts, losses))
    (directory / "slowed.json").write_text(slowed or '{"times": 0, "least": null, "why": []}')
