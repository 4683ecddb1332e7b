#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""What the backend costs, next to the kernel's own type1, in one run.

The lab's clock counts instructions here, 2 ns each, so the figures are the same on every machine,
under any load. Writes bench.json and bench.html and prints the table; fails if a figure of ours is
above its target, slower than the kernel's own, or grows more than what it depends on.

usage: bench.py --results DIR [key=value ...]          (as root; --help: keys)
"""

import json
import os
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "scripts/lab.d"))

# pylint: disable=wrong-import-position
from base import settings, site
from play import arguments, backend, entry
from show import bench_html

# How the lab is booted; read by scripts/lab.
ACCEL = "icount"

# What a run needs to have built, and for which settings (boot/scenario.py).
BUILDS = {"bench": ""}

KEYS = settings.keys(own={
    "only": settings.Words(
        "floor,pin,start,get,short,stop,wait,unmap,memory,mapped,dirty,growth,engine",
        "groups of figures",
        ("floor", "pin", "start", "get", "short", "stop", "wait", "unmap", "memory", "mapped",
         "dirty", "growth", "engine")),
    "backend": settings.Words("stock,ours", "which type1", ("stock", "ours")),
})

PROGRAMS = site.BUILT / "bench"
# Length of the page allocator's lists of free pages. By default the length changes with the load,
# and thousands of pages are given back within a call that frees one.
PAGE_LISTS = Path("/proc/sys/vm/percpu_pagelist_high_fraction")

# Key of the program: (operation, unit, target or None). A target that is a string is a share of
# what stock needs.
ROWS = {
    "pin_512": ("pin, batches of 512, per page", "ns", 90),
    "unpin_512": ("unpin, batches of 512, per page", "ns", 55),
    "pin_1": ("pin, one page", "ns", 3000),
    "unpin_1": ("unpin, one page", "ns", 700),
    "start_1t": ("START, 1 TiB mapped, nothing pinned", "us", 20),
    "start_1t_bytes": ("START, 1 TiB mapped, memory", "B", 0),
    "start_1g": ("START, 1 GiB all pinned", "us", 20),
    "get_1t_1024": ("GET, 1 TiB mapped, 1024 pages dirty", "us", 15000),
    "get_1g_all": ("GET, 1 GiB all pinned", "us", 300),
    "memory_dense": ("memory per pinned page, dense, scattered frames", "B", 10),
    "memory_isolated": ("memory per pinned page, isolated", "B", 160),
    "wait_1t": ("longest wait for the lock during the 1 TiB GET", "us", "1 %"),
    "wait_start": ("longest wait for the lock during START", "us", 150),
    "wait_map": ("longest wait for the lock during MAP", "us", 150),
    "wait_get": ("longest wait for the lock during GET, 65536 pages", "us", 150),
    "wait_stop": ("longest wait for the lock during STOP, 65536 pages", "us", 150),
    "wait_unmap": ("longest wait for the lock during UNMAP, 65536 pages", "us", 150),
    "wait_pin": ("longest wait for the lock during pins of 512 pages", "us", 150),
    "wait_unpin": ("longest wait for the lock during unpins of 512 pages", "us", 150),
    "wait_pin_mappings": ("longest wait for the lock during pins of 512 mappings", "us", None),
    "wait_unpin_mappings": ("longest wait for the lock during unpins of 512 mappings", "us", 150),
    "get_hole": ("GET, 8 TiB of nothing mapped", "us", 10),
    "get_1": ("GET, 1 page", "us", None),
    "get_64": ("GET, 64 pages", "us", None),
    "get_512": ("GET, 512 pages", "us", None),
    "get_hole_whole": ("START, that GET of nothing, STOP", "us", None),
    "get_1_whole": ("START, GET of 1 page, STOP", "us", None),
    "get_64_whole": ("START, GET of 64 pages, STOP", "us", None),
    "get_512_whole": ("START, GET of 512 pages, STOP", "us", None),
    "memory_huge": ("memory per pinned page, huge pages", "B", None),
    "memory_scattered": ("memory per pinned page, every 16th, scattered frames", "B", 160),
    "memory_1t": ("memory for 1 TiB, all retained, by calculation", "MiB", 40),
    "pin_512_thread": ("pin by a kernel thread, batches of 512, per page", "ns", 55),
    "unpin_512_thread": ("unpin by a kernel thread, batches of 512, per page", "ns", 16),
    "pin_1_thread": ("pin by a kernel thread, one page", "ns", None),
    "unpin_1_thread": ("unpin by a kernel thread, one page", "ns", None),
    "pin_1_isolated": ("pin, one page, 2 MiB apart", "ns", None),
    "unpin_1_isolated": ("unpin, one page, 2 MiB apart", "ns", None),
    "pin_1_random": ("pin, one page, anywhere in 1 TiB", "ns", None),
    "unpin_1_random": ("unpin, one page, anywhere in 1 TiB", "ns", None),
    "pin_512_scattered": ("pin, batches of 512, scattered frames, per page", "ns", None),
    "unpin_512_scattered": ("unpin, batches of 512, scattered frames, per page", "ns", None),
    "pin_512_tracking": ("pin, batches of 512, tracking, per page", "ns", None),
    "unpin_512_tracking": ("unpin, batches of 512, tracking, per page", "ns", None),
    "ring_512": ("ring of 512 pages re-pinned at once, per page", "ns", None),
    "ring_512_tracking": ("the same, tracking", "ns", None),
    "ring_1": ("ring of 512 pages re-pinned one by one, per page", "ns", None),
    "ring_1_tracking": ("the same, tracking", "ns", None),
    "get_1t_fresh": ("GET, 1 TiB, into memory not touched before", "us", None),
    "get_1g_half": ("GET, 1 GiB, every second page dirty", "us", None),
    "get_1g_half_whole": ("pin, unpin, GET of these pages", "us", None),
    "unmap_1g": ("UNMAP with bitmap, 1 GiB all dirty", "us", None),
    "unmap_1g_unpin": ("unpin, UNMAP of that GiB", "us", None),
    "unmap_1g_whole": ("pin, unpin, UNMAP of that GiB", "us", None),
    "stop_1g": ("STOP, 1 GiB all retained", "us", None),
    "tracking_1g": ("START and that STOP", "us", None),
    "tracking_1g_whole": ("START, pin, unpin, and that STOP", "us", None),
    "stop_16g": ("STOP, 16 GiB, a page of 64 retained", "us", None),
    "tracking_16g": ("START and that STOP", "us", None),
    "tracking_16g_whole": ("START, pin, unpin, and that STOP", "us", None),
    "stop_1t": ("STOP, 1 TiB, 65536 pages retained", "us", None),
    "tracking_1t": ("START and that STOP", "us", None),
    "tracking_1t_whole": ("START, pin, unpin, and that STOP", "us", None),
    "moving_16384": ("GET, 1 TiB mapped, 16384 other pages dirty", "us", None),
}

# What the device does for a descriptor, beside the bare pins, accesses and unpins.
ENGINE = {"stamp_512": "STAMP of 512 pages", "copy_1": "COPY of 4 KiB",
          "copy_512": "COPY of 2 MiB", "read_512": "READ of 2 MiB"}
for what, text in ENGINE.items():
    ROWS[f"engine_{what}"] = (f"a descriptor of the device, {text}", "us", None)
    ROWS[f"bare_{what}"] = (f"pin, access, unpin of {text}, bare", "us", None)
    ROWS[f"least_{what}"] = ("the least: in pieces, with the pins of a descriptor", "us", None)

# How many times the least that a descriptor may take. The least is as bare, but in pieces of 64
# pages, since the device stops between them when it is quiesced; and with two pins of the
# descriptor's page, to read it and to write its status.
ENGINE_AT_MOST = {"engine_copy_512": 1.3, "engine_read_512": 1.3}

# Descriptors that do little with a page take more: they are compared with the kernel's own alone.
_ENGINE = "each run is entered in a tree, in which dma_unmap finds it, and each page in the ledger"
ENGINE_MORE = {"engine_stamp_512": _ENGINE, "engine_copy_1": _ENGINE}

# So much slower than the kernel's own a row can be: not at all, but figures are rounded.
SLOWER = 1.02

# Rows that can be slower, because one call does what is done elsewhere by the kernel's
# own, or what it does not do at all. Compared is the whole of what a user waits for:
# row -> (that row, the reason).
_CALL = "a call holds its container, and is one report at a time; user memory is read and " \
    "written without iommu->lock, and bits that are not ours are kept"
_COPY = "of a plane of 64 words, each is copied under the lock, copied to the user without it, " \
    "and cleared when the user has it: three instructions a word, and two to clear buffers"
_STOP = "the kernel's own has paid for its bitmap at START, and for its records at each unpin; " \
    "ours frees what there is, 500 instructions a leaf or a plane"
WHOLE = {
    "get_1": ("get_1_whole", _CALL),
    "get_64": ("get_64_whole", _CALL),
    "get_512": ("get_512_whole", _CALL),
    "get_hole": ("get_hole_whole", _CALL),
    "get_1g_half": ("get_1g_half_whole", _COPY),
    "mapped_1": ("mapped_1_whole", _COPY),
    "unmap_1g": ("unmap_1g_unpin",
                 "the kernel's own has freed its records at each unpin, one by one"),
    "stop_1g": ("tracking_1g", _STOP),
    "stop_16g": ("tracking_16g_whole", _STOP),
    "tracking_16g": ("tracking_16g_whole", _STOP),
    "stop_1t": ("tracking_1t", _STOP),
}

# What a call costs as one thing grows: what grows -> (the numbers in the keys, what they count).
# The keys are CALL_by_WHAT_NUMBER.
GROWS = {
    "memory": ([10 ** i for i in range(5)], "times 512 MiB mapped, 1000 pages dirty"),
    "dirty": ([5 * 10 ** i for i in range(5)], "pages dirty in 1 TiB"),
    "mappings": ([6 * 10 ** i for i in range(5)], "mappings, 240 GiB, 1000 pages dirty"),
}
CALLS = {"start": "START", "get": "GET", "stop": "STOP", "unmap": "UNMAP with bitmap",
         "whole": "START, pin, unpin, GET, STOP, pin, unpin, UNMAP"}

# What grows by ten may make a call ten times dearer, and a little more: of many records, fewer are
# in memory that is given back together. More than that is steeper than what grows.
STEEPER = 1.10

# Steps that are steeper, and why.
STEPS = {
    "stop_by_memory_1": "1000 pages in 512 MiB share 32 planes, in 5 GiB they take 320, and there "
                        "are no more than pages: STOP frees each",
}

# The plots: (beginning of the keys, numbers in the keys, what they count, what costs).
CURVES = [
    ("mapped", (1, 16, 256, 1024, 4096, 16384), "GiB mapped, 1024 pages dirty", "GET"),
    ("dirty", (256, 1024, 4096, 16384, 65536), "pages dirty, 1 TiB mapped", "GET"),
]
for prefix, sizes, text, _ in CURVES:
    for size in sizes:
        ROWS[f"{prefix}_{size}"] = (f"GET, {size} {text}", "us", None)
ROWS["mapped_1_whole"] = ("pin, unpin, GET of these 1024 pages in 1 GiB", "us", None)
for grows, (sizes, text) in GROWS.items():
    for call, name in CALLS.items():
        CURVES.append((f"{call}_by_{grows}", sizes, text, name))
        for size in sizes:
            key = f"{call}_by_{grows}_{size}"
            ROWS[key] = (f"{name}: {size} {text}", "us", None)
            if call != "whole":
                WHOLE[key] = (f"whole_by_{grows}_{size}", "what a call leaves undone, another does")

SCALE = {"ns": 1, "us": 1000, "B": 1, "MiB": 2 ** 20}


def measure(groups, failed):
    """key -> figure, for the type1 that is loaded. What a group failed with is added to @failed."""
    found = {}
    for group in groups:
        print(f"  {group} ...", flush=True)
        # The engine is the device's own: a program of its own measures it.
        words = ["engine"] if group == "engine" else ["bench", group]
        done = subprocess.run([str(PROGRAMS / words[0]), *words[1:]], check=False, text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        lines = done.stdout.splitlines()
        if done.returncode:
            failed.append(f"bench {group}: exit code {done.returncode}: {lines[-1:]}")
        for words in map(str.split, lines):
            if len(words) == 2 and words[0] in ROWS:
                found[words[0]] = float(words[1])
    return found


def slower(key, stock, ours):
    """Is a time of ours longer than that of the kernel's own? None: not to be compared."""
    if ROWS[key][1] in ("B", "MiB") or key in WHOLE or key not in stock or key not in ours:
        return None
    return ours[key] > stock[key] * SLOWER


