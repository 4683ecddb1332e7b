# SPDX-License-Identifier: GPL-2.0-only
"""What the lab's machine is made of: packages of the host, image, modules, kernel for DEBUG=1,
initramfs, payload. Runs on the host. All that is generated goes below OUT.
"""
