# SPDX-License-Identifier: GPL-2.0-only
"""Builds modules, tests and the guest with the image's own compiler.

A kernel module is built where its source is. So each target is built in a copy of the parts of
this repository that it needs, in out/build/SUITE/NAME/tree. A target whose inputs are unchanged is
not touched.
"""

import contextlib
import functools
import os
import re
import shutil
import time
from dataclasses import dataclass, field

from base import files, say
from base.side_by_side import Job
from make import chroot, guest, image, lab_kernel, mutant as mutants, paths, payload, versions

JOBS = min(4, os.cpu_count() or 1)
# Warnings of compilers, sparse and modpost; errors of sparse, which ends with 0 nevertheless, and
# what kbuild says if it does not run sparse.
WARNING = re.compile(r"(\bwarning\b|^WARNING)[ :]|: error: |sparse is not available",
                     re.IGNORECASE)


@dataclass
class Target:
    """One thing to build.

    @name:     also its directory below out/build/SUITE
    @trees:    directories of the repository that it needs; the first is where
               its sources are
    @argv:     the command; {build} is the kernel's build directory, {tree} the
               copy of the repository, {source} @trees[0] in it, {bin} an empty
               directory for programs
    @products: files that it makes in @trees[0]; all of {bin} are products too
    @files:    path in the tree -> file outside the repository, or a text
    @copies:   directory of @trees -> directory outside the repository, whose files it gets
    @strict:   whether a warning fails the build
    @after:    names of the targets whose products it takes
    @mutant:   its change is made in the copy
    @fetch:    a function that downloads what @files has, unless it is there
    @sparse:   whether sparse has to see it in a check
    """
    name: str
    trees: tuple
    argv: tuple
    products: tuple = ()
    files: dict = field(default_factory=dict)
    copies: dict = field(default_factory=dict)
    strict: bool = True
    after: tuple = ()
    mutant: object = None
    fetch: object = None
    sparse: bool = True

    @property
    def directory(self):
        """The directory in which it is built, and which has its products."""
        return paths.BUILD / self.name

    @property
    def bin(self):
        """The directory of its programs."""
        return self.directory / "bin"


MAKE = ("make", f"-j{JOBS}")
WARNINGS = "W=1"
# Runs sparse over all sources, without building what is current.
SPARSE = ("C=2", "CHECK=/mnt/tools/sparse")
KBUILD = (*MAKE, "-C", "{build}", "M={source}", WARNINGS, "modules")
BACKEND = (*MAKE, "-C", "{source}", "KDIR={build}",
           "SRC=/mnt/src/drivers/vfio/vfio_iommu_type1.c", WARNINGS)
KERNEL_DMA = paths.KERNEL_SOURCE / "drivers/dma"

# A mutant of which nobody can tell what it does is none; other warnings may come.
UNINITIALIZED = "-Wno-error -Werror=uninitialized -Werror=maybe-uninitialized"

# The kernel's own vfio.ko with CONFIG_IOMMUFD_DRIVER, which distributions leave out: it supports
# device-side dirty tracking. And an mdma.ko for it.
KERNEL_VFIO = paths.KERNEL_SOURCE / "drivers/vfio"
LOGGING = "KCFLAGS=-DCONFIG_IOMMUFD_DRIVER=1"
VFIO_LOGGING_SOURCES = {
    **{name: KERNEL_VFIO / name
       for name in ("vfio.h", "vfio_main.c", "group.c", "container.c", "virqfd.c")},
    "iova_bitmap.c": paths.KERNEL_SOURCE / "drivers/iommu/iommufd/iova_bitmap.c",
    "Kbuild": "obj-m := vfio.o\n"
              "vfio-y := vfio_main.o group.o container.o virqfd.o iova_bitmap.o\n"}
VFIO_LOGGING_SYMBOLS = "tree/vfio-logging/Module.symvers"

