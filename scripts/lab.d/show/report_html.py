# SPDX-License-Identifier: GPL-2.0-only
"""report.html: the verdict of a run on one page, in one file, without network."""

import base64
import json
from html import escape

from base.settings import Text
from show import charts

STYLE = """
:root { color-scheme: light dark;
  --paper: #f6f7f9; --card: #fff; --ink: #1b2430; --soft: #566170; --line: #dfe3e8;
  --pass: #12703e; --pass-soft: #e3f4ea; --fail: #b3261e; --fail-soft: #fbe9e7;
  --lost: #d3160b; --blue: #2864c8; --orange: #d9730d; --teal: #1f8a80; --violet: #7b4fc4; }
@media (prefers-color-scheme: dark) { :root {
  --paper: #12161c; --card: #1a2029; --ink: #e7ebf0; --soft: #9aa7b6; --line: #303946;
  --pass: #5fd394; --pass-soft: #16301f; --fail: #ff8a80; --fail-soft: #3a1a19;
  --lost: #ff4d3d; --blue: #74a7ff; --orange: #ffad5c; --teal: #5bd0c4; --violet: #bb98ff; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink);
  font: 16px/1.5 system-ui, "DejaVu Sans", sans-serif; }
main { max-width: 1080px; margin: 0 auto; padding: 20px 16px 56px; }
h1 { font-size: 1.25rem; line-height: 1.25; margin: 0 0 2px; }
h2 { font-size: 1.15rem; margin: 36px 0 4px; }
p { margin: 0 0 12px; max-width: 72ch; } a { color: var(--blue); }
.soft, figcaption, dt { color: var(--soft); }
.verdict { border-radius: 12px; padding: 16px 20px; border-left: 8px solid; }
.verdict.pass { background: var(--pass-soft); border-color: var(--pass); }
.verdict.fail { background: var(--fail-soft); border-color: var(--fail); }
.verdict b { display: block; font-size: 1.75rem; line-height: 1.2; }
.verdict.pass b, .good { color: var(--pass); } .verdict.fail b, .bad { color: var(--fail); }
.verdict p, .verdict ul { margin: 6px 0 0; } .verdict ul { padding-left: 1.1em; }
.verdict li { overflow-wrap: anywhere; } .verdict span { color: var(--soft); }
.verdict.none { background: var(--card); border-color: var(--line); }
.tiles { display: grid; gap: 12px; margin: 12px 0 0;
  grid-template-columns: repeat(auto-fit, minmax(140px, 1fr)); }
.tile, figure { background: var(--card); border: 1px solid var(--line); border-radius: 10px; }
.tile { padding: 10px 14px; }
.tile b { display: block; font-size: 1.35rem; font-variant-numeric: tabular-nums; }
.tile span { display: block; color: var(--soft); font-size: .875rem; line-height: 1.35; }
.pair { display: grid; gap: 12px; margin-top: 12px;
  grid-template-columns: repeat(auto-fit, minmax(min(100%, 400px), 1fr)); }
.one { grid-template-columns: minmax(0, 640px); }
figure { margin: 0; padding: 12px 14px; break-inside: avoid; }
figcaption { font-size: .875rem; } figcaption strong { color: var(--ink); }
svg { display: block; width: 100%; height: auto; }
svg text { fill: var(--soft); font-size: 12px; } svg .note, svg .label { fill: var(--ink); }
.grid { stroke: var(--line); } .axis { stroke: var(--soft); }
.mark { stroke: var(--ink); stroke-dasharray: 4 3; }
.line { fill: none; stroke-width: 1.75; stroke-linejoin: round; }
.sending { stroke: var(--violet); } .retained { fill: var(--orange); } .pinned { fill: var(--teal); }
.cell { shape-rendering: crispEdges; }
.writes { fill: var(--blue); } .arrived { fill: var(--pass); }
.shade1 { fill-opacity: .3; } .shade2 { fill-opacity: .5; } .shade3 { fill-opacity: .75; }
.lost, .differs { fill: var(--lost); fill-opacity: 1; }
.key { display: inline-block; width: .8em; height: .8em; border-radius: 2px; margin: 0 .35em 0 0; }
.key.blue { background: var(--blue); } .key.orange { background: var(--orange); }
.key.teal { background: var(--teal); } .key.green { background: var(--pass); } .key.red { background: var(--lost); }
.keys { list-style: none; padding: 0; margin: 0; font-size: .9375rem; }
.scroll { overflow-x: auto; background: var(--card); border: 1px solid var(--line);
  border-radius: 10px; margin-top: 12px; }
table { border-collapse: collapse; width: 100%; font-size: .9375rem; }
th, td { text-align: right; padding: 6px 14px; border-top: 1px solid var(--line);
  font-variant-numeric: tabular-nums; white-space: nowrap; }
tbody th { font-weight: 400; min-width: 9em; } thead th { border-top: 0; color: var(--soft); font-weight: 600; }
th:first-child, td:first-child { text-align: left; white-space: normal; }
td.value { white-space: normal; overflow-wrap: anywhere; }
td small, th small { display: block; color: var(--soft); }
summary { cursor: pointer; margin-top: 12px; color: var(--soft); }
dl { display: grid; grid-template-columns: max-content 1fr; gap: 4px 16px; margin: 8px 0 0; }
dd { margin: 0; overflow-wrap: anywhere; }
@media (max-width: 520px) {
  th, td { padding: 6px 8px; font-size: .8125rem; } svg text { font-size: 15px; }
  dl { grid-template-columns: 1fr; gap: 0; } dd { margin-bottom: 8px; }
  .tiles { grid-template-columns: 1fr 1fr; } figure { padding: 10px 8px; } }
@media print { body { background: #fff; font-size: 10.5pt; } main { padding: 0; max-width: none; }
  .tile, figure, .scroll, .verdict { break-inside: avoid; }
  .pair { grid-template-columns: 1fr 1fr; } h2 { break-after: avoid; margin-top: 24px; }
  ::details-content { content-visibility: visible; block-size: auto; }
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
    """A value for a table."""
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:,}" if isinstance(value, int) else str(value)


def table(name, heads, rows):
    """A table that scrolls by itself if it is too wide.

    @rows: cells as HTML, the first one of each names it
    """
    head = "".join(f'<th scope="col">{escape(text)}</th>' for text in heads)
    body = "".join(f'<tr><th scope="row">{first}</th>{"".join(cells)}</tr>'
                   for first, *cells in rows)
    return (f'<div class="scroll" role="region" tabindex="0" aria-label="{escape(name)}"><table>'
            + (f"<thead><tr>{head}</tr></thead>" if heads else "")
            + f"<tbody>{body}</tbody></table></div>")


def drawing(svg, caption, css=""):
    """A plot of gnuplot's with its caption, and a text for those who can't see it."""
    return (f'<figure class="{css}"><div role="img" aria-label="{escape(caption)}">{svg}</div>'
            f"<figcaption>{escape(caption)}</figcaption></figure>")


def folded(name, content):
    """A section that is folded at first."""
    return f"<details><summary>{escape(name)}</summary>{content}</details>"


# --- the verdict ------------------------------------------------------------


def card(css, name, word, lines):
    """A verdict and its reasons."""
    items = "".join(f"<li>{escape(line)}</li>" for line in lines)
    return (f'<section class="verdict {css}" aria-label="{escape(name)}">'
            f"<span>{escape(name)}</span><b>{escape(word)}</b><ul>{items}</ul></section>")


def counted_noun(count, noun):
    """A number and what it counts."""
    return f"{number(count)} {noun}{'' if count == 1 else 's'}"


def pages(count, what):
    """A number of pages, and what became of them."""
    return f"{counted_noun(count, 'page')} {what}"


def counted(leg):
    """What a leg lost, in few words."""
    if leg["pages_lost"]:
        return ": " + pages(leg["pages_lost"], "lost")
    if leg["ram_pages_different"]:
        return ": " + pages(leg["ram_pages_different"], "not the same")
    return ""


# What a report says of the device and of the control.
OF_MDMA = {"title": "Live migration of a guest whose device writes its memory",
           "device": "mdma", "good": "Every page that the device wrote is on the destination, byte "
                                     "for byte.",
           "control": "a backend that forgets pages", "caught": "Both oracles see what it loses.",
           "broken": "The control is the same migration on a backend built to forget pages. It "
                     "must lose pages, and both oracles must notice."}
OF_VENDOR = {"title": "Live migration of a guest with a device of a vendor driver",
             "device": "A vendor driver",
             "good": "All RAM is the same at the destination, byte for byte, and the guest works "
                     "there.",
             "control": "modules with a defect", "caught": "Who had to find it has found it.",
             "broken": "The control is the same migration with a defect of the driver or of the "
                       "backend, which must be found."}


def words_of(report):
    """The words for a report. Only that of a vendor driver has claims (judge/vendor.py)."""
    return OF_VENDOR if "claims" in report else OF_MDMA


def found(leg):
    """What the two oracles found, in words; nothing if they had no evidence."""
    if leg["ram_pages_compared"] is None:
        return []
    lost = [] if leg["pages_lost"] is None else \
        [pages(leg["pages_lost"],
               f"lost, by {'trace' if 'caught_by' in leg else 'ledger'} and reports")]
    said = [f"the guest says: {leg['guest_said']}"] if leg.get("guest_said") else []
    return [*said, *lost,
            f"{number(leg['ram_pages_different'])} of {number(leg['ram_pages_compared'])} "
            "RAM pages differ at switchover",
            f"the destination was held {number(leg['held_s'])} s for the comparison"]


def slowed(leg):
    """That the workload did not have its settings all the time, in words; "" if it had."""
    how = leg["slowed"]
    if not how["times"]:
        return ""
    return (f"The device was slowed to {counted_noun(how['least'], 'descriptor')} a second, "
            f"{counted_noun(how['times'], 'time')}, so that the trace could keep up: "
            f"{' and '.join(how['why'])}.")


def verdict(report):
    """The first thing to see: was anything lost, did the control fail as it must; otherwise
    why."""
    control, words = report["control"], words_of(report)
    slow = [slowed(report)] if slowed(report) else []
    if report["verdict"] == "pass":
        what = "RAM is the same" if report["pages_lost"] is None else "no page lost"
        cards = [card("pass", "Verdict", f"PASS: {what}",
                      [words["good"]] + found(report) + slow)]
    else:
        cards = [card("fail", "Verdict", "FAIL" + counted(report), report["reasons"] + slow)]
    if control:
        caught = control["verdict"] == "caught"
        cards.append(card("pass" if caught else "fail", f"Control: {words['control']}",
                          control["verdict"].upper() + (counted(control) if caught else ""),
                          ([words["caught"]] if caught else control["reasons"])
                          + found(control)))
    else:
        cards.append(card("none", "Control", "NONE",
                          ["Without a control, nothing shows that the oracles can fail."]))
    return f'<div class="pair">{"".join(cards)}</div>'


def tiles(report):
    """The numbers that people ask for first."""
    shown = (("pages_written", "", "page writes by the device"),
             ("pages_reported", "", "different pages reported to QEMU"),
             ("rounds", "", "rounds of pre-copy"),
             ("downtime_ms", " ms",
              f"downtime; QEMU expected {number(report['expected_downtime_ms'])} ms"))
    return '<div class="tiles">' + "".join(
        f'<div class="tile"><b>{escape(number(report[key]))}{unit}</b>'
        f"<span>{escape(text)}</span></div>" for key, unit, text in shown
        if told(report, key)) + "</div>"


# --- the drawings -----------------------------------------------------------


def figures(legs, draw):
    """A drawing of each leg, side by side; a single one is not enlarged."""
    drawn = [f"<figure><figcaption><strong>{escape(name)}</strong></figcaption>"
             f"{draw(name, leg)}</figure>" for name, leg in legs]
    return f'<div class="pair{"" if len(drawn) > 1 else " one"}">{"".join(drawn)}</div>'


def memory_title(name, heat):
    """A description of the map for those who can't see it."""
    counts = [sum(heat.sums(counts)) for counts in (heat.written, heat.reported, heat.lost)]
    return (f"{name}, guest memory by round of pre-copy: summed over {len(heat.columns)} rounds, "
            "{:,} pages written, {:,} reported, {:,} lost; ".format(*counts)
            + f"{sum(heat.differs.values()):,} differ at the destination")


