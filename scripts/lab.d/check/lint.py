# SPDX-License-Identifier: GPL-2.0-only
"""Style of the whole tree: one result for each file and tool."""

import os
import re
import subprocess
from concurrent.futures import ThreadPoolExecutor

from base import ktap, process, say
from make import mutant, packages, paths

DIRECTORIES = ("drivers", "samples", "include", "tests", "scripts", "debian/dkms", ".ci")
C_SUFFIXES = (".c", ".h")
LONGEST_SOURCE = 800
LONGEST_SHELL = 150
# What checkpatch demands and such a file can't fulfil. A user-space program has no kernel macros
# and functions; TRACE_EVENT has its own layout.
USER_SPACE = ("ARRAY_SIZE", "BIT_MACRO", "CAMELCASE", "EXPORT_SYMBOL", "MACRO_ARG_REUSE",
              "MACRO_WITH_FLOW_CONTROL", "NEW_TYPEDEFS", "PREFER_DEFINED_ATTRIBUTE_MACRO",
              "PREFER_KERNEL_TYPES", "STRCPY", "STRNCPY", "VOLATILE")
# The kernel's own macros, reproduced in user space.
SHIM = ("COMPLEX_MACRO", "MACRO_ARG_UNUSED")
TRACE_HEADER = ("OPEN_ENDED_LINE", "PARENTHESIS_ALIGNMENT")

# Where the scripts and scenarios find what they import.
IMPORTED = ("scripts/lab.d", "tests/scenarios")

# What kernel-doc says at its end.
COUNT = re.compile(r"\d+ errors")
# How many checks run at a time.
WORKERS = min(4, os.cpu_count() or 1)

LICENCE = "SPDX-License-Identifier: GPL-2.0-only"


def files():
    """All our files in the tree, relative to it, but for inputs of fuzzers."""
    found = []
    for directory in DIRECTORIES:
        for base, directories, names in os.walk(paths.REPO / directory):
            directories[:] = sorted(name for name in directories if name != "__pycache__")
            found += [os.path.join(base, name) for name in sorted(names)]
    return [os.path.relpath(path, paths.REPO) for path in found
            if os.path.isfile(path) and not path.endswith((".pyc", ".orig", ".rej", ".bin"))]


def is_shell(path, text):
    """Whether it is a shell script."""
    first = text.split("\n", 1)[0]
    return path.endswith(".sh") or (first.startswith("#!") and first.endswith("sh"))


def is_python(path, text):
    """Whether it is Python."""
    return path.endswith(".py") or text.startswith("#!/usr/bin/env python3")


def _run(argv):
    """Run a tool; returns its exit code and what it prints."""
    code, said = process.output(argv, cwd=paths.REPO, stderr=subprocess.STDOUT)
    return code, said.strip()


def _tool(name, path, argv):
    """Run a tool, which must end with 0 and print nothing."""
    code, said = _run(argv)
    good = code == 0 and not said
    return ktap.Result(f"{name} {path}", ktap.PASSED if good else ktap.FAILED,
                       said or f"exit code {code}")


def of_each(name, found, code, said):
    """A result for each of the files @found that one call of a tool has looked at. What it says of
    a file begins with "FILE:". If it says something else, is killed, or ends badly and names no
    file, then none is good: it may not have looked at all of them."""
    lines = {path: [] for path in found}
    other = []
    for line in said.splitlines():
        if not COUNT.fullmatch(line):
            lines.get(line.partition(":")[0], other).append(line)
    if other or code < 0 or (code and not any(lines.values())):
        return [ktap.Result(f"{name} {path}", ktap.FAILED, said or f"exit code {code}")
                for path in found]
    return [ktap.Result(f"{name} {path}", ktap.FAILED if bad else ktap.PASSED, "\n".join(bad))
            for path, bad in lines.items()]


def _tool_for_all(name, found, argv):
    """Run a tool for several files at once: most of its time is what it needs to start."""
    return of_each(name, found, *_run([*argv, *found]))


def shellcheck(path):
    """shellcheck, all levels."""
    return _tool("shellcheck", path, ["shellcheck", "--", path])


def ignored(path):
    """What checkpatch is not to demand of this file."""
    ignore = ["FILE_PATH_CHANGES"]
    if path.startswith(("tests/", "scripts/")):
        ignore += USER_SPACE
    if "/shim/" in path:
        ignore += SHIM
    if "TRACE_EVENT(" in (paths.REPO / path).read_text():
        ignore += TRACE_HEADER
    return ",".join(ignore)


def checkpatch(*found):
    """The kernel's own style check, of files with the same ignored()."""
    script = paths.KERNEL_SOURCE / "scripts/checkpatch.pl"
    return _tool_for_all("checkpatch", found, ["perl", script, "--no-tree", "--strict", "--quiet",
                                               "--terse", "--show-types", "--no-summary",
                                               "--ignore", ignored(found[0]), "-f"])


def kernel_doc(*found):
    """kernel-doc comments must be well formed."""
    return _tool_for_all("kernel-doc", found, ["perl", paths.KERNEL_SOURCE / "scripts/kernel-doc",
                                               "-none"])


