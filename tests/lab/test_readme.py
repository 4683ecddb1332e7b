# SPDX-License-Identifier: GPL-2.0-only
"""The README's commands, in the form that tests read."""

import sys
import unittest
from pathlib import Path

REPO = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(REPO / "scripts/lab.d"))

# pylint: disable=wrong-import-position
from play import readme


class Blocks(unittest.TestCase):
    """readme.blocks()."""

    def test_one_for_each_host_and_the_migration(self):
        """The commands that the libvirt scenario types."""
        programs = [[line.split()[0] for line in block]
                    for block in readme.blocks("With libvirt")]
        self.assertEqual(programs, [["mdevctl", "virsh"], ["modprobe", "until", "virsh", "virsh"],
                                    ["virsh", "virsh", "virsh"]])

    def test_a_section_ends(self):
        """Commands below the next heading belong to another section."""
        lines = [line for block in readme.blocks("By hand") for line in block]
        self.assertFalse([line for line in lines if "nodedev" in line])
        self.assertEqual(readme.blocks("no such heading"), [])

    def test_documentation_says_the_same(self):
        """Each of the README's commands is in libvirt.rst, too."""
        text = (REPO / "Documentation/libvirt.rst").read_text()
        for block in readme.blocks("With libvirt"):
            self.assertIn("\n".join(readme.INDENT + line for line in block), text)


if __name__ == "__main__":
    unittest.main()