def rounds_table(name, leg):
    """The map's columns in numbers."""
    heat = leg["heat"]
    rows = [(number(column.round), *(f"<td>{value}</td>" for value in (
        "–" if column.time is None else f"{max(0, column.time - leg['begin']):.1f}",
        number(written), number(reported), number(column.retained), number(lost))))
            for column, written, reported, lost in zip(
                heat.columns, *map(heat.sums, (heat.written, heat.reported, heat.lost)))]
    return table(f"{name} by round", ("Round", "Ended at, s", "Pages written", "Reported",
                                      "of them retained", "Lost"), rows)


def memory_section(legs):
    """Guest memory by round, of the legs with complete evidence."""
    legs = [(name, leg) for name, leg in legs if leg and leg["heat"]]
    if not legs:
        return ""
    row = pages(1 << legs[0][1]["heat"].shift, "a row")
    return f"""<h2>Guest memory by round</h2>
<p class="soft">Vertical: guest memory that was written or reported, {row}; a darker cell has more
pages. Horizontal: rounds of pre-copy; in the last one the guest is stopped. A blue cell must
have orange or teal beside it.</p>
<ul class="keys"><li><span class="key blue"></span>written by the device in the round</li>
<li>reported to QEMU at the end of the round, which then sends it:
<span class="key orange"></span>retained, since it was unpinned before;
<span class="key teal"></span>still pinned</li>
<li><span class="key red"></span>lost: not reported after its last write</li>
<li><span class="key green"></span>RAM: the same at the destination;
<span class="key red"></span>differs there</li></ul>
{figures(legs, lambda name, leg: charts.memory(memory_title(name, leg["heat"]), leg["heat"]))}
{folded("The rounds in numbers", "".join(
        f"<h3>{escape(name)}</h3>{rounds_table(name, leg)}" for name, leg in legs))}"""


