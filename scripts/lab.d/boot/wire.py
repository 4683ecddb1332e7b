# SPDX-License-Identifier: GPL-2.0-only
"""A wire between two labs: an Ethernet with nothing else on it.

It is a named Unix socket in a directory that only we may enter. So nobody else can listen or
connect, and it takes no port of the machine.
"""

import contextlib
import os
import tempfile

from base import say

# Bytes of IP in a packet, nearly as many as QEMU's netdev takes: an emulated host spends its time on
# packets, however small they are.
MTU = 65000

# The longest directory, in bytes, that leaves room for the socket's name (sun_path has 108).
LONGEST = 70


def _directory():
    """A directory in which the socket's directory can be made."""
    for directory in (tempfile.gettempdir(), "/tmp", "/var/tmp"):
        if len(os.fsencode(directory)) <= LONGEST and "," not in directory \
                and os.access(directory, os.W_OK | os.X_OK):
            return directory
    raise say.LabError("no directory for a socket: set TMPDIR to one with a short name")


@contextlib.contextmanager
def two_ends():
    """QEMU's options for the lab at either end, while the wire exists.

    The second one connects, and retries until the first one listens.
    """
    with tempfile.TemporaryDirectory(prefix="mdma-wire-", dir=_directory()) as directory:
        socket = f"addr.type=unix,addr.path={directory}/socket"
        yield (_card("stream,server=on," + socket, 1),
               _card("stream,server=off,reconnect-ms=200," + socket, 2))


def _card(netdev, number):
    return ("-netdev", f"{netdev},id=wire",
            "-device", f"virtio-net-pci,romfile=,netdev=wire,host_mtu={MTU},"
                       f"mac=52:54:00:6d:64:{number:02x}")
