# SPDX-License-Identifier: GPL-2.0-only
"""report.html: the verdict of a run on one page, in one file, without network."""

from html import escape

import charts

STYLE = """
:root { color-scheme: light dark;
  --paper: #f6f7f9; --card: #fff; --ink: #1b2430; --soft: #5b6675; --line: #dfe3e8;
  --pass: #147a45; --pass-soft: #e3f4ea; --fail: #b3261e; --fail-soft: #fbe9e7;
  --blue: #2864c8; --orange: #d9730d; --teal: #1f8a80; --violet: #7b4fc4; }
@media (prefers-color-scheme: dark) { :root {
  --paper: #12161c; --card: #1a2029; --ink: #e7ebf0; --soft: #9aa7b6; --line: #303946;
  --pass: #5fd394; --pass-soft: #16301f; --fail: #ff8a80; --fail-soft: #3a1a19;
  --blue: #74a7ff; --orange: #ffad5c; --teal: #5bd0c4; --violet: #bb98ff; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink);
  font: 16px/1.5 system-ui, "DejaVu Sans", sans-serif; }
main { max-width: 1080px; margin: 0 auto; padding: 24px 16px 56px; }
h1 { font-size: 1.5rem; line-height: 1.25; margin: 0 0 4px; }
h2 { font-size: 1.15rem; margin: 40px 0 4px; }
p { margin: 0 0 12px; max-width: 72ch; }
.soft, figcaption, dt { color: var(--soft); }
.verdict { border-radius: 12px; padding: 20px 24px; border-left: 8px solid; }
.verdict.pass { background: var(--pass-soft); border-color: var(--pass); }
.verdict.fail { background: var(--fail-soft); border-color: var(--fail); }
.verdict b { display: block; font-size: 2rem; line-height: 1.2; letter-spacing: .02em; }
.verdict.pass b, td.good { color: var(--pass); }
.verdict.fail b, td.bad { color: var(--fail); }
.verdict p, .verdict ul { margin: 6px 0 0; }
.tiles { display: grid; gap: 12px; margin: 16px 0 0;
  grid-template-columns: repeat(auto-fit, minmax(150px, 1fr)); }
.tile, figure { background: var(--card); border: 1px solid var(--line); border-radius: 10px; }
.tile { padding: 12px 16px; }
.tile b { display: block; font-size: 1.5rem; font-variant-numeric: tabular-nums; }
.tile span { color: var(--soft); font-size: .875rem; }
.pair { display: grid; gap: 12px; margin-top: 12px;
  grid-template-columns: repeat(auto-fit, minmax(min(100%, 400px), 1fr)); }
.one figure { max-width: 534px; }
figure { margin: 0; padding: 12px 14px; break-inside: avoid; }
figcaption { font-size: .875rem; }
figcaption strong { color: var(--ink); }
svg { display: block; width: 100%; height: auto; }
svg text { fill: var(--soft); font-size: 11.5px; }
svg .note, svg .label { fill: var(--ink); }
.grid { stroke: var(--line); } .axis { stroke: var(--soft); }
.mark { stroke: var(--ink); stroke-dasharray: 4 3; }
.line { fill: none; stroke-width: 2.25; stroke-linejoin: round; }
.written { stroke: var(--blue); } .reported { stroke: var(--orange); }
.sending { stroke: var(--violet); stroke-width: 1.75; }
.retained { fill: var(--orange); } .pinned { fill: var(--teal); }
.measured { fill: var(--violet); } .estimate { fill: var(--soft); opacity: .55; }
.key { display: inline-block; width: .8em; height: .8em; border-radius: 2px; margin: 0 .3em 0 .8em; }
.key.blue { background: var(--blue); } .key.orange { background: var(--orange); }
.key.teal { background: var(--teal); } .key:first-child { margin-left: 0; }
.scroll { overflow-x: auto; background: var(--card); border: 1px solid var(--line);
  border-radius: 10px; margin-top: 12px; }
table { border-collapse: collapse; width: 100%; font-size: .9375rem; }
th, td { text-align: right; padding: 7px 14px; border-top: 1px solid var(--line);
  font-variant-numeric: tabular-nums; white-space: nowrap; }
thead th { border-top: 0; color: var(--soft); font-weight: 600; }
th:first-child, td:first-child { text-align: left; white-space: normal; font-weight: 400; }
td small { display: block; color: var(--soft); }
td.good, td.bad { font-weight: 700; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: 4px 16px; margin: 12px 0 0; }
dd { margin: 0; overflow-wrap: anywhere; }
@media (max-width: 520px) {
  th, td { padding: 6px 8px; font-size: .8125rem; }
  .verdict { padding: 16px; } dl { grid-template-columns: 1fr; gap: 0; } dd { margin-bottom: 8px; }
  .tiles { grid-template-columns: 1fr 1fr; } }
@media print { body { background: #fff; font-size: 10.5pt; } main { padding: 0; max-width: none; }
  .tile, figure, .scroll, .verdict { break-inside: avoid; }
  .pair { grid-template-columns: 1fr 1fr; } h2 { break-after: avoid; margin-top: 24px; }
  * { print-color-adjust: exact; -webkit-print-color-adjust: exact; } }
"""

