# SPDX-License-Identifier: GPL-2.0-only
"""What evidence proves: oracles, the trace they read, RAM files, the kernel's log, the figures of
the experiment on downtime. Runs anywhere. Pure functions on files that a run has left: nothing
here starts a process, opens a socket or changes a machine."""
