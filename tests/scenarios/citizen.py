#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""The device on its host, used by the programs that people use there: mdevctl, trace-cmd, lspci,
rmmod.

usage: citizen.py --results DIR [key=value ...]        (as root; --help: keys)
"""

import fcntl
import os
import re
import shutil
import struct
import subprocess
import sys
import time
import uuid as uuids
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import SimpleNamespace

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "scripts/lab.d"))

# pylint: disable=wrong-import-position
from base import ktap, settings
from play import arguments, entry, mdev, readme
from play.mdev import DEBUG, DEVICES

# What a run needs to have built, and for which settings (boot/scenario.py).
BUILDS = {"selftests": ""}

KEYS = settings.keys("device", own={"backend": settings.BACKEND})

# A program in by-hand.rst that runs on the lab's host, not in the lab.
OUTSIDE = "scripts/lab "

# Requests of <linux/vfio.h>, and the offset of config space in the device's file.
VFIO_SET_IOMMU = 0x3B66
VFIO_GROUP_SET_CONTAINER = 0x3B68
VFIO_GROUP_GET_DEVICE_FD = 0x3B6A
VFIO_TYPE1V2_IOMMU = 3
CONFIG_REGION = 7 << 40

# Where mdevctl's rule for udev has it.
RULES_MDEVCTL = Path("/usr/sbin/mdevctl")

# Time limit of a program in seconds: mdevctl waits as long as a device is open.
TIMEOUT_OF_ONE = 300
# Somebody who types the commands of by-hand.rst sees when each mdma-open has its device open.
PATIENTLY = """\
sleep() {
    for opener in $(jobs -p); do
        until ls -l /proc/$opener/fd | grep -q vfio-device; do command sleep 0.1; done
    done
    command sleep $1
}"""

# Patterns that lspci -vvv must print for the function.
LSPCI = (
    r"Control: I/O- Mem- BusMaster- .*DisINTx-",
    r"Status: Cap\+ .* INTx-",
    r"Interrupt: pin A routed to IRQ",
    r"Capabilities: \[40\] MSI-X: Enable- Count=4 Masked-",
    r"Vector table: BAR=0 offset=00002000",
    r"PBA: BAR=0 offset=00003000",
    r"Capabilities: \[4c\] PCI Advanced Features",
    r"AFCap: TP\+ FLR\+",
    r"AFCtrl: FLR-",
    r"AFStatus: TP-",
)


class Wrong(Exception):
    """Something is not as it must be."""


def expect(good, text):
    """Fail with this text unless @good."""
    if not good:
        raise Wrong(text)


def run(*argv, cwd=None):
    """The output of a program, which must succeed."""
    done = subprocess.run(argv, capture_output=True, text=True, check=False, cwd=cwd,
                          timeout=TIMEOUT_OF_ONE)
    expect(not done.returncode, f"{' '.join(map(str, argv))}: {done.stderr.strip()}")
    return done.stdout


def attribute(uuid, name):
    """An attribute of a device."""
    return (DEVICES / uuid / name).read_text().strip()


@contextmanager
def defined(mdev_type, *paths, **attributes):
    """The UUID of a device that is defined with mdevctl, and removed afterwards.

    @paths:      attributes in the order of writing: (path, value)
    @attributes: those of the workload
    """
    uuid = str(uuids.uuid4())
    run("mdevctl", "define", "-u", uuid, "-p", "mdma", "-t", mdev_type)
    try:
        for path, value in (*paths, *((f"workload/{name}", value)
                                      for name, value in attributes.items())):
            run("mdevctl", "modify", "-u", uuid, "--addattr", path, "--value", value)
        yield uuid
    finally:
        if (DEVICES / uuid).is_dir():
            run("mdevctl", "stop", "-u", uuid)
        run("mdevctl", "undefine", "-u", uuid)


@contextmanager
def vmm(uuid):
    """Have the device open in the smallest VMM."""
    with subprocess.Popen(["mdma-open", uuid, "64"], stdout=subprocess.PIPE,
                          text=True) as child:
        try:
            expect("is open" in child.stdout.readline(), "mdma-open does not open it")
            yield child
        finally:
            child.kill()


@contextmanager
def in_its_place(path):
    """Whatever loads mdma by its name gets this device. There must be no mdev."""
    installed = run("modinfo", "-n", "mdma").strip()
    run("mount", "--bind", path, installed)
    try:
        mdev.load()
        yield
    finally:
        run("umount", installed)


def by_hand():
    """The commands that by-hand.rst tells users to type in the lab's shell."""
    return [line for block in readme.blocks("by-hand.rst") for line in block
            if not line.startswith(OUTSIDE)]


