// SPDX-License-Identifier: GPL-2.0-only
/*
 * vfio_dma_rw(): a driver reads or writes the user's memory without a pin.
 *
 * Included by type1.c, after the kernel's hooked file.
 *
 * Memory is copied under iommu->lock, so that an UNMAP that has returned is seen by
 * no copy, and without faults, so that nobody waits for user memory under it (R16).
 * Where the copy stops, the page is faulted in without the lock, and everything is
 * looked up anew.
 */

/* The most that is copied in one hold of the lock. */
#define RW_CHUNK	SZ_64K

/*
 * How often a page is faulted in, and has gone when it is to be copied, before the
 * call fails: user space that takes it away again and again can't keep us here.
 */
#define RW_TRIES	64

/**
 * struct rw_call - a call of vfio_dma_rw()
 * @iommu: the container
 * @iova: of the next byte
 * @data: the next byte of the driver's memory
 * @count: bytes left
 * @write: user memory is written
 * @mm: of the next byte; a reference to its users is held
 * @user: address of the next byte in @mm
 */
struct rw_call {
	struct vfio_iommu *iommu;
	dma_addr_t iova;
	void *data;
	size_t count;
	bool write;
	struct mm_struct *mm;
	unsigned long user;
};

/*
 * Record a write before it is done (R10): one that faults half way has
 * written something, and nobody knows how much.
 */
static int rw_record(struct rw_call *call, struct vfio_dma *dma, size_t n)
{
	size_t offset = call->iova - dma->iova;
	struct vfio_charge charge;
	int ret;

	if (!call->write || !call->iommu->dirty_page_tracking)
		return 0;
	vfio_charge_begin(&charge, dma->mm);
	ret = pin_store_retain(&dma->pins, offset >> PAGE_SHIFT,
			       (offset + n - 1) >> PAGE_SHIFT);
	vfio_charge_end(&charge);
	return ret;
}

/* Copy what needs no fault, with the mapping's mm in use. Return: bytes copied. */
static size_t rw_copy(struct rw_call *call, size_t n)
{
	void __user *user = (void __user *)call->user;
	unsigned long left;

	pagefault_disable();
	if (call->write)
		left = copy_to_user(user, call->data, n);
	else
		left = copy_from_user(call->data, user, n);
	pagefault_enable();
	return n - left;
}

/* Bring the next byte's page in: waits, without a lock, with the mm in use. */
static int rw_fault_in(struct rw_call *call)
{
	char __user *user = (char __user *)call->user;
	size_t left;

	if (call->write)
		left = fault_in_safe_writeable(user, 1);
	else
		left = fault_in_readable(user, 1);
	return left ? -EFAULT : 0;
}

/* Look up the mapping of the next byte, and take a reference to its mm. */
static struct vfio_dma *rw_find(struct rw_call *call)
{
	struct vfio_dma *dma;

	if (call->iommu->vaddr_invalid_count)
		return ERR_PTR(-EBUSY);
	dma = vfio_find_dma_to_use(call->iommu, call->iova);
	if (!dma)
		return ERR_PTR(-EINVAL);
	if (!(dma->prot & IOMMU_READ) ||
	    (call->write && !(dma->prot & IOMMU_WRITE)))
		return ERR_PTR(-EPERM);
	if (!mmget_not_zero(dma->mm))
		return ERR_PTR(-EPERM);
	call->mm = dma->mm;
	call->user = dma->vaddr + (call->iova - dma->iova);
	return dma;
}

/*
 * Copy the next bytes, as many as come without a fault. Caller holds iommu->lock.
 * Return: how many, or an error.
 */
static long rw_chunk(struct rw_call *call)
{
	struct vfio_dma *dma = rw_find(call);
	bool kthread = !current->mm;
	size_t n;
	int ret;

	if (IS_ERR(dma))
		return PTR_ERR(dma);
	if (!kthread && current->mm != call->mm)
		return -EFAULT;
	n = min3(call->count, (size_t)RW_CHUNK,
		 (size_t)(dma->size - (call->iova - dma->iova)));
	ret = rw_record(call, dma, n);
	if (ret)
		return ret;
	if (kthread)
		kthread_use_mm(call->mm);
	n = rw_copy(call, n);
	if (kthread)
		kthread_unuse_mm(call->mm);
	call->iova += n;
	call->data += n;
	call->count -= n;
	call->user += n;
	return n;
}

/* The same for a page that has to be faulted in first. */
static int rw_wait(struct rw_call *call)
{
	bool kthread = !current->mm;
	int ret;

	if (kthread)
		kthread_use_mm(call->mm);
	ret = rw_fault_in(call);
	if (kthread)
		kthread_unuse_mm(call->mm);
	return ret;
}

static int rw_some(struct rw_call *call, int *tries)
{
	long done;
	int ret;

	call->mm = NULL;
	mutex_lock(&call->iommu->lock);
	done = rw_chunk(call);
	mutex_unlock(&call->iommu->lock);
	ret = min(done, 0L);
	if (done > 0)
		*tries = 0;
	else if (!ret)
		ret = ++*tries > RW_TRIES ? -EFAULT : rw_wait(call);
	if (call->mm)
		mmput_async(call->mm);
	return ret;
}

static int vfio_iommu_type1_dma_rw(void *iommu_data, dma_addr_t user_iova,
				   void *data, size_t count, bool write)
{
	struct rw_call call = {
		.iommu = iommu_data, .iova = user_iova, .data = data,
		.count = count, .write = write,
	};
	int ret = 0, tries = 0;

	/* The range may end with the address space, but not go on at its begin. */
	if (count && user_iova + count - 1 < user_iova)
		return -EINVAL;

	while (!ret && call.count) {
		ret = rw_some(&call, &tries);
		cond_resched();
	}
	return ret;
}
