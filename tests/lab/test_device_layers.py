# SPDX-License-Identifier: GPL-2.0-only
"""The device's files: each includes and calls only what is beside or below it, in no circle.

A file is known by its name without the suffix: X.c and X.h are one. What a file takes from
another is seen in its #include lines and in the functions and data that the other one's
header declares.
"""

import re
import unittest
from pathlib import Path

DEVICE = Path(__file__).resolve().parents[2] / "samples/vfio-mdev/mdma"
HEADER_LINES = 200

# From the top down.
LAYERS = {
    "face": "main debugfs workload_sysfs replay_sysfs sysfs ledger_sysfs dirty_log_sysfs vfio "
            "device",
    "function": "pci regs irq intx ledger_region",
    "move": "migration file stream stream_values",
    "work": "thread settings workload ring job engine channel knobs sequence replay upload",
    "memory": "unmap manual held access going run window",
    "record": "ledger dirty_log stats trace snapshot worker compat",
}
HEIGHT = {name: height for height, names in enumerate(reversed(LAYERS.values()))
          for name in names.split()}
FUNCTION = re.compile(r"(?m)^(?!static )(?:\w[\w \*]*[ \*])?(mdma_\w+)\(")
DATUM = re.compile(r"(?m)^extern [\w \*]+?\b(mdma_\w+)(?:\[\])?;")


def sources():
    """Name -> text, of all files of the device."""
    return {path.name: path.read_text() for path in sorted(DEVICE.glob("*.[ch]"))
            if not path.name.endswith(".mod.c")}


def code(text):
    """Without comments."""
    return re.sub(r"/\*.*?\*/", "", text, flags=re.DOTALL)


def stem(name):
    """X of X.c and X.h."""
    return name.rsplit(".", 1)[0]


def declared(files):
    """Function or datum -> the file whose header declares it."""
    return {symbol: stem(name) for name, text in files.items() if name.endswith(".h")
            for pattern in (FUNCTION, DATUM) for symbol in pattern.findall(code(text))}


def uses(files):
    """File -> {file that it uses: why}, without itself."""
    owner = declared(files)
    found = {stem(name): {} for name in files}
    for name, text in files.items():
        mine = found[stem(name)]
        for header in re.findall(r'(?m)^#include "(\w+)\.h"', text):
            mine.setdefault(header, f"includes {header}.h")
        if name.endswith(".c"):
            for symbol in sorted(set(re.findall(r"\bmdma_\w+", code(text))) & set(owner)):
                mine.setdefault(owner[symbol], f"uses {symbol}")
        mine.pop(stem(name), None)
    return found


def circle(graph):
    """A circle of files, or None."""
    done = set()

    def visit(name, path):
        if name in path:
            return path[path.index(name):] + [name]
        if name in done:
            return None
        done.add(name)
        return next(filter(None, (visit(to, path + [name]) for to in graph.get(name, ()))), None)

    return next(filter(None, (visit(name, []) for name in graph)), None)


def complaints(files, height):
    """What is wrong with the house."""
    graph = uses(files)
    said = [f"{name}: in no layer" for name in graph if name not in height]
    said += [f"{name}: no such file" for name in height if name not in graph]
    said += [f"{name} {why}, which is above it" for name, used in graph.items()
             for to, why in used.items() if height.get(to, 0) > height.get(name, 0)]
    found = circle(graph)
    if found:
        said.append("circle: " + " -> ".join(found))
    said += [f"{name}: {text.count(chr(10))} lines" for name, text in files.items()
             if name.endswith(".h") and text.count("\n") > HEADER_LINES]
    return said


class House(unittest.TestCase):
    """The device as it is."""

    def test_layers(self):
        """Nothing goes up or in a circle, and no header is long."""
        self.assertEqual(complaints(sources(), HEIGHT), [])

    def test_something_was_seen(self):
        """The scan finds includes, functions, data, and functions that a macro defines."""
        graph = uses(sources())
        self.assertEqual(graph["ring"]["job"], "includes job.h")
        owner = declared(sources())
        self.assertEqual({owner[name] for name in ("mdma_run_insert", "mdma_run_pin")},
                         {"run", "access"})
        self.assertEqual(owner["mdma_vfio_ops"], "vfio")
        self.assertEqual(owner["mdma_held_expire"], "held")

    def test_only_access_does_dma(self):
        """One file calls vfio for it."""
        calls = re.compile(r"\bvfio_(?:pin_pages|unpin_pages|dma_rw)\(")
        self.assertEqual([name for name, text in sources().items() if calls.search(code(text))],
                         ["access.c"])


class Rules(unittest.TestCase):
    """A house that is wrong is told of."""

    low = {"low.h": "int mdma_low(void);\n",
           "low.c": '#include "low.h"\nint mdma_low(void)\n{\n}\n'}
    high = {"high.h": "int mdma_high(void);\n",
            "high.c": '#include "high.h"\n#include "low.h"\nint mdma_high(void)\n'
                      "{\n\treturn mdma_low();\n}\n"}
    height = {"high": 1, "low": 0}

    def check(self, expected, height=None, **changed):
        """What is said when files have other text."""
        files = {**self.low, **self.high,
                 **{name.replace("_", "."): text for name, text in changed.items()}}
        self.assertEqual(complaints(files, height or self.height), expected)

    def test_good(self):
        """Nothing is said of calls downwards, nor of what stands in a comment."""
        self.check([])
        self.check([], low_c="/* mdma_high() calls this. */\n")

    def test_upward_call(self):
        """Also without an include, by a declaration of one's own."""
        self.check(["low uses mdma_high, which is above it", "circle: low -> high -> low"],
                   low_c="int mdma_high(void);\nint mdma_low(void)\n{\n\treturn mdma_high();\n}\n")

    def test_upward_include(self):
        """Of a header, in a header."""
        self.check(["low includes high.h, which is above it", "circle: low -> high -> low"],
                   low_h='#include "high.h"\nint mdma_low(void);\n')

    def test_circle_in_a_layer(self):
        """Two files of one layer."""
        self.check(["circle: low -> high -> low"], {"high": 0, "low": 0},
                   low_c='#include "low.h"\n#include "high.h"\n')

    def test_long_header(self):
        """More than 200 lines."""
        self.check(["low.h: 201 lines"], low_h="\n" * 201)

    def test_layer_of_all(self):
        """A new file needs a layer, and one that has gone has none."""
        self.check(["low: in no layer", "lower: no such file"], {"high": 1, "lower": 0})


if __name__ == "__main__":
    unittest.main()