def row(key, stock, ours, floor):
    """One row of bench.json; ok is None if there is no target."""
    name, unit, target = ROWS[key]

    def value(figures):
        return round(figures[key] / SCALE[unit], 1) if key in figures else None

    line = {"key": key, "op": name, "unit": unit, "stock": value(stock), "ours": value(ours),
            "floor": value(floor), "target": target, "ok": None}
    least = key.replace("engine_", "least_")
    if key in ENGINE_AT_MOST and least in ours:
        line["target"] = round(ours[least] / SCALE[unit] * ENGINE_AT_MOST[key], 1)
    if isinstance(target, str):
        part = float(target.split()[0]) / 100
        line["target"] = None if line["stock"] is None else round(line["stock"] * part, 1)
    if line["target"] is not None and line["ours"] is not None:
        line["ok"] = line["ours"] <= line["target"]
    if slower(key, stock, ours) is not None:
        line["ok"] = line["ok"] is not False and not slower(key, stock, ours)
    return line


def table(rows):
    """The rows as text."""
    def cell(value):
        return "-" if value is None else f"{value:g}" if abs(value) < 1e5 else f"{value:.0f}"

    verdict = {True: "ok", False: "MISSED", None: ""}
    heads = ("operation", "unit", "stock", "ours", "gain", "floor", "target", "")
    lines = [heads] + [(line["op"], line["unit"], cell(line["stock"]), cell(line["ours"]),
                        bench_html.gain(line, "x"), cell(line["floor"]), cell(line["target"]),
                        verdict[line["ok"]]) for line in rows]
    form = "{:<50} {:>4} {:>10} {:>10} {:>8} {:>10} {:>10} {}"
    return "\n".join(form.format(*line).rstrip() for line in lines)


