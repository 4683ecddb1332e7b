# SPDX-License-Identifier: GPL-2.0-only
"""Debian packages: make deb.

They are built in a copy of the image's root tree that has debhelper, dkms and lintian besides. No
kernel source is in our tree: the backend's package has the file of Debian's kernel source package,
with our hooks in it. OUT/deb/stock keeps that file, as it is in the source, for each kernel for
which packages were made, by the srcversion of the module that Debian has built of it. Each build
hooks them all.
"""

import re
import shutil

from base import files, kmod, say
from make import build, chroot, image, lab_kernel, layer, paths, payload, ready

HOME = paths.OUT / "deb"
STOCK = HOME / "stock"
# The tree in which packages are built, and what it has besides the image's packages.
PACKAGER = paths.LAB / "packager"
PACKAGES = ("debhelper", "dh-dkms", "dkms", "lintian")
STAMP = "etc/mdma-packager"

TYPE1 = ("vfio_iommu_type1.c", "vfio.h")
MODULE = "kernel/drivers/vfio/vfio_iommu_type1.ko.xz"
HOOKED = "vfio_iommu_type1_hooked.c"
VFIO = "drivers/vfio"
# What the packages are made from.
SOURCES = ("debian", "Documentation", "drivers", "include", "samples", "tests/selftests",
           "tests/scenarios", "scripts/lab", "scripts/lab.d", "scripts/mdma-trace")
LOG = HOME / "deb.log"


def srcversion(module):
    """The hash of a module's sources, which is in the module."""
    found = re.search(rb"\0srcversion=([^\0]+)\0", kmod.read(module))
    if not found:
        raise say.LabError(f"{files.short(module)}: no srcversion in it")
    return found[1].decode()


# --- the place where packages are built --------------------------------------


def make_packager():
    """Make the tree in which packages are built, unless it is there."""
    stamp = PACKAGER / STAMP
    wanted = image.digest(image.recipe(), layer.INSTALL, *PACKAGES)
    with image.locked(paths.LAB, "the tree for packages", ".packager.lock"):
        if stamp.exists() and stamp.read_text().strip() == wanted:
            return
        temporary = PACKAGER.with_name("packager.new")
        with say.Step("deb: a root tree with debhelper, dkms and lintian"):
            chroot.remove(temporary)
            try:
                layer.copy(paths.ROOT, temporary, LOG)
                layer.install(temporary, "", PACKAGES, LOG)
                chroot.run(["sh", "-c", 'echo "$1" >"/$2"', "sh", wanted, STAMP], LOG, "stamp",
                           root=temporary, append=True)
                chroot.remove(PACKAGER)
                temporary.rename(PACKAGER)
            finally:
                chroot.remove(temporary)


# --- the kernel's own type1 ---------------------------------------------------


def _rebuilt(work):
    """The srcversion of a module that is built of the source package's file. In a subdirectory, as
    otherwise 7.3's modpost counts the C file alone."""
    tree = work / "stock" / VFIO
    tree.mkdir(parents=True)
    for name in TYPE1:
        shutil.copy(paths.KERNEL_SOURCE / VFIO / name, tree / name)
    (work / "stock/Kbuild").write_text(f"obj-m := {VFIO}/\n")
    (tree / "Kbuild").write_text("obj-m := vfio_iommu_type1.o\n")
    chroot.run([*build.MAKE, "-C", lab_kernel.build_directory(), "M=/mnt/deb/stock", "modules"],
               LOG, "building the kernel's own type1", binds={"deb": work}, append=True)
    return srcversion(tree / "vfio_iommu_type1.ko")


