# SPDX-License-Identifier: GPL-2.0-only
"""The settings of the scenarios: what each one is, its default and its range.

SHARED has the settings that several scenarios have in common. A scenario declares which of them it
takes, and its own, by keys(). The declaration uses nothing but this module, so the host can read
it without running the scenario (boot/scenario.py). The lab reads the command line by the same
rules (play/arguments.py).
"""

import os
import re
import textwrap
import zlib
from dataclasses import dataclass, replace

from base import site

PAIR = re.compile(r"([a-z][a-z0-9_]*)=(.*)", re.DOTALL)
INTEGER = re.compile(r"-?[0-9]+", re.ASCII)
# Columns of a text that explains a setting.
WIDTH = 80
U32_MAX, U64_MAX = (1 << 32) - 1, (1 << 64) - 1


class BadSetting(Exception):
    """A word of the command line is wrong; the text says why."""


@dataclass(frozen=True)
class Text:
    """A setting that can be any text; base class of the others.

    @default: its value if it is not given
    @what:    what it is, for people
    """
    default: object
    what: str

    def range(self):
        """The values it can have, for people; empty if it can be anything."""
        return ""

    def allows(self, _text):
        """Whether a text from the command line is in range."""
        return True

    def value(self, text):
        """The value that the scenario gets for a text, or for the default."""
        return text


@dataclass(frozen=True)
class Number(Text):
    """An integer from @least to @most. A default of "" means that there is none; "" is then
    allowed on the command line, too."""
    least: int = 0
    most: int = U64_MAX

    def range(self):
        return f"{self.least} to {self.most}" if self.most < U64_MAX else \
            f"{self.least} or more"

    def allows(self, text):
        if not INTEGER.fullmatch(text):
            return text == self.default
        return self.least <= int(text) <= self.most

    def value(self, text):
        return int(text) if text != "" else ""


@dataclass(frozen=True)
class Word(Text):
    """One of @words. A default that is not one of them means that there is none."""
    words: tuple = ()

    def range(self):
        return f"one of {', '.join(self.words)}"

    def allows(self, text):
        return text in (*self.words, self.default)


@dataclass(frozen=True)
class Words(Word):
    """One or several of @words, separated by commas."""

    def range(self):
        return f"one or several, by comma, of {', '.join(self.words)}"

    def allows(self, text):
        return text == self.default or all(word in self.words for word in text.split(","))


@dataclass(frozen=True)
class File(Text):
    """A file or directory. A relative path is below what was built, see base/site.py."""

    def value(self, text):
        return site.built(text) if text else ""


@dataclass(frozen=True)
class Driver(Text):
    """A driver with its adapter: the name of one of ours, or a path."""

    def value(self, text):
        return site.built(driver_place(text)) if text else ""


def driver_place(text):
    """The directory of a driver's files, below what was built. Those of two drivers never mix,
    even if their directories have the same name."""
    name = re.sub(r"[^\w.-]", "_", os.path.basename(text), flags=re.ASCII)[:30]
    more = f"-{zlib.crc32(os.fsencode(text)):08x}" if "/" in text else ""
    return f"driver/{name}{more}"


# Attributes that are always written to the device, in this order.
WORKLOAD = ("pattern", "direction", "batch", "hold_ms", "rate", "seed", "pages")
# Attributes that keep the value of a new device unless they are given.
MORE_WORKLOAD = ("access", "write_percent", "on_error", "ring", "stride", "theta", "hot",
                 "hot_percent", "drift", "burst", "pause_ms")
# The guest, its QEMU, and where their memory is.
GUEST = ("mem_mb", "low_mb", "window_mb", "dirty_mb", "patience", "accel", "qemu", "kernel",
         "initrd", "shm")
TRACE = ("buffer_kb", "trace_mb")

