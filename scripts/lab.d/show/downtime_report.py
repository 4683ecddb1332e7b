# SPDX-License-Identifier: GPL-2.0-only
"""The end of a run of the experiment: experiment.json, a table, plots, downtime.html.

Runs outside the lab, on the files that the scenario left. So it can be repeated on old results.
"""

import json
from html import escape
from pathlib import Path

from base import ktap, say
from judge import downtime, proof
from show import downtime_plots, report_html

MIB = 1 << 20

# head, key, what one unit of it is, digits
COLUMNS = (
    ("rounds", "rounds", 1, 0),
    ("expected", "expected_pages", "budget", 2),
    ("actual", "actual_pages", "budget", 2),
    ("act/exp", "ratio", 1, 2),
    ("expected ms", "expected_ms", 1, 0),
    ("actual ms", "actual_ms", 1, 0),
    ("again MiB", "bytes_again", MIB, 0),
    ("sent MiB", "bytes", MIB, 0),
    ("rep/wr", "reported_per_write", 1, 1),
    ("link %", "link_rate", 0.01, 0),
)

NOTES = """\
load: what CPU and device dirty, against what the link carries. expected, actual: pages left
to send when QEMU decided to stop the guest, and pages sent while it was stopped, both in
units of the downtime limit (1 is what the link carries in it). again: sent after the first
round. rep/wr: pages that the device's reports held then, for each page that it wrote. link:
how much of what it could it carried then; times, and convergence, are of those trials only
where it was filled to 80 % and more. Median (lowest to highest of the trials)."""

# Claims of the mail thread, and the findings that answer them.
POSITIONS = (
    ("“QEMU would think dirty pages has converged and enter blackout phase, making "
     "downtime_limit severely incorrect”, if pages are reported at stop-and-copy only.",
     ("stop-thread", "pre-thread")),
    ("“I'm not sure it's any worse. I think we do a last sync after we've decided to go to "
     "stop-and-copy; wont that then mark all those pages as dirty again?”",
     ("pre-held-0.5", "stop-held-0.5")),
    ("“Instead of copying all pages twice, its better to do it once during stop-and-copy.”",
     ("pre-retained-0.5", "stop-retained-0.5")),
    ("“It seems wrong to repeatedly send pages that you know are pointless.”",
     ("pre-held-0.5", "fewer-held", "short-hold", "read-only", "device-tracking")),
)


def cell(entry, key, unit, digits):
    """One number of a table: its median, and its range if there is one."""
    value = entry[key]
    if not value:
        return "-"
    median, low, high = (f"{value[part] / unit:.{digits}f}" for part in ("median", "min", "max"))
    return median if low == high else f"{median} ({low}-{high})"


def rows(experiment):
    """The table: its heads, then a line for each point."""
    lines = [("point", "load", "converged", *(column[0] for column in COLUMNS))]
    for entry in experiment["points"]:
        units = [(key, experiment["budget"] if unit == "budget" else unit, digits)
                 for _, key, unit, digits in COLUMNS]
        lines.append((entry["name"], f"{entry['load']:g}",
                      f"{entry['converged']}/{entry['judged']}",
                      *(cell(entry, *unit) for unit in units)))
    return lines


def table(experiment):
    """The table for a terminal."""
    lines = rows(experiment)
    widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
    return "\n".join(line[0].ljust(widths[0]) + "".join(
        f"  {text:>{width}}" for text, width in zip(line[1:], widths[1:])) for line in lines)


def as_tests(experiment):
    """What is complete, consistent and shown, as test results."""
    bad = downtime.complaints(experiment)
    results = [ktap.Result("data complete and consistent",
                           ktap.FAILED if bad else ktap.PASSED, "\n".join(bad))]
    for name, shown in downtime.findings(experiment):
        if shown is not None:
            results.append(ktap.Result(name, ktap.PASSED if shown else ktap.FAILED))
    return results


# --- the page ---------------------------------------------------------------


def sentence(entry, experiment):
    """The result of a point, in words."""
    budget = experiment["budget"]
    median = {key: entry[key]["median"] for key in downtime.NUMBERS if entry[key]}
    ended = f"converged in {entry['converged']} of {entry['judged']} trials"
    return (f"<b>{entry['name']}</b> {ended}, after {median['rounds']:.0f} rounds: expected "
            f"{median['expected_pages'] / budget:.2f} of the limit, actual "
            f"{median['actual_pages'] / budget:.2f} ({median['ratio']:.2f} times as much); "
            f"{median['bytes_again'] / MIB:.0f} MiB sent after the first round, in which "
            f"{median['reported_again']:.0f} pages were reported and "
            f"{median['written_again']:.0f} written by the device.")


