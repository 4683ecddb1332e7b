// SPDX-License-Identifier: GPL-2.0-only
/*
 * The dirty log: device-side dirty tracking, VFIO_DEVICE_FEATURE_DMA_LOGGING_*.
 * Exactly what the device wrote, however long it stays pinned; what the
 * container reports is what was pinned for writing.
 *
 * The IOVA space is cut into pages of the log, 4 KiB to 2 MiB, as the user
 * wishes. A page is a bit in a leaf of LEAF_PAGES, 64 bytes (not the leaf of the
 * backend); leaves are in an xarray, and there is one only where something is
 * dirty. Each range of the log has a coarse leaf besides, whose bits stand for
 * units: equal parts of the range, at most LEAF_PAGES of them. A page for which
 * there is no memory, or for which the administrator allows none, makes its unit
 * dirty. So memory is bounded, a write never fails for the log, and nothing is
 * lost: there are extra pages.
 *
 * A page is recorded after it was written. A report between the write and the
 * record may have the page or not; the next one has it. A report takes the
 * records of a leaf under the lock, and touches the user's bitmap without it, so a
 * reader that stalls in a fault stalls no DMA. What was taken is lost if the bitmap
 * then can't be written: iova_bitmap_set() does not tell. Of a page or unit that is
 * in its range only in part, a report has that part and keeps the record.
 *
 * Takes mdma_dirty_log.lock.
 */
#include <linux/bitmap.h>
#include <linux/interval_tree.h>
#include <linux/iova_bitmap.h>
#include <linux/log2.h>
#include <linux/mdma.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/sched.h>
#include <linux/slab.h>

#include "dirty_log.h"
#include "trace.h"

#define LEAF_PAGES	512
#define PAGE_SIZE_MAX	SZ_2M
#define BYTES_MAX	(16ULL << 20)	/* until the administrator says else */

struct leaf {
	DECLARE_BITMAP(dirty, LEAF_PAGES);
};

/*
 * A range of the log. Unit 0 of @coarse has its first byte. @first and @last
 * are at borders of pages, not of units.
 */
struct mdma_dirty_range {
	u64 first;
	u64 last;
	u32 unit_shift;
	struct leaf coarse;
};

/* A report that is being made. @starts: of the log that it is about. */
struct report {
	struct mdma_dirty_log *log;
	struct iova_bitmap *bitmap;
	u64 number;
	u64 starts;
	u64 first;
	u64 last;
	u64 pages;
	u32 shift;
	u32 nr_ranges;
};

static struct kmem_cache *leaf_cache;

/**
 * mdma_dirty_log_module_init() - once, before any log
 *
 * Return: 0 or -ENOMEM.
 */
int mdma_dirty_log_module_init(void)
{
	/* A cache of its own shows leaves that are left when the module goes */
	leaf_cache = kmem_cache_create("mdma_dirty_leaf", sizeof(struct leaf),
				       0, SLAB_ACCOUNT | SLAB_NO_MERGE, NULL);
	return leaf_cache ? 0 : -ENOMEM;
}

/**
 * mdma_dirty_log_module_exit() - once, after the last log was stopped
 */
void mdma_dirty_log_module_exit(void)
{
	kmem_cache_destroy(leaf_cache);
}

/**
 * mdma_dirty_log_init() - a log that is off
 * @log: zeroed
 * @id: of the device
 */
void mdma_dirty_log_init(struct mdma_dirty_log *log, u32 id)
{
	log->id = id;
	mutex_init(&log->lock);
	xa_init_flags(&log->leaves, XA_FLAGS_ACCOUNT);
	log->bytes_max = BYTES_MAX;
}

/* --- recording ----------------------------------------------------------- */

/* The leaf, made if need be; NULL if it can't be had. */
static struct leaf *get_leaf(struct mdma_dirty_log *log, unsigned long index)
{
	struct leaf *leaf = xa_load(&log->leaves, index);

	if (leaf || log->bytes + sizeof(*leaf) > READ_ONCE(log->bytes_max))
		return leaf;
	leaf = kmem_cache_zalloc(leaf_cache, GFP_KERNEL_ACCOUNT | __GFP_NOWARN);
	if (!leaf)
		return NULL;
	if (xa_err(xa_store(&log->leaves, index, leaf,
			    GFP_KERNEL_ACCOUNT | __GFP_NOWARN))) {
		kmem_cache_free(leaf_cache, leaf);
		return NULL;
	}
	WRITE_ONCE(log->bytes, log->bytes + sizeof(*leaf));
	return leaf;
}

