# SPDX-License-Identifier: GPL-2.0-only
"""A host with libvirt, in a lab that has a wire to a second one.

The scenario runs on one of them, and has a LibvirtHost for each: its own, and an XML-RPC proxy for
the other, where the same things must be possible.
"""

import json
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
import uuid as uuids
from contextlib import ExitStack
from pathlib import Path
from xmlrpc.client import ServerProxy
from xmlrpc.server import SimpleXMLRPCServer

from base import say, site
from judge import moves, proof, ram
from play import backend, mdev, ram_files, trace

# The hosts' names and their network; nothing else is on the wire.
NAMES = ("host-a", "host-b")
NETWORK = "10.109.100."
PORT = 8109
IMAGES = Path("/var/lib/libvirt/images")
LOGS = Path("/var/log/libvirt/qemu")
PID = Path("/run/libvirtd.pid")
SHM = Path("/dev/shm")
# Time limit of a program in seconds; a migration has none here.
PATIENCE = 120


class HostError(Exception):
    """A program failed on a host; the text is what it said."""


def _done(argv, patience):
    """Exit code, output and errors of a program. One that does not end has failed."""
    try:
        done = subprocess.run(argv, capture_output=True, text=True, check=False,
                              timeout=patience, stdin=subprocess.DEVNULL)
    except subprocess.TimeoutExpired:
        return [124, "", f"no end in {patience} s"]
    return [done.returncode, done.stdout, done.stderr.strip()]


def run(*argv, patience=PATIENCE):
    """The output of a program, which must succeed."""
    code, output, errors = _done([str(word) for word in argv], patience)
    if code:
        raise HostError(f"{' '.join(map(str, argv))}: {errors or output.strip() or code}")
    return output


def address(name):
    """The address of a host on the wire."""
    return f"{NETWORK}{NAMES.index(name) + 1}"


# --- setting up -------------------------------------------------------------


def _network(name):
    run("modprobe", "virtio_net")
    run("ip", "addr", "add", f"{address(name)}/24", "dev", "eth0")
    run("ip", "link", "set", "eth0", "up")
    run("hostname", name)
    Path("/etc/hosts").write_text("127.0.0.1 localhost\n" + "".join(
        f"{address(one)} {one}\n" for one in NAMES))
    # libvirt refuses to migrate to a host with its own identity.
    Path("/etc/machine-id").write_text(uuids.uuid4().hex + "\n")


def _devices():
    run("/usr/lib/systemd/systemd-udevd", "--daemon")
    run("udevadm", "trigger", "--action=add")
    _settle()


def _settle():
    run("udevadm", "settle", f"--timeout={PATIENCE}")


def _daemons():
    Path("/run/sshd").mkdir(exist_ok=True)
    run("ssh-keygen", "-A")
    run("/usr/sbin/sshd")
    Path("/run/dbus").mkdir(exist_ok=True)
    run("dbus-daemon", "--system", "--fork")
    run("virtlogd", "-d")
    _libvirt()


def _libvirt():
    run("libvirtd", "-d")
    run("virsh", "-c", "qemu:///system", "version", "--daemon")


# --- a host -----------------------------------------------------------------


def _backend(container):
    """What maps memory, and what says which of it is dirty."""
    if container == "type1":
        return backend.name()
    return f"{backend.of_iommufd()}, tracking by {backend.name('mdma')}"


