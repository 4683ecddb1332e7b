/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A run: contiguous pages that one call of vfio_pin_pages() pinned, and trees of
 * runs. Nobody but access.c, held.c and unmap.c looks into one.
 */
#ifndef MDMA_RUN_H
#define MDMA_RUN_H

#include <linux/ktime.h>
#include <linux/list.h>
#include <linux/mdma.h>
#include <linux/rbtree.h>
#include <linux/types.h>

/**
 * struct mdma_run - pages that one call of vfio_pin_pages() pinned
 * @node: in mdma_access.runs; of a parked run, in mdma_held.parked
 * @subtree_last: of @node
 * @queue: of a held run, in mdma_held.channel
 * @list: of a parked run, in mdma_held.parked_list; of a busy one, for its owner
 * @busy: a thread pins, uses or unpins it. That thread is its owner, and alone may
 *	touch it
 * @waits: busy, and its owner is in a call that can wait for user memory
 * @asked: ->dma_unmap() came meanwhile: the owner gives the pages back after the
 *	call
 * @write: pinned for writing
 * @iova: of the first page
 * @npages: number
 * @channel: whose workload holds it
 * @hold_ms: how long it is held, 0 for as long as that workload says
 * @held_since: when it was used last
 * @age: of a parked run: for how long it had been held
 */
struct mdma_run {
	struct rb_node node;
	u64 subtree_last;
	struct rb_node queue;
	struct list_head list;
	bool busy;
	bool waits;
	bool asked;
	bool write;
	u64 iova;
	u32 npages;
	u32 channel;
	u32 hold_ms;
	ktime_t held_since;
	ktime_t age;
};

static inline u64 mdma_last_byte(u64 iova, u32 npages)
{
	return iova + ((u64)npages << MDMA_PAGE_SHIFT) - 1;
}

/* As interval_tree.h has them */
void mdma_run_insert(struct mdma_run *run, struct rb_root_cached *root);
void mdma_run_remove(struct mdma_run *run, struct rb_root_cached *root);
struct mdma_run *mdma_run_iter_first(struct rb_root_cached *root, u64 first,
				     u64 last);
struct mdma_run *mdma_run_iter_next(struct mdma_run *run, u64 first, u64 last);

#endif /* MDMA_RUN_H */
