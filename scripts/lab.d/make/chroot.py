# SPDX-License-Identifier: GPL-2.0-only
"""Commands inside the root tree, run as root or as an ordinary user.

Each command gets its own mount and PID namespace: its mounts vanish with it, and none of its
processes survives. An ordinary user also gets a user namespace in which he is root and owns the
tree's files (the package uidmap provides the map).
"""

import os
import subprocess

from base import files, process, say
from make import paths

# Mounts what a compiler or depmod needs, then becomes the command. /mnt is the one mount point
# that every tree has; the directories below it are ours.
ENTER = r"""
set -e
root=$1; shift
mkdir -p "$root/dev" "$root/proc"
mount --rbind /dev "$root/dev"
# Of our own PID namespace, or a program that looks itself up there, as
# LeakSanitizer does, finds another process or none. A container whose /proc is
# partly hidden allows no other one: there, its own must do.
mount -t proc proc "$root/proc" 2>/dev/null || mount --rbind /proc "$root/proc"
mount -t tmpfs tmp "$root/tmp"
mount -t tmpfs mnt "$root/mnt"
while [ "$1" != -- ]; do
	mkdir -p "$root/mnt/$1"
	mount --bind "$2" "$root/mnt/$1"
	shift 2
done
shift
export HOME=/tmp PATH=/usr/sbin:/usr/bin:/sbin:/bin
exec chroot "$root" "$@"
"""


def namespace():
    """Words to put before a command that needs to be root of the tree's files."""
    words = ["unshare", "--mount", "--pid", "--fork", "--kill-child"]
    if os.geteuid():
        words += ["--map-root-user", "--map-auto"]
    return words


def command(argv, binds=None, root=None):
    """The command line that runs argv in the tree.

    @binds: name below /mnt in the tree -> directory outside
    """
    pairs = [word for name, path in (binds or {}).items() for word in (name, str(path))]
    return [*namespace(), "--", "sh", "-c", ENTER, "sh", str(root or paths.ROOT),
            *pairs, "--", *argv]


def run(argv, log, what, *, binds=None, root=None, append=False):
    """Run argv in the tree, its output in a log; LabError if it fails."""
    process.run(command(argv, binds, root), log, what, append=append)


def remove(path):
    """Remove a tree that may hold files of other (mapped) users."""
    if not os.path.lexists(path):
        return
    # No log file: the disk may be full, and removing the tree may be the remedy.
    child = process.start([*namespace(), "--", "rm", "-rf", "--one-file-system", "--", path],
                          stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                          stderr=subprocess.PIPE, text=True, errors="replace")
    try:
        _, said = child.communicate()
    finally:
        process.stop(child)
    if child.returncode:
        first = (said.strip().splitlines() or [f"exit {child.returncode}"])[0]
        raise say.LabError(f"removing {files.short(path)} failed: {first}")


def check_usable():
    """Fail early, with an explanation, where namespaces are not available."""
    log = paths.OUT / "lab.log"
    try:
        process.run([*namespace(), "--", "true"], log, "unshare")
    except say.LabError as error:
        hint = ("needs the right to mount (a container lacks it unless privileged)"
                if os.geteuid() == 0 else
                "needs user namespaces and an entry for you in /etc/subuid and /etc/subgid")
        raise say.LabError(f"building the lab {hint}; {error}") from error
