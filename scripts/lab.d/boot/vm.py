# SPDX-License-Identifier: GPL-2.0-only
"""Boot the lab VM and watch it until it ends.

The image's own QEMU runs it, started by the image's own dynamic loader: an older QEMU of the host
crashes the lab's kernel under multi-threaded TCG.
"""

import contextlib
import os
import re
import socket
import subprocess
import sys
import termios
import time

from base import files, process, say, site
from boot import emulator, hang, tsc, watchdog, wire
from make import debug_kernel, lab_kernel, paths, place

CPUS = 2
MEMORY = 5
# Also in GiB, of each lab if there are two.
MEMORY_OF_TWO = 3

# Seconds until a run counts as hung, by accelerator.
TIMEOUT = {"kvm": 300, "tcg": 1200, "icount": 1200}

# Under icount the lab's clock counts instructions, 2 ns each, whatever else the machine does. That
# is for measuring, and for nothing that needs a second CPU.
HARDWARE = {
    "kvm": ("-accel", "kvm", "-cpu", "host", "-smp", CPUS),
    "tcg": ("-accel", "tcg,thread=multi", "-cpu", "qemu64,+svm,+npt,+x2apic", "-smp", CPUS),
    "icount": ("-accel", "tcg,thread=single", "-icount", "shift=1,sleep=off",
               "-cpu", "qemu64,+x2apic", "-smp", 1),
}

# An IOMMU, and two NICs behind it for the tests (init binds them to vfio). Virtio devices are not
# translated, so nothing else becomes slower. With eim the kernel runs its local APICs in x2APIC
# mode (lab.rst, "The emulated CPU").
# Without a ROM for its NICs, the firmware does not stop to offer a boot from the network.
IOMMU = ("-device", "intel-iommu,intremap=on,eim=on",
         "-device", "e1000e,addr=10.0,romfile=", "-device", "e1000e,addr=11.0,romfile=")

# Without devices of a q35 that the lab does not use, and that firmware and kernel would probe.
MACHINE = "q35,kernel-irqchip=split,sata=off,smbus=off,i8042=off,vmport=off"

# Seconds within which the second of two labs must notice that the first has ended.
SECOND_SECONDS = 120

# A third of the instructions of the kernel's boot are self-tests of its ciphers, and random
# numbers from jitter.
QUICK_BOOT = ("cryptomgr.notests", "initcall_blacklist=jent_mod_init")

MARK = "MDMA-LAB "
# The console line that names the running test and its program.
TEST = re.compile(r"(?:selftest|mutant): (\S+)(?: \((\S+)\))?")

LIBRARIES = "usr/lib/x86_64-linux-gnu"


def kvm_missing(device="/dev/kvm", cpuinfo="/proc/cpuinfo", modules="/sys/module"):
    """Why KVM can't run the lab, or None.

    The lab's guest needs nested virtualisation, so /dev/kvm alone is not enough: some are not
    backed by the CPU's own virtualisation, and some do not nest.
    """
    try:
        os.close(os.open(device, os.O_RDWR))
    except OSError as error:
        return f"{device}: {error.strerror}"
    with open(cpuinfo) as stream:
        flags = set(stream.read().split())
    for flag, module in (("svm", "kvm_amd"), ("vmx", "kvm_intel")):
        if flag in flags:
            break
    else:
        return "the CPU has neither svm nor vmx"
    try:
        with open(f"{modules}/{module}/parameters/nested") as stream:
            nested = stream.read().strip()
    except OSError as error:
        return f"{module}: {error.strerror}"
    return None if nested in ("1", "Y") else f"{module}: nested={nested}"


def machine(cpuinfo="/proc/cpuinfo"):
    """The machine that the lab runs on, for people."""
    with open(cpuinfo) as stream:
        model = next((line.partition(":")[2].strip() for line in stream
                      if line.startswith("model name")), "CPU of unknown model")
    return f"{os.cpu_count()} × {model}, Linux {os.uname().release}; the lab has {CPUS} CPUs"


def accelerator():
    """kvm if it can run the lab, else tcg; ACCEL= forces one."""
    forced = os.environ.get("ACCEL")
    if forced not in (None, "", "kvm", "tcg"):
        raise say.UsageError(f"ACCEL={forced}: kvm or tcg expected")
    why = None if forced == "tcg" else kvm_missing()
    if forced:
        if why:
            say.info(f"ACCEL=kvm, though KVM will hardly do: {why}")
        return forced
    if why:
        say.info(f"no KVM: {why}")
    return "tcg" if why else "kvm"


