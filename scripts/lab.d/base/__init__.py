# SPDX-License-Identifier: GPL-2.0-only
"""Common ground: messages and errors, child processes, results of tests, module trees, initramfs
archives, settings, QEMU's monitor. Runs anywhere, on the host as well as in the lab, and knows
neither where files of the lab are nor what a machine is made of.
"""
