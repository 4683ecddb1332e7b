# SPDX-License-Identifier: GPL-2.0-only
"""What a Kbuild says about a kernel by macros, from what it finds in its files."""

import os
import subprocess
import tempfile
import unittest
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DEVICE, NIC, BACKEND = "samples/vfio-mdev/mdma", "tests/nic", "drivers/vfio"
PLAIN, CONST = "struct bin_attribute **", "const struct bin_attribute *const *"
# As of 6.12, 6.14, 6.16 and 7.3: the lists of a group, and whether that of the device is const.
LISTS = (((PLAIN + "bin_attrs",), False),
         ((PLAIN + "bin_attrs", CONST + "bin_attrs_new"), False),
         ((CONST + "bin_attrs", CONST + "bin_attrs_new"), True),
         ((CONST + "bin_attrs",), True))


class Macros(unittest.TestCase):
    """With made-up files of a kernel."""

    def macros(self, directory, **files):
        """The macros that this Kbuild defines.

        @files: text of a file, by its name without .h or .c
        """
        with tempfile.TemporaryDirectory() as home:
            headers = Path(home, "include/linux")
            headers.mkdir(parents=True)
            for name in ("sysfs", "vfio"):
                (headers / f"{name}.h").write_text(files.get(name, ""))
            Path(home, "vfio_iommu_type1_hooked.c").write_text(files.get("type1", ""))
            makefile = Path(home, "Makefile")
            makefile.write_text(f"srctree := {home}\nsrc := {home}\n"
                                f"include {ROOT / directory / 'Kbuild'}\n"
                                "all:\n\t@echo $(ccflags-y)\n")
            done = subprocess.run(["make", "-s", "-f", makefile], capture_output=True, text=True,
                                  env={"PATH": os.environ["PATH"]}, check=True)
        self.assertEqual(done.stderr, "")
        return {word[2:] for word in done.stdout.split() if word.startswith("-D")}

    def test_binary_attributes(self):
        """A list of another name does not count."""
        for lists, const in LISTS:
            with self.subTest(lists=lists):
                text = "".join(f"\t\t{one};\n" for one in lists)
                self.assertEqual(self.macros(DEVICE, sysfs=text),
                                 {"MDMA_HAS_CONST_BIN_ATTRIBUTE"} if const else set())

    def test_operations(self):
        """Of struct vfio_device_ops."""
        for text, device, nic in (
                ("", set(), set()),
                ("\tint (*match_token_uuid)(x);\n", set(), {"NIC_HAS_MATCH_TOKEN_UUID"}),
                ("\tint (*get_region_info_caps)(x);\n", {"MDMA_HAS_REGION_INFO_CAPS"},
                 {"NIC_HAS_REGION_INFO_CAPS"})):
            with self.subTest(text=text):
                self.assertEqual(self.macros(DEVICE, vfio=text), device)
                self.assertEqual(self.macros(NIC, vfio=text), nic)

    def test_type1(self):
        """The parameters of vaddr_get_pfns() alone count; and an error by its whole name."""
        for kind, macros in (("struct page **pages", set()),
                             ("struct vfio_batch *batch", {"TYPE1_HAS_VFIO_BATCH"})):
            for error, more in (("EINVAL", set()), ("NO_EOVERFLOW", set()),
                                ("EOVERFLOW", {"TYPE1_SAYS_EOVERFLOW"})):
                text = (f"static long vaddr_get_pfns(long x,\n\t\t\t{kind})\n{{\n"
                        f"\tstruct vfio_batch b;\n\n\treturn -{error};\n}}\n")
                with self.subTest(text=text):
                    self.assertEqual(self.macros(BACKEND, type1=text), macros | more)


if __name__ == "__main__":
    unittest.main()
