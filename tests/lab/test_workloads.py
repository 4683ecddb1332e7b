# SPDX-License-Identifier: GPL-2.0-only
"""The presets set existing attributes to valid values."""

import re
import sys
import tempfile
import unittest
from pathlib import Path
from unittest import mock

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "scripts/lab.d"), str(ROOT / "tests/scenarios")]

# pylint: disable=wrong-import-position
import migrate
from base import say, settings, workloads
from boot import scenario
from play import arguments, host, mdev

SYSFS = (ROOT / "samples/vfio-mdev/mdma/workload_sysfs.c").read_text()
UAPI = (ROOT / "include/uapi/linux/mdma.h").read_text()
ABI = (ROOT / "Documentation/ABI/testing/sysfs-bus-mdev-mdma").read_text()


def number(text):
    """A limit in workload_sysfs.c, as a number."""
    known = {"U32_MAX": (1 << 32) - 1, "U64_MAX": (1 << 64) - 1}
    found = re.search(rf"#define {text}\s+(\d+)", UAPI)
    return known.get(text) or int(found.group(1) if found else text)


def knobs():
    """Numeric attribute -> (least, most)."""
    found = re.findall(r'NUMBER\("(\w+)", (\w+), (\w+)\)', SYSFS)
    return {name: (number(least), number(most)) for name, least, most in found}


def words():
    """Attribute with words -> its words."""
    return {name: re.findall(r'"(\w+)"', body) for name, body in
            re.findall(r"(\w+)_words\[\] = \{(.*?)\};", SYSFS, re.DOTALL)}


class Presets(unittest.TestCase):
    """Each preset."""

    def test_attributes_and_values(self):
        self.assertGreaterEqual(len(workloads.names()), 5)
        for name in workloads.names():
            for key, value in workloads.read(name).items():
                with self.subTest(preset=name, key=key):
                    if key in words():
                        self.assertIn(value, words()[key])
                        continue
                    least, most = knobs()[key]
                    self.assertTrue(least <= int(value) <= most, value)

    def test_says_why(self):
        for name in workloads.names():
            text = (workloads.DIRECTORY / name).read_text()
            self.assertIn(f"# {name}: ", text)
            self.assertIn("For dirty tracking it means", " ".join(text.replace("#", "").split()))

    def test_unknown(self):
        with self.assertRaisesRegex(say.LabError, "no workload nic; there are: .*nic-rx"):
            workloads.read("nic")

    def test_bad_line(self):
        for text in ("pattern\n", "ring=1\nring=2\n"):
            with tempfile.TemporaryDirectory() as directory, \
                    mock.patch.object(workloads, "DIRECTORY", Path(directory)):
                Path(directory, "odd").write_text(text)
                with self.assertRaisesRegex(say.LabError, "workload odd"):
                    workloads.read("odd")


class Migrate(unittest.TestCase):
    """The key workload= of the scenario."""

    def settings(self, *argv):
        """The attributes that are written to the device."""
        values = arguments.values(migrate.with_preset(migrate.KEYS, argv), argv)
        return host.workload(migrate.configuration(values))

    def test_refused_before_the_boot(self):
        self.assertEqual(list(migrate.KEYS["workload"].words), workloads.names())
        with self.assertRaisesRegex(say.UsageError, "workload=nic: must be one of .*nic-rx"):
            scenario.pairs("migrate", ["workload=nic"])

    def test_preset_is_taken(self):
        for name in workloads.names():
            written = self.settings(f"workload={name}")
            for key, value in workloads.read(name).items():
                self.assertEqual(str(written[key]), value, f"{name}: {key}")

    def test_what_else_is_given_wins(self):
        written = self.settings("ring=5", "workload=nic-rx", "rate=7")
        self.assertEqual((written["ring"], written["rate"], written["pattern"]),
                         (5, 7, "ring"))

    def test_without_one(self):
        self.assertEqual(set(self.settings()), set(settings.WORKLOAD))


class Attributes(unittest.TestCase):
    """All attributes of the device are known everywhere."""

    def test_all_of_them_travel(self):
        there = set(knobs()) | set(words()) | {"window"}
        self.assertEqual(set(mdev.Mdev.SETTINGS), there)

    def test_ranges_of_settings(self):
        """A scenario can set all that the device takes, except for a trace, which needs a file."""
        of_settings = {*settings.WORKLOAD, *settings.MORE_WORKLOAD}
        self.assertEqual(of_settings, set(knobs()) - {"run"} | set(words()))
        for name in of_settings:
            setting = settings.SHARED[name]
            with self.subTest(name):
                if name in words():
                    self.assertEqual(list(setting.words),
                                     [word for word in words()[name] if word != "trace"])
                else:
                    self.assertEqual((setting.least, setting.most), knobs()[name])

    def test_documented(self):
        for name in mdev.Mdev.SETTINGS:
            self.assertIn(f"/workload/{name}\n", ABI)


if __name__ == "__main__":
    unittest.main()
