# SPDX-License-Identifier: GPL-2.0-only
"""The backend as patches for a kernel's tree, for git am, and the proof that they work.

The tree is a repository below OUT/series, with those files of the lab's kernel source package that
the patches touch. There, the kernel's type1 is the file that type1.cocci makes from it, with our
own files beside it. The result is tried at once, from the patches alone: applied to the pristine
source, checked by checkpatch, built with W=1 and sparse, and its unit tests run.
"""

import re
import shutil
import subprocess

from base import files, kmod, process, say
from check import lint
from make import build, chroot, image, packages, paths, ready

HOME = paths.OUT / "series"
MESSAGES = paths.REPO / "Documentation" / "series"
SOURCE = HOME / "source"
TREE = HOME / "linux"
TRIAL = HOME / "trial"
LOG = HOME / "series.log"

VFIO = "drivers/vfio"
TESTS = "tools/testing/vfio"
# Files of the kernel's source that the patches touch, and that their tests need.
WANTED = (f"{VFIO}/*", "include/linux/vfio*", "tools/include/linux/rbtree*", "tools/lib/rbtree.c")

# A patch that adds a file to a directory already in MAINTAINERS adds no entry there.
CHECKPATCH_IGNORE = ("FILE_PATH_CHANGES",)

# Our path of a backend's unit test -> its path in a kernel's tree.
UNIT = {"backend.mk": "Makefile", "unit.h": "unit.h", "shim": "shim",
        "pin_store_test.c": "pin_store_test.c", "pin_store_unit.h": "pin_store_unit.h",
        "pin_store_model_test.c": "pin_store_model_test.c",
        "dirty_report_test.c": "dirty_report_test.c",
        "type1_mock.h": "type1_mock.h", "type1_pin_mock.h": "type1_pin_mock.h",
        "type1_report_test.c": "type1_report_test.c",
        "type1_compat_test.c": "type1_compat_test.c", "type1_pin_test.c": "type1_pin_test.c",
        "type1_unmap_test.c": "type1_unmap_test.c", "type1_unmap_mock.h": "type1_unmap_mock.h",
        "type1_model_test.c": "type1_model_test.c", "type1_model.h": "type1_model.h",
        "page_row_test.c": "page_row_test.c"}


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


# --- the source, and what we make of it --------------------------------------


def take_source():
    """Extract the pristine files from the kernel's source package, unless they are there."""
    stamp = HOME / "source.stamp"
    wanted = image.digest(image.recipe(), *WANTED)
    if SOURCE.is_dir() and stamp.exists() and stamp.read_text() == wanted:
        return
    with say.Step("series: kernel source"):
        shutil.rmtree(SOURCE, ignore_errors=True)
        SOURCE.mkdir(parents=True)
        process.run(["tar", "-x", "-f", paths.LAB / image.SOURCE_ARCHIVE, "-C", SOURCE,
                     "--strip-components=1", "--wildcards",
                     *(f"linux-source-*/{name}" for name in WANTED)], LOG, "unpacking")
        stamp.write_text(wanted)


def type1_source(ours):
    """type1.c for a kernel's tree: the hooked file, with ours at its end.

    @ours: directory with our files and the hooked one
    """
    hooked = (ours / "vfio_iommu_type1_hooked.c").read_text()
    wrapper = (ours / "type1.c").read_text().split('#include "vfio_iommu_type1_hooked.c"\n')[1]
    # This marks our module among others, which a kernel's tree does not need.
    wrapper, marks = re.subn(r"\n/\*[^/]*\*/\nMODULE_INFO\(backend,[^;]*;\n", "\n", wrapper)
    includes = re.findall(r"^#include .*\n", wrapper, re.MULTILINE)
    top = [line for line in includes if not line.startswith('#include "type1_')]
    for line in top:
        wrapper = wrapper.replace(line, "")
    system = "".join(line for line in top if "<" in line)
    own = "".join(line for line in top if '"' in line)
    text, heads = re.subn(r'^#include "vfio\.h"\n', f'{system}#include "vfio.h"\n'
                          f'#include "type1.h"\n{own}', hooked, flags=re.MULTILINE)
    text, tails = re.subn(r"^static int __init vfio_iommu_type1_init",
                          re.sub(r"\n{3,}", "\n\n", wrapper).strip().replace("\\", r"\\")
                          + "\n\n\\g<0>", text, flags=re.MULTILINE)
    # Coccinelle puts a comment directly behind the code.
    text = text.replace(";/*", "; /*")
    if (marks, heads, tails) != (1, 1, 1):
        raise say.LabError(f"type1.c: can't be merged into the kernel's file {marks, heads, tails}")
    return text


