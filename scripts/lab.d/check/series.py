# SPDX-License-Identifier: GPL-2.0-only
"""The backend and the device as patches for a kernel's tree, for git am, and the proof that they
work.

The tree is a repository below OUT/series, with those files of the lab's kernel source package that
the patches touch (series_commits.py). The result is tried at once, from the patches alone: applied
to the pristine source, checked by the kernel's own checkpatch, built after each patch with W=1 and
sparse, and the unit tests run.
"""

import re
import shutil
import subprocess

from base import files, process, say
from check import lint, series_commits, series_selftests
from check.series_commits import (FIXED, FIXES, GUEST_OPTION, HOME, KUNIT_OPTION, LOG, MESSAGES,
                                  OPTION, SAMPLES, SOURCE, TESTS, TREE, VFIO, git)
from make import build, chroot, image, lab_kernel, packages, paths, ready

TRIAL = HOME / "trial"
BUILD_LOG = HOME / "build.log"

# Files of the kernel's source that the patches touch, and that their tests need.
WANTED = (f"{VFIO}/*", "include/linux/vfio*", "tools/include/linux/rbtree*", "tools/lib/rbtree.c",
          "samples/Kconfig", f"{SAMPLES}/*", "Documentation/driver-api/index.rst", "MAINTAINERS",
          "tools/testing/selftests/Makefile", "tools/testing/selftests/lib.mk",
          "tools/testing/selftests/kselftest.h", "tools/testing/selftests/kselftest_harness.h",
          "tools/testing/selftests/kselftest/*")

# A patch that adds a file to a directory already in MAINTAINERS adds no entry there; that of the
# sample is the last one. And the tree lacks the history in which "Fixes:" finds a commit.
CHECKPATCH_IGNORE = ("FILE_PATH_CHANGES", "UNKNOWN_COMMIT_ID")
# All of the patches, as a range of commits.
EVERYTHING = "pristine..applied"
# What the samples need to be built outside of a configured tree.
OPTIONS = (f"CONFIG_{OPTION}=m", f"CONFIG_{GUEST_OPTION}=m")


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


def write_patches():
    """Write the commits as files to HOME, with the cover letter."""
    for path in HOME.glob("*.patch"):
        path.unlink()
    git("config", "branch.series.description", (MESSAGES / "cover.txt").read_text())
    # Where much is removed, --patience shows what stays as it is.
    git("format-patch", "-q", "-M", "--patience", "--cover-letter",
        "--cover-from-description=subject", "--no-signature", "-o", HOME, "pristine..series")
    (HOME / "0000-cover-letter.patch").rename(HOME / "cover-letter.txt")
    return sorted(HOME.glob("*.patch"))


def ignored(text):
    """What checkpatch is not to demand of this patch."""
    ignore = list(CHECKPATCH_IGNORE)
    if TESTS in text or series_selftests.DIRECTORY in text:
        ignore += lint.USER_SPACE + lint.SHIM
    if f"+++ b/{SAMPLES}/mdma-defs.h" in text:
        # User space includes it, too, as those of include/uapi.
        ignore.append("BIT_MACRO")
    if "TRACE_EVENT(" in text:
        ignore += lint.TRACE_HEADER
    return ",".join(ignore)


