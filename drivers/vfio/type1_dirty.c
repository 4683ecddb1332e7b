// SPDX-License-Identifier: GPL-2.0-only
/*
 * VFIO_IOMMU_DIRTY_PAGES: START, STOP, GET_BITMAP.
 *
 * Included by the hooked vfio_iommu_type1.c.
 *
 * Locking: iommu->report_lock, then iommu->lock. A report holds report_lock from
 * its first snapshot to the drop of what it reported, so that there is one at a
 * time and tracking is not started or stopped under it. Only snapshots and the
 * drop take iommu->lock; user memory is touched in between (R16).
 */

static atomic64_t report_count = ATOMIC64_INIT(0);

/**
 * struct dirty_range - a report asked for, and what came of it
 * @iommu: the container
 * @first: first IOVA
 * @last: last IOVA
 * @shift: a bit stands for 2^@shift bytes
 * @id: number of the report, for tracing
 * @nr_dirty: dirty pages found, for tracing
 * @nr_dropped: retained records dropped after it
 */
struct dirty_range {
	struct vfio_iommu *iommu;
	dma_addr_t first;
	dma_addr_t last;
	unsigned int shift;
	u64 id;
	u64 nr_dirty;
	u64 nr_dropped;
};

static dma_addr_t vfio_dma_last(const struct vfio_dma *dma)
{
	return dma->iova + dma->size - 1;
}

/* The lowest mapping that has a page in [first, last], or NULL. */
static struct vfio_dma *vfio_dma_first_in(struct vfio_iommu *iommu,
					  dma_addr_t first, dma_addr_t last)
{
	struct rb_node *node = iommu->dma_list.rb_node;
	struct vfio_dma *found = NULL;

	while (node) {
		struct vfio_dma *dma = rb_entry(node, struct vfio_dma, node);

		if (vfio_dma_last(dma) < first) {
			node = node->rb_right;
		} else {
			found = dma;
			node = node->rb_left;
		}
	}
	return found && found->iova <= last ? found : NULL;
}

static struct vfio_dma *vfio_dma_next_in(struct vfio_dma *dma, dma_addr_t last)
{
	struct rb_node *node = rb_next(&dma->node);

	if (!node)
		return NULL;
	dma = rb_entry(node, struct vfio_dma, node);
	return dma->iova <= last ? dma : NULL;
}

/* Number, in its mapping, of the page that holds @iova, cut to the mapping. */
static u64 dma_page(const struct vfio_dma *dma, dma_addr_t iova)
{
	return (clamp_t(u64, iova, dma->iova, vfio_dma_last(dma)) -
		dma->iova) >> PAGE_SHIFT;
}

/*
 * A group that wrote memory without saying where has gone, or has begun to say
 * it by pinning. What it wrote until now must still be reported (R9, W5).
 * Caller holds iommu->lock.
 */
static void vfio_dirty_scope_narrowed(struct vfio_iommu *iommu)
{
	struct vfio_dma *dma;

	if (!iommu->dirty_page_tracking)
		return;
	for (dma = vfio_dma_first_in(iommu, 0, U64_MAX); dma;
	     dma = vfio_dma_next_in(dma, U64_MAX)) {
		dma->all_dirty = true;
		dma->all_report = 0;
	}
}

static bool dma_all_dirty(struct vfio_iommu *iommu, struct vfio_dma *dma)
{
	return dma->all_dirty ||
	       (iommu->num_non_pinned_groups && dma->iommu_mapped);
}

/* A group that does not say what it writes can have written all of it (R9). */
static void snapshot_all(struct dirty_chunk *chunk, unsigned int bit,
			 unsigned int nbits)
{
	bitmap_set((unsigned long *)chunk->dirty, bit, nbits);
	dirty_chunk_mark(chunk, bit, bit + nbits - 1);
}

/* Add to a chunk what is known of one mapping. Caller holds iommu->lock. */
static void snapshot_dma(struct dirty_range *range, struct vfio_dma *dma,
			 struct dirty_chunk *chunk)
{
	dma_addr_t base = range->first + (chunk->first << range->shift);
	dma_addr_t last = base + ((u64)chunk->nbits << range->shift) - 1;
	dma_addr_t first = max_t(u64, base, dma->iova);
	unsigned int order = range->shift - PAGE_SHIFT;
	unsigned int bit = (first - base) >> range->shift;
	u64 page = dma_page(dma, first);
	struct pin_span span;
	unsigned int nbits;

	last = min_t(u64, last, vfio_dma_last(dma));
	nbits = (last - first + 1) >> range->shift;
	dirty_chunk_map(chunk, bit, nbits);

	/* Also where all is dirty: it marks what is to be dropped. */
	if (pin_store_report(&dma->pins, page, dma_page(dma, last), order,
			     chunk->dirty, bit, &span))
		dirty_chunk_mark(chunk, bit + ((span.first - page) >> order),
				 bit + ((span.last - page) >> order));
	if (!dma_all_dirty(range->iommu, dma))
		return;
	snapshot_all(chunk, bit, nbits);
	/* A report that begins at the mapping and holds all of it. */
	if (first == dma->iova && vfio_dma_last(dma) <= range->last)
		dma->all_report = range->id;
}