def _makefile(text, lines):
    """The kernel's Makefile with these lines for vfio_iommu_type1."""
    text = re.sub(r"^(CFLAGS_type1\.o|vfio_iommu_type1-y) .*\n", "", text, flags=re.MULTILINE)
    return re.sub(r"(^obj-\$\(CONFIG_VFIO_IOMMU_TYPE1\).*\n)", r"\1" + lines, text,
                  flags=re.MULTILINE)


class Series:
    """The commits, one after the other."""

    def __init__(self, ours):
        self.ours = ours
        self.vfio = TREE / VFIO
        self.objects = ["type1.o"]

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

    def link(self, *objects, flags=""):
        """Add objects to the module, and compiler flags."""
        self.objects += objects
        path = self.vfio / "Makefile"
        path.write_text(_makefile(path.read_text(),
                                  f"vfio_iommu_type1-y := {' '.join(self.objects)}\n" + flags))

    def take(self, pattern):
        """Copy our files unchanged. Returns the objects to be linked for them."""
        names = sorted(path.name for path in self.ours.glob(pattern)
                       if path.suffix in (".c", ".h") and not path.name.endswith(".mod.c"))
        for name in names:
            shutil.copy(self.ours / name, self.vfio / name)
        return [f"{name[:-2]}.o" for name in names if name.endswith(".c")]

    def make(self):
        """Make all commits."""
        self.begin()
        (self.vfio / "vfio_iommu_type1.c").rename(self.vfio / "type1.c")
        self.link()
        self.commit("01-rename")
        self.link(*self.take("pin_*"))
        self.commit("02-pin-store")
        self.link(*self.take("dirty_*"))
        self.commit("03-dirty-report")
        self.take("page_row.h")
        self.take("type1_compat.h")
        self.take("type1_account*")
        self.take("type1_unpin*")
        self.take("type1_pin*")
        self.commit("04-pin")
        self.take("type1_dma*")
        self.take("type1_dirty*")
        self.take("type1_report*")
        self.take("type1_trace.h")
        self.commit("05-report")
        self.take("type1_unmap*")
        self.commit("06-unmap")
        self.take("type1_rw*")
        self.commit("07-rw")
        self.take("type1_container*")
        self.take("type1.h")
        (self.vfio / "type1.c").write_text(type1_source(self.ours))
        flags = re.findall(r"^CFLAGS_.*\n", (self.ours / "Kbuild").read_text(), re.MULTILINE)
        self.link(flags="".join(flags))
        self.commit("08-retain")
        self.missing()
        self.tests()
        self.commit("09-tests")

    def missing(self):
        """Refuse a file that no patch has; it would be left out silently."""
        for path in paths.REPO.glob(f"{VFIO}/*.[ch]"):
            if not (self.vfio / path.name).exists():
                raise say.LabError(f"series.py puts {VFIO}/{path.name} into no patch")

    @staticmethod
    def tests():
        """Copy the unit tests to the place of user-space tests."""
        target = TREE / TESTS
        target.mkdir(parents=True)
        for source, name in UNIT.items():
            path = paths.REPO / "tests/unit" / source
            if path.is_dir():
                shutil.copytree(path, target / name)
            else:
                shutil.copy(path, target / name)


# --- the patches, and the proof ----------------------------------------------


def write_patches():
    """Write the commits as files to HOME, with the cover letter."""
    for path in HOME.glob("*.patch"):
        path.unlink()
    git("config", "branch.series.description", (MESSAGES / "cover.txt").read_text())
    git("format-patch", "-q", "-M", "--cover-letter", "--cover-from-description=subject",
        "--no-signature", "-o", HOME, "pristine..series")
    (HOME / "0000-cover-letter.patch").rename(HOME / "cover-letter.txt")
    return sorted(HOME.glob("*.patch"))


