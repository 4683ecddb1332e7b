# SPDX-License-Identifier: GPL-2.0-only
"""A guest of libvirt's: its XML, and the virsh commands for it.

A host is a libvirt_host.LibvirtHost, or a proxy of the one at the other end of the wire.
"""

import json
import re
import time
from xml.etree import ElementTree

from base import qemu_events
from base.patience import Patience
from judge import memory_map, ram
from play import readme
from play.libvirt_host import LOGS, NAMES, HostError, LibvirtHost

QEMU = "http://libvirt.org/schemas/domain/qemu/1.0"
EVENTS = ("migration_bitmap_sync_start", *qemu_events.GETS)
UNLIMITED = 1 << 14
# Seconds between two looks at a migration: each starts virsh anew, which takes time from what is
# looked at. Until the first round has begun, when it begins is to be seen soon.
LOOK_S, SOON_S = 1, 0.2
MIB = 1 << 20
# The attribute of an mdev by which it says itself what is dirty.
LOG = "dirty_log/enabled"


class GuestError(Exception):
    """The guest did not do what was expected of it."""


def iommufd_documented():
    """What libvirt.rst says of a guest on iommufd: the lines that a host needs typed in, and those
    of the guest's XML."""
    return readme.blocks("libvirt.rst", "On iommufd")


def on_iommufd(root):
    """Change a definition as libvirt.rst says: iommufd maps the guest's memory for its device.

    @root: the <domain>
    """
    _, lines = iommufd_documented()
    text = "\n".join(lines)
    for element in ElementTree.fromstring(f"<domain xmlns:qemu='{QEMU}'>{text}</domain>"):
        for former in root.findall(element.tag):
            root.remove(former)
        root.append(element)
    return root


def for_test(root, mem_mb, words):
    """Change a definition for the test: RAM in a memfd that can be compared, QEMU's log of each
    round, words for the guest's kernel, and no clock page that KVM writes itself.

    @root: the <domain>
    """
    ElementTree.register_namespace("qemu", QEMU)
    root.find("memory").text = str(mem_mb)
    backing = ElementTree.SubElement(root, "memoryBacking")
    ElementTree.SubElement(backing, "source", type="memfd")
    ElementTree.SubElement(backing, "access", mode="shared")
    clock = ElementTree.SubElement(root, "clock", offset="utc")
    for timer in ("kvmclock", "hpet"):
        ElementTree.SubElement(clock, "timer", name=timer, present="no")
    command = root.find("os/cmdline")
    command.text = " ".join([command.text, *words])
    more = root.find(f"{{{QEMU}}}commandline")
    if more is None:
        more = ElementTree.SubElement(root, f"{{{QEMU}}}commandline")
    for event in EVENTS:
        for word in ("-trace", event):
            ElementTree.SubElement(more, f"{{{QEMU}}}arg", value=word)
    return root


class Pace:
    """Holds a migration back until there is enough to judge, then lets it end.

    The bandwidth limit goes first and the downtime limit later, so that QEMU estimates the
    downtime with the real bandwidth. A machine that is too slow to converge gets a longer
    downtime.
    """

    def __init__(self, rounds, pages, downtime_ms):
        self.rounds, self.pages, self.downtime_ms = rounds, pages, downtime_ms
        self.steps = 0

    def next(self, rounds, pages):
        """The virsh commands that are due now: lists of words."""
        if rounds < self.rounds or pages < self.pages:
            return []
        self.steps += 1
        if self.steps == 1:
            self.rounds = rounds + 2
            return [["migrate-setspeed", str(UNLIMITED)]]
        self.rounds = rounds + 4
        return [["migrate-setmaxdowntime", str(self.downtime_ms << (self.steps - 2))]]


