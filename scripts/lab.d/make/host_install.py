# SPDX-License-Identifier: GPL-2.0-only
"""What make modules has built, and the tools, into a system without packages: make install, and
make uninstall.

A list of all that was put there, and of the directories that were made for it, is installed as
well. make uninstall removes that, and nothing else. A name is in the list before the file is there,
and the list goes last: what fails or is interrupted leaves nothing, and what is killed can be
removed.
"""

import os
import shutil
import subprocess
from contextlib import suppress
from pathlib import Path

from base import files, process, say
from make import host_modules, paths

PREFIX = "/usr/local"
LIST = "share/mdma/installed"
BACKEND = "vfio_iommu_type1.ko"
# File of the tree, or of what make modules has built -> directory below PREFIX.
TOOLS = {"scripts/mdma-trace": "bin"}
BUILT = {f"{host_modules.TOOLS}/{host_modules.OPEN}": "bin"}
MANUAL = ("Documentation/man", "share/man/man1")
WORKLOADS = ("samples/vfio-mdev/mdma/workloads", "share/mdma/workloads")
# Package -> its modules' source, where dkms has it.
PACKAGES = {"mdma-dkms": "usr/src/mdma-[0-9]*/dkms.conf",
            "mdma-guest-dkms": "usr/src/mdma-guest-[0-9]*/dkms.conf"}


class System:
    """Where things go: DESTDIR and PREFIX of the user."""

    def __init__(self, variables):
        self.root = Path(variables.get("DESTDIR") or "/").absolute()
        prefix = Path(variables.get("PREFIX") or PREFIX)
        if not prefix.is_absolute():
            raise say.UsageError(f"PREFIX={prefix}: it must begin with a /")
        self.prefix = self.root / prefix.relative_to("/")
        self.list = self.prefix / LIST
        self.made = []          # directories, until there is a list

    def modules(self, release):
        """The directory of a kernel's modules."""
        return self.root / "lib/modules" / release

    def begin_list(self, release):
        """Begin the list. Its first line is the kernel."""
        try:
            self._make(self.list.parent)
            self.list.write_text("\n".join([release, *self.made, self._name(self.list)]) + "\n")
        except BaseException:
            for name in reversed(self.made):
                with suppress(OSError):
                    (self.root / name).rmdir()
            raise

    def _name(self, path):
        return str(path.relative_to(self.root))

    def has_listed(self, path):
        """Whether a file is of a former installation."""
        return self.list.is_file() and self._name(path) in self.list.read_text().splitlines()[1:]

    def _note(self, name):
        if not self.list.is_file():
            self.made.append(name)
            return
        with open(self.list, "a", encoding="utf-8") as stream:
            stream.write(f"{name}\n")

    def _make(self, directory):
        if not directory.is_dir():
            self._make(directory.parent)
            self._note(f"{self._name(directory)}/")
            directory.mkdir()
            # Whatever the umask is: others are to find what is in it.
            directory.chmod(0o755)

    def put(self, source, directory):
        """Install a file, in one step: a module may be in use."""
        self._make(directory)
        self._note(self._name(directory / source.name))
        with files.whole(directory / source.name) as temporary:
            shutil.copyfile(source, temporary)
            temporary.chmod(0o755 if os.access(source, os.X_OK) else 0o644)

    def depmod(self, release):
        """Make modprobe find what is there now; not in a DESTDIR that has no kernel."""
        if not (self.modules(release) / "modules.order").exists():
            say.info(f"no kernel in {self.modules(release)}: run depmod {release} where it is")
            return
        done = subprocess.run(["depmod", "-b", self.root, release], check=False, text=True,
                              env=process.ENVIRONMENT, capture_output=True)
        if done.returncode:
            raise say.LabError(f"depmod: {done.stderr.strip()}")


def _built():
    """The release for which make modules was run, and the modules."""
    release = host_modules.HOME / host_modules.RELEASE
    modules = sorted(host_modules.HOME.glob("*/**/*.ko"))
    if not release.is_file() or not modules:
        raise say.LabError(f"no modules in {files.short(host_modules.HOME)}: run make modules "
                           "first (KDIR=, and KSRC= for the backend)")
    return release.read_text().strip(), modules


def _as_root(function):
    """Turn a refusal of the system into words."""
    try:
        return function()
    except PermissionError as error:
        raise say.LabError(f"{error.filename}: {error.strerror}: run it as root, or set "
                           "DESTDIR= or PREFIX=") from error


def _remove(system):
    """Remove what a list names. Returns the kernel, or None if there is no list."""
    if not system.list.is_file():
        return None
    release, *names = system.list.read_text().splitlines()
    # The list, and the directories that it is in
    last = [name for name in names if system.list.is_relative_to(system.root / name)]
    for name in (*reversed([name for name in names if name not in last]), *reversed(last)):
        path = system.root / name
        if not name.endswith("/"):
            path.unlink(missing_ok=True)
        elif path.is_dir() and not any(path.iterdir()):
            path.rmdir()
    return release


def _all(system, release, modules):
    """(file, its directory in the system) of all that is to be installed."""
    for module in modules:
        yield module, system.modules(release) / "updates"
    for base, table in ((paths.REPO, TOOLS), (host_modules.HOME, BUILT)):
        for name, directory in table.items():
            yield base / name, system.prefix / directory
    for source, directory in (MANUAL, WORKLOADS):
        for path in sorted((paths.REPO / source).iterdir()):
            yield path, system.prefix / directory


def _check_packages(system):
    """dkms would take our modules for the kernel's own, also those of a kernel for which it has
    built nothing yet."""
    for package, pattern in PACKAGES.items():
        for found in system.root.glob(pattern):
            raise say.LabError(f"{found}: the package {package} is installed; remove that first")


def _check_files(system, wanted):
    """What is there and not in our list is somebody else's."""
    for source, directory in wanted:
        path = directory / source.name
        if os.path.lexists(path) and not system.has_listed(path):
            raise say.LabError(f"{path}: not in {system.list}, so of a package, or of make install "
                               "with another PREFIX=; remove that first")


def _install(system):
    release, modules = _built()
    _check_packages(system)
    wanted = list(_all(system, release, modules))
    _check_files(system, wanted)
    former = _remove(system)
    try:
        system.begin_list(release)
        for source, directory in wanted:
            system.put(source, directory)
    except BaseException:
        _remove(system)
        raise
    finally:
        # The former kernel must find its own modules again, whatever happened.
        if former:
            system.depmod(former)
    if former != release:
        system.depmod(release)
    if BACKEND not in [module.name for module in modules]:
        say.info("without the backend, for which make modules needs KSRC=")
    print(f"installed for Linux {release}; make uninstall removes it", flush=True)
    return 0


def _uninstall(system):
    release = _remove(system)
    if release is None:
        raise say.LabError(f"no {system.list}: nothing was installed there by make install; were "
                           "DESTDIR= and PREFIX= the same?")
    system.depmod(release)
    print(f"removed for Linux {release}; a loaded module stays until rmmod or the next boot",
          flush=True)
    return 0


def install(variables):
    """make install; returns the exit code."""
    return _as_root(lambda: _install(System(variables)))


def uninstall(variables):
    """make uninstall; returns the exit code."""
    return _as_root(lambda: _uninstall(System(variables)))