# --- the tests --------------------------------------------------------------


def by_hand_works_as_written():
    """The commands of by-hand.rst, in its order, do what it says and leave nothing."""
    before = set(DEVICES.iterdir())
    text = run("bash", "-e", "-c", "\n".join([PATIENTLY, *by_hand()]))
    # 1000 descriptors of 8 pages, each pinned alone
    expect("\n8000\n" in text, f"not 8000 pages: {text[:2000]}")
    for event in ("pin", "write", "unpin", "descriptor"):
        lines = re.findall(rf"mdma_{event}: +device=", text)
        expect(len(lines) == 3, f"{len(lines)} events {event}: {text[-4000:]}")
    expect(text.endswith("the same\n"), f"other ledgers: {text[-500:]}")
    expect(set(DEVICES.iterdir()) == before, "a device is there still")


def mdevctl_keeps_attributes():
    """A device that is defined once has its attributes each time it is started."""
    want = {"batch": "8", "pattern": "random", "seed": "77", "hold_ms": "5",
            "window": "0x1000-0x8fff,0x100000-0x1fffff"}
    with defined("mdma-4", **want) as uuid:
        expect(not (DEVICES / uuid).is_dir(), "it is there before it is started")
        for _ in range(2):
            run("mdevctl", "start", "-u", uuid)
            expect(attribute(uuid, "channels") == "4", "not of type mdma-4")
            for name, value in want.items():
                seen = attribute(uuid, f"workload/{name}")
                expect(seen == value, f"{name} is {seen}, not {value}")
            expect(uuid in run("mdevctl", "list"), "mdevctl does not list it")
            run("mdevctl", "stop", "-u", uuid)
            expect(not (DEVICES / uuid).is_dir(), "it is there after it was stopped")
            expect(not (DEBUG / uuid).is_dir(), "its debugfs is there still")


# What a device or mdevctl refuses: attributes in the order of writing, the last one is to blame.
REFUSED = {
    "a value out of range": (("workload/batch", "513"),),
    "an unknown attribute": (("workload/nothing", "1"),),
    "an attribute outside of the device": (("workload/../../nothing", "1"),),
    "a bad value after a good one": (("workload/batch", "8"), ("workload/seed", "x")),
    "a window when it runs": (("workload/run", "1"), ("workload/window", "0x0-0xfff")),
    "an attribute that can't be written": (("stats/seq", "1"),),
    "steps, which nobody has open": (("workload/step", "1"),),
}


def refused_to_start(uuid):
    """What mdevctl says when it does not start a device, of which nothing is left then."""
    free = Path("/sys/class/mdev_bus/mdma/mdev_supported_types/mdma-1/available_instances")
    before = free.read_text()
    done = subprocess.run(["mdevctl", "start", "-u", uuid], capture_output=True, text=True,
                          check=False, timeout=TIMEOUT_OF_ONE)
    expect(done.returncode, "it starts")
    expect(not (DEVICES / uuid).exists(), "the device is there")
    expect(free.read_text() == before, f"{free.read_text()} devices can be made, not {before}")
    return done.stderr


def mdevctl_names_what_is_refused():
    """A device with a bad attribute does not start, and mdevctl says which one."""
    for what, attributes in REFUSED.items():
        with defined("mdma-1", *attributes) as uuid:
            try:
                said = refused_to_start(uuid)
            except Wrong as wrong:
                raise Wrong(f"{what}: {wrong}") from wrong
            path, _ = attributes[-1]
            expect(path in said, f"{what}: mdevctl says {said}")


def device_of_another_class_does_not_start():
    """A device that was defined under one class of the parent has a type of that class."""
    run("rmmod", "mdma")
    try:
        run("modprobe", "mdma", "class_name=mtty")
        with defined("mtty-1") as uuid:
            mdev.load()
            said = refused_to_start(uuid)
            expect("does not support mdev type mtty-1" in said, f"mdevctl says {said}")
    finally:
        mdev.load()


@contextmanager
def udev():
    """udev, which the lab does not have otherwise."""
    run("/usr/lib/systemd/systemd-udevd", "--daemon")
    try:
        yield
    finally:
        run("udevadm", "control", "--exit")


def comes_back(uuid):
    """Whether udev has the device started when mdma is loaded."""
    mdev.load()
    run("udevadm", "settle", f"--timeout={TIMEOUT_OF_ONE}")
    return (DEVICES / uuid).is_dir()


