# SPDX-License-Identifier: GPL-2.0-only
"""The debug kernel: built from the same source as the backend, with tools that find what a test
alone does not see (KASAN, lockdep, kmemleak, ...; debug.config).

It is built once for each version of its source and configuration, and kept under out/. In the lab
it uses the root disk of the usual kernel. Its modules are in the payload, under debug/, and init
mounts them over the usual ones.
"""

import os
from dataclasses import replace

from base import initramfs, process, say
from make import build, chroot, image, paths, payload, small_kernel

HOME = paths.DEBUG
KERNEL = small_kernel.Kernel("the debug kernel", HOME, "/mnt/debug",
                             (paths.LAB_D / "make/debug.config",), lines=2900)
STAMP = HOME / "stamp"
IMAGE = KERNEL.tree / "arch/x86/boot/bzImage"
INITRAMFS = HOME / "initramfs.cpio"
PAYLOAD = paths.PAYLOAD / "debug"

# Tells Kbuild that KCOV is to see a module; the kernel itself is left out of it.
COVERED = "KCOV_INSTRUMENT=y"


def key():
    """What decides what the kernel is: its source, the fragments, and how it is built."""
    return image.digest(image.recipe(), small_kernel.recipe(KERNEL))


def _sources():
    """Unpack the whole source, except for most of its documentation. Another configuration of the
    same source is built in the same tree."""
    stamp = KERNEL.tree / ".unpacked"
    if stamp.exists() and stamp.read_text() == image.recipe():
        return
    chroot.remove(KERNEL.tree)
    KERNEL.tree.mkdir(parents=True)
    process.run(["tar", "-x", "-f", paths.LAB / image.SOURCE_ARCHIVE, "-C", KERNEL.tree,
                 "--strip-components=1", "--exclude=linux-source-*/Documentation/*/*"],
                KERNEL.log, "unpacking the kernel's source")
    stamp.write_text(image.recipe())


def make():
    """Build it, unless it is there and current."""
    with image.locked(HOME, KERNEL.what):
        if STAMP.exists() and STAMP.read_text() == key() and IMAGE.exists():
            return
        STAMP.unlink(missing_ok=True)
        with say.Step("debug kernel: source"):
            _sources()
            small_kernel.configure(KERNEL)
        small_kernel.compile_all(KERNEL, "once, 10 to 30 minutes")
        small_kernel.install_modules(KERNEL)
        STAMP.write_text(key())


def asked_for():
    """Whether DEBUG=1 is in the environment: then every boot uses the debug kernel."""
    word = os.environ.get("DEBUG", "")
    if word not in ("", "0", "1"):
        raise say.UsageError(f"DEBUG={word}: 0 or 1 expected")
    return word == "1"


def _target(base):
    """The same module as for the usual kernel, with calls that tell KCOV where it is. Style and
    warnings are judged there."""
    argv = tuple(word.replace("{build}", "/mnt/debug/tree") for word in base.argv
                 if word != build.WARNINGS)
    return replace(base, name=f"debug/{base.name}", argv=(*argv, COVERED), strict=False,
                   files={"debug-kernel": key()})


INSTALL = r"""
set -e
release=$(cat /mnt/debug/tree/include/config/kernel.release)
updates=/mnt/debug/modules/lib/modules/$release/updates
rm -rf "$updates"
mkdir "$updates"
cp "$@" "$updates"
depmod -b /mnt/debug/modules "$release"
"""


def _install(targets):
    """Put all modules into the payload, ours in updates/."""
    products = [f"/mnt/build/{target.name}/{product}"
                for target in targets for product in target.products]
    chroot.run(["sh", "-c", INSTALL, "sh", *products], HOME / "install.log",
               "installing our modules", binds=build.binds(), append=True)
    payload.mirror(HOME / "modules/lib/modules", PAYLOAD / "modules")


def prepare(mutants=()):
    """Make everything that a boot of it needs, if one is asked for."""
    if not asked_for():
        return
    make()
    product = [_target(build.TARGETS[name]) for name in ("vfio", "mdma")]
    others = [_target(build.TARGETS[name]) for name in ("nic", "reports")]
    others += [_target(build.mutant(name)) for name in mutants]
    for target in product + others:
        build.build(target)
    with image.locked(HOME, "the debug kernel's modules"):
        _install(product)
        for target in others:
            build.publish(target)
        for name in ("reports", "mutant"):
            (paths.PAYLOAD / name).mkdir(exist_ok=True)
        initramfs.build(INITRAMFS, paths.ROOT, init=paths.LAB_D / "lab/initramfs-init")
