# SPDX-License-Identifier: GPL-2.0-only
"""The sweeps of failures (tests/selftests/failing*.c): whatever a user can call has one.

What there is to call is read from the sources: cases of ioctls, tables of functions, files in
sysfs. A sweep says by the same names what it sweeps (struct sweep)."""

import re
import sys
import unittest
from pathlib import Path

REPO = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(REPO / "scripts/lab.d"))

# pylint: disable=wrong-import-position
from make import mutant, paths

BACKEND = REPO / "drivers/vfio"
DEVICE = REPO / "samples/vfio-mdev/mdma"

# What has no sweep, and why.
NO_SWEEP = {
    # of the backend
    "VFIO_CHECK_EXTENSION": "compares a number",
    "VFIO_DMA_UNMAP_FLAG_VADDR": "EBUSY beside a mediated device, and fails nowhere else",
    "type1_ioctl": "each of its commands has one",
    "vfio_iommu_type1_dirty_pages": "each of its flags has one",
    "register_device": "adds to a list",
    "unregister_device": "removes from a list",
    "group_iommu_domain": "of a group with an IOMMU, which the debug kernel has not",
    # of the device
    "device_init": "a part of mdma_probe",
    "device_release": "frees, when the last user has gone",
    "device_ioctl": "each of its commands has one",
    "device_request": "signals an eventfd, whenever the device is removed",
    "device_dma_unmap": "a part of each UNMAP",
    "device_attach_ioas": "iommufd's: the emulated device's own part is a list",
    "bind_iommufd": "iommufd's, and a flag",
    "unbind_iommufd": "iommufd's, and a flag",
    "save_poll": "looks at two numbers",
    "file_release": "frees: each sweep of a stream closes its file",
    "ledger_release": "frees: the sweep of the file closes it",
}

OF = re.compile(r"\.of = \"([^\"]+)\"|^\t\{ \"([^\"]+)\", |sweep_(?:unmap|work)\(\w+, \"([^\"]+)\"",
                re.M)
CASE = re.compile(r"^\tcase (VFIO_(?!PCI_|IRQ_)\w+):|cmd [!=]= (VFIO_\w+)", re.M)
TABLE = re.compile(r"^static const struct (?:\w+_ops|file_operations) \w+ = \{(.*?)^\};|"
                   r"^const struct \w+_ops \w+ = \{(.*?)^\};", re.M | re.S)
MEMBER = re.compile(r"^\t\.\w+\s*= (\w+),", re.M)
ATTRIBUTE = re.compile(r"^static DEVICE_ATTR_(?:RW|WO)\((\w+)\);|= __ATTR_RW\((\w+)\)"
                       r"|__ATTR\((\w+), 0200|\.attr = \{ \.name = \"(\w+)\", \.mode = 0644"
                       r"|= (?:NUMBER|WORD)\(\"(\w+)\"", re.M)
GROUP = re.compile(r"^\t\.name = \"(\w+)\",\n\t\.attrs = ", re.M)


def words(pattern, text):
    """What a pattern with one group for each form finds."""
    return {word for match in pattern.finditer(text) for group in match.groups() if group
            for word in group.split()}


def swept():
    """Names of what has a sweep."""
    return set().union(*(words(OF, path.read_text())
                         for path in sorted((REPO / "tests/selftests").glob("failing*.c"))))


def functions(text):
    """Functions of a file that are in one of its tables."""
    found = {name for table in TABLE.finditer(text)
             for name in MEMBER.findall(table[1] or table[2])}
    return {name for name in found if re.search(rf"^(?:static )?\w[\w \t*]*\b{name}\(", text, re.M)}


def attributes(name, text):
    """Files in sysfs that can be written, with their directory."""
    if name == "workload_sysfs.c":
        directory = "workload/"
    else:
        group = GROUP.search(text)
        directory = f"{group[1]}/" if group and name != "sysfs.c" else ""
    found = {f"{directory}{one}" for one in words(ATTRIBUTE, text)}
    # Both are in that directory, beside the knobs.
    return {f"workload/{one}" if one in ("window", "trace") else one for one in found}


def of_device():
    """All that can be called of the device."""
    found = {"mdma_probe", "mdma_remove", "mdma_ring_poll", "mdma_workload_poll",
             "mdma_thread_adopt"}
    for path in sorted(DEVICE.glob("*.c")):
        text = path.read_text()
        found |= words(CASE, text) | functions(text) | attributes(path.name, text)
        found |= {f"{one}_write" for one in re.findall(r"^COMMAND_FOPS\((\w+)\);", text, re.M)}
    return found


def of_backend():
    """All that can be called of the backend, as far as it is ours."""
    text = "".join(path.read_text() for path in sorted(BACKEND.glob("type1*.c")))
    found = words(CASE, text)
    found |= set(re.findall(r"VFIO_DMA_UNMAP_FLAG_\w+", text))
    found |= set(re.findall(r"^static \w+ (vfio_iommu_type1_(?!ioctl)\w+)\(", text, re.M))
    hooks = (BACKEND / "type1.cocci").read_text()
    return found | set(re.findall(r"^\+\t\.\w+ = (type1_\w+),", hooks, re.M))


