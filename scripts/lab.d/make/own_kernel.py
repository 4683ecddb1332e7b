# SPDX-License-Identifier: GPL-2.0-only
"""A kernel of the user's own: KERNEL= names its source tree, built or not.

The tree is only read. What the lab needs is built in a copy, with the lab's own configuration: the
user's may lack what a lab needs, and has thousands of drivers that it does not. Of a tree that
changed, what changed is copied, and make builds what depends on it.
"""

import os
import re
import shutil
from dataclasses import replace
from pathlib import Path

from base import files, say
from make import build, chroot, image, lab_kernel, paths, small_kernel, versions

KERNEL = small_kernel.Kernel(f"the kernel of {versions.tree()}", paths.KERNEL, lab_kernel.MOUNT,
                             (paths.LAB_D / "make/own.config",), lines=2200)
MANIFEST = KERNEL.home / "sources"
TYPE1 = "drivers/vfio/vfio_iommu_type1.c"
HOOKED = "vfio_iommu_type1_hooked.c"

# Without these, a directory is no source tree of a kernel.
MARKS = ("Makefile", "Kconfig", "init/main.c")
# A build has left these in the tree. Anything else of it is made anew, as kbuild does not find
# the command that made it in the copy.
GENERATED = ("include/config", "include/generated", "arch/x86/include/generated")
PRODUCTS = (".o", ".a", ".ko", ".mod", ".mod.c", ".order", ".symvers")
LARGE = ("vmlinux", "vmlinux.unstripped", "vmlinux.bin", "bzImage", "System.map")


# --- before anything is built ------------------------------------------------


def _kconfig_options(tree):
    """Names of all options that the tree has."""
    found = set()
    for path in _walk(tree):
        if path.name.startswith("Kconfig"):
            text = path.read_text(errors="replace")
            found.update(re.findall(r"^[ \t]*(?:menu)?config[ \t]+(\w+)", text, re.MULTILINE))
    return found


def unknown_options(tree):
    """Options that the lab needs, and that the tree does not know."""
    needed = re.findall(r"^CONFIG_(\w+)=", small_kernel.demanded(KERNEL), re.MULTILINE)
    known = _kconfig_options(tree)
    return [name for name in needed if name not in known]


def check(command):
    """Refuse a tree that can't be used, in words, before anything is begun."""
    tree = versions.tree()
    if not tree or command == "clean":
        return
    if not tree.is_dir():
        raise say.UsageError(f"KERNEL={tree}: no such directory; a version or a kernel's source "
                             "tree is wanted")
    for name in (*MARKS, TYPE1):
        if not (tree / name).is_file():
            raise say.UsageError(f"KERNEL={tree}: no source tree of a kernel, or not all of it: "
                                 f"there is no {name}")
    if versions.debug():
        raise say.UsageError(f"KERNEL={tree}: DEBUG={versions.debug()} is for a version of the "
                             "kernel")
    names = unknown_options(tree)
    if names:
        raise say.UsageError(f"KERNEL={tree}: the lab needs options that this kernel does not "
                             f"have: {', '.join(f'CONFIG_{name}' for name in names)}")
    _check_iommufd(tree)


def _check_iommufd(tree):
    """With iommufd, QEMU may need more than the kernel has (versions.NO_IOMMUFD)."""
    header = tree / "include/uapi/linux/iommufd.h"
    if versions.container() == versions.IOMMUFD and versions.chosen()["QEMU"].word == "11.1" \
            and "IOMMU_IOAS_MAP_FILE" not in header.read_text(errors="replace"):
        raise say.UsageError(f"KERNEL={tree}: QEMU 11.1 maps a guest's memory by "
                             "IOMMU_IOAS_MAP_FILE, which this kernel lacks; take QEMU=10.0")


# --- the copy ---------------------------------------------------------------


def _is_source(name, entry):
    """Whether a file or directory of the tree is copied. @name: its path in the tree"""
    if entry.name.startswith(".") or name in GENERATED:
        return False
    if entry.is_dir(follow_symlinks=False):
        # Of the documentation, the build reads Kconfig and Makefile alone.
        return not name.startswith("Documentation/")
    return not entry.name.endswith(PRODUCTS) and entry.name not in LARGE


def _walk(tree, below=""):
    """The paths of all sources in it."""
    with os.scandir(tree / below) as entries:
        for entry in sorted(entries, key=lambda one: one.name):
            name = f"{below}/{entry.name}" if below else entry.name
            if not _is_source(name, entry):
                continue
            if entry.is_dir(follow_symlinks=False):
                yield from _walk(tree, name)
            else:
                yield Path(entry.path)


def _state(path):
    """What tells that a file has changed."""
    found = path.lstat()
    return f"{found.st_size} {found.st_mtime_ns} {found.st_mode:o}"


def _copy(source, target):
    """Copy a file. Its date is that of the copy: make is to see that it changed, whatever date the
    file has that is there now."""
    target.parent.mkdir(parents=True, exist_ok=True)
    target.unlink(missing_ok=True)
    if source.is_symlink():
        target.symlink_to(os.readlink(source))
    else:
        shutil.copyfile(source, target)
        shutil.copymode(source, target)


def _manifest():
    """path in the tree -> its state when it was copied."""
    if not MANIFEST.exists():
        return {}
    return dict(line.split("\t", 1) for line in MANIFEST.read_text().splitlines())


def _update(tree, copy):
    """Make the copy what the tree is."""
    before = _manifest()
    now = {str(path.relative_to(tree)): _state(path) for path in _walk(tree)}
    changed = [name for name, state in now.items() if before.get(name) != state]
    gone = before.keys() - now.keys()
    if not changed and not gone:
        return
    # Until all is copied, nothing is known of the copy.
    MANIFEST.unlink(missing_ok=True)
    for name in gone:
        (copy / name).unlink(missing_ok=True)
    for name in changed:
        _copy(tree / name, copy / name)
    with files.whole(MANIFEST) as temporary:
        temporary.write_text("".join(f"{name}\t{state}\n" for name, state in now.items()))


def copy_sources():
    """Bring the copy of the tree up to date."""
    with image.locked(KERNEL.home, KERNEL.what, ".source.lock"):
        with say.Step(f"{KERNEL.what}: source"):
            _update(versions.tree(), KERNEL.tree)


# --- the kernel -------------------------------------------------------------


def _check_hooks():
    """Hook its type1, or say which hook does not hold, and where."""
    target = replace(build.TARGETS["vfio"], name="hooks", products=(),
                     argv=(*build.BACKEND, HOOKED))
    with image.locked(target.directory, "the hooks"):
        build.refresh(target)
        chroot.run(build.command(target), target.directory / "build.log",
                   f"hooking {versions.tree() / TYPE1}", binds=build.binds())


def key():
    """What decides what the kernel is."""
    return image.digest(image.recipe(), MANIFEST.read_text(), small_kernel.recipe(KERNEL))


def make():
    """Build the kernel and its modules, unless they are there and current."""
    stamp = lab_kernel.STAMP
    with image.locked(KERNEL.home, KERNEL.what):
        if stamp.exists() and stamp.read_text() == key():
            return
        _check_hooks()
        stamp.unlink(missing_ok=True)
        KERNEL.log.unlink(missing_ok=True)
        small_kernel.configure(KERNEL)
        small_kernel.compile_all(KERNEL, "10 to 30 minutes the first time")
        small_kernel.install_modules(KERNEL)
        stamp.write_text(key())
