# SPDX-License-Identifier: GPL-2.0-only
"""What is done with a guest and its device: mdev, QEMU, libvirt, link, trace, workloads. Runs in
the lab, as root, and needs of it only our modules, QEMU and tracefs. Makes no machine.
"""
