# SPDX-License-Identifier: GPL-2.0-only
"""What our sources become in a kernel's tree. A tree is one kernel, so what differs between kernels
is decided; and files of the tree get entries for ours."""

import re

from base import say

# Macros by which Kbuild tells our sources what the kernel is like.
PROBED = r"(?:TYPE1|MDMA)_(?:HAS|SAYS)_\w+"
# Where the device's interface is in a tree, as its sources include it.
INTERFACE = "../mdma-defs.h"
DOCUMENT = "Documentation/driver-api/vfio-mdma.rst"


def macros(command):
    """Those that Kbuild gave the compiler, by the .cmd file that it left of an object."""
    return set(re.findall(rf"-D({PROBED})\b", command))


def decided(text, defined):
    """A source without the #ifdefs about what Kbuild found. Others stay.

    @defined: of macros()
    """
    lines, open_ifs = [], []
    for line in text.splitlines(keepends=True):
        found = re.match(rf"\s*#\s*(ifdef|ifndef)\s+({PROBED})\s*$", line)
        word = re.match(r"\s*#\s*(if|ifdef|ifndef|else|elif|endif)\b", line)
        if found:
            open_ifs.append((found[2] in defined) == (found[1] == "ifdef"))
            continue
        if word and word[1].startswith("if"):
            open_ifs.append(None)
        elif word and open_ifs and open_ifs[-1] is not None:
            if word[1] == "endif":
                open_ifs.pop()
            else:
                open_ifs[-1] = not open_ifs[-1]
            continue
        keep = False not in open_ifs
        if word and word[1] == "endif" and open_ifs:
            open_ifs.pop()
        if keep:
            lines.append(line)
    if open_ifs:
        raise say.LabError("a source of ours has an #if without #endif")
    return re.sub(r"\n{3,}", "\n\n", "".join(lines))


def with_obj(text):
    """Allocations of one object as newer kernels write them."""
    def call(found):
        name, what, gfp = found.groups()
        return f"{name}_obj({what})" if gfp == "GFP_KERNEL" else f"{name}_obj({what}, {gfp})"
    return re.sub(r"\b(kv?[mz]alloc)\(sizeof\(([^()]+)\),\s*(\w+)\)", call, text)


def documented(text):
    """A source whose comments name the document of a tree, which is one."""
    text = re.sub(r"( \* R, W and D with a number, here and in all files(?: of the backend)?:)"
                  r" rules in.*?\.(?=\n \*/|\n \*\n)", rf"\1\n * {DOCUMENT}.", text,
                  flags=re.DOTALL)
    text = re.sub(r" \* How to add [^/]*Documentation/extending\.rst\.\n \*\n", "", text)
    text = text.replace(" (Documentation/extending.rst has a table)", "")
    if re.search(r"\b\w+\.rst\b", text.replace(DOCUMENT, "")):
        raise say.LabError("a source names a document that a tree does not have")
    return text


# --- type1 --------------------------------------------------------------------


def type1_source(hooked, wrapper):
    """type1.c for a kernel's tree: the hooked file, with ours at its end.

    @wrapper: our type1.c
    """
    wrapper = wrapper.split('#include "vfio_iommu_type1_hooked.c"\n')[1]
    # This marks our module among others, which a kernel's tree does not need.
    wrapper, marks = re.subn(r"\n/\*[^/]*\*/\nMODULE_INFO\(backend,[^;]*;\n", "\n", wrapper)
    includes = re.findall(r"^#include .*\n", wrapper, re.MULTILINE)
    top = [line for line in includes if not line.startswith('#include "type1_')]
    for line in top:
        wrapper = wrapper.replace(line, "")
    system = "".join(line for line in top if "<" in line)
    own = "".join(line for line in top if '"' in line)
    text, heads = re.subn(r'^#include "vfio\.h"\n', f'{system}#include "vfio.h"\n'
                          f'#include "type1.h"\n{own}', hooked, flags=re.MULTILINE)
    text, tails = re.subn(r"^static int __init vfio_iommu_type1_init",
                          re.sub(r"\n{3,}", "\n\n", wrapper).strip().replace("\\", r"\\")
                          + "\n\n\\g<0>", text, flags=re.MULTILINE)
    # Coccinelle puts a comment directly behind the code.
    text = text.replace(";/*", "; /*")
    if (marks, heads, tails) != (1, 1, 1):
        raise say.LabError(f"type1.c: can't be merged into the kernel's file {marks, heads, tails}")
    return text


def type1_makefile(text, lines):
    """The kernel's Makefile with these lines for vfio_iommu_type1."""
    text = re.sub(r"^(CFLAGS_type1\.o|vfio_iommu_type1-y) .*\n", "", text, flags=re.MULTILINE)
    return re.sub(r"(^obj-\$\(CONFIG_VFIO_IOMMU_TYPE1\).*\n)", r"\1" + lines, text,
                  flags=re.MULTILINE)


