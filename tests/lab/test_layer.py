#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""A root tree that begins as a copy of the suite's own."""

import os
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path
from unittest import mock

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "scripts/lab.d"))

# pylint: disable=wrong-import-position
from make import image, layer, paths, versions


class Layer(unittest.TestCase):
    """With a small tree for the suite's own."""

    def setUp(self):
        self.base = Path(self.enterContext(tempfile.TemporaryDirectory()), "trixie/root")
        self.tree = self.base.parents[1] / "other"
        for name in ("usr/bin/tool", "etc/resolv.conf", "etc/apt/list", "var/lib/dpkg/status"):
            path = self.base / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(name)
        (self.base / "bin").symlink_to("usr/bin")
        self.enterContext(mock.patch.object(paths, "SUITE_ROOT", self.base))
        self.enterContext(mock.patch.dict(os.environ, KERNEL="7.3", QEMU="11.1", LIBVIRT=""))

    def complete(self):
        """Its stamp says that it is complete."""
        (self.base / image.STAMP).write_text(image.recipe(versions.defaults()) + "\n")

    def test_copy(self):
        """What programs write into is a copy, all else a link; and there is a way to the mirror."""
        subprocess.run(["sh", "-c", layer.COPY, "sh", self.base, self.tree], check=True)
        same = [os.path.samefile(self.base / name, self.tree / name) for name in (
            "usr/bin/tool", "etc/apt/list", "var/lib/dpkg/status")]
        self.assertEqual(same, [True, False, False])
        self.assertEqual((self.tree / "var/lib/dpkg/status").read_text(), "var/lib/dpkg/status")
        self.assertEqual((self.tree / "bin/tool").read_text(), "usr/bin/tool")
        self.assertEqual((self.tree / "etc/resolv.conf").read_text(),
                         Path("/etc/resolv.conf").read_text())
        self.assertEqual((self.base / "etc/resolv.conf").read_text(), "etc/resolv.conf")

    def add(self):
        """Make a tree. Returns (whether it began as a copy, what was installed)."""
        with mock.patch.object(layer, "copy") as copy, \
                mock.patch.object(layer, "install") as install, \
                mock.patch.object(image.say, "Step"):
            added = image._add_layer(self.tree)  # pylint: disable=protected-access
        self.assertEqual(added, copy.called)
        return added, install.call_args and install.call_args[0][1:3]

    def test_other_versions(self):
        """Packages whose versions are chosen, from the backports."""
        self.complete()
        added, (setup, packages) = self.add()
        self.assertTrue(added)
        self.assertIn("linux-image-amd64", packages)
        self.assertIn("trixie-backports", setup)
        self.assertNotIn("gcc", packages)

    def test_room(self):
        """A copy needs less disk."""
        with mock.patch.object(image.place, "check_space") as check:
            image._check_disk()  # pylint: disable=protected-access
            self.complete()
            image._check_disk()  # pylint: disable=protected-access
        first, second = [call[0][1] for call in check.call_args_list if call[0][0] == paths.LAB]
        self.assertEqual((first, second), (image.DISK_NEEDED, image.LAYER_NEEDED))

    def test_from_nothing(self):
        """Where the suite's own tree is missing, incomplete or of another recipe, and that tree
        itself."""
        self.assertEqual(self.add(), (False, None))
        (self.base / image.STAMP).write_text("0123\n")
        self.assertEqual(self.add(), (False, None))
        self.complete()
        with mock.patch.dict(os.environ, KERNEL="", QEMU=""):
            self.assertEqual(self.add(), (False, None))

    def test_recipe(self):
        """A layer is made again when the way of making it changes; the suite's own tree is not."""
        before = image.recipe(), image.recipe(versions.defaults())
        with mock.patch.object(layer, "INSTALL", "true"):
            after = image.recipe(), image.recipe(versions.defaults())
        self.assertEqual([one == other for one, other in zip(before, after)], [False, True])


if __name__ == "__main__":
    unittest.main()
