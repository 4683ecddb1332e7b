// SPDX-License-Identifier: GPL-2.0-only
/*
 * vfio_dma_rw(): a driver reads or writes the user's memory without a pin.
 *
 * Included by the hooked vfio_iommu_type1.c. Runs under iommu->lock.
 */

/* A chunk is at most that long, so that what it reserves stays small. */
#define RW_CHUNK	SZ_2M

/*
 * Record a write before it is done (R10): one that faults half way has
 * written something, and nobody knows how much.
 */
static int rw_record(struct vfio_iommu *iommu, struct vfio_dma *dma,
		     size_t offset, size_t count)
{
	u64 first = offset >> PAGE_SHIFT;
	u64 last = (offset + count - 1) >> PAGE_SHIFT;

	if (!iommu->dirty_page_tracking)
		return 0;
	return pin_store_retain(&dma->pins, first, last);
}

/* Copy with the mapping's mm in use. */
static int rw_copy(struct vfio_dma *dma, size_t offset, void *data,
		   size_t count, bool write)
{
	void __user *user = (void __user *)(dma->vaddr + offset);
	unsigned long left;

	if (write)
		left = copy_to_user(user, data, count);
	else
		left = copy_from_user(data, user, count);
	return left ? -EFAULT : 0;
}

static int rw_chunk(struct vfio_iommu *iommu, struct vfio_dma *dma,
		    size_t offset, void *data, size_t count, bool write)
{
	bool kthread = !current->mm;
	int ret;

	if (!(dma->prot & IOMMU_READ) || (write && !(dma->prot & IOMMU_WRITE)))
		return -EPERM;
	if (!mmget_not_zero(dma->mm))
		return -EPERM;

	ret = -EFAULT;
	if (!kthread && current->mm != dma->mm)
		goto out_mm;
	ret = write ? rw_record(iommu, dma, offset, count) : 0;
	if (ret)
		goto out_mm;

	if (kthread)
		kthread_use_mm(dma->mm);
	ret = rw_copy(dma, offset, data, count, write);
	if (kthread)
		kthread_unuse_mm(dma->mm);
out_mm:
	mmput(dma->mm);
	return ret;
}

static int vfio_iommu_type1_dma_rw(void *iommu_data, dma_addr_t user_iova,
				   void *data, size_t count, bool write)
{
	struct vfio_iommu *iommu = iommu_data;
	int ret = 0;

	/* The range may end with the address space, but not go on at its begin. */
	if (count && user_iova + count - 1 < user_iova)
		return -EINVAL;

	mutex_lock(&iommu->lock);
	if (iommu->vaddr_invalid_count)
		ret = -EBUSY;

	while (!ret && count) {
		struct vfio_dma *dma = vfio_find_dma_to_use(iommu, user_iova);
		size_t offset, n;

		if (!dma) {
			ret = -EINVAL;
			break;
		}
		offset = user_iova - dma->iova;
		n = min3(count, dma->size - offset, (size_t)RW_CHUNK);
		ret = rw_chunk(iommu, dma, offset, data, n, write);
		count -= n;
		data += n;
		user_iova += n;
	}
	mutex_unlock(&iommu->lock);
	return ret;
}
