# SPDX-License-Identifier: GPL-2.0-only
"""The host on which a scenario is to run: reads, never changes anything."""

import lzma
import os
import re
import resource
import subprocess
import sys
from pathlib import Path

from base import kmod, process

TYPE1 = "vfio_iommu_type1"
MDEVS = "sys/bus/mdev/devices"


class Host:
    """@root: of its files; another one in tests"""

    def __init__(self, root="/"):
        self.root = Path(root)

    def text(self, path):
        """The text of a file; empty if it can't be read."""
        try:
            return (self.root / path).read_text(errors="replace").strip()
        except OSError:
            return ""

    def names(self, path):
        """The names in a directory; none if it can't be read."""
        try:
            return sorted(os.listdir(self.root / path))
        except OSError:
            return []

    def has(self, path):
        """Whether there is such a file or directory, as far as we may know."""
        return os.path.exists(self.root / path)

    def may_write(self, path):
        """Whether we may write to a file."""
        return os.access(self.root / path, os.W_OK)

    def loaded(self, module):
        """Whether a module is loaded."""
        return (self.root / "sys/module" / module).is_dir()

    def said(self, *argv):
        """What a program prints; empty if it fails, or is missing."""
        try:
            done = subprocess.run([str(word) for word in argv], check=False, text=True,
                                  stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                  stderr=subprocess.DEVNULL, env=process.ENVIRONMENT)
        except OSError:
            return ""
        return done.stdout.strip() if done.returncode == 0 else ""

    def modinfo(self, field, module):
        """A field of a module that modprobe would take, or of a file."""
        return self.said("modinfo", "-F", field, module)

    def build_id(self, module):
        """The note with the build ID of a module that is loaded, as it is in its file; empty if the
        kernel does not say."""
        try:
            return (self.root / "sys/module" / module / "notes/.note.gnu.build-id").read_bytes()
        except OSError:
            return b""

    def contents(self, module):
        """The module that modprobe would take; empty if it can't be read, or is compressed in a way
        that we don't know."""
        path = self.root / self.said("modinfo", "-n", module).lstrip("/")
        try:
            return kmod.read(path) if path.suffix in (".ko", ".xz") else b""
        except (OSError, lzma.LZMAError):
            return b""

    def can_open(self, path):
        """Whether a device can be opened."""
        try:
            os.close(os.open(self.root / path, os.O_RDWR))
            return True
        except OSError:
            return False

    def is_root(self):
        """Whether we are root."""
        return self.root != Path("/") or os.geteuid() == 0

    def lockable_mb(self):
        """MiB that a process of ours may lock."""
        limit = resource.getrlimit(resource.RLIMIT_MEMLOCK)[0]
        return sys.maxsize if limit == resource.RLIM_INFINITY else limit >> 20

    def available_mb(self):
        """MiB of memory that a new process could get."""
        found = re.search(r"^MemAvailable: *(\d+) kB", self.text("proc/meminfo"), re.M)
        return int(found[1]) >> 10 if found else 0

    def free_mb(self, directory):
        """MiB that are free in a file system; 0 if there is no such directory."""
        try:
            found = os.statvfs(self.root / directory.lstrip("/"))
        except OSError:
            return 0
        return found.f_bavail * found.f_frsize >> 20

    def users_of_vfio(self):
        """(process, its name, the file) of those that have a device or container open."""
        found = []
        for number in filter(str.isdigit, self.names("proc")):
            for name in self.names(f"proc/{number}/fd"):
                try:
                    target = os.readlink(self.root / f"proc/{number}/fd/{name}")
                except OSError:
                    continue
                if re.match(r"/dev/(vfio/|iommu$)", target):
                    found.append((number, self.text(f"proc/{number}/comm"), target))
        return found
