# SPDX-License-Identifier: GPL-2.0-only
"""The commands that the README tells users to type; tests run them as they are written."""

from base import site

PATH = site.TREE / "README.md"
INDENT = "    "


def blocks(section):
    """The blocks of commands under a heading, each as a list of its lines."""
    text = PATH.read_text().partition(f"\n## {section}\n")[2].partition("\n## ")[0]
    found, in_block = [], False
    for line in text.splitlines():
        if line.startswith(INDENT):
            if not in_block:
                found.append([])
            found[-1].append(line.removeprefix(INDENT))
        in_block = line.startswith(INDENT)
    return found