static void record_units(struct mdma_dirty_log *log,
			 struct mdma_dirty_range *range, u64 first, u64 last)
{
	u64 base = range->first >> range->unit_shift;
	u64 unit = (first >> range->unit_shift) - base;
	u64 end = (last >> range->unit_shift) - base + 1;

	bitmap_set(range->coarse.dirty, unit, end - unit);
	WRITE_ONCE(log->overflows, log->overflows + 1);
}

/* All of [@first, @last] is in @range. */
static void record(struct mdma_dirty_log *log, struct mdma_dirty_range *range,
		   u64 first, u64 last)
{
	u64 end = (last >> log->shift) + 1;
	u64 page = first >> log->shift;
	struct leaf *leaf;
	u32 n;

	for (; page < end; page += n) {
		n = min_t(u64, end - page, LEAF_PAGES - page % LEAF_PAGES);
		leaf = get_leaf(log, page / LEAF_PAGES);
		if (leaf)
			bitmap_set(leaf->dirty, page % LEAF_PAGES, n);
		else
			record_units(log, range, page << log->shift,
				     ((page + n) << log->shift) - 1);
	}
}

/**
 * mdma_dirty_log_record() - pages were written
 * @log: of a device that is open
 * @iova: of the first page
 * @npages: contiguous, do not wrap around
 *
 * Called after the bytes were written, and after the event of that. Never
 * fails.
 */
void mdma_dirty_log_record(struct mdma_dirty_log *log, u64 iova, u32 npages)
{
	u64 last = iova + ((u64)npages << MDMA_PAGE_SHIFT) - 1;
	struct mdma_dirty_range *range;

	if (!log->enabled)
		return;
	/*
	 * The lock orders this with START. Either START comes later, and the
	 * page was written before it; or it came earlier, and the log is seen
	 * to be on.
	 */
	mutex_lock(&log->lock);
	for (range = log->ranges; range < log->ranges + log->nr_ranges; range++)
		if (range->first <= last && iova <= range->last)
			record(log, range, max(iova, range->first),
			       min(last, range->last));
	mutex_unlock(&log->lock);
}

/* --- reporting ----------------------------------------------------------- */

/* Clears all bits but those of the pages [@page, @end); bit 0 is page @base. */
static void only(unsigned long *bits, u64 base, u64 page, u64 end)
{
	u32 from = clamp(page, base, base + LEAF_PAGES) - base;
	u32 to = max_t(u32, from, clamp(end, base, base + LEAF_PAGES) - base);

	bitmap_clear(bits, 0, from);
	bitmap_clear(bits, to, LEAF_PAGES - to);
}

/*
 * Moves what is dirty in [@first, @last] to @bits. Pages that are in there only
 * in part stay dirty as well.
 */
static void take_bits(struct leaf *leaf, u64 base, u32 shift, u64 first,
		      u64 last, unsigned long *bits)
{
	u64 page = first >> shift, mask = (1ULL << shift) - 1;
	DECLARE_BITMAP(whole, LEAF_PAGES);

	bitmap_copy(bits, leaf->dirty, LEAF_PAGES);
	only(bits, base, page, (last >> shift) + 1);
	bitmap_copy(whole, bits, LEAF_PAGES);
	/* @last may be the last byte of the space. */
	only(whole, base, page + !!(first & mask),
	     (last >> shift) + ((last & mask) == mask));
	bitmap_andnot(leaf->dirty, leaf->dirty, whole, LEAF_PAGES);
}

/* Reports the pages of @bits, or what of them is in [@first, @last]. */
static void report_bits(struct report *report, const unsigned long *bits,
			u64 base, u32 shift, u64 first, u64 last)
{
	u64 from, to, npages;
	unsigned int b, e;

	for_each_set_bitrange(b, e, bits, LEAF_PAGES) {
		from = max((base + b) << shift, first);
		to = min(((base + e) << shift) - 1, last);
		npages = (to >> MDMA_PAGE_SHIFT) - (from >> MDMA_PAGE_SHIFT) +
			 1;
		iova_bitmap_set(report->bitmap, from, to - from + 1);
		trace_mdma_log_run(report->log->id, report->number, from,
				   npages);
		report->pages += npages;
	}
}

