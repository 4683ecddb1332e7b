# SPDX-License-Identifier: GPL-2.0-only
"""Plots of the experiment on downtime, by gnuplot, as SVG."""

import json
import re

from judge import points

WORKLOADS = tuple(points.WORKLOADS)

CAPTIONS = {
    "downtime-pre": "Device-dirtied pages reported in pre-copy: what QEMU expected and what "
                    "it had to send. What did not converge was stopped in the end.",
    "downtime-stop": "The same, reported at the stop.",
    "bytes": "Sent after the first round.",
    "convergence": "Left to send, over time, in the first trial of each: held pages, and what "
                   "makes them converge.",
}

HEAD = """\
set terminal svg size 860,340 enhanced font "sans,13" background "#ffffff"
set encoding utf8
set border 3 lc rgb "#5b6675"
set tics nomirror out
set grid y lc rgb "#dfe3e8"
set key above horizontal samplen 1.5
set style fill solid 0.9 noborder
"""

BLUE, ORANGE, VIOLET, TEAL, GREY = "#2864c8", "#d9730d", "#7b4fc4", "#1f8a80", "#9aa7b6"

# Colours that the page replaces, since they depend on light and dark.
IN_PAGE = {BLUE: "blue", ORANGE: "orange", VIOLET: "violet", TEAL: "teal", GREY: "soft",
           "#5b6675": "soft", "#dfe3e8": "line", "#1b2430": "ink", "#b3261e": "fail",
           "#ffffff": "card"}
RGB = re.compile(r"rgb\( *(\d+), *(\d+), *(\d+)\)|(#[0-9a-f]{6})\b")


def matrix(experiment):
    """{(workload, load, reported): entry} of the points that have both bars."""
    return {(entry["workload"], entry["load"], entry["reported"]): entry
            for entry in experiment["points"] if entry["group"] == "matrix" and entry["measured"]}


def bars(cells, reported, key, scale):
    """Lines of a data block: place, median, lowest, highest."""
    lines = []
    for i, (workload, load) in enumerate((w, load) for w in WORKLOADS for load in points.LOADS):
        entry = cells.get((workload, load, reported))
        if entry:
            lines.append(f"{i} " + " ".join(f"{entry[key][part] / scale:.4f}"
                                            for part in ("median", "min", "max")))
    return "\n".join(lines) or "0 0 0 0"


def axis():
    """Names of the nine places, and room for them."""
    names = [f'"{workload}\\n{load:g}x" {i}' for i, (workload, load) in
             enumerate((w, load) for w in WORKLOADS for load in points.LOADS)]
    return (f"set xtics ({', '.join(names)}) scale 0\nset bmargin 3\nset xrange [-0.7:8.7]\n"
            "set arrow from 2.5, graph 0 to 2.5, graph 1 nohead lc rgb '#dfe3e8'\n"
            "set arrow from 5.5, graph 0 to 5.5, graph 1 nohead lc rgb '#dfe3e8'\n")


def pair(block, shift, colour, title):
    """The words that plot a data block as bars with ranges."""
    return (f'{block} using ($1+{shift}):2 with boxes lc rgb "{colour}" title "{title}", '
            f'{block} using ($1+{shift}):2:3:4 with yerrorbars pt 0 lw 1.2 lc rgb "#1b2430" '
            "notitle")


def downtime_plot(experiment, reported):
    """Expected and actual, in units of the budget."""
    cells, scale = matrix(experiment), experiment["budget"]
    return (HEAD + axis() + "set boxwidth 0.36\n"
            f"$expected << E\n{bars(cells, reported, 'expected_pages', scale)}\nE\n"
            f"$actual << E\n{bars(cells, reported, 'actual_pages', scale)}\nE\n"
            'set ylabel "pages / downtime limit"\nset yrange [0:4.2]\n'
            f"plot 1 lc rgb '{GREY}' dt 2 title 'downtime limit', "
            + pair("$expected", -0.19, BLUE, "expected")
            + ", " + pair("$actual", 0.19, ORANGE, "actual") + "\n")


def bytes_plot(experiment):
    """Bytes sent after the first round, for both ways to report."""
    cells, scale = matrix(experiment), 1 << 20
    return (HEAD + axis() + "set boxwidth 0.36\n"
            f"$pre << E\n{bars(cells, points.PRECOPY, 'bytes_again', scale)}\nE\n"
            f"$stop << E\n{bars(cells, points.STOP, 'bytes_again', scale)}\nE\n"
            'set ylabel "MiB"\nset yrange [0:*]\n'
            "plot " + pair("$pre", -0.19, VIOLET, "reported in pre-copy") + ", "
            + pair("$stop", 0.19, TEAL, "reported at the stop") + "\n")


def left_to_send(trial, scale):
    """Lines of a data block: seconds since the end of the first round, memory left to send."""
    samples = [s for s in trial["samples"] if s["rounds"] >= 2 and s["status"] == "active"]
    if not samples:
        return None
    return "\n".join(f"{s['time'] - samples[0]['time']:.2f} "
                     f"{s['remaining'] / points.PAGE_SIZE / scale:.4f}" for s in samples)


def convergence_plot(experiment, results):
    """Memory left to send over time: held pages, and what helps against them."""
    names = ("pre-held-0.5", "fewer-held", "short-hold", "device-tracking", "read-only",
             "pre-retained-0.5")
    colours = (ORANGE, "#b3261e", BLUE, VIOLET, TEAL, GREY)
    blocks, plots = "", []
    for i, (name, colour) in enumerate(zip(names, colours)):
        path = results / "trials" / f"{name}.1.json"
        lines = left_to_send(json.loads(path.read_text()), experiment["budget"]) \
            if path.exists() else None
        if lines:
            blocks += f"$b{i} << E\n{lines}\nE\n"
            plots.append(f'$b{i} with lines lw 2 lc rgb "{colour}" title "{name}"')
    if not plots:
        return None
    return (HEAD + blocks + 'set xlabel "seconds after the first round"\n'
            'set ylabel "pages / downtime limit"\nset yrange [0:*]\nset xrange [0:*]\n'
            f"plot 1 lc rgb '#1b2430' dt 2 title 'downtime limit', {', '.join(plots)}\n")


def scripts(experiment, results):
    """{name: gnuplot script} of the plots that have data."""
    found = {}
    if matrix(experiment):
        found["downtime-pre"] = downtime_plot(experiment, points.PRECOPY)
        found["downtime-stop"] = downtime_plot(experiment, points.STOP)
        found["bytes"] = bytes_plot(experiment)
    found["convergence"] = convergence_plot(experiment, results)
    return {name: text for name, text in found.items() if text}


def in_page(svg):
    """A plot for the page, in the page's colours."""
    def colour(found):
        name = found[4] or "#" + "".join(f"{int(part):02x}" for part in found.groups()[:3])
        return f"var(--{IN_PAGE[name]})" if name in IN_PAGE else found[0]
    return RGB.sub(colour, svg[svg.index("<svg"):])


def draw(experiment, results, gnuplot):
    """{name: svg} of all plots.

    @gnuplot: makes the SVG from a name, a script and the directory @results, see
              make.gnuplot.draw()
    """
    return {name: gnuplot(name, text, results)
            for name, text in scripts(experiment, results).items()}
