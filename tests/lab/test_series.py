#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""The series: what becomes of our sources in a kernel's tree, and what is built after a patch."""

import dataclasses
import re
import sys
import tempfile
import unittest
from pathlib import Path
from unittest import mock

REPO = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(REPO / "scripts/lab.d"))

# pylint: disable=wrong-import-position,protected-access
from base import ktap, say
from check import (series, series_commits, series_fixes, series_selftests, series_text,
                   series_whole)
from make import mutant

OLD = set()
NEW = {"TYPE1_HAS_VFIO_BATCH", "TYPE1_SAYS_EOVERFLOW", "MDMA_HAS_CONST_BIN_ATTRIBUTE",
       "MDMA_HAS_REGION_INFO_CAPS"}
SAMPLES = REPO / "samples/vfio-mdev"


class Decided(unittest.TestCase):
    """What differs between kernels."""

    def test_macros(self):
        """Those of the command line, and no others."""
        self.assertEqual(series_text.macros("gcc -DMODULE -DTYPE1_HAS_VFIO_BATCH -DMDMA_HAS_X "
                                            "-DTYPE1_OTHER -c"),
                         {"TYPE1_HAS_VFIO_BATCH", "MDMA_HAS_X"})

    def test_branches(self):
        """One of two branches stays, and other conditions stay as they are."""
        text = ("#ifdef TYPE1_HAS_A\na\n#if B\nb\n#else\nc\n#endif\n#else\nd\n#endif\n"
                "#ifndef MDMA_HAS_A\ne\n#endif\n#ifdef OTHER\nf\n#endif\n")
        self.assertEqual(series_text.decided(text, {"TYPE1_HAS_A"}),
                         "a\n#if B\nb\n#else\nc\n#endif\ne\n#ifdef OTHER\nf\n#endif\n")
        self.assertEqual(series_text.decided(text, {"MDMA_HAS_A"}), "d\n#ifdef OTHER\nf\n#endif\n")

    def test_end_is_missing(self):
        """An #ifdef without its end is an error."""
        with self.assertRaises(say.LabError):
            series_text.decided("#ifdef TYPE1_HAS_A\n", NEW)

    def test_all_sources(self):
        """Nothing of it is left in any of our sources."""
        paths = [*(REPO / "drivers/vfio").glob("*.[ch]"), *SAMPLES.glob("mdma*/*.[ch]")]
        self.assertGreater(len(paths), 80)
        for defined in (OLD, NEW):
            for path in paths:
                text = series_text.device_source(path.read_text(), defined, defined == OLD)
                self.assertIsNone(re.search(f"{series_text.PROBED}|MDMA_BIN_CONST|"
                                            r"<linux/mdma\.h>|\n\n\n", text), path)

    def test_macros_of_kbuild(self):
        """Each macro that Kbuild sets is one of these."""
        text = "".join((REPO / name).read_text() for name in
                       ("drivers/vfio/Kbuild", "samples/vfio-mdev/mdma/Kbuild"))
        self.assertEqual(set(re.findall(series_text.PROBED, text)), NEW)

    def test_compat(self):
        """A newer kernel needs nothing of compat.h."""
        source = (SAMPLES / "mdma/vfio.c").read_text()
        self.assertTrue(series_text.compat_is_needed(source, OLD))
        self.assertFalse(series_text.compat_is_needed(source, NEW))


