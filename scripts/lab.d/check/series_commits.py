# SPDX-License-Identifier: GPL-2.0-only
"""The commits of the series, one after the other, in a repository with the files of the kernel's
source that they touch."""

import re
import shutil
import subprocess

from base import files, process, say
from check import series_selftests, series_text
from make import build, mutant, paths

HOME = paths.OUT / "series"
MESSAGES = paths.REPO / "Documentation" / "series"
SOURCE = HOME / "source"
TREE = HOME / "linux"
LOG = HOME / "series.log"
# type1 with the fixes alone.
FIXED = HOME / "fixed" / "vfio_iommu_type1.ko"

VFIO = "drivers/vfio"
TESTS = "tools/testing/vfio"
SAMPLES = "samples/vfio-mdev"
ABI = "Documentation/ABI/testing"

# Weaknesses of the kernel's own type1 that are mended one by one, in this order: W6 needs that a
# report can be made twice, and W7 that a failure unmaps nothing.
FIXES = ("w1", "w2", "w3", "w4", "w5", "w6", "w7", "w18")

# Message -> files of the device, from below; each includes only what is there by then.
DEVICE = {
    "device-record": "ledger dirty_log stats trace snapshot worker compat",
    "device-memory": "run window going access held manual unmap",
    "device-work": "sequence knobs replay channel engine job ring",
    "device-workload": "workload settings upload thread",
    "device-move": "migration file stream stream_values",
    "device-function": "ledger_region irq intx regs pci",
    "device-face": "main vfio device debugfs sysfs ledger_sysfs dirty_log_sysfs workload_sysfs "
                   "replay_sysfs",
}
KUNIT_OPTION = "VFIO_IOMMU_TYPE1_KUNIT_TEST"
KUNITCONFIG = f"CONFIG_KUNIT=y\nCONFIG_VFIO=y\nCONFIG_{KUNIT_OPTION}=y\n"
OPTION, GUEST_OPTION = "SAMPLE_VFIO_MDEV_MDMA", "SAMPLE_VFIO_MDEV_MDMA_GUEST"

# Our path of a backend's unit test -> its path in a kernel's tree.
UNIT = {"backend.mk": "Makefile", "unit.h": "unit.h", "shim": "shim",
        "pin_store_test.c": "pin_store_test.c", "pin_store_unit.h": "pin_store_unit.h",
        "pin_store_model_test.c": "pin_store_model_test.c",
        "dirty_report_test.c": "dirty_report_test.c",
        "type1_mock.h": "type1_mock.h", "type1_pin_mock.h": "type1_pin_mock.h",
        "type1_report_test.c": "type1_report_test.c", "type1_pin_test.c": "type1_pin_test.c",
        "type1_unmap_test.c": "type1_unmap_test.c", "type1_unmap_mock.h": "type1_unmap_mock.h",
        "type1_model_test.c": "type1_model_test.c", "type1_model.h": "type1_model.h",
        "page_row_test.c": "page_row_test.c", "type1_container_test.c": "type1_container_test.c"}

def git(*words, tree=TREE, capture=False):
    """Run git in the tree, without the user's settings except for the name."""
    name, email = author()
    environment = dict(process.ENVIRONMENT, GIT_CONFIG_GLOBAL="/dev/null",
                       GIT_AUTHOR_NAME=name, GIT_AUTHOR_EMAIL=email,
                       GIT_COMMITTER_NAME=name, GIT_COMMITTER_EMAIL=email)
    argv = ["git", "-C", tree, *words]
    if not capture:
        return process.run(argv, LOG, f"git {words[0]}", env=environment, append=True)
    return subprocess.run([str(word) for word in argv], stdout=subprocess.PIPE, text=True,
                          env=environment, check=True).stdout


def author():
    """Who signs off: git's user, or the author of the last commit of this repository."""
    name, email = _ask("config", "user.name"), _ask("config", "user.email")
    if not (name and email):
        name, email = _ask("log", "-1", "--format=%an"), _ask("log", "-1", "--format=%ae")
    if not (name and email):
        raise say.LabError("who signs the patches off? Set git's user.name and user.email")
    return name, email