# The kernel's own iommufd.ko, and its vfio.ko with character devices, for distributions that leave
# out CONFIG_IOMMUFD; nothing in them is changed. What that option adds to the kernel itself is in
# iommufd.ko instead. The kernel exports most of interval_tree.c, so iommufd.ko must not. The layout
# of struct vfio_device becomes another: an mdma.ko for it is needed, and no other driver of vfio's
# can be loaded beside it.
WITH_IOMMUFD = ("KCFLAGS=-DCONFIG_IOMMUFD_MODULE=1 -DCONFIG_IOMMUFD_DRIVER=1 "
                "-DCONFIG_IOMMUFD_DRIVER_CORE=1 -DCONFIG_VFIO_DEVICE_CDEV=1 "
                "-DCONFIG_INTERVAL_TREE_SPAN_ITER=1")
IOMMUFD_KBUILD = """CONFIG_IOMMUFD := m
include $(src)/Makefile
iommufd-y += iova_bitmap.o interval_tree.o $(iommufd_driver-y)
CFLAGS_interval_tree.o := -D__DISABLE_EXPORTS
"""
VFIO_IOMMUFD_SOURCES = {
    **{name: KERNEL_VFIO / name for name in ("vfio.h", "vfio_main.c", "group.c", "container.c",
                                             "virqfd.c", "iommufd.c", "device_cdev.c")},
    "Kbuild": "obj-m := vfio.o\n"
              "vfio-y := vfio_main.o group.o container.o virqfd.o iommufd.o device_cdev.o\n"}


def symbols(*names):
    """The files by which a target finds the symbols of others, as in Target.files."""
    return {f"{name}/Module.symvers": paths.BUILD / name / f"tree/{name}/Module.symvers"
            for name in names}


def extra_symbols(*names):
    """The word that tells kbuild of them."""
    return "KBUILD_EXTRA_SYMBOLS=" + " ".join(f"{{tree}}/{path}" for path in symbols(*names))


TARGETS = {target.name: target for target in (
    Target("vfio", ("drivers/vfio", "include"), BACKEND, ("vfio_iommu_type1.ko",)),
    Target("mdma", ("samples/vfio-mdev/mdma", "include"), KBUILD, ("mdma.ko",)),
    Target("vfio-logging", ("vfio-logging",),
           (*MAKE, "-C", "{build}", "M={source}", LOGGING, "modules"), ("vfio.ko",),
           strict=False, files={f"vfio-logging/{name}": source
                                for name, source in VFIO_LOGGING_SOURCES.items()}),
    Target("mdma-logging", ("samples/vfio-mdev/mdma", "include", "vfio-logging"),
           (*KBUILD, LOGGING, "KBUILD_EXTRA_SYMBOLS={tree}/vfio-logging/Module.symvers"),
           ("mdma.ko",), files={"vfio-logging/Module.symvers":
                                paths.BUILD / "vfio-logging" / VFIO_LOGGING_SYMBOLS},
           after=("vfio-logging",),
           # Its options are some of those of mdma-iommufd, and leave out nothing of the source.
           sparse=False),
    Target("iommufd", ("iommufd",), (*MAKE, "-C", "{build}", "M={source}", WITH_IOMMUFD, "modules"),
           ("iommufd.ko",), strict=False,
           copies={"iommufd": paths.KERNEL_SOURCE / "drivers/iommu/iommufd"},
           files={"iommufd/Kbuild": IOMMUFD_KBUILD,
                  "iommu-priv.h": paths.KERNEL_SOURCE / "drivers/iommu/iommu-priv.h",
                  "iommufd/interval_tree.c": paths.KERNEL_SOURCE / "lib/interval_tree.c"}),
    Target("vfio-iommufd", ("vfio-iommufd", "iommufd"),
           (*MAKE, "-C", "{build}", "M={source}", WITH_IOMMUFD, extra_symbols("iommufd"),
            "modules"), ("vfio.ko",), strict=False, after=("iommufd",),
           files={**{f"vfio-iommufd/{name}": source
                     for name, source in VFIO_IOMMUFD_SOURCES.items()}, **symbols("iommufd")}),
    Target("mdma-iommufd", ("samples/vfio-mdev/mdma", "include", "iommufd", "vfio-iommufd"),
           (*KBUILD, WITH_IOMMUFD, extra_symbols("iommufd", "vfio-iommufd")), ("mdma.ko",),
           files=symbols("iommufd", "vfio-iommufd"), after=("iommufd", "vfio-iommufd")),
    Target("mdma-guest", ("samples/vfio-mdev/mdma-guest", "include"), KBUILD,
           ("mdma_guest.ko",)),
    Target("guest-client", ("tests/guest-client", "include", "samples/vfio-mdev/mdma-guest"), KBUILD,
           ("mdma_client.ko", "mdma_load.ko")),
    Target("dmatest", ("dmatest",), (*MAKE, "-C", "{build}", "M={source}", "modules"),
           ("dmatest.ko",), strict=False, files={
               "dmatest/dmatest.c": KERNEL_DMA / "dmatest.c",
               "dmatest/dmaengine.h": KERNEL_DMA / "dmaengine.h",
               "dmatest/Kbuild": "obj-m := dmatest.o\n"}),
    Target("selftests", ("tests/selftests", "include"),
           (*MAKE, "-C", "{source}", "OUT={bin}")),
    Target("nic", ("tests/nic",), KBUILD, ("mdma_nic.ko",)),
    Target("reports", ("tests/reports",), KBUILD, ("mdma_reports.ko",)),
    Target("bench", ("tests/bench", "tests/selftests/lib", "include"),
           (*MAKE, "-C", "{source}", "KDIR={build}", "OUT={bin}", WARNINGS),
           ("mdma_bench.ko",)),
    Target("fuzz", ("tests/fuzz", "tests/selftests/lib", "include"),
           (*MAKE, "-C", "{source}", "OUT={bin}", "ENGINE=" + " ".join(image.FUZZER_FILES)),
           files={f"tests/fuzz/{name}": paths.FUZZER / name for name in image.FUZZER_FILES},
           fetch=image.make_fuzzer),
)}

