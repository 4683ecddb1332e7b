# SPDX-License-Identifier: GPL-2.0-only
"""Kernel modules of a root tree: their paths, dependencies and contents."""

import lzma
import re

from base import say


def kernel_version(root):
    """The only kernel version of a root tree."""
    names = [path.name for path in (root / "lib/modules").iterdir()]
    if len(names) != 1:
        raise say.LabError(f"{root}/lib/modules: one kernel expected, found {names}")
    return names[0]


def canonical(name):
    """A module's name as the kernel spells it."""
    return name.replace("-", "_")


def read(path):
    """The bytes of a module, decompressed, since busybox' insmod can't read xz."""
    data = path.read_bytes()
    return lzma.decompress(data) if path.suffix == ".xz" else data


def depends(data):
    """Names of the modules that a module's .modinfo depends on."""
    found = re.search(rb"\0depends=([^\0]*)\0", data)
    return [name for name in found.group(1).decode().split(",") if name] if found else []


class Modules:
    """The modules of a tree, by name, and the order in which they load."""

    def __init__(self, root):
        self.version = kernel_version(root)
        self.directory = root / "lib/modules" / self.version
        self.paths = {}
        self.needs = {}
        self._read_dep()
        self.before = self._read_softdep()

    def _read_dep(self):
        for line in (self.directory / "modules.dep").read_text().splitlines():
            path, needs = line.split(":")
            name = self._name(path)
            self.paths[name] = self.directory / path
            self.needs[name] = [self._name(word) for word in needs.split()]

    def _read_softdep(self):
        """Modules that softdep loads before others, such as crc32c before ext4."""
        result = {}
        for line in (self.directory / "modules.softdep").read_text().splitlines():
            found = re.match(r"softdep (\S+) pre: ([^:]*?)(?: post:.*)?$", line)
            if found:
                result[canonical(found[1])] = found[2].split()
        return result

    @staticmethod
    def _name(path):
        return canonical(path.rsplit("/", 1)[-1].split(".ko", 1)[0])

    def resolve(self, word):
        """The module that a name or, for crypto-*, an alias means; None if it is built in or
        unknown."""
        name = canonical(word)
        if name in self.paths:
            return name
        alias = re.compile(rf"^alias {re.escape(word)} (\S*generic)$", re.MULTILINE)
        found = alias.search((self.directory / "modules.alias").read_text())
        return canonical(found[1]) if found else None

    def builtin(self, name):
        """Whether it is built into the kernel."""
        text = (self.directory / "modules.builtin").read_text()
        return any(self._name(line) == canonical(name) for line in text.splitlines())

    def closure(self, names, extra=None):
        """Modules and their dependencies, in an order that insmod accepts.

        @names: modules of the tree, or of @extra; built-in ones are left out
        @extra: name -> bytes of modules that are not in the tree
        Returns a list of (name, bytes).
        """
        extra = {canonical(name): data for name, data in (extra or {}).items()}
        order = {}

        def visit(name):
            if name in order:
                return
            if name in extra:
                data, needs = extra[name], depends(extra[name])
            else:
                soft = [self.resolve(word) for word in self.before.get(name, [])]
                data, needs = None, [word for word in soft if word] + self.needs[name][::-1]
            for need in map(canonical, needs):
                if need in extra or need in self.paths:
                    visit(need)
                elif not self.builtin(need):
                    raise say.LabError(f"module {name} needs {need}, which is not there")
            order[name] = read(self.paths[name]) if data is None else data

        for word in names:
            name = canonical(word)
            if name not in extra and name not in self.paths:
                if self.builtin(name):
                    continue
                raise say.LabError(f"no module {word} for kernel {self.version}")
            visit(name)
        return list(order.items())
