# SPDX-License-Identifier: GPL-2.0-only
"""Writes an initramfs: busybox, kernel modules and files, as a newc cpio archive.

Not by cpio(1): there, device nodes need root, and here they are just a few bytes.
"""

import os
import subprocess
from pathlib import Path

from base import kmod
from base.files import whole

DIRECTORY, FILE, LINK, CHARACTER = 0o040000, 0o100000, 0o120000, 0o020000
NODES = {"dev/console": (5, 1), "dev/null": (1, 3)}
DIRECTORIES = ("bin", "dev", "etc", "lib", "proc", "run", "sys", "tmp")


class Cpio:
    """A newc archive in memory. Adds parent directories; all dates are 0."""

    def __init__(self):
        self.names = set()
        self.parts = []

    def _entry(self, name, mode, data=b"", device=(0, 0)):
        name = name.strip("/")
        if name in self.names:
            raise ValueError(f"{name}: twice in one archive")
        self.names.add(name)
        encoded = name.encode() + b"\0"
        links = 2 if mode & 0o170000 == DIRECTORY else 1
        fields = (len(self.names), mode, 0, 0, links, 0, len(data),
                  0, 0, *device, len(encoded), 0)
        header = b"070701" + b"".join(b"%08X" % field for field in fields)
        self.parts += [header, encoded, b"\0" * (-(len(header) + len(encoded)) % 4),
                       data, b"\0" * (-len(data) % 4)]

    def directory(self, name):
        """A directory, unless it is there already."""
        name = str(name).strip("/")
        if not name or name == "." or name in self.names:
            return
        self.directory(os.path.dirname(name))
        self._entry(name, DIRECTORY | 0o755)

    def file(self, name, data, mode=0o644):
        """A regular file."""
        self.directory(os.path.dirname(name.strip("/")))
        self._entry(name, FILE | mode, data)

    def link(self, name, target):
        """A symbolic link."""
        self.directory(os.path.dirname(name.strip("/")))
        self._entry(name, LINK | 0o777, target.encode())

    def node(self, name, major, minor):
        """A character device."""
        self.directory(os.path.dirname(name.strip("/")))
        self._entry(name, CHARACTER | 0o600, device=(major, minor))

    def bytes(self):
        """The whole archive."""
        self._entry("TRAILER!!!", 0)
        return b"".join(self.parts)


def _add_busybox(archive, root):
    busybox = root / "usr/bin/busybox"
    archive.file("bin/busybox", busybox.read_bytes(), 0o755)
    listing = subprocess.run([busybox, "--list"], capture_output=True, text=True, check=True)
    for applet in listing.stdout.split():
        if applet != "busybox":
            archive.link(f"bin/{applet}", "busybox")


def _add_modules(archive, kernel, modules):
    """Add modules at /lib/modules/VERSION, with modules.dep for busybox' modprobe. /modules.order
    has them in the order of loading, for a plain insmod loop."""
    tree = kmod.Modules(kernel)
    files = {Path(word).stem: Path(word) for word in map(str, modules) if word.endswith(".ko")}
    extra = {name: path.read_bytes() for name, path in files.items()}
    names = [Path(str(word)).stem if str(word).endswith(".ko") else str(word)
             for word in modules]
    ordered = tree.closure(names, extra)
    directory = f"lib/modules/{tree.version}"
    known = {name for name, _ in ordered}
    lines = []
    for name, data in ordered:
        archive.file(f"{directory}/{name}.ko", data)
        needs = [need for need, _ in tree.closure([name], extra) if need != name]
        lines.append(f"{name}.ko:" + "".join(f" {need}.ko" for need in reversed(needs)
                                             if need in known))
    archive.file(f"{directory}/modules.dep", "".join(f"{line}\n" for line in lines).encode())
    archive.file("modules.order",
                 "".join(f"/{directory}/{name}.ko\n" for name, _ in ordered).encode())


def build(path, root, modules=(), files=None, init=None, kernel=None):
    """Write an initramfs. It is not compressed: under emulation, unpacking takes longer than
    reading more.

    @path:    where to; replaced in one step
    @root:    root tree that has busybox, and the kernel's modules unless @kernel has them
    @modules: names of modules in the tree, or paths that end in .ko; their dependencies are added
    @files:   path in the initramfs -> path of a file (its mode is kept)
    @init:    file that becomes /init
    """
    archive = Cpio()
    for name in DIRECTORIES:
        archive.directory(name)
    for name, (major, minor) in NODES.items():
        archive.node(name, major, minor)
    _add_busybox(archive, Path(root))
    _add_modules(archive, Path(kernel or root), modules)
    for name, source in (files or {}).items():
        source = Path(source)
        archive.file(name, source.read_bytes(), source.stat().st_mode & 0o777)
    if init:
        archive.file("init", Path(init).read_bytes(), 0o755)
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole(path) as temporary:
        temporary.write_bytes(archive.bytes())
