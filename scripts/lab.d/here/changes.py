# SPDX-License-Identifier: GPL-2.0-only
"""What a scenario changes on its host, and how it is put back, whatever ended the scenario."""

import re
import time
from contextlib import suppress

from base import say
from here.host import TYPE1
from here.conditions import TRACE
from play import backend, trace

# Modules that the scenario needs, in the order in which they can be unloaded.
MODULES = ("mdma", TYPE1, "mdev", "vfio", "iommufd")
# Our devices. Others may make devices of other parents meanwhile.
MDEVS = "sys/class/mdev_bus/mdma"
UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
# Seconds until the kernel has taken leave of a process that was killed.
PATIENCE = 30


class Changes:
    """Remembers a host as it is, and makes it so again."""

    def __init__(self, host):
        self.host = host
        self.modules = {name for name in MODULES if host.loaded(name)}
        self.mdevs = self._mdevs()
        self.backend = backend.name() if TYPE1 in self.modules else None

    def _mdevs(self):
        return set(filter(UUID.fullmatch, self.host.names(MDEVS)))

    def load(self):
        """Load what the scenario needs."""
        backend.run("modprobe", "-a", "vfio", TYPE1, "mdma")

    def put_back(self):
        """Remove devices, the trace and modules that are new. Returns what could not be done, as
        sentences."""
        return [*filter(None, map(self._remove, sorted(self._mdevs() - self.mdevs))),
                *self._end_trace(), *self._unload()]

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

    def _end_trace(self):
        for root in trace.ROOTS:
            path = root / "instances" / TRACE
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

    def _unload(self):
        try:
            if self.backend and backend.SYSFS.is_dir() and backend.name() != self.backend:
                # The scenario was killed while it had another one.
                backend.load()
        except say.LabError as error:
            yield f"{error}; boot again"
        for name in MODULES:
            # What others use by now stays.
            if name in self.modules or not self.host.loaded(name) \
                    or self.host.text(f"sys/module/{name}/refcnt") not in ("0", ""):
                continue
            try:
                backend.run("rmmod", name)
            except say.LabError as error:
                yield f"{error}; `rmmod {name}` later"
