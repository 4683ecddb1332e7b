# SPDX-License-Identifier: GPL-2.0-only
"""A run of the lab: boots the machine, watches and ends it, and passes what its job left on to be
judged. Runs on the host, with what make made."""
