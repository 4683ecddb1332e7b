# SPDX-License-Identifier: GPL-2.0-only
"""The modules of a host: remembers which are loaded, and makes them so again."""

from base import say
from here.host import TYPE1
from play import backend

# Modules that a scenario needs, in the order in which they can be unloaded.
ALL = ("mdma", TYPE1, "mdev", "vfio", "iommufd")
# Those that a scenario may exchange, or unload.
OURS = (TYPE1, "mdma")


class Modules:
    """As they are when this is made."""

    def __init__(self, host):
        self.host = host
        self.loaded = {name for name in ALL if host.loaded(name)}
        self.before = {name: self._what(name) for name in OURS if name in self.loaded}

    def _what(self, name):
        """(which module is loaded, its parameters), None if there is none."""
        if not self.host.loaded(name):
            return None
        path = f"sys/module/{name}/parameters"
        words = {key: self.host.text(f"{path}/{key}") for key in self.host.names(path)}
        return backend.name(name), [f"{key}={text}" for key, text in words.items()
                                    if text and text != "(null)"]

    def load(self):
        """Load what a scenario needs."""
        if not {"vfio", *OURS} <= self.loaded:
            backend.run("modprobe", "-a", "vfio", *OURS)

    def put_back(self):
        """Load again what was exchanged or unloaded, unload what is new. Yields what could not be
        done, as sentences."""
        for name in self.before:
            try:
                self._restore(name)
            except say.LabError as error:
                yield f"{error}; boot again"
        for name in ALL:
            # What others use by now stays.
            if name in self.loaded or not self.host.loaded(name) \
                    or self.host.text(f"sys/module/{name}/refcnt") not in ("0", ""):
                continue
            try:
                backend.run("rmmod", name)
            except say.LabError as error:
                yield f"{error}; `rmmod {name}` later"

    def _restore(self, name):
        """A scenario that was killed may have left another one, as for its control."""
        if self._what(name) == self.before[name]:
            return
        if self.host.loaded(name):
            backend.run("rmmod", name)
        backend.run("modprobe", name, *self.before[name][1])
        if self._what(name) != self.before[name]:
            raise say.LabError(f"the {name} that modprobe loads is not the one that was loaded")