# Several targets by one name: the parts of the guest's initramfs, the device's own log, and all
# modules for iommufd.
GROUPS = {"guest": ("mdma-guest", "guest-client", "dmatest"),
          "logging": ("vfio-logging", "mdma-logging"),
          "iommufd": ("iommufd", "vfio-iommufd", "mdma-iommufd")}


def _leave_out(group):
    """Build nothing of a group."""
    for name in GROUPS[group]:
        del TARGETS[name]
    GROUPS[group] = ()


if lab_kernel.OWN:
    # It has iommufd, and a vfio with all of it.
    _leave_out("logging")
    _leave_out("iommufd")

# What every boot has, by its container.
PRODUCT = ("vfio", "mdma")
PRODUCTS = {versions.TYPE1: PRODUCT, versions.IOMMUFD: GROUPS["iommufd"] or PRODUCT}
# Targets that the lab finds below /mdma, besides mutants.
PUBLISHED = ("selftests", "nic", "bench", "fuzz", *GROUPS["logging"], *GROUPS["iommufd"])

# Not in the table: it is not only built, but run, each time (see check/check.py).
UNIT = Target("unit", ("tests/unit", "tests/selftests", "drivers", "samples/vfio-mdev/mdma",
                       "include"),
              (*MAKE, "-s", "-C", "{source}", "OUT={bin}", "check"))


def names():
    """Targets for the help text; mutants have patches and are not listed."""
    return list(TARGETS)


def wanted(words, product=PRODUCT):
    """Names of the product's targets and of those that these words (targets, GROUPS) name."""
    found = list(product)
    for word in words:
        found += GROUPS.get(word, (word,))
    return [name for name in TARGETS if name in found]


def _device(what):
    """The target of the device for a vfio that has this."""
    return TARGETS.get(f"mdma-{what}", TARGETS["mdma"])


