# SPDX-License-Identifier: GPL-2.0-only
"""A run of the lab: the machine is booted, watched and ended, and what its job left is handed on
to be judged. Runs on the host, with what make made.
"""
