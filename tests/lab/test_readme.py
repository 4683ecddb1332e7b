# SPDX-License-Identifier: GPL-2.0-only
"""The commands that the documentation tells users to type, as tests read them."""

import re
import sys
import unittest
from pathlib import Path

REPO = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(REPO / "scripts/lab.d"))

# pylint: disable=wrong-import-position
from play import readme


def programs(block):
    """The first word of each line."""
    return [line.split()[0] for line in block]


class Blocks(unittest.TestCase):
    """readme.blocks()."""

    def test_one_for_each_host_and_the_migration(self):
        """As the libvirt scenario types them."""
        self.assertEqual([programs(block) for block in
                          readme.blocks("libvirt.rst", "On your own hosts")],
                         [["mdevctl", "virsh"], ["modprobe", "until", "virsh", "virsh"],
                          ["virsh", "virsh", "virsh"]])

    def test_a_whole_document(self):
        """As the citizen scenario types them, from the first to the last."""
        blocks = readme.blocks("by-hand.rst")
        self.assertEqual(blocks[0], ["scripts/lab shell"])
        self.assertEqual(programs(blocks[-1]), ["kill", "wait", "echo", "echo"])

    def test_a_section_ends(self):
        """What is under the next heading belongs to another section."""
        lines = [line for block in readme.blocks("by-hand.rst", "A workload") for line in block]
        self.assertTrue([line for line in lines if "workload/step" in line])
        self.assertFalse([line for line in lines if "trace-cmd" in line])
        self.assertEqual(readme.blocks("by-hand.rst", "no such heading"), [])


class Readme(unittest.TestCase):
    """README.md itself."""

    def test_it_is_short(self):
        """At most 150 lines, and a picture of at most 200 kB."""
        self.assertLessEqual(len((REPO / "README.md").read_text().splitlines()), 150)
        self.assertLessEqual((REPO / "Documentation/report.png").stat().st_size, 200 * 1000)

    def test_links(self):
        """Each leads to a file of the tree."""
        links = re.findall(r"\]\(([^):]+)\)", (REPO / "README.md").read_text())
        self.assertIn("Documentation/by-hand.rst", links)
        for link in links:
            self.assertTrue((REPO / link).exists(), link)


if __name__ == "__main__":
    unittest.main()
