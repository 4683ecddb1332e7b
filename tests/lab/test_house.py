# SPDX-License-Identifier: GPL-2.0-only
"""The rules for the scripts: which package may import which, and no circles."""

import ast
import re
import sys
import tempfile
import unittest
from pathlib import Path

REPO = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(REPO / "scripts/lab.d"))

# pylint: disable=wrong-import-position
from make import payload

# Package -> those that its modules may import besides their own; each of them stands above it
# here.
LAYERS = {
    "base": (),
    "judge": ("base",),
    "show": ("base", "judge"),
    "play": ("base", "judge"),
    "make": ("base", "judge"),
    "boot": ("base", "judge", "show", "make"),
    "check": ("base", "judge", "show", "make", "boot"),
    "here": ("base", "judge", "show", "play", "make", "boot"),
    "scenarios": ("base", "judge", "show", "play"),
    "lab": ("base", "make", "boot", "check", "here"),
}
# Modules that start processes or talk to them. A pure package may not reach them, not even through
# another module.
IMPURE = {"base.process", "base.qmp", "subprocess", "multiprocessing", "socket", "pty", "ctypes"}
PURE = ("judge",)
# What plays in the lab, and what only base/site.py may know of it: the payload, the results, words
# for the lab's init.
IN_LAB = ("base", "judge", "show", "play", "scenarios")
SITE = "base.site"
# Scenarios that play the tests of another one. What others have in common is in play.
OF_ANOTHER = {"scenarios.answers": "scenarios.model", "scenarios.mutants": "scenarios.selftests",
              "scenarios.guest_mutants": "scenarios.driver",
              "scenarios.kills": "scenarios.selftests"}
OF_THE_LAB = re.compile(r"(^|[^\w./-])/(mdma|results)(/|$)"
                        r"|\blab\.(bare|debug|installed|iommufd|terminal)")


