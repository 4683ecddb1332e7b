# SPDX-License-Identifier: GPL-2.0-only
"""A root tree that begins as a copy of another one: only what differs is installed.

Files of packages are hard links, which takes no room. dpkg never writes into a file, but puts a new
one into its place, so the other tree stays as it is. What programs do write into, in /etc and /var,
is copied.
"""

from base import process
from make import chroot

COPY = r"""
set -e
cd "$1"
mkdir "$2"
for name in *; do
	case $name in
	etc | var) cp -a "$name" "$2" ;;
	*) cp -al "$name" "$2" ;;
	esac
done
rm -f "$2/etc/resolv.conf"
cp -L /etc/resolv.conf "$2/etc/resolv.conf"
"""

# The words: packages. Kernels that were there are removed if there is another one now; no daemon
# starts; no initrd is made, as by mmdebstrap (image.py); and nothing is left of the download.
INSTALL = r"""
set -e
export DEBIAN_FRONTEND=noninteractive INITRD=No
kernels() {
	dpkg-query -W -f '${db:Status-Status} ${Package}\n' 'linux-*-[0-9]*' |
		sed -n 's/^installed //p'
}
before=$(kernels)
printf '#!/bin/sh\nexit 101\n' >/usr/sbin/policy-rc.d
chmod +x /usr/sbin/policy-rc.d
apt-get -q update
apt-get -q -y install --no-install-recommends "$@"
if [ "$(kernels)" != "$before" ]; then
	apt-get -q -y purge $before
fi
rm -rf /usr/sbin/policy-rc.d /var/lib/apt/lists/*
apt-get clean
"""


def copy(base, tree, log):
    """Begin @tree as a copy of @base, in the same file system."""
    process.run([*chroot.namespace(), "--", "sh", "-c", COPY, "sh", base, tree], log,
                "copying the suite's own root tree")


def install(tree, setup, packages, log):
    """Install packages in it.

    @setup: a script that says where apt finds them; its word is the root directory
    """
    chroot.run(["sh", "-c", setup, "sh", ""], log, "naming the backports", root=tree, append=True)
    chroot.run(["sh", "-c", INSTALL, "sh", *packages], log, "installing what differs", root=tree,
               append=True)