def autostart_where_udev_finds_mdevctl():
    """mdevctl's rule for udev names /usr/sbin/mdevctl. Debian 13 has it in /usr/bin, so a device
    starts by itself only with a link (found.rst)."""
    with udev(), defined("mdma-1") as uuid:
        run("mdevctl", "modify", "-u", uuid, "--auto")
        if not RULES_MDEVCTL.exists():
            expect(not comes_back(uuid), f"it starts without {RULES_MDEVCTL}: who did it?")
            RULES_MDEVCTL.symlink_to(shutil.which("mdevctl"))
        expect(comes_back(uuid), "it does not start when mdma is loaded")
        run("mdevctl", "modify", "-u", uuid, "--manual")
        expect(not comes_back(uuid), "it starts by itself, though it must not")


def trace_cmd_tells_all():
    """The line of by-hand.rst: three descriptors of 8 pages, each pinned, written, unpinned."""
    with defined("mdma-1", batch="8", window="0x0-0x3ffffff") as uuid:
        run("mdevctl", "start", "-u", uuid)
        with vmm(uuid):
            text = run("bash", "-c", next(line for line in by_hand() if "trace-cmd" in line),
                       cwd=DEVICES / uuid)
            for event in ("pin", "write", "unpin", "descriptor"):
                lines = re.findall(rf"mdma_{event}: +device={uuid[:8]} (.*)", text)
                expect(len(lines) == 3, f"{len(lines)} events {event}: {text[-2000:]}")
                pages = "len=32768" if event == "descriptor" else "npages=8"
                expect(all(pages in line for line in lines), f"not 8 pages: {lines}")
            expect(attribute(uuid, "stats/pages_written") == "24", "not 24 pages")


def config_space(uuid):
    """Config space as a VMM reads it, in the format of lspci -F."""
    group = (DEVICES / uuid / "iommu_group").resolve().name
    container = os.open("/dev/vfio/vfio", os.O_RDWR)
    handle = os.open(f"/dev/vfio/{group}", os.O_RDWR)
    device = -1
    try:
        fcntl.ioctl(handle, VFIO_GROUP_SET_CONTAINER, struct.pack("i", container))
        fcntl.ioctl(container, VFIO_SET_IOMMU, VFIO_TYPE1V2_IOMMU)
        # With a mutable buffer, ioctl() returns what the kernel returns.
        device = fcntl.ioctl(handle, VFIO_GROUP_GET_DEVICE_FD, bytearray(uuid.encode() + b"\0"))
        data = os.pread(device, 256, CONFIG_REGION)
    finally:
        for file in (device, handle, container):
            if file >= 0:
                os.close(file)
    rows = [f"{at:02x}: " + " ".join(f"{byte:02x}" for byte in data[at:at + 16])
            for at in range(0, 256, 16)]
    return "\n".join(["00:01.0 mdma", *rows, ""])


def lspci_understands_it():
    """lspci finds each capability where it should be, and as it should be."""
    with defined("mdma-4") as uuid:
        run("mdevctl", "start", "-u", uuid)
        dump = Path("/tmp/mdma.config")
        dump.write_text(config_space(uuid))
        text = run("lspci", "-F", dump, "-vvv", "-nn")
        expect("[1234:6d64]" in text, f"not our IDs: {text}")
        for pattern in LSPCI:
            expect(re.search(pattern, text), f"no '{pattern}' in:\n{text}")


def unload_is_refused_while_open():
    """The module stays while somebody has the device open; then it goes, with its devices."""
    with defined("mdma-1") as uuid:
        run("mdevctl", "start", "-u", uuid)
        with vmm(uuid):
            done = subprocess.run(["rmmod", "mdma"], capture_output=True, text=True,
                                  check=False)
            expect(done.returncode and "in use" in done.stderr,
                   f"rmmod: {done.returncode} {done.stderr}")
            expect(attribute(uuid, "workload/run") == "0", "the device is gone")
        for _ in range(TIMEOUT_OF_ONE * 10):
            if Path("/sys/module/mdma/refcnt").read_text().strip() == "0":
                break
            time.sleep(0.1)
        run("rmmod", "mdma")
        for path in (DEVICES / uuid, DEBUG, Path("/sys/class/mdev_bus/mdma")):
            expect(not path.exists(), f"{path} is there still")
        run("modprobe", "mdma")
        run("mdevctl", "start", "-u", uuid)
        expect(attribute(uuid, "channels") == "1", "not there again")


