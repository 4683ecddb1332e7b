# SPDX-License-Identifier: GPL-2.0-only
"""What the lab's machine is made of: host packages, image, modules, debug kernel, initramfs,
payload. Runs on the host. Everything generated is below OUT."""