def compare_ram(source, destination):
    """Compare the guest's RAM on the two hosts, page by page."""
    memory_map.check_same(source.ram_layout(), destination.ram_layout())
    one, other = source.ram_digests(), destination.ram_digests()
    pages = [offset // ram.DIGEST for offset in range(0, len(one), ram.DIGEST)
             if one[offset:offset + ram.DIGEST] != other[offset:offset + ram.DIGEST]]
    seqs = [host.ram_stamps(pages) for host in (source, destination)]
    names = json.loads(source.ram_names(pages))
    for host in (source, destination):
        host.drop_ram()
    return {"pages_compared": len(one) // ram.DIGEST, "pages_different": len(pages),
            "different": [{**name, "source_seq": left and int(left),
                           "destination_seq": right and int(right)}
                          for name, left, right in zip(names, *seqs)]}


def last_words(output):
    """The last output of virsh migrate --verbose, without its progress."""
    return re.sub(r"\s*Migration: \[ *[\d.]+ %\]", "", output).strip()


def raw(text):
    """Parse domjobinfo --rawstats, "name: value" a line: name -> number or text."""
    found = {}
    for line in text.splitlines():
        name, colon, value = line.strip().partition(": ")
        if colon:
            found[name] = int(value) if value.isdecimal() else value
    return found


