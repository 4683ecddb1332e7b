# SPDX-License-Identifier: GPL-2.0-only
"""Small charts as inline SVG: no library, no network, colours from the page's CSS.

A chart is 440 units wide and scales with its column, so its text stays readable on a phone. Text
is escaped here and nowhere else.
"""

import math
from html import escape

WIDTH, HEIGHT = 440, 250
LEFT, RIGHT, TOP, BOTTOM = 64, 20, 26, 40


def short(value):
    """A number for an axis: 1500 becomes 1.5k."""
    for limit, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= limit:
            return f"{value / limit:.3g}{unit}"
    return f"{value:.3g}"


def ticks(top, count=5):
    """Round steps from 0 to at least @top."""
    if top <= 0:
        return [0, 1]
    step = 10 ** math.floor(math.log10(top / count))
    step = next(step * factor for factor in (1, 2, 2.5, 5, 10) if step * factor * count >= top)
    return [step * i for i in range(math.ceil(top / step - 1e-9) + 1)]


class Chart:
    """A frame with two axes; drawing is in units of the data.

    @x_ticks, @y_ticks: {value: its name}; default: round numbers
    """

    def __init__(self, title, x_label, y_label, x_top, y_top, *, x_ticks=None, y_ticks=None):
        self.title = title
        self.parts = []
        self.y_ticks = y_ticks or {value: short(value) for value in ticks(y_top)}
        self.x_ticks = x_ticks or {value: short(value) for value in ticks(x_top, 6)}
        self.x_top = x_top or 1
        self.y_top = y_top if y_ticks else max(self.y_ticks)
        self._axes(x_label, y_label)

    def x(self, value):
        """Data to drawing."""
        return LEFT + (WIDTH - LEFT - RIGHT) * value / self.x_top

    def y(self, value):
        """Data to drawing."""
        return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * value / self.y_top

    def text(self, x, y, text, css="tick", anchor="middle"):
        """A word at a place in the drawing."""
        self.parts.append(f'<text x="{x:.1f}" y="{y:.1f}" class="{css}" '
                          f'text-anchor="{anchor}">{escape(str(text))}</text>')

    def rule(self, x1, y1, x2, y2, css):
        """A straight line in the drawing."""
        self.parts.append(f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" '
                          f'class="{css}"/>')

    def _axes(self, x_label, y_label):
        for value, name in self.y_ticks.items():
            self.rule(LEFT, self.y(value), WIDTH - RIGHT, self.y(value),
                      "grid" if value else "axis")
            self.text(LEFT - 6, self.y(value) + 4, name, anchor="end")
        for value, name in self.x_ticks.items():
            if value <= self.x_top * 1.001:
                self.text(self.x(value), HEIGHT - BOTTOM + 16, name)
        self.text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 6, x_label, "label")
        self.text(4, 12, y_label, "label", "start")

    def line(self, points, css, stepped=False):
        """A line through (x, y) points; stepped: a value holds until the next."""
        path, last = [], None
        for x, y in points:
            if stepped and last is not None:
                path.append(f"{self.x(x):.1f},{self.y(last):.1f}")
            path.append(f"{self.x(x):.1f},{self.y(y):.1f}")
            last = y
        self.parts.append(f'<polyline points="{" ".join(path)}" class="line {css}"/>')

    def bar(self, x, width, bottom, top, css, hint):
        """A bar centred at @x; @hint shows on hover."""
        height = self.y(bottom) - self.y(top)
        self.parts.append(
            f'<rect x="{self.x(x - width / 2):.1f}" y="{self.y(top):.1f}" '
            f'width="{self.x(width) - self.x(0):.1f}" height="{height:.1f}" class="{css}">'
            f'<title>{escape(hint)}</title></rect>')

    def mark(self, x, text):
        """A moment after which nothing is drawn: a dashed line with a word. The name of the axis is
        above most of the chart, so the word is right of the line if there is room."""
        at = self.x(x)
        self.rule(at, TOP - 4, at, HEIGHT - BOTTOM, "mark")
        if at < LEFT + 0.75 * (WIDTH - LEFT - RIGHT):
            self.text(at + 4, TOP + 12, text, "note", "start")
        else:
            self.text(min(at, WIDTH - RIGHT), TOP - 8, text, "note", "end")

    def svg(self):
        """The finished drawing."""
        return (f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
                f'aria-label="{escape(self.title, quote=True)}">{"".join(self.parts)}</svg>')


LETTER, GAP = 11, 5    # of a tick's name on a phone, where letters are larger; "RAM" is wide


