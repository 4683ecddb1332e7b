/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The trace that MDMA_PATTERN_TRACE replays. Compiled in user space as well.
 */
#ifndef MDMA_REPLAY_H
#define MDMA_REPLAY_H

#include <linux/mdma.h>
#include <linux/types.h>

struct mdma_snapshot;

/**
 * struct mdma_replay - a trace
 * @entries: struct mdma_trace_entry, checked, or NULL
 * @nr: number
 */
struct mdma_replay {
	struct mdma_trace_entry *entries;
	u32 nr;
};

int mdma_trace_check(const void *entries, u32 nr, u32 size);
void mdma_replay_save(const struct mdma_replay *replay,
		      struct mdma_snapshot *snap);
int mdma_replay_load(struct mdma_replay *replay,
		     const struct mdma_snapshot *snap);

#endif /* MDMA_REPLAY_H */
