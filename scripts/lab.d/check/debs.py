# SPDX-License-Identifier: GPL-2.0-only
"""A part of the check: the Debian packages.

They are built as two versions, and tried in a copy of the tree in which they were built:
installed, upgraded, removed, purged, and installed beside a type1 that they do not know. The lab
boots from that copy with the former version, has the device open during the upgrade
(tests/packages/installed.sh), and then migrates a guest as such a host does (here.py). It does not
compile, as its CPU may be emulated: dkms gets there what it has compiled in the tree.
"""

import re
import shutil
import subprocess

from base import kmod, ktap, process, say
from boot import job
from make import chroot, deb, image, layer, paths, payload, ready

FORMER = "0.0.1"
HOME = deb.HOME / "check"
TRIAL = HOME / "root"
DISK = HOME / "root.img"
SCRIPTS = paths.REPO / "tests/packages"
TRIAL_LOG = HOME / "trial.log"
# A kernel that is there in name only.
OTHER_KERNEL = "6.1.0-0-amd64"
OTHER_MODULES = f"/lib/modules/{OTHER_KERNEL}"
COMPILED = HOME / "compiled"
TIMEOUT = 4500
# What mdma-run needs: the guest, the selftests, and a broken backend for a control.
NEEDED = {"words": ("guest", "selftests"), "mutants": ("forget-unpinned",)}

# What the trial tree sees of ours, below /mnt.
BINDS = {"debs": deb.HOME, "repo": paths.REPO, "src": paths.KERNEL_SOURCE}
# Installs without packages. /tmp is gone when that ends.
BY_HAND = """set -e
cd /mnt/repo
export OUT=/tmp/out KDIR=/lib/modules/$1/build KSRC=/mnt/src
scripts/lab modules
scripts/lab install
"""

# What dpkg, dkms and depmod write on their own account.
NOT_OURS = re.compile(r"/(var/(lib/dpkg|log|cache|tmp)|tmp|root|run|proc|dev|mnt)(/|$)"
                      r"|/var/lib/dkms/mok\.|/etc/ld\.so\.cache$")
# Gives the kernel's own type1 another srcversion, in a new file: others have links to the old one.
CHANGE = r"""
import lzma, os, re, sys
path = sys.argv[1]
data = re.sub(rb"\0srcversion=[^\0]{4}", b"\0srcversion=0000", lzma.open(path).read())
os.rename(path, path + ".kept")
with open(path, "wb") as file:
    file.write(lzma.compress(data, check=lzma.CHECK_CRC32))
"""


class Wrong(Exception):
    """Something is not as it must be."""


def expect(good, text):
    """Fail with this text unless @good."""
    if not good:
        raise Wrong(text)


def said(*argv, code=0):
    """What a command in the trial tree prints; it must end with @code, unless that is None."""
    done = subprocess.run(chroot.command(argv, BINDS, TRIAL), text=True,
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, check=False,
                          stderr=subprocess.STDOUT, env=process.ENVIRONMENT,
                          preexec_fn=process.die_with_parent)
    with open(TRIAL_LOG, "a") as log:
        log.write(f"$ {' '.join(argv)}\n{done.stdout}\n")
    expect(code is None or done.returncode == code,
           f"{' '.join(argv)}: {done.returncode}\n{done.stdout[-1500:]}")
    return done.stdout


def release():
    """The only kernel of the tree."""
    return kmod.kernel_version(TRIAL)


def install(paths_of_debs):
    """Install packages; returns what that prints."""
    return said("dpkg", "-i", *(f"/mnt/debs/{path.relative_to(deb.HOME)}"
                                for path in paths_of_debs))


def all_files():
    """All files of the tree that packages of ours, or dkms for them, could have left."""
    text = said("find", "/", "-xdev", "-printf", "%p\n")
    return {path for path in text.splitlines() if not NOT_OURS.match(path)}


def backend():
    """What the type1 that modprobe would take says of itself, and its path."""
    kernel = release()
    path = said("modinfo", "-k", kernel, "-n", "vfio_iommu_type1").strip()
    return said("modinfo", "-k", kernel, "-F", "backend", "vfio_iommu_type1").strip(), path