def take_stock(work):
    """Keep the file that the kernel's own type1 is made of, under the srcversion of that module. A
    source package of another version would be another file."""
    release = lab_kernel.release()
    found = srcversion(paths.ROOT / "lib/modules" / release / MODULE)
    target = STOCK / found
    if (target / "kernel").exists():
        return
    with say.Step(f"deb: vfio_iommu_type1 of Linux {release}"):
        rebuilt = _rebuilt(work)
        if rebuilt != found:
            raise say.LabError(f"Linux {release}: its vfio_iommu_type1 has the srcversion {found}, "
                               f"and what is built of {image.source_package()} has {rebuilt}; "
                               "make the image again")
        target.mkdir(parents=True, exist_ok=True)
        for name in TYPE1:
            payload.copy(paths.KERNEL_SOURCE / VFIO / name, target / name)
        (target / "kernel").write_text(f"Linux {release}\n")


def _hook(tree, work):
    """Hook each of them, into debian/hooked of the tree."""
    for stock in sorted(STOCK.iterdir()):
        chroot.run(["make", "-s", "-C", f"/mnt/deb/{tree.name}/{VFIO}",
                    f"SRC=/mnt/stock/{stock.name}/{TYPE1[0]}", HOOKED, TYPE1[1]],
                   LOG, f"hooking the type1 of {(stock / 'kernel').read_text().strip()}",
                   binds={"deb": work, "stock": STOCK}, append=True)
        target = tree / "debian/hooked" / stock.name
        target.mkdir(parents=True)
        for name in (HOOKED, TYPE1[1]):
            (tree / VFIO / name).rename(target / name)
        shutil.copy(stock / "kernel", target / "kernel")


# --- the packages -------------------------------------------------------------


def _copy_sources(tree, version):
    for name in SOURCES:
        source = paths.REPO / name
        if source.is_dir():
            shutil.copytree(source, tree / name, ignore=payload.SKIP)
        else:
            (tree / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, tree / name)
    if version:
        changelog = tree / "debian/changelog"
        text, count = re.subn(r"^mdma \(.*?\)", f"mdma ({version})", changelog.read_text(), count=1)
        if not count:
            raise say.LabError("debian/changelog does not begin with a version")
        changelog.write_text(text)


def packages(target, version=None):
    """Build all packages into a directory, and return their paths.

    @version: instead of that of debian/changelog
    """
    work = HOME / "work"
    chroot.remove(work)
    tree = work / "mdma"
    tree.mkdir(parents=True)
    try:
        take_stock(work)
        with say.Step("deb: packages" + (f" of version {version}" if version else "")):
            _copy_sources(tree, version)
            _hook(tree, work)
            # -d: it would want a C++ compiler as well.
            chroot.run(["sh", "-c", "cd /mnt/deb/mdma && exec dpkg-buildpackage -b -d -us -uc"],
                       LOG, "dpkg-buildpackage", binds={"deb": work}, root=PACKAGER, append=True)
        target.mkdir(parents=True, exist_ok=True)
        for old in target.glob("*.deb"):
            old.unlink()
        return [path.rename(target / path.name) for path in sorted(work.glob("*_*.deb"))
                if "-dbgsym_" not in path.name]
    finally:
        chroot.remove(work)


def lintian(directory):
    """lintian must find neither an error nor a warning. An override says why."""
    with say.Step("deb: lintian"):
        chroot.run(["sh", "-c", "exec lintian --fail-on error,warning --tag-display-limit 0 "
                    "/mnt/deb/*.deb"], directory / "lintian.log", "lintian",
                   binds={"deb": directory}, root=PACKAGER)


def prepare():
    """Make what a build of packages needs."""
    ready.make_tree()
    HOME.mkdir(parents=True, exist_ok=True)
    LOG.unlink(missing_ok=True)
    make_packager()


def run():
    """The packages, into OUT/deb; returns the exit code."""
    prepare()
    with image.locked(HOME, "the packages"):
        found = packages(HOME)
        lintian(HOME)
        known = sorted((stock / "kernel").read_text().strip() for stock in STOCK.iterdir())
    for path in found:
        print(files.short(path))
    print(f"mdma-dkms has the backend for {', '.join(known)}; lintian: good", flush=True)
    return 0
