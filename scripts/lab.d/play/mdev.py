# SPDX-License-Identifier: GPL-2.0-only
"""mdma's mdevs: created and removed by sysfs, read by sysfs and debugfs."""

import os
import time
import uuid as uuids
from pathlib import Path

from play import backend

PARENT = Path("/sys/class/mdev_bus/mdma")
DEVICES = Path("/sys/bus/mdev/devices")
DEBUG = Path("/sys/kernel/debug/mdma")
# Seconds that udev may take.
PATIENCE = 20
# States of the migration protocol in which a device writes.
WRITES = ("running", "pre_copy")


class MdevError(Exception):
    """An attribute refused a value, or is missing."""


def _write(path, value):
    try:
        # In one write(2), since a sysfs store takes each write as a command of its own.
        with open(path, "wb", buffering=0) as file:
            file.write(f"{value}\n".encode())
    except OSError as err:
        raise MdevError(f"{path} refused '{value}': {err.strerror}") from err


def _read(path):
    try:
        return Path(path).read_text().strip()
    except OSError as err:
        raise MdevError(f"{path}: {err.strerror}") from err


def load(path=None, *parameters):
    """Load mdma from the file of a module, by default the installed one, with these parameters.
    There must be no mdev."""
    if PARENT.is_dir():
        backend.run("rmmod", "mdma")
    backend.run(*(("insmod", path) if path else ("modprobe", "mdma")), *parameters)


def load_given(config):
    """Load the modules that the settings name, if any: a device, a backend."""
    if getattr(config, "backend", ""):
        backend.load(config.backend)
    if getattr(config, "device", ""):
        load(config.device)


class Mdev:
    """One mediated device, removed when its `with` ends."""

    SETTINGS = ("window", "pattern", "access", "direction", "on_error", "write_percent",
                "batch", "ring", "stride", "theta", "hot", "hot_percent", "drift", "pages",
                "seed", "hold_ms", "rate", "burst", "pause_ms", "run")

    def __init__(self, mdev_type, uuid=None):
        self.type = mdev_type
        self.uuid = uuid or str(uuids.uuid4())
        self.path = DEVICES / self.uuid

    def __enter__(self):
        types = PARENT / "mdev_supported_types"
        if not types.is_dir():
            raise MdevError(f"{types}: is mdma loaded?")
        if not (types / self.type).is_dir():
            known = ", ".join(sorted(entry.name for entry in types.iterdir()))
            raise MdevError(f"no mdev type {self.type}; there are: {known}")
        _write(types / self.type / "create", self.uuid)
        if os.geteuid():
            self._wait_for_rights()
        return self

    def _wait_for_rights(self):
        """udev gives them to an ordinary user a moment later (60-mdma.rules)."""
        group = Path("/dev/vfio", (self.path / "iommu_group").resolve().name)
        deadline = time.monotonic() + PATIENCE
        while refused := [path for path in (self.path / "remove", self.path / "workload/run", group)
                          if not os.access(path, os.W_OK)]:
            if time.monotonic() > deadline:
                raise MdevError(f"{refused[0]}: no right to write it: install 60-mdma.rules of "
                                "mdma-tools, and be in its group")
            time.sleep(0.05)

    def __exit__(self, *_):
        if self.path.is_dir():
            _write(self.path / "remove", 1)

    def set(self, **settings):
        """Set attributes of the workload in the order given."""
        for name, value in settings.items():
            _write(self.path / "workload" / name, value)

    def track(self, on):
        """Offer device-side dirty tracking, or not. Nobody may have the device open."""
        _write(self.path / "dirty_log" / "enabled", int(on))

    def settings(self):
        """All attributes of the workload, as text."""
        return {name: _read(self.path / "workload" / name) for name in self.SETTINGS}

    def set_rate(self, rate):
        """Set the rate of all channels together, as far as their workloads run."""
        running = [path for path in sorted(self.path.glob("workload*"))
                   if _read(path / "run") == "1"]
        for path in running:
            share = str(max(1, rate // len(running)))
            before = _read(path / "rate")
            if share == before or self.state() not in WRITES:
                continue
            _write(path / "rate", share)
            # A device that stopped meanwhile may already have sent its settings.
            if self.state() not in WRITES:
                _write(path / "rate", before)

    def stat(self, name):
        """One counter of stats/."""
        return int(_read(self.path / "stats" / name))

    def hook(self, name, value):
        """Use a test hook of debugfs."""
        _write(DEBUG / self.uuid / name, value)

    def state(self):
        """The device's state in the migration protocol."""
        return _read(self.path / "migration_state")

    def ledger(self):
        """The ledger as it is now: records of struct mdma_ledger_record."""
        try:
            return (DEBUG / self.uuid / "ledger").read_bytes()
        except OSError as err:
            raise MdevError(f"ledger: {err.strerror}") from err


def of(uuid):
    """A device that somebody else created, and will remove."""
    return Mdev(None, uuid)