def _ask(*words):
    """Git's answer about this repository; empty if it is none."""
    return subprocess.run(["git", "-C", paths.REPO, *words], stdout=subprocess.PIPE, text=True,
                          stderr=subprocess.DEVNULL, env=process.ENVIRONMENT,
                          check=False).stdout.strip()


def _macros(target, source):
    """What Kbuild found out for a target that is built, by one of its objects."""
    path = build.TARGETS[target].directory / "tree" / source
    return series_text.macros((path.parent / f".{path.name}.cmd").read_text())


def tables(text):
    """The tables of one of our sections; what is said beside them is about our documents."""
    found = re.search(r"^=[= ]+\n.*^=[= ]+\n", text, re.MULTILINE | re.DOTALL)
    return found[0].replace(" (errno.rst)", "")


class Series:
    """The commits."""

    def __init__(self, ours):
        """@ours: directory with our files of type1 and the hooked one"""
        self.ours = ours
        self.vfio = TREE / VFIO
        self.samples = TREE / SAMPLES
        self.objects = ["type1.o"]
        self.defined = (_macros("vfio", f"{VFIO}/type1.o")
                        | _macros("mdma", f"{SAMPLES}/mdma/main.o"))
        self.with_obj = "alloc_obj(" in (SOURCE / VFIO / "vfio_iommu_type1.c").read_text()
        self.namespaces = (SOURCE / VFIO / "iommufd.c").read_text()
        self.compat = series_text.compat_is_needed(self._ours("mdma/vfio.c"), self.defined)

    # --- the repository

    def begin(self):
        """A repository with the pristine source."""
        shutil.rmtree(TREE, ignore_errors=True)
        shutil.copytree(SOURCE, TREE, symlinks=True)
        git("init", "-q", "-b", "pristine")
        self._commit("The kernel's source, as its package has it", sign=False)
        git("checkout", "-q", "-b", "series")

    def _commit(self, message, sign=True):
        git("add", "-A", "-f")
        git("commit", "-q", *(["-s"] if sign else []), "-m", message)

    def commit(self, name):
        """Commit what is in the tree now, with a message of Documentation/series."""
        self._commit((MESSAGES / f"{name}.txt").read_text())

    def _for_tree(self, text):
        return series_text.with_obj(text) if self.with_obj else text

    @staticmethod
    def change(path, function, *words):
        """Replace a file of the tree by what a function makes of it."""
        path = TREE / path
        path.write_text(function(path.read_text(), *words))

    def make(self):
        """Make all commits."""
        self.begin()
        for name in FIXES:
            self.mend(name)
        self.backend()
        self.device()
        self.guest()
        self.selftests("selftests", series_selftests.TYPE1)
        self.selftests("selftests-device", series_selftests.TYPE1 + series_selftests.DEVICE)
        self.documents()

    # --- type1

    def mend(self, name):
        """Mend one weakness of type1 as it is. Each hunk must have its place, and only one."""
        path = f"{VFIO}/vfio_iommu_type1.c"
        fix = mutant.parse((MESSAGES / f"fix-{name}.patch").read_text(), f"fix-{name}")
        for changed, data in fix.apply({path: (TREE / path).read_bytes()}).items():
            (TREE / changed).write_bytes(data)
        self.commit(f"fix-{name}")

    def backend(self):
        """The store and its use, and what tests them."""
        (self.vfio / "vfio_iommu_type1.c").rename(self.vfio / "type1.c")
        self.link()
        self.commit("rename")
        self.link(*self.take("pin_*"))
        self.commit("pin-store")
        self.link(*self.take("dirty_*"))
        self.commit("dirty-report")
        self.take("page_row.h")
        self.take("type1_compat.h")
        self.take("type1_account*")
        self.take("type1_unpin*")
        self.take("type1_pin*")
        self.commit("pin")
        self.take("type1_dma*")
        self.take("type1_dirty*")
        self.take("type1_report*")
        self.take("type1_trace.h")
        self.commit("report")
        self.take("type1_unmap*")
        self.commit("unmap")
        self.take("type1_rw*")
        self.commit("rw")
        self.take("type1_container*")
        # Without it, a preemptible kernel may have no Tasks RCU.
        self.change(f"{VFIO}/Kconfig", series_text.with_select, "VFIO_IOMMU_TYPE1",
                    "NEED_TASKS_RCU")
        self.take("type1.h")
        (self.vfio / "type1.c").write_text(self._for_tree(series_text.type1_source(
            (self.ours / "vfio_iommu_type1_hooked.c").read_text(),
            (self.ours / "type1.c").read_text())))
        # What else is in our Kbuild is decided.
        flags = re.findall(r"^CFLAGS_.*\n", (self.ours / "Kbuild").read_text(), re.MULTILINE)
        self.link(flags="".join(flags))
        self.commit("retain")
        self.missing(VFIO)
        self.tests()
        self.commit("tests")
        self.kunit()
        self.commit("kunit")

    def link(self, *objects, flags=""):
        """Add objects to the module, and compiler flags."""
        self.objects += objects
        self.change(f"{VFIO}/Makefile", series_text.type1_makefile,
                    f"vfio_iommu_type1-y := {' '.join(self.objects)}\n" + flags)

    def take(self, pattern):
        """Take our files. Returns the objects to be linked for them."""
        names = sorted(path.name for path in self.ours.glob(pattern)
                       if path.suffix in (".c", ".h") and not path.name.endswith(".mod.c"))
        for name in names:
            text = series_text.decided((self.ours / name).read_text(), self.defined)
            (self.vfio / name).write_text(self._for_tree(series_text.documented(text)))
        return [f"{name[:-2]}.o" for name in names if name.endswith(".c")]

    @staticmethod
    def missing(directory, besides=()):
        """Refuse a file that no patch has; it would be left out silently."""
        for path in paths.REPO.glob(f"{directory}/*.[ch]"):
            if path.name not in besides and not path.name.endswith(".mod.c") \
                    and not (TREE / directory / path.name).exists():
                raise say.LabError(f"{files.short(path)} is in no patch of the series")

    def tests(self):
        """Copy the unit tests to the place of user-space tests."""
        target = TREE / TESTS
        target.mkdir(parents=True)
        for source, name in UNIT.items():
            path = paths.REPO / "tests/unit" / source
            if path.is_dir():
                shutil.copytree(path, target / name)
            else:
                shutil.copy(path, target / name)
        self.change(f"{TESTS}/Makefile", series_text.tests_makefile)

    def kunit(self):
        """Tests within the kernel, in the module that they are about."""
        shutil.copy(paths.REPO / "tests/unit/pin_store_kunit.c", self.vfio)
        (self.vfio / ".kunitconfig").write_text(KUNITCONFIG)
        self.change(f"{VFIO}/Kconfig", series_text.with_option, "VFIO_IOMMU_TYPE1",
                    (MESSAGES / "Kconfig.kunit").read_text())
        self.change(f"{VFIO}/Makefile", series_text.with_line, "vfio_iommu_type1-y",
                    f"vfio_iommu_type1-$(CONFIG_{KUNIT_OPTION}) += pin_store_kunit.o\n")

    # --- the device

    @staticmethod
    def _ours(name):
        return (paths.REPO / SAMPLES / name).read_text()

    def _put(self, name):
        """One of the device's files, or of its guest's driver."""
        text = series_text.device_source(self._ours(name), self.defined, self.compat)
        text = series_text.with_namespace(text, self.namespaces)
        (self.samples / name).write_text(self._for_tree(text))

    def device(self):
        """The sample driver: its interface, then layer by layer, at last the option."""
        self.interface()
        (self.samples / "mdma").mkdir()
        objects = []
        for message, names in DEVICE.items():
            for stem in names.split():
                objects += self._take_part(f"mdma/{stem}")
            flags = "\n# trace.h is found by <trace/define_trace.h>\nCFLAGS_trace.o := -I$(src)\n"
            (self.samples / "mdma/Makefile").write_text(
                series_text.device_makefile("mdma", OPTION, objects) + flags)
            if message == list(DEVICE)[-1]:
                self.offer("mdma", OPTION, "SAMPLE_VFIO_MDEV_MBOCHS")
            self.commit(message)
        self.missing(f"{SAMPLES}/mdma", () if self.compat else ("compat.h",))

    def interface(self):
        """The header that host, guest and user space share is beside the samples."""
        text = (paths.REPO / "include/uapi/linux/mdma.h").read_text()
        (self.samples / "mdma-defs.h").write_text(text.replace("_UAPI_LINUX_MDMA_H",
                                                               "_MDMA_DEFS_H"))
        self.commit("interface")

    def _take_part(self, stem):
        """X.c and X.h. Returns the object, if there is one."""
        for suffix in (".h", ".c"):
            if stem == "mdma/compat" and not self.compat:
                continue
            if (paths.REPO / SAMPLES / (stem + suffix)).exists():
                self._put(stem + suffix)
        found = (self.samples / f"{stem}.c").exists()
        return [f"{stem.split('/')[1]}.o"] if found else []

    def offer(self, directory, option, behind):
        """Kconfig and Makefile of the samples get an entry."""
        self.change("samples/Kconfig", series_text.with_option, behind,
                    (MESSAGES / f"Kconfig.{directory}").read_text())
        path = self.samples / "Makefile"
        path.write_text(path.read_text() + f"obj-$(CONFIG_{option}) += {directory}/\n")

    def guest(self):
        """The guest's driver."""
        (self.samples / "mdma-guest").mkdir()
        found = re.search(r"^mdma_guest-y := (.*)$", self._ours("mdma-guest/Kbuild"), re.MULTILINE)
        for path in sorted((paths.REPO / SAMPLES / "mdma-guest").glob("*.[ch]")):
            if not path.name.endswith(".mod.c"):
                self._put(f"mdma-guest/{path.name}")
        (self.samples / "mdma-guest/Makefile").write_text(
            series_text.device_makefile("mdma_guest", GUEST_OPTION, sorted(found[1].split())))
        self.offer("mdma-guest", GUEST_OPTION, OPTION)
        self.commit("guest")

    # --- selftests

    @staticmethod
    def _selftest(source, target):
        """Bring one of our files to its place, unless it is there."""
        if not target.exists():
            target.write_text(series_selftests.source(source.read_text()))

    def selftests(self, message, programs):
        """These programs, and those of the patch before."""
        ours, target = paths.SELFTESTS, TREE / series_selftests.DIRECTORY
        if not target.exists():
            (target / "lib").mkdir(parents=True)
            for name in ("harness.h", "config", "settings"):
                shutil.copy(ours / "kselftest" / name, target)
            shutil.copy(ours / "kselftest/gitignore", target / ".gitignore")
            self.change("tools/testing/selftests/Makefile", series_selftests.with_target)
        for name in programs:
            self._selftest(ours / f"{name}.c", target / f"{name}.c")
        for name in series_selftests.library(ours, programs):
            self._selftest(ours / "lib" / name, target / "lib" / name)
        (target / "Makefile").write_text(series_selftests.makefile(
            (ours / "kselftest/Makefile").read_text(), programs))
        self.commit(message)

    # --- documents

    def documents(self):
        """What sources and users refer to, and who maintains it."""
        design, testing = ((paths.REPO / "Documentation" / name).read_text()
                           for name in ("design.rst", "testing.rst"))
        text = (MESSAGES / "vfio-mdma.rst").read_text()
        for word, document, title in (("rules", design, "The rules"),
                                      ("defects", testing, "Defects"),
                                      ("weaknesses", testing, "Weaknesses")):
            text = text.replace(f".. {word}\n", tables(series_text.section(document, title)))
        (TREE / series_text.DOCUMENT).write_text(text)
        self.change("Documentation/driver-api/index.rst", series_text.with_chapter,
                    "vfio-mediated-device", "vfio-mdma")
        (TREE / ABI).mkdir(parents=True, exist_ok=True)
        for path in sorted((paths.REPO / ABI).iterdir()):
            (TREE / ABI / path.name).write_text(
                re.sub(r"<linux/mdma\.h>|include/uapi/linux/mdma\.h", f"{SAMPLES}/mdma-defs.h",
                       path.read_text()))
        self.commit("documents")
        name, email = author()
        self.change("MAINTAINERS", series_text.with_maintainer,
                    (MESSAGES / "MAINTAINERS").read_text().replace("AUTHOR", f"{name} <{email}>"))
        self.commit("maintainers")
