# SPDX-License-Identifier: GPL-2.0-only
"""What a host must have before a scenario runs on it. Each condition that does not hold is one
sentence with its remedy; the user gets all of them at once."""

import os
import re
import shlex

from here.host import MDEVS, TYPE1

# The oldest QEMU with which the scenarios were tried.
QEMU_LEAST = (10, 0)
# MiB beside the guests: the trace, and the programs.
BESIDE_MB = 512
TRACE = "mdma-proof"
# How the name of a run's directory in memory begins.
MEMORY = "mdma-here-"
PACKAGES = "install mdma-dkms (Documentation/packages.rst)"


def kvm(host, wanted):
    """The guests' accelerator."""
    if wanted["accel"] == "kvm" and not host.can_open("dev/kvm"):
        yield ("/dev/kvm can't be opened: turn on virtualisation in the firmware and load kvm_amd "
               "or kvm_intel, or give accel=tcg")


def modules(host, _wanted):
    """The device, and the kernel's core for such devices."""
    if not (host.loaded("mdev") or host.modinfo("name", "mdev")):
        yield f"Linux {os.uname().release} has no mdev (CONFIG_VFIO_MDEV): boot one that has it"
    if not (host.loaded("mdma") or host.modinfo("name", "mdma")):
        yield f"there is no module mdma for Linux {os.uname().release}: {PACKAGES}"


def _is_another(host):
    """Whether ours is installed, and another one loaded. A kernel may not say. On 7.3, modules whose
    sources differ can have the same srcversion, so the build ID decides as well."""
    if not host.modinfo("backend", TYPE1).startswith("mdma:"):
        return False
    loaded = host.text(f"sys/module/{TYPE1}/srcversion")
    installed = host.modinfo("srcversion", TYPE1)
    note, file = host.build_id(TYPE1), host.contents(TYPE1)
    return bool(loaded and installed and loaded != installed or note and file and note not in file)


def type1(host, _wanted):
    """The backend is ours."""
    if host.loaded(TYPE1):
        if "O" not in host.text(f"sys/module/{TYPE1}/taint"):
            yield (f"the kernel's own {TYPE1} is loaded: end what uses VFIO, then `rmmod mdma "
                   f"{TYPE1}` and `modprobe {TYPE1}`, or boot again")
        elif _is_another(host):
            yield (f"the {TYPE1} that is loaded is not the installed one, as a run was killed in its "
                   f"control, or the package upgraded: `rmmod mdma {TYPE1}`, or boot again")
    elif not host.modinfo("backend", TYPE1).startswith("mdma:"):
        yield (f"modprobe would load the kernel's own {TYPE1}: {PACKAGES}, in a version that "
               f"knows Linux {os.uname().release}")


def nobody_else(host, _wanted):
    """Nobody else has devices."""
    for number, name, file in host.users_of_vfio():
        yield f"process {number} ({name}) has {file} open: end it"
    for uuid in host.names(MDEVS):
        yield (f"there is a mediated device {uuid}: end what uses it, then `echo 1 "
               f">/{MDEVS}/{uuid}/remove`")


def memory(host, wanted):
    """Room for both guests, and for the copy of a guest's memory that is compared."""
    needed = 3 * wanted["mem_mb"] + BESIDE_MB
    if host.available_mb() < needed:
        yield (f"{host.available_mb()} MiB of memory are available, and mem_mb={wanted['mem_mb']} "
               f"takes {needed}: end what uses it, or give a smaller mem_mb=")
    needed = 2 * wanted["mem_mb"] + BESIDE_MB // 2
    if host.free_mb(wanted["shm"]) < needed:
        yield (f"{wanted['shm']} has {host.free_mb(wanted['shm'])} MiB free, and mem_mb="
               f"{wanted['mem_mb']} takes {needed}: free some, or give shm=DIR in memory")


def memory_left(host, wanted):
    """The memory of guests that nobody has removed."""
    for name in host.names(wanted["shm"].lstrip("/")):
        if name.startswith(MEMORY):
            path = f"{wanted['shm']}/{name}"
            yield (f"another run has {path}, or was killed: end it, then "
                   f"`rm -r {shlex.quote(path)}`")


def qemu(host, wanted):
    """A QEMU that can migrate the device."""
    least = ".".join(map(str, QEMU_LEAST))
    found = re.search(r"version (\d+)\.(\d+)", host.said(wanted["qemu"], "--version"))
    if not found:
        yield (f"{wanted['qemu']} does not run: install qemu-system-x86 ({least} or later), or "
               "give qemu=/path")
    elif tuple(map(int, found.groups())) < QEMU_LEAST:
        yield (f"{wanted['qemu']} is {found[1]}.{found[2]}: install {least} or later, or give "
               "qemu=/path")


def tracing(host, _wanted):
    """The trace that the proof rests on, and the ledger."""
    roots = [root for root in ("sys/kernel/tracing", "sys/kernel/debug/tracing")
             if (host.root / root / "instances").is_dir()]
    if "[confidentiality]" in host.text("sys/kernel/security/lockdown"):
        yield "the kernel is locked down for confidentiality, so nobody can trace: boot without"
    elif not roots:
        yield "there is no tracefs: `mount -t tracefs tracing /sys/kernel/tracing`"
    for root in roots[:1]:
        if (host.root / root / "instances" / TRACE).is_dir():
            yield ("another run traces, or was killed: end it, then `rmdir "
                   f"/{root}/instances/{TRACE}`")
    if not host.names("sys/kernel/debug"):
        yield "there is no debugfs: `mount -t debugfs debug /sys/kernel/debug`"


def guest(host, wanted):
    """What the guests boot, built beforehand."""
    missing = [wanted[key] for key in ("kernel", "initrd")
               if not (host.root / wanted[key].lstrip("/")).is_file()]
    if missing:
        yield (f"there is no {missing[0]}: build the guest by `scripts/lab build`, or name what "
               "another machine has built in out/payload by MDMA_BUILT=DIR")


def control(host, wanted):
    """The broken backend is built for this kernel."""
    release = os.uname().release
    if wanted["control"] and host.modinfo("vermagic", wanted["mutant"]).split(" ")[0] != release:
        yield (f"control=1 needs {wanted['mutant']} for Linux {release}: give control=0")


ALL = (kvm, modules, type1, nobody_else, memory, memory_left, qemu, tracing, guest, control)


def missing(host, wanted):
    """All that is missing, as sentences.

    @wanted: the scenario's settings, by key
    """
    if not host.is_root():
        # The others would not see what there is.
        return ["only root may load modules, make devices and trace: run it by sudo"]
    return [sentence for condition in ALL for sentence in condition(host, wanted)]