class Sources(unittest.TestCase):
    """The other changes."""

    def test_with_obj(self):
        """Allocations of an object, and no others."""
        self.assertEqual(series_text.with_obj("a = kzalloc(sizeof(*a), GFP_KERNEL);"),
                         "a = kzalloc_obj(*a);")
        self.assertEqual(series_text.with_obj("a = kvmalloc(sizeof(struct a), gfp);"),
                         "a = kvmalloc_obj(struct a, gfp);")
        text = "a = kmalloc(sizeof(*a) + n, gfp); b = kzalloc(struct_size(b, c, n), gfp);"
        self.assertEqual(series_text.with_obj(text), text)

    def test_interface(self):
        """The header is the first of the driver's own; without one, it is on its own."""
        self.assertEqual(
            series_text.own_interface("#include <linux/a.h>\n#include <linux/mdma.h>\n\n"
                                      '#include "b.h"\n'),
            '#include <linux/a.h>\n\n#include "../mdma-defs.h"\n#include "b.h"\n')
        self.assertEqual(
            series_text.own_interface("#include <linux/mdma.h>\n#include <linux/z.h>\n\nint a;\n"),
            '#include <linux/z.h>\n\n#include "../mdma-defs.h"\n\nint a;\n')
        self.assertEqual(series_text.own_interface("int a;\n"), "int a;\n")

    def test_with_namespace(self):
        """As the kernel's own code imports it; ours is for both."""
        text = (SAMPLES / "mdma/dirty_log.c").read_text()
        for line in ('MODULE_IMPORT_NS("IOMMUFD");\n', "MODULE_IMPORT_NS(IOMMUFD);\n"):
            found = series_text.with_namespace(text, f"int a;\n{line}")
            self.assertIn(f"\n\n{line}", found)
            self.assertNotIn("import_ns", found)
        with self.assertRaises(say.LabError):
            series_text.with_namespace(text, "int a;\n")

    def test_documented(self):
        """A document that a tree lacks is an error."""
        with self.assertRaises(say.LabError):
            series_text.documented("/* see testing.rst */\n")
        text = (" * R, W and D with a number, here and in all files of the backend: rules in\n"
                " * Documentation/a.rst, others in b.rst there.\n *\n * c\n")
        self.assertEqual(series_text.documented(text),
                         " * R, W and D with a number, here and in all files of the backend:\n"
                         f" * {series_text.DOCUMENT}.\n *\n * c\n")

    def test_tests_makefile(self):
        """The test of what is decided is not in it, and no other is lost."""
        text = (REPO / "tests/unit/backend.mk").read_text()
        left = series_text.tests_makefile(text)
        self.assertNotIn("compat", left)
        names = set(re.findall(r"\w+_test\b", left))
        self.assertEqual(set(re.findall(r"\w+_test\b", text)) - names, {"type1_compat_test"})
        self.assertEqual({f"{name}.c" for name in names} - set(series_commits.UNIT), set())


class Selftests(unittest.TestCase):
    """On the kernel's harness."""

    DIRECTORY = REPO / "tests/selftests"
    PROGRAMS = series_selftests.TYPE1 + series_selftests.DEVICE

    def test_words(self):
        """The kernel's words; what goes on below a parenthesis moves with it."""
        self.assertEqual(
            series_selftests.source(
                'TEST_F(rig, a, 20)\n{\n\tASSERT_STR("(", f(a,\n\t\t\t  b(c,\n\t\t\t    d)));\n'
                '\tEXPECT_EQ(1,\n\t\t  2);\n\tif (x)\n\t\tSKIP("no %d", 1);\n}\n'),
            'TEST_F_TIMEOUT(rig, a, within(20))\n{\n\tASSERT_STREQ("(", f(a,\n\t\t\t    b(c,\n'
            '\t\t\t      d)));\n\tEXPECT_EQ(1,\n\t\t  2);\n\tif (x)\n'
            '\t\tSKIP(return, "no %d", 1);\n}\n')

    def test_begun(self):
        """A setup says which test begins, behind its declarations."""
        self.assertEqual(
            series_selftests.begun("FIXTURE_SETUP(a)\n{\n\tstruct a *b = c;\n\tint d;\n\n\te();\n"
                                   "}\nFIXTURE_SETUP(b)\n{\n\td();\n\n\te();\n}\n"),
            "FIXTURE_SETUP(a)\n{\n\tstruct a *b = c;\n\tint d;\n\n\ttest_begins(_metadata);\n"
            "\te();\n}\nFIXTURE_SETUP(b)\n{\n\ttest_begins(_metadata);\n\td();\n\n\te();\n}\n")

    def test_sources(self):
        """Each setup of a program begins its test, and no word of ours is left."""
        for name in self.PROGRAMS:
            text = series_selftests.source((self.DIRECTORY / f"{name}.c").read_text())
            self.assertEqual(text.count("FIXTURE_SETUP("), text.count("test_begins(_metadata)"))
            self.assertIsNone(re.search(r"_STR\(|\bTEST_F\(|SKIP\(\"|<linux/mdma\.h>", text), name)
        for text in ("IN_CHILD(f());\n", "harness_main(argc, argv, after);\n"):
            with self.assertRaises(say.LabError):
                series_selftests.source(text)

    def test_skips(self):
        """SKIP returns from the function that has it, so only tests, setups and macros do."""
        texts = [(self.DIRECTORY / f"{name}.c").read_text() for name in self.PROGRAMS]
        texts += [(self.DIRECTORY / "lib" / name).read_text()
                  for name in series_selftests.library(self.DIRECTORY, self.PROGRAMS)]
        for text in texts:
            # The first line of each function or macro, and what follows it.
            for begin, body in re.findall(r"^(\w[^\n]*\)|#define[^\n]*)\n(.*?)(?=^\w|^#|\Z)", text,
                                          re.MULTILINE | re.DOTALL):
                if "SKIP(" in body:
                    self.assertRegex(begin, r"^(TEST_F\(|FIXTURE_SETUP\(|#define )")

    def test_library(self):
        """What the programs need, and what that needs; nothing that needs more."""
        found = series_selftests.library(self.DIRECTORY, self.PROGRAMS)
        self.assertLessEqual({"fixture.h", "rig.h", "rig.c", "vfio.c", "wait.c"}, found)
        self.assertEqual(found & {"nic.c", "iommufd.c", "slow_file.c", "sweep.h"}, set())

    def test_makefiles(self):
        """The programs, and the directory among those of all selftests."""
        text = (self.DIRECTORY / "kselftest/Makefile").read_text()
        self.assertIn("TEST_GEN_PROGS += a\nTEST_GEN_PROGS += b\n\ninclude",
                      series_selftests.makefile(text, ("b", "a")))
        self.assertEqual(series_selftests.with_target("TARGETS += vfio\nTARGETS += x86\n"
                                                      "TARGETS += x86/bugs\n"),
                         "TARGETS += vfio\nTARGETS += vfio/mdma\nTARGETS += x86\n"
                         "TARGETS += x86/bugs\n")
        with self.assertRaises(say.LabError):
            series_selftests.with_target("TARGETS += vfio\n")