SHARED = {
    # of the device
    "workload": Word("", "a preset of samples/vfio-mdev/mdma/workloads; other settings override "
                     "it", ("gpu-working-set", "nic-rx", "nvme-write", "rdma-registered",
                            "sparse-1TiB")),
    "type": Word("mdma-1", "mdev type", ("mdma-1", "mdma-4", "mdma-16")),
    "pattern": Word("random", "workload: order in which the window is visited", (
        "sequential", "random", "ring", "stride", "zipf", "hot", "scatter")),
    "direction": Word("write", "workload: what the device does", ("write", "read", "mixed")),
    "batch": Number(16, "workload: pages per descriptor", 1, 512),
    "hold_ms": Number(5, "workload: milliseconds that a run stays pinned", 0, 600000),
    "rate": Number(200, "workload: descriptors per second, 0 for no limit", 0, U32_MAX),
    "seed": Number(1, "workload: seed of the random numbers"),
    "pages": Number(0, "workload: working set in pages, 0 for the whole window"),
    "access": Word("", "workload: by pins, or by vfio_dma_rw(), where the set oracle can't "
                   "order reports and writes", ("pin", "rw")),
    "write_percent": Number("", "workload: percentage of writes with direction=mixed", 0, 100),
    "on_error": Word("", "workload: after a failed descriptor", ("skip", "stop", "retry")),
    "ring": Number("", "workload: runs that pattern ring keeps pinned", 1, 65536),
    "stride": Number("", "workload: runs between two visits of pattern stride", 1, U32_MAX),
    "theta": Number("", "workload: skew of pattern zipf, in thousandths", 0, 999),
    "hot": Number("", "workload: runs of the hot set of pattern hot", 1, U32_MAX),
    "hot_percent": Number("", "workload: percentage of visits to the hot set", 0, 100),
    "drift": Number("", "workload: visits until the hot set moves on", 0, U32_MAX),
    "burst": Number("", "workload: descriptors between two pauses", 0, U32_MAX),
    "pause_ms": Number("", "workload: length of a pause in milliseconds", 0, 600000),
    # of the migration
    "rounds": Number(4, "rounds of pre-copy before the switchover is allowed", 1),
    "pages_min": Number(110000, "page writes under tracking before the switchover is allowed"),
    "bandwidth": Number(48, "MiB/s until the switchover is allowed; no limit afterwards", 1),
    "downtime_limit_ms": Number(
        2000, "downtime that QEMU may aim at, once the switchover is allowed", 1),
    "tracking": Word("container", "who says what is dirty: container, or device and then both",
                     ("container", "device")),
    "container": Word("type1", "who maps the guest's memory; make has CONTAINER= for it",
                      ("type1", "iommufd")),
    "pause_s": Number(0, "seconds to hold the guest longer at the switchover, which it must "
                      "not notice"),
    "control": Number(1, "1: also run the control, which must fail", 0, 1),
    # of the guest
    "mem_mb": Number(512, "guest memory in MiB", 1, 8192),
    "low_mb": Number(0, "MiB of it below the hole for PCI, which ends at 4 GiB; 0: what QEMU "
                     "puts there, up to 2 GiB", 0, 2048),
    "window_mb": Number(64, "MiB that the guest gives to the workload", 1, 2048),
    "dirty_mb": Number(8, "MiB that the guest's CPU dirties", 0, 2048),
    "smp": Number(1, "CPUs of the guest", 1),
    "checks": Number(2, "checks of the guest that must pass at the destination"),
    "patience": Number(180, "seconds to wait for any one thing", 1),
    "accel": Word("kvm", "accelerator of the guest", ("kvm", "tcg")),
    "qemu": Text("qemu-system-x86_64", "QEMU to run"),
    "kernel": File("guest/vmlinux", "kernel of the guest"),
    "initrd": File("guest/initramfs.cpio", "initramfs of the guest"),
    "shm": Text("/dev/shm", "directory for guest memory"),
    "device": File("", "an mdma.ko to run this on; default: the installed one"),
    # of the trace
    "buffer_kb": Number(16384, "trace buffer per CPU in KiB", 1),
    "trace_mb": Number(512, "most MiB of trace to keep; the workload is slowed before that", 1),
}

# Scenarios that compare backends call one by a name, so it is not in SHARED.
BACKEND = File("", "a vfio_iommu_type1.ko to run this on; default: the installed one")


def keys(*names, own=None, **defaults):
    """The settings of a scenario: name -> setting.

    @names:    names of shared settings that it takes
    @own:      its own settings; one of them may replace a shared one
    @defaults: defaults of shared settings that differ from SHARED
    """
    found = dict(own or {})
    for name in names:
        setting = SHARED[name]
        if name in defaults:
            setting = replace(setting, default=defaults[name])
        found.setdefault(name, setting)
    # Files last: they are rarely given.
    return dict(sorted(found.items(), key=lambda entry: isinstance(entry[1], File)))


def checked(known, words):
    """Check key=value words: returns a dictionary of texts, all in range; raises BadSetting
    otherwise."""
    found = {}
    for word in words:
        pair = PAIR.fullmatch(word)
        if not pair:
            raise BadSetting(f"{word}: key=value expected")
        key, text = pair.groups()
        if key not in known:
            raise BadSetting(f"no setting {key}; there are: {', '.join(known) or 'none'}")
        if key in found:
            raise BadSetting(f"{key}: given twice")
        if "\n" in text:
            raise BadSetting(f"{key}: a line break in its value")
        if not known[key].allows(text):
            raise BadSetting(f"{key}={text}: must be {known[key].range()}")
        found[key] = text
    return found


def explained(known):
    """Each setting with its default, its range and what it is, for people."""
    lines = []
    for key, setting in known.items():
        allowed = f" ({setting.range()})" if setting.range() else ""
        lines += [f"  {key}={setting.default}",
                  textwrap.indent(textwrap.fill(setting.what + allowed, WIDTH), " " * 8)]
    return "\n".join(lines)
