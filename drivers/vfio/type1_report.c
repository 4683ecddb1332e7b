// SPDX-License-Identifier: GPL-2.0-only
/*
 * The report of a range of IOVAs: snapshots of what is dirty in it, and the drop of
 * what was reported.
 *
 * Included by type1.c, after the kernel's hooked file, and by tests/unit.
 *
 * Locking: caller holds iommu->report_lock, from the first snapshot to the drop.
 * Only snapshots and the drop take iommu->lock; user memory is touched in between
 * (R16). Each time they take it for a limited number of leaves and mappings, so
 * that pins never wait long, and look up and check again all that they need.
 *
 * A snapshot marks the records that it has seen, and the drop takes those that are
 * still marked. A page that is written in between loses its mark, so its record stays
 * for the next report (R3).
 */

static atomic64_t report_count = ATOMIC64_INIT(0);

/**
 * struct dirty_range - a report asked for, and what came of it
 * @iommu: the container
 * @first: first IOVA
 * @last: last IOVA
 * @shift: a bit stands for 2^@shift bytes
 * @id: number of the report, for tracing
 * @records: a mapping has something that could be dropped
 * @nr_dirty: dirty pages found, for tracing
 * @nr_dropped: retained records dropped
 */
struct dirty_range {
	struct vfio_iommu *iommu;
	dma_addr_t first;
	dma_addr_t last;
	unsigned int shift;
	u64 id;
	bool records;
	u64 nr_dirty;
	u64 nr_dropped;
};

/*
 * A group that wrote memory without saying where has gone, or has begun to say
 * it by pinning. What it wrote until now must still be reported (R9, W5): each
 * mapping is all dirty until a report that began later has held all of it. Caller
 * holds iommu->lock.
 */
static void vfio_dirty_scope_narrowed(struct vfio_iommu *iommu)
{
	if (iommu->dirty_page_tracking)
		iommu->narrowings++;
}

static bool dma_all_dirty(struct vfio_iommu *iommu, struct vfio_dma *dma)
{
	return dma->narrowed != iommu->narrowings ||
	       (iommu->num_non_pinned_groups && dma->iommu_mapped);
}

/* A group that does not say what it writes can have written all of it (R9). */
static void snapshot_all(struct dirty_chunk *chunk, unsigned int bit,
			 unsigned int nbits)
{
	bitmap_set((unsigned long *)chunk->dirty, bit, nbits);
	dirty_chunk_mark(chunk, bit, bit + nbits - 1);
}

static u64 vfio_min_pgsize(struct vfio_iommu *iommu)
{
	return BIT_ULL(__ffs(iommu->pgsize_bitmap));
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
	struct pin_report report = {
		.bitmap = chunk->dirty,
		.order = order,
		.offset = bit - (page >> order),
		.begin = dma_page(dma, range->first),
	};
	struct pin_span span;
	unsigned int nbits;

	last = min_t(u64, last, vfio_dma_last(dma));
	nbits = (last - first + 1) >> range->shift;
	dirty_chunk_map(chunk, bit, nbits);

	/* Also where all is dirty: it marks what is to be dropped. */
	if (pin_store_report(&dma->pins, page, dma_page(dma, last), &report,
			     &span))
		dirty_chunk_mark(chunk, bit + ((span.first - page) >> order),
				 bit + ((span.last - page) >> order));
	if (!dma_all_dirty(range->iommu, dma))
		return;
	snapshot_all(chunk, bit, nbits);
	/* A report that begins at the mapping and holds all of it. */
	if (first == dma->iova && vfio_dma_last(dma) <= range->last) {
		dma->all_report = range->id;
		dma->all_narrowed = range->iommu->narrowings;
	}
}

