#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""The pages with plots of gnuplot's, of the benchmark and the experiment, in headless Chromium.
Their data is made up."""

import copy
import os
import shlex
import sys
import tempfile
import unittest
from pathlib import Path
from unittest import mock

REPO = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(REPO / path) for path in ("scripts/lab.d", "tests/scenarios", "tests/lab",
                                              "tests/pages")]

# pylint: disable=wrong-import-position
import bench
import test_downtime
from base import ktap
from judge import downtime, points
from make import gnuplot, paths
from show import bench_html, downtime_plots, downtime_report
from views import Pages

# The image's gnuplot, by the image's dynamic loader: the host has none.
GNUPLOT = f"""#!/bin/sh
exec {shlex.quote(str(paths.ROOT))}/usr/lib64/ld-linux-x86-64.so.2 \\
	--library-path {shlex.quote(str(paths.ROOT))}/usr/lib/x86_64-linux-gnu \\
	{shlex.quote(str(paths.ROOT))}/usr/bin/gnuplot-nox "$@"
"""
PLOTS = "document.querySelectorAll('figure svg').length"


class Bench(Pages):
    """bench.html."""

    def setUp(self):
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.page = Path(directory.name, "bench.html")
        gnuplot = Path(directory.name, "gnuplot")
        gnuplot.write_text(GNUPLOT)
        gnuplot.chmod(0o755)
        patch = mock.patch.dict(os.environ, PATH=f"{directory.name}:{os.environ['PATH']}")
        patch.start()
        self.addCleanup(patch.stop)

    def render(self, **ours):
        """The page of these figures of ours; what is not said is half of the target."""
        stock = {key: 9234567.8 + 3000 * i for i, key in enumerate(bench.ROWS)}
        del stock["mapped_16384"]
        good = {key: target / 2 * bench.SCALE[unit] if isinstance(target, (int, float)) else 4321
                for key, (_, unit, target) in bench.ROWS.items()}
        rows = [bench.row(key, stock, {**good, **ours}, {"pin_512": 37}) for key in bench.ROWS]
        self.page.write_text(bench_html.render({"kernel": "6.12.1+deb13-amd64", "rows": rows},
                                               bench.curves(rows)))

    def test_reached(self):
        self.render()

        def check():
            self.assertIn("all targets reached", self.browser.text())
            self.assertEqual(self.browser.evaluate(PLOTS), len(bench.CURVES))
        self.look("bench", self.page, check)

    def test_missed(self):
        self.render(pin_512=91, start_1t=1e9)
        self.look("bench-missed", self.page, lambda: self.assertRegex(
            self.browser.text(), "target missed\\s+pin, batches of 512, per page; START"))


class Experiment(Pages):
    """downtime.html with every plot."""

    def test_all_points(self):
        with tempfile.TemporaryDirectory() as directory:
            results = Path(directory)
            experiment = self.experiment(results)
            plots = downtime_plots.draw(experiment, results, gnuplot.draw)
            tests = [*downtime_report.as_tests(experiment),
                     ktap.Result("the lab", ktap.FAILED, "why: " + "x" * 300)]
            (results / "downtime.html").write_text(
                downtime_report.page(experiment, plots, tests))

            def check():
                self.assertRegex(self.browser.text(), "NOT shown: . of 8\n")
                self.assertEqual(self.browser.evaluate(PLOTS), len(downtime_plots.CAPTIONS))
            self.look("downtime", results / "downtime.html", check)

    def experiment(self, results):
        """Each point of the experiment, with the numbers of one and the same trial."""
        whole = test_downtime.Whole("test_good")
        whole.setUp()
        self.addCleanup(whole.doCleanups)
        experiment = downtime.collect(whole.results)
        # Its link was never filled, so it has no times.
        number = {"median": 1060, "min": 998, "max": 12345}
        measured = {key: value or number if key in downtime.NUMBERS else value
                    for key, value in experiment["points"][0].items()}
        experiment["points"] = [dict(copy.deepcopy(measured), **point._asdict())
                                for point in points.all_points()]
        (results / "trials").mkdir()
        for point in points.all_points():
            whole.leave(f"{point.name}.1", test_downtime.evidence(point.name), "")
            trial = whole.results / f"trials/{point.name}.1.json"
            (results / f"trials/{point.name}.1.json").write_text(trial.read_text())
        return experiment


if __name__ == "__main__":
    unittest.main()