PAGE = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>{title}</title><style>{style}</style></head>
<body><main>
{body}
</main></body></html>
"""


def number(value):
    """A value as a table shows it."""
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:,}" if isinstance(value, int) else str(value)


def verdict(report):
    """The first thing to see: did it pass, and if not, why."""
    word = report["verdict"]
    if word == "pass":
        why = ("<p>Every page that the device wrote is on the destination, byte for byte"
               + (", and the backend that forgets pages was caught by both oracles."
                  if report["control"] else ". There was no control.") + "</p>")
    else:
        why = "<ul>" + "".join(f"<li>{escape(text)}</li>" for text in report["reasons"]) + "</ul>"
    return f'<div class="verdict {escape(word)}"><b>{escape(word.upper())}</b>{why}</div>'


def tiles(report):
    """The five numbers that people ask for."""
    shown = (("pages_written", "page writes by the device", ""),
             ("pages_lost", "pages lost", ""),
             ("ram_pages_different", f"of {number(report['ram_pages_compared'])} "
                                     "RAM pages differ", ""),
             ("downtime_ms", f"downtime; QEMU expected {number(report['expected_downtime_ms'])} ms",
              " ms"),
             ("rounds", "rounds of pre-copy", ""))
    return '<div class="tiles">' + "".join(
        f'<div class="tile"><b>{escape(number(report[key]))}{unit}</b>'
        f"<span>{escape(text)}</span></div>" for key, text, unit in shown) + "</div>"


def figure(name, svg):
    """A chart with the name of its leg."""
    return f"<figure><figcaption><strong>{escape(name)}</strong></figcaption>{svg}</figure>"


def pair(legs, draw, x_top, y_top):
    """The same chart for each leg, on the same scale."""
    return '<div class="pair">' + "".join(
        figure(name, draw(leg, x_top, y_top)) for name, leg in legs) + "</div>"


def chart_sections(legs):
    """All charts; a leg that ended early has none."""
    legs = [(name, leg) for name, leg in legs if leg]
    if not legs:
        return "<h2>Over time</h2><p>The run ended before there was anything to draw.</p>"
    seconds = max(leg["end"] for _, leg in legs) * 1.03
    pages = max(max([leg["written"][-1][1], sum(count for _, count in leg["reported"])])
                for _, leg in legs)
    most = max((entry["reported"] for _, leg in legs for entry in leg["by_round"]), default=1)
    last = max((entry["round"] for _, leg in legs for entry in leg["by_round"]), default=1)
    left = max(value for _, leg in legs for _, value in leg["remaining"])
    return f"""
