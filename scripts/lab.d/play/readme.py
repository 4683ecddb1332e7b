# SPDX-License-Identifier: GPL-2.0-only
"""The commands that the documentation tells users to type; tests run them as they are written."""

import re

from base import site

TREE = site.TREE
INDENT = "    "
# A heading: a line that is underlined.
SECTION = re.compile(r"^(?=\S.*\n={3,}$)", re.MULTILINE)


def text_of(document):
    """A file of Documentation/."""
    return (TREE / "Documentation" / document).read_text()


def blocks(document, section=""):
    """The blocks of commands in a document, or in one section of it, each as its lines."""
    text = text_of(document)
    if section:
        text = next((part for part in SECTION.split(text) if part.startswith(f"{section}\n=")), "")
    found, in_block = [], False
    for line in text.splitlines():
        if line.startswith(INDENT):
            if not in_block:
                found.append([])
            found[-1].append(line.removeprefix(INDENT))
        in_block = line.startswith(INDENT)
    return found
