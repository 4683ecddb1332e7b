# SPDX-License-Identifier: GPL-2.0-only
"""Small charts as inline SVG: no library, no network, colours from the page's CSS.

A chart is 440 units wide and scales with its column, so its text stays
readable on a phone. All text is escaped here and nowhere else.
"""

import math
from html import escape

WIDTH, HEIGHT = 440, 250
LEFT, RIGHT, TOP, BOTTOM = 58, 12, 24, 40


def short(value):
    """A number as an axis shows it: 1500 is 1.5k."""
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
    """A frame with two axes; things are drawn in units of the data."""

    def __init__(self, title, x_label, y_label, x_top, y_top, x_ticks=None):
        self.title = title
        self.parts = []
        self.y_ticks = ticks(y_top)
        self.x_ticks = ticks(x_top, 6) if x_ticks is None else x_ticks
        self.x_top = x_top or 1
        self.y_top = self.y_ticks[-1]
        self._axes(x_label, y_label)

    def x(self, value):
        """Data to drawing."""
        return LEFT + (WIDTH - LEFT - RIGHT) * value / self.x_top

    def y(self, value):
        """Data to drawing."""
        return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * value / self.y_top

    def text(self, x, y, text, css="tick", anchor="middle"):
        """A word at a place of the drawing."""
        self.parts.append(f'<text x="{x:.1f}" y="{y:.1f}" class="{css}" '
                          f'text-anchor="{anchor}">{escape(str(text))}</text>')

    def rule(self, x1, y1, x2, y2, css):
        """A straight line in the drawing."""
        self.parts.append(f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" '
                          f'class="{css}"/>')

    def _axes(self, x_label, y_label):
        for value in self.y_ticks:
            self.rule(LEFT, self.y(value), WIDTH - RIGHT, self.y(value),
                      "grid" if value else "axis")
            self.text(LEFT - 6, self.y(value) + 4, short(value), anchor="end")
        for value in self.x_ticks:
            if value <= self.x_top * 1.001:
                self.text(self.x(value), HEIGHT - BOTTOM + 16, short(value))
        self.text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 6, x_label, "label")
        self.parts.append(f'<text x="12" y="{(HEIGHT - BOTTOM + TOP) / 2}" class="label" '
                          f'text-anchor="middle" transform="rotate(-90 12 '
                          f'{(HEIGHT - BOTTOM + TOP) / 2})">{escape(y_label)}</text>')

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
        """A bar centred at @x; @hint shows when it is pointed at."""
        height = self.y(bottom) - self.y(top)
        self.parts.append(
            f'<rect x="{self.x(x - width / 2):.1f}" y="{self.y(top):.1f}" '
            f'width="{self.x(width) - self.x(0):.1f}" height="{height:.1f}" class="{css}">'
            f'<title>{escape(hint)}</title></rect>')

    def mark(self, x, text):
        """A moment, as a dashed line with a word."""
        at = self.x(x)
        self.rule(at, TOP - 4, at, HEIGHT - BOTTOM, "mark")
        self.text(min(at, WIDTH - RIGHT), TOP - 8, text, "note", "end")

    def svg(self):
        """The finished drawing."""
        return (f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
                f'aria-label="{escape(self.title, quote=True)}">{"".join(self.parts)}</svg>')


def writes_and_reports(leg, x_top, y_top):
    """Pages that the device wrote, and pages that reports held, both summed."""
    chart = Chart("pages written and reported over time", "seconds since the migration began",
                  "pages", x_top, y_top)
    total, reported = 0, [(0, 0)]
    for time, count in leg["reported"]:
        total += count
        reported.append((time, total))
    reported.append((leg["end"], total))
    chart.mark(leg["end"], "migrated")
    chart.line(leg["written"], "written")
    chart.line(reported, "reported", stepped=True)
    return chart.svg()


def rounds(leg, x_top, y_top):
    """What the reports of each round held."""
    chart = Chart("pages reported in each round", "round of pre-copy", "pages reported",
                  x_top + 1, y_top, range(1, x_top + 1) if x_top <= 16 else None)
    for entry in leg["by_round"]:
        pinned = entry["reported"] - entry["retained"]
        hint = f"round {entry['round']}: {entry['retained']} retained, {pinned} still pinned"
        chart.bar(entry["round"], 0.6, 0, entry["retained"], "retained", hint)
        chart.bar(entry["round"], 0.6, entry["retained"], entry["reported"], "pinned", hint)
        if x_top <= 12:
            chart.text(chart.x(entry["round"]), chart.y(entry["reported"]) - 4,
                       short(entry["reported"]))
    return chart.svg()


def remaining(leg, x_top, y_top):
    """Memory that is left to send: it falls in each round, and jumps at the next."""
    chart = Chart("memory left to send over time", "seconds since the migration began",
                  "MiB left to send", x_top, y_top)
    chart.mark(leg["end"], "migrated")
    chart.line(leg["remaining"], "sending")
    return chart.svg()


def downtime(values):
    """Downtime beside what QEMU expected: [(name, expected, measured)] in ms."""
    top = max(value or 0 for _, *pair in values for value in pair)
    chart = Chart("downtime, expected and measured", "", "ms", 3 * len(values), top, ())
    for i, (name, expected, measured) in enumerate(values):
        for x, value, css, word in ((1, expected, "estimate", "expected"),
                                    (2, measured, "measured", "measured")):
            if value is None:
                continue
            chart.bar(3 * i + x, 0.7, 0, value, css, f"{name}: {word} {value} ms")
            chart.text(chart.x(3 * i + x), chart.y(value) - 4, f"{value} ms")
            chart.text(chart.x(3 * i + x), HEIGHT - BOTTOM + 16, word)
        chart.text(chart.x(3 * i + 1.5), HEIGHT - 8, name, "label")
    return chart.svg()
