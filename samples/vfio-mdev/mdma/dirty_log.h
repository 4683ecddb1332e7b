/* SPDX-License-Identifier: GPL-2.0-only */
/* The dirty log: device-side dirty tracking. */
#ifndef MDMA_DIRTY_LOG_H
#define MDMA_DIRTY_LOG_H

#include <linux/mutex.h>
#include <linux/sizes.h>
#include <linux/types.h>
#include <linux/xarray.h>

struct iova_bitmap;
struct mdma_dirty_range;
struct rb_root_cached;

/**
 * struct mdma_dirty_log - device-side dirty tracking
 * @id: of the device, for events
 * @enabled: the user may start it; changes while the device is not open, with
 *	the gate held for writing
 * @lock: guards all fields below it, but @bytes_max
 * @ranges: that are logged, ascending
 * @nr_ranges: their number; 0: the log is off
 * @shift: of the size of a page of the log
 * @leaves: what is dirty
 * @bytes: of all leaves
 * @bytes_max: no leaf is added beyond
 * @overflows: times that there was no leaf to record in since the log started
 * @starts: how often it was started
 * @reports: number of the last report
 *
 * @bytes and @overflows are read without the lock as well, by sysfs. So they are
 * written by WRITE_ONCE().
 */
struct mdma_dirty_log {
	u32 id;
	bool enabled;
	struct mutex lock;	/* all fields below, but bytes_max */
	struct mdma_dirty_range *ranges;
	u32 nr_ranges;
	u32 shift;
	struct xarray leaves;
	u64 bytes;
	u64 bytes_max;
	u64 overflows;
	u64 starts;
	u64 reports;
};

/* The largest value of @bytes_max. */
#define MDMA_DIRTY_LOG_BYTES_MAX	SZ_1G

int mdma_dirty_log_module_init(void);
void mdma_dirty_log_module_exit(void);
void mdma_dirty_log_init(struct mdma_dirty_log *log, u32 id);
void mdma_dirty_log_record(struct mdma_dirty_log *log, u64 iova, u32 npages);
int mdma_dirty_log_start(struct mdma_dirty_log *log, struct rb_root_cached *root,
			 u32 nnodes, u64 *page_size);
void mdma_dirty_log_stop(struct mdma_dirty_log *log);
int mdma_dirty_log_report(struct mdma_dirty_log *log, u64 iova, u64 length,
			  struct iova_bitmap *bitmap);

#endif /* MDMA_DIRTY_LOG_H */