/* Trace what is dirty. Counts it too, for nobody else asks for the number. */
static void trace_runs(struct dirty_range *range,
		       const struct dirty_chunk *chunk)
{
	unsigned long *bitmap = (unsigned long *)chunk->dirty;
	unsigned int order = range->shift - PAGE_SHIFT;
	unsigned int from = chunk->first_dirty * 64, to;

	if (!trace_vfio_dirty_run_enabled() &&
	    !trace_vfio_dirty_report_enabled())
		return;
	for_each_set_bitrange_from(from, to, bitmap, chunk->end_dirty * 64) {
		u64 npages = (u64)(to - from) << order;

		trace_vfio_dirty_run(range->id, range->first +
				     ((chunk->first + from) << range->shift),
				     npages);
		range->nr_dirty += npages;
	}
}

/*
 * Skip what is clean before the first dirty page. Caller holds iommu->lock, for as
 * long as it takes to look at the leaves of DIRTY_SKIP_BITS pages.
 */
static void snapshot_skip(struct dirty_range *range, struct vfio_dma *dma,
			  struct dirty_chunk *chunk)
{
	unsigned int order = range->shift - PAGE_SHIFT;
	dma_addr_t first = range->first + (chunk->first << range->shift);
	u64 bits = min(chunk->end - chunk->first, DIRTY_SKIP_BITS);
	u64 page, last, dirty;

	if (dma->iova > first || dma_all_dirty(range->iommu, dma))
		return;
	page = dma_page(dma, first);
	last = dma_page(dma, first + (bits << range->shift) - 1);
	dirty = pin_store_next_dirty(&dma->pins, page, last, PIN_DIRTY);
	bits = round_down((dirty - page) >> order, 64);
	if (bits)
		dirty_chunk_skip(chunk, bits);
}

static int snapshot(void *ctx, struct dirty_chunk *chunk)
{
	struct dirty_range *range = ctx;
	struct vfio_iommu *iommu = range->iommu;
	dma_addr_t first = range->first + (chunk->first << range->shift);
	struct vfio_dma *dma;
	dma_addr_t last;

	mutex_lock(&iommu->lock);
	dma = vfio_dma_first_in(iommu, first, range->last);
	if (dma)
		snapshot_skip(range, dma, chunk);
	first = range->first + (chunk->first << range->shift);
	last = first + ((u64)chunk->nbits << range->shift) - 1;
	for (; dma && chunk->nbits && dma->iova <= last;
	     dma = vfio_dma_next_in(dma, last))
		if (vfio_dma_last(dma) >= first)
			snapshot_dma(range, dma, chunk);
	trace_runs(range, chunk);
	mutex_unlock(&iommu->lock);
	return 0;
}

/*
 * Drop some records of a range from @at on. Caller holds iommu->lock.
 * Return: false if that was all, else @at is where to go on.
 */
static bool range_drop_some(struct dirty_range *range, dma_addr_t *at)
{
	struct vfio_dma *dma;
	u64 last, next;

	dma = vfio_dma_first_in(range->iommu, *at, range->last);
	if (!dma)
		return false;
	last = dma_page(dma, range->last);
	range->nr_dropped += pin_store_drop(&dma->pins, dma_page(dma, *at), last,
					    PIN_DROP_REPORTED, &next);
	if (next <= last) {
		*at = dma->iova + (next << PAGE_SHIFT);
		return true;
	}
	if (dma->all_report == range->id)
		dma->all_dirty = false;
	*at = vfio_dma_last(dma) + 1;
	return vfio_dma_last(dma) < range->last;
}

/*
 * The report has reached user space: now its records can go (R3). The lock is
 * dropped now and then, for pins not to wait long.
 */
static void range_drop(struct dirty_range *range)
{
	dma_addr_t at = range->first;
	bool more;

	do {
		mutex_lock(&range->iommu->lock);
		more = range_drop_some(range, &at);
		mutex_unlock(&range->iommu->lock);
		cond_resched();
	} while (more);
}

static void range_init(struct dirty_range *range, struct vfio_iommu *iommu,
		       dma_addr_t iova, u64 size, u64 pgsize)
{
	*range = (struct dirty_range){
		.iommu = iommu,
		.first = iova,
		.last = iova + size - 1,
		.shift = __ffs64(pgsize),
		.id = atomic64_inc_return(&report_count),
	};
}

/*
 * Write the report of a range. Caller holds report_lock, not iommu->lock. The
 * records are still there afterwards: the caller drops them, or unmaps.
 */
static int range_report(struct dirty_range *range, u64 __user *bitmap)
{
	u64 nbits = ((range->last - range->first) >> range->shift) + 1;

	return dirty_report_write(bitmap, nbits, snapshot, range);
}

static void range_trace(const struct dirty_range *range, bool unmap, int ret)
{
	trace_vfio_dirty_report(range->id, unmap, range->first,
				range->last - range->first + 1,
				range->nr_dirty, range->nr_dropped, ret);
}

