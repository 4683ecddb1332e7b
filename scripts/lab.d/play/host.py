# SPDX-License-Identifier: GPL-2.0-only
"""A place where a guest can run: a QEMU with its mdev. And what scenarios do with it."""

import shutil
import tempfile
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path

from base import say, settings
from base.qmp import QmpError
from judge.events import BrokenOracle
from judge.memory_map import BadMemory
from play.guest_vm import GuestError, GuestVM
from play.mdev import Mdev, MdevError
from play.trace import TraceError


class ScenarioError(Exception):
    """The scenario could not be played; the text says where it stopped."""


# What can go wrong with a guest, its device and its QEMU.
FAILURES = (ScenarioError, GuestError, MdevError, QmpError, TraceError, BadMemory, BrokenOracle,
            say.LabError, OSError)


@contextmanager
def in_memory(shm, results, *not_kept):
    """A temporary directory in memory. Its files are copied to the results at the end, except for
    sockets, RAM and @not_kept.

    The lab's results are on a network file system: writing each character of a guest's console
    there would slow the guest down.
    """
    directory = Path(tempfile.mkdtemp(prefix="mdma-", dir=shm))
    try:
        yield directory
    finally:
        shutil.copytree(directory, results, dirs_exist_ok=True,
                        ignore=shutil.ignore_patterns("*.socket", "*.ram", *not_kept))
        shutil.rmtree(directory)


def wait_until(what, patience, probe):
    """Wait until @probe returns something true, and return that."""
    deadline = time.monotonic() + patience
    while not (found := probe()):
        if time.monotonic() > deadline:
            raise GuestError(f"not in {patience} s: {what}")
        time.sleep(0.05)
    return found


class Host:
    """A QEMU and its mdev. The guest moves from one Host to the next."""

    number = 0

    def __init__(self, config, directory, mdev=None, track=False, **more):
        """Start them.

        @mdev:  a device that outlives this Host; default: a new mdma-1 that does not
        @track: whether it offers device-side dirty tracking
        @more:  incoming, paused and properties, see guest_vm.command_line()
        """
        Host.number += 1
        self.name = f"vm{Host.number}"
        self.properties = more.get("properties", "")
        with ExitStack() as stack:
            self.mdev = mdev or stack.enter_context(Mdev("mdma-1"))
            if track:
                self.mdev.track(True)
            self.vm = stack.enter_context(
                GuestVM(self.name, config, directory, self.mdev, **more))
            self.stack = stack.pop_all()

    def close(self):
        """End QEMU, then remove the mdev if this Host made it."""
        self.stack.close()


def boot(config, directory, mdev=None, **more):
    """A new guest on a new Host; it is ready, and the device has its window."""
    host = Host(config, directory, mdev, **more)
    try:
        host.vm.wait_console("MDMA-GUEST ready", config.patience)
        host.vm.connect()
        if not host.mdev.settings()["window"]:
            raise GuestError("the guest gave the device no window")
    except BaseException:
        host.close()
        raise
    return host


def workload(config):
    """The workload's attributes that the settings have, in the order of writing."""
    values = {key: getattr(config, key, "")
              for key in settings.WORKLOAD + settings.MORE_WORKLOAD}
    return {key: value for key, value in values.items() if value != ""}


def set_workload(host, values, patience):
    """Start a workload, after waiting until nothing of the previous one is pinned. (The pattern ring
    keeps its slots, whatever hold_ms is.)"""
    host.mdev.set(run=0, pattern="sequential", hold_ms=0)
    wait_until("no page is pinned though none is held", patience,
               lambda: not host.mdev.stat("pinned"))
    host.mdev.set(**values, run=1)


def wait_writes(mdev, patience):
    """Wait until a device continues to write."""
    seq = mdev.stat("seq")
    wait_until(f"{mdev.type} writes", patience, lambda: mdev.stat("seq") > seq)