def with_line(text, behind, line):
    """A Makefile with a line behind the one that begins so."""
    text, found = re.subn(rf"^{re.escape(behind)} .*\n", rf"\g<0>{line}", text, flags=re.MULTILINE)
    if found != 1:
        raise say.LabError(f"{found} lines {behind} in a Makefile, not 1")
    return text


def tests_makefile(text):
    """That of the unit tests without the one of what is decided."""
    return text.replace(" $(OUT)/type1_compat_test", "").replace(" type1_compat_test", "")


# --- the device and its guest's driver ------------------------------------------


def own_interface(text):
    """The interface's header is beside the driver, so it comes with the driver's own."""
    text, found = re.subn(r"^#include <linux/mdma\.h>\n", "", text, flags=re.MULTILINE)
    # Comments name it as well.
    text = text.replace("<linux/mdma.h>", "mdma-defs.h")
    if not found:
        return text
    line = f'#include "{INTERFACE}"\n'
    own = re.search(r'^#include "', text, re.MULTILINE)
    if own:
        return text[:own.start()] + line + text[own.start():]
    last = list(re.finditer(r"^#include <.*\n", text, re.MULTILINE))[-1]
    return text[:last.end()] + "\n" + line + text[last.end():]


def device_source(text, defined, compat):
    """A file of the device or of its guest's driver.

    @defined: of macros()
    @compat:  whether compat.h has something left
    """
    const = "const " if "MDMA_HAS_CONST_BIN_ATTRIBUTE" in defined else ""
    text = decided(text, defined)
    text = re.sub(r"\n(/\* Binary attributes[^\n]*\*/\n)?#define MDMA_BIN_CONST[^\n]*\n", "\n",
                  text)
    uses = "MDMA_BIN_CONST" in text
    text = text.replace("MDMA_BIN_CONST ", const)
    if uses or not compat:
        text = text.replace('#include "compat.h"\n', "")
    text = documented(own_interface(text))
    return re.sub(r"\n{3,}", "\n\n", text)


def with_namespace(text, example):
    """A source that imports symbols as the kernel's own file @example does."""
    found = re.search(r"^MODULE_IMPORT_NS\(\"?IOMMUFD\"?\);\n", example, re.MULTILINE)
    if not found:
        raise say.LabError("the kernel's own vfio does not import the symbols of iommufd")
    return re.sub(r"/\* MODULE_IMPORT_NS\(\) takes [^/]*\*/\n"
                  r"MODULE_INFO\(import_ns, \"IOMMUFD\"\);\n", found[0], text)


def compat_is_needed(source, defined):
    """Whether the device's @source, after what is decided, still calls compat.h."""
    return "mdma_compat_" in decided(source, defined)


def device_makefile(module, option, objects):
    """Makefile of one directory."""
    lines = [f"{module}-y += {name}\n" for name in objects]
    return ("# SPDX-License-Identifier: GPL-2.0-only\n"
            f"obj-$(CONFIG_{option}) += {module}.o\n\n" + "".join(lines))


# --- entries in files of the tree --------------------------------------------------


def with_option(text, behind, entry):
    """A Kconfig file with an entry behind the one of another option."""
    found = re.search(rf"^config {behind}\n(?:[ \t].*\n|\n)*", text, re.MULTILINE)
    if not found:
        raise say.LabError(f"Kconfig: no {behind}, behind which ours belongs")
    return text[:found.end()].rstrip("\n") + "\n\n" + entry.strip("\n") + "\n\n" \
        + text[found.end():]


def with_select(text, option, other):
    """A Kconfig file in which an option selects another one."""
    text, found = re.subn(rf"^config {option}\n(?:\t(?!help).*\n)+",
                          rf"\g<0>\tselect {other}\n", text, flags=re.MULTILINE)
    if found != 1:
        raise say.LabError(f"Kconfig: {option} is there {found} times, not once")
    return text


def with_maintainer(text, entry):
    """MAINTAINERS with an entry, where the alphabet puts it among those of its first word. (All in
    all, the alphabet of that file is not that strict.)"""
    title = entry.split("\n", 1)[0]
    word = title.split(" ", 1)[0]
    for found in re.finditer(rf"(?<=\n\n){word} .*\n(?=[A-Z]:\t)", text):
        if found[0].strip() > title:
            return text[:found.start()] + entry.strip("\n") + "\n\n" + text[found.start():]
    raise say.LabError(f"MAINTAINERS: no place for {title}")


def with_chapter(text, behind, name):
    """A toctree with a document behind another one."""
    text, found = re.subn(rf"^( +){behind}\n", rf"\g<0>\1{name}\n", text, flags=re.MULTILINE)
    if found != 1:
        raise say.LabError(f"{found} lines {behind} in a toctree, not 1")
    return text


def section(document, title):
    """The text below a title of ours, up to the next one of its level."""
    found = re.search(rf"^{re.escape(title)}\n([=-])\1+\n\n(.*?)(?=^[^\n]+\n\1{{3,}}\n|\Z)",
                      document, re.MULTILINE | re.DOTALL)
    if not found:
        raise say.LabError(f"no section '{title}' in our documents")
    return found[2].strip("\n") + "\n"