def available():
    """Memory that programs can have, in GiB."""
    with open("/proc/meminfo") as stream:
        return next(int(line.split()[1]) / (1 << 20) for line in stream
                    if line.startswith("MemAvailable:"))


def memory_for(guest_mb, two=False):
    """GiB of a lab, or of each of two, for a guest with so many MiB.

    Its memory is in the files of the source and of the destination, and in a copy of the latter.
    Files in /dev/shm can have half of the lab's memory; libvirt's files are not there.
    """
    least, times = (MEMORY_OF_TWO, 2) if two else (MEMORY, 4)
    return max(least, 1 + -(-times * guest_mb // 1024))


def check_memory(needed):
    """Refuse to start if the lab would only make the machine swap, or be killed. @needed: GiB"""
    found = available()
    if found < needed:
        raise say.LabError(f"{found:.1f} GiB of memory available, the lab needs {needed} GiB")


def qemu(accel):
    """The words that run the image's QEMU without a chroot. They assume the root tree as working
    directory, since the loader takes no colon in a library path."""
    root = paths.ROOT
    program = root / "usr/bin/qemu-system-x86_64" if accel == "kvm" else emulator.program()
    return [root / "usr/lib64/ld-linux-x86-64.so.2", "--library-path", LIBRARIES,
            program,
            "-L", root / "usr/share/qemu", "-L", root / "usr/share/seabios"]


def kernel_command_line(accel, options):
    """A crash ends the run at once; slow emulation does not count as a lockup. See lab.rst, "The
    emulated CPU"."""
    words = ["console=ttyS0", "loglevel=5", "panic=-1", "oops=panic", "log_buf_len=4M",
             "nokaslr", "intel_iommu=on", *hang.KERNEL, *options]
    debug = debug_kernel.chosen()
    if debug:
        words += [f"lab.debug={debug.name}", *debug.options]
    if accel == "tcg":
        # The kernel calibrates the TSC against timers that QEMU emulates. On a busy host, the
        # result was once seven times too low, and the lab's clock ran seven times too fast.
        frequency = tsc.khz()
        words += [f"tsc_early_khz={frequency}"] if frequency else []
        # Otherwise, each event that is switched on or off changes the scheduler's code, which
        # QEMU may go on to execute as it was.
        words += ["trace_options=norecord-cmd"]
    if accel != "kvm":
        # At boot, the kernel spins for ten ticks by the TSC, and panics if fewer than half of them
        # came. The thread of QEMU that makes the ticks may wait that long for the host.
        # Keep the TSC of the emulated CPUs as clock source. If a read that the host delayed makes
        # the kernel distrust it, each look at the clock is an access to the HPET, and waits for
        # QEMU.
        words += ["no_timer_check", "tsc=nowatchdog", "watchdog_thresh=60", *QUICK_BOOT,
                  "rcupdate.rcu_cpu_stall_timeout=120", "sysctl.kernel.hung_task_timeout_secs=300"]
    return " ".join(words)


def value(path):
    """A path as part of a QEMU option, where a comma would begin the next part."""
    return str(path).replace(",", ",,")


def command(results, accel, options, terminal, more=(), memory=MEMORY, disk=None):
    """The whole command line of the lab VM.

    @more:   more words for QEMU
    @memory: GiB
    @disk:   the root disk, if it is not the image's
    """
    kernel, initrd = lab_kernel.unpacked(), paths.LAB_INITRAMFS
    debug = debug_kernel.chosen()
    if debug:
        kernel, initrd = debug.image, debug.initramfs
    payload = value(paths.PAYLOAD)
    backend = ("stdio,id=term,signal=off,mux=on" if terminal
               else f"file,id=term,path={value(results)}/output.txt")
    return [
        *qemu(accel), "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot",
        "-name", "mdma-lab,debug-threads=on", "-machine", MACHINE,
        *HARDWARE[accel], *(() if accel == "icount" else IOMMU), "-m", f"{memory}G",
        "-kernel", kernel, "-initrd", initrd,
        "-append", kernel_command_line(accel, options),
        "-chardev", f"file,id=console,path={value(results)}/console.txt",
        "-serial", "chardev:console",
        "-device", "virtio-serial-pci", "-chardev", backend,
        "-device", "virtconsole,chardev=term",
        "-drive", f"file={value(disk or paths.ROOT_IMAGE)},format=raw,if=virtio,snapshot=on",
        "-fsdev", f"local,id=payload,path={payload},security_model=none,readonly=on",
        "-device", "virtio-9p-pci,fsdev=payload,mount_tag=payload",
        "-fsdev", f"local,id=results,path={value(results)},security_model=none",
        "-device", "virtio-9p-pci,fsdev=results,mount_tag=results",
        "-device", "virtio-rng-pci", *more,
    ]


class Tail:
    """Reads what another process appends to a file."""

    def __init__(self, path):
        self.path = path
        self.offset = 0

    def read(self):
        """The text since the last call."""
        try:
            with open(self.path, "rb") as stream:
                stream.seek(self.offset)
                data = stream.read()
        except FileNotFoundError:
            return ""
        self.offset += len(data)
        return data.decode(errors="replace")


class Watch:
    """Follows a run: passes its output on, knows its current step, and notices when it is late or
    hangs."""

    def __init__(self, results, timeout, quiet=False, dog=None):
        """@dog: the watchdog.Watchdog, if there is one"""
        self.results = results
        self.console = Tail(results / "console.txt")
        self.output = Tail(results / "output.txt")
        self.rest = ""
        self.step = "boot"
        self.test = None
        self.failure = None
        self.begin = time.monotonic()
        self.timeout = timeout
        self.quiet = quiet
        self.dog = dog

    def poll(self):
        """Check everything once."""
        text = self.output.read()
        if text and not self.quiet:
            sys.stdout.write(text)
            sys.stdout.flush()
        *lines, self.rest = (self.rest + self.console.read()).split("\n")
        for line in lines:
            self._read(line)
        if self.dog:
            self.dog.poll(time.monotonic())

    def _read(self, line):
        """Handle a line of the console."""
        test = TEST.search(line)
        if MARK in line:
            self._mark(*line.strip().split(MARK, 1)[1].split(" ", 1))
        elif test:
            name, program = test.groups()
            self.test = f"{program}: {name}" if program else name
        elif self.dog:
            self.dog.read(line)

    def _mark(self, kind, text=""):
        if kind == "fail":
            self.failure = text
        elif kind == "step":
            self.step, self.test = text, None
        if not self.quiet:
            say.info(f"[{time.monotonic() - self.begin:5.1f} s] {kind}: {text}")

    def late(self):
        """Whether the run should have ended by now."""
        return self.timeout is not None and time.monotonic() - self.begin > self.timeout

    def where(self):
        """What ran last, for people."""
        return self.test or f"step: {self.step}"

    def stuck(self):
        """Why the run must be ended; None if it need not be."""
        why = self.dog.verdict() if self.dog else None
        if not why and self.late():
            why = f"no end after {self.timeout} s"
        return f"{why}, in {self.where()}" if why else None


@contextlib.contextmanager
def terminal_kept():
    """QEMU makes the terminal raw; put it back, however QEMU ends."""
    saved = termios.tcgetattr(sys.stdin)
    try:
        yield
    finally:
        termios.tcsetattr(sys.stdin, termios.TCSADRAIN, saved)


class Lab:
    """A running lab: its QEMU, what follows it, and our end of its monitor."""

    def __init__(self, child, watch, monitor):
        self.child, self.watch, self.monitor = child, watch, monitor

    def ended(self):
        """Check everything once; returns whether QEMU has ended."""
        ended = self.child.poll() is not None
        self.watch.poll()
        return ended

    def odd_end(self):
        """Why a lab did not end by itself; None if it did."""
        if self.watch.failure:
            return self.watch.failure
        if self.child.returncode:
            return f"QEMU ended with {self.child.returncode} during {self.watch.where()}"
        if self.watch.step != "ending":
            return f"the lab went down during {self.watch.where()}"
        return None

    def hung(self, reason):
        """Save what can be learned from a lab that hangs, and end it. Returns the reason and the
        file's name."""
        if not self.monitor:
            return reason
        try:
            path = hang.keep(self.watch.results, reason, self.child, self.monitor)
        except OSError as error:
            return f"{reason}; registers and stacks are lost: {error.strerror}"
        return f"{reason}; registers and stacks are in {files.short(path)}"


def run(results, accel, options=(), terminal=False, timeout=None, beside=None, silence=None,
        guest_mb=0, disk=None):
    """Boot the lab on a results directory and wait for its end.

    @accel: one of HARDWARE
    @beside: the results directory of a second lab, on a wire with the first. It prints nothing,
             and must end soon after the first one
    @silence: seconds that a CPU may be silent; None: the watchdog's limit for the accelerator
    @guest_mb: MiB of memory that a guest in the lab has
    @disk: the root disk, if it is not the image's

    Returns None, or why there is no verdict: it hung, or crashed.
    """
    memory = memory_for(guest_mb, bool(beside))
    check_memory(2 * memory if beside else memory + 1)
    for directory in (results, paths.LAB):
        place.check_space(directory)
    guard = place.Guard(results, paths.LAB)
    limit = None if terminal else timeout or TIMEOUT[accel]
    silence = silence or watchdog.LIMIT[accel]
    if not terminal:
        options = [*options, watchdog.OPTION]
    if limit and debug_kernel.chosen():
        limit *= site.DEBUG_SCALE
        silence *= site.DEBUG_SCALE
    say.info(f"booting {'two labs ' if beside else ''}with {accel}"
             + (f", at most {limit} s" if limit else "; leave with exit or Ctrl-a x"))
    with contextlib.ExitStack() as stack:
        if terminal:
            stack.enter_context(terminal_kept())
        wires = stack.enter_context(wire.two_ends()) if beside else ((),)
        labs = []
        for directory, end in zip((results, beside), wires):
            dog = None
            if not terminal:
                cpus = HARDWARE[accel][HARDWARE[accel].index("-smp") + 1]
                dog = stack.enter_context(watchdog.Watchdog(cpus, silence,
                                                             accel != "icount"))
            watch = Watch(directory, limit, quiet=terminal or directory == beside, dog=dog)
            words = command(directory, accel, options, terminal, end, memory, disk)
            labs.append(stack.enter_context(_booted(words, watch)))
        reason = _supervise(guard, labs[0], *labs[1:])
    if reason:
        # Which may be why.
        guard.check(at_once=True)
    return reason


@contextlib.contextmanager
def _booted(words, watch):
    """A running lab, which is gone afterwards in any case. A lab on a terminal has no watchdog,
    and its monitor is on the terminal."""
    # QEMU keeps the discarded disk writes in TMPDIR; it looks for its modules by path
    environment = dict(process.ENVIRONMENT, TMPDIR=str(paths.LAB),
                       QEMU_MODULE_DIR=str(paths.ROOT / LIBRARIES / "qemu"))
    if os.environ.get("LAB_PRELOAD"):
        environment["LD_PRELOAD"] = os.environ["LAB_PRELOAD"]
    dog, terminal = watch.dog, not watch.dog
    ours, labs = socket.socketpair()
    if dog:
        words = [*words, *dog.words(), "-chardev", f"socket,id=monitor,fd={labs.fileno()}",
                 "-mon", "chardev=monitor,mode=control"]
    (watch.results / "qemu.txt").write_text("\n".join(map(str, words)) + "\n")
    with ours, labs, open(watch.results / "qemu-errors.txt", "wb") as errors:
        child = process.start(words, own_group=not terminal, env=environment, stderr=errors,
                              cwd=paths.ROOT,
                              stdin=None if terminal else subprocess.DEVNULL,
                              stdout=None if terminal else errors,
                              pass_fds=(dog.labs.fileno(), labs.fileno()) if dog else ())
        labs.close()
        if dog:
            dog.attend(child.pid)
        try:
            yield Lab(child, watch, ours if dog else None)
        finally:
            process.stop(child)


def _supervise(guard, first, second=None):
    """Wait for the lab, or for both; None, or why one did not end by itself."""
    while not first.ended():
        guard.check()
        why = first.watch.stuck()
        if why:
            return first.hung(why)
        if second:
            if second.ended() and second.odd_end():
                return f"the second lab: {second.odd_end()}"
            why = second.watch.stuck()
            if why:
                return f"the second lab: {second.hung(why)}"
        time.sleep(0.05)
    return first.odd_end() or (_wait_second(second) if second else None)


def _wait_second(lab):
    """The second lab ends when it notices that the first has ended."""
    deadline = time.monotonic() + SECOND_SECONDS
    while not lab.ended():
        why = lab.watch.stuck()
        if not why and time.monotonic() > deadline:
            why = f"did not end with the first, but is in {lab.watch.where()}"
        if why:
            return f"the second lab: {lab.hung(why)}"
        time.sleep(0.05)
    reason = lab.odd_end()
    return f"the second lab: {reason}" if reason else None