def rounds_section(legs):
    """What was reported in each round, if anything was."""
    entries = [entry for _, leg in legs for entry in leg["by_round"]]
    most = max((entry["reported"] for entry in entries), default=0)
    if not most:
        return ""
    last = max(entry["round"] for entry in entries)
    return f"""
<h2>Reported in each round</h2>
<ul class="keys"><li><span class="key orange"></span>retained: unpinned before the report</li>
<li><span class="key teal"></span>pinned at the time of the report</li></ul>
{figures(legs, lambda name, leg: charts.rounds(leg, last, most))}"""


def chart_sections(legs):
    """All charts, on the same scales; a leg that ended early has none."""
    legs = [(name, leg) for name, leg in legs if leg]
    if not legs:
        return "<h2>Rounds</h2><p>The run ended before there was anything to draw.</p>"
    seconds = max(leg["end"] for _, leg in legs) * 1.03
    left = max(value for _, leg in legs for _, value in leg["remaining"])
    return memory_section(legs) + rounds_section(legs) + f"""
<h2>Convergence</h2>
<p class="soft">Guest memory left to send, as QEMU saw it. Bandwidth is limited until enough
rounds have passed; then the limit is lifted.</p>
{figures(legs, lambda name, leg: charts.remaining(leg, seconds, left))}"""


