# SPDX-License-Identifier: GPL-2.0-only
"""What a host must have before a scenario runs on it. Each condition that does not hold is one
sentence with its remedy; the user gets all of them at once. What an ordinary user must have besides
is in rights.py."""

import os
import re
import shlex

from here import rights
from here.host import MDEVS, TYPE1

# The oldest QEMU with which the scenarios were tried.
QEMU_LEAST = (10, 0)
# How the name of a run's directory in memory begins.
MEMORY = "mdma-here-"
PACKAGES = "install mdma-dkms (Documentation/packages.rst)"


def kvm(host, wanted):
    """The guests' accelerator. Who may not use it is told by rights.py."""
    if wanted.get("accel") == "kvm" and not host.can_open("dev/kvm") \
            and (host.is_root() or not host.has("dev/kvm")):
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
    """Room for the guests, and for the copy of a guest's memory that is compared."""
    needs, each = wanted["needs"], wanted.get("mem_mb", 0)
    needed = (needs.guests + needs.copies) * each + needs.beside
    why, remedy = (f"mem_mb={each} takes", ", or give a smaller mem_mb=") if needs.guests else \
        ("the scenario takes", "")
    if host.available_mb() < needed:
        yield (f"{host.available_mb()} MiB of memory are available, and {why} {needed}: end what "
               f"uses it{remedy}")
    needed = needs.guests * each + needs.beside // 2
    if needs.guests and host.free_mb(wanted["shm"]) < needed:
        yield (f"{wanted['shm']} has {host.free_mb(wanted['shm'])} MiB free, and {why} {needed}: "
               "free some, or give shm=DIR in memory")


def memory_left(host, wanted):
    """The memory of guests that nobody has removed."""
    for name in host.names(wanted["shm"].lstrip("/")) if "shm" in wanted else ():
        if name.startswith(MEMORY):
            path = f"{wanted['shm']}/{name}"
            yield (f"another run has {path}, or was killed: end it, then "
                   f"`rm -r {shlex.quote(path)}`")


def qemu(host, wanted):
    """A QEMU that can migrate the device."""
    if not wanted["needs"].guests:
        return
    least = ".".join(map(str, QEMU_LEAST))
    found = re.search(r"version (\d+)\.(\d+)", host.said(wanted["qemu"], "--version"))
    if not found:
        yield (f"{wanted['qemu']} does not run: install qemu-system-x86 ({least} or later), or "
               "give qemu=/path")
    elif tuple(map(int, found.groups())) < QEMU_LEAST:
        yield (f"{wanted['qemu']} is {found[1]}.{found[2]}: install {least} or later, or give "
               "qemu=/path")


def tracing(host, wanted):
    """The trace that a proof rests on."""
    if not wanted["needs"].traces:
        return
    roots = [root for root in ("sys/kernel/tracing", "sys/kernel/debug/tracing")
             if host.has(f"{root}/instances")]
    if "[confidentiality]" in host.text("sys/kernel/security/lockdown"):
        yield "the kernel is locked down for confidentiality, so nobody can trace: boot without"
    elif not roots:
        yield "there is no tracefs: `mount -t tracefs tracing /sys/kernel/tracing`"
    for root in roots[:1]:
        for name in wanted["needs"].traces:
            if host.has(f"{root}/instances/{name}"):
                yield ("another run traces, or was killed: end it, then `rmdir "
                       f"/{root}/instances/{name}`")


def others_trace(host, wanted):
    """Nobody else uses the kernel's first trace, which the scenario empties."""
    if "sys/kernel/tracing/set_event_pid" in wanted["needs"].files:
        tracer = host.text("sys/kernel/tracing/current_tracer")
        if host.text("sys/kernel/tracing/set_event") or tracer not in ("", "nop"):
            yield ("somebody traces in /sys/kernel/tracing: end it, then `echo nop "
                   ">/sys/kernel/tracing/current_tracer; echo >/sys/kernel/tracing/set_event`")


def debugfs(host, wanted):
    """The ledger, and hooks for tests."""
    if wanted["needs"].ledger and not host.names("sys/kernel/debug"):
        yield "there is no debugfs: `mount -t debugfs debug /sys/kernel/debug`"


def programs(host, wanted):
    """What the scenario draws with."""
    for name, package in wanted["needs"].programs:
        if not host.said(name, "--version"):
            yield f"there is no {name}: install {package}"


def built(host, wanted):
    """What the guests boot, or the programs that are run, built beforehand."""
    missing = [wanted[key] for key in ("kernel", "initrd", "programs")
               if key in wanted and not host.has(wanted[key].lstrip("/"))]
    if missing:
        yield (f"there is no {missing[0]}: build it by `scripts/lab build`, or name what "
               "another machine has built in out/payload by MDMA_BUILT=DIR")


def exchanged(host, wanted):
    """The modules that the scenario loads instead of ours are built for this kernel."""
    release = os.uname().release
    for key, path in wanted["modules"].items():
        if host.modinfo("vermagic", path).split(" ")[0] != release:
            yield (f"{path} is no module for Linux {release}: "
                   + ("give control=0" if wanted.get("control") else f"leave out {key}="))


ALL = (kvm, modules, type1, nobody_else, memory, memory_left, qemu, tracing, others_trace, debugfs,
       programs, built, exchanged)


def missing(host, wanted):
    """All that is missing, as sentences.

    @wanted: the scenario's settings, by key, what it "needs" (needs.py), and the "modules" that it
             loads instead of ours: {setting: path}
    """
    if host.is_root():
        return [sentence for condition in ALL for sentence in condition(host, wanted)]
    if wanted["needs"].root:
        # The others would not see what there is.
        return [f"only root may {wanted['needs'].root}: run it by sudo"]
    return [sentence for condition in (*ALL, *rights.ALL) for sentence in condition(host, wanted)]
