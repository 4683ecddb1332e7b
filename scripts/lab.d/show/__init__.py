# SPDX-License-Identifier: GPL-2.0-only
"""What people and programs see of a run: reports as JSON and HTML, heat map, charts, plots. Runs
anywhere, on what judge finds."""