/* Trace what is dirty. Counts it too, for nobody else asks for the number. */
static void trace_runs(struct dirty_range *range,
		       const struct dirty_chunk *chunk)
{
	unsigned long *bitmap = (unsigned long *)chunk->dirty;
	unsigned int order = range->shift - PAGE_SHIFT;
	unsigned int from = chunk->first_dirty * 64, to;

	if ((!trace_vfio_dirty_run_enabled() &&
	     !trace_vfio_dirty_report_enabled()) || dirty_chunk_again(chunk))
		return;
	for_each_set_bitrange_from(from, to, bitmap, chunk->end_dirty * 64) {
		u64 npages = (u64)(to - from) << order;

		trace_vfio_dirty_run(range->id, range->first +
				     ((chunk->first + from) << range->shift),
				     npages);
		range->nr_dirty += npages;
	}
}

/* Note whether a drop can find something in the mapping. Caller holds iommu->lock. */
static void range_note(struct dirty_range *range, struct vfio_dma *dma)
{
	range->records |= !pin_store_is_empty(&dma->pins) ||
			  dma_all_dirty(range->iommu, dma);
}

/*
 * Skip what is not mapped before @dma, and then what is clean before the first
 * dirty page. Caller holds iommu->lock, for as long as it takes to look at
 * PIN_STORE_WALK_LEAVES leaves.
 */
static void snapshot_skip(struct dirty_range *range, struct vfio_dma *dma,
			  struct dirty_chunk *chunk)
{
	unsigned int order = range->shift - PAGE_SHIFT;
	dma_addr_t first = range->first + (chunk->first << range->shift);
	u64 bits, page, last, dirty;

	range_note(range, dma);
	if (dma->iova > first) {
		bits = (dma->iova - first) >> range->shift;
		dirty_chunk_hole(chunk, round_down(bits, 64));
		first = range->first + (chunk->first << range->shift);
	}
	if (dma->iova > first || dma_all_dirty(range->iommu, dma))
		return;
	bits = min(chunk->end - chunk->first, DIRTY_SKIP_BITS);
	page = dma_page(dma, first);
	last = dma_page(dma, first + (bits << range->shift) - 1);
	pin_store_next_dirty(&dma->pins, page, last, PIN_DIRTY, &dirty);
	bits = round_down((dirty - page) >> order, 64);
	if (bits)
		dirty_chunk_skip(chunk, bits);
}

/*
 * Add the mappings from @dma on. A chunk with many of them is cut, at a word: each
 * costs as much as many leaves.
 */
static void snapshot_dmas(struct dirty_range *range, struct vfio_dma *dma,
			  struct dirty_chunk *chunk)
{
	dma_addr_t first = range->first + (chunk->first << range->shift);
	dma_addr_t last = first + ((u64)chunk->nbits << range->shift) - 1;
	unsigned int left = DMA_BATCH;
	u64 word = 0;

	for (; dma && dma->iova <= last; dma = vfio_dma_next_in(dma, last)) {
		u64 at = max_t(u64, dma->iova, first);

		/* The word that the last mapping ends in may be this one's, too. */
		if (!left && (at - first) >> range->shift >= word) {
			dirty_chunk_cut(chunk, word);
			return;
		}
		if (vfio_dma_last(dma) < first)
			continue;
		range_note(range, dma);
		snapshot_dma(range, dma, chunk);
		word = (min_t(u64, vfio_dma_last(dma), last) - first) >>
			range->shift;
		word = round_down(word, 64) + 64;
		left -= !!left;
	}
}

/*
 * Has the container changed so that the report makes no sense any more? It was
 * checked when it began, and the lock was dropped since. Caller holds iommu->lock.
 */
static int snapshot_check(struct dirty_range *range)
{
	if (range->iommu->dead)
		return -ENODEV;
	/* A mapping can be smaller than a bit is now, or begin in the midst of it. */
	if (vfio_min_pgsize(range->iommu) < BIT_ULL(range->shift))
		return -EINVAL;
	return 0;
}

