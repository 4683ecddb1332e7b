// SPDX-License-Identifier: GPL-2.0-only
/*
 * VFIO_IOMMU_DIRTY_PAGES: START, STOP, GET_BITMAP.
 *
 * Included by type1.c, after the kernel's hooked file.
 *
 * Locking: iommu->report_lock, then iommu->lock. report_lock is held for a whole
 * report, so that there is one at a time and tracking is not started or stopped
 * under it.
 */

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

	if (iommu->dead)
		return -ENODEV;
	if (!iommu->dirty_page_tracking || get->bitmap.pgsize != pgsize)
		return -EINVAL;
	if ((get->iova | get->size) & (pgsize - 1))
		return -EINVAL;
	return 0;
}

static int dirty_get(struct vfio_iommu *iommu,
		     const struct vfio_iommu_type1_dirty_bitmap_get *get)
{
	struct dirty_range range;
	int ret;

	if (!get->size)
		return -EINVAL;
	if (get->iova + get->size - 1 < get->iova)
		return TYPE1_ERANGE;
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
	/*
	 * It has reached user space: now its records can go (R3). A page that was
	 * written meanwhile has lost its mark, so its record stays.
	 */
	if (!ret)
		ret = range_drop(&range, PIN_DROP_REPORTED);
	range_trace(&range, false, ret);
out_unlock:
	mutex_unlock(&iommu->report_lock);
	return ret;
}

static int dirty_start(struct vfio_iommu *iommu)
{
	int ret = 0;

	mutex_lock(&iommu->lock);
	if (iommu->dead) {
		ret = -ENODEV;
	} else if (!iommu->dirty_page_tracking) {
		trace_vfio_dirty_start(iommu);
		iommu->dirty_page_tracking = true;
	}
	mutex_unlock(&iommu->lock);
	return ret;
}

/*
 * Nothing is retained once the flag is cleared, and report_lock keeps START away.
 * So all that was retained can be forgotten bit by bit (R7).
 */
static int dirty_stop(struct vfio_iommu *iommu)
{
	struct dirty_range all = { .iommu = iommu, .last = U64_MAX };

	mutex_lock(&iommu->lock);
	if (iommu->dirty_page_tracking)
		trace_vfio_dirty_stop(iommu);
	iommu->dirty_page_tracking = false;
	mutex_unlock(&iommu->lock);
	return range_drop(&all, PIN_DROP_ALL);
}

static int dirty_switch(struct vfio_iommu *iommu, bool start)
{
	int ret;

	if (mutex_lock_killable(&iommu->report_lock))
		return -EINTR;
	ret = start ? dirty_start(iommu) : dirty_stop(iommu);
	mutex_unlock(&iommu->report_lock);
	return ret;
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
