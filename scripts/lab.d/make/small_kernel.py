# SPDX-License-Identifier: GPL-2.0-only
"""Builds a kernel that has little more than the lab needs: tinyconfig and fragments (*.config).

A kernel has a directory, its home: tree/ has its source, and what is built; modules/ its modules.
"""

import re
from dataclasses import dataclass
from pathlib import Path

from base import files, say
from make import build, chroot, paths

COMMON = paths.LAB_D / "make/kernel.config"
# Behind this line of a fragment is what some kernels have and others lack.
OPTIONAL = "# --- if there is such an option ---"

CONFIGURE = r"""
set -e
cd "$1/tree"
make -s tinyconfig
cat ../fragments.config >>.config
make -s olddefconfig
"""

INSTALL = r"""
set -e
cd "$1"
rm -rf modules
make -s -C tree modules_install INSTALL_MOD_PATH="$1/modules"
release=$(cat tree/include/config/kernel.release)
cd "modules/lib/modules/$release"
rm -f build source
"""


@dataclass(frozen=True)
class Kernel:
    """One of these kernels.

    @what:      for people
    @home:      its directory
    @mount:     the same, as a build sees it
    @fragments: files of options, besides COMMON
    @lines:     CC and AS lines of the log until the build is done; only for the progress display
    @variables: words for make: VARIABLE=value
    """
    what: str
    home: Path
    mount: str
    fragments: tuple
    lines: int
    variables: tuple = ()

    @property
    def tree(self):
        """Its source."""
        return self.home / "tree"

    @property
    def log(self):
        """The log of its build."""
        return self.home / "build.log"


def _texts(kernel):
    return [path.read_text() for path in (COMMON, *kernel.fragments)]


def options(kernel):
    """The text of all fragments."""
    return "\n".join(_texts(kernel))


def demanded(kernel):
    """The part of it that must hold in the configuration."""
    return "\n".join(text.split(OPTIONAL)[0] for text in _texts(kernel))


def recipe(kernel):
    """What decides how it is built, as one text."""
    return options(kernel) + CONFIGURE + INSTALL + "".join(kernel.variables)


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


def configure(kernel):
    """Make its .config, or say which options it does not take."""
    (kernel.home / "fragments.config").write_text(options(kernel))
    chroot.run(["sh", "-c", CONFIGURE, "sh", kernel.mount], kernel.log,
               f"configuring {kernel.what}", binds=build.binds(), append=True)
    lines = missing(demanded(kernel), (kernel.tree / ".config").read_text())
    if lines:
        names = ", ".join(files.short(path) for path in (COMMON, *kernel.fragments))
        raise say.LabError(f"{kernel.what} does not take {', '.join(lines)} of {names}")


def _progress(kernel):
    def words():
        count = sum(line.startswith(("  CC ", "  AS ")) for line in
                    kernel.log.read_text(errors="replace").splitlines())
        return f"{min(99, count * 100 // kernel.lines)} %"
    return words


def compile_all(kernel, duration):
    """Build it and its modules. @duration: for people"""
    with say.Step(f"{kernel.what}: build ({duration})", _progress(kernel)):
        chroot.run([*build.MAKE, "-C", f"{kernel.mount}/tree", *kernel.variables, "bzImage",
                    "modules"], kernel.log, f"building {kernel.what}", binds=build.binds(),
                   append=True)


def install_modules(kernel):
    """Install its modules in its home, without those that are ours."""
    chroot.run(["sh", "-c", INSTALL, "sh", kernel.mount], kernel.home / "install.log",
               f"installing the modules of {kernel.what}", binds=build.binds())
