# SPDX-License-Identifier: GPL-2.0-only
"""What a scenario changes on its host, and how it is put back, whatever ended the scenario."""

import re
import time
from contextlib import suppress

from base import say
from here.modules import Modules
from here.values import Values
from play import backend, trace

# Our devices. Others may make devices of other parents meanwhile.
MDEVS = "sys/class/mdev_bus/mdma"
UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
# Seconds until the kernel has taken leave of a process that was killed.
PATIENCE = 30


class Changes:
    """Remembers a host as it is, and makes it so again.

    @needs: of the scenario, see needs.py
    """

    def __init__(self, host, needs):
        self.host, self.needs = host, needs
        self.modules = Modules(host)
        self.values = Values(host, needs.files)
        self.mdevs = self._mdevs()

    def _mdevs(self):
        return set(filter(UUID.fullmatch, self.host.names(MDEVS)))

    def load(self):
        """Load what the scenario needs."""
        self.modules.load()

    def put_back(self):
        """Remove devices, mounts and traces that are new, then modules. Returns what could not be
        done, as sentences."""
        return [*filter(None, map(self._remove, sorted(self._mdevs() - self.mdevs))),
                *self._unmount(), *self._end_traces(), *self.values.put_back(),
                *self.modules.put_back()]

    def _remove(self, uuid):
        """A device can't be removed while a QEMU that was killed has it open."""
        path = self.host.root / MDEVS / uuid / "remove"
        deadline = time.monotonic() + PATIENCE
        while path.exists():
            try:
                path.write_text("1\n")
                break
            except FileNotFoundError:
                break
            except OSError as error:
                if time.monotonic() > deadline:
                    return f"{path} refuses: {error.strerror}; `echo 1 >{path}` later"
                time.sleep(0.1)
        return None

    def _unmount(self):
        """With what a scenario that was killed has made in there: groups of processes."""
        for place in self.needs.places:
            path = self.host.root / place
            for group in path.glob("mdma-*/"):
                with suppress(OSError):
                    group.rmdir()
            try:
                if path.is_mount():
                    backend.run("umount", path)
                if path.is_dir():
                    path.rmdir()
            except (OSError, say.LabError) as error:
                yield f"{path} can't be removed: {error}; `umount {path}; rmdir {path}` later"

    def _end_traces(self):
        for path in (root / "instances" / name for root in trace.ROOTS
                     for name in self.needs.traces):
            deadline = time.monotonic() + PATIENCE
            while path.is_dir():
                with suppress(FileNotFoundError):
                    try:
                        path.rmdir()
                    except OSError as error:
                        if time.monotonic() > deadline:
                            yield f"{path} can't be removed: {error.strerror}; `rmdir {path}` later"
                            break
                        time.sleep(0.1)
