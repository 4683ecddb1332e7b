# SPDX-License-Identifier: GPL-2.0-only
"""A host with libvirt, in a lab that has a wire to a second one.

The scenario runs on one of them and has both as a LibvirtHost: its own, and the other's by
XML-RPC, where it must be able to ask for the same things.
"""

import os
import pwd
import shutil
import subprocess
import tempfile
import time
import uuid as uuids
from contextlib import ExitStack
from pathlib import Path
from xmlrpc.client import ServerProxy
from xmlrpc.server import SimpleXMLRPCServer

from base import say, site
from judge import ram
from play import backend, mdev, trace

# Their names, and their network: they are alone on the wire.
NAMES = ("host-a", "host-b")
NETWORK = "10.109.100."
PORT = 8109
IMAGES = Path("/var/lib/libvirt/images")
LOGS = Path("/var/log/libvirt/qemu")
SHM = Path("/dev/shm")
# Seconds that a program may take; a migration has no limit here.
PATIENCE = 120


class HostError(Exception):
    """A program failed on a host; the text is what it said."""


def run(*argv, patience=PATIENCE):
    """What a program prints; it must succeed."""
    done = subprocess.run([str(word) for word in argv], capture_output=True, text=True,
                          check=False, timeout=patience, stdin=subprocess.DEVNULL)
    if done.returncode:
        raise HostError(f"{' '.join(map(str, argv))}: "
                        f"{(done.stderr or done.stdout).strip() or done.returncode}")
    return done.stdout


def address(name):
    """Of a host on the wire."""
    return f"{NETWORK}{NAMES.index(name) + 1}"


# --- setting up -------------------------------------------------------------


def _network(name):
    run("modprobe", "virtio_net")
    run("ip", "addr", "add", f"{address(name)}/24", "dev", "eth0")
    run("ip", "link", "set", "eth0", "up")
    run("hostname", name)
    Path("/etc/hosts").write_text("127.0.0.1 localhost\n" + "".join(
        f"{address(one)} {one}\n" for one in NAMES))
    # libvirt refuses to migrate to a host that has its own identity
    Path("/etc/machine-id").write_text(uuids.uuid4().hex + "\n")


def _devices():
    run("/usr/lib/systemd/systemd-udevd", "--daemon")
    run("udevadm", "trigger", "--action=add")
    run("udevadm", "settle", "--timeout=60")


def _daemons():
    Path("/run/sshd").mkdir(exist_ok=True)
    run("ssh-keygen", "-A")
    run("/usr/sbin/sshd")
    Path("/run/dbus").mkdir(exist_ok=True)
    run("dbus-daemon", "--system", "--fork")
    run("virtlogd", "-d")
    run("libvirtd", "-d")
    run("virsh", "-c", "qemu:///system", "version", "--daemon")


# --- a host -----------------------------------------------------------------