def judge(patches):
    """checkpatch --strict must accept every patch."""
    bad = []
    for patch in patches:
        ignore = list(CHECKPATCH_IGNORE)
        text = patch.read_text()
        if TESTS in text:
            ignore += lint.USER_SPACE + lint.SHIM
        if "TRACE_EVENT(" in text:
            ignore += lint.TRACE_HEADER
        result = subprocess.run(
            ["perl", paths.KERNEL_SOURCE / "scripts/checkpatch.pl", "--no-tree", f"--root={SOURCE}",
             "--strict", "--quiet", "--terse", "--show-types", "--no-summary", "--ignore",
             ",".join(ignore), patch], cwd=HOME, text=True, check=False,
            env=process.ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        bad += result.stdout.strip().splitlines()
    for line in bad[:20]:
        say.info(f"checkpatch: {line}")
    if bad:
        raise say.LabError(f"checkpatch --strict: {len(bad)} complaints")


def apply(patches):
    """git am of the patches on the pristine source must make the same tree."""
    shutil.rmtree(TRIAL, ignore_errors=True)
    git("clone", "-q", "-b", "pristine", TREE, TRIAL, tree=HOME)
    git("checkout", "-q", "-b", "applied", tree=TRIAL)
    git("am", "-q", *patches, tree=TRIAL)
    if git("rev-parse", "HEAD^{tree}", tree=TRIAL, capture=True) != \
            git("rev-parse", "series^{tree}", capture=True):
        raise say.LabError("the patches do not make the tree that they were made from")


def _of_others(line):
    """Whether a warning is about a kernel file that no patch touches."""
    found = re.search(rf"/{VFIO}/(\S+?\.[ch]):", line)
    touched = git("diff", "--name-only", "pristine..series", capture=True).splitlines()
    return bool(found) and f"{VFIO}/{found[1]}" not in touched


def compile_trial(revision, *checks):
    """Build drivers/vfio of the trial tree at a revision, without a warning."""
    git("checkout", "-q", "--detach", revision, tree=TRIAL)
    headers = f"/lib/modules/{kmod.kernel_version(paths.ROOT)}/build"
    chroot.run([*build.MAKE, "-C", headers, f"M=/mnt/series/trial/{VFIO}", *checks, "modules"],
               HOME / "build.log", f"building {VFIO} of patch {revision}",
               binds={"series": HOME})
    lines = [line for line in (HOME / "build.log").read_text(errors="replace").splitlines()
             if build.WARNING.search(line) and not _of_others(line)]
    for line in lines[:10]:
        say.info(line)
    if lines:
        raise say.LabError(f"{VFIO}: {len(lines)} warnings, see {files.short(HOME)}/build.log")
    if not (TRIAL / VFIO / "vfio_iommu_type1.ko").exists():
        raise say.LabError(f"{VFIO}: no vfio_iommu_type1.ko was built")


def run():
    """Make the patches and try them; returns the exit code."""
    ready.make_tree()
    packages.ensure({"git": "git", "perl": "perl"})
    HOME.mkdir(parents=True, exist_ok=True)
    with image.locked(HOME, "the series"):
        build.build(build.TARGETS["vfio"])
        take_source()
        with say.Step("series: patches"):
            Series(build.TARGETS["vfio"].directory / "tree" / VFIO).make()
            patches = write_patches()
        with say.Step("series: checkpatch --strict"):
            judge(patches)
        with say.Step("series: git am"):
            apply(patches)
        count = len(patches)
        for number in range(1, count):
            with say.Step(f"series: build with {number} of {count}"):
                compile_trial(f"applied~{count - number}", "W=1")
        with say.Step("series: build with all, W=1 and sparse"):
            compile_trial("applied", "W=1", "C=2")
        with say.Step("series: unit tests"):
            # Clear the OUT= that make exports: that path does not exist in the tree.
            chroot.run(["make", "-s", "-C", f"/mnt/series/trial/{TESTS}", "OUT=.", "check"],
                       HOME / "unit.log", "the unit tests of the series", binds={"series": HOME})
    for patch in patches:
        print(files.short(patch))
    print(f"{count} patches: checkpatch --strict, git am, each built with W=1, all with sparse: "
          "good", flush=True)
    return 0
