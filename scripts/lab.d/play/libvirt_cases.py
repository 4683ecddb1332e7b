# SPDX-License-Identifier: GPL-2.0-only
"""What else virsh does to a guest with an mdma device. Each thing must work, or be refused with an
explanation, and the guest must not suffer from it."""

import time
import uuid as uuids
from xml.etree import ElementTree
from xmlrpc.client import Error as RpcError

from play import readme
from play.guest_vm import by_iommufd
from play.libvirt_guest import GuestError, Pace, host_name
from play.libvirt_host import IMAGES, HostError

# Of libvirt's on a host: a domain's definition for another one.
CHANGED = "/tmp/changed.xml"
EXAMPLE = readme.TREE / "samples/vfio-mdev/mdma/libvirt/mdma-guest.xml"
# libvirt's own ways to have devices on iommufd: each an element, and where it belongs; and what a
# QEMU says that is not told of it, and has no type1.
NO_CONTAINER = "No available IOMMU models"
OWN_WAYS = (("<driver iommufd='yes'/>", "devices/hostdev"), ("<iommufd enabled='yes'/>", "."))
# MiB/s: slow enough that a migration can be caught halfway by polling four times a second.
SLOW = 8
# The downtime that QEMU may aim at, in ms: what it has by default, and enough for whatever the
# guest's device can have written on a machine of any speed.
DEFAULT_DOWNTIME, ANY_DOWNTIME = 300, 60_000


class Wrong(Exception):
    """Something is not as it must be."""


def expect(good, text):
    """Fail with this text."""
    if not good:
        raise Wrong(text)


def type_in(host, lines):
    """The output of a shell on a host that runs these lines in the tree whose files they name."""
    code, output, errors = host.run("bash", "-e", "-c",
                                    "\n".join([f"cd {readme.TREE}", *lines]))
    expect(not code, f"{'; '.join(lines)}: {errors or output.strip()}")
    return output


def played(case):
    """Play a case: (name, None or what is wrong, what was seen)."""
    name = case.__name__.replace("_", " ")
    begin, seen, wrong = time.monotonic(), "", None
    try:
        seen = case()
    except (Wrong, HostError, GuestError, RpcError, OSError) as error:
        wrong = f"{type(error).__name__}: {error}"
    print(f"libvirt: {name}: {wrong or 'ok'} ({time.monotonic() - begin:.0f} s)  {seen}",
          flush=True)
    return name, wrong, seen