def positions(experiment):
    """Each claim of the thread, and the points that answer it."""
    known = {entry["name"]: entry for entry in experiment["points"] if entry["measured"]}
    parts = []
    for words, names in POSITIONS:
        items = "".join(f"<li>{sentence(known[name], experiment)}</li>"
                        for name in names if name in known)
        parts.append(f"<blockquote>{words}</blockquote>"
                     f"<ul>{items or '<li>Not measured in this run.</li>'}</ul>")
    return "".join(parts)


def html_table(experiment):
    """The table for the page."""
    head, *lines = rows(experiment)
    return report_html.table("The numbers", head, [
        [escape(name), *(f"<td>{escape(text)}</td>" for text in cells)]
        for name, *cells in lines])


def page(experiment, plots, tests):
    """downtime.html: one file, no network."""
    machine, settings = experiment["machine"], experiment["settings"]
    shown = "".join(
        f'<li class="{"good" if test.state == ktap.PASSED else "bad"}">'
        f'{"shown" if test.state == ktap.PASSED else "NOT shown"}: {escape(test.name)}'
        + (f"<pre>{escape(test.reason)}</pre>" if test.reason else "") + "</li>"
        for test in tests)
    bad = sum(test.state == ktap.FAILED for test in tests)
    figures = "".join(report_html.drawing(downtime_plots.in_page(svg),
                                          downtime_plots.CAPTIONS[name], "plot")
                      for name, svg in plots.items())
    return f"""<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Downtime, expected and actual</title>
<style>{report_html.STYLE}
.plot {{ margin-top: 12px; }} .plot div {{ overflow-x: auto; }}
.plot svg {{ min-width: 620px; }} .plot svg text {{ fill: var(--ink); font-size: 12px; }}
blockquote {{ margin: 20px 0 4px; padding-left: 14px; border-left: 3px solid var(--line); }}
pre {{ white-space: pre-wrap; overflow-wrap: anywhere; }}</style></head><body><main>
<h1>What reporting device-dirtied pages in pre-copy does to downtime</h1>
<p class="soft">{escape(str(machine.get("kernel")))}, QEMU {escape(str(machine.get("qemu")))},
{escape(str(machine.get("backend")))}. Link {settings["bandwidth"]} MiB/s, downtime limit
{settings["downtime_limit_ms"]} ms: {experiment["budget"]} pages.
Each point {settings["repeat"]} times. For want of CPU, the link was not filled in
{sum(entry["starved"] for entry in experiment["points"])} trials.</p>
<div class="verdict {"fail" if bad else "pass"}">
<b>{f"NOT shown: {bad} of {len(tests)}" if bad else f"All {len(tests)} shown"}</b>
<ul>{shown}</ul></div>
<h2>The positions of the thread</h2>{positions(experiment)}
<h2>The numbers</h2><p class="soft">{escape(NOTES)}</p>{html_table(experiment)}
{figures and "<h2>The plots</h2>" + figures}
</main></body></html>
"""


def finish(results, gnuplot):
    """Judge a results directory; the return value is an exit code.

    @gnuplot: draws a plot, see downtime_plots.draw()
    """
    results = Path(results)
    try:
        experiment = downtime.collect(results)
    except (OSError, ValueError, KeyError) as err:
        print(f"experiment: no data: {err}")
        return 1
    tests = as_tests(experiment)
    trouble = proof.lab_reasons(results)
    tests.append(ktap.Result("the lab", ktap.FAILED if trouble else ktap.PASSED,
                             "\n".join(trouble)))
    (results / "experiment.json").write_text(json.dumps(experiment, indent=1) + "\n")
    try:
        plots = downtime_plots.draw(experiment, results, gnuplot)
    except say.LabError as err:
        plots = {}
        tests.append(ktap.Result("plots", ktap.FAILED, str(err)))
    (results / "downtime.html").write_text(page(experiment, plots, tests))
    (results / "experiment.ktap").write_text(ktap.render(tests))
    print(f"\n{table(experiment)}\n\n{NOTES}\n")
    for test in tests:
        word = "shown" if test.state == ktap.PASSED else "NOT SHOWN"
        print(f"{word}: {test.name}" + (f": {test.reason}" if test.reason else ""))
    print(f"{results}/experiment.json   {results}/downtime.html")
    return 1 if any(test.state == ktap.FAILED for test in tests) else 0
