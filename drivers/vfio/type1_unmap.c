// SPDX-License-Identifier: GPL-2.0-only
/*
 * VFIO_IOMMU_UNMAP_DMA, with and without a dirty bitmap.
 *
 * Included by the hooked vfio_iommu_type1.c.
 *
 * Nothing is removed before everything that can fail is done: drivers have
 * given back their pins (R15), and the report, where one is asked for, has
 * reached user space (R11). The report is written without iommu->lock, so it is
 * written again if a device dirtied pages of the range meanwhile.
 */

/* How often drivers are asked, and a report is repeated, before -EBUSY. */
#define UNMAP_TRIES	10

/**
 * struct unmap_call - one call of VFIO_IOMMU_UNMAP_DMA
 * @iommu: the container
 * @first: first IOVA
 * @last: last IOVA
 * @flags: VFIO_DMA_UNMAP_FLAG_*
 * @bitmap: for the report
 * @report: number of the last report that was made for it
 */
struct unmap_call {
	struct vfio_iommu *iommu;
	dma_addr_t first;
	dma_addr_t last;
	u32 flags;
	struct vfio_bitmap bitmap;
	u64 report;
};

/*
 * Ask all drivers to unpin the pages of a mapping. Drops iommu->lock, because
 * they call back; the mapping may be gone when it returns. device_list_lock is
 * taken without iommu->lock: it comes before it (W18).
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

static struct vfio_dma *pinned_dma_in(struct vfio_iommu *iommu,
				      dma_addr_t first, dma_addr_t last)
{
	struct vfio_dma *dma;

	for (dma = vfio_dma_first_in(iommu, first, last); dma;
	     dma = vfio_dma_next_in(dma, last))
		if (dma->pins.nr_pinned)
			return dma;
	return NULL;
}

/* Ask for each mapping of the range that has pins. Return: were there any? */
static bool unmap_ask(struct unmap_call *call)
{
	dma_addr_t at = call->first;
	struct vfio_dma *dma;
	bool asked = false;

	while ((dma = pinned_dma_in(call->iommu, at, call->last))) {
		at = vfio_dma_last(dma);
		vfio_dma_give_back(call->iommu, dma);
		asked = true;
		if (at++ == call->last)
			break;
	}
	return asked;
}

/* Have all pins of the range given back, or -EBUSY, never a BUG (W7, R15). */
static int unmap_quiesce(struct unmap_call *call)
{
	int tries;

	for (tries = 0; tries < UNMAP_TRIES; tries++)
		if (!unmap_ask(call))
			return 0;
	return -EBUSY;
}

/* A v2 range must not cut a mapping in two. */
static bool unmap_bisects(struct unmap_call *call)
{
	struct vfio_dma *dma;

	if (!call->iommu->v2 || call->flags & VFIO_DMA_UNMAP_FLAG_ALL)
		return false;
	dma = vfio_find_dma(call->iommu, call->first, 1);
	if (dma && dma->iova != call->first)
		return true;
	dma = vfio_dma_first_in(call->iommu, call->last, call->last);
	return dma && vfio_dma_last(dma) != call->last;
}

static int unmap_check(struct unmap_call *call)
{
	struct vfio_iommu *iommu = call->iommu;
	u64 pgsize = vfio_min_pgsize(iommu);

	if ((call->flags & VFIO_DMA_UNMAP_FLAG_VADDR) &&
	    !list_empty(&iommu->emulated_iommu_groups))
		return -EBUSY;
	if (!(call->flags & VFIO_DMA_UNMAP_FLAG_ALL) &&
	    (call->first | (call->last + 1)) & (pgsize - 1))
		return -EINVAL;
	if ((call->flags & VFIO_DMA_UNMAP_FLAG_GET_DIRTY_BITMAP) &&
	    (!iommu->dirty_page_tracking || call->bitmap.pgsize != pgsize))
		return -EINVAL;
	return unmap_bisects(call) ? -EINVAL : 0;
}

/*
 * Has the range something that its last report does not hold? Pages that a
 * device dirtied, or a group that came and can have written all of it (R9).
 */
static bool unmap_unreported(struct unmap_call *call)
{
	struct vfio_dma *dma;

	for (dma = vfio_dma_first_in(call->iommu, call->first, call->last);
	     dma; dma = vfio_dma_next_in(dma, call->last)) {
		u64 last = dma_page(dma, U64_MAX);

		if (dma_all_dirty(call->iommu, dma) &&
		    dma->all_report != call->report)
			return true;
		if (pin_store_next_dirty(&dma->pins, 0, last,
					 PIN_UNREPORTED) <= last)
			return true;
	}
	return false;
}

static int unmap_report(struct unmap_call *call)
{
	struct vfio_iommu *iommu = call->iommu;
	struct dirty_range range;
	int ret;

	range_init(&range, iommu, call->first, call->last - call->first + 1,
		   call->bitmap.pgsize);
	call->report = range.id;
	mutex_unlock(&iommu->lock);
	ret = range_report(&range, call->bitmap.data);
	range_trace(&range, true, ret);
	mutex_lock(&iommu->lock);
	return ret;
}

/*
 * All that can fail. When it returns 0, nothing in the range is pinned, and all
 * of it is reported, and it stays so while iommu->lock is held.
 */