static int snapshot(void *ctx, struct dirty_chunk *chunk)
{
	struct dirty_range *range = ctx;
	struct vfio_iommu *iommu = range->iommu;
	unsigned int order = range->shift - PAGE_SHIFT;
	struct vfio_dma *dma;
	int ret;

	mutex_lock(&iommu->lock);
	ret = snapshot_check(range);
	if (ret)
		goto out_unlock;
	dma = vfio_dma_first_in(iommu, range->first +
				(chunk->first << range->shift), range->last);
	if (!dma) {
		/* Nothing is mapped from here on. */
		dirty_chunk_hole(chunk, chunk->end - chunk->first);
		goto out_unlock;
	}
	snapshot_skip(range, dma, chunk);
	/* A number of leaves, whatever a bit stands for. */
	dirty_chunk_cut(chunk, max_t(unsigned int, DIRTY_CHUNK_BITS >> order, 64));
	if (chunk->nbits)
		snapshot_dmas(range, dma, chunk);
	trace_runs(range, chunk);
out_unlock:
	mutex_unlock(&iommu->lock);
	return ret;
}

/*
 * All that was written to a mapping by a group that has gone is reported, or
 * forgotten. Caller holds iommu->lock.
 */
static void dma_drop_all_dirty(struct dirty_range *range, struct vfio_dma *dma,
			       enum pin_drop which)
{
	if (which == PIN_DROP_ALL)
		dma->narrowed = range->iommu->narrowings;
	else if (dma->all_report == range->id)
		dma->narrowed = dma->all_narrowed;
}

/*
 * Drop records of a mapping, from @at on. What is empty then goes to @gone; if the mapping
 * has no pins, so does all that it retains. Return: false if that was all, else @at is
 * where to go on.
 */
static bool dma_drop(struct dirty_range *range, struct vfio_dma *dma,
		     dma_addr_t *at, enum pin_drop which,
		     struct pin_store *gone)
{
	u64 last = dma_page(dma, range->last), next;

	if (which == PIN_DROP_ALL && pin_store_detach(&dma->pins, gone)) {
		range->nr_dropped += gone->nr_retained;
		return false;
	}
	range->nr_dropped += pin_store_drop(&dma->pins, dma_page(dma, *at),
					    last, which, &next, gone);
	*at = dma->iova + (next << PAGE_SHIFT);
	return next <= last;
}

/*
 * Drop some records of a range from @at on: of some mappings that have none, or of
 * some leaves of one, or all of one, which are moved to @gone. Caller holds
 * iommu->lock.
 * Return: false if that was all, else @at is where to go on.
 */
static bool range_drop_some(struct dirty_range *range, dma_addr_t *at,
			    enum pin_drop which, struct pin_store *gone)
{
	unsigned int left = DMA_BATCH;
	struct vfio_dma *dma;

	dma = vfio_dma_first_in(range->iommu, *at, range->last);
	for (; dma; dma = vfio_dma_next_in(dma, range->last)) {
		bool empty = pin_store_is_empty(&dma->pins);

		if (!empty && dma_drop(range, dma, at, which, gone))
			return true;
		dma_drop_all_dirty(range, dma, which);
		if (vfio_dma_last(dma) >= range->last)
			return false;
		*at = vfio_dma_last(dma) + 1;
		if (!empty || !--left)
			return true;
	}
	return false;
}

/*
 * Drop records of a range, with the lock dropped now and then (R16). Memory is freed
 * without it: some frees take long, when many pages go back to the system at once.
 */
static int range_drop(struct dirty_range *range, enum pin_drop which)
{
	dma_addr_t at = range->first;
	struct pin_store gone;
	bool more;
	int ret;

	if (which == PIN_DROP_REPORTED && !range->records)
		return 0;
	do {
		pin_store_init(&gone);
		mutex_lock(&range->iommu->lock);
		ret = range->iommu->dead ? -ENODEV : 0;
		more = !ret && range_drop_some(range, &at, which, &gone);
		mutex_unlock(&range->iommu->lock);
		pin_store_destroy(&gone);
		cond_resched();
	} while (more);
	return ret;
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