def curves(rows):
    """What bench.html plots: [(what costs, what grows, [(size, stock, ours)])], in us or None."""
    found = {line["key"]: line for line in rows}
    plots = []
    for key, points, what, call in CURVES:
        lines = [(point, found[f"{key}_{point}"]) for point in points
                 if f"{key}_{point}" in found]
        if lines:
            plots.append((call, what, [(point, line["stock"], line["ours"])
                                       for point, line in lines]))
    return plots


def steeper(figures):
    """Curves of ours that grow more than what grows: ["KEY: COST, KEY: COST"]."""
    found = []
    for key, points, _, _ in CURVES:
        for few, many in zip(points, points[1:]):
            names = f"{key}_{few}", f"{key}_{many}"
            costs = [figures.get(name) for name in names]
            if names[0] not in STEPS and None not in costs and costs[1] > costs[0] * many / few * STEEPER:
                found.append(", ".join(f"{name}: {cost:.0f} ns" for name, cost
                                       in zip(names, costs)))
    return found


def main(argv):
    """Measure and judge; the exit code is 0 if every target is reached."""
    directory, values = arguments.read(__doc__, KEYS, argv)
    config = {key: value.split(",") for key, value in values.items()}
    clock = Path("/sys/devices/system/clocksource/clocksource0/current_clocksource")
    figures, failed = {"stock": {}, "ours": {}, "floor": {}}, []
    PAGE_LISTS.write_text("1000\n")
    for name in config["backend"]:
        print(f"bench: {name}", flush=True)
        backend.load(name)
        if not Path("/sys/module/mdma_bench").exists():
            backend.run("insmod", PROGRAMS / "mdma_bench.ko")
            backend.run("modprobe", "mdma")
        if "floor" in config["only"] and not figures["floor"]:
            figures["floor"] = measure(["floor"], failed)
        figures[name] = measure([group for group in config["only"] if group != "floor"], failed)
    rows = [row(key, **figures) for key in ROWS
            if any(key in found for found in figures.values())]
    facts = {"kernel": os.uname().release, "clock": clock.read_text().strip(), "rows": rows}
    (directory / "bench.json").write_text(json.dumps(facts, indent=1) + "\n")
    print(table(rows))
    (directory / "bench.html").write_text(bench_html.render(facts, curves(rows)))
    missed = [line["key"] for line in rows if line["ok"] is False]
    for key in missed:
        why = "slower than the kernel's own" if slower(key, figures["stock"], figures["ours"]) \
            else "target missed"
        print(f"{why}: {ROWS[key][0]} ({key})")
    for key, (whole, reason) in WHOLE.items():
        if figures["ours"].get(key, 0) > figures["stock"].get(key, 1e18) * SLOWER:
            print(f"slower, and compared as a whole: {ROWS[key][0]}, by {whole}: {reason}")
    for key, reason in ENGINE_MORE.items():
        least = figures["ours"].get(key.replace("engine_", "least_"))
        if least:
            print(f"{figures['ours'][key] / least:.2f} times the least: {ROWS[key][0]}: {reason}")
    steep = steeper(figures["ours"])
    for line in steep:
        print(f"steeper than what grows: {line}")
    for line in failed:
        print(line)
    return 1 if missed or steep or failed else 0


if __name__ == "__main__":
    entry.run(main)