def judge(patches):
    """checkpatch --strict must accept every patch."""
    bad = []
    for patch in patches:
        result = subprocess.run(
            ["perl", paths.KERNEL_SOURCE / "scripts/checkpatch.pl", "--no-tree", f"--root={SOURCE}",
             "--strict", "--quiet", "--terse", "--show-types", "--no-summary", "--ignore",
             ignored(patch.read_text()), patch], cwd=HOME, text=True, check=False,
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


# --- built after each patch -----------------------------------------------------


def touched(revisions):
    """Files that commits of the trial tree touch, and that are there after them."""
    return git("diff", "--name-only", "--no-renames", "--diff-filter=d", revisions, tree=TRIAL,
               capture=True).split()


def to_build(names, samples):
    """What of the tree is built after a patch: (directory, words for make).

    @names:   the files that it touches
    @samples: text of the samples' Makefile after it
    """
    found = [(VFIO, ("modules",))] if any(name.startswith(f"{VFIO}/") for name in names) else []
    # The lab's kernel has no KUnit that the module could be linked with.
    found += [(VFIO, (f"CONFIG_{KUNIT_OPTION}=y", f"{name.rsplit('/', 1)[1][:-2]}.o"))
              for name in names if re.match(rf"{VFIO}/\w+_kunit\.c$", name)]
    for directory, option in (("mdma", OPTION), ("mdma-guest", GUEST_OPTION)):
        sources = [name for name in names if re.match(rf"{SAMPLES}/{directory}/\w+\.[ch]$", name)]
        if not sources:
            continue
        if option in samples:
            found.append((SAMPLES, (*OPTIONS, "modules")))
        else:
            # A module is linked when it is complete.
            found.append((f"{SAMPLES}/{directory}", (*OPTIONS, *(
                f"{name.rsplit('/', 1)[1][:-2]}.o" for name in sources if name.endswith(".c")))))
    return found


def warnings(text, others, directory=""):
    """Lines of a build's log that warn, but not those about files of others.

    @others:    files of the tree that no patch touches
    @directory: where it was built; newer kernels name files from there
    """
    found = []
    for line in text.splitlines():
        path = re.match(r"(\S+\.[ch]):\d", line)
        inside = path and re.search(rf"(?:^|/)((?:{VFIO}|{SAMPLES})/.*)", path[1])
        name = (inside[1] if inside else f"{directory}/{path[1]}") if path else None
        if build.WARNING.search(line) and name not in others:
            found.append(line)
    return found


def refuse_warnings(log, directory=""):
    """Fail if a build's log has any. @directory: as of warnings()"""
    others = set(git("ls-files", tree=TRIAL, capture=True).split()) - set(touched(EVERYTHING))
    lines = warnings(log.read_text(errors="replace"), others, directory)
    for line in lines[:10]:
        say.info(line)
    if lines:
        raise say.LabError(f"{len(lines)} warnings, see {files.short(log)}")


def compile_trial(revision):
    """Build what a patch touches, in the trial tree at its revision, without a warning."""
    git("checkout", "-q", "--detach", revision, tree=TRIAL)
    names = touched(f"{revision}~..{revision}")
    for directory, words in to_build(names, (TRIAL / SAMPLES / "Makefile").read_text()):
        chroot.run([*build.MAKE, "-C", lab_kernel.build_directory(),
                    f"M=/mnt/series/trial/{directory}", build.WARNINGS, "C=1", build.SPARSE[1],
                    *words], BUILD_LOG, f"building {directory} of patch {revision}",
                   binds={**build.binds(), "series": HOME})
        refuse_warnings(BUILD_LOG, directory)
    if any(name.startswith(f"{series_selftests.DIRECTORY}/") for name in names):
        # Clear the MAKELEVEL that make exports: with it, lib.mk takes another one for its caller.
        chroot.run(["env", "-u", "MAKELEVEL", *build.MAKE, "-C",
                    f"/mnt/series/trial/{series_selftests.DIRECTORY}", "USERCFLAGS=-Werror"],
                   BUILD_LOG, f"building the selftests of patch {revision}", binds={"series": HOME})


def check_modules():
    """All that the patches are for was built."""
    for path in (f"{VFIO}/vfio_iommu_type1.ko", f"{SAMPLES}/mdma/mdma.ko",
                 f"{SAMPLES}/mdma-guest/mdma_guest.ko"):
        if not (TRIAL / path).exists():
            raise say.LabError(f"the series makes no {path}")


def run():
    """Make the patches and try them."""
    ready.make_tree()
    packages.ensure({"git": "git", "perl": "perl"})
    HOME.mkdir(parents=True, exist_ok=True)
    with image.locked(HOME, "the series"):
        build.build(build.TARGETS["vfio"])
        build.build(build.TARGETS["mdma"])
        take_source()
        with say.Step("series: patches"):
            series_commits.Series(build.TARGETS["vfio"].directory / "tree" / VFIO).make()
            patches = write_patches()
        with say.Step("series: checkpatch --strict"):
            judge(patches)
        with say.Step("series: git am"):
            apply(patches)
        count = len(patches)
        for number in range(1, count + 1):
            with say.Step(f"series: build with {number} of {count}"):
                compile_trial(f"applied~{count - number}")
            if number == len(FIXES):
                FIXED.parent.mkdir(exist_ok=True)
                shutil.copy(TRIAL / VFIO / FIXED.name, FIXED)
        check_modules()
        with say.Step("series: unit tests"):
            # Clear the OUT= that make exports: that path does not exist in the tree.
            chroot.run(["make", "-s", "-C", f"/mnt/series/trial/{TESTS}", "OUT=.", "check"],
                       HOME / "unit.log", "the unit tests of the series", binds={"series": HOME})
    for patch in patches:
        print(files.short(patch))
    print(f"{count} patches: checkpatch --strict, git am, each built with W=1 and sparse: good",
          flush=True)