<h2>Written and reported</h2>
<p class="soft"><span class="key blue"></span>page writes by the device
<span class="key orange"></span>pages that QEMU was told, summed over its reports. A page that was
written many times between two reports is reported once, so the lines need not meet.</p>
{pair(legs, charts.writes_and_reports, seconds, pages)}
<h2>Rounds</h2>
<p class="soft"><span class="key orange"></span>retained: unpinned before the report
<span class="key teal"></span>still pinned when it was made</p>
{pair(legs, charts.rounds, last, most)}
<h2>Convergence</h2>
<p class="soft">Guest memory left to send, as QEMU saw it. Bandwidth is limited until enough
rounds have passed; then the limit is lifted.</p>
{pair(legs, charts.remaining, seconds, left)}
"""


def downtime(report):
    """Downtime of both legs, where it is known."""
    known = [(name, leg["expected_downtime_ms"], leg["downtime_ms"])
             for name, leg in (("Main leg", report), ("Control", report["control"]))
             if leg and leg["downtime_ms"] is not None]
    if not known:
        return ""
    return ("<h2>Downtime</h2><p class=\"soft\">From the stop of the source until QEMU may start "
            "the destination; expected is QEMU's last estimate.</p>"
            f'<div class="pair one"><figure>{charts.downtime(known)}</figure></div>')


ROWS = (
    ("pages_written", "Page writes by the device", "all, from its ledger"),
    ("pages_written_tracked", "… while tracking", "the ones that a report had to hold"),
    ("pages_written_distinct", "Different pages written", ""),
    ("pages_reported", "Different pages reported", "QEMU was told at least once"),
    ("pages_extra", "Extra pages", "reported, never written by the device: harmless"),
    ("pages_lost", "Lost pages", "written after the last report that holds them"),
    ("ram_pages_compared", "RAM pages compared", "source and destination at switchover"),
    ("ram_pages_different", "RAM pages that differ", ""),
    ("rounds", "Rounds", ""),
    ("downtime_ms", "Downtime, ms", "as QEMU measured it"),
    ("expected_downtime_ms", "Expected downtime, ms", "QEMU's last estimate before the switch"),
    ("guest_checks_passed", "Guest checks passed", "dmatest and memory checks, both sides"),
    ("guest_checks_failed", "Guest checks failed", ""),
    ("workload_continued", "Workload continued", "with the next page write, at the destination"),
)
MUST_BE_ZERO = ("pages_lost", "ram_pages_different")


def cell(leg, key, control):
    """One value; the values that decide are coloured by whether they are as they must be."""
    text = escape(number(leg[key]))
    if key not in MUST_BE_ZERO or leg[key] is None:
        return f"<td>{text}</td>"
    if bool(leg[key]) == control:
        return f'<td class="good">✓ {text}</td>'
    return f'<td class="bad">✗ {text}</td>'


def comparison(report):
    """Main leg and control side by side."""
    control = report["control"]
    rows = []
    for key, name, text in ROWS:
        small = f"<small>{escape(text)}</small>" if text else ""
        rows.append(f"<tr><td>{escape(name)}{small}</td>{cell(report, key, False)}"
                    + (cell(control, key, True) if control else "") + "</tr>")
    head = "<th>Control</th>" if control else ""
    return (f'<h2>Main leg and control</h2><p class="soft">The control is the same migration on a '
            "backend built to forget unpinned pages. It has to lose pages, and both oracles have "
            'to see it.</p><div class="scroll"><table><thead><tr><th></th><th>Main</th>'
            f'{head}</tr></thead><tbody>{"".join(rows)}</tbody></table></div>')


def named_pages(title, entries, total):
    """The first pages that an oracle objects to."""
    if not entries:
        return ""
    columns = (("iova", "IOVA"), ("seq", "Last write"), ("writes", "Writes"),
               ("channel", "Channel"), ("last_report", "Last report"),
               ("seq_in_source", "Seq in source"), ("seq_in_destination", "Seq in destination"))
    head = "".join(f"<th>{escape(text)}</th>" for _, text in columns)
    rows = "".join("<tr>" + "".join(f"<td>{escape(number(entry[key]))}</td>"
                                    for key, _ in columns) + "</tr>" for entry in entries)
    return (f"<h2>{escape(title)}</h2><p class=\"soft\">The first {len(entries)} of "
            f"{number(total)}. IOVA is guest-physical; write numbers count page writes of the "
            'device.</p><div class="scroll"><table><thead><tr>'
            f"{head}</tr></thead><tbody>{rows}</tbody></table></div>")


def all_named(report):
    """Named pages of both legs and both oracles."""
    parts = []
    for name, leg in (("", report), ("Control: ", report["control"])):
        if leg:
            parts.append(named_pages(f"{name}Lost pages", leg["lost"], leg["pages_lost"]))
            parts.append(named_pages(f"{name}RAM pages that differ", leg["different"],
                                     leg["ram_pages_different"]))
    return "".join(parts)


def definitions(title, pairs):
    """Names and values."""
    items = "".join(f"<dt>{escape(str(name))}</dt><dd>{escape(number(value))}</dd>"
                    for name, value in pairs)
    return f"<h2>{escape(title)}</h2><dl>{items}</dl>"


def render(report, legs, settings):
    """The whole page. @legs: [(name, chart data or None)]; @settings: of the scenario."""
    control = report["control"]
    where = [("Kernel", report["kernel"]), ("QEMU", report["qemu"]),
             ("Accelerator", report["accel"]), ("Backend", report["backend"])]
    if control:
        where.append(("Backend of the control", control["backend"]))
    body = "\n".join((
        "<h1>Live migration of a guest whose device writes its memory</h1>",
        f'<p class="soft">mdma on {escape(number(report["kernel"]))}, '
        f'QEMU {escape(number(report["qemu"]).split(" ")[0])}, '
        f'{escape(number(report["accel"]))}</p>',
        verdict(report), tiles(report), chart_sections(legs), downtime(report), comparison(report),
        all_named(report), definitions("Where it ran", where),
        definitions("Settings", settings.items())))
    title = f"mdma migrate: {report['verdict']}"
    return PAGE.format(title=escape(title), style=STYLE, body=body)
