# SPDX-License-Identifier: GPL-2.0-only
"""A QEMU with its mdev as a place where a guest can be, and what it is asked to do there."""

import shutil
import tempfile
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path

from base import say, settings
from base.qmp import QmpError
from play.guest_vm import GuestError, GuestVM
from play.mdev import Mdev, MdevError
from play.trace import TraceError


class ScenarioError(Exception):
    """The scenario could not be played; the text says where it stopped."""


# What can go wrong with a guest, its device and its QEMU.
FAILURES = (ScenarioError, GuestError, MdevError, QmpError, TraceError, say.LabError, OSError)


@contextmanager
def in_memory(shm, results, *not_kept):
    """A directory in memory to play in; what is left in it goes to the results, but sockets, RAM
    and what is @not_kept. The lab's results are a network file system: to write each character of
    a guest's console there would slow the guest down."""
    directory = Path(tempfile.mkdtemp(prefix="mdma-", dir=shm))
    try:
        yield directory
    finally:
        shutil.copytree(directory, results, dirs_exist_ok=True,
                        ignore=shutil.ignore_patterns("*.socket", "*.ram", *not_kept))
        shutil.rmtree(directory)


def wait_until(what, patience, probe):
    """Wait until @probe returns something true, and return it."""
    deadline = time.monotonic() + patience
    while not (found := probe()):
        if time.monotonic() > deadline:
            raise GuestError(f"not in {patience} s: {what}")
        time.sleep(0.05)
    return found


class Host:
    """A QEMU and its mdev. The guest goes from one to the next."""

    number = 0

    def __init__(self, config, directory, mdev=None, track=False, **more):
        """@mdev: one that stays when this ends; default: a new mdma-1 that does not.
        @track: whether it offers device-side dirty tracking.
        @more: incoming, paused and properties, see guest_vm.command_line()."""
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
        """End QEMU, then remove the mdev if it is its own."""
        self.stack.close()


def boot(config, directory, mdev=None, **more):
    """A new guest, on a new host; ready, its window handed over."""
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
    """The attributes of the workload that the settings have, in the order of writing."""
    values = {key: getattr(config, key, "")
              for key in settings.WORKLOAD + settings.MORE_WORKLOAD}
    return {key: value for key, value in values.items() if value != ""}


def set_workload(host, values, patience):
    """Start a workload; nothing of the one before may still be pinned."""
    host.mdev.set(run=0, hold_ms=0)
    wait_until("no page is pinned though none is held", patience,
               lambda: not host.mdev.stat("pinned"))
    host.mdev.set(**values, run=1)
