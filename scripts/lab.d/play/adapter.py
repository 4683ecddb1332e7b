# SPDX-License-Identifier: GPL-2.0-only
"""The adapter of a driver that is not mdma: a Python file of the user's, which knows how to make a
device and what to look at. Documentation/your-driver.rst describes it.
"""

import importlib.util
import subprocess
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

from base import say, site
from play import backend

# What an adapter may leave out. The guest's words are those of the lab's own guest.
CONSTANTS = {"PROPERTIES": "", "WRITES": None, "CONTROL": "", "CAUGHT_BY": (), "INITRD": "",
             "APPEND": "mdma.drivers=0", "READY": "MDMA-GUEST ready", "WORKS": "MDMA-GUEST pass",
             "FAILS": "MDMA-GUEST fail"}
FUNCTIONS = {"qemu_args": lambda device: (), "start": lambda device: None,
             "written": lambda device: 0}
BACKEND, FORGETS = "backend", "mutant/forget-unpinned/vfio_iommu_type1.ko"


class Adapter:
    """One of them, and the files of its driver. Its constants and functions are attributes."""

    def __init__(self, directory):
        """@directory: what make/own_driver.py has left of the driver"""
        self.directory = Path(directory)
        self.files = self.directory / "files"
        spec = importlib.util.spec_from_file_location("adapter", self.files / "adapter.py")
        self.module = importlib.util.module_from_spec(spec)
        _guarded("the file itself", spec.loader.exec_module)(self.module)

    def __getattr__(self, name):
        defaults = {**CONSTANTS, **FUNCTIONS}
        found = getattr(self.module, name, *([defaults[name]] if name in defaults else []))
        return _guarded(f"{name}()", found) if callable(found) else found

    def initrd(self, usual, directory):
        """The guest's initramfs: its own; or the usual one, with what the driver adds. One archive
        may follow another."""
        if self.INITRD:
            return str(self.files / self.INITRD)
        path = Path(directory, "initrd")
        path.write_bytes(Path(usual).read_bytes() + (self.directory / "guest.cpio").read_bytes())
        return str(path)

    @contextmanager
    def loaded(self, control=False):
        """Its modules are loaded, or those of the control."""
        with _backend(control and self.CONTROL == BACKEND):
            other = control and self.CONTROL != BACKEND
            paths = [self.directory / ("control" if other else "main") / name
                     for name in self.MODULES]
            done = []
            try:
                for path in paths:
                    _load(path)
                    done.append(path.stem)
                yield ", ".join([backend.name(), *(backend.name(name.replace("-", "_"))
                                                   for name in done)])
            finally:
                for name in reversed(done):
                    backend.run("rmmod", name)

    @contextmanager
    def device(self):
        """A device, as play/guest_vm.py wants it; removed at the end."""
        device = self.make_device()
        try:
            yield SimpleNamespace(path=device)
        finally:
            self.remove_device(device)


def _guarded(what, function):
    """The function of an adapter; what it raises is a sentence that names it."""
    def call(*words):
        try:
            return function(*words)
        except Exception as err:
            raise say.LabError(f"adapter.py, {what}: {type(err).__name__}: {err}") from err
    return call


@contextmanager
def _backend(broken):
    """A type1 that forgets pages, if @broken."""
    if not broken:
        yield
        return
    backend.load(site.built(FORGETS))
    try:
        yield
    finally:
        backend.load()


def _load(path):
    """Load a module, and first those that it needs."""
    done = subprocess.run(["modinfo", "-F", "depends", path], capture_output=True, text=True,
                          check=False)
    if done.returncode:
        raise say.LabError(f"{path.name}: no module: {done.stderr.strip()}")
    needs = [name for name in done.stdout.strip().split(",")
             if name and not (backend.MODULES / name.replace("-", "_")).is_dir()]
    if needs:
        backend.run("modprobe", "-a", *needs)
    backend.run("insmod", path)