/* Whether the log is still the one that the report is about. */
static bool same_log(const struct report *report)
{
	const struct mdma_dirty_log *log = report->log;

	lockdep_assert_held(&log->lock);
	return log->nr_ranges && log->starts == report->starts;
}

/*
 * Takes the next leaf from @index on: 1, 0 if there is none, or -EINVAL. One
 * that is clean afterwards is freed.
 */
static int take_leaf(struct report *report, unsigned long *index,
		     unsigned long *bits)
{
	struct mdma_dirty_log *log = report->log;
	struct leaf *leaf = NULL;
	int ret = -EINVAL;

	mutex_lock(&log->lock);
	if (!same_log(report))
		goto out;
	leaf = xa_find(&log->leaves, index,
		       (report->last >> report->shift) / LEAF_PAGES,
		       XA_PRESENT);
	ret = !!leaf;
	if (!leaf)
		goto out;
	take_bits(leaf, (u64)*index * LEAF_PAGES, report->shift, report->first,
		  report->last, bits);
	if (bitmap_empty(leaf->dirty, LEAF_PAGES)) {
		xa_erase(&log->leaves, *index);
		kmem_cache_free(leaf_cache, leaf);
		WRITE_ONCE(log->bytes, log->bytes - sizeof(*leaf));
	}
out:
	mutex_unlock(&log->lock);
	return ret;
}

static int report_leaves(struct report *report)
{
	unsigned long index = (report->first >> report->shift) / LEAF_PAGES;
	DECLARE_BITMAP(bits, LEAF_PAGES);
	int ret;

	for (; (ret = take_leaf(report, &index, bits)) > 0; index++) {
		report_bits(report, bits, (u64)index * LEAF_PAGES,
			    report->shift, report->first, report->last);
		cond_resched();
	}
	return ret;
}

/* Reports the units of a range. Its ends are borders of units to this. */
static int report_units(struct report *report, u32 i)
{
	struct mdma_dirty_log *log = report->log;
	u64 first = report->first, last = report->last, mask;
	struct mdma_dirty_range *range;
	DECLARE_BITMAP(bits, LEAF_PAGES);
	u64 base, from, to;
	u32 shift;

	mutex_lock(&log->lock);
	if (!same_log(report)) {
		mutex_unlock(&log->lock);
		return -EINVAL;
	}
	range = &log->ranges[i];
	from = max(first, range->first);
	to = min(last, range->last);
	if (from > to || bitmap_empty(range->coarse.dirty, LEAF_PAGES)) {
		mutex_unlock(&log->lock);
		return 0;
	}
	shift = range->unit_shift;
	base = range->first >> shift;
	mask = (1ULL << shift) - 1;
	first = from == range->first ? from & ~mask : from;
	last = to == range->last ? to | mask : to;
	take_bits(&range->coarse, base, shift, first, last, bits);
	mutex_unlock(&log->lock);

	report_bits(report, bits, base, shift, from, to);
	return 0;
}

/* Without a log, the report has no ranges. */
static int begin_report(struct report *report)
{
	struct mdma_dirty_log *log = report->log;

	mutex_lock(&log->lock);
	report->number = ++log->reports;
	report->starts = log->starts;
	report->shift = log->shift;
	report->nr_ranges = log->nr_ranges;
	mutex_unlock(&log->lock);
	return report->nr_ranges ? 0 : -EINVAL;
}

/**
 * mdma_dirty_log_report() - tell the user what is dirty in a range, and forget it
 * @log: of a device that is open
 * @iova: first byte
 * @length: bytes; may be 0, does not overflow
 * @bitmap: of the user
 *
 * Return: 0, or -EINVAL for an empty range, and for a log that is off or was
 * started anew meanwhile.
 */
int mdma_dirty_log_report(struct mdma_dirty_log *log, u64 iova, u64 length,
			  struct iova_bitmap *bitmap)
{
	struct report report = {
		.log = log,
		.bitmap = bitmap,
		.first = iova,
		.last = iova + length - 1,
	};
	int ret;
	u32 i;

