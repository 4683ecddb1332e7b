# SPDX-License-Identifier: GPL-2.0-only
"""What chooses the hooked source of a kernel's type1 when dkms builds (debian/dkms/type1), and what
dkms.conf makes of it."""

import os
import shutil
import subprocess
import tempfile
import unittest
from pathlib import Path

DEBIAN = Path(__file__).resolve().parents[2] / "debian"
KERNEL = "6.12.9-amd64"


class Type1(unittest.TestCase):
    """With a package that knows one type1, and made-up kernels."""

    def setUp(self):
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.root = Path(directory.name)
        self.home = self.root / "mdma-1"
        hooked = self.home / "hooked/KNOWN"
        hooked.mkdir(parents=True)
        for name in ("vfio_iommu_type1_hooked.c", "vfio.h"):
            (hooked / name).write_text(name)
        (hooked / "kernel").write_text("Linux 6.12.1-amd64\n")
        shutil.copy(DEBIAN / "dkms/type1", self.home)
        shutil.copy(DEBIAN / "mdma-dkms.dkms", self.home / "dkms.conf")
        (self.root / "build/drivers/vfio").mkdir(parents=True)
        # A made-up module is its srcversion.
        modinfo = self.root / "bin/modinfo"
        modinfo.parent.mkdir()
        modinfo.write_text('#!/bin/sh\n[ "$1 $2" = "-F srcversion" ] && cat "$3"\n')
        modinfo.chmod(0o755)

    def module(self, srcversion, where="kernel/drivers/vfio", suffix=".ko.xz"):
        """Give the kernel a module."""
        path = self.root / "modules" / KERNEL / where / f"vfio_iommu_type1{suffix}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{srcversion}\n")

    def run_it(self, *words):
        """Run something as dkms does."""
        environment = {**os.environ, "PATH": f"{self.root}/bin:{os.environ['PATH']}",
                       "MDMA_MODULES": str(self.root / "modules"),
                       "MDMA_DKMS": str(self.root / "dkms")}
        return subprocess.run(words, capture_output=True, text=True, check=False,
                              env=environment, cwd=self.root / "build")

    def type1(self, action):
        """Run the script."""
        return self.run_it(self.home / "type1", action, KERNEL)

    def taken(self):
        """Names of the files that were put to where they are built."""
        return {path.name for path in (self.root / "build/drivers/vfio").iterdir()}

    def test_known(self):
        """Its source is taken, in silence, whatever is in updates/."""
        for suffix in (".ko", ".ko.xz", ".ko.zst"):
            self.module("KNOWN", suffix=suffix)
            self.module("OURS", "updates/dkms")
            self.assertEqual(self.type1("find").stdout, f"{self.home}/hooked/KNOWN\n")
            for action in ("take", "tell"):
                done = self.type1(action)
                self.assertEqual((done.returncode, done.stderr), (0, ""))
            self.assertEqual(self.taken(), {"vfio_iommu_type1_hooked.c", "vfio.h"})
            shutil.rmtree(self.root / "modules")

    def test_kept_by_dkms(self):
        """While ours is installed, the kernel's own module is in dkms's archive; if the kernel's
        package has put another one there since, that counts."""
        self.module("OURS", "updates/dkms")
        kept = self.root / "dkms/mdma/original_module" / KERNEL / "x86_64/vfio_iommu_type1.ko.xz"
        kept.parent.mkdir(parents=True)
        kept.with_name(f"{kept.name}.origin").write_text("where it was\n")
        kept.write_text("KNOWN\n")
        self.assertEqual(self.type1("tell").stderr, "")
        self.assertEqual(self.modules(), ["mdma", "vfio_iommu_type1"])
        self.module("UNKNOWN")
        self.assertIn("(srcversion UNKNOWN)", self.type1("tell").stderr)

    def refused(self, words):
        """Nothing is taken, the words are said, and dkms goes on."""
        self.assertEqual(self.type1("find").returncode, 1)
        for action in ("take", "tell"):
            done = self.type1(action)
            self.assertEqual(done.returncode, 0)
            self.assertIn(f"Linux {KERNEL} {words}", done.stderr)
            self.assertIn("Known are those of: Linux 6.12.1-amd64.", done.stderr)
        self.assertEqual(self.taken(), set())

    def test_unknown(self):
        self.module("UNKNOWN")
        self.refused("has a vfio_iommu_type1 that this package does not know (srcversion UNKNOWN)")

    def test_none(self):
        """Built in, or not there: what is in updates/ is not the kernel's own."""
        self.module("KNOWN", "updates/dkms")
        self.refused("has no module vfio_iommu_type1")

    def test_without_srcversion(self):
        self.module("")
        self.refused("has a vfio_iommu_type1 that this package does not know (srcversion none)")

    def test_usage(self):
        self.assertEqual(self.type1("give").returncode, 2)

    def modules(self):
        """The modules that dkms.conf names."""
        text = (f"dkms_tree={self.root}/dkms kernelver={KERNEL}; . {self.home}/dkms.conf; "
                "echo ${BUILT_MODULE_NAME[@]}")
        return self.run_it("bash", "-c", text).stdout.split()

    def test_conf(self):
        """The backend is built for a known one, and removed in any case if it was built."""
        self.assertEqual(self.modules(), ["mdma"])
        self.module("KNOWN")
        self.assertEqual(self.modules(), ["mdma", "vfio_iommu_type1"])
        self.module("UNKNOWN")
        self.assertEqual(self.modules(), ["mdma"])
        built = self.root / f"dkms/mdma/#MODULE_VERSION#/{KERNEL}/x86_64/module"
        built.mkdir(parents=True)
        (built / "vfio_iommu_type1.ko.xz").touch()
        self.assertEqual(self.modules(), ["mdma", "vfio_iommu_type1"])

    def test_kernels(self):
        """What was never built for a kernel is not tried when that is installed."""
        tries = ("6.1.0-44-amd64", "6.12.95+deb13-amd64", "6.120.1", "6.16.3+deb14-amd64",
                 "7.3.4+deb13-rt-amd64", "17.3.1", "7.31.0")
        for name in ("mdma-dkms", "mdma-guest-dkms"):
            text = (f"kernelver={KERNEL}; . {DEBIAN}/{name}.dkms; for k in {' '.join(tries)}; do "
                    "[[ ! $k =~ $BUILD_EXCLUSIVE_KERNEL ]] || echo $k; done")
            self.assertEqual(self.run_it("bash", "-c", text).stdout.split(), [tries[1], tries[4]])


if __name__ == "__main__":
    unittest.main()
