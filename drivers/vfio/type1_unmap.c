// SPDX-License-Identifier: GPL-2.0-only
/*
 * VFIO_IOMMU_UNMAP_DMA, with and without a dirty bitmap.
 *
 * Included by type1.c, after the kernel's hooked file.
 *
 * Nothing is removed before everything that can fail is done: drivers have
 * given back their pins (R15), and the report, where one is asked for, has
 * reached user space (R11).
 *
 * The report is written without iommu->lock. The first one is made while devices
 * go on, so that a bitmap that can't be written disturbs nobody. Then the range is
 * going: no page of it is pinned, read or written any more. What was dirtied until
 * then is in a second report, and nothing can be dirtied after that: so an UNMAP
 * ends whatever devices do, with two reports. (Each mapping or group that its user
 * adds meanwhile can cost one more.)
 *
 * Locking: report_lock for a report; map_lock while mappings are removed; then
 * iommu->lock, which is dropped after a limited number of mappings or leaves.
 */

/* How often drivers are asked for their pins before -EBUSY, ever more slowly. */
#define UNMAP_TRIES	10

/**
 * struct unmap_call - one call of VFIO_IOMMU_UNMAP_DMA
 * @iommu: the container
 * @range: what is to be unmapped; in iommu->going from the last try on
 * @flags: VFIO_DMA_UNMAP_FLAG_*
 * @bitmap: for the report
 * @report: the last report that was made for it; its @id is 0: none was
 * @unmapped: bytes that were unmapped
 */
struct unmap_call {
	struct vfio_iommu *iommu;
	struct iova_range range;
	u32 flags;
	struct vfio_bitmap bitmap;
	struct dirty_range report;
	u64 unmapped;
};

/* --- pins ---------------------------------------------------------------- */

/*
 * Ask all drivers to unpin the pages of a mapping. Drops iommu->lock, because
 * they call back; the mapping may be gone when it returns. device_list_lock is the
 * outer lock, so it is taken without iommu->lock (W18). It keeps the devices, and
 * the caller's reference keeps the container.
 */
static void vfio_dma_give_back(struct vfio_iommu *iommu, struct vfio_dma *dma)
{
	dma_addr_t iova = dma->iova;
	u64 size = dma->size;
	struct vfio_device *device;

	mutex_unlock(&iommu->lock);
	mutex_lock(&iommu->device_list_lock);
	list_for_each_entry(device, &iommu->device_list, iommu_entry)
		device->ops->dma_unmap(device, iova, size);
	mutex_unlock(&iommu->device_list_lock);
	mutex_lock(&iommu->lock);
}

/*
 * Ask for each mapping of the range that has pins, or for @all: a device that
 * uses vfio_dma_rw() has none. Return: were there pins?
 */
static bool unmap_ask(struct unmap_call *call, bool all)
{
	struct vfio_iommu *iommu = call->iommu;
	dma_addr_t at = call->range.first, last = call->range.last;
	unsigned int left = DMA_BATCH;
	struct vfio_dma *dma;
	bool pinned = false;

	dma = vfio_dma_first_in(iommu, at, last);
	while (dma) {
		bool ask = all || dma->pins.nr_pinned;

		pinned |= dma->pins.nr_pinned != 0;
		at = vfio_dma_last(dma);
		if (ask)
			vfio_dma_give_back(iommu, dma);
		else if (!--left)
			vfio_iommu_relock(iommu);
		if (at >= last)
			break;
		if (!ask && left) {
			dma = vfio_dma_next_in(dma, last);
			continue;
		}
		/* The lock was dropped. */
		left = DMA_BATCH;
		dma = vfio_dma_first_in(iommu, at + 1, last);
	}
	return pinned;
}

/*
 * Have all pins of a range that is going given back, or -EBUSY, never a BUG (W7,
 * R15). A driver may have pinned a page just before and not know it yet: it gets
 * time, a quarter of a second in all.
 */
