# SPDX-License-Identifier: GPL-2.0-only
"""The lab's root tree, its disk image, and the source of its kernel.

The tree is built under a temporary name and renamed when it is complete. A stamp inside tells
which recipe it was made from, so an incomplete or outdated tree is never taken for a good one.
With versions from the backports, it begins as a copy of the suite's own, if that is there
(layer.py).
"""

import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import tempfile
import time
from contextlib import contextmanager

from base import files, process, say
from make import chroot, layer, lock, packages, paths, place, versions

PACKAGES = (
    "mdevctl", "kmod", "busybox-static", "python3",
    "coccinelle", "sparse", "make", "gcc", "libc6-dev", "pciutils", "iproute2",
    # What a build of the kernel itself needs besides, for a debug kernel.
    "flex", "bison", "bc", "libelf-dev",
    "gnuplot-nox", "trace-cmd",
    # For two lab hosts that migrate with libvirt.
    "udev", "dbus", "openssh-server", "openssh-client",
)
OPTIONS = (
    "--variant=minbase",
    '--aptopt=Acquire::Languages "none"',
    "--dpkgopt=path-exclude=/usr/share/{man,doc,locale}/*",
    "--dpkgopt=force-unsafe-io",
    '--aptopt=Acquire::Retries "3"',
)
# Adds the suite's backports, from the mirror that mmdebstrap chose. The words: suite, suite,
# apt_preferences.
BACKPORTS = """set -e; cd "$1/etc/apt"; mkdir -p sources.list.d preferences.d
sed -n 's/^\\(deb .* \\)%s main.*/\\1%s-backports main/p' sources.list >sources.list.d/backports.list
test -s sources.list.d/backports.list
printf "%%s" "%s" >preferences.d/backports"""
STAMP = "etc/mdma-lab"
SOURCE_ARCHIVE = "linux-source.tar.xz"

# All that we read from the kernel's source package.
SOURCE_FILES = (
    "Makefile",
    "drivers/vfio/vfio_iommu_type1.c", "drivers/vfio/vfio.h",
    "drivers/vfio/vfio_main.c", "drivers/vfio/group.c", "drivers/vfio/container.c",
    "drivers/vfio/virqfd.c", "drivers/vfio/iommufd.c", "drivers/vfio/device_cdev.c",
    "drivers/iommu/iommufd", "drivers/iommu/iommu-priv.h", "lib/interval_tree.c",
    "drivers/dma/dmatest.c", "drivers/dma/dmaengine.h", "drivers/dma/virt-dma.h",
    "samples/vfio-mdev",
    "scripts/checkpatch.pl", "scripts/spelling.txt", "scripts/const_structs.checkpatch",
    "scripts/kernel-doc",
    "tools/lib/rbtree.c", "tools/include/linux/rbtree.h",
    "tools/include/linux/rbtree_augmented.h",
)

# libFuzzer for tests/fuzz, and the C++ library that it needs, without the compilers.
FUZZER_PACKAGES = ("libclang-rt-19-dev", "libstdc++-14-dev")
FUZZER_FILES = ("libclang_rt.fuzzer-x86_64.a", "libstdc++.a")

GIB = 1 << 30
DISK_NEEDED = 6 * GIB
# The same where the tree begins as a copy.
LAYER_NEEDED = 3 * GIB
# The part of TMPDIR that mmdebstrap uses when an ordinary user runs it.
TEMPORARY_NEEDED = 3 * GIB
# Seconds between two looks whether a lock is free.
LOOK = 0.1


def digest(*parts):
    """One hash of texts and bytes."""
    result = hashlib.sha256()
    for part in parts:
        data = part if isinstance(part, bytes) else str(part).encode()
        result.update(b"%d:" % len(data) + data)
    return result.hexdigest()


@contextmanager
def locked(directory, what, name=".lock"):
    """Hold the lock of a directory, or another one in it, against other runs of the lab; wait if
    need be, and say so."""
    directory.mkdir(parents=True, exist_ok=True)
    with open(directory / name, "w") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say.info(f"waiting for another run to finish {what}")
            _wait_for(stream)
        yield


def _wait_for(stream):
    """Wait for a lock, unless this thread must end: a signal does not interrupt a thread."""
    while True:
        process.check_ending()
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            time.sleep(LOOK)


def setup(these, locked=True):
    """The script that says what apt takes from the backports for @these versions, and which
    versions it takes of what is locked; empty if nothing."""
    text = versions.preferences(these)
    backports = BACKPORTS % (versions.SUITE, versions.SUITE, text) if text else ""
    return "\n".join(filter(None, (backports, locked and lock.pins(these))))