	if (!length)
		return -EINVAL;
	ret = begin_report(&report);
	if (!ret)
		ret = report_leaves(&report);
	for (i = 0; i < report.nr_ranges && !ret; i++)
		ret = report_units(&report, i);
	trace_mdma_log_report(log->id, report.number, iova, length,
			      report.pages, ret);
	return ret;
}

/* --- on and off ---------------------------------------------------------- */

static int make_range(struct mdma_dirty_range *range,
		      const struct interval_tree_node *node, u32 shift)
{
	u64 end = (u64)node->last + 1;

	/*
	 * An empty range is invalid; one at 0 would seem to have all addresses
	 */
	if (end <= node->start || ((node->start | end) & ((1ULL << shift) - 1)))
		return -EINVAL;
	range->first = node->start;
	range->last = node->last;
	range->unit_shift = shift;
	while ((range->last >> range->unit_shift) -
	       (range->first >> range->unit_shift) >= LEAF_PAGES)
		range->unit_shift++;
	return 0;
}

/* The ranges of a log, by address; to be freed with kvfree(). */
static struct mdma_dirty_range *make_ranges(struct rb_root_cached *root, u32 nr,
					    u32 shift)
{
	struct mdma_dirty_range *ranges;
	struct rb_node *node = rb_first_cached(root);
	int ret = 0;
	u32 i;

	ranges = kvcalloc(nr, sizeof(*ranges), GFP_KERNEL_ACCOUNT);
	if (!ranges)
		return ERR_PTR(-ENOMEM);
	for (i = 0; i < nr && !ret; i++, node = rb_next(node))
		ret = make_range(&ranges[i],
				 rb_entry(node, struct interval_tree_node, rb),
				 shift);
	if (ret) {
		kvfree(ranges);
		return ERR_PTR(ret);
	}
	return ranges;
}

/**
 * mdma_dirty_log_start() - log what is written from now on
 * @log: of a device that is open
 * @root: ranges to log, struct interval_tree_node
 * @nnodes: number of them
 * @page_size: what the user wishes; becomes what the log has
 *
 * Return: 0, -ENOMEM, or -EINVAL for a log that is on, and for a page size or a
 * range that cannot be.
 */
int mdma_dirty_log_start(struct mdma_dirty_log *log, struct rb_root_cached *root,
			 u32 nnodes, u64 *page_size)
{
	struct mdma_dirty_range *ranges;
	u32 shift;

	if (!is_power_of_2(*page_size))
		return -EINVAL;
	shift = ilog2(clamp_t(u64, *page_size, MDMA_PAGE_SIZE, PAGE_SIZE_MAX));
	ranges = make_ranges(root, nnodes, shift);
	if (IS_ERR(ranges))
		return PTR_ERR(ranges);

	mutex_lock(&log->lock);
	if (log->nr_ranges) {
		mutex_unlock(&log->lock);
		kvfree(ranges);
		return -EINVAL;
	}
	log->ranges = ranges;
	log->nr_ranges = nnodes;
	log->shift = shift;
	WRITE_ONCE(log->overflows, 0);
	log->starts++;
	mutex_unlock(&log->lock);
	*page_size = 1ULL << shift;
	trace_mdma_log_start(log->id, *page_size, nnodes);
	return 0;
}

/**
 * mdma_dirty_log_stop() - end logging, if it is on, and forget all records
 * @log: of a device that is open, or being closed
 */
void mdma_dirty_log_stop(struct mdma_dirty_log *log)
{
	struct leaf *leaf;
	unsigned long index;
	bool on;

	mutex_lock(&log->lock);
	on = log->nr_ranges;
	xa_for_each(&log->leaves, index, leaf)
		kmem_cache_free(leaf_cache, leaf);
	xa_destroy(&log->leaves);
	kvfree(log->ranges);
	log->ranges = NULL;
	log->nr_ranges = 0;
	WRITE_ONCE(log->bytes, 0);
	mutex_unlock(&log->lock);
	if (on)
		trace_mdma_log_stop(log->id);
}

/* MODULE_IMPORT_NS() takes a string in some kernels, and a word in others. */
MODULE_INFO(import_ns, "IOMMUFD");