# --- the tables -------------------------------------------------------------


ROWS = (
    ("pages_written", "Page writes by the device", "all that it counted"),
    ("pages_written_tracked", "… while tracking", "the ones that a report had to hold"),
    ("pages_written_distinct", "Different pages written", ""),
    ("pages_reported", "Different pages reported", "QEMU was told at least once"),
    ("pages_reported_total", "Pages in reports", "each as often as QEMU was told"),
    ("pages_sent_extra", "… for nothing", "not written since the report before, or ever"),
    ("pages_extra", "Extra pages", "reported, never written by the device: harmless"),
    ("pages_lost", "Lost pages", "written after the last report that holds them"),
    ("stamps_checked", "Stamps checked", "pages that must hold the device's last write"),
    ("stamps_wrong", "Stamps that are wrong", ""),
    ("ram_pages_compared", "RAM pages compared", "source and destination at switchover"),
    ("ram_pages_different", "RAM pages that differ", ""),
    ("rounds", "Rounds", ""),
    ("downtime_ms", "Downtime, ms", "as QEMU measured it"),
    ("expected_downtime_ms", "Expected downtime, ms", "QEMU's last estimate before the switch"),
    ("held_s", "Destination held, s", "at the switchover, to copy its RAM for the comparison"),
    ("guest_checks_passed", "Guest checks passed", "dmatest and memory checks, both sides"),
    ("guest_checks_failed", "Guest checks failed", ""),
    ("workload_continued", "Workload continued", "with the next page write, at the destination"),
    ("slowed_times", "Workload slowed, times", "so that the trace could keep up"),
)
MUST_BE_ZERO = ("pages_lost", "stamps_wrong", "ram_pages_different")