static int unmap_quiesce(struct unmap_call *call, bool all)
{
	struct vfio_iommu *iommu = call->iommu;
	int tries;

	for (tries = 0; tries < UNMAP_TRIES; tries++) {
		if (tries > 1) {
			mutex_unlock(&iommu->lock);
			fsleep(USEC_PER_MSEC << (tries - 2));
			mutex_lock(&iommu->lock);
			if (fatal_signal_pending(current))
				return -EINTR;
		}
		if (!unmap_ask(call, all && !tries))
			return 0;
	}
	return -EBUSY;
}

/* --- checks -------------------------------------------------------------- */

/* A v2 range must not cut a mapping in two. */
static bool unmap_bisects(struct unmap_call *call)
{
	struct vfio_dma *dma;

	if (!call->iommu->v2 || call->flags & VFIO_DMA_UNMAP_FLAG_ALL)
		return false;
	dma = vfio_find_dma(call->iommu, call->range.first, 1);
	if (dma && dma->iova != call->range.first)
		return true;
	dma = vfio_find_dma(call->iommu, call->range.last, 1);
	return dma && vfio_dma_last(dma) != call->range.last;
}

/* Of a container that others can have changed since the lock was dropped. */
static int unmap_check(struct unmap_call *call)
{
	struct vfio_iommu *iommu = call->iommu;
	u64 pgsize = vfio_min_pgsize(iommu);

	if (iommu->dead)
		return -ENODEV;
	if ((call->flags & VFIO_DMA_UNMAP_FLAG_VADDR) &&
	    !list_empty(&iommu->emulated_iommu_groups))
		return -EBUSY;
	if (!(call->flags & VFIO_DMA_UNMAP_FLAG_ALL) &&
	    (call->range.first | (call->range.last + 1)) & (pgsize - 1))
		return -EINVAL;
	if ((call->flags & VFIO_DMA_UNMAP_FLAG_GET_DIRTY_BITMAP) &&
	    (!iommu->dirty_page_tracking || call->bitmap.pgsize != pgsize))
		return -EINVAL;
	return unmap_bisects(call) ? -EINVAL : 0;
}

/* --- the report ---------------------------------------------------------- */

/*
 * Has a mapping, from page @page on, something that the last report does not hold?
 * @next: where to go on, behind the last page if that was all.
 */
static bool dma_unreported(struct unmap_call *call, struct vfio_dma *dma,
			   u64 page, u64 *next)
{
	/* A group came that can have written all of it (R9). */
	if (dma_all_dirty(call->iommu, dma) &&
	    dma->all_report != call->report.id)
		return true;
	return pin_store_next_dirty(&dma->pins, page, dma_page(dma, U64_MAX),
				    PIN_UNREPORTED, next);
}

/*
 * Has the range something that its last report does not hold? Drops iommu->lock
 * now and then, but what was found clean stays so: the range is going, and caller
 * holds map_lock.
 */
static bool unmap_unreported(struct unmap_call *call)
{
	struct vfio_iommu *iommu = call->iommu;
	dma_addr_t at = call->range.first, last = call->range.last;
	unsigned int left = DMA_BATCH;
	struct vfio_dma *dma;

	while ((dma = vfio_dma_first_in(iommu, at, last))) {
		u64 next, end = dma_page(dma, U64_MAX) + 1;

		if (dma_unreported(call, dma, dma_page(dma, at), &next))
			return true;
		if (next == end && vfio_dma_last(dma) >= last)
			break;
		at = dma->iova + (next << PAGE_SHIFT);
		if (next != end || dma->pins.nr_retained || !--left) {
			left = DMA_BATCH;
			vfio_iommu_relock(iommu);
		}
	}
	return false;
}

/* Only a report that the user gets may say that it was good (set oracle). */
static void unmap_trace(struct unmap_call *call, int ret)
{
	if (call->report.id)
		range_trace(&call->report, true, ret);
	call->report.id = 0;
}

