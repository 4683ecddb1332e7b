# SPDX-License-Identifier: GPL-2.0-only
"""A QEMU of the user's own: QEMU= names its build directory, or the prefix it is installed in.

Only the QEMUs that are tested run it, not that of the lab itself. It was built for the host, so it
gets the host's libraries and loader; all of it goes into the payload.
"""

import os
import re
import subprocess
from pathlib import Path

from base import files, process, say
from make import image, lab_kernel, payload, paths, versions

PROGRAM = "qemu-system-x86_64"
# Where it is below the directory, and where its firmware is; a build has links there.
PROGRAMS = (PROGRAM, f"bin/{PROGRAM}")
FIRMWARE = ("qemu-bundle/**/share/qemu", "pc-bios", "share/qemu")
# What a guest of the lab boots by, with a packed kernel or an unpacked one.
NEEDED = ("bios-256k.bin", "kvmvapic.bin", "linuxboot_dma.bin", "pvh.bin")
LOADER = "ld-linux-x86-64.so.2"

HOME = paths.PAYLOAD / "qemu"
START = "start"
# How the lab runs it.
IN_LAB = f"/mdma/qemu/{START}"

# Started by its own loader, since the lab's root has another C library.
SCRIPT = f"""#!/bin/sh
here=${{0%/*}}
exec "$here/lib/{LOADER}" --library-path "$here/lib" "$here/{PROGRAM}" -L "$here/firmware" "$@"
"""


def _refuse(why):
    raise say.UsageError(f"QEMU={versions.qemu_build()}: {why}")


def _program(build):
    """The program, or a UsageError."""
    found = [build / name for name in PROGRAMS if os.access(build / name, os.X_OK)
             and (build / name).is_file()]
    if not found:
        _refuse(f"no {PROGRAM} there; a directory in which QEMU was built for it is wanted"
                if build.is_dir() else "no such directory; a version or a build of QEMU is wanted")
    return found[0]


def _firmware(build):
    """The directory of its firmware."""
    for pattern in FIRMWARE:
        for path in sorted(build.glob(pattern)):
            if all((path / name).exists() for name in NEEDED):
                return path
    return _refuse(f"no directory with its firmware ({', '.join(NEEDED)}); looked for "
                   + ", ".join(FIRMWARE))


def _said(argv):
    """What a program prints, all of it."""
    done = subprocess.run([str(word) for word in argv], capture_output=True, text=True,
                          check=False, env=process.ENVIRONMENT, stdin=subprocess.DEVNULL)
    return done.stdout + done.stderr


def libraries(program):
    """The libraries that it is linked with, and the loader, on this host."""
    text = _said(["ldd", program])
    missing = re.findall(r"^\s*(\S+) => not found$", text, re.MULTILINE)
    if missing:
        _refuse(f"it needs libraries that this host does not have: {', '.join(missing)}")
    found = [Path(path) for path in re.findall(r"(/\S+) \(0x[0-9a-f]+\)$", text, re.MULTILINE)]
    if LOADER not in (path.name for path in found):
        _refuse(f"{program.name} is no program for the libraries of this host: {text.strip()}")
    return found


def _check_version(program):
    """Refuse what does not run, and what can't work with the kernel."""
    said = _said([program, "--version"])
    found = re.search(r"version (\d+\.\d+)", said)
    if not found:
        _refuse(f"{program.name} --version says '{said.strip()}'")
    pair = (versions.chosen()["KERNEL"].word, found[1])
    why = versions.NO_IOMMUFD.get(pair)
    if why and versions.container() == versions.IOMMUFD and not lab_kernel.OWN:
        _refuse(f"CONTAINER=iommufd: {why}")


def check(command):
    """Refuse a build that can't be used, in words, before anything is begun."""
    build = versions.qemu_build()
    if not build or command == "clean":
        return
    program = _program(build)
    _firmware(build)
    libraries(program)
    _check_version(program)


def make():
    """Put it into the payload, if there is one."""
    build = versions.qemu_build()
    if not build:
        return
    program, firmware = _program(build), _firmware(build)
    with image.locked(paths.BUILD, "putting it together"):
        payload.copy(program, HOME / PROGRAM)
        for path in libraries(program):
            payload.copy(path, HOME / "lib" / path.name)
        for path in firmware.iterdir():
            if path.suffix in (".bin", ".rom"):
                payload.copy(path, HOME / "firmware" / path.name)
        with files.whole(HOME / START) as temporary:
            temporary.write_text(SCRIPT)
            temporary.chmod(0o755)
