# SPDX-License-Identifier: GPL-2.0-only
"""reStructuredText for the documentation."""


def table(heads, rows):
    """A simple table: texts of one line each; the first of a row may not be empty."""
    lines = [list(heads), *map(list, rows)]
    widths = [max(len(cells[at]) for cells in lines) for at in range(len(heads))]
    border = " ".join("=" * width for width in widths)
    text = [" ".join(cell.ljust(width) for cell, width in zip(cells, widths)).rstrip()
            for cells in lines]
    return "\n".join([border, text[0], border, *text[1:], border, ""])