def mutant(name):
    """The target of one mutant: the same module with one defect. All mutants of a module are built
    one after the other in one tree, so that only what differs is compiled.

    @name: of the mutant; with /iommufd behind it, for a boot for iommufd
    """
    patch, _, container = name.partition("/")
    one = mutants.load(patch)
    base = TARGETS["vfio"]
    if container or one.of_iommufd:
        base = _device("iommufd")
    elif "samples/vfio-mdev/mdma/dirty_log.c" in one.hunks:
        base = _device("logging")
    elif any(path.startswith("samples/vfio-mdev/mdma-guest/") for path in one.hunks):
        base = TARGETS["mdma-guest"]
    elif any(path.startswith("samples/vfio-mdev/mdma/") for path in one.hunks):
        base = TARGETS["mdma"]
    argv = tuple(word for word in base.argv if word != WARNINGS)
    return Target(f"mutant/{base.name}", base.trees, argv, base.products, base.files,
                  mutant=one, strict=False, after=base.after)


def unit_workshop(number, programs=(), one=None):
    """The target of some unit tests with a mutant or without, in a tree in which one after the
    other is built. What was compiled stays there."""
    argv = tuple(word.replace("{bin}", "{tree}/built") for word in UNIT.argv if word != "check")
    return Target(f"mutant/unit{number}", UNIT.trees,
                  (*argv, f"TESTS={' '.join(programs)}", f"EXTRA_CFLAGS={UNINITIALIZED}", "all"),
                  files={"built/.keep": ""}, mutant=one, strict=False)


# --- inputs -----------------------------------------------------------------


def _inputs(target):
    """path in the tree -> bytes, of everything that a target is made from."""
    found = {}
    for tree in target.trees:
        directory = paths.REPO / tree
        if tree in target.copies:
            found.update({f"{tree}/{path.name}": path for path in target.copies[tree].iterdir()})
            continue
        if not directory.is_dir():
            if any(name.startswith(f"{tree}/") for name in target.files):
                continue
            raise say.LabError(f"{target.name}: no directory {tree}")
        for path in sorted(directory.rglob("*")):
            if path.is_file() and not path.name.startswith(".") \
                    and path.suffix not in (".o", ".ko", ".pyc"):
                found[str(path.relative_to(paths.REPO))] = path
    result = {name: path.read_bytes() for name, path in found.items()}
    for name, source in target.files.items():
        result[name] = source.encode() if isinstance(source, str) else source.read_bytes()
    if target.mutant:
        result.update(target.mutant.apply(result))
    return result


def _key(target, inputs):
    parts = [lab_kernel.key(), repr(target.argv), repr(target.products)]
    for name, data in sorted(inputs.items()):
        parts += [name, data]
    return image.digest(*parts)


def _of_the_future(tree):
    """Whether there are files from the future, since a clock was set back. make would take them
    for current."""
    now = time.time()
    return any(path.lstat().st_mtime > now for path in tree.rglob("*"))


def _sync(target, inputs):
    """Write the copy; unchanged files keep their date, for make."""
    tree = target.directory / "tree"
    manifest = target.directory / "manifest"
    if _of_the_future(tree):
        chroot.remove(tree)
    if manifest.exists():
        for name in set(manifest.read_text().splitlines()) - set(inputs):
            (tree / name).unlink(missing_ok=True)
    for name, data in inputs.items():
        path = tree / name
        if path.exists() and path.read_bytes() == data:
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        source = paths.REPO / name
        if source.exists():
            path.chmod(source.stat().st_mode)
    manifest.write_text("".join(f"{name}\n" for name in sorted(inputs)))


# --- building ---------------------------------------------------------------


def command(target):
    """The command line of a target, as it runs in the root tree."""
    home = f"/mnt/build/{target.name}"
    values = {"build": lab_kernel.build_directory(),
              "tree": f"{home}/tree", "source": f"{home}/tree/{target.trees[0]}",
              "bin": f"{home}/bin"}
    return [word.format(**values) for word in target.argv]


def binds():
    """What a build sees besides the root tree."""
    found = {"build": paths.BUILD, "src": paths.KERNEL_SOURCE, "tools": paths.LAB_D / "make"}
    if lab_kernel.OWN:
        found["kernel"] = paths.KERNEL
    found.update({home.name: home for home in (paths.DEBUG, paths.KCSAN) if home.is_dir()})
    return found


def _check_warnings(target, log):
    lines = [line.strip() for line in log.read_text(errors="replace").splitlines()
             if WARNING.search(line)]
    for line in lines[:10]:
        say.info(f"{target.name}: {line}")
    if lines:
        error = say.LabError(f"{target.name}: {len(lines)} warnings, see {files.short(log)}")
        error.log = log
        raise error


