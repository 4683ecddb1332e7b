#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""The trace that the proof rests on: no event is lost, however fast the device writes.

A device writes as fast as it can, and its channels move from CPU to CPU. The trace's buffer is
small, and more happens than it holds. All events must be in the files, in one order. If the buffer
can't be emptied, or the disk is too small, the device must be slowed before an event is dropped,
and the run must say so.

usage: evidence.py --results DIR          (as root)
"""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "scripts/lab.d"))

# pylint: disable=wrong-import-position
from base import ktap, settings
from base.patience import Patience
from judge import events as trace_events, moves, proof
from play import arguments, entry
from play.mdev import Mdev
from play.trace import TraceError, Tracer
from show import report_html

# What a run needs to have built, and for which settings (boot/scenario.py).
BUILDS = {"selftests": ""}

KEYS = settings.keys(
    "buffer_kb", "patience", "shm", buffer_kb=4096, patience=60,
    own={
        "percent": settings.Number(
            125, "how much happens, of what the buffers of all CPUs hold", 1),
        "only": settings.Text("", "tests whose name has this in it"),
    })
EVENTS = ("mdma/mdma_write", "mdma/mdma_pin", "mdma/mdma_unpin", "mdma/mdma_state")
NAME = "mdma-evidence"
MIB = 1 << 20
WINDOW_MIB = 64
CHANNELS = ("workload", "workload1")
# Bytes of the smallest event in the buffer: mdma_unpin, with its header.
EVENT_BYTES = 36
# Of a page that is written and was not pinned: pin, write, unpin.
EVENTS_OF_A_PAGE = 3
# Seconds after which a channel moves to another CPU.
MOVE = 0.01


class Wrong(Exception):
    """Something is not as it must be."""


def expect(good, text):
    """Fail with this text unless @good."""
    if not good:
        raise Wrong(text)


def threads_of(begin):
    """Threads of any process whose name begins so; those that end meanwhile are none of them."""
    found = []
    for path in Path("/proc").glob("[0-9]*/task/*/comm"):
        with suppress(OSError):
            if path.read_text().startswith(begin):
                found.append(int(path.parent.name))
    return found


class Device:
    """An open device with a workload on two channels."""

    def __init__(self, patience):
        self.mdev, self.vmm, self.patience = Mdev("mdma-4"), None, patience

    def __enter__(self):
        self.mdev.__enter__()
        self.vmm = subprocess.Popen(["mdma-open", self.mdev.uuid, str(WINDOW_MIB)],
                                    stdout=subprocess.PIPE, text=True)
        expect("is open" in self.vmm.stdout.readline(), "mdma-open does not open it")
        self.mdev.set(window=f"0-{WINDOW_MIB * MIB - 1:#x}")
        self.put(pattern="random", batch=1, hold_ms=0, rate=0)
        return self

    def __exit__(self, *_):
        self.vmm.kill()
        self.vmm.wait()
        self.mdev.__exit__()

    def put(self, **attributes):
        """Set attributes of both workloads."""
        for channel in CHANNELS:
            for name, value in attributes.items():
                (self.mdev.path / channel / name).write_text(f"{value}\n")

    def rates(self):
        """The rates of the workloads."""
        return [int((self.mdev.path / channel / "rate").read_text()) for channel in CHANNELS]

    def wait(self, what, probe, progress=lambda: None):
        """Wait until @probe is true, for as long as there is @progress."""
        patience = Patience(self.patience)
        while not probe():
            patience.progress(progress())
            expect(not patience.exhausted(), f"not in {self.patience} s: {what}")
            time.sleep(0.02)

    def wait_for_pages(self, count):
        """Wait until this many pages are written in all, as long as there are more and more."""
        written = partial(self.mdev.stat, "pages_written")
        self.wait(f"{count} pages are written", lambda: written() >= count, written)

    def wait_while_writing(self, what, probe, most):
        """Wait until @probe is true, as long as more and more pages are written. When @most are,
        it must be true."""
        written = partial(self.mdev.stat, "pages_written")
        self.wait(what, probe, lambda: min(most, written()))

    @contextmanager
    def writing(self):
        """Let the device write meanwhile, as fast as it can or may, on alternating CPUs."""
        threads = threads_of(f"mdma{self.mdev.uuid[:8]}.")
        expect(len(threads) >= len(CHANNELS), f"{len(threads)} threads of channels")
        ended = threading.Event()
        mover = threading.Thread(target=self._move, args=(threads, ended))
        mover.start()
        self.put(run=1)
        try:
            yield
        finally:
            self.put(run=0)
            ended.set()
            mover.join()

    @staticmethod
    def _move(threads, ended):
        cpus, turn = sorted(os.sched_getaffinity(0)), 0
        while not ended.wait(MOVE):
            turn += 1
            for i, thread in enumerate(threads):
                os.sched_setaffinity(thread, {cpus[(turn + i) % len(cpus)]})


class Channels:
    """Checks that the events of each channel are in the order in which it made them: it pins,
    writes and unpins a page, then the next one, on any CPU."""

    def __init__(self):
        self.seq, self.pins, self.writes, self.wrong = {}, {}, 0, []

    def add(self, event):
        """Process the next event."""
        if isinstance(event, trace_events.Write):
            self.writes += 1
            if event.seq <= self.seq.get(event.channel, 0):
                self.wrong.append(f"write {event.seq} of channel {event.channel} after "
                                  f"{self.seq[event.channel]}")
            self.seq[event.channel] = event.seq
            self._check(event, 1)
        elif isinstance(event, trace_events.Pin):
            self.pins[event.iova] = self.pins.get(event.iova, 0) + (1 if event.on else -1)
            self._check(event, 0)

    def _check(self, event, least):
        if self.pins.get(event.iova, 0) < least:
            self.wrong.append(f"{type(event).__name__} {event.pos} of a page that is not pinned")


def whole(device, directory):
    """Everything that the device wrote must be in the trace, once, and in one order, by the ledger
    and the counters. Returns the number of write events."""
    seen = proof.Seen(proof.device_number(device.mdev.uuid))
    order, channels = moves.Order(), Channels()
    trace_events.watch(trace_events.Trace(directory / "trace"), seen, order, channels)
    order.end()
    proof.check_ledger(proof.parse_ledger(device.mdev.ledger(), "ledger"), seen.written)
    written = device.mdev.stat("pages_written")
    expect(order.writes == written, f"{order.writes} writes in the trace, {written} were made")
    wrong = order.reasons + channels.wrong
    expect(not wrong, f"{len(wrong)} events out of order: {wrong[:3]}")
    expect(set(channels.seq) == {0, 1}, f"channels {sorted(channels.seq)} wrote")
    expect(not any(channels.pins.values()), "a page is pinned still")
    return order.writes


def room_of(config):
    """Bytes in the buffers of all CPUs."""
    return len(list(Path("/sys/kernel/tracing/per_cpu").glob("cpu*"))) * (config["buffer_kb"] << 10)


def pages_in(size):
    """Pages that the device can write, at most, until their events take so many bytes."""
    return size // (EVENTS_OF_A_PAGE * EVENT_BYTES)


# --- the tests --------------------------------------------------------------


def nothing_is_dropped_at_full_speed(device, config, directory):
    """More happens than the buffer holds. Smaller buffers would do if the lab's CPUs never waited
    for the host, but a busy host stops them for seconds."""
    enough = pages_in(room_of(config)) * config["percent"] // 100
    with Tracer(NAME, EVENTS, config["buffer_kb"], directory, mdevs=[device.mdev]) as tracer:
        begin = time.monotonic()
        with device.writing():
            device.wait_for_pages(enough)
        seconds = time.monotonic() - begin
        tracer.collect()
        slowed = tracer.throttle.valve.facts()["times"]
    count = EVENTS_OF_A_PAGE * whole(device, directory)
    cpu_files = [path for path in (directory / "trace").glob("*.raw") if path.stat().st_size]
    expect(len(cpu_files) > 1, "the channels did not write on more than one CPU")
    return (f"{count} events in {seconds:.1f} s, {count / seconds:.0f} a second, into "
            f"{config['buffer_kb']} KiB a CPU; slowed {slowed} times")


def a_trace_held_up_slows_the_device(device, config, directory):
    """Nobody empties the buffer for a while."""
    # Two looks at the buffer must be much closer together than the time to fill it, however fast
    # the machine is.
    device.put(rate=10000)
    with Tracer(NAME, EVENTS, config["buffer_kb"], directory, mdevs=[device.mdev]) as tracer:
        with device.writing():
            valve, stat = tracer.throttle.valve, device.mdev.stat
            tracer.drain.send_signal(signal.SIGSTOP)
            device.wait_while_writing("the device waits",
                                      lambda: valve.waiting and device.rates() == [1, 1],
                                      pages_in(room_of(config)))
            begin, before = time.monotonic(), stat("pages_written")
            time.sleep(1)
            made, seconds = stat("pages_written") - before, time.monotonic() - begin
            # A workload makes up for what it missed, up to a second.
            expect(made <= len(CHANNELS) * (seconds + 2),
                   f"it waits, and writes {made} pages in {seconds:.1f} s")
            tracer.drain.send_signal(signal.SIGCONT)
            device.wait("the device goes on", lambda: not valve.waiting
                        and stat("pages_written") > before + 50)
            rates = device.rates()
        tracer.collect()
        facts = valve.facts()
    whole(device, directory)
    expect(facts["times"] >= 1 and facts["least"] > 1, f"slowed: {facts}")
    expect(1 < sum(rates) <= facts["least"] or facts["times"] > 1,
           f"set to {rates}, of {facts['least']} in all")
    text = report_html.slowed({"slowed": facts})
    expect("slowed" in text, f"the report does not say so: '{text}'")
    return text


def a_small_disk_slows_the_device(device, config, directory):
    """The less is left, the slower the device gets, so there is always some left."""
    room_mb = 1
    # The device needs seconds for what is left to it, at each of its rates: no starved throttle
    # looks as late as that.
    device.put(rate=500)
    with Tracer(NAME, EVENTS, config["buffer_kb"], directory, mdevs=[device.mdev],
                room_mb=room_mb) as tracer:
        with device.writing():
            device.wait_while_writing("it is slowed three times",
                                      lambda: tracer.throttle.valve.times >= 3,
                                      pages_in(room_mb * MIB))
        tracer.collect()
        facts, used = tracer.throttle.valve.facts(), tracer.used()
    whole(device, directory)
    expect(used <= room_mb * MIB, f"{used} bytes, of {room_mb} MiB")
    return f"{used} bytes of {room_mb} MiB; {report_html.slowed({'slowed': facts})}"


def a_full_disk_is_said(device, config, directory):
    """Somebody else fills the disk."""
    directory.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", directory], check=True)
    try:
        with Tracer(NAME, EVENTS, config["buffer_kb"], directory, mdevs=[device.mdev]) as tracer:
            with open(directory / "other", "wb") as other:
                other.write(bytes(shutil.disk_usage(directory).free))
            with device.writing():
                device.wait("a write that fails", lambda: tracer.drain.poll() is not None)
            try:
                tracer.collect()
            except TraceError as err:
                expect("No space left" in str(err), f"it says: {err}")
                return str(err)
    finally:
        subprocess.run(["umount", "--lazy", directory], check=True)
    raise Wrong("a trace that is not on disk is no error")


def a_killed_run_leaves_nothing_that_disturbs(device, config, directory):
    """The next run can trace as soon as the killed one's drain is gone."""
    with tempfile.TemporaryDirectory(dir=config["shm"]) as other:
        child = os.fork()
        if not child:
            try:
                with Tracer(NAME, EVENTS, config["buffer_kb"], other) as tracer:
                    Path(other, "drain").write_text(str(tracer.drain.pid))
                    signal.pause()
            finally:
                os._exit(1)  # pylint: disable=protected-access
        switch, drain = Path("/sys/kernel/tracing/instances", NAME, "tracing_on"), \
            Path(other, "drain")
        device.wait("another one traces", lambda: drain.exists() and drain.read_text())
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        drain = Path("/proc", drain.read_text())
        device.wait("the drain of the killed run ends", lambda: not drain.exists())
        with Tracer(NAME, EVENTS, config["buffer_kb"], directory, mdevs=[device.mdev]) as tracer:
            with device.writing():
                device.wait_for_pages(1000)
            tracer.collect()
    expect(not switch.exists(), "the instance is there still")
    return f"{whole(device, directory)} writes"


