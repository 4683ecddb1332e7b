# SPDX-License-Identifier: GPL-2.0-only
"""Files that are written completely or not at all, and their paths in messages."""

import os
from contextlib import contextmanager


@contextmanager
def whole(path):
    """A new file beside @path, to be written. It replaces @path at the end, or is removed on an
    error."""
    temporary = path.with_name(f".{path.name}.new")
    try:
        yield temporary
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def short(path):
    """A path for a message: relative if that is shorter."""
    path = str(path)
    try:
        relative = os.path.relpath(path)
    except FileNotFoundError:
        # Our working directory was removed.
        return path
    return relative if len(relative) < len(path) else path
