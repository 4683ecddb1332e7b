# SPDX-License-Identifier: GPL-2.0-only
"""make modules: one sentence says what is wrong with a kernel, before anything is compiled; and a
source that the hooks do not fit is refused with an explanation."""

import subprocess
import sys
import tempfile
import unittest
from pathlib import Path
from unittest import mock

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "scripts/lab.d"))

# pylint: disable=wrong-import-position
from base import say
from make import host_modules, paths

CONFIG = ("MODULES=y", "VFIO_MDEV=m", "PCI_MSI=y", "DMA_ENGINE=y", "VFIO_IOMMU_TYPE1=m")
RULES = """\
// kernel: 6.12

// The list goes:
// all of it.
-struct list;
// hook: 0 struct list
// hook: 2 our_list

// Only some kernels have it:
// where: struct tree
// hook: 0 struct tree
// hook: 1 our_tree

// hook: 1 our_end
"""


class Case(unittest.TestCase):
    """A directory for made-up kernels."""

    def setUp(self):
        self.directory = tempfile.TemporaryDirectory()
        self.addCleanup(self.directory.cleanup)
        self.root = Path(self.directory.name)


class Kernel(Case):
    """host_modules.kernel()"""

    def make(self, name="build", release="6.12.9-amd64", config=CONFIG):
        """A kernel's build directory."""
        build = self.root / name
        (build / "include/config").mkdir(parents=True)
        (build / "Makefile").touch()
        (build / "include/config/kernel.release").write_text(f"{release}\n")
        (build / "include/config/auto.conf").write_text(
            "".join(f"CONFIG_{line}\n" for line in config))
        return build

    def source(self, version="6.12", files=host_modules.TYPE1):
        """A kernel's source."""
        tree = self.root / "source"
        (tree / "drivers/vfio").mkdir(parents=True)
        for name in files:
            (tree / "drivers/vfio" / name).touch()
        major, minor = version.split(".")
        (tree / "Makefile").write_text(f"VERSION = {major}\nPATCHLEVEL = {minor}\n")
        return tree

    def said(self, build, source=None, missing=()):
        """The complaint; None for a good kernel."""
        with mock.patch.object(host_modules.packages, "missing", lambda _: list(missing)):
            try:
                host_modules.kernel({"KDIR": str(build), "KSRC": str(source or "")})
            except say.LabError as error:
                self.assertNotIn("\n", str(error))
                return str(error)
        return None

    def test_good(self):
        """With and without a source."""
        build = self.make()
        self.assertIsNone(self.said(build))
        self.assertIsNone(self.said(build, self.source()))

    def test_no_headers(self):
        """Headers of the running kernel, if no other one is named."""
        with mock.patch.object(host_modules.os, "uname", lambda: mock.Mock(release="9.9-none")):
            with self.assertRaisesRegex(say.LabError, "install linux-headers-9.9-none"):
                host_modules.kernel({"KDIR": ""})

    def test_wrong_directory(self):
        """No directory, a wrong one, a source that is not prepared, an odd path."""
        self.assertIn("no such directory", self.said(self.root / "none"))
        self.assertIn("has no Makefile", self.said(self.root))
        build = self.make()
        (build / "include/config/auto.conf").unlink()
        self.assertIn("modules_prepare", self.said(build))
        self.assertIn("kbuild takes no such path", self.said(self.make("a b")))

    def test_another_kernel(self):
        """Older, newer, and 6.1, which is a prefix of 6.12."""
        for release in ("6.1.0-42-amd64", "6.13.1", "7.30.0", "5.10", "6.120"):
            with self.subTest(release=release):
                said = self.said(self.make(release, release))
                self.assertIn(f"Linux {release}, and the modules are written for 6.12", said)

    def test_configuration(self):
        """What each of the modules needs."""
        for name in host_modules.NEEDED:
            config = [line for line in CONFIG if not line.startswith(f"{name}=")]
            self.assertIn(f"is without CONFIG_{name}, which",
                          self.said(self.make(name, config=config)))
        builtin = self.make("builtin", config=(*CONFIG[:-1], "VFIO_IOMMU_TYPE1=y"))
        self.assertIsNone(self.said(builtin))
        self.assertIn("no vfio_iommu_type1 that is a module", self.said(builtin, self.source()))

    def test_source(self):
        """The source of another kernel, or none; and the tool that reads it."""
        build = self.make()
        self.assertIn("no drivers/vfio/vfio.h there",
                      self.said(build, self.source(files=host_modules.TYPE1[:1])))
        with mock.patch.object(self, "root", self.root / "other"):
            self.assertIn("the source of Linux 7.4, and KDIR is 6.12.9-amd64",
                          self.said(build, self.source("7.4")))
        with mock.patch.object(self, "root", self.root / "good"):
            self.assertIn("please install: coccinelle",
                          self.said(build, self.source(), ["coccinelle"]))


class HookCheck(Case):
    """drivers/vfio/hook-check"""

    def check(self, before, after, rules=RULES):
        """(exit code, output)"""
        for name, text in (("x.cocci", rules), ("before.c", before), ("after.c", after)):
            (self.root / name).write_text(text)
        done = subprocess.run(["sh", paths.REPO / "drivers/vfio/hook-check", "x.cocci",
                               "before.c", "after.c"], cwd=self.root, text=True, check=False,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        return done.returncode, done.stdout

    def test_good(self):
        """All hooks hold."""
        self.assertEqual(self.check("struct list;\n", "our_list;\nour_list;\nour_end;\n"),
                         (0, "x.cocci: all 3 hooks hold\n"))

    def test_where(self):
        """A hook that only some kernels have must hold there, and what follows everywhere."""
        before, after = "struct list;\nstruct tree;\n", "our_list;\nour_list;\nour_end;\n"
        self.assertEqual(self.check(before, after + "our_tree;\n"),
                         (0, "x.cocci: all 5 hooks hold\n"))
        code, said = self.check(before, after + "struct tree;\n")
        self.assertEqual(code, 1)
        self.assertIn("2 of 5 hooks", said)
        self.assertIn("x.cocci:11: 'struct tree' is on 1 lines", said)
        self.assertIn("'our_end' is on 0 lines",
                      self.check("struct list;\n", "our_list;\nour_list;\n")[1])

    def test_where_one_word(self):
        """The text that only some kernels have may be a word."""
        rules = "// where: tree(\n// hook: 1 our_tree(\n"
        self.assertEqual(self.check("tree(x)\n", "our_tree(x)\n", rules)[0], 0)
        code, said = self.check("tree(x)\n", "tree(x)\n", rules)
        self.assertEqual(code, 1)
        self.assertIn("'our_tree(' is on 0 lines", said)

    def test_missing(self):
        """Which hook is missing, where, by which rule, for which kernel, and what to do."""
        code, said = self.check("struct list;\n", "our_list;\nour_end;\n")
        *_, last = said.splitlines()
        self.assertEqual(code, 1)
        for words in ("error: before.c", "Linux 6.12", "1 of 3 hooks", "x.cocci:7: 'our_list'",
                      "on 1 lines of the result, must be on 2", '"The list goes:"', "KSRC="):
            self.assertIn(words, last)

    def test_never_there(self):
        """A rule that changed nothing, and rules without a hook."""
        self.assertIn("x.cocci:6: 'struct list' was never in before.c",
                      self.check("", "our_list;\nour_list;\nour_end;\n")[1])
        self.assertEqual(self.check("", "", "// kernel: 6.12\n")[0], 1)


if __name__ == "__main__":
    unittest.main()