static int unmap_prepare(struct unmap_call *call)
{
	bool wanted = call->flags & VFIO_DMA_UNMAP_FLAG_GET_DIRTY_BITMAP;
	int tries, ret;

	for (tries = 0; tries < UNMAP_TRIES; tries++) {
		ret = unmap_check(call);
		if (!ret)
			ret = unmap_quiesce(call);
		/* Asking dropped the lock: look again. */
		if (!ret)
			ret = unmap_check(call);
		if (ret)
			return ret;
		if (!wanted || (tries && !unmap_unreported(call)))
			return 0;
		ret = unmap_report(call);
		if (ret)
			return ret;
	}
	return -EBUSY;
}

/* Return: bytes that were unmapped. */
static u64 unmap_remove(struct unmap_call *call)
{
	struct vfio_iommu *iommu = call->iommu;
	struct vfio_dma *dma;
	u64 unmapped = 0;

	while ((dma = vfio_dma_first_in(iommu, call->first, call->last))) {
		/* v1: only a range that holds the begin of a mapping. */
		if (dma->iova < call->first)
			break;
		unmapped += dma->size;
		vfio_remove_dma(iommu, dma);
	}
	return unmapped;
}

/* VFIO_UPDATE_VADDR: the mappings stay, their addresses go. */
static int unmap_vaddr(struct unmap_call *call, u64 *unmapped)
{
	struct vfio_iommu *iommu = call->iommu;
	struct vfio_dma *dma;

	for (dma = vfio_dma_first_in(iommu, call->first, call->last); dma;
	     dma = vfio_dma_next_in(dma, call->last))
		if (dma->vaddr_invalid)
			return -EINVAL;
	for (dma = vfio_dma_first_in(iommu, call->first, call->last); dma;
	     dma = vfio_dma_next_in(dma, call->last)) {
		/* v1: only a range that holds the begin of a mapping. */
		if (dma->iova < call->first)
			break;
		dma->vaddr_invalid = true;
		iommu->vaddr_invalid_count++;
		*unmapped += dma->size;
	}
	return 0;
}

static int unmap_locked(struct unmap_call *call, u64 *unmapped)
{
	int ret;

	mutex_lock(&call->iommu->lock);
	if (call->flags & VFIO_DMA_UNMAP_FLAG_VADDR) {
		ret = unmap_check(call);
		if (!ret)
			ret = unmap_vaddr(call, unmapped);
	} else {
		ret = unmap_prepare(call);
		if (!ret)
			*unmapped = unmap_remove(call);
	}
	mutex_unlock(&call->iommu->lock);
	return ret;
}

static int unmap_run(struct unmap_call *call, u64 *unmapped)
{
	struct vfio_iommu *iommu = call->iommu;
	int ret;

	if (!(call->flags & VFIO_DMA_UNMAP_FLAG_GET_DIRTY_BITMAP))
		return unmap_locked(call, unmapped);

	if (mutex_lock_killable(&iommu->report_lock))
		return -EINTR;
	ret = unmap_locked(call, unmapped);
	mutex_unlock(&iommu->report_lock);
	return ret;
}

static int unmap_parse(struct unmap_call *call, unsigned long arg,
		       const struct vfio_iommu_type1_dma_unmap *unmap)
{
	const size_t minsz = offsetofend(struct vfio_iommu_type1_dma_unmap,
					 size);
	const u32 exclusive = VFIO_DMA_UNMAP_FLAG_ALL |
			      VFIO_DMA_UNMAP_FLAG_VADDR;
	bool all = unmap->flags & VFIO_DMA_UNMAP_FLAG_ALL;

	if (unmap->argsz < minsz ||
	    unmap->flags & ~(exclusive | VFIO_DMA_UNMAP_FLAG_GET_DIRTY_BITMAP))
		return -EINVAL;
	if (all ? unmap->iova || unmap->size :
		  !unmap->size || unmap->size > SIZE_MAX ||
		  unmap->iova + unmap->size - 1 < unmap->iova)
		return -EINVAL;
	call->flags = unmap->flags;
	call->first = unmap->iova;
	call->last = unmap->iova + unmap->size - 1;

	if (!(unmap->flags & VFIO_DMA_UNMAP_FLAG_GET_DIRTY_BITMAP))
		return 0;
	if (unmap->flags & exclusive ||
	    unmap->argsz < minsz + sizeof(call->bitmap))
		return -EINVAL;
	if (copy_from_user(&call->bitmap, (void __user *)(arg + minsz),
			   sizeof(call->bitmap)))
		return -EFAULT;
	return bitmap_check(&call->bitmap, unmap->size);
}

static int vfio_iommu_type1_unmap_dma(struct vfio_iommu *iommu,
				      unsigned long arg)
{
	const size_t minsz = offsetofend(struct vfio_iommu_type1_dma_unmap,
					 size);
	struct unmap_call call = { .iommu = iommu };
	struct vfio_iommu_type1_dma_unmap unmap;
	u64 unmapped = 0;
	int ret;

	if (copy_from_user(&unmap, (void __user *)arg, minsz))
		return -EFAULT;
	ret = unmap_parse(&call, arg, &unmap);
	if (ret)
		return ret;
	/* Can the answer be given? Found out before anything is removed. */
	if (copy_to_user((void __user *)arg, &unmap, minsz))
		return -EFAULT;

	ret = unmap_run(&call, &unmapped);
	if (ret == -EINVAL)
		return ret;
	/* Also an error says what was unmapped: nothing (R11, W6). */
	unmap.size = unmapped;
	if (copy_to_user((void __user *)arg, &unmap, minsz) && !ret)
		ret = -EFAULT;
	return ret;
}