def _collect(target, log):
    """Copy modules to their place, without debug information. That stays in the tree; it would
    make the guest's initramfs four times as big."""
    source = target.directory / "tree" / target.trees[0]
    for product in target.products:
        if not (source / product).exists():
            made = ", ".join(sorted(path.name for path in source.glob("*.ko"))) or "none"
            raise say.LabError(f"{target.name}: no {product} was built; the modules that were: "
                               f"{made}")
        shutil.copy2(source / product, target.directory / product)
        chroot.run(["strip", "--strip-debug", f"/mnt/build/{target.name}/{product}"], log,
                   f"stripping {product}", binds=binds(), append=True)


def build(target, quiet=False):
    """Build one target unless it is current. Returns whether it was built."""
    if target.fetch:
        target.fetch()
    with image.locked(target.directory, f"building {target.name}"):
        try:
            return _build(target, quiet)
        except say.LabError as error:
            error.target = target
            raise


def _build(target, quiet):
    stamp = target.directory / "stamp"
    inputs = _inputs(target)
    key = _key(target, inputs)
    if stamp.exists() and stamp.read_text() == key:
        return False
    stamp.unlink(missing_ok=True)
    log = target.directory / "build.log"
    with contextlib.nullcontext() if quiet else say.Step(f"build: {target.name}"):
        _sync(target, inputs)
        chroot.remove(target.bin)
        target.bin.mkdir()
        chroot.run(command(target), log, f"building {target.name}", binds=binds())
        if target.strict:
            _check_warnings(target, log)
        _collect(target, log)
    stamp.write_text(key)
    return True


def check(target):
    """Build one target unless it is current, and run sparse over it, unless that was done. A
    warning is an error."""
    build(target)
    if WARNINGS not in target.argv or not target.sparse:
        return
    with image.locked(target.directory, f"checking {target.name}"):
        built, stamp = target.directory / "stamp", target.directory / "sparse.stamp"
        if stamp.exists() and stamp.read_text() == built.read_text():
            return
        log = target.directory / "sparse.log"
        with say.Step(f"sparse: {target.name}"):
            chroot.run([*command(target), *SPARSE], log, f"sparse of {target.name}",
                       binds=binds())
            _check_warnings(target, log)
        stamp.write_text(built.read_text())


# What a compiler, modpost, the linker or drivers/vfio/hook-check says of code that it refuses.
REFUSAL = re.compile(r"(?m)^(\S+:\d+(:\d+)?: (fatal )?error: |ERROR: modpost: |error: )"
                     r"|undefined reference to")


def refused(error):
    """Whether a build failed since the code is wrong, by its log. It may also be the machine: a
    disk is full, or a compiler was killed."""
    if not error.log or not error.log.exists():
        return False
    text = error.log.read_text(errors="replace")
    return bool(REFUSAL.search(text)) and "No space left on device" not in text


def make_mutant(name):
    """Build a mutant's module unless it is current, and put it into the payload."""
    target = mutant(name)
    key = _key(target, _inputs(target))
    kept = target.directory / "kept" / name
    stamp = kept / "stamp"
    if not stamp.exists() or stamp.read_text() != key:
        build(target)
        for product in target.products:
            payload.copy(target.directory / product, kept / product)
        stamp.write_text(key)
    for product in target.products:
        payload.copy(kept / product, paths.PAYLOAD / "mutant" / name / product)


def refresh(target):
    """Bring the copy of a target up to date, without building it."""
    target.bin.mkdir(exist_ok=True)
    _sync(target, _inputs(target))


# --- putting it into the lab ------------------------------------------------