/* Drops iommu->lock. */
static int unmap_report(struct unmap_call *call)
{
	struct vfio_iommu *iommu = call->iommu;
	int ret;

	unmap_trace(call, -EAGAIN);
	range_init(&call->report, iommu, call->range.first,
		   call->range.last - call->range.first + 1,
		   call->bitmap.pgsize);
	mutex_unlock(&iommu->lock);
	ret = range_report(&call->report, call->bitmap.data);
	mutex_lock(&iommu->lock);
	return ret ? ret : unmap_check(call);
}

/* --- the end of the mappings --------------------------------------------- */

/* Caller holds iommu->lock, and may find that it was dropped. */
static void unmap_lock_maps(struct unmap_call *call)
{
	struct vfio_iommu *iommu = call->iommu;

	if (mutex_trylock(&iommu->map_lock))
		return;
	mutex_unlock(&iommu->lock);
	vfio_iommu_lock_maps(iommu);
}

/*
 * All that can fail. When it returns 0, map_lock is held: nothing in the range is
 * pinned, all of it is reported if it is to be, and it stays so.
 */
static int unmap_settle(struct unmap_call *call)
{
	bool wanted = call->flags & VFIO_DMA_UNMAP_FLAG_GET_DIRTY_BITMAP;
	bool again;
	int ret;

	ret = unmap_quiesce(call, wanted);
	while (!ret) {
		unmap_lock_maps(call);
		again = wanted && unmap_unreported(call);
		ret = unmap_check(call);
		if (!ret && !again)
			return 0;
		mutex_unlock(&call->iommu->map_lock);
		if (!ret)
			ret = unmap_report(call);
	}
	return ret;
}

/* With map_lock held, so nothing is added behind what was removed. */
static void unmap_remove(struct unmap_call *call)
{
	struct vfio_iommu *iommu = call->iommu;
	unsigned int left = DMA_BATCH;
	struct vfio_dma *dma;

	while ((dma = vfio_dma_first_in(iommu, call->range.first,
					call->range.last))) {
		/* v1: only a range that holds the start of a mapping. */
		if (dma->iova < call->range.first)
			break;
		call->unmapped += dma->size;
		vfio_remove_dma(iommu, dma);
		if (!--left) {
			left = DMA_BATCH;
			vfio_iommu_relock(iommu);
		}
	}
}

/* Unmap all of it, or nothing. Caller holds iommu->lock. */
static int unmap_memory(struct unmap_call *call)
{
	int ret = unmap_check(call);

	if (!ret && call->flags & VFIO_DMA_UNMAP_FLAG_GET_DIRTY_BITMAP) {
		/* So that what is pinned now needs no second report. */
		unmap_ask(call, false);
		ret = unmap_check(call);
		if (!ret)
			ret = unmap_report(call);
	}
	if (ret)
		return ret;

	list_add(&call->range.list, &call->iommu->going);
	ret = unmap_settle(call);
	if (!ret) {
		unmap_remove(call);
		mutex_unlock(&call->iommu->map_lock);
	}
	list_del(&call->range.list);
	return ret;
}

/* VFIO_UPDATE_VADDR: the mappings stay, their addresses go. */
static int unmap_vaddr(struct unmap_call *call)
{
	struct vfio_iommu *iommu = call->iommu;
	dma_addr_t first = call->range.first, last = call->range.last;
	int ret = unmap_check(call);
	struct vfio_dma *dma;

	if (ret)
		return ret;
	for (dma = vfio_dma_first_in(iommu, first, last); dma;
	     dma = vfio_dma_next_in(dma, last))
		if (dma->vaddr_invalid)
			return -EINVAL;
	for (dma = vfio_dma_first_in(iommu, first, last); dma;
	     dma = vfio_dma_next_in(dma, last)) {
		/* v1: only a range that holds the start of a mapping. */
		if (dma->iova < first)
			break;
		dma->vaddr_invalid = true;
		iommu->vaddr_invalid_count++;
		call->unmapped += dma->size;
	}
	return 0;
}