def hooks():
    """What mmdebstrap does before it looks for packages."""
    text = setup(versions.chosen())
    return [f"--setup-hook={text}"] if text else []


def recipe(these=None, locked=True):
    """The hash of everything that decides what is in the tree.

    @these:  its versions, by default those that are chosen
    @locked: whether the lock file counts, if there is one
    """
    these = these or versions.chosen()
    script = setup(these, locked)
    return digest(versions.SUITE, *versions.packages(these), *PACKAGES, these["KERNEL"].source,
                  *OPTIONS, *((script, layer.INSTALL) if script else ()))


def source_package():
    """The package that has the source of the lab's kernel."""
    return versions.chosen()["KERNEL"].source


def current(root=None, these=None):
    """Whether a tree is there, complete, and made from today's recipe. @root: default: the
    image's"""
    stamp = (root or paths.ROOT) / STAMP
    return stamp.exists() and stamp.read_text().strip() == recipe(these)


def begins_as_copy():
    """Whether there is the suite's own tree to begin with, and it is not the one to be made."""
    return (bool(versions.preferences(versions.chosen()))
            and current(paths.SUITE_ROOT, versions.defaults()))


def _check_disk():
    paths.LAB.mkdir(parents=True, exist_ok=True)
    place.check_space(paths.LAB, LAYER_NEEDED if begins_as_copy() else DISK_NEEDED)
    if os.geteuid():
        place.check_space(tempfile.gettempdir(), TEMPORARY_NEEDED, "set TMPDIR to another place")


def _check_usable():
    """Fail early, with an explanation, where an image can't be made; install what makes it."""
    with locked(paths.LAB, "looking for its packages", ".packages.lock"):
        _check_disk()
        packages.for_image()
        chroot.check_usable()


def _progress(log):
    """How far mmdebstrap is: its last message, and how many packages it has set up."""
    def words():
        try:
            lines = log.read_text(errors="replace").splitlines()
        except FileNotFoundError:
            return ""
        said = [line[3:].strip(". ") for line in lines if line.startswith("I: ")]
        done = sum(line.startswith("Setting up ") for line in lines)
        return (said[-1] if said else "starting") + (f", {done} packages done" if done else "")
    return words


def _mmdebstrap(step, words, target):
    """Run mmdebstrap with its own default mirror and keys.

    @step:   a word for the user, and the name of the log
    @target: in paths.LAB; an archive if it ends with .tar, otherwise, for root alone, a directory

    INITRD=No: the lab has its own initramfs, and Debian's takes 20 s to make.
    """
    log = paths.LAB / f"{step}.log"
    words = ["mmdebstrap", "--verbose", *OPTIONS, *hooks(), *words]
    environment = dict(process.ENVIRONMENT, INITRD="No")
    with say.Step(f"image: {step} {paths.VARIANT}", _progress(log)):
        if os.geteuid() == 0:
            # In a PID namespace, so that no process of it can be left running; below /mnt, since
            # apt and dpkg do not accept every path.
            inside = ["sh", "-c", 'mount --bind "$1" /mnt && shift && exec "$@"', "sh", paths.LAB]
            process.run([*chroot.namespace(), "--mount-proc", "--", *inside, *words,
                         "--mode=root", versions.SUITE, f"/mnt/{target.name}"],
                        log, "mmdebstrap", env=environment)
        else:
            process.run([*words, "--mode=unshare", versions.SUITE, target],
                        log, "mmdebstrap", env=environment)


def _wanted(*names):
    """What apt is to install: these packages, or all of the lock file in the locked versions."""
    return lock.exact(versions.chosen()) or names


def _bootstrap(tree):
    names = _wanted(*versions.packages(versions.chosen()), *PACKAGES)
    words = ["--include=" + ",".join(names)]
    if os.geteuid() == 0:
        _mmdebstrap("mmdebstrap", words, tree)
        return
    archive = paths.LAB / "root.tar"
    _mmdebstrap("mmdebstrap", words, archive)
    _unpack(archive, tree)


def _unpack(archive, tree):
    """Unpack the archive as an ordinary user. Only root may create what is in ./dev."""
    tree.mkdir()
    process.run([*chroot.namespace(), "--", "tar", "-x", "-f", archive, "-C", tree,
                 "--numeric-owner", "--xattrs", "--exclude=./dev/*"],
                paths.LAB / "image.log", "unpacking the root tree", append=True)
    archive.unlink()