class Entries(unittest.TestCase):
    """Entries in files of the tree."""

    KCONFIG = ("menuconfig SAMPLES\n\nif SAMPLES\n\nconfig A\n\ttristate \"a\"\n\thelp\n\n"
               "\t  Text.\n\nconfig B\n\tbool\n\nendif\n")

    def test_option(self):
        """Behind another one, with all of its text."""
        text = series_text.with_option(self.KCONFIG, "A", "config C\n\tbool\n")
        self.assertEqual(text, self.KCONFIG.replace("config B", "config C\n\tbool\n\nconfig B"))
        with self.assertRaises(say.LabError):
            series_text.with_option(self.KCONFIG, "D", "")

    def test_select(self):
        """Before the help."""
        self.assertEqual(series_text.with_select(self.KCONFIG, "A", "C"),
                         self.KCONFIG.replace("\thelp", "\tselect C\n\thelp"))
        self.assertEqual(series_text.with_select(self.KCONFIG, "B", "C"),
                         self.KCONFIG.replace("\tbool\n", "\tbool\n\tselect C\n"))
        with self.assertRaises(say.LabError):
            series_text.with_select(self.KCONFIG, "D", "C")

    def test_maintainer(self):
        """By the alphabet, among those of its word; others are in any order."""
        text = ("List\n====\n\nVFIO X is a name\n\nX\nM:\ta\n\niSCSI VFIO E\nM:\ta\n\n"
                "VFIO B\nM:\tb\n\nVFIO D\nM:\td\n\nX\nM:\tx\n")
        self.assertEqual(series_text.with_maintainer(text, "VFIO C\nM:\tc\n"),
                         text.replace("VFIO D", "VFIO C\nM:\tc\n\nVFIO D"))

    def test_chapter(self):
        """With the same indent."""
        self.assertEqual(series_text.with_chapter("   a\n   b\n", "a", "c"), "   a\n   c\n   b\n")
        with self.assertRaises(say.LabError):
            series_text.with_chapter("   b\n", "a", "c")

    def test_tables(self):
        """The document gets all rules, defects and weaknesses."""
        found = {}
        for name, title, letter in (("design", "The rules", "R"), ("testing", "Defects", "D"),
                                    ("testing", "Weaknesses", "W")):
            text = (REPO / f"Documentation/{name}.rst").read_text()
            table = series_commits.tables(series_text.section(text, title))
            self.assertNotIn(".rst", table)
            found[letter] = re.findall(rf"^{letter}(\d+) ", table, re.MULTILINE)
        self.assertEqual(found["R"], [str(number) for number in range(1, 19)])
        self.assertEqual(found["D"], [str(number) for number in range(1, 16)])
        self.assertEqual((found["W"][0], found["W"][-1]), ("1", "19"))


