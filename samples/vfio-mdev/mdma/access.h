/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What access.c and held.c know of a run; nobody else looks into one.
 */
#ifndef MDMA_ACCESS_H
#define MDMA_ACCESS_H

#include <linux/ktime.h>
#include <linux/list.h>
#include <linux/mdma.h>
#include <linux/types.h>

struct mdma_access;
struct mdma_device;
struct page;

/**
 * struct mdma_run - pages that one call of vfio_pin_pages() pinned
 * @node: in mdma_access.runs, but a parked one is not
 * @held: in mdma_access.held or .parked, if not busy
 * @busy: somebody pins, uses or unpins it, and only that somebody may touch it
 * @write: pinned for writing
 * @iova: of the first page
 * @npages: number
 * @channel: whose workload holds it
 * @hold_ms: how long it is held, 0 for as long as that workload says
 * @held_since: when it was used last
 * @age: of a parked one: held that long
 */
struct mdma_run {
	struct list_head node;
	struct list_head held;
	bool busy;
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

static inline bool mdma_run_overlaps(const struct mdma_run *run, u64 first,
				     u64 last)
{
	return run->iova <= last &&
	       first <= mdma_last_byte(run->iova, run->npages);
}

/* access.c */
bool mdma_access_going(const struct mdma_access *access, u64 first, u64 last);
void mdma_access_released(struct mdma_access *access);
int mdma_run_pin(struct mdma_device *dev, struct mdma_run *run,
		 struct page **pages);
void mdma_run_unpin(struct mdma_device *dev, struct mdma_run *run);
void mdma_run_end(struct mdma_access *access, struct mdma_run *run);

/* held.c */
void mdma_held_take(struct mdma_access *access, struct mdma_run *run);
void mdma_held_drop_parked(struct mdma_access *access, u64 first, u64 last);

#endif /* MDMA_ACCESS_H */