class Tree:
    """The modules of a tree and what each imports.

    @imports: {"package.module": {what it imports: of ours by the same name, others by theirs}}
    """

    def __init__(self, root):
        scripts = root / "scripts/lab.d"
        self.paths = {f"{path.parent.name}.{path.stem}": path for path in scripts.glob("*/*.py")}
        self.paths.update((f"scenarios.{path.stem}", path)
                          for path in (root / "tests/scenarios").glob("*.py"))
        if (root / "scripts/lab").exists():
            self.paths["lab.lab"] = root / "scripts/lab"
        # Modules in no package.
        self.loose = [path.name for path in scripts.glob("*.py")]
        self.imports = {name: set(self._imports(name)) for name in self.paths}

    def _imports(self, name):
        """All imports of a module, also those within a function."""
        package = name.partition(".")[0]
        for node in ast.walk(ast.parse(self.paths[name].read_text())):
            if isinstance(node, ast.Import):
                found = [(alias.name, alias.name) for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                module = node.module or ""
                if node.level:
                    module = f"{package}.{module}".rstrip(".")
                found = [(f"{module}.{alias.name}", module) for alias in node.names]
            else:
                continue
            for full, module in found:
                # Only scenarios import each other without a package.
                beside = f"scenarios.{module}" if package == "scenarios" else None
                yield next((one for one in (full, module, beside) if one in self.paths), module)

    def above(self):
        """Imports of a package that the table does not allow."""
        bad = []
        for name, imported in self.imports.items():
            package = name.partition(".")[0]
            allowed = (package, *LAYERS.get(package, ()))
            bad += [f"{name} imports {other}" for other in sorted(imported)
                    if other.partition(".")[0] in LAYERS
                    and (other in self.paths or other in LAYERS)
                    and other.partition(".")[0] not in allowed]
        return sorted(bad)

    def reached(self, name):
        """All that a module imports, itself or by what it imports."""
        found, left = set(), [name]
        while left:
            for other in self.imports.get(left.pop(), ()):
                if other not in found:
                    found.add(other)
                    left.append(other)
        return found

    def borrowed(self):
        """Scenarios that import another one; those of OF_ANOTHER play its tests."""
        return sorted(f"{name} imports {other}" for name, imported in self.imports.items()
                      for other in imported if name.startswith("scenarios.")
                      and other.startswith("scenarios.") and OF_ANOTHER.get(name) != other)

    def circles(self):
        """Modules that import themselves through others."""
        return sorted(name for name in self.imports if name in self.reached(name))

    def tied(self):
        """Modules with a text about the lab's places."""
        return sorted(f"{name}: {text}" for name, path in self.paths.items()
                      if name.partition(".")[0] in IN_LAB and name != SITE
                      for text in texts(path) if OF_THE_LAB.search(text))

    def impure(self):
        """Modules of pure packages that reach impure ones."""
        return sorted(f"{name} reaches {other}" for name in self.imports
                      if name.partition(".")[0] in PURE for other in self.reached(name) & IMPURE)


def texts(path):
    """All constant texts of a module, without its docstrings."""
    nodes = list(ast.walk(ast.parse(path.read_text())))
    of_docs = {id(node.value) for node in nodes if isinstance(node, ast.Expr)}
    return [node.value for node in nodes if isinstance(node, ast.Constant)
            and isinstance(node.value, str) and id(node) not in of_docs]


class House(unittest.TestCase):
    """The real tree."""

    @classmethod
    def setUpClass(cls):
        cls.tree = Tree(REPO)

    def test_table(self):
        """A package may import only those above it in the table."""
        before = []
        for package, allowed in LAYERS.items():
            self.assertLessEqual(set(allowed), set(before))
            before.append(package)

    def test_all_have_a_place(self):
        """Each module is in a package of the table."""
        self.assertEqual(self.tree.loose, [])
        self.assertEqual({name.partition(".")[0] for name in self.tree.paths}, set(LAYERS))

    def test_packages_say_what_they_are(self):
        """And where they run."""
        for name, path in self.tree.paths.items():
            if path.stem == "__init__":
                with self.subTest(name):
                    text = ast.get_docstring(ast.parse(path.read_text()))
                    self.assertRegex(text, r"\b[Rr]uns\s")

    def test_layers(self):
        """Nothing imports from above."""
        self.assertEqual(self.tree.above(), [])

    def test_circles(self):
        """No module imports itself through others."""
        self.assertEqual(self.tree.circles(), [])

    def test_scenarios_stand_alone(self):
        """What scenarios have in common is not in one of them."""
        self.assertEqual(self.tree.borrowed(), [])

    def test_judging_is_pure(self):
        """Judging starts no process."""
        self.assertEqual(self.tree.impure(), [])

    def test_site(self):
        """What plays in the lab could play elsewhere, except for one module."""
        self.assertEqual(self.tree.tied(), [])

    def test_payload(self):
        """Everything that a scenario imports is in the lab."""
        for name in self.tree.paths:
            if name.startswith("scenarios."):
                packages = {other.partition(".")[0] for other in self.tree.reached(name)
                            if other in self.tree.paths}
                self.assertLessEqual(packages, {"scenarios", *payload.IN_LAB}, name)


class Offences(unittest.TestCase):
    """Each rule finds a violation."""

    def tree(self, **modules):
        """A tree of modules; the name is package__module."""
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        root = Path(directory.name)
        for name, text in modules.items():
            package, module = name.split("__")
            parent = root / ("tests" if package == "scenarios" else "scripts/lab.d") / package
            parent.mkdir(parents=True, exist_ok=True)
            (parent / f"{module}.py").write_text(text)
        return Tree(root)

    def test_above(self):
        """With any form of import, also in a function."""
        for text in ("from make import image", "import make.image", "from make.image import x",
                     "def f():\n    from make import image", "import make.image as i"):
            with self.subTest(text):
                tree = self.tree(play__host=text, make__image="", base__say="")
                self.assertEqual(tree.above(), ["play.host imports make.image"])
        self.assertEqual(self.tree(make__image="from base import say", base__say="").above(), [])

    def test_scenario_that_builds(self):
        """A scenario must not build anything."""
        tree = self.tree(scenarios__one="from make import build", make__build="")
        self.assertEqual(tree.above(), ["scenarios.one imports make.build"])

    def test_circle(self):
        """Also if one of the imports is in a function."""
        tree = self.tree(judge__proof="def f():\n    from judge.report import finish",
                         judge__report="from . import heatmap",
                         judge__heatmap="from judge import proof", judge__ram="")
        self.assertEqual(tree.circles(), ["judge.heatmap", "judge.proof", "judge.report"])

    def test_borrowed(self):
        """Only what plays another one's tests may import it."""
        tree = self.tree(scenarios__one="from two import x", scenarios__two="",
                         scenarios__answers="import model", scenarios__model="")
        self.assertEqual(tree.borrowed(), ["scenarios.one imports scenarios.two"])

    def test_circle_of_scenarios(self):
        """Scenarios import each other by plain names."""
        tree = self.tree(scenarios__one="import two", scenarios__two="from one import x")
        self.assertEqual(tree.circles(), ["scenarios.one", "scenarios.two"])

    def test_site(self):
        """In any text that is not a docstring, except in base/site.py."""
        for text in ("/mdma/guest/vmlinuz", "insmod /mdma/nic/x.ko", "/results", "lab.debug"):
            with self.subTest(text):
                tree = self.tree(play__one=f"def f():\n    return {text!r}",
                                 base__site=f"HERE = {text!r}", make__two=f"X = {text!r}")
                self.assertEqual(tree.tied(), [f"play.one: {text}"])
        for text in ("/sys/kernel/debug/mdma", "samples/vfio-mdev/mdma/workloads", "mdma/x"):
            self.assertEqual(self.tree(play__one=f"X = {text!r}").tied(), [])
        self.assertEqual(self.tree(play__one="X = f'/mdma/{1}'").tied(), ["play.one: /mdma/"])
        self.assertEqual(self.tree(play__one="'A docstring: /mdma/x.'").tied(), [])

    def test_impure(self):
        """Also through another module."""
        tree = self.tree(judge__proof="from base import run", base__run="import subprocess")
        self.assertEqual(tree.impure(), ["judge.proof reaches subprocess"])


if __name__ == "__main__":
    unittest.main()
