# SPDX-License-Identifier: GPL-2.0-only
"""Common ground: messages and errors, child processes, test results, settings, presets of the
workload, QEMU's monitor, kernel modules and initramfs archives. Runs anywhere, on the host as well
as in the lab, and does not know where the lab's files are (but for site.py) or what a machine is
made of."""