def told(report, key):
    """Whether a row or tile says anything. A vendor driver may not tell what it writes."""
    legs = (report, report["control"] or report)
    return "claims" not in report or any(leg[key] is not None for leg in legs)


def cell(leg, key, control):
    """One value; a value that decides is coloured by whether it is as it must be."""
    text = escape(number(leg[key]))
    if key not in MUST_BE_ZERO or leg[key] is None:
        return f"<td>{text}</td>"
    # The control of a vendor driver need not lose pages.
    if control and not leg[key] and "caught_by" in leg:
        return f"<td>{text}</td>"
    # The control's backend forgets, and its device writes as the good one does.
    if bool(leg[key]) == (control and key != "stamps_wrong"):
        return f'<td class="good">✓ {text}</td>'
    return f'<td class="bad">✗ {text}</td>'


# With tracking by the device, what the same workload is played again with: the name of the column,
# and what it is.
OTHER_WAYS = {"compared": ("Container", "reported by the container"),
              "iommufd": ("Device, iommufd", "by the device on iommufd, without a type1")}


def passing_legs(report):
    """([(name, leg)] of those that must pass, words about them)."""
    others = {name: report[name] for name in OTHER_WAYS if report.get(name)}
    legs = [("Device" if others else "Main", report),
            *((OTHER_WAYS[name][0], leg) for name, leg in others.items())]
    if report.get("back"):
        legs.append(("Way back", report["back"]))
    words = ", and ".join(OTHER_WAYS[name][1] for name in others)
    return legs, words and ("The device itself reports what it wrote, to a user of type1; then the "
                            f"same workload again, {words}. ")


def comparison(report):
    """The legs side by side."""
    passing, words = passing_legs(report)
    legs = [(*leg, False) for leg in passing]
    title = "Ways to say what is dirty, and control" if words else "Main leg and control"
    if report["control"]:
        legs.append(("Control", report["control"], True))
        words += words_of(report)["broken"]
    else:
        words += "There was no control."
    rows = []
    for key, name, text in ROWS:
        if not told(report, key):
            continue
        small = f"<small>{escape(text)}</small>" if text else ""
        rows.append((escape(name) + small,
                     "".join(cell(leg, key, broken) for _, leg, broken in legs)))
    return (f'<h2>{title}</h2><p class="soft">{words}</p>'
            + table(title, ("", *(name for name, _, _ in legs)), rows))


def by_address(page):
    """Sort key of a page by the text of its IOVA; one without an address, which has the name of a
    block instead, comes last."""
    iova = page[0]
    return not iova.startswith("0x"), len(iova), iova


def named_pages(name, leg):
    """The first pages that the oracles object to."""
    pages = {entry["iova"]: (entry, what) for what, key in (("differs", "different"),
                                                            ("lost", "lost"))
             for entry in leg[key]}
    differ = {entry["iova"] for entry in leg["different"]}
    columns = (("seq", "Last write"), ("writes", "Writes"), ("channel", "Channel"),
               ("last_report", "Last report"), ("seq_in_source", "In source"),
               ("seq_in_destination", "In destination"))
    rows = [(escape(iova), f"<td>{what}{', differs' if what == 'lost' and iova in differ else ''}"
             "</td>", *(f"<td>{escape(number(entry[key]))}</td>" for key, _ in columns))
            for iova, (entry, what) in sorted(pages.items(), key=by_address)]
    return (f'<p class="soft">The first {len(rows)}; {number(leg["pages_lost"])} are lost, '
            f"{number(leg['ram_pages_different'])} differ. An IOVA is a guest-physical address. "
            "Write numbers count the device's page writes; those in source and destination are "
            "what their RAM holds.</p>"
            + table(name, ("IOVA", "", *(head for _, head in columns)), rows))