# As DKMS does it, in a separate directory: init copies it into the lab's root, which has the
# kernel's own modules, unless that is the user's own.
INSTALL = r"""
set -e
release=$1 kernel=$2 own=$3
home=/mnt/own/lib/modules/$release
rm -rf /mnt/own/lib
mkdir -p "$home/kernel" "$home/updates"
cp "$kernel/modules.builtin" "$kernel/modules.builtin.modinfo" "$kernel/modules.order" "$home"
cp /mnt/build/vfio/vfio_iommu_type1.ko /mnt/build/mdma/mdma.ko "$home/updates"
if [ "$own" ]; then
	cp -r "$kernel/kernel" "$home"
	depmod -b /mnt/own "$release"
else
	mount --bind "$kernel/kernel" "$home/kernel"
	depmod -b /mnt/own "$release"
	umount "$home/kernel"
	rmdir "$home/kernel"
fi
"""


def install():
    """Put the product's modules, and the lists that modprobe reads, into the payload."""
    modules = [TARGETS["vfio"].directory / "vfio_iommu_type1.ko",
               TARGETS["mdma"].directory / "mdma.ko"]
    key = image.digest(lab_kernel.key(), INSTALL, *(path.read_bytes() for path in modules))
    own = paths.BUILD / "modules"
    stamp = own / "stamp"
    if not stamp.exists() or stamp.read_text() != key:
        stamp.unlink(missing_ok=True)
        own.mkdir(exist_ok=True)
        chroot.run(["sh", "-c", INSTALL, "sh", lab_kernel.release(),
                    lab_kernel.modules_directory(), "own" if lab_kernel.OWN else ""],
                   paths.BUILD / "install.log", "installing the modules",
                   binds={**binds(), "own": own})
        stamp.write_text(key)
    payload.mirror(own / "lib/modules", paths.PAYLOAD / "modules")


def make_guest():
    """Put the guest's kernel and initramfs into the payload."""
    payload.copy(lab_kernel.packed(), paths.PAYLOAD / "guest" / "vmlinuz")
    payload.copy(lab_kernel.unpacked(), paths.PAYLOAD / "guest" / "vmlinux")
    inputs = [*(paths.BUILD / module for module in guest.MODULES), *guest.inputs(),
              paths.LAB_D / "base/initramfs.py", paths.LAB_D / "base/kmod.py"]
    key = image.digest(lab_kernel.key(), *(path.read_bytes() for path in inputs))
    target = paths.PAYLOAD / "guest" / "initramfs.cpio"
    stamp = paths.BUILD / "guest.stamp"
    if target.exists() and stamp.exists() and stamp.read_text() == key:
        return
    guest.build(target, paths.ROOT, paths.BUILD, lab_kernel.root())
    stamp.write_text(key)


def publish(target):
    """Put a test's products into the payload."""
    directory = paths.PAYLOAD / target.name
    payload.mirror(target.bin, directory)
    for product in target.products:
        payload.copy(target.directory / product, directory / product)


def jobs(targets, mutant_names=()):
    """The jobs that build these names: name -> Job, see side_by_side.py. All need the kernel's
    source files and headers. The mutants of a module are built in one tree, so they run one after
    the other."""
    def make_mutants():
        for name in mutant_names:
            make_mutant(name)
    found = {name: Job(functools.partial(build, TARGETS[name]), ("headers", *TARGETS[name].after))
             for name in targets}
    if mutant_names:
        after = {other for name in mutant_names for other in mutant(name).after}
        found["mutants"] = Job(make_mutants, ("headers", *after))
    return found


def put_together(targets):
    """Put what was built into the payload."""
    with image.locked(paths.BUILD, "putting it together"):
        for name in PUBLISHED:
            if name in targets:
                publish(TARGETS[name])
        if set(GROUPS["guest"]) <= set(targets):
            make_guest()
        if set(PRODUCT) <= set(targets):
            install()


def check_targets(words):
    """Refuse an unknown target."""
    for word in words:
        kind, slash, name = word.partition("/")
        if word in TARGETS or (kind == "mutant" and slash and name in mutants.names()):
            continue
        raise say.UsageError(f"no target {word}; there are: {', '.join(TARGETS)}, mutant/NAME "
                             "of tests/mutants")


def some_targets(words):
    """Build only these targets, for a developer in a hurry, and run sparse over them."""
    for word in words:
        if word.startswith("mutant/"):
            make_mutant(word.split("/", 1)[1])
        else:
            check(TARGETS[word])
