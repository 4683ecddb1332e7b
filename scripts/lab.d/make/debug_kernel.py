# SPDX-License-Identifier: GPL-2.0-only
"""The debug kernel: built from the same source as the backend, with tools that find what a test
alone does not see (KASAN, lockdep, kmemleak, ...; debug.config).

It is built once for each version of its source and configuration, and kept under out/. In the lab
it uses the root disk of the usual kernel. Its modules are in the payload, under debug/, and init
mounts them over the usual ones.
"""

import os
import re
import shutil
from dataclasses import replace

from base import files, initramfs, process, say
from make import build, chroot, image, paths, payload

FRAGMENT = paths.LAB_D / "make/debug.config"
HOME = paths.DEBUG
TREE = HOME / "tree"
STAMP = HOME / "stamp"
IMAGE = TREE / "arch/x86/boot/bzImage"
INITRAMFS = HOME / "initramfs.cpio"
PAYLOAD = paths.PAYLOAD / "debug"

# CC and AS lines of the log until the build is done; only for the progress display.
LINES = 2900

COMPILE = r"""
set -e
cd /mnt/debug/tree
make -s tinyconfig
cat ../debug.config >>.config
make -s olddefconfig
"""


def key():
    """What decides what the kernel is: its source, the fragment, and how it is built."""
    return image.digest(image.recipe(), FRAGMENT.read_bytes(), COMPILE)


def wanted(text):
    """The lines of a fragment or a configuration that are settings."""
    return set(re.findall(r"^(?:CONFIG_\w+=.*|# CONFIG_\w+ is not set)$", text, re.MULTILINE))


def missing(fragment, config):
    """Lines of the fragment that do not hold in the configuration. An option whose dependency is
    missing does not appear there, which is as good as not set."""
    have = wanted(config)
    named = {line.split("=")[0] for line in have if "=" in line}
    return sorted(line for line in wanted(fragment) - have
                  if not line.startswith("#") or line.split()[1] in named)


def _sources(log):
    """Unpack the whole source, except for most of its documentation. Another configuration of the
    same source is built in the same tree."""
    stamp = TREE / ".unpacked"
    if stamp.exists() and stamp.read_text() == image.recipe():
        return
    chroot.remove(TREE)
    TREE.mkdir(parents=True)
    process.run(["tar", "-x", "-f", paths.LAB / image.SOURCE_ARCHIVE, "-C", TREE,
                 "--strip-components=1", "--exclude=linux-source-*/Documentation/*/*"],
                log, "unpacking the kernel's source")
    stamp.write_text(image.recipe())


def _configure(log):
    shutil.copy2(FRAGMENT, HOME / "debug.config")
    chroot.run(["sh", "-c", COMPILE], log, "configuring the debug kernel", binds=build.binds(),
               append=True)
    lines = missing(FRAGMENT.read_text(), (TREE / ".config").read_text())
    if lines:
        raise say.LabError(f"{files.short(FRAGMENT)}: the kernel does not take "
                           + ", ".join(lines))


def _progress(log):
    def words():
        count = sum(line.startswith(("  CC ", "  AS ")) for line in
                    log.read_text(errors="replace").splitlines())
        return f"{min(99, count * 100 // LINES)} %"
    return words


def make():
    """Build it, unless it is there and current."""
    with image.locked(HOME, "the debug kernel"):
        if STAMP.exists() and STAMP.read_text() == key() and IMAGE.exists():
            return
        STAMP.unlink(missing_ok=True)
        log = HOME / "build.log"
        with say.Step("debug kernel: source"):
            _sources(log)
            _configure(log)
        with say.Step("debug kernel: build (once, 10 to 30 minutes)", _progress(log)):
            chroot.run([*build.MAKE, "-C", "/mnt/debug/tree", "bzImage", "modules"], log,
                       "building the debug kernel", binds=build.binds(), append=True)
        STAMP.write_text(key())


def asked_for():
    """Whether DEBUG=1 is in the environment: then every boot uses the debug kernel."""
    word = os.environ.get("DEBUG", "")
    if word not in ("", "0", "1"):
        raise say.UsageError(f"DEBUG={word}: 0 or 1 expected")
    return word == "1"


def _target(base):
    """The same module as for the usual kernel. Style and warnings are judged there."""
    argv = tuple(word.replace("{build}", "/mnt/debug/tree") for word in base.argv
                 if word != build.WARNINGS)
    return replace(base, name=f"debug/{base.name}", argv=argv, strict=False,
                   files={"debug-kernel": key()})


INSTALL = r"""
set -e
cd /mnt/debug
rm -rf modules
make -s -C tree modules_install INSTALL_MOD_PATH=/mnt/debug/modules
release=$(cat tree/include/config/kernel.release)
cd "modules/lib/modules/$release"
rm -f build source
mkdir updates
cp "$@" updates
depmod -b /mnt/debug/modules "$release"
"""


def _install(targets):
    """Put all modules into the payload, ours in updates/."""
    products = [f"/mnt/build/{target.name}/{product}"
                for target in targets for product in target.products]
    chroot.run(["sh", "-c", INSTALL, "sh", *products], HOME / "install.log",
               "installing the debug kernel's modules", binds=build.binds())
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