TESTS = (nothing_is_dropped_at_full_speed, a_trace_held_up_slows_the_device,
         a_small_disk_slows_the_device, a_full_disk_is_said,
         a_killed_run_leaves_nothing_that_disturbs)


def play(test, config):
    """Run one test on a device of its own; returns its result."""
    begin = time.monotonic()
    directory = Path(tempfile.mkdtemp(prefix="mdma-", dir=config["shm"]))
    try:
        with Device(config["patience"]) as device:
            said, state = test(device, config, directory / "run"), ktap.PASSED
    except (Wrong, TraceError, trace_events.BrokenOracle, OSError) as err:
        said, state = f"{type(err).__name__}: {err}", ktap.FAILED
    finally:
        shutil.rmtree(directory)
    print(f"evidence: {test.__name__}: {state} ({time.monotonic() - begin:.1f} s)  {said}",
          flush=True)
    return ktap.Result(test.__name__, state, said if state == ktap.FAILED else "")


def main(argv):
    """All tests; the exit code is 0 only if all is well."""
    results, config = arguments.read(__doc__, KEYS, argv)
    results.mkdir(parents=True, exist_ok=True)
    found = [play(test, config) for test in TESTS if config["only"] in test.__name__]
    return ktap.leave(found, results, "evidence")


if __name__ == "__main__":
    entry.run(main)
