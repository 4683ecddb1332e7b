# SPDX-License-Identifier: GPL-2.0-only
"""A QEMU with one mdev: starts it, watches its console, always ends it."""

import fcntl
import os
import re
import signal
import subprocess
import time
from pathlib import Path

from base import process, qemu_events
from base import qmp as qmp_client
from play import ram_files


class GuestError(Exception):
    """The guest or its QEMU did not do what was expected of it."""


# Who in QEMU wants dirty bitmaps, a bit for each: tracking is on while anybody does.
TRACKING = "global_dirty_changed"
# What the proof and the experiment need to know from QEMU, with QEMU's own clock: what it was told
# in each round, what it concluded, and when it stopped.
TRACE_EVENTS = (TRACKING, "migration_bitmap_sync_start", "migration_bitmap_sync_end",
                *qemu_events.GETS, "vfio_migration_set_device_state",
                "migrate_transferred", "migrate_pending_exact",
                "migration_thread_low_pending", "migration_completion_vm_stop",
                "loadvm_approve_switchover")


# Signals by which tests end a QEMU.
SENT = (signal.SIGTERM, signal.SIGKILL)

# Bytes per second; in effect no limit.
UNLIMITED = 1 << 40

# Requests of /dev/kvm, see <linux/kvm.h>.
KVM_CREATE_VM = 0xAE01
KVM_GET_TSC_KHZ = 0xAEA3


def tsc_khz():
    """The guest's TSC frequency, 0 if unknown.

    Without kvmclock the guest has to measure it, which fails nested in emulation. Then each look
    at a clock is an exit, and booting takes 5 s longer.
    """
    try:
        kvm = os.open("/dev/kvm", os.O_RDWR)
    except OSError:
        return 0
    try:
        machine = fcntl.ioctl(kvm, KVM_CREATE_VM, 0)
        try:
            return fcntl.ioctl(machine, KVM_GET_TSC_KHZ, 0)
        finally:
            os.close(machine)
    except OSError:
        return 0
    finally:
        os.close(kvm)


# Each access to a port is an exit to QEMU, the most expensive thing that a nested guest can do. A
# kernel that sees an old AMD CPU looks for an AGP bridge on all 256 buses, and probes these once
# more for host bridges that ACPI did not name: 50,000 accesses. Buses behind a root port are found
# nevertheless. Half of the instructions of the kernel's boot are self-tests of its ciphers, random
# numbers from jitter, and names for the output of trace events.
QUICK_BOOT = ("pci=noearly,lastbus=0", "cryptomgr.notests",
              "initcall_blacklist=jent_mod_init,trace_eval_init")


def boot_words():
    """Words for the kernel of a guest that boots nested in emulation: they turn off what is slow
    or impossible there."""
    khz = tsc_khz()
    return ["panic=-1", "nokaslr", "mitigations=off", "no_timer_check", *QUICK_BOOT,
            *([f"tsc_early_khz={khz}"] if khz else [])]


# Devices of a q35 that the guest does not use, and whose probing is all exits.
ABSENT = "vmport=off,hpet=off,i8042=off,sata=off,smbus=off"

# Words for the kernel of a guest that is held at a switchover. Its clock counts the timer
# interrupts that it gets, so the clock stops while the guest is stopped, as kvmclock does. The TSC
# would run on, and each timeout and watchdog in the guest would count time in which the guest
# could not run.
STOPPABLE_CLOCK = ("clocksource=jiffies", "tsc=unstable", "lapic=notscdeadline")
# The same for a guest that is never held, and whose rates are in real time.
STEADY_CLOCK = ("tsc=reliable",)


def kernel_arguments(config, clock=STOPPABLE_CLOCK):
    """The guest's kernel command line: what its init reads, a clock, and a quick boot."""
    return " ".join(["console=ttyS0", "quiet", *boot_words(), *clock,
                     f"mdma.window_mb={config.window_mb}", f"mdma.dirty_mb={config.dirty_mb}"])


# The name of QEMU's own object for iommufd.
IOMMUFD = "iommufd0"


def device(mdev, name="mdma"):
    """The device, as -device takes it."""
    return f"vfio-pci,sysfsdev={mdev.path},enable-migration=on,id={name}"


def plug(qmp, words, **more):
    """Plug a device in, by what -device takes, while the guest runs."""
    driver, *pairs = words.split(",")
    qmp.command("device_add", driver=driver, **dict(pair.split("=") for pair in pairs), **more)


