# SPDX-License-Identifier: GPL-2.0-only
"""Our selftests in a kernel's tree: on its kselftest_harness.h, below the selftests of vfio.

The words of our harness become the kernel's. What that has no word for is in
tests/selftests/kselftest/harness.h.
"""

import re

from base import say

DIRECTORY = "tools/testing/selftests/vfio/mdma"

# Programs that need the kernel and the sample, and no more: about the rules of type1, and about
# what guest and migration see of the sample. Others need NICs, injected failures, a slow file
# system, iommufd, or hours.
TYPE1 = ("account", "busy", "errno", "fault", "many", "range", "repin", "report", "rw", "stall",
         "start", "storm", "uapi", "unmap")
DEVICE = ("fsm", "ledger", "migration", "msix", "pci", "ring", "stream", "workload")

# Our word -> the kernel's.
WORDS = {"ASSERT_STR": "ASSERT_STREQ", "EXPECT_STR": "EXPECT_STREQ", "TEST_F": "TEST_F_TIMEOUT"}
TAB = 8
DECLARATION = r"\t(?:struct|const|char|int|__u64|long) "


def _columns(text):
    return len(text.expandtabs(TAB))


def _depth(line):
    """How many parentheses the line leaves open."""
    line = re.sub(r"'(?:\\.|[^'\\])'|\"(?:\\.|[^\"\\])*\"", "", line)
    return line.count("(") - line.count(")")


def respelled(text):
    """A source with the kernel's words. Lines that go on below a parenthesis move with it."""
    pattern = re.compile(rf"\b({'|'.join(WORDS)})(?=\()")
    lines, depth, moved = [], 0, 0
    for line in text.splitlines():
        if depth > 0:
            rest = line.lstrip("\t ")
            width = _columns(line[:len(line) - len(rest)]) + moved
            line = "\t" * (width // TAB) + " " * (width % TAB) + rest
        else:
            depth = moved = 0
        found = pattern.search(line)
        if found:
            moved += len(WORDS[found[1]]) - len(found[1])
            line = pattern.sub(lambda one: WORDS[one[1]], line)
        if moved or found:
            depth += _depth(line)
        lines.append(line)
    return "\n".join(lines) + "\n"


def begun(text):
    """Each setup says which test begins: behind its declarations."""
    return re.sub(rf"^(FIXTURE_SETUP\(\w+\)\n\{{\n(?:(?:{DECLARATION}.*\n)+\n)?)",
                  r"\1\ttest_begins(_metadata);\n", text, flags=re.MULTILINE)


def source(text):
    """One of our files."""
    text = re.sub(r"\bSKIP\((?!return)", "SKIP(return, ", text)
    text = re.sub(r"^(TEST_F\(\w+, \w+,) (\d+)\)", r"\1 within(\2))", text, flags=re.MULTILINE)
    text = begun(respelled(text))
    if "<linux/mdma.h>" in text:
        text = text.replace("#include <linux/mdma.h>\n", '#include "mdma-defs.h"\n')
    if re.search(r"\bharness_\w+|\bIN_CHILD\b", text):
        raise say.LabError("a selftest uses our own harness, which a kernel's tree does not have")
    return text


def library(directory, programs):
    """Names of the files of lib/ that these programs need: X.h, and X.c if there is one.

    @directory: of our selftests
    """
    found, open_files = set(), [directory / f"{name}.c" for name in programs]
    while open_files:
        for stem in re.findall(r'^#include "(\w+)\.h"', open_files.pop().read_text(), re.MULTILINE):
            for path in (directory / f"lib/{stem}.h", directory / f"lib/{stem}.c"):
                if path.exists() and path.name not in found:
                    found.add(path.name)
                    open_files.append(path)
    return found


def makefile(text, programs):
    """Ours for a kernel's tree, with its programs."""
    return text.replace("TEST_GEN_PROGS := PROGRAMS\n",
                        "".join(f"TEST_GEN_PROGS += {name}\n" for name in sorted(programs)))


def with_target(text):
    """The Makefile of all selftests, with this directory."""
    target = f"TARGETS += {DIRECTORY.partition('/selftests/')[2]}\n"
    text, found = re.subn(r"^TARGETS \+= x86\n", rf"{target}\g<0>", text, flags=re.MULTILINE)
    if found != 1:
        raise say.LabError("the kernel's selftests have no target x86, before which ours belongs")
    return text