def installed():
    """The modules that dkms has installed: {name/version}."""
    return set(re.findall(r"^(\S+), \S+, \S+: installed", said("dkms", "status"), re.MULTILINE))


# --- the tests, in their order ----------------------------------------------


class Trial:
    """What the tests share: the packages of two versions, and what is there without them."""

    def __init__(self, former, new):
        self.former, self.new = former, new
        self.version = re.search(r"_([^_]+)_", new[0].name)[1]
        self.before = all_files()

    def is_installed(self):
        """Both modules are built and installed, and modprobe takes our type1."""
        text = install(self.former)
        expect("mdma: " not in text, f"something is refused:\n{text[-1500:]}")
        expect(installed() == {f"mdma/{FORMER}", f"mdma-guest/{FORMER}"}, said("dkms", "status"))
        what, path = backend()
        expect(what.startswith("mdma:") and "/updates/dkms/" in path, f"{path}: {what}")
        for name in ("mdma", "mdma_guest"):
            said("modinfo", "-k", release(), "-n", name)
        expect("usage: mdma-trace" in said("mdma-trace", code=2), "no mdma-trace")
        expect("usage: mdma-open" in said("mdma-open", code=2), "no mdma-open")
        expect("there are: driver" in said("mdma-run", code=2), "no mdma-run")

    def is_upgraded(self):
        """The new version alone is left."""
        install(self.new)
        expect(installed() == {f"mdma/{self.version}", f"mdma-guest/{self.version}"},
               said("dkms", "status"))
        left = [path for path in all_files() if re.search(rf"/mdma.*\b{FORMER}\b", path)]
        expect(not left, f"of the former version: {left}")
        expect(backend()[0].startswith("mdma:"), f"not ours: {backend()}")
        built = TRIAL / "var/lib/dkms/mdma" / self.version / release()
        for path in built.glob("*/module/*.ko.xz"):
            payload.copy(path, COMPILED / path.name)

    def another_kernel_is_skipped(self):
        """One of a version for which nothing was ever built: its installation goes on."""
        said("mkdir", "-p", f"{OTHER_MODULES}/build/include")
        try:
            text = said("dkms", "autoinstall", "-k", OTHER_KERNEL)
            expect(text.count("BUILD_EXCLUSIVE") >= 2, text)
        finally:
            said("rm", "-r", OTHER_MODULES)

    def is_removed(self):
        """The kernel's own type1 is what modprobe takes."""
        said("dpkg", "-r", "mdma-dkms", "mdma-guest-dkms", "mdma-tools")
        what, path = backend()
        expect(not what and "/kernel/drivers/vfio/" in path, f"{path}: {what}")
        expect(not installed(), said("dkms", "status"))

    def is_purged(self):
        """All files are as they were before."""
        said("dpkg", "-P", "mdma-dkms", "mdma-guest-dkms", "mdma-tools")
        self._is_as_before()

    def refuses_an_unknown_type1(self):
        """Words say why there is no backend; the device is installed."""
        stock = f"/lib/modules/{release()}/{deb.MODULE}"
        said("python3", "-c", CHANGE, stock)
        try:
            text = install(self.new)
            for words in ("that this package does not know (srcversion 0000",
                          "The device alone is built", f"Known are those of: Linux {release()}"):
                expect(words in text, f"nothing says '{words}':\n{text[-1500:]}")
            what, path = backend()
            expect(not what and "/kernel/" in path, f"{path}: {what}")
            said("modinfo", "-k", release(), "-n", "mdma")
        finally:
            said("mv", f"{stock}.kept", stock)

    def what_was_refused_is_purged(self):
        """A purge leaves nothing then either."""
        self.is_purged()

    def make_install_does_the_same(self):
        """Without packages: modprobe takes our type1, and the tools are there."""
        said("sh", "-c", BY_HAND, "sh", release())
        what, path = backend()
        expect(what.startswith("mdma:") and path.endswith("/updates/vfio_iommu_type1.ko"),
               f"{path}: {what}")
        for name in ("mdma", "mdma_guest"):
            said("modinfo", "-k", release(), "-n", name)
        for name in ("mdma-trace", "mdma-open"):
            expect(f"usage: {name}" in said(f"/usr/local/bin/{name}", code=2), f"no {name}")

    def a_package_beside_it_is_refused(self):
        """dkms would keep our modules as the kernel's own."""
        for path in self.new:
            name = path.name.partition("_")[0]
            if name.endswith("-dkms"):
                text = said("dpkg", "-i", f"/mnt/debs/{path.relative_to(deb.HOME)}", code=1)
                expect("is of make install: run make uninstall first" in text, text[-1500:])

    def make_uninstall_leaves_nothing(self):
        """All files are as they were before, and the kernel's own type1 is back."""
        said("sh", "-c", "cd /mnt/repo && scripts/lab uninstall")
        self._is_as_before()

    def _is_as_before(self):
        after = all_files()
        expect(after == self.before, f"left: {sorted(after - self.before)}, "
               f"gone: {sorted(self.before - after)}")
        what, path = backend()
        expect(not what and "/kernel/drivers/vfio/" in path, f"{path}: {what}")