def lost_section(report):
    """Pages of the main leg that are not as they must be; there should be none."""
    if not report["lost"] and not report["different"]:
        return ""
    return "<h2>Lost pages</h2>" + named_pages("Lost pages", report)


def caught_section(control):
    """The pages by which the control was caught."""
    if not control or not (control["lost"] or control["different"]):
        return ""
    return folded("Pages that the control lost", named_pages("Pages of the control", control))


def definitions(title, pairs):
    """Names and values."""
    items = "".join(f"<dt>{escape(str(name))}</dt><dd>{escape(number(value))}</dd>"
                    for name, value in pairs)
    return f"<h2>{escape(title)}</h2><dl>{items}</dl>"


def setting(name, value, known):
    """A row of the settings; a value that is not the default is emphasised."""
    default = known[name].value(known[name].default) if name in known else value
    what = known[name].what if name in known else ""
    small = f"<small>{escape(what.removeprefix('workload: '))}</small>" if what else ""
    text = escape(number(value)) or "–"
    if default is not None and str(value) != str(default):
        text = f"<b>{text}</b><small>default {escape(number(default)) or '–'}</small>"
    return escape(name) + small, f'<td class="value">{text}</td>'


def settings_tables(settings, known, window):
    """The workload, and the other settings. @known: {name: setting}."""
    workload, other = [], []
    if window is not None:
        workload.append(setting("window", window, {
            "window": Text(window, "IOVAs that the guest gave to the device")}))
    for name, value in settings.items():
        of_workload = name in known and known[name].what.startswith("workload:")
        (workload if of_workload else other).append(setting(name, value, known))
    return "".join(folded(title, table(title, (), rows))
                   for title, rows in (("Settings of the workload", workload),
                                       ("Settings of migration, guest and lab", other)) if rows)


def raw_data(report):
    """report.json within the page, so that it travels along, and links to the evidence."""
    data = base64.b64encode(json.dumps(report, indent=1).encode()).decode()
    legs = " and ".join(f'<a href="{name}/">{name}/</a>'
                        for name in ("main", "compared", "iommufd", "back", "control")
                        if name == "main" or report.get(name))
    return ('<h2>Raw data</h2><p><a download="report.json" '
            f'href="data:application/json;base64,{data}">report.json</a> is inside this page. '
            f"The evidence lies beside it, in {legs}: trace, ledger, comparison of RAM, "
            "consoles.</p>")


def render(report, legs, settings, known=None, window=None, about=()):
    """The whole page.

    @legs:     [(name, chart data or None)]
    @settings: of the scenario
    @known:    {name: setting}, as far as known, see base/settings.py
    @window:   IOVAs of the workload, as the device had them
    @about:    [(name, value)], what else to say about the run
    """
    control = report["control"]
    where = [*about, ("Kernel", report["kernel"]), ("QEMU", report["qemu"]),
             ("Accelerator", report["accel"]), ("Container", report["container"]),
             ("Backend", report["backend"])]
    if control:
        where.append(("Backend of the control", control["backend"]))
    body = "\n".join((
        f"<h1>{words_of(report)['title']}</h1>",
        f'<p class="soft">{words_of(report)["device"]} on {escape(number(report["kernel"]))}, '
        f'QEMU {escape(number(report["qemu"]).split(" ")[0])}, '
        f'{escape(number(report["accel"]))}</p>',
        verdict(report), tiles(report), lost_section(report), chart_sections(legs),
        comparison(report), caught_section(control), definitions("Where it ran", where),
        settings_tables(settings, known or {}, window), raw_data(report)))
    title = f"mdma migrate: {report['verdict']}"
    return PAGE.format(title=escape(title), style=STYLE, body=body)
