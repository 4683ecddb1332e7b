# SPDX-License-Identifier: GPL-2.0-only
"""Modules for a kernel other than the lab's: make modules.

Everything that can be known to be wrong with a kernel is reported before anything is compiled.
"""

import os
import re
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Optional

from base import files, process, say
from make import image, packages, paths, payload, trouble, versions

HOME = paths.OUT / "host"
MODULES = ("samples/vfio-mdev/mdma", "samples/vfio-mdev/mdma-guest")
BACKEND = "drivers/vfio"
TYPE1 = ("vfio_iommu_type1.c", "vfio.h")
# The smallest VMM, and where it is built; and the file that says for which kernel all was built.
SELFTESTS = "tests/selftests"
TOOLS, OPEN = f"{SELFTESTS}/built/tools", "mdma-open"
RELEASE = "release"

# The modules are tried with these kernels.
LINUX = tuple(version.word for version in versions.KERNELS)
# What a kernel must have -> which module needs it.
NEEDED = {"MODULES": "a module", "VFIO_MDEV": "mdma", "PCI_MSI": "mdma_guest",
          "DMA_ENGINE": "mdma_guest"}
# Variables that are passed on to kbuild if they are set.
PASSED = ("ARCH", "CROSS_COMPILE", "LLVM", "CC", "LD", "HOSTCC", "KCFLAGS")
# kbuild uses file names unquoted in shell commands and makefiles.
FIT = re.compile(r"[\w/.+@-]+")


@dataclass
class Kernel:
    """What modules are built for.

    @build:  its build directory
    @source: directory that has TYPE1, for the backend; or None
    """
    build: Path
    release: str
    source: Optional[Path] = None


def _build_directory(word):
    """The build directory that KDIR means."""
    release = os.uname().release
    build = Path(word or f"/lib/modules/{release}/build").absolute()
    if not build.is_dir() and not word:
        raise say.LabError(f"no headers of the running kernel, {release}: install "
                           f"linux-headers-{release}, or name a build directory with KDIR=")
    if not build.is_dir():
        raise say.LabError(f"KDIR={word}: no such directory; a kernel's build directory is wanted")
    if not FIT.fullmatch(str(build.resolve())):
        raise say.LabError(f"KDIR={word}: kbuild takes no such path; move it to one of letters, "
                           "digits, and / . _ + @ -")
    for name in ("Makefile", "include/config/auto.conf", "include/config/kernel.release"):
        if not (build / name).is_file():
            raise say.LabError(f"KDIR={build}: no kernel that modules can be built for, as it has "
                               f"no {name}; run 'make modules_prepare' there, or name the "
                               "directory of the package linux-headers")
    return build


def _version(text):
    """"6.12" of "6.12.117-amd64"; empty if there is no version in it."""
    found = re.match(r"(\d+\.\d+)(\D|$)", text)
    return found[1] if found else ""


def _check_config(build, release, backend):
    """The kernel must have what the modules need."""
    text = (build / "include/config/auto.conf").read_text(errors="replace")
    config = dict(re.findall(r"^CONFIG_(\w+)=(.*)$", text, re.MULTILINE))
    for name, who in NEEDED.items():
        if name not in config:
            raise say.LabError(f"KDIR={build}: Linux {release} is without CONFIG_{name}, which "
                               f"{who} needs; enable it, or take another kernel")
    if backend and config.get("VFIO_IOMMU_TYPE1") != "m":
        raise say.LabError(f"KDIR={build}: Linux {release} has no vfio_iommu_type1 that is a "
                           "module, so ours can't take its place; set "
                           "CONFIG_VFIO_IOMMU_TYPE1=m, or leave KSRC out")


def _source(word, release):
    """The directory of the kernel's own type1."""
    tree = Path(word).absolute()
    source = tree / "drivers/vfio"
    for name in TYPE1:
        if not (source / name).is_file():
            raise say.LabError(f"KSRC={word}: no drivers/vfio/{name} there; the source of "
                               f"Linux {release} is wanted")
    makefile = tree / "Makefile"
    if makefile.is_file():
        parts = dict(re.findall(r"^(VERSION|PATCHLEVEL) *= *(\d+)$", makefile.read_text(),
                                re.MULTILINE))
        version = f"{parts.get('VERSION')}.{parts.get('PATCHLEVEL')}"
        if len(parts) == 2 and version != _version(release):
            raise say.LabError(f"KSRC={word}: the source of Linux {version}, and KDIR is "
                               f"{release}; both must be of one kernel")
    return source


