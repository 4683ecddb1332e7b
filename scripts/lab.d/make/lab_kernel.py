# SPDX-License-Identifier: GPL-2.0-only
"""The kernel that lab and guests boot: the image's, or one that was built of a tree of the user's
own (own_kernel.py). Where its parts are, and what is made of them.
"""

from base import files, initramfs, kmod
from make import image, paths, versions, vmlinux

OWN = versions.tree() is not None
# How a build finds the directory of such a kernel.
MOUNT = "/mnt/kernel"
# What it was built of, see own_kernel.py.
STAMP = paths.KERNEL / "kernel.stamp"

# What the lab's root disk and the shared directories need, besides what is built in.
MODULES = ("virtio_blk", "ext4", "9p", "9pnet_virtio", "virtio_rng")


def key():
    """What decides what is built for it."""
    return image.digest(image.recipe(), STAMP.read_text()) if OWN else image.recipe()


def root():
    """The directory that has its lib/modules."""
    return paths.KERNEL / "modules" if OWN else paths.ROOT


def release():
    """Its uname -r."""
    return kmod.kernel_version(root())


def build_directory():
    """Where modules are built for it, as a build sees it."""
    return f"{MOUNT}/tree" if OWN else f"/lib/modules/{release()}/build"


def modules_directory():
    """Its modules, as a build sees them."""
    return f"{MOUNT + '/modules' if OWN else ''}/lib/modules/{release()}"


def packed():
    """The kernel as its build made it."""
    return (paths.KERNEL / "tree/arch/x86/boot/bzImage" if OWN
            else paths.ROOT / "boot" / f"vmlinuz-{release()}")


def unpacked():
    """What lab and guests boot."""
    return paths.KERNEL / "vmlinux"


def make_unpacked():
    """Unpack it, unless that was done."""
    inputs = [packed(), paths.LAB_D / "make/vmlinux.py"]
    stamp = paths.KERNEL / "vmlinux.stamp"
    with image.locked(paths.KERNEL, "its kernel", ".kernel.lock"):
        wanted = image.digest(key(), *(path.read_bytes() for path in inputs))
        if unpacked().exists() and stamp.exists() and stamp.read_text() == wanted:
            return
        with files.whole(unpacked()) as temporary:
            temporary.write_bytes(vmlinux.of(inputs[0].read_bytes()))
        stamp.write_text(wanted)


def make_initramfs():
    """Make the lab's own initramfs, unless it is there and current."""
    inputs = [paths.LAB_D / "lab/initramfs-init", paths.LAB_D / "base/initramfs.py",
              paths.LAB_D / "base/kmod.py"]
    stamp = paths.KERNEL / "initramfs.stamp"
    with image.locked(paths.KERNEL, "its initramfs", ".initramfs.lock"):
        wanted = image.digest(key(), *MODULES, *(path.read_bytes() for path in inputs))
        if paths.LAB_INITRAMFS.exists() and stamp.exists() and stamp.read_text() == wanted:
            return
        initramfs.build(paths.LAB_INITRAMFS, paths.ROOT, modules=MODULES, init=inputs[0],
                        kernel=root())
        stamp.write_text(wanted)