class Cases:
    """The cases, which follow one another: the guest runs here at the begin, and is gone at the
    end."""

    def __init__(self, guest, config, here, there):
        self.guest, self.config, self.here, self.there = guest, config, here, there
        # The device that this host must have in the end.
        self.former = guest.mdev

    def play(self):
        """Results as (name, None or what is wrong, what was seen)."""
        results = [played(case) for case in (self.security, self.no_such_mdev, self.snapshot,
                                             self.abort, self.second_try, self.another_uuid,
                                             self.save)]
        self.guest.destroy(self.here)
        self.guest.destroy(self.there)
        self._change_mdev(self.former)
        return results

    def play_last(self):
        """The same for the case that neither needs nor leaves a guest."""
        return [played(self.own_ways if by_iommufd(self.config) else self.as_documented)]

    def _goes_on(self, host):
        """The guest's next checks pass, and its device writes. What passed before is no sign of
        that."""
        guest = self.guest
        before = guest.passed(host)
        seq = int(host.stat(guest.mdev, "seq"))
        guest.wait_console(host, "MDMA-GUEST pass", self.config.patience,
                           before + self.config.checks)
        expect("MDMA-GUEST fail" not in guest.console_text(host), "a check of the guest failed")
        expect(int(host.stat(guest.mdev, "seq")) > seq, "the device writes no more")

    def _migrate(self, *words):
        """Exit code and last words of a migration from here to there."""
        self.guest.migrate(self.here, self.there, *words)
        return self._end()

    def _migrate_by(self, line):
        """Last words of the migration that a shell does by this line."""
        self.guest.migrate_by(self.here, "bash", "-c", f"cd {readme.TREE} && {line}")
        code, words = self._end()
        expect(not code, words)
        return words

    def _end(self, source=None):
        """Exit code and last words of the migration, from here if @source is not given. However
        slow the machine is, it ends: the downtime that it may have grows."""
        pace = Pace(2, 0, self.config.downtime_limit_ms)
        return self.guest.follow(source or self.here,
                                 lambda sample: pace.next(sample["rounds"], 0))

    def _allow_downtime(self, limit_ms):
        """The downtime that the guest may have here from now on."""
        self.guest.virsh(self.here, "migrate-setmaxdowntime", self.guest.name, str(limit_ms))

    def _change_mdev(self, uuid):
        """This host has a device with this UUID, and no other one."""
        guest, here = self.guest, self.here
        if uuid == guest.mdev:
            return
        for word in ("stop", "undefine"):
            guest.mdevctl(here, word, "-u", guest.mdev)
        guest.mdev = uuid
        guest.define_mdev(here, self.config.type)

    def security(self):
        """Nothing is relaxed: QEMU is as confined as libvirt does by default."""
        seen = self.here.confinement(self.guest.name)
        expect(seen["user"] == "libvirt-qemu", f"QEMU runs as {seen['user']}")
        expect(seen["own_mounts"], "QEMU has no mount namespace of its own")
        # The device's group and "vfio", and on iommufd the directory of what the host allows.
        expect(len(seen["vfio"]) == 2 + by_iommufd(self.config),
               f"QEMU sees {seen['vfio']} in /dev/vfio")
        # Guest memory, and one GiB for everything else that is pinned: libvirt's formula.
        expect(seen["memlock"] == str((self.guest.mem_mb + 1024) << 20),
               f"QEMU may lock {seen['memlock']} bytes")
        return f"user {seen['user']}, {seen['memlock']} bytes may be locked"

    def no_such_mdev(self):
        """A migration to a host without such a device is refused."""
        guest = self.guest
        guest.mdevctl(self.there, "stop", "-u", guest.mdev)
        try:
            code, words = self._migrate()
        finally:
            guest.start_mdev(self.there)
        expect(code, "migrated to a host without the device")
        expect(guest.mdev in words, f"the refusal does not name the device: {words}")
        self._goes_on(self.here)
        return words

    def snapshot(self):
        """Memory and device are written to a file while the guest runs."""
        path = IMAGES / "mdma-guest.mem"
        # With the default downtime QEMU writes until it converges, which a slow machine never does.
        self._allow_downtime(ANY_DOWNTIME)
        try:
            self.guest.virsh(self.here, "snapshot-create-as", self.guest.name, "mdma", "--live",
                             "--memspec", f"file={path},snapshot=external")
        finally:
            self._allow_downtime(DEFAULT_DOWNTIME)
        # libvirt does not migrate a domain that has snapshots.
        self.guest.virsh(self.here, "snapshot-delete", self.guest.name, "mdma", "--metadata")
        self._goes_on(self.here)
        size = path.stat().st_size
        path.unlink()
        expect(size > 1 << 20, f"the snapshot is {size} bytes")
        return f"{size >> 20} MiB"

    def abort(self):
        """domjobinfo shows a migration, domjobabort ends it, and the guest continues here."""
        guest = self.guest
        # Held back: it ends by itself only if nothing at all is left to be sent.
        self._allow_downtime(1)
        try:
            guest.migrate(self.here, self.there, "--bandwidth", str(SLOW),
                          "--available-switchover-bandwidth", "1")
            deadline = time.monotonic() + self.config.patience
            while not ((sample := guest.sample(self.here)) and sample["transferred"]):
                expect(time.monotonic() < deadline, "domjobinfo sees no migration")
                time.sleep(0.25)
            guest.virsh(self.here, "domjobabort", guest.name)
            code, words = self._end()
        finally:
            self._allow_downtime(DEFAULT_DOWNTIME)
        expect(code, "migrated, though it was aborted")
        self._goes_on(self.here)
        return words

    def second_try(self):
        """A migration after that succeeds, with multifd and auto-converge."""
        code, words = self._migrate("--auto-converge", "--parallel", "--parallel-connections",
                                    "2")
        expect(not code, words)
        self._goes_on(self.there)
        return "with --auto-converge --parallel"

    def another_uuid(self):
        """Back to here, where the device has another UUID now: the definition for the destination
        says which."""
        guest, here, there = self.guest, self.here, self.there
        xml = guest.virsh(there, "dumpxml", "--migratable", guest.name)
        expect(self.former in xml, "the guest's definition does not name its device")
        self._change_mdev(str(uuids.uuid4()))
        there.write(CHANGED, xml.replace(self.former, guest.mdev))
        guest.migrate(there, here, "--xml", CHANGED)
        code, words = self._end(there)
        expect(not code, words)
        self._goes_on(here)
        return f"{self.former} there, {guest.mdev} here"

    def save(self):
        """Save the guest to a file, and restore it."""
        path = str(IMAGES / "mdma-guest.save")
        self.guest.virsh(self.here, "save", self.guest.name, path)
        self.guest.virsh(self.here, "restore", path)
        self._goes_on(self.here)
        return ""

    def own_ways(self):
        """What libvirt has of its own for iommufd does nothing for an mdev: libvirt refuses it, or
        QEMU is not told and finds no container."""
        return "; ".join(self._own_way(*way) for way in OWN_WAYS)

    def _own_way(self, element, place):
        guest, here = self.guest, self.here
        root = ElementTree.parse(EXAMPLE).getroot()
        root.find(place).append(ElementTree.fromstring(element))
        here.write(CHANGED, ElementTree.tostring(root, encoding="unicode"))
        virsh = ("virsh", "-q", "-c", "qemu:///system")
        code, _, refusal = here.run(*virsh, "define", "--validate", CHANGED)
        expect(not code or "failed to validate against schema" in refusal, refusal)
        try:
            guest.virsh(here, "define", CHANGED)
            before = len(guest.log(here))
            failed, _, words = here.run(*virsh, "start", guest.name)
            told = "iommufd" in guest.log(here)[before:]
        finally:
            guest.destroy(here)
        expect(failed and not told, f"{element}: libvirt does something now, unlike in libvirt.rst")
        expect(NO_CONTAINER in words, f"{element}: {words}")
        return f"{element} is {'refused' if code else 'accepted'}, and dropped"

    def as_documented(self):
        """Run the commands of libvirt.rst as written, with the files that they name: the device
        by mdevctl here and by libvirt there, the guest, and its migration."""
        guest, here, there = self.guest, self.here, self.there
        for host in (here, there):
            guest.mdevctl(host, "stop", "-u", guest.mdev)
            guest.mdevctl(host, "undefine", "-u", guest.mdev)
        there.unload_mdma()
        by_mdevctl, by_libvirt, migrate = readme.blocks("libvirt.rst", "On your own hosts")
        words = ""
        try:
            type_in(here, by_mdevctl)
            type_in(there, by_libvirt)
            for line in migrate:
                if "migrate" in line:
                    guest.wait_console(here, "MDMA-GUEST pass", self.config.patience)
                    words = self._migrate_by(line.replace("OTHER", host_name(there)))
                else:
                    type_in(here, [line])
            self._goes_on(there)
        finally:
            guest.destroy(here)
            guest.destroy(there)
        return words