class LibvirtHost:
    """What a scenario asks of a host. Text, numbers, lists and dictionaries only: it is
    called from the other host as well."""

    def __init__(self, name, results):
        self.name = name
        self.results = Path(results)
        self.open, self.tracer = ExitStack(), None
        self.ram = None
        self.commands = {}

    def set_up(self):
        """From a lab to a host with libvirt."""
        _network(self.name)
        _devices()
        _daemons()
        IMAGES.mkdir(parents=True, exist_ok=True)
        shutil.copy(site.built("guest/vmlinuz"), IMAGES / "mdma-guest.vmlinuz")
        shutil.copy(site.built("guest/initramfs.cpio.gz"), IMAGES / "mdma-guest.initramfs")
        return True

    def new_key(self):
        """A key of root's, for ssh to the other host."""
        path = Path("/root/.ssh/id_ed25519")
        path.parent.mkdir(mode=0o700, exist_ok=True)
        run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", path)
        return path.with_suffix(".pub").read_text()

    def trust(self, user_key):
        """Let the owner of a key in; returns the host's own key, by which to know it."""
        path = Path("/root/.ssh/authorized_keys")
        path.parent.mkdir(mode=0o700, exist_ok=True)
        path.write_text(user_key)
        return f"{self.name} {Path('/etc/ssh/ssh_host_ed25519_key.pub').read_text()}"

    def know(self, host_key):
        """Another host's key."""
        Path("/root/.ssh/known_hosts").write_text(host_key)
        return True

    def run(self, *argv):
        """Exit code, output and errors of a program."""
        done = subprocess.run(argv, capture_output=True, text=True, check=False,
                              timeout=PATIENCE, stdin=subprocess.DEVNULL)
        return [done.returncode, done.stdout, done.stderr.strip()]

    def start(self, label, *argv):
        """Start a program and do not wait."""
        # pylint: disable=consider-using-with
        self.commands[label] = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True,
                                                stderr=subprocess.STDOUT,
                                                stdin=subprocess.DEVNULL)
        return True

    def ended(self, label):
        """Exit code and output of a program that was started; an empty list until then."""
        child = self.commands[label]
        if child.poll() is None:
            return []
        output = child.communicate()[0]
        del self.commands[label]
        return [child.returncode, output.strip()]

    def write(self, path, text):
        """A file for a program to read."""
        Path(path).write_text(text)
        return True

    def read(self, path, offset=0):
        """A file from there on; nothing where there is none."""
        try:
            return Path(path).read_bytes()[offset:]
        except FileNotFoundError:
            return b""

    def facts(self):
        """Of the machine and its software."""
        return {"kernel": os.uname().release, "backend": backend.name(),
                "machine_id": Path("/etc/machine-id").read_text().strip()}

    def load_backend(self, wanted):
        """Exchange vfio_iommu_type1; see backend.load()."""
        backend.load(wanted)
        return backend.name()

    def load_mdma(self, class_name):
        """Load mdma with its parent in this class."""
        mdev.load(None, f"class_name={class_name}")
        run("udevadm", "settle", f"--timeout={PATIENCE}")
        return True

    def unload_mdma(self):
        """For somebody else to load it."""
        run("rmmod", "mdma")
        return True

    def confinement(self, domain):
        """What libvirt lets a domain's QEMU do: user, limit of locked memory (bytes),
        whether it has a mount namespace of its own, and what it sees in /dev/vfio."""
        process = self._process(domain)
        limit = next(line.split()[3] for line in (process / "limits").read_text().splitlines()
                     if line.startswith("Max locked memory"))
        namespaces = {os.readlink(path / "ns/mnt") for path in (process, Path("/proc/self"))}
        return {"user": pwd.getpwuid(process.stat().st_uid).pw_name, "memlock": limit,
                "own_mounts": len(namespaces) == 2,
                "vfio": sorted(os.listdir(process / "root/dev/vfio"))}

    # The device.

    def set(self, uuid, settings):
        """Attributes of the device's workload."""
        mdev.of(uuid).set(**settings)
        return True

    def settings(self, uuid):
        """All of them."""
        return mdev.of(uuid).settings()

    def stat(self, uuid, name):
        """One counter of the device. As text: it may be too long for XML-RPC."""
        return str(mdev.of(uuid).stat(name))

    def mdev_state(self, uuid):
        """Where the device is in the migration protocol."""
        return mdev.of(uuid).state()

    # Evidence.

    def trace(self, events, uuid, buffer_kb, room_mb):
        """Begin to trace, and slow the device with this UUID if need be. In memory: the lab's
        results are slow to write to."""
        directory = Path(self.open.enter_context(
            tempfile.TemporaryDirectory(prefix="mdma-", dir=SHM)))
        self.tracer = self.open.enter_context(trace.Tracer(
            "mdma-proof", events, buffer_kb, directory, mdevs=[mdev.of(uuid)], room_mb=room_mb))
        return True

    def end_trace(self, directory):
        """End it; with a directory (below the results), leave what was seen there."""
        if directory:
            path = self.results / directory
            path.mkdir(parents=True, exist_ok=True)
            self.tracer.collect()
            shutil.move(self.tracer.directory, path)
        self.open.close()
        return True

    def save_ledger(self, uuid, directory):
        """The device's ledger; it stays when QEMU has gone."""
        path = self.results / directory
        path.mkdir(parents=True, exist_ok=True)
        (path / "ledger.bin").write_bytes(mdev.of(uuid).ledger())
        return True

    def hold_ram(self, domain):
        """Keep the memory of a guest, also when its QEMU ends: the memfd of it."""
        self.drop_ram()
        self.ram = ram.RamFile(os.open(self._memfd(domain), os.O_RDONLY))
        return True

    def copy_ram(self, domain):
        """Keep a copy of it as it is now. Returns how long an idle machine takes for it."""
        self.hold_ram(domain)
        copy = ram.Copy(self.ram.descriptor)
        self.drop_ram()
        self.ram = copy
        return copy.idle_s

    def drop_ram(self):
        """Let it go."""
        if self.ram is not None:
            self.ram.close()
            self.ram = None
        return True

    def ram_digests(self):
        """A digest of each page of the memory that is held, one after the other."""
        return ram.digests(self.ram)

    def ram_stamps(self, pages):
        """What the device wrote last into each of these pages; None for no stamp."""
        return ram.stamp_numbers(self.ram, pages)

    @staticmethod
    def _process(domain):
        """The /proc of a domain's QEMU."""
        return Path("/proc", Path(f"/run/libvirt/qemu/{domain}.pid").read_text().strip())

    def _memfd(self, domain):
        """Where QEMU has the guest's memory, which has to be of <source type='memfd'/>."""
        found = [path for path in (self._process(domain) / "fd").iterdir()
                 if os.readlink(path).startswith("/memfd:memory-backend-memfd")]
        if len(found) != 1:
            raise HostError(f"QEMU of {domain} has {len(found)} memfds of guest memory")
        return found[0]


# --- from one host to the other ---------------------------------------------


def serve(name, results):
    """Be a host for the other one, until that says that it ends."""
    host, ended = LibvirtHost(name, results), []
    host.set_up()
    with SimpleXMLRPCServer((address(name), PORT), logRequests=False,
                            allow_none=True) as server:
        server.register_instance(host)
        server.register_function(lambda: ended.append(True) or True, "end")
        while not ended:
            server.handle_request()


def other(name, patience=PATIENCE):
    """The other host, as soon as it serves."""
    proxy = ServerProxy(f"http://{address(name)}:{PORT}", allow_none=True,
                        use_builtin_types=True)
    deadline = time.monotonic() + patience
    while True:
        try:
            proxy.facts()
            return proxy
        except OSError as error:
            if time.monotonic() > deadline:
                raise say.LabError(f"{name} does not answer: {error}") from error
            time.sleep(0.5)
