/* SPDX-License-Identifier: GPL-2.0-only */
/* Runs that stay pinned after they were used. */
#ifndef MDMA_HELD_H
#define MDMA_HELD_H

#include <linux/ktime.h>
#include <linux/list.h>
#include <linux/mdma.h>
#include <linux/rbtree_types.h>
#include <linux/types.h>

struct mdma_access;
struct mdma_run;
struct mdma_snapshot;
struct page;

/**
 * struct mdma_queue - runs that are held, in the order in which they end
 * @runs: struct mdma_run
 * @nr: number of them
 */
struct mdma_queue {
	struct rb_root_cached runs;
	u64 nr;
};

/**
 * struct mdma_held_channel - runs that a channel's workload holds
 * @timed: those with a time of their own, of a trace
 * @others: those without: the workload says for how long or, with
 *	MDMA_PATTERN_RING, how many are held; oldest first
 */
struct mdma_held_channel {
	struct mdma_queue timed;
	struct mdma_queue others;
};

/**
 * struct mdma_held - runs that are held or parked, under the lock of @access
 * @access: has pinned them
 * @channel: those that are held
 * @pages: pages in @channel
 * @parked: runs that were held when the device stopped: not pinned, but to be
 *	pinned again when it runs
 * @parked_list: the same, oldest first
 * @nr_parked: number of them
 */
struct mdma_held {
	struct mdma_access *access;
	struct mdma_held_channel channel[MDMA_MAX_CHANNELS];
	u64 pages;
	struct rb_root_cached parked;
	struct list_head parked_list;
	u32 nr_parked;
};

void mdma_held_init(struct mdma_held *held, struct mdma_access *access);
void mdma_held_add(struct mdma_held *held, struct mdma_run *run, u32 channel,
		   u32 hold_ms);
ktime_t mdma_held_expire(struct mdma_held *held, u32 channel, u32 hold_ms,
			 u64 keep);
void mdma_held_take(struct mdma_held *held, struct mdma_run *run);
void mdma_held_drop_parked(struct mdma_held *held, u64 first, u64 last);
void mdma_held_park(struct mdma_held *held);
void mdma_held_unpark(struct mdma_held *held, struct page **pages);
u32 mdma_held_count(struct mdma_held *held);
int mdma_held_save(struct mdma_held *held, struct mdma_snapshot *snap);
int mdma_held_load(struct mdma_held *held, const struct mdma_snapshot *snap);

#endif /* MDMA_HELD_H */
