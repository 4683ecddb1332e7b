# SPDX-License-Identifier: GPL-2.0-only
"""What people and programs get to see of a run: reports as JSON and HTML, heat map, charts, plots.
Runs anywhere, on what judge finds; draws nothing by itself that needs the image.
"""