def _take_files(step, names, members, target):
    """Download packages that are not in the tree, and take files of them.

    @step:    a word for the user
    @names:   of the packages
    @members: names of files, without their directories
    @target:  the directory that gets them
    """
    package = paths.LAB / f"{step}.tar"
    try:
        _mmdebstrap(step, ["--variant=extract", "--include=" + ",".join(names)], package)
        process.run(["tar", "-x", "-f", package, "-C", target, "--transform=s,.*/,,",
                     "--wildcards", *(f"*/{name}" for name in members)],
                    paths.LAB / "image.log", f"unpacking {', '.join(members)}", append=True)
    finally:
        package.unlink(missing_ok=True)


def fuzzer_recipe():
    """The hash of what decides which libFuzzer is there."""
    return digest(versions.SUITE, *FUZZER_PACKAGES, *FUZZER_FILES)


def make_fuzzer():
    """Download libFuzzer, unless it is there."""
    with locked(paths.FUZZER, "libFuzzer"):
        stamp = paths.FUZZER / "stamp"
        if stamp.exists() and stamp.read_text() == fuzzer_recipe():
            return
        _check_usable()
        stamp.unlink(missing_ok=True)
        _take_files("fuzzer", FUZZER_PACKAGES, FUZZER_FILES, paths.FUZZER)
        stamp.write_text(fuzzer_recipe())


def _fetch_source():
    """Download the kernel's source. It is not in the tree: it is big, and only read here."""
    stamp = paths.LAB / "source.stamp"
    archive = paths.LAB / SOURCE_ARCHIVE
    if archive.exists() and stamp.exists() and stamp.read_text() == recipe():
        return
    _check_usable()
    stamp.unlink(missing_ok=True)
    name = f"{source_package()}.tar.xz"
    with _locked_versions():
        _take_files("source", [lock.source(versions.chosen())], [name], paths.LAB)
    (paths.LAB / name).rename(archive)
    stamp.write_text(recipe())


def make_source():
    """Download the kernel's source, and extract the files that we need, unless they are there."""
    with locked(paths.LAB, "the kernel's source", ".source.lock"):
        _fetch_source()
        _extract_source()


def _complete_headers(name):
    process.run([*chroot.namespace(), "--", "sh", "-c",
                 'exec cp "$1" "$(echo "$2"/usr/src/linux-headers-*-common)/$3"', "sh",
                 paths.KERNEL_SOURCE / name, paths.ROOT, name],
                paths.LAB / "image.log", f"copying {name}", append=True)


def _extract_source():
    stamp = paths.KERNEL_SOURCE / ".stamp"
    headers = versions.chosen()["KERNEL"].headers
    wanted = digest(recipe(), *SOURCE_FILES, *headers)
    if stamp.exists() and stamp.read_text() == wanted:
        return
    with say.Step("image: kernel source files"):
        temporary = paths.KERNEL_SOURCE.with_name("src.new")
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir()
        process.run(["tar", "-x", "-f", paths.LAB / SOURCE_ARCHIVE, "-C", temporary,
                     "--strip-components=1", "--wildcards", "--no-wildcards-match-slash",
                     *(f"linux-source-*/{member}" for member in (*SOURCE_FILES, *headers))],
                    paths.LAB / "image.log", "unpacking the kernel's source files", append=True)
        (temporary / ".stamp").write_text(wanted)
        shutil.rmtree(paths.KERNEL_SOURCE, ignore_errors=True)
        temporary.rename(paths.KERNEL_SOURCE)


def _write_stamp(tree):
    process.run([*chroot.namespace(), "--", "sh", "-c", 'echo "$1" >"$2"', "sh",
                 recipe(), tree / STAMP], paths.LAB / "image.log", "stamp", append=True)


def make_root():
    """Make the root tree, unless it is there."""
    with locked(paths.LAB, "the image"):
        if not current() and not _adopted():
            _make_tree()


def _adopted():
    """Whether the tree was made without the lock file, and has its versions nevertheless."""
    stamp, these = paths.ROOT / STAMP, versions.chosen()
    if not lock.section(these) or not stamp.exists() \
            or stamp.read_text().strip() != recipe(locked=False):
        return False
    try:
        lock.verify(paths.ROOT, these)
    except say.LabError:
        return False
    _write_stamp(paths.ROOT)
    return True