AFTER = (Trial.is_upgraded, Trial.another_kernel_is_skipped, Trial.is_removed, Trial.is_purged,
         Trial.refuses_an_unknown_type1, Trial.what_was_refused_is_purged,
         Trial.make_install_does_the_same, Trial.a_package_beside_it_is_refused,
         Trial.make_uninstall_leaves_nothing)


def _result(trial, test):
    try:
        test(trial)
        return ktap.Result(f"package {test.__name__}", ktap.PASSED)
    except Wrong as error:
        return ktap.Result(f"package {test.__name__}", ktap.FAILED, str(error), evidence=TRIAL_LOG)


def in_lab(trial):
    """The results of a boot with the former version."""
    results = paths.CHECK / "packages"
    with job.results_directory(results):
        (results / "debs").mkdir()
        for path in trial.new:
            shutil.copy(path, results / "debs")
        for path in SCRIPTS.iterdir():
            shutil.copy(path, results)
        shutil.copytree(COMPILED, results / "compiled")
        outcome = job.run(results, {"scenario": "packages", "args": {}},
                          ["bash", "/results/installed.sh", FORMER, trial.version],
                          options=["lab.installed"], timeout=TIMEOUT, disk=DISK)
        found = results / "installed.ktap"
        listed = ktap.parse(found.read_text() if found.exists() else "", "packages")
    findings = "\n".join(f"{what}: {line}" for what, line in outcome.findings)
    bad = outcome.reason or findings or (f"exit code {outcome.code}" if outcome.code else "")
    return [*listed, ktap.Result("the boot with packages", ktap.FAILED if bad else ktap.PASSED,
                                 bad, evidence=results)]


def check():
    """The part of the check."""
    deb.prepare()
    ready.make(**NEEDED)
    with image.locked(deb.HOME, "the packages"):
        HOME.mkdir(exist_ok=True)
        shutil.rmtree(COMPILED, ignore_errors=True)
        COMPILED.mkdir()
        TRIAL_LOG.unlink(missing_ok=True)
        former, new = deb.packages(HOME / "former", FORMER), deb.packages(deb.HOME)
        results = []
        try:
            deb.lintian(deb.HOME)
            results.append(ktap.Result("lintian", ktap.PASSED))
        except say.LabError as error:
            results.append(ktap.Result("lintian", ktap.FAILED, str(error), evidence=error.log))
        chroot.remove(TRIAL)
        layer.copy(deb.PACKAGER, TRIAL, HOME / "copy.log")
        try:
            with say.Step("packages: installed"):
                trial = Trial(former, new)
                results.append(_result(trial, Trial.is_installed))
                image.make_filesystem(TRIAL, DISK)
            with say.Step("packages: upgraded, removed, purged, refused"):
                results += [_result(trial, test) for test in AFTER]
            return results + in_lab(trial)
        finally:
            chroot.remove(TRIAL)
            DISK.unlink(missing_ok=True)