def of_kernel(text):
    """The same of the kernel's own file: ioctls, and what it does when groups come and go."""
    body = re.search(r"^static long vfio_iommu_type1_ioctl\(.*?^\}", text, re.M | re.S)[0]
    table = re.search(r"^static const struct vfio_iommu_driver_ops .*?^\};", text, re.M | re.S)[0]
    members = set(re.findall(r"^\t\.(\w+)\s*= vfio_iommu_type1_", table, re.M))
    # These are ours: type1_open and so on.
    ours = {"open", "release", "ioctl", "pin_pages", "unpin_pages", "dma_rw"}
    return words(CASE, body) - {"VFIO_IOMMU_DIRTY_PAGES"} | (members - ours)


class Sweeps(unittest.TestCase):
    """Of the real sources."""

    def missing(self, called):
        """What has neither a sweep nor a reason."""
        return sorted(called - swept() - set(NO_SWEEP))

    def test_backend(self):
        """Ioctls, flags, and the functions of the driver's table."""
        self.assertLessEqual({"VFIO_IOMMU_DIRTY_PAGES_FLAG_STOP", "VFIO_DMA_UNMAP_FLAG_ALL",
                              "vfio_iommu_type1_dma_rw", "type1_release"}, of_backend())
        self.assertEqual(self.missing(of_backend()), [])

    def test_device(self):
        """Ioctls, features, arcs' function, files in sysfs and debugfs, what threads do."""
        self.assertLessEqual({"VFIO_DEVICE_SET_IRQS", "VFIO_MIG_GET_PRECOPY_INFO", "log_start",
                              "get_data_size", "device_open", "resume_write", "workload/step",
                              "workload/trace", "workload/window", "workload/theta", "rw_write",
                              "stream_settings", "dirty_log/enabled", "ledger/bytes_max"},
                             of_device())
        self.assertEqual(self.missing(of_device()), [])

    def test_kernel(self):
        """The kernel's own part of the backend, where its source is."""
        path = paths.KERNEL_SOURCE / "drivers/vfio/vfio_iommu_type1.c"
        if not path.exists():
            self.skipTest("no source of a kernel: the lab was not built")
        found = of_kernel(path.read_text())
        self.assertLessEqual({"VFIO_IOMMU_MAP_DMA", "attach_group"}, found)
        self.assertEqual(self.missing(found), [])

    def test_reasons(self):
        """A reason is for what is there, and has no sweep."""
        self.assertEqual(sorted(set(NO_SWEEP) & swept()), [])
        kernel = {"VFIO_CHECK_EXTENSION", "register_device", "unregister_device",
                  "group_iommu_domain"}
        self.assertEqual(sorted(set(NO_SWEEP) - of_device() - of_backend() - kernel), [])

    def test_arcs(self):
        """All that the kernel has between two states that the device has."""
        text = (REPO / "tests/selftests/failing_migration.c").read_text()
        arcs = set(re.findall(r"\{ MIG\((\w+)\), MIG\((\w+)\) \}", text))
        states = set(re.findall(r"VFIO_DEVICE_STATE_(\w+)\] = \"",
                                (DEVICE / "sysfs.c").read_text()))
        self.assertEqual({state for arc in arcs for state in arc}, states - {"ERROR"})
        self.assertEqual(len(arcs), 15)


class Mutants(unittest.TestCase):
    """tests/mutants/failing: defects on the way out."""

    def test_mutants(self):
        """They fit to the product, and name tests that sweep."""
        known = {name for path in (REPO / "tests/selftests").glob("failing*.c")
                 for name in re.findall(r"^TEST_F\(failing, (\w+),", path.read_text(), re.M)}
        names = [path.stem for path in sorted(paths.FAILING.glob("*.patch"))]
        self.assertGreater(len(names), 8)
        for name in names:
            with self.subTest(name):
                one = mutant.load(name)
                self.assertTrue(one.tests and set(one.tests) <= known)
                self.assertTrue(one.apply({path: (REPO / path).read_bytes()
                                           for path in one.hunks}))


class Offences(unittest.TestCase):
    """What is new is seen."""

    def test_functions(self):
        """Of a table; no names of others."""
        text = ("static int one(void)\n{\n}\n\nstatic const struct file_operations x_fops = {\n"
                "\t.owner = THIS_MODULE,\n\t.read = one,\n\t.llseek = noop_llseek,\n};\n")
        self.assertEqual(functions(text), {"one"})

    def test_attributes(self):
        """Those that can be written."""
        text = ("static DEVICE_ATTR_RO(a);\nstatic DEVICE_ATTR_RW(b);\nstatic const struct "
                "attribute_group g = {\n\t.name = \"d\",\n\t.attrs = as,\n};\n")
        self.assertEqual(attributes("x_sysfs.c", text), {"d/b"})

    def test_cases(self):
        """Both forms."""
        self.assertEqual(words(CASE, "\tcase VFIO_A:\n\tif (cmd != VFIO_B)\n"),
                         {"VFIO_A", "VFIO_B"})


if __name__ == "__main__":
    unittest.main()
