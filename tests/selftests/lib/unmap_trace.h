/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The reports of UNMAPs, by the trace: those that were delivered, and others. The set
 * oracle relies on this.
 */
#ifndef SELFTESTS_UNMAP_TRACE_H
#define SELFTESTS_UNMAP_TRACE_H

/* Returns 0 or -errno. */
int unmap_trace_begin(void);

/* Counts those since the begin. Returns 0 or -errno. */
int unmap_trace_end(int *delivered, int *thrown_away);

#endif