def sparse(names, x_top, most=12):
    """Names of ticks, {value: name}: the last one, and as many before it as have room.

    @names: of values that are 1 apart
    @x_top: end of the axis
    @most:  most names, however short
    """
    room = LETTER * max(map(len, names.values()), default=0) + GAP
    step = max(-(-len(names) // most), math.ceil(room * x_top / (WIDTH - LEFT - RIGHT)), 1)
    return dict(list(names.items())[::-step])


BARS = 120    # in a chart, at most


def highest(by_round, step):
    """{number: the round with the largest report} of each @step rounds, counted from 0."""
    found = {}
    for entry in by_round:
        group = (entry["round"] - 1) // step
        if group not in found or entry["reported"] > found[group]["reported"]:
            found[group] = entry
    return found


def rounds(leg, x_top, y_top):
    """Pages in the reports of each round; of many rounds, only the largest of several."""
    names = {n: str(n) for n in range(1, x_top + 1)}
    step = max(1, -(-x_top // BARS))
    label = f"round of pre-copy; a bar: the most of {step}" if step > 1 else "round of pre-copy"
    chart = Chart("pages reported in each round", label, "pages reported",
                  x_top + 1, y_top, x_ticks=sparse(names, x_top + 1))
    for group, entry in highest(leg["by_round"], step).items():
        at, width = group * step + (step + 1) / 2, 0.6 * step
        pinned = entry["reported"] - entry["retained"]
        hint = f"round {entry['round']}: {entry['retained']} retained, {pinned} still pinned"
        chart.bar(at, width, 0, entry["retained"], "retained", hint)
        chart.bar(at, width, entry["retained"], entry["reported"], "pinned", hint)
        if x_top <= 10:
            chart.text(chart.x(at), chart.y(entry["reported"]) - 4, short(entry["reported"]))
    return chart.svg()


def remaining(leg, x_top, y_top):
    """Memory that is left to send: it falls within a round, and jumps at the next."""
    chart = Chart("memory left to send over time", "seconds since the migration began",
                  "MiB left to send", x_top, y_top)
    chart.mark(leg["end"], "migrated")
    chart.line(leg["remaining"], "sending")
    return chart.svg()


# --- the heat map -----------------------------------------------------------

LEVELS = 4


def paths(counts, css, full, x, width):
    """Cells of (row, column), one path for each shade.

    @full: pages of the darkest one
    @x, @width: position of a cell in its column
    """
    shades = {}
    for (row, column), count in sorted(counts.items()):
        shade = min(LEVELS, math.ceil(LEVELS * count / full))
        shades.setdefault(shade, []).append(f"M{column + x:g} {row}h{width}v1h-{width}z")
    return "".join(f'<path class="cell {css} shade{shade}" d="{"".join(drawn)}"/>'
                   for shade, drawn in sorted(shades.items()))


def addresses(heat):
    """Unit, and {row: IOVA}: where memory continues after a gap, and between those as far as there
    is room."""
    shift, unit = (8, "MiB") if heat.blocks[-1] << heat.shift > 2560 else (-2, "KiB")
    names, room = {}, len(heat.blocks) / 8
    begins = [row for row, block in enumerate(heat.blocks)
              if not row or block != heat.blocks[row - 1] + 1]
    for row in [*begins, *range(len(heat.blocks))]:
        if all(abs(row - other) >= room for other in names):
            names[row] = f"{(heat.blocks[row] << heat.shift) / 2 ** shift:.5g}"
    return unit, names


def memory(title, heat):
    """Guest memory by rounds; the last column is the destination's memory."""
    rows, columns, full = len(heat.blocks), len(heat.columns), 1 << heat.shift
    names = {i + 0.5: str(column.round) for i, column in enumerate(heat.columns)}
    unit, places = addresses(heat)
    chart = Chart(title, "round of pre-copy", f"IOVA, {unit}", columns + 1, rows,
                  x_ticks=sparse({**names, columns + 0.5: "RAM"}, columns + 1),
                  y_ticks=places)
    arrived = {(row, columns): full for row in range(rows) if not heat.differs[row]}
    differs = {(row, columns): count for row, count in heat.differs.items()}
    chart.parts.append(
        f'<svg x="{LEFT}" y="{TOP}" width="{WIDTH - LEFT - RIGHT}" '
        f'height="{HEIGHT - TOP - BOTTOM}" viewBox="0 0 {columns + 1} {rows}" '
        f'preserveAspectRatio="none"><g transform="matrix(1 0 0 -1 0 {rows})">'
        + paths(heat.written, "writes", full, .06, .28)
        + paths(heat.retained(), "retained", full, .36, .28)
        + paths(heat.pinned, "pinned", full, .66, .28)
        + paths(heat.lost, "lost", full, .06, .88)
        + paths(arrived, "arrived", full, .2, .6) + paths(differs, "differs", full, .2, .6)
        + "</g></svg>")
    return chart.svg()