def unplug(qmp, name, patience):
    """Take a device away, and wait until the guest has let it go."""
    qmp.command("device_del", id=name)
    deadline = time.monotonic() + patience
    while any(one["name"] == name for one in qmp.command("qom-list", path="/machine/peripheral")):
        if time.monotonic() > deadline:
            raise GuestError(f"not in {patience} s: the guest lets {name} go")
        time.sleep(0.05)


def locked_kb(vm):
    """Memory that a QEMU has locked: what its devices have pinned. A type1 counts it as locked,
    iommufd as pinned."""
    status = _text(Path("/proc", str(vm.process.pid), "status"))
    return sum(int(re.search(rf"{name}:\s+(\d+) kB", status)[1]) for name in ("VmLck", "VmPin"))


def container(config):
    """What maps the guest's memory, by the settings of a scenario."""
    return getattr(config, "container", "type1")


def by_iommufd(config):
    """Whether that is iommufd."""
    return container(config) == "iommufd"


def mapped_by(config):
    """(words, properties of the device) by which QEMU gets its container."""
    if by_iommufd(config):
        return ["-object", f"iommufd,id={IOMMUFD}"], f"iommufd={IOMMUFD}"
    return [], ""


def _machine(config):
    """The machine: its RAM, unless that is in NUMA nodes, and where that continues at 4 GiB."""
    low = getattr(config, "low_mb", 0)
    return ("q35" + ",memory-backend=ram" * (not getattr(config, "nodes", 0)) + f",{ABSENT}"
            + (f",max-ram-below-4g={low}M" if low else ""))


def _accel(config):
    """The accelerator. KVM says which pages the CPU wrote by bitmaps, or with dirty_ring= by a ring
    of so many entries."""
    ring = getattr(config, "dirty_ring", 0)
    return f"{config.accel},dirty-ring-size={ring}" if ring else config.accel


def _memory(config, ram):
    """The guest's memory, in the file @ram. Of the settings, some scenarios have only the first.

    mem_mb:  MiB of the machine
    nodes:   NUMA nodes of the machine, in a memfd each. The first one, where the kernel is, is
             twice as large as each of the others
    huge:    in huge pages of hugetlbfs, and in no file that has a name
    more_mb: MiB more that a DIMM or virtio-mem may add
    """
    size, more = f"{config.mem_mb}M", getattr(config, "more_mb", 0)
    slots = f",slots=1,maxmem={config.mem_mb + more}M" if more else ""
    nodes = getattr(config, "nodes", 0)
    if nodes:
        other = config.mem_mb // (nodes + 1)
        sizes = [config.mem_mb - (nodes - 1) * other, *[other] * (nodes - 1)]
        words = ["-m", f"{size}{slots}"]
        for node, mebibytes in enumerate(sizes):
            cpus = f",cpus=0-{config.smp - 1}" if not node else ""
            words += ["-object", f"memory-backend-memfd,id=ram{node},size={mebibytes}M,share=on",
                      "-numa", f"node,memdev=ram{node}{cpus}"]
        return words
    file = f"memory-backend-file,id=ram,size={size},mem-path={ram},share=on,align=2M"
    if getattr(config, "huge", False):
        file = f"memory-backend-memfd,id=ram,size={size},share=on,hugetlb=on,hugetlbsize=2M"
    return ["-m", f"{size}{slots}", "-object", file]


def command_line(name, config, mdev, directory, ram, monitor, incoming=False, *,
                 paused=True, properties="", commands=False, before=(), beside=()):
    """Build QEMU's arguments.

    @incoming:   wait for a migration
    @paused:     do not run by itself after it
    @properties: more properties of the vfio-pci device, "name=value,..."
    @commands:   add a second serial port, a socket; the guest may reboot
    @before:     more words, before the device
    @beside:     more devices, each as -device takes it

    RAM is aligned so that KVM can map huge pages, if the directory of @ram has them.

    kvmclock and steal time are off because KVM itself writes their pages at the switchover: RAM
    could not be identical then, and no page is exempt from the comparison.
    """
    cpu = "host,kvmclock=off,kvm-steal-time=off" if config.accel == "kvm" else "qemu64"
    argv = [config.qemu, "-name", f"mdma-{name}", "-nodefaults", "-no-user-config",
            "-display", "none",
            "-M", _machine(config), "-accel", _accel(config),
            "-cpu", cpu, "-smp", str(config.smp), *_memory(config, ram),
            "-kernel", config.kernel, "-initrd", config.initrd, "-append", config.append,
            "-serial", f"file:{directory / name}.serial",
            "-qmp", f"unix:{monitor},server=on,wait=off",
            "-msg", "timestamp=on", "-D", f"{directory / name}.qemu"]
    for event in TRACE_EVENTS:
        argv += ["-trace", event]
    argv += before
    if mdev:
        words, mapped = mapped_by(config)
        argv += [*words, "-device", ",".join(filter(None, (device(mdev), mapped, properties)))]
    for word in beside:
        argv += ["-device", word]
    if commands:
        path = f"{directory / name}.commands"
        argv += ["-chardev", f"socket,id=commands,path={path},server=on,wait=off",
                 "-serial", "chardev:commands"]
    else:
        argv.append("-no-reboot")
    if incoming:
        argv += ["-incoming", "defer"] + ["-S"] * paused
    return argv


