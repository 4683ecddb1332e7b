#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""The examples for a CI: what they name exists."""

import re
import shlex
import sys
import unittest
from pathlib import Path

REPO = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(REPO / "scripts/lab.d"))

# pylint: disable=wrong-import-position
from boot import scenario
from check import check
from make import packages, versions

DOCUMENT = REPO / "Documentation/ci.rst"
EXAMPLES = REPO / "Documentation/ci"
CONTAINER = EXAMPLES / "Containerfile"
MAKEFILE = (REPO / "Makefile").read_text()
TARGETS = set(re.findall(r"^([a-z-]+):.*## ", MAKEFILE, re.M))
VARIABLES = set(re.findall(r"^([A-Z]+) \?=", MAKEFILE, re.M))
COMMANDS = set(re.findall(r'\bcommand\("([a-z-]+)"', (REPO / "scripts/lab").read_text()))
# A command of ours, alone, as a step of a job, or in a container.
COMMAND = re.compile(r"\s*(?:- )?(?:run: |#   podman run .* mdma )?((?:make|scripts/lab) .*)")
# Options of make with a word of their own.
WITH_WORD = ("-C", "-f")
# Of a CI, as a default of its own.
LIKE_PATH = re.compile(r"\$|^[~./]|/")


def commands(text):
    """The words of each command of ours in a text: from make or scripts/lab to its end."""
    found = []
    for line in text.splitlines():
        for part in re.split(r"&&|\|\||;|``", line):
            match = COMMAND.match(part)
            if match:
                found.append(shlex.split(match[1], comments=True))
    return found


def wrong(words):
    """What is wrong with a command, as sentences."""
    program, *rest = words
    given = dict(word.split("=", 1) for word in rest if re.match(r"[A-Z]+=", word))
    plain, skip = [], False
    for word in rest:
        if not skip and not word.startswith("-") and "=" not in word:
            plain.append(word)
        skip = word in WITH_WORD
    known = TARGETS if program == "make" else COMMANDS
    bad = [f"no target {word}" for word in plain[:1] if word not in known]
    bad += [f"no variable {name}" for name in given if name not in VARIABLES]
    bad += [f"no part {name}" for name in given.get("PART", "").split() if name not in check.PARTS]
    bad += [f"no scenario {name}" for name in [given.get("SCENARIO", "migrate")]
            if name not in scenario.names()]
    for name, choices in versions.CHOICES.items():
        word = given.get(name)
        if word and not LIKE_PATH.search(word) \
                and word not in [version.word for version in choices]:
            bad.append(f"no {name} {word}")
    if not plain:
        bad.append("no target")
    return bad


class Words(unittest.TestCase):
    """What the other tests rest on finds mistakes."""

    def test_commands(self):
        """In a step, in a list, between others, in a text."""
        self.assertEqual(commands("  - run: make check JUNIT=x/y.xml\n"
                                  "    - cd a && make -C b run ; true\n"
                                  "# make not\n``scripts/lab check``\nmakes make\n  cmake x\n"),
                         [["make", "check", "JUNIT=x/y.xml"], ["make", "-C", "b", "run"],
                          ["scripts/lab", "check"]])

    def test_wrong(self):
        """Each kind of mistake."""
        for line, words in (
                ("make chekc", "no target chekc"), ("make check JUNITS=x", "no variable JUNITS"),
                ("make check PART='lint nothing'", "no part nothing"), ("make -C x", "no target"),
                ("make run SCENARIO=fly", "no scenario fly"),
                ("make run KERNEL=6.13", "no KERNEL 6.13"), ("scripts/lab chek", "no target chek")):
            with self.subTest(line):
                self.assertEqual([one for command in commands(line) for one in wrong(command)],
                                 [words])
        for line in ("make run KERNEL=7.3", 'make -C a run KERNEL="$DIR"', "make run QEMU=/x",
                     "scripts/lab check lint"):
            self.assertEqual([wrong(command) for command in commands(line)], [[]])


class Examples(unittest.TestCase):
    """The document and its files."""

    def test_listed(self):
        """The document names each file."""
        listed = re.findall(r"<ci/([^>]+)>`_", DOCUMENT.read_text())
        self.assertEqual(sorted(listed), sorted(path.name for path in EXAMPLES.iterdir()))

    def test_commands(self):
        """Targets, variables, parts, scenarios and versions exist; each file has a command."""
        for path in (DOCUMENT, *EXAMPLES.iterdir()):
            text = re.sub(r"``\n", "`` ", path.read_text())
            if path.suffix == ".rst":
                text = "\n".join(re.findall(r"^  (?:make|scripts).*|``(?:make|scripts)[^`]+``",
                                            text, re.M))
            found = commands(text)
            self.assertTrue(found, path.name)
            for command in found:
                with self.subTest(path.name, command=command):
                    self.assertEqual(wrong(command), [])

    def test_structure(self):
        """They are YAML, with jobs that have commands; a GitLab job keeps its results."""
        try:
            import yaml  # pylint: disable=import-outside-toplevel
        except ImportError:
            self.skipTest("no python3-yaml")
        for path in EXAMPLES.glob("*.yml"):
            with self.subTest(path.name):
                text = yaml.safe_load(path.read_text())
                if "jobs" in text:
                    for job in text["jobs"].values():
                        self.assertTrue({"runs-on", "container", "steps"} <= set(job))
                        for step in job["steps"]:
                            self.assertEqual(len({"run", "uses"} & set(step)), 1, step)
                    continue
                for job in text.values():
                    self.assertTrue(all(isinstance(line, str) for line in
                                        job["before_script"] + job["script"]), path.name)
                    self.assertEqual(job["artifacts"]["when"], "always")

    def test_junit(self):
        """The file that a job hands over is the one that its check writes."""
        for path in EXAMPLES.glob("*.yml"):
            text = path.read_text()
            for name in re.findall(r"^ *junit: *(\S+)$", text, re.M):
                self.assertRegex(text, rf'JUNIT="?(\$CI_PROJECT_DIR/)?{re.escape(name)}"?(\s|$)')

    def test_image(self):
        """Each runs on a Debian that the tree knows, with what make needs."""
        for path in EXAMPLES.iterdir():
            text = path.read_text()
            self.assertRegex(text, r"(image: |FROM )debian:13\n")
            for name in ("ca-certificates", "make", "python3"):
                self.assertRegex(text, rf"(?m)install .*[ \n\\]+.*\b{name}\b", path.name)

    def test_container(self):
        """It has all that the tree would install."""
        words = set(re.findall(r"[\w.+-]+", CONTAINER.read_text()))
        for table in (packages.FOR_IMAGE, packages.FOR_LINT, packages.FOR_PAGES):
            self.assertLessEqual(set(table.values()), words)
        self.assertIn("debian-archive-keyring", words)


if __name__ == "__main__":
    unittest.main()
