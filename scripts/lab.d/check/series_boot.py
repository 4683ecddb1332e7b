# SPDX-License-Identifier: GPL-2.0-only
"""The kernel with the series, built and booted in the lab. There, its selftests run as anybody runs
them who has installed them, by run_kselftest.sh, and the KUnit tests when type1 is loaded."""

import re
import shutil

from base import initramfs, ktap, say
from boot import job
from check import series_selftests, series_whole
from check.series_commits import HOME
from make import build, chroot, debug_kernel, image, paths, payload, ready, small_kernel

KERNEL = series_whole.KERNEL
# The lab boots it as it boots a debug kernel.
BOOTED = debug_kernel.Debug(KERNEL, (), (), b"")
RESULTS = HOME / "booted"
INSTALLED = KERNEL.home / "kselftest"
SELFTESTS = KERNEL.tree / "tools/testing/selftests"
COLLECTION = series_selftests.DIRECTORY.partition("/selftests/")[2]
PROGRAMS = series_selftests.TYPE1 + series_selftests.DEVICE
KUNIT_SUITE = "vfio_pin_store"
TIMEOUT = 3600

# run_kselftest.sh opens its /dev/stdout once more; if that is a file, the one overwrites the other.
COMMANDS = f"""
modprobe -a vfio_iommu_type1 mdma || exit 1
export TIMEOUT_SCALE=6
/mdma/{BOOTED.name}/kselftest/run_kselftest.sh -c {COLLECTION} 2>&1 | cat >/results/kselftest.ktap
dmesg | sed -n 's/^\\[[^]]*\\] *//; /^ *\\(not \\)\\?ok [0-9]* {KUNIT_SUITE}/p' >/results/kunit.txt
"""


def install():
    """What "make install" of the kernel's selftests leaves, which needs rsync."""
    chroot.run(["env", "-u", "MAKELEVEL", *build.MAKE, "-C",
                f"{KERNEL.mount}/tree/{series_selftests.DIRECTORY}"],
               KERNEL.home / "selftests.log", "building the selftests", binds=build.binds())
    shutil.rmtree(INSTALLED, ignore_errors=True)
    target = INSTALLED / COLLECTION
    target.mkdir(parents=True)
    for name in (*PROGRAMS, "config", "settings"):
        shutil.copy(KERNEL.tree / series_selftests.DIRECTORY / name, target)
    shutil.copy(SELFTESTS / "run_kselftest.sh", INSTALLED)
    shutil.copytree(SELFTESTS / "kselftest", INSTALLED / "kselftest")
    (INSTALLED / "kselftest-list.txt").write_text(
        "".join(f"{COLLECTION}:{name}\n" for name in PROGRAMS))


def make():
    """Build the kernel, and put all of it where the lab finds it."""
    with image.locked(KERNEL.home, KERNEL.what):
        small_kernel.compile_all(KERNEL, "10 to 30 minutes the first time")
        small_kernel.install_modules(KERNEL)
        with say.Step("series: selftests"):
            install()
        initramfs.build(BOOTED.initramfs, paths.ROOT, init=paths.LAB_D / "lab/initramfs-init")
        payload.mirror(KERNEL.home / "modules/lib/modules",
                       paths.PAYLOAD / BOOTED.name / "modules")
        payload.mirror(INSTALLED, paths.PAYLOAD / BOOTED.name / "kselftest")


def tests():
    """The tests of these programs, by their names in the kernel's harness."""
    return {f"{fixture}.{name}" for program in PROGRAMS for fixture, name in
            re.findall(r"^TEST_F\((\w+), (\w+),", (paths.SELFTESTS / f"{program}.c").read_text(),
                       re.MULTILINE)}


def judge(text, kunit, wanted):
    """What is wrong, in lines. @text: of run_kselftest.sh; @kunit: the line of the suite"""
    results = ktap.parse(text, COLLECTION)
    bad = [f"{one.name}: {one.state} {one.reason}" for one in results if one.state != ktap.PASSED]
    bad += [f"{name}: did not run" for name in sorted(wanted - {one.name for one in results})]
    if not kunit.lstrip().startswith("ok "):
        bad.append(f"KUnit's {KUNIT_SUITE}: {kunit.strip() or 'did not run'}")
    return bad


def run():
    """Boot it, and run them."""
    make()
    ready.make_bare()
    with debug_kernel.booting(BOOTED):
        outcome = job.run_commands(COMMANDS.encode(), RESULTS, bare=True, timeout=TIMEOUT)
    texts = [path.read_text(errors="replace") if path.exists() else ""
             for path in (RESULTS / "kselftest.ktap", RESULTS / "kunit.txt")]
    wanted = tests()
    bad = ([outcome.reason] if outcome.reason else []) + judge(*texts, wanted)
    bad += [line for _, line in outcome.findings]
    for line in bad[:20]:
        say.info(f"series: {line}")
    if bad or outcome.exit_code():
        raise say.LabError(f"the kernel with the series: {len(bad)} complaints")
    print(f"the kernel with the series: booted, {len(wanted)} selftests and KUnit: good",
          flush=True)