def _text(path):
    try:
        return path.read_text(errors="replace")
    except FileNotFoundError:
        return ""


class GuestVM:
    """QEMU as a child process. Killed, and its RAM file deleted, when its `with` ends; also killed
    when the thread that started it ends, however that is."""

    def __init__(self, name, config, directory, mdev, incoming=False, **more):
        """@more: paused, properties, commands, before and beside, see command_line()."""
        self.name = name
        self.directory = directory
        self.ram = directory / f"{name}.ram"
        self.monitor = directory / f"{name}.socket"
        self.serial = directory / f"{name}.serial"
        self.commands = directory / f"{name}.commands"
        self._argv = command_line(name, config, mdev, directory, self.ram,
                                  self.monitor, incoming, **more)
        self.process = self.qmp = None

    def __enter__(self):
        self._forget_files()
        with open(self.directory / f"{self.name}.stderr", "wb") as errors:
            self.process = process.start(self._argv, own_group=False, stdin=subprocess.DEVNULL,
                                         stdout=errors, stderr=errors)
        return self

    def connect(self):
        """Open the monitor. Separate from the start, so that two QEMUs can start at the same
        time."""
        try:
            self.qmp = qmp_client.Qmp(self.monitor, self.alive)
        except qmp_client.QmpError as err:
            raise GuestError(f"{self.name}: {err}; QEMU said: {self.errors()}") from err

    def __exit__(self, *_):
        if self.qmp:
            self.qmp.close()
        if self.alive():
            self.process.terminate()
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.process.kill()
        self.process.wait()
        self._forget_files()

    def _forget_files(self):
        for path in (self.ram, self.monitor, self.commands):
            path.unlink(missing_ok=True)

    def alive(self):
        """Does QEMU still run?"""
        return self.process.poll() is None

    def crash(self):
        """The name of the signal that ended QEMU, if it was its own fault; or ""."""
        code = self.process.poll() or 0
        return signal.Signals(-code).name if code < 0 and -code not in SENT else ""

    def errors(self):
        """The end of what QEMU printed."""
        text = (self.directory / f"{self.name}.stderr").read_text(errors="replace")
        return qemu_events.without_warnings(text).strip()[-500:] or "nothing"

    def open_ram(self):
        """The RAM of the guest, which does not run, as RamFiles."""
        return ram_files.of_process(self.process.pid, lambda command: self.qmp.command(
            "human-monitor-command", command_line=command))

    def console(self):
        """The guest's console so far."""
        return _text(self.serial)

    def log(self):
        """QEMU's own trace so far."""
        return _text(self.directory / f"{self.name}.qemu")

    def wait_console(self, pattern, timeout, count=1):
        """Wait until @pattern is on the console @count times."""
        deadline = time.monotonic() + timeout
        while len(re.findall(pattern, self.console())) < count:
            if not self.alive():
                raise GuestError(f"{self.name}: QEMU ended: {self.errors()}")
            if time.monotonic() > deadline:
                tail = self.console().strip()[-300:]
                raise GuestError(f"{self.name}: no '{pattern}' on the console in "
                                 f"{timeout:.0f} s; it ends: {tail!r}")
            time.sleep(0.1)


def qemu_version(vm):
    """QEMU's version, by its own answer."""
    version = vm.qmp.command("query-version")
    number = ".".join(str(version["qemu"][key]) for key in ("major", "minor", "micro"))
    return f"{number} {version['package']}".strip()


def wait_status(vm, wanted, patience):
    """Wait until a QEMU's run state is one of @wanted."""
    deadline = time.monotonic() + patience
    while (status := vm.qmp.command("query-status")["status"]) not in wanted:
        if time.monotonic() > deadline:
            raise GuestError(f"{vm.name} is {status}, not {' or '.join(wanted)}")
        time.sleep(0.05)
