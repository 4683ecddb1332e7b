/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A run: contiguous pages that are pinned, used and given back together, and trees
 * of runs. Nobody but access.c, held.c, manual.c and unmap.c looks into one.
 *
 * Most runs were pinned by one call of vfio_pin_pages(). The others are: a parked run
 * (held.c), which is to be pinned again; the pages of a call of vfio_dma_rw(), or of
 * vfio_unpin_pages() by hand (manual.c), while it lasts; a page that was pinned by hand,
 * while ->dma_unmap() or a reset gives it back.
 */
#ifndef MDMA_RUN_H
#define MDMA_RUN_H

#include <linux/ktime.h>
#include <linux/list.h>
#include <linux/mdma.h>
#include <linux/rbtree.h>
#include <linux/types.h>

/**
 * struct mdma_run - pages that are pinned together
 * @node: in mdma_access.runs; of a parked run, in mdma_held.parked
 * @subtree_last: of @node
 * @queue: of a held run, in mdma_held.channel
 * @list: of a parked run, in mdma_held.parked_list; of a busy one, for its owner
 * @busy: not held: a thread pins, uses or unpins it. That thread is its owner, and
 *	alone may touch it. A parked run has it set, too, but no owner
 * @waits: busy, and its owner is in a call that can wait for user memory
 * @asked: ->dma_unmap() came meanwhile: the owner gives the pages back after the
 *	call
 * @write: pinned for writing
 * @iova: of the first page
 * @npages: number
 * @channel: whose workload holds it
 * @hold_ms: how long it is held, 0 for as long as that workload says
 * @held_since: when its hold began; of one that was parked, as if it had been held
 *	without a break
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
