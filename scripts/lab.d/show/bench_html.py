# SPDX-License-Identifier: GPL-2.0-only
"""bench.html: the benchmark on one page, in one file, without network.

The plots are gnuplot's, as inline SVG, with its colours replaced by the page's.
"""

import re
import shutil
import subprocess
from html import escape

from show.report_html import STYLE, drawing, table

# gnuplot draws with the colours #000001 to #000004. The page replaces them by its own, light or
# dark.
COLOURS = ("", "var(--soft)", "var(--line)", "var(--orange)", "var(--blue)")
DRAWN = re.compile(r"rgb\( *0, *0, *([1-4])\)")

PLOT = """
set terminal svg size 520,340 dynamic enhanced font "sans,13" name "{name}"
set encoding utf8
set border 3 lc rgb "#000001"
set tics nomirror textcolor rgb "#000001"
set grid lc rgb "#000002" lt 1
set key top left textcolor rgb "#000001"
set rmargin 5
set title "{call}" textcolor rgb "#000001"
set xlabel "{what}" textcolor rgb "#000001"
set ylabel "cost, ms" textcolor rgb "#000001"
set logscale x {base}
set logscale y 10
set format x "%.0f"
set format y "%g"
$stock << END
{stock}
END
$ours << END
{ours}
END
plot {lines}
"""

LINE = ('${name} using 1:2 with linespoints lw 2 pt 7 ps 0.6 '
        'lc rgb "{colour}" title "{title}"')

PAGE = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>mdma: what the backend costs</title><style>{style}</style></head><body><main>
<h1>What the backend costs</h1>
<p class="soft">Linux {kernel}. Times are instructions, at 2 ns each: the same on every
machine. Floor: the same pages by pin_user_pages_remote() alone, or a memset() of the
bitmap.</p>
<div class="verdict {css}"><b>{verdict}</b><p>{judged}</p></div>
<div class="pair">{plots}</div>
{table}
</main></body></html>
"""
TIMES = "\u00d7"
HEADS = ("operation", "unit", "kernel\u2019s own", "ours", "gain", "floor", "target")


def number(value):
    """A figure for the table."""
    if value is None:
        return "\u2013"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:g}"


def script(name, call, what, points):
    """A script for gnuplot: one curve for each backend that was measured."""
    data, lines = {"stock": [], "ours": []}, []
    for size, *costs in points:
        for key, cost in zip(data, costs):
            if cost is not None:
                data[key].append(f"{size} {cost / 1000:.6f}")
    for key, colour, title in (("stock", "#000003", "kernel\u2019s own"),
                               ("ours", "#000004", "ours")):
        if data[key]:
            lines.append(LINE.format(name=key, colour=colour, title=title))
    sizes = [size for size, *_ in points]
    base = 10 if sizes[1:2] == [10 * sizes[0]] else 2
    return PLOT.format(name=name, call=call, what=what, base=base, lines=", ".join(lines),
                       **{key: "\n".join(values) for key, values in data.items()})


def plot(name, call, what, points):
    """One plot as inline SVG."""
    if not shutil.which("gnuplot"):
        raise SystemExit("bench.html: no gnuplot (package gnuplot-nox)")
    done = subprocess.run(["gnuplot"], input=script(name, call, what, points), text=True,
                          stdout=subprocess.PIPE, check=True)
    svg = done.stdout[done.stdout.index("<svg"):]
    return DRAWN.sub(lambda found: COLOURS[int(found[1])], svg)


def gain(line, times):
    """How many times as much stock needs, with the sign @times; below 1 where stock needs less."""
    if not line["stock"] or not line["ours"]:
        return ""
    ratio = line["stock"] / line["ours"]
    return f"{ratio:.{1 if ratio >= 1 else 2 if ratio >= 0.1 else 3}f}{times}"


def table_row(line):
    """A row of bench.json."""
    css = {True: ' class="good"', False: ' class="bad"', None: ""}[line["ok"]]
    cells = "".join(f"<td{css if key == 'ours' else ''}>{number(line[key])}</td>"
                    for key in ("stock", "ours"))
    return (escape(line["op"]), f"<td>{line['unit']}</td>{cells}<td>{gain(line, TIMES)}</td>"
            f"<td>{number(line['floor'])}</td><td>{number(line['target'])}</td>")


def render(facts, curves):
    """The page. @facts: as in bench.json; @curves: [(what costs, what grows,
    [(size, stock, ours)])]."""
    rows = facts["rows"]
    judged = [line for line in rows if line["ok"] is not None]
    missed = [line for line in judged if not line["ok"]]
    plots = "".join(drawing(plot(f"curve{i}", call, what, points), f"Cost of {call} by {what}")
                    for i, (call, what, points) in enumerate(curves))
    return PAGE.format(style=STYLE, kernel=escape(facts["kernel"]), plots=plots,
                       css="fail" if missed else "pass",
                       verdict="target missed" if missed else "all targets reached",
                       judged=escape("; ".join(line["op"] for line in missed) or
                                     f"{len(judged)} targets"),
                       table=table("Figures", HEADS, [table_row(line) for line in rows]))
