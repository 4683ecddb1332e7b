# SPDX-License-Identifier: GPL-2.0-only
"""How the tests look at a page: on a wide and on a narrow window, light and dark.

Pictures are left in OUT/check/pages, to be looked at.
"""

import sys
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "scripts/lab.d"))

# pylint: disable=wrong-import-position
from check.browser import Browser
from make import paths

PICTURES = paths.CHECK / "pages"
VIEWS = {"wide": {"width": 1100}, "dark": {"width": 1100, "dark": True},
         "narrow": {"width": 360, "height": 740},
         "narrow-dark": {"width": 360, "height": 740, "dark": True}}


class Pages(unittest.TestCase):
    """One browser for all of them."""

    @classmethod
    def setUpClass(cls):
        cls.browser = cls.enterClassContext(Browser())
        PICTURES.mkdir(parents=True, exist_ok=True)

    def look(self, name, path, check=lambda: None):
        """Open a page in each view; nothing may be wrong with it in any, and @check it."""
        for view, how in VIEWS.items():
            with self.subTest(page=name, view=view):
                self.browser.open(path, **how)
                self.browser.screenshot(PICTURES / f"{name}-{view}.png")
                self.assertEqual(self.browser.complaints() + self.browser.faults(), [])
                check()
