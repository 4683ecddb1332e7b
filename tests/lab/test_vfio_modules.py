# SPDX-License-Identifier: GPL-2.0-only
"""Whether the lab's kernel has iommufd, and vfio's dirty tracking for devices, or needs modules
that are made for it."""

import sys
import unittest
from pathlib import Path
from unittest import mock

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "scripts/lab.d"))

# pylint: disable=wrong-import-position
from play import vfio_iommufd, vfio_logging

OTHER = "ffffffff81a00010 T iommu_map\nffffffff82a00010 r __ksymtab_iova_bitmap_set\n"


class BuiltIn(unittest.TestCase):
    """With made-up symbols of a kernel."""

    def case(self, symbols, has):
        """The kernel of these symbols has both, or none; mdma is the installed one, or another."""
        with self.subTest(symbols=symbols), \
                mock.patch.object(vfio_logging, "Path") as path:
            path.return_value.read_text.return_value = OTHER + symbols
            for module in (vfio_logging, vfio_iommufd):
                self.assertIs(module.builtin(), has)
                self.assertEqual(module.mdma(), None if has else module.MDMA)
            path.assert_called_with("/proc/kallsyms")

    def test_kernel(self):
        """With CONFIG_IOMMUFD_DRIVER or without; addresses may be hidden."""
        self.case("", False)
        self.case("ffffffff81a00020 T iova_bitmap_set\n", True)
        self.case("0000000000000000 T iova_bitmap_set\n", True)

    def test_module(self):
        """The lab has loaded a module that has it."""
        for name in ("vfio", "iommufd"):
            self.case(f"ffffffffc0a00020 T iova_bitmap_set\t[{name}]\n", False)


if __name__ == "__main__":
    unittest.main()