class Commits(unittest.TestCase):
    """What is in which patch."""

    def test_messages(self):
        """Each message begins with a subject of one line; none is left over."""
        used = {*(f"fix-{name}" for name in series_commits.FIXES), *series_commits.DEVICE,
                *re.findall(r'self\.(?:commit|selftests)\("([\w-]+)"[,)]',
                            (REPO / "scripts/lab.d/check/series_commits.py").read_text()), "cover"}
        paths = list(series_commits.MESSAGES.glob("*.txt"))
        self.assertEqual({path.stem for path in paths}, used)
        for path in paths:
            lines = path.read_text().splitlines()
            self.assertLessEqual(len(lines[0]), 75, path)
            self.assertEqual(lines[1], "", path)
            words = [line for line in lines if not line.startswith("Fixes: ")]
            self.assertLessEqual(max(map(len, words)), 75, path)

    def test_fixes(self):
        """Each is of type1 alone, and names a weakness and selftests that there are."""
        tests = "".join(path.read_text() for path in (REPO / "tests/selftests").glob("*.c"))
        for name in series_commits.FIXES:
            path = series_commits.MESSAGES / f"fix-{name}.patch"
            fix = mutant.parse(path.read_text(), name)
            self.assertEqual((fix.rules, list(fix.hunks)),
                             ([name.upper()], ["drivers/vfio/vfio_iommu_type1.c"]))
        found = {path.stem for path in series_commits.MESSAGES.glob("*.patch")}
        self.assertEqual(found, {f"fix-{name}" for name in series_commits.FIXES})
        named = series_fixes.named()
        self.assertEqual(set(named.values()), set(series_commits.FIXES))
        for test in named:
            self.assertIn(f", {test}, ", tests)
        # That of W5 needs a NIC whose driver pins; the others are in the series.
        tests = "".join((REPO / f"tests/selftests/{name}.c").read_text()
                        for name in series_selftests.TYPE1)
        self.assertEqual({fix for test, fix in named.items() if f", {test}, " not in tests}, {"w5"})

    def test_fixes_are_judged(self):
        """A test that fails, is skipped or did not run is a complaint."""
        results = [ktap.Result("a", ktap.PASSED), ktap.Result("b", ktap.FAILED),
                   ktap.Result("c", ktap.SKIPPED), ktap.Result("other", ktap.FAILED)]
        self.assertEqual(series_fixes.judge(results, {"a": "w1", "b": "w1", "c": "w2", "d": "w3"}),
                         ["W1: b: failed", "W2: c: skipped", "W3: d: did not run"])

    def test_device(self):
        """Each file of the device is in one patch, and includes nothing of a later one."""
        there = {path.stem for path in (SAMPLES / "mdma").glob("*.[ch]")
                 if not path.name.endswith(".mod.c")}
        order = [stem for names in series_commits.DEVICE.values() for stem in names.split()]
        self.assertEqual((sorted(order), len(set(order))), (sorted(there), len(order)))
        before = set()
        for names in series_commits.DEVICE.values():
            before |= set(names.split())
            for stem in names.split():
                for path in (SAMPLES / "mdma").glob(f"{stem}.[ch]"):
                    used = set(re.findall(r'^#include "(\w+)\.h"', path.read_text(), re.MULTILINE))
                    self.assertEqual(used - before, set(), path)