def kernel(variables):
    """The kernel that KDIR and KSRC mean; LabError says what is wrong with it."""
    build = _build_directory(variables.get("KDIR"))
    release = (build / "include/config/kernel.release").read_text().strip()
    if _version(release) not in LINUX:
        known = " or ".join(LINUX)
        raise say.LabError(f"KDIR={build}: Linux {release}, and the modules are written for "
                           f"{known}; name a build directory of Linux {known}")
    word = variables.get("KSRC")
    _check_config(build, release, bool(word))
    needed = {"make": "make"} if variables.get("LLVM") or variables.get("CC") \
        else {"make": "make", "gcc": "gcc"}
    if word:
        needed["spatch"] = "coccinelle"
    names = packages.missing(needed)
    if names:
        raise say.LabError(f"please install: {' '.join(names)}")
    return Kernel(build, release, _source(word, release) if word else None)


# --- building ---------------------------------------------------------------


def _workplace():
    """A directory other than HOME whose name kbuild accepts."""
    for base in (tempfile.gettempdir(), "/tmp", "/var/tmp"):
        if FIT.fullmatch(base) and os.access(base, os.W_OK | os.X_OK):
            return Path(tempfile.mkdtemp(prefix="mdma-host-", dir=base))
    raise say.LabError(f"{files.short(HOME)}: kbuild takes no such path, and there is no other "
                       f"place; set TMPDIR, or {trouble.ELSEWHERE}")


def _copy(tree, one):
    """Copy what is built, and the kernel's own type1."""
    for name in ("drivers", "samples", "include", SELFTESTS):
        shutil.copytree(paths.REPO / name, tree / name, ignore=payload.SKIP)
    if one.source:
        (tree / BACKEND / "kernel").mkdir()
        for name in TYPE1:
            shutil.copy(one.source / name, tree / BACKEND / "kernel" / name)


def _compile(tree, one, log):
    """Build all modules. The backend's source comes first: it tells whether the kernel is a known
    one."""
    jobs = f"-j{os.cpu_count() or 1}"
    words = [f"{name}={os.environ[name]}" for name in PASSED if os.environ.get(name)]
    backend = ["make", jobs, "-C", tree / BACKEND, f"KDIR={one.build}",
               f"SRC=kernel/{TYPE1[0]}", *words]
    log.unlink(missing_ok=True)
    with say.Step(f"modules: for Linux {one.release}"):
        if one.source:
            process.run([*backend, "vfio_iommu_type1_hooked.c"], log, "hooking the kernel's type1")
        for name in MODULES:
            process.run(["make", jobs, "-C", one.build, f"M={tree / name}", *words, "modules"],
                        log, f"building {Path(name).name}", append=True)
        if one.source:
            process.run([*backend, "modules"], log, "building the backend", append=True)
        cross = os.environ.get("CROSS_COMPILE")
        process.run(["make", jobs, "-C", tree / SELFTESTS, "OUT=built", "LINK=",
                     *([f"CC={cross}gcc"] if cross else []), f"built/tools/{OPEN}"], log,
                    f"building {OPEN}", append=True)


def _keep(tree):
    """Move what was built elsewhere to HOME."""
    for path in tree.iterdir():
        shutil.copytree(path, HOME / path.name)


def run(one):
    """Build in HOME, or where kbuild can, and leave all of it in HOME."""
    HOME.mkdir(exist_ok=True)
    with image.locked(HOME, "modules"):
        (HOME / RELEASE).unlink(missing_ok=True)
        for path in HOME.iterdir():
            if path.is_dir():
                shutil.rmtree(path)
        tree = HOME if FIT.fullmatch(str(HOME)) else _workplace()
        try:
            _copy(tree, one)
            _compile(tree, one, HOME / "build.log")
            if tree != HOME:
                _keep(tree)
            (HOME / RELEASE).write_text(f"{one.release}\n")
        finally:
            if tree != HOME:
                shutil.rmtree(tree)
    for path in sorted(HOME.rglob("*.ko")):
        print(files.short(path), flush=True)
    return 0