def parent_is_of_the_class_that_is_chosen():
    """The parent's class is a module parameter; an invalid name is refused."""
    run("rmmod", "mdma")
    try:
        for wrong in ("", "a/b"):
            done = subprocess.run(["modprobe", "mdma", f"class_name={wrong}"],
                                  capture_output=True, text=True, check=False)
            expect("Invalid argument" in done.stderr, f"class_name={wrong}: {done}")
        run("modprobe", "mdma", "class_name=mtty")
        expect(Path("/sys/class/mtty/mdma").is_dir(), "not in the class that was chosen")
        expect(Path("/sys/class/mdev_bus/mdma/mdev_supported_types/mtty-1").is_dir(),
               "no parent of mdevs")
        expect(not Path("/sys/class/mdma").exists(), "in its own class as well")
        run("rmmod", "mdma")
        expect(not Path("/sys/class/mtty").exists(), "the class is left behind")
    finally:
        mdev.load()


def ledger(uuid):
    """The ledger of a device."""
    return (DEBUG / uuid / "ledger").read_bytes()


def replay(uuid, file):
    """Replay a trace on a device that is open."""
    workload = DEVICES / uuid / "workload"
    (workload / "trace").write_bytes(Path(file).read_bytes())
    (workload / "pattern").write_text("trace\n")
    (workload / "run").write_text("1\n")
    for _ in range(TIMEOUT_OF_ONE * 10):
        if attribute(uuid, "workload/run") == "0":
            return
        time.sleep(0.1)
    raise Wrong("the trace does not end")


def trace_is_recorded_and_replayed():
    """A device that replays another device's trace has the same ledger."""
    file = "/tmp/mdma.trace"
    recorded = {"batch": "3", "pattern": "random", "direction": "mixed", "seed": "5",
                "window": "0x0-0xfffff"}
    with defined("mdma-1", **recorded) as uuid, defined("mdma-1") as other:
        for one in (uuid, other):
            run("mdevctl", "start", "-u", one)
        with vmm(uuid), vmm(other):
            run("mdma-trace", "record", uuid, file, "sh", "-c",
                f"cd {DEVICES / uuid}/workload; echo 200 > step; echo 1500 > hold_ms; "
                "echo 1 > step; until grep -qx 0 ../stats/pinned; do sleep 0.1; done; "
                "echo rw > access; echo 20 > step")
            shown = run("mdma-trace", "show", file).splitlines()
            # By vfio_dma_rw(), each page is written alone, and a read leaves no event.
            expect(len(shown) > 201, f"{len(shown)} entries")
            holds = [int(line.rsplit("hold ", 1)[1].split()[0]) for line in shown]
            # All others are given back as fast as the host can, one after the other: it may be late
            # now and then.
            expect(1400 < holds[200] < TIMEOUT_OF_ONE * 1000, f"held for {holds[200]} ms")
            expect(sorted(holds)[len(holds) // 2] < 1400, f"holds of {holds}")
            replay(other, file)
            expect(attribute(other, "stats/seq") == attribute(uuid, "stats/seq"), "other seq")
            expect(len(ledger(uuid)) > 0 and ledger(other) == ledger(uuid), "another ledger")
            expect(attribute(other, "stats/pages_read") != "0", "nothing is read")


TESTS = (by_hand_works_as_written, mdevctl_keeps_attributes, mdevctl_names_what_is_refused,
         trace_cmd_tells_all, trace_is_recorded_and_replayed, lspci_understands_it,
         unload_is_refused_while_open, parent_is_of_the_class_that_is_chosen,
         device_of_another_class_does_not_start, autostart_where_udev_finds_mdevctl)


def play(test):
    """The result of a test."""
    print(f"citizen: {test.__name__}", flush=True)
    try:
        test()
    except (Wrong, OSError, subprocess.SubprocessError) as err:
        print(f"{test.__name__}: {err}", flush=True)
        return ktap.Result(test.__name__, ktap.FAILED, str(err))
    return ktap.Result(test.__name__, ktap.PASSED)


def main(argv):
    """Run them; the exit code is 0 only if all pass."""
    directory, values = arguments.read(__doc__, KEYS, argv)
    mdev.load_given(SimpleNamespace(backend=values["backend"]))
    with ExitStack() as stack:
        if values["device"]:
            stack.enter_context(in_its_place(values["device"]))
        results = [play(test) for test in TESTS]
    return ktap.leave(results, directory, "citizen")


if __name__ == "__main__":
    entry.run(main)
