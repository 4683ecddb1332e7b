# SPDX-License-Identifier: GPL-2.0-only
"""What a scenario gives its guest besides the guest's own initramfs."""

import gzip
from pathlib import Path

from base import initramfs, kmod


def add_modules(archive, directory, names):
    """Add modules of the lab's kernel, which is also the guest's, and what they need. The file
    "order" beside them has their paths in the order of loading."""
    order = []
    for name, data in kmod.Modules(Path("/")).closure(names, {}):
        archive.file(f"{directory}/{name}.ko", data)
        order.append(f"/{directory}/{name}.ko\n")
    archive.file(f"{directory}/order", "".join(order).encode())


def load_modules(directory):
    """The command by which the guest loads them."""
    return f"for m in $(cat /{directory}/order); do insmod $m || exit 1; done"


def write(config, archive, directory):
    """The path of an initramfs: the guest's own, followed by @archive. The kernel unpacks both."""
    path = directory / "initramfs"
    path.write_bytes(Path(config.initrd).read_bytes() + gzip.compress(archive.bytes(), 1))
    return path


def with_modules(config, directory, name, modules):
    """The path of an initramfs with modules in the directory @name."""
    archive = initramfs.Cpio()
    add_modules(archive, name, modules)
    return write(config, archive, directory)
