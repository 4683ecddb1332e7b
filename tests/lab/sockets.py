# SPDX-License-Identifier: GPL-2.0-only
"""Sockets for tests of clients."""

import socket
import tempfile
from pathlib import Path


def listening(case, name):
    """The path of a Unix socket and the socket that listens there, while a test case runs."""
    temporary = tempfile.TemporaryDirectory()
    case.addCleanup(temporary.cleanup)
    path = Path(temporary.name, name)
    server = socket.socket(socket.AF_UNIX)
    case.addCleanup(server.close)
    server.bind(str(path))
    server.listen()
    return path, server
