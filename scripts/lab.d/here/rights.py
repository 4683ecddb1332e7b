# SPDX-License-Identifier: GPL-2.0-only
"""What an ordinary user must be allowed before a scenario runs that does not need root. Each right
that is missing is one sentence with its remedy."""

from here.host import TYPE1

TYPES = "sys/class/mdev_bus/mdma/mdev_supported_types"
NEEDED = ("vfio", TYPE1, "mdma")
RULE = "60-mdma.rules (Documentation/packages.rst)"


def load(host, _wanted):
    """The modules: they must be there before."""
    if not all(map(host.loaded, NEEDED)):
        yield f"only root may load modules: `sudo modprobe -a {' '.join(NEEDED)}`"


def exchange(_host, wanted):
    """Other modules than those that are loaded."""
    for key in wanted["modules"]:
        yield f"{key}= loads a module, which only root may: leave it out, or run it by sudo"


def kvm(host, wanted):
    """The guests' accelerator."""
    if wanted["accel"] == "kvm" and host.has("dev/kvm") and not host.can_open("dev/kvm"):
        yield ("you may not open /dev/kvm: `sudo adduser $USER kvm` and log in again, or give "
               "accel=tcg")


def devices(host, wanted):
    """To make a device. The same rule gives its attributes and its group's file, which are not
    there yet; play/mdev.py waits for those."""
    path = f"{TYPES}/{wanted.get('type', 'mdma-1')}/create"
    if host.loaded("mdma") and not host.may_write(path):
        yield f"you may not write /{path}: have root install {RULE}, and be in group kvm"


def lock(host, wanted):
    """Memory, as much as the device may have pinned: all of the guest."""
    if host.lockable_mb() < wanted["mem_mb"]:
        yield (f"you may lock {host.lockable_mb()} MiB of memory, and mem_mb={wanted['mem_mb']}: "
               f"have root write `@kvm - memlock {wanted['mem_mb'] << 10}` to "
               "/etc/security/limits.d/mdma.conf, and log in again")


def log(host, _wanted):
    """To read what the kernel logs, since that can fail a run."""
    if not host.said("dmesg"):
        yield "you may not read the kernel's log: `sudo sysctl kernel.dmesg_restrict=0`"


ALL = (load, exchange, kvm, devices, lock, log)
