/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * UNMAPs, by the trace: their reports, those that were delivered and others, on which the
 * set oracle relies; and how often a device has answered that its pins are given back.
 */
#ifndef SELFTESTS_UNMAP_TRACE_H
#define SELFTESTS_UNMAP_TRACE_H

/* Returns 0 or -errno. */
int unmap_trace_begin(void);

/* Counts those since the begin. Returns 0 or -errno. */
int unmap_trace_end(int *delivered, int *thrown_away);

/* Traces the answers instead. Returns 0 or -errno. */
int unmap_trace_begin_answers(void);

/* Counts them, and ends the trace. Returns the number or -errno. */
int unmap_trace_answers(void);

#endif