class Builds(unittest.TestCase):
    """What is built after a patch, and what a log says."""

    def test_backend(self):
        """All of the module."""
        self.assertEqual(series.to_build(["drivers/vfio/pin_store.c"], ""),
                         [("drivers/vfio", ("modules",))])
        self.assertEqual(series.to_build(["MAINTAINERS", "samples/vfio-mdev/mdma-defs.h"], ""), [])

    def test_kunit(self):
        """The lab's kernel has no KUnit, so it is an object alone."""
        self.assertEqual(series.to_build(["drivers/vfio/pin_store_kunit.c"], ""),
                         [("drivers/vfio", ("modules",)),
                          ("drivers/vfio", ("CONFIG_VFIO_IOMMU_TYPE1_KUNIT_TEST=y",
                                            "pin_store_kunit.o"))])

    def test_layers(self):
        """Objects alone, until the module is complete."""
        names = ["samples/vfio-mdev/mdma/a.c", "samples/vfio-mdev/mdma/a.h",
                 "samples/vfio-mdev/mdma/Makefile"]
        self.assertEqual(series.to_build(names, "obj-$(CONFIG_OTHER) += other.o\n"),
                         [("samples/vfio-mdev/mdma", (*series.OPTIONS, "a.o"))])
        self.assertEqual(series.to_build(names, f"obj-$(CONFIG_{series.OPTION}) += mdma/\n"),
                         [("samples/vfio-mdev", (*series.OPTIONS, "modules"))])

    def test_warnings(self):
        """About our files, or about no file of the tree; not about others of the kernel."""
        others = {"drivers/vfio/vfio_main.c", "drivers/vfio/pci/a.c", "samples/vfio-mdev/mtty.c"}
        good = ("/mnt/x/drivers/vfio/vfio_main.c:7:9: warning: a\n  CC [M]  type1.o\n"
                "/mnt/x/samples/vfio-mdev/mtty.c:7: warning: a\npci/a.c:7:9: warning: a\n"
                "drivers/vfio/pci/a.c:7:9: warning: a\n")
        bad = ("/mnt/x/drivers/vfio/type1.c:7:9: warning: a\ntype1.c:7:9: warning: a\n"
               "/mnt/x/samples/vfio-mdev/mdma/a.c:7: error: a\nWARNING: modpost: a\n"
               "/usr/include/linux/vfio.h:7:9: warning: a\n")
        self.assertEqual(series.warnings(good + bad, others, "drivers/vfio"), bad.splitlines())

    def test_warnings_of_the_whole(self):
        """Of files that the patches touch; what the configuration overrides is none."""
        names = ["drivers/vfio/type1.c", "samples/vfio-mdev/mdma/a.h"]
        bad = ("drivers/vfio/type1.c:7:9: warning: a\n./samples/vfio-mdev/mdma/a.h:7: warning: a\n"
               "drivers/vfio/type1.o: warning: objtool: a\n"
               "WARNING: modpost: samples/vfio-mdev/mdma/mdma: a\n")
        good = ("drivers/vfio/vfio_main.c:7: warning: a\nkernel/a.c:7: warning: a\n"
                ".config:7:warning: override: a\n  CC      drivers/vfio/type1.o\n")
        self.assertEqual(series_whole.warnings(good + bad, names), bad.splitlines())

    def test_overlay(self):
        """The tree gets what the patches made, and loses what other patches had made."""
        def write(home, name, text):
            (home / name).parent.mkdir(parents=True, exist_ok=True)
            (home / name).write_text(text)

        with tempfile.TemporaryDirectory() as home:
            trial, source, tree = (Path(home) / name for name in ("trial", "source", "k/tree"))
            kernel = dataclasses.replace(series_whole.KERNEL, home=tree.parent)
            write(trial, "a.c", "new")
            write(source, "b.c", "old")
            for name in ("a.c", "a.o", "b.c", "gone.c"):
                write(tree, name, "before")
            touched = Path(home) / "touched"
            touched.write_text("b.c\ngone.c\n")
            with mock.patch.multiple(series_whole, KERNEL=kernel, SOURCE=source, TOUCHED=touched,
                                     git=lambda *_, **__: "a.c\nremoved.c\n"), \
                    mock.patch.object(series, "TRIAL", trial):
                series_whole.overlay()
            self.assertEqual({path.name: path.read_text() for path in tree.iterdir()},
                             {"a.c": "new", "b.c": "old"})
            self.assertEqual(touched.read_text(), "a.c\nremoved.c\n")


if __name__ == "__main__":
    unittest.main()
