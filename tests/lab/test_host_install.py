# SPDX-License-Identifier: GPL-2.0-only
"""make install puts everything into a directory, and make uninstall leaves that as it was."""

import contextlib
import io
import os
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path
from unittest import mock

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "scripts/lab.d"))

# pylint: disable=wrong-import-position
from base import process, say
from make import host_install, host_modules, paths

RELEASE = "6.12.9-amd64"
UPDATES = f"lib/modules/{RELEASE}/updates"
BUILT = ("drivers/vfio/vfio_iommu_type1.ko", "samples/vfio-mdev/mdma/mdma.ko",
         "samples/vfio-mdev/mdma-guest/mdma_guest.ko",
         f"{host_modules.TOOLS}/{host_modules.OPEN}")


class Install(unittest.TestCase):
    """With made-up modules, and a kernel without any."""

    def setUp(self):
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.home, self.root = Path(directory.name, "host"), Path(directory.name, "root")
        (self.root / "usr/bin").mkdir(parents=True)
        for patch in (mock.patch.object(host_modules, "HOME", self.home),
                      mock.patch.object(host_install.System, "depmod"),
                      mock.patch.object(say, "info")):
            patch.start()
            self.addCleanup(patch.stop)
        self.depmod = host_install.System.depmod

    def built(self, names=BUILT, release=RELEASE):
        """What make modules leaves."""
        for name in names:
            (self.home / name).parent.mkdir(parents=True, exist_ok=True)
            (self.home / name).write_text(name)
        (self.home / host_modules.RELEASE).write_text(f"{release}\n")

    def run_it(self, function, **more):
        """Install or uninstall in the directory."""
        with contextlib.redirect_stdout(io.StringIO()):
            return function({"DESTDIR": str(self.root), "PREFIX": "/usr", **more})

    def there(self):
        """All that is in the directory."""
        return {str(path.relative_to(self.root)) for path in self.root.rglob("*")}

    def test_all_and_nothing(self):
        """All is where it belongs; then all is gone, and what was there before is not."""
        self.built()
        (self.root / "usr/bin/other").touch()
        before = self.there()
        self.assertEqual(self.run_it(host_install.install), 0)
        for name in (f"{UPDATES}/vfio_iommu_type1.ko", f"{UPDATES}/mdma.ko",
                     f"{UPDATES}/mdma_guest.ko", "usr/bin/mdma-trace", "usr/bin/mdma-open",
                     "usr/share/man/man1/mdma-open.1", "usr/share/mdma/workloads/nic-rx"):
            self.assertIn(name, self.there())
        self.assertTrue((self.root / "usr/bin/mdma-trace").stat().st_mode & 0o001)
        self.assertFalse((self.root / f"{UPDATES}/mdma.ko").stat().st_mode & 0o001)
        self.depmod.assert_called_once_with(RELEASE)
        self.assertEqual(self.run_it(host_install.uninstall), 0)
        self.assertEqual(self.there(), before)
        self.assertEqual(self.depmod.call_count, 2)

    def test_twice(self):
        """What only the first installation had is gone after the second."""
        self.built()
        self.run_it(host_install.install)
        (self.home / BUILT[0]).unlink()
        self.run_it(host_install.install)
        self.assertNotIn(f"{UPDATES}/vfio_iommu_type1.ko", self.there())
        self.assertIn(f"{UPDATES}/mdma.ko", self.there())
        self.run_it(host_install.uninstall)
        self.assertEqual(self.there(), {"usr", "usr/bin"})

    def test_another_kernel(self):
        """The kernel that had the modules before finds its own ones again."""
        self.built()
        self.run_it(host_install.install)
        self.depmod.reset_mock()
        self.built(release="7.3.1-amd64")
        self.run_it(host_install.install)
        self.assertEqual(self.depmod.call_args_list,
                         [mock.call(RELEASE), mock.call("7.3.1-amd64")])
        self.assertFalse((self.root / UPDATES).exists())
        self.depmod.reset_mock()
        with mock.patch.object(host_install.System, "put", side_effect=OSError(28, "full")), \
                self.assertRaises(OSError):
            self.run_it(host_install.install)
        self.depmod.assert_called_once_with("7.3.1-amd64")

    def interrupted(self, function, place, before, killed=False):
        """Interrupt a function at each use of @place, such as "shutil.copyfile"; each time all
        must go by make uninstall afterwards.

        @killed: it has no time to undo what it did
        """
        module, _, name = place.rpartition(".")
        target = {"shutil": host_install.shutil, "Path": Path}[module]
        real = getattr(target, name)
        for number in range(1000):
            left = [number]

            def stop(*words, left=left, **more):
                left[0] -= 1
                if left[0] < 0:
                    raise process.Stopped(2)
                return real(*words, **more)
            with mock.patch.object(target, name, stop), contextlib.ExitStack() as stack:
                if killed:
                    stack.enter_context(mock.patch.object(host_install, "_remove",
                                                          return_value=None))
                try:
                    self.run_it(function)
                    ended = True
                except process.Stopped:
                    ended = False
            if (self.root / "usr" / host_install.LIST).is_file():
                self.run_it(host_install.uninstall)
            self.assertEqual(self.there(), before, f"{place} {number}")
            if ended:
                return number
            if function is host_install.uninstall:
                self.run_it(host_install.install)
        raise AssertionError("no end")

    def test_interrupted(self):
        """What an interrupted installation or removal has left can be removed."""
        self.built()
        before = self.there()
        self.assertGreater(self.interrupted(host_install.install, "shutil.copyfile", before), 9)
        self.assertGreater(self.interrupted(host_install.install, "Path.mkdir", before), 4)
        self.assertGreater(self.interrupted(host_install.install, "shutil.copyfile", before,
                                            killed=True), 9)
        self.run_it(host_install.install)
        self.assertGreater(self.interrupted(host_install.uninstall, "Path.unlink", before), 9)

    def test_umask(self):
        """Others find what root has installed."""
        self.built()
        self.addCleanup(os.umask, os.umask(0o077))
        self.run_it(host_install.install)
        for path in (self.root / UPDATES, self.root / "usr/share/mdma"):
            self.assertEqual(path.stat().st_mode & 0o777, 0o755, path)

    def test_others_keep_their_files(self):
        """A directory that somebody else uses now stays."""
        self.built()
        self.run_it(host_install.install)
        (self.root / UPDATES / "other.ko").touch()
        self.run_it(host_install.uninstall)
        self.assertEqual({path.name for path in (self.root / UPDATES).iterdir()}, {"other.ko"})

    def refused(self, function, words, **more):
        """The error must have these words, and nothing may have been installed."""
        before = self.there()
        with self.assertRaisesRegex(say.LabError, words):
            self.run_it(function, **more)
        self.assertEqual(self.there(), before)

    def test_refused(self):
        """Each with a remedy."""
        self.refused(host_install.install, "run make modules first")
        self.refused(host_install.uninstall, "nothing was installed there")
        self.built()
        self.refused(host_install.install, "must begin with a /", PREFIX="usr")

    def put(self, name):
        """A file of somebody else; returns a function that removes it."""
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
        return path.unlink

    def test_beside_packages(self):
        """What dkms has, and files of others; ours do not count."""
        self.built()
        self.run_it(host_install.install)
        for name, words in (("usr/src/mdma-0.1/dkms.conf", "package mdma-dkms is installed"),
                            ("usr/src/mdma-guest-0.1/dkms.conf", "package mdma-guest-dkms is")):
            remove = self.put(name)
            self.refused(host_install.install, words)
            remove()
        self.run_it(host_install.install)
        self.run_it(host_install.uninstall)
        for name in ("usr/bin/mdma-trace", f"{UPDATES}/mdma.ko"):
            remove = self.put(name)
            self.refused(host_install.install, f"{name}: not in .*, so of a package")
            remove()

    def preinst(self, package, action):
        """Exit code and words of a package's script."""
        done = subprocess.run(["sh", paths.REPO / f"debian/{package}.preinst", action], text=True,
                              capture_output=True, check=False,
                              env={**os.environ, "DPKG_ROOT": str(self.root)})
        return done.returncode, done.stderr

    def test_packages_beside_it(self):
        """Each package that dkms, or make uninstall, would confuse with it is refused; what is
        already installed is upgraded."""
        self.built()
        names = {path.stem for path in (paths.REPO / "debian").glob("*.preinst")}
        self.assertEqual(names, {"mdma-dkms", "mdma-guest-dkms", "mdma-tools"})
        for name in names:
            self.assertEqual(self.preinst(name, "install"), (0, ""))
        self.run_it(host_install.install)
        for name in names:
            code, said = self.preinst(name, "install")
            self.assertEqual((code, said.count("\n")), (1, 1), said)
            self.assertRegex(said, f"^{name}: .* is of make install: run make uninstall")
            self.assertEqual(self.preinst(name, "upgrade"), (0, ""))
        self.run_it(host_install.uninstall)
        for name in names:
            self.assertEqual(self.preinst(name, "install"), (0, ""))

    def test_not_root(self):
        """A refusal of the system is one sentence."""
        self.built()
        denied = PermissionError(13, "Permission denied", "/lib/modules")
        with mock.patch.object(host_install.System, "put", side_effect=denied):
            self.refused(host_install.install, "Permission denied: run it as root")


if __name__ == "__main__":
    unittest.main()