static u64 vfio_min_pgsize(struct vfio_iommu *iommu)
{
	return BIT_ULL(__ffs(iommu->pgsize_bitmap));
}

/* Can @bitmap hold a report of @size bytes? (R13, D12, D14, D15) */
static int bitmap_check(const struct vfio_bitmap *bitmap, u64 size)
{
	u64 npages;

	if (!is_power_of_2(bitmap->pgsize))
		return -EINVAL;
	npages = size >> __ffs64(bitmap->pgsize);
	if (!npages || bitmap->size > REPORT_BYTES_MAX ||
	    bitmap->size < ALIGN(npages, 64) / BITS_PER_BYTE)
		return -EINVAL;
	if (!access_ok((void __user *)bitmap->data, bitmap->size))
		return -EINVAL;
	return 0;
}

static int get_check(struct vfio_iommu *iommu,
		     const struct vfio_iommu_type1_dirty_bitmap_get *get)
{
	u64 pgsize = vfio_min_pgsize(iommu);

	if (!iommu->dirty_page_tracking || get->bitmap.pgsize != pgsize)
		return -EINVAL;
	if (!get->size || (get->iova | get->size) & (pgsize - 1))
		return -EINVAL;
	return 0;
}

static int dirty_get(struct vfio_iommu *iommu,
		     const struct vfio_iommu_type1_dirty_bitmap_get *get)
{
	struct dirty_range range;
	int ret;

	if (get->iova + get->size - 1 < get->iova)
		return -EINVAL;
	ret = bitmap_check(&get->bitmap, get->size);
	if (ret)
		return ret;
	if (mutex_lock_killable(&iommu->report_lock))
		return -EINTR;

	mutex_lock(&iommu->lock);
	ret = get_check(iommu, get);
	mutex_unlock(&iommu->lock);
	if (ret)
		goto out_unlock;

	range_init(&range, iommu, get->iova, get->size, get->bitmap.pgsize);
	ret = range_report(&range, get->bitmap.data);
	if (!ret)
		range_drop(&range);
	range_trace(&range, false, ret);
out_unlock:
	mutex_unlock(&iommu->report_lock);
	return ret;
}

static void dirty_start(struct vfio_iommu *iommu)
{
	mutex_lock(&iommu->lock);
	if (!iommu->dirty_page_tracking)
		trace_vfio_dirty_start(iommu);
	iommu->dirty_page_tracking = true;
	mutex_unlock(&iommu->lock);
}

/* Forget all that is retained in a mapping (R7). */
static void dma_drop_retained(struct vfio_dma *dma)
{
	u64 next = 0, last = dma_page(dma, U64_MAX);

	while (next <= last)
		pin_store_drop(&dma->pins, next, last, PIN_DROP_ALL, &next);
}

static void dirty_stop(struct vfio_iommu *iommu)
{
	struct vfio_dma *dma;

	mutex_lock(&iommu->lock);
	if (iommu->dirty_page_tracking)
		trace_vfio_dirty_stop(iommu);
	iommu->dirty_page_tracking = false;
	for (dma = vfio_dma_first_in(iommu, 0, U64_MAX); dma;
	     dma = vfio_dma_next_in(dma, U64_MAX)) {
		dma_drop_retained(dma);
		dma->all_dirty = false;
	}
	mutex_unlock(&iommu->lock);
}

static int dirty_switch(struct vfio_iommu *iommu, bool start)
{
	if (mutex_lock_killable(&iommu->report_lock))
		return -EINTR;
	if (start)
		dirty_start(iommu);
	else
		dirty_stop(iommu);
	mutex_unlock(&iommu->report_lock);
	return 0;
}

static int vfio_iommu_type1_dirty_pages(struct vfio_iommu *iommu,
					unsigned long arg)
{
	const size_t minsz = offsetofend(struct vfio_iommu_type1_dirty_bitmap,
					 flags);
	struct vfio_iommu_type1_dirty_bitmap_get get;
	struct vfio_iommu_type1_dirty_bitmap dirty;

	if (!iommu->v2)
		return -EACCES;
	if (copy_from_user(&dirty, (void __user *)arg, minsz))
		return -EFAULT;
	if (dirty.argsz < minsz)
		return -EINVAL;

	switch (dirty.flags) {
	case VFIO_IOMMU_DIRTY_PAGES_FLAG_START:
		return dirty_switch(iommu, true);
	case VFIO_IOMMU_DIRTY_PAGES_FLAG_STOP:
		return dirty_switch(iommu, false);
	case VFIO_IOMMU_DIRTY_PAGES_FLAG_GET_BITMAP:
		if (dirty.argsz - minsz < sizeof(get))
			return -EINVAL;
		if (copy_from_user(&get, (void __user *)(arg + minsz),
				   sizeof(get)))
			return -EFAULT;
		return dirty_get(iommu, &get);
	default:
		/* No flag, an unknown one, or more than one (D13). */
		return -EINVAL;
	}
}