def python_syntax(path):
    """The file must compile."""
    text = (paths.REPO / path).read_text()
    try:
        compile(text, path, "exec", dont_inherit=True)
    except SyntaxError as error:
        return ktap.Result(f"python {path}", ktap.FAILED, str(error))
    return ktap.Result(f"python {path}", ktap.PASSED)


def pylint(path):
    """The errors that pylint finds in the scripts and scenarios of a tree, whoever runs it."""
    tree = paths.REPO / path
    found = ["scripts/lab", "scripts/mdma-trace",
             *sorted(one.parent for one in tree.glob("scripts/lab.d/*/__init__.py")),
             *sorted(tree.glob("tests/scenarios/*.py"))]
    hook = f"import sys; sys.path[:0] = {[str(tree / one) for one in IMPORTED]}"
    return _tool("pylint", path, ["pylint", "--errors-only", "--rcfile=/dev/null", "--persistent=n",
                                  f"--init-hook={hook}", "--", *found])


def house_rules(path):
    """Licence line, length, white space."""
    text = (paths.REPO / path).read_text()
    lines = text.splitlines()
    limit = LONGEST_SHELL if is_shell(path, text) else LONGEST_SOURCE
    bad = []
    if not path.endswith((".patch", ".txt", ".json")) and text \
            and not any(LICENCE in line for line in lines[:5]):
        bad.append(f"no '{LICENCE}' in its first lines")
    if len(lines) > limit:
        bad.append(f"{len(lines)} lines, at most {limit} wanted")
    if not path.endswith(".patch"):
        bad += [f"line {number}: trailing white space"
                for number, line in enumerate(lines, 1) if line != line.rstrip()]
    if text and not text.endswith("\n"):
        bad.append("no line break at its end")
    return ktap.Result(f"house {path}", ktap.FAILED if bad else ktap.PASSED, "\n".join(bad))


ERRNO_ROW = re.compile(r"(\S.*?) {2,}(E[A-Z0-9]+) +``(\w+)``")
TEST_BODY = re.compile(r"^TEST_F\(\w+, (\w+), \d+\)\n(\{.*?^\})", re.MULTILINE | re.DOTALL)


def test_bodies():
    """Name of a selftest -> its text."""
    return {name: body for path in sorted(paths.SELFTESTS.glob("*.c"))
            for name, body in TEST_BODY.findall(path.read_text())}


def errno_table(path, text=None, tests=None):
    """Each row names a selftest, which expects the errno of the row."""
    text = (paths.REPO / path).read_text() if text is None else text
    tests = test_bodies() if tests is None else tests
    bad, rows = [], ERRNO_ROW.findall(text)
    for what, error, name in rows:
        if name not in tests:
            bad.append(f"{what}: no test {name}")
        elif error not in re.findall(r"\w+", tests[name]):
            bad.append(f"{what}: {name} does not expect {error}")
    if not rows:
        bad.append("no row of the form: input  ERRNO  ``test``")
    return ktap.Result(f"errno {path}", ktap.FAILED if bad else ktap.PASSED, "\n".join(bad))


def mutant_applies(path):
    """A mutant says what it breaks, and its patch applies."""
    name = os.path.basename(path)[:-len(".patch")]
    try:
        one = mutant.load(name)
        one.apply({file: (paths.REPO / file).read_bytes() for file in one.hunks
                   if (paths.REPO / file).is_file()})
    except say.LabError as error:
        return ktap.Result(f"mutant {path}", ktap.FAILED, str(error))
    return ktap.Result(f"mutant {path}", ktap.PASSED)


def in_parts(found):
    """These files in parts, which are looked at side by side."""
    return [found[number::WORKERS] for number in range(WORKERS) if found[number::WORKERS]]


def _jobs():
    """(check, files) of everything to be done; what takes long is first."""
    jobs, alike, documented = [(pylint, ".")], {}, []
    jobs.append((errno_table, "Documentation/errno.rst"))
    for path in files():
        try:
            text = (paths.REPO / path).read_text()
        except UnicodeDecodeError:
            continue
        jobs.append((house_rules, path))
        if is_shell(path, text):
            jobs.append((shellcheck, path))
        if path.startswith("tests/mutants/") and path.endswith(".patch"):
            jobs.append((mutant_applies, path))
        if is_python(path, text):
            jobs.append((python_syntax, path))
        if path.endswith(C_SUFFIXES):
            alike.setdefault(ignored(path), []).append(path)
            if not path.startswith(("tests/", "scripts/")):
                documented.append(path)
    return [*((checkpatch, *part) for found in alike.values() for part in in_parts(found)),
            *((kernel_doc, *part) for part in in_parts(documented)), *jobs]


def _results(job):
    """The results of one job."""
    check, *found = job
    results = check(*found)
    return results if isinstance(results, list) else [results]


def run():
    """All results. Needs the kernel's scripts from the image (see make/image.py)."""
    packages.ensure(packages.FOR_LINT)
    try:
        with ThreadPoolExecutor(max_workers=WORKERS) as pool:
            try:
                return [result for results in pool.map(_results, _jobs()) for result in results]
            except BaseException:
                # A signal does not wait for some hundred files.
                with process.all_stopped():
                    pool.shutdown(wait=True, cancel_futures=True)
                raise
    finally:
        # checkpatch leaves a cache in its working directory.
        for cache in paths.REPO.glob(".checkpatch-camelcase*"):
            cache.unlink()