class LibvirtHost:
    """What a scenario can do on a host. Arguments and results are text, numbers, lists and
    dictionaries only, since it is also called from the other host."""

    def __init__(self, name, results):
        self.name = name
        self.results = Path(results)
        self.open, self.tracer = ExitStack(), None
        self.ram = None
        self.commands = {}

    def set_up(self):
        """Turn the lab into a host with libvirt."""
        _network(self.name)
        _devices()
        _daemons()
        IMAGES.mkdir(parents=True, exist_ok=True)
        shutil.copy(site.built("guest/vmlinuz"), IMAGES / "mdma-guest.vmlinuz")
        shutil.copy(site.built("guest/initramfs.cpio"), IMAGES / "mdma-guest.initramfs")
        return True

    def new_key(self):
        """Make a key for root, for ssh to the other host."""
        path = Path("/root/.ssh/id_ed25519")
        path.parent.mkdir(mode=0o700, exist_ok=True)
        run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", path)
        return path.with_suffix(".pub").read_text()

    def trust(self, user_key):
        """Allow the owner of a key to log in; returns the host's own key, to recognise it by."""
        path = Path("/root/.ssh/authorized_keys")
        path.parent.mkdir(mode=0o700, exist_ok=True)
        path.write_text(user_key)
        return f"{self.name} {Path('/etc/ssh/ssh_host_ed25519_key.pub').read_text()}"

    def know(self, host_key):
        """Remember the other host's key."""
        Path("/root/.ssh/known_hosts").write_text(host_key)
        return True

    def run(self, *argv):
        """Exit code, output and errors of a program."""
        return _done(argv, PATIENCE)

    def start(self, label, *argv):
        """Start a program and do not wait."""
        # pylint: disable=consider-using-with
        self.commands[label] = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True,
                                                stderr=subprocess.STDOUT,
                                                stdin=subprocess.DEVNULL)
        return True

    def ended(self, label):
        """Exit code and output of a program that was started; an empty list while it runs."""
        child = self.commands[label]
        if child.poll() is None:
            return []
        output = child.communicate()[0]
        del self.commands[label]
        return [child.returncode, output.strip()]

    def write(self, path, text):
        """Write a file for a program."""
        Path(path).write_text(text)
        return True

    def read(self, path, offset=0):
        """Read a file from an offset; nothing if it does not exist."""
        try:
            return Path(path).read_bytes()[offset:]
        except FileNotFoundError:
            return b""

    def settle(self):
        """Wait until udev has done what there is to do."""
        _settle()
        return True

    def allow(self, lines):
        """Type lines that change what libvirt allows QEMU; libvirt reads its settings again."""
        run("bash", "-e", "-c", lines)
        pid = int(PID.read_text())
        os.kill(pid, signal.SIGTERM)
        deadline = time.monotonic() + PATIENCE
        while Path("/proc", str(pid)).exists():
            if time.monotonic() > deadline:
                raise HostError(f"libvirtd does not end in {PATIENCE} s")
            time.sleep(0.1)
        _libvirt()
        return True

    def facts(self, container="type1"):
        """Facts on the machine and its software."""
        return {"kernel": os.uname().release, "backend": _backend(container),
                "machine_id": Path("/etc/machine-id").read_text().strip()}

    def load_backend(self, wanted):
        """Exchange vfio_iommu_type1; see backend.load()."""
        backend.load(wanted)
        return backend.name()

    def load_mdma(self, path, *parameters):
        """Load mdma from a file, or the installed one; see mdev.load()."""
        mdev.load(path, *parameters)
        _settle()
        return True

    def unload_mdma(self):
        """Unload mdma, so that somebody else can load it."""
        run("rmmod", "mdma")
        return True

    def confinement(self, domain):
        """What libvirt allows a domain's QEMU: user, limit of locked memory in bytes, whether it
        has its own mount namespace, and what it sees in /dev/vfio."""
        process = self._process(domain)
        limit = next(line.split()[3] for line in (process / "limits").read_text().splitlines()
                     if line.startswith("Max locked memory"))
        namespaces = {os.readlink(path / "ns/mnt") for path in (process, Path("/proc/self"))}
        return {"user": pwd.getpwuid(process.stat().st_uid).pw_name, "memlock": limit,
                "own_mounts": len(namespaces) == 2,
                "vfio": sorted(os.listdir(process / "root/dev/vfio"))}

    # The device.

    def set(self, uuid, settings):
        """Set attributes of the device's workload."""
        mdev.of(uuid).set(**settings)
        return True

    def settings(self, uuid):
        """All attributes of the device's workload."""
        return mdev.of(uuid).settings()

    def stat(self, uuid, name):
        """One counter of the device, as text: it may be too large for XML-RPC."""
        return str(mdev.of(uuid).stat(name))

    def mdev_state(self, uuid):
        """The device's state in the migration protocol."""
        return mdev.of(uuid).state()

    # Evidence.

    def trace(self, events, uuid, buffer_kb, room_mb):
        """Start a trace, and slow the device with this UUID down if need be. The trace is in
        memory, since the lab's results are slow to write to."""
        directory = Path(self.open.enter_context(
            tempfile.TemporaryDirectory(prefix="mdma-", dir=SHM)))
        self.tracer = self.open.enter_context(trace.Tracer(
            "mdma-proof", events, buffer_kb, directory, mdevs=[mdev.of(uuid)], room_mb=room_mb))
        return True

    def end_trace(self, directory):
        """End the trace; save it if a directory below the results is given."""
        if directory:
            path = self.results / directory
            path.mkdir(parents=True, exist_ok=True)
            self.tracer.collect()
            shutil.move(self.tracer.directory, path)
        self.open.close()
        return True

    def save_ledger(self, uuid, directory, window):
        """Save the device's ledger, which outlives QEMU, and whether the held memory has what the
        device wrote last in its window."""
        path = self.results / directory
        path.mkdir(parents=True, exist_ok=True)
        ledger = mdev.of(uuid).ledger()
        (path / "ledger.bin").write_bytes(ledger)
        found = proof.check_stamps(self.ram, proof.parse_ledger(ledger, "ledger"),
                                   moves.window_pages(window))
        (path / "stamps.json").write_text(json.dumps(found))
        return True

    def hold_ram(self, domain):
        """Hold the files of a guest's memory, so that they outlive QEMU."""
        self.drop_ram()
        self.ram = ram_files.of_process(self._process(domain).name, lambda command: run(
            "virsh", "-q", "-c", "qemu:///system", "qemu-monitor-command", domain, "--hmp",
            command))
        return True

    def copy_ram(self, domain):
        """Copy the memory as it is now. Returns how long an idle machine takes for that."""
        self.hold_ram(domain)
        copy = ram.Copy(self.ram)
        self.drop_ram()
        self.ram = copy
        return copy.idle_s

    def drop_ram(self):
        """Release the memory."""
        if self.ram is not None:
            self.ram.close()
            self.ram = None
        return True

    def ram_digests(self):
        """The digests of all pages of the held memory, one after the other."""
        return ram.digests(self.ram)

    def ram_layout(self):
        """Which addresses the held memory has, as text to compare."""
        return self.ram.where.layout()

    def ram_stamps(self, pages):
        """The device's last write to each of these pages, by position; None for a page without a
        stamp."""
        return ram.stamp_numbers(self.ram, pages)

    def ram_names(self, pages):
        """What a report needs of these pages; as text, see LibvirtHost.stat()."""
        return json.dumps([ram.name_page(self.ram.where, page) for page in pages])

    @staticmethod
    def _process(domain):
        """The /proc directory of a domain's QEMU."""
        return Path("/proc", Path(f"/run/libvirt/qemu/{domain}.pid").read_text().strip())


# --- from one host to the other ---------------------------------------------


def serve(name, results):
    """Serve the other host until it asks to end."""
    host, ended = LibvirtHost(name, results), []
    host.set_up()
    with SimpleXMLRPCServer((address(name), PORT), logRequests=False,
                            allow_none=True) as server:
        server.register_instance(host)
        server.register_function(lambda: ended.append(True) or True, "end")
        while not ended:
            server.handle_request()


def other(name, patience=PATIENCE):
    """The proxy of the other host, once it serves."""
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