static int unmap_run(struct unmap_call *call)
{
	bool report = call->flags & VFIO_DMA_UNMAP_FLAG_GET_DIRTY_BITMAP;
	struct vfio_iommu *iommu = call->iommu;
	int ret;

	if (report && mutex_lock_killable(&iommu->report_lock))
		return -EINTR;
	mutex_lock(&iommu->lock);
	if (call->flags & VFIO_DMA_UNMAP_FLAG_VADDR)
		ret = unmap_vaddr(call);
	else
		ret = unmap_memory(call);
	vfio_iommu_unlock(iommu);
	if (report)
		mutex_unlock(&iommu->report_lock);
	return ret;
}

/* Can there be such a range? */
static int unmap_check_range(const struct vfio_iommu_type1_dma_unmap *unmap)
{
	if (unmap->flags & VFIO_DMA_UNMAP_FLAG_ALL)
		return 0;
	if ((unmap->iova | unmap->size) & (PAGE_SIZE - 1))
		return -EINVAL;
	if (unmap->size > SIZE_MAX ||
	    unmap->iova + unmap->size - 1 < unmap->iova)
		return TYPE1_ERANGE;
	return 0;
}

static int unmap_parse(struct unmap_call *call, unsigned long arg,
		       const struct vfio_iommu_type1_dma_unmap *unmap)
{
	const size_t minsz = offsetofend(struct vfio_iommu_type1_dma_unmap,
					 size);
	const u32 exclusive = VFIO_DMA_UNMAP_FLAG_ALL |
			      VFIO_DMA_UNMAP_FLAG_VADDR;
	bool all = unmap->flags & VFIO_DMA_UNMAP_FLAG_ALL;
	int ret;

	if (unmap->argsz < minsz ||
	    unmap->flags & ~(exclusive | VFIO_DMA_UNMAP_FLAG_GET_DIRTY_BITMAP))
		return -EINVAL;
	if (all ? unmap->iova || unmap->size : !unmap->size)
		return -EINVAL;
	call->flags = unmap->flags;
	call->range.first = unmap->iova;
	call->range.last = unmap->iova + unmap->size - 1;

	if (!(unmap->flags & VFIO_DMA_UNMAP_FLAG_GET_DIRTY_BITMAP))
		return unmap_check_range(unmap);
	if (unmap->flags & exclusive ||
	    unmap->argsz < minsz + sizeof(call->bitmap))
		return -EINVAL;
	if (copy_from_user(&call->bitmap, (void __user *)(arg + minsz),
			   sizeof(call->bitmap)))
		return -EFAULT;
	ret = bitmap_check(&call->bitmap, unmap->size);
	return ret ? ret : unmap_check_range(unmap);
}

static int vfio_iommu_type1_unmap_dma(struct vfio_iommu *iommu,
				      unsigned long arg)
{
	const size_t minsz = offsetofend(struct vfio_iommu_type1_dma_unmap,
					 size);
	struct unmap_call call = { .iommu = iommu };
	struct vfio_iommu_type1_dma_unmap unmap;
	int ret;

	if (copy_from_user(&unmap, (void __user *)arg, minsz))
		return -EFAULT;
	ret = unmap_parse(&call, arg, &unmap);
	if (ret)
		return ret;
	/* Can the answer be given? Found out before anything is removed. */
	if (copy_to_user((void __user *)arg, &unmap, minsz))
		return -EFAULT;

	ret = unmap_run(&call);
	/* After an error, nothing is unmapped, and the argument is as it was. */
	if (!ret) {
		unmap.size = call.unmapped;
		if (copy_to_user((void __user *)arg, &unmap, minsz))
			ret = -EFAULT;
	}
	unmap_trace(&call, ret);
	return ret;
}
