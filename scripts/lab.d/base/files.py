# SPDX-License-Identifier: GPL-2.0-only
"""Files that are written as a whole, and their paths in a message."""

import os
from contextlib import contextmanager


@contextmanager
def whole(path):
    """A new file beside @path, to be written; it takes the place of @path once that is done,
    and is gone otherwise."""
    temporary = path.with_name(f".{path.name}.new")
    try:
        yield temporary
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def short(path):
    """The path as a reader of a message wants it: relative if that is shorter."""
    path = str(path)
    try:
        relative = os.path.relpath(path)
    except FileNotFoundError:
        # The directory that we are in was removed.
        return path
    return relative if len(relative) < len(path) else path