def source_version():
    """The version of the kernel's source, by its Makefile: "6.12.118"."""
    found = dict(re.findall(r"^(VERSION|PATCHLEVEL|SUBLEVEL) *= *(\d+)$",
                            (paths.KERNEL_SOURCE / "Makefile").read_text(), re.M))
    return ".".join(found[name] for name in ("VERSION", "PATCHLEVEL", "SUBLEVEL"))


def same_version(package, source):
    """Whether a package's version is of this version of the source. A kernel's first one is 7.3 as
    a package, 7.3.0 as a source."""
    return re.match(r"[\d.]+", package)[0].rstrip(".") in (source, source.removesuffix(".0"))


def _check_source():
    """Refuse a source that is not of the image's kernel: they come by two runs of apt."""
    package = lock.kernel_version(paths.ROOT, versions.chosen())
    if not same_version(package, source_version()):
        raise say.LabError(f"the image {paths.IMAGE} has the kernel {package}, and its source is "
                           f"{source_version()}: the archive changed between two downloads; make "
                           "both again (scripts/lab clean --all)")


def complete_headers():
    """Copy the files of the kernel's source that its headers lack to the tree, unless they are
    there."""
    _check_source()
    headers = versions.chosen()["KERNEL"].headers
    target = paths.ROOT / "usr/src"
    with locked(paths.LAB, "the kernel's headers", ".headers.lock"):
        for name in headers:
            if not all((common / name).exists()
                       for common in target.glob("linux-headers-*-common")):
                _complete_headers(name)


def _add_layer(tree):
    """Make it of the suite's own tree. Returns whether that is there."""
    these, log = versions.chosen(), paths.LAB / "layer.log"
    if not begins_as_copy():
        return False
    with locked(paths.SUITE_ROOT.parent, "the suite's own image"):
        # Somebody may have begun to make it anew.
        if not begins_as_copy():
            return False
        layer.copy(paths.SUITE_ROOT, tree, log)
    with say.Step(f"image: what differs in {paths.VARIANT}"):
        layer.install(tree, setup(these), _wanted(*versions.packages(these)), log)
    return True


@contextmanager
def _locked_versions():
    """Explain an error of apt's about a version that LOCK= asks for."""
    try:
        yield
    except say.LabError as error:
        raise lock.explained(error) from error


def write_lock(path):
    """Write the versions of the image's packages, and of its kernel's source, to a lock file."""
    these = versions.chosen()
    found = lock.installed(paths.ROOT)
    # complete_headers() has compared them.
    found[source_package()] = lock.kernel_version(paths.ROOT, these)
    lock.write(path, paths.IMAGE, found)
    return found


def _make_tree():
    _check_usable()
    tree = paths.LAB / "root.new"
    chroot.remove(tree)
    try:
        with _locked_versions():
            if not _add_layer(tree):
                _bootstrap(tree)
        lock.verify(tree, versions.chosen())
        _write_stamp(tree)
        chroot.remove(paths.ROOT)
        tree.rename(paths.ROOT)
    finally:
        chroot.remove(tree)
        (paths.LAB / "root.tar").unlink(missing_ok=True)


def _tree_size(tree):
    """Size of a tree in bytes, as its root sees it."""
    result = subprocess.run([*chroot.namespace(), "--", "du", "-s", "-k", "-x", tree],
                            capture_output=True, text=True, check=True)
    return int(result.stdout.split()[0]) * 1024


def _disk_stamp():
    return paths.LAB / "root.img.stamp"


def make_disk():
    """Make root.img from the tree, unless it is there and current."""
    with locked(paths.LAB, "the disk image", ".disk.lock"):
        stamp = _disk_stamp()
        if not (paths.ROOT_IMAGE.exists() and stamp.exists() and stamp.read_text() == recipe()):
            _make_disk(stamp)


def _make_disk(stamp):
    packages.ensure({"mke2fs": "e2fsprogs"})
    stamp.unlink(missing_ok=True)
    with say.Step("image: root.img"):
        make_filesystem(paths.ROOT, paths.ROOT_IMAGE)
    stamp.write_text(recipe())


def make_filesystem(tree, target):
    """Make a disk image of a tree."""
    with files.whole(target) as temporary:
        temporary.unlink(missing_ok=True)
        size = int(_tree_size(tree) * 1.15) + 512 * (1 << 20)
        process.run([*chroot.namespace(), "--", "mke2fs", "-q", "-F", "-t", "ext4", "-m", "0",
                     "-O", "^has_journal", "-L", "mdma-lab", "-d", tree, temporary,
                     f"{size // 1024}k"], paths.LAB / "disk.log", "mke2fs")
