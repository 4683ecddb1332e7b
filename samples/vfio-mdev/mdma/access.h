/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What access.c and held.c know of a run; nobody else looks into one.
 */
#ifndef MDMA_ACCESS_H
#define MDMA_ACCESS_H

#include <linux/ktime.h>
#include <linux/list.h>
#include <linux/mdma.h>
#include <linux/rbtree.h>
#include <linux/types.h>

struct mdma_access;
struct mdma_device;
struct page;

/**
 * struct mdma_run - pages that one call of vfio_pin_pages() pinned
 * @node: in mdma_access.runs, a parked one in mdma_access.parked
 * @subtree_last: of @node
 * @queue: in mdma_access.held, of one that is held
 * @list: a parked one is in the order of these; else in a list of who made it
 *	busy
 * @busy: somebody pins, uses or unpins it, and only that somebody may touch it
 * @waits: busy, and that somebody is in a call that can wait for user memory
 * @asked: ->dma_unmap() came meanwhile: the pages are given back after the call
 * @write: pinned for writing
 * @iova: of the first page
 * @npages: number
 * @channel: whose workload holds it
 * @hold_ms: how long it is held, 0 for as long as that workload says
 * @held_since: when it was used last
 * @age: of a parked one: held that long
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

/* run.c: as interval_tree.h has them */
void mdma_run_insert(struct mdma_run *run, struct rb_root_cached *root);
void mdma_run_remove(struct mdma_run *run, struct rb_root_cached *root);
struct mdma_run *mdma_run_iter_first(struct rb_root_cached *root, u64 first,
				     u64 last);
struct mdma_run *mdma_run_iter_next(struct mdma_run *run, u64 first, u64 last);

/* going.c */
#define MDMA_GOING_MS	20	/* a range stays closed after ->dma_unmap() */

void mdma_going_init(struct mdma_access *access);
bool mdma_going_overlaps(const struct mdma_access *access, u64 first, u64 last,
			 bool waited);
struct mdma_going *mdma_going_begin(struct mdma_access *access, u64 first,
				    u64 last);
void mdma_going_end(struct mdma_access *access, struct mdma_going *going);

/* access.c */
void mdma_access_released(struct mdma_access *access);
int mdma_run_pin(struct mdma_device *dev, struct mdma_run *run,
		 struct page **pages);
void mdma_run_unpin(struct mdma_device *dev, struct mdma_run *run);
void mdma_run_end(struct mdma_access *access, struct mdma_run *run);

/* held.c */
void mdma_held_take(struct mdma_access *access, struct mdma_run *run);
void mdma_held_drop_parked(struct mdma_access *access, u64 first, u64 last);

#endif /* MDMA_ACCESS_H */
