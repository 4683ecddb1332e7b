/* SPDX-License-Identifier: GPL-2.0-only */
/* Access to guest memory: pins, and reads and writes without pins. */
#ifndef MDMA_ACCESS_H
#define MDMA_ACCESS_H

#include <linux/atomic.h>
#include <linux/mutex.h>
#include <linux/rbtree_types.h>
#include <linux/types.h>
#include <linux/wait.h>

#include "going.h"

struct mdma_run;
struct mdma_stats;
struct page;
struct vfio_device;

/**
 * struct mdma_access - what is pinned
 * @vdev: whose pins they are
 * @id: of the device, for events
 * @stats: counts pins
 * @exact: an iommufd has the pins: it wants back what a call pinned, and in no
 *	other pieces. Changes while the device is not open
 * @stall: test hook: where vfio_pin_pages() and vfio_dma_rw() stall, or 0
 * @lock: guards @runs and @going, the state of each run (run.h), struct mdma_held
 *	and struct mdma_manual; never held over a call into vfio
 * @runs: all struct mdma_run, those in use and those held
 * @going: ranges that are being unmapped
 * @released: counts runs that are no longer in use, for @wait
 * @wait: for runs in use to be released
 */
struct mdma_access {
	struct vfio_device *vdev;
	u32 id;
	struct mdma_stats *stats;
	bool exact;
	u8 stall;
	struct mutex lock;	/* runs, going, and other structures */
	struct rb_root_cached runs;
	struct mdma_going going[MDMA_GOING_RANGES];
	atomic_t released;
	wait_queue_head_t wait;
};

/* mdma_access.stall */
#define MDMA_STALL_BEFORE_PIN	1
#define MDMA_STALL_AFTER_PIN	2

/**
 * enum mdma_respect - which ranges that are being unmapped refuse a new run
 * @MDMA_RESPECT_ALL: all
 * @MDMA_RESPECT_CALLS: those for which ->dma_unmap(), or a change of the IOAS, is in
 *	progress, after mdma_access_settle()
 * @MDMA_RESPECT_NONE: none
 */
enum mdma_respect {
	MDMA_RESPECT_ALL,
	MDMA_RESPECT_CALLS,
	MDMA_RESPECT_NONE,
};

void mdma_access_init(struct mdma_access *access, struct vfio_device *vdev,
		      u32 id, struct mdma_stats *stats);
int mdma_access_pin(struct mdma_access *access, u64 iova, u32 npages,
		    bool write, bool waited, struct page **pages,
		    struct mdma_run **run);
void mdma_access_unpin(struct mdma_access *access, struct mdma_run *run);
int mdma_access_rw(struct mdma_access *access, u64 iova, void *data, size_t len,
		   bool write, bool waited);
void mdma_access_pause(struct mdma_access *access, struct mdma_run *run);
int mdma_access_resume(struct mdma_access *access, struct mdma_run *run);
void mdma_access_settle(void);

/* For held.c, manual.c and unmap.c */
void mdma_access_released(struct mdma_access *access);
bool mdma_access_closed(struct mdma_access *access, u64 first, u64 last,
			bool waited);
void mdma_access_unpin_pages(struct mdma_access *access, u64 iova, u32 npages,
			     u32 pinned);
struct mdma_run *mdma_run_begin(struct mdma_access *access, u64 iova,
				u32 npages, enum mdma_respect respect);
int mdma_run_pin(struct mdma_access *access, struct mdma_run *run,
		 struct page **pages);
void mdma_run_unpin(struct mdma_access *access, struct mdma_run *run);
void mdma_run_end(struct mdma_access *access, struct mdma_run *run);
int mdma_run_rw(struct mdma_access *access, u64 iova, void *data, size_t len,
		bool write, enum mdma_respect respect);

#endif /* MDMA_ACCESS_H */
