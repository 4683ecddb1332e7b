# SPDX-License-Identifier: GPL-2.0-only
"""What a scenario does with a guest and its device: mdev, QEMU, libvirt, link, trace.
Runs in the lab, as root, and needs only our modules, QEMU and tracefs there. Makes no machine."""