class Guest:
    """One domain with one mdev, on any host."""

    def __init__(self, root, patience, logs=False):
        """@logs: whether the mdev itself says what is dirty"""
        self.logs = logs
        self.xml = ElementTree.tostring(root, encoding="unicode")
        self.name = root.find("name").text
        self.mem_mb = int(root.find("memory").text)
        self.mdev = root.find("devices/hostdev/source/address").get("uuid")
        self.console = root.find("devices/serial/source").get("path")
        self.log_path = str(LOGS / f"{self.name}.log")
        self.log_begin = {}
        # Number of the device's next page write.
        self.next_seq = 1
        self.patience = patience

    def virsh(self, host, *words):
        """The output of virsh, which must succeed."""
        code, output, errors = host.run("virsh", "-q", "-c", "qemu:///system", *words)
        if code:
            raise HostError(f"virsh {' '.join(words)}: {errors or output.strip()}")
        return output

    def tell(self, host, *words):
        """Run virsh COMMAND DOMAIN VALUE on a migration, which may be over already."""
        command, value = words
        host.run("virsh", "-q", "-c", "qemu:///system", command, self.name, value)

    # The mdev.

    def define_mdev(self, host, mdev_type):
        """Define and start the mdev with mdevctl."""
        self.mdevctl(host, "define", "-u", self.mdev, "-p", "mdma", "-t", mdev_type)
        if self.logs:
            self.mdevctl(host, "modify", "-u", self.mdev, "--addattr", LOG, "--value", "1")
        self.start_mdev(host)

    def start_mdev(self, host):
        """Start the mdev, and let udev do with it what its rules say."""
        self.mdevctl(host, "start", "-u", self.mdev)
        host.settle()

    def define_nodedev(self, host, text):
        """The same with virsh, by the XML @text."""
        host.write("/tmp/nodedev.xml", text)
        self.virsh(host, "nodedev-define", "/tmp/nodedev.xml")
        self.virsh(host, "nodedev-start", f"mdev_{self.mdev.replace('-', '_')}_mdma")
        host.settle()

    def mdevctl(self, host, *words):
        """Run mdevctl, which must succeed."""
        code, _, errors = host.run("mdevctl", *words)
        if code:
            raise HostError(f"mdevctl {' '.join(words)}: {errors}")

    # The domain.

    def begin(self, host):
        """Define and start the domain."""
        host.write("/tmp/guest.xml", self.xml)
        self.virsh(host, "define", "/tmp/guest.xml")
        self.virsh(host, "start", self.name)

    def destroy(self, host):
        """Make sure that the domain is gone."""
        for command in ("destroy", "undefine"):
            host.run("virsh", "-q", "-c", "qemu:///system", command, self.name)

    def log(self, host):
        """QEMU's log."""
        return host.read(self.log_path).decode(errors="replace")

    def mark_log(self, host):
        """QEMU's log from here on belongs to the next leg."""
        self.log_begin[host_name(host)] = len(host.read(self.log_path))

    def qemu_version(self, host):
        """QEMU's version, as libvirt wrote it to the log."""
        found = re.findall(r"qemu version: ([^\n,]*)", self.log(host))
        return found[-1].strip() if found else None

    def migrate(self, source, destination, *words):
        """Start a live migration; migrated() reports its end."""
        self.migrate_by(source, "virsh", "-c", "qemu:///system", "migrate", "--live",
                        "--verbose", *words, self.name,
                        f"qemu+ssh://root@{host_name(destination)}/system")

    def migrate_by(self, source, *argv):
        """The same by a program of the caller's."""
        source.start("migrate", *argv)

    def migrated(self, source):
        """Exit code and last output of virsh migrate; an empty list while it runs."""
        done = source.ended("migrate")
        return [done[0], last_words(done[1])] if done else []

    def follow(self, source, seen):
        """Wait until the migration from here ends; a migration without progress is aborted.

        @seen: called with each sample(); returns the virsh commands that are due
        Return: exit code and last output of virsh migrate
        """
        patience = Patience(self.patience)
        while not (done := self.migrated(source)):
            if sample := self.sample(source):
                patience.progress(sample["rounds"], sample["transferred"])
                for words in seen(sample):
                    self.tell(source, *words)
            if patience.exhausted():
                self._abort(source)
                raise GuestError(f"the migration made no progress for {self.patience} s")
            time.sleep(LOOK_S if sample and sample["rounds"] else SOON_S)
        return done

    def _abort(self, source):
        """End a migration, so that the hosts can go on."""
        self.virsh(source, "domjobabort", self.name)
        deadline = time.monotonic() + self.patience
        while not self.migrated(source) and time.monotonic() < deadline:
            time.sleep(0.2)

    def sample(self, host):
        """One point of the charts; None if no migration runs at the moment."""
        code, text, _ = host.run("virsh", "-q", "-c", "qemu:///system", "domjobinfo",
                                 self.name, "--rawstats")
        stats = raw(text)
        if code or "memory_iteration" not in stats:
            return None
        return {"time": time.time(), "status": "active", "rounds": stats["memory_iteration"],
                "remaining": stats.get("memory_remaining", 0),
                "transferred": stats.get("memory_processed", 0),
                "expected_downtime": stats.get("downtime"), "vfio": stats.get("vfio_data")}

    def completed(self, host):
        """libvirt's statistics of the migration that has just ended."""
        text = self.virsh(host, "domjobinfo", self.name, "--completed", "--rawstats")
        stats = raw(text)
        return dict(stats, rounds=stats["memory_iteration"], downtime=stats["downtime"])

    # The console.

    def console_text(self, host):
        """The guest's console output since it came to this host."""
        return host.read(self.console).decode(errors="replace")

    def passed(self, host):
        """How many checks of the guest passed on this host."""
        return self.console_text(host).count("MDMA-GUEST pass")

    def wait_console(self, host, pattern, patience, count=1):
        """Wait until @pattern is on the console @count times."""
        deadline = time.monotonic() + patience
        while (text := self.console_text(host)).count(pattern) < count:
            if time.monotonic() > deadline:
                raise GuestError(f"no '{pattern}' on the console in {patience:.0f} s; "
                                 f"it ends: {text.strip()[-300:]!r}")
            time.sleep(0.3)

    def collect(self, host, directory, role):
        """Save the console and QEMU's log; the log from where the leg began."""
        (directory / f"{role}.serial").write_bytes(host.read(self.console))
        begin = self.log_begin.get(host_name(host), 0)
        (directory / f"{role}.qemu").write_bytes(host.read(self.log_path, begin))


def host_name(host):
    """The name of a host, this one or the other."""
    return NAMES[0] if is_here(host) else NAMES[1]


def is_here(host):
    """Whether a host is the one that runs the scenario; the other one is a proxy."""
    return isinstance(host, LibvirtHost)
