// SPDX-License-Identifier: GPL-2.0-only
/*
 * A call of vfio_pin_pages(): of a single page, by a short cut, or of any number
 * (type1_pin.c).
 *
 * Included by type1.c, after the kernel's hooked file.
 *
 * A page is pinned in about 500 instructions by pin_user_pages_fast(), and that is
 * most of what a call for a single page costs. So there is pin_page().
 */

/* The mapping of a page that can be pinned and is not pinned, or NULL. */
static struct vfio_dma *page_find(struct vfio_iommu *iommu, dma_addr_t iova,
				  int prot, u64 generation)
{
	struct vfio_dma *dma = vfio_find_dma_to_use(iommu, iova);

	if (!dma || dma->generation > generation ||
	    (dma->prot & prot) != prot || vfio_dma_pinned(dma, iova, 1))
		return NULL;
	return dma;
}

/* Record the pin of a page that was got, and counts as locked memory if @locked. */
static bool page_record(struct vfio_iommu *iommu, dma_addr_t iova, int prot,
			u64 generation, bool locked, struct page *page)
{
	struct vfio_dma *dma = page_find(iommu, iova, prot, generation);

	if (!dma || locked != pins_count(iommu) ||
	    !pin_store_pin(&dma->pins, (iova - dma->iova) >> PAGE_SHIFT, 1,
			   page_to_pfn(page), prot & IOMMU_WRITE,
			   iommu->dirty_page_tracking))
		return false;
	dma->locked_vm += locked;
	return true;
}

/*
 * Pin one page of the caller's own memory, which is not pinned: without loops, and
 * with no structure on the stack, since a device with a ring does just that.
 * Return: whether it is done. If not, nothing has changed, and pin_range() will do it
 * or tell why not; @generation is of the newest mapping when the call began.
 */
static bool pin_page(struct vfio_iommu *iommu, struct iommu_group *group,
		     dma_addr_t iova, int prot, struct page **page,
		     u64 *generation)
{
	unsigned int flags = FOLL_LONGTERM;
	struct vfio_owner *owner = NULL;
	unsigned long vaddr, limit;
	struct vfio_dma *dma;
	bool locked, done;

	mutex_lock(&iommu->lock);
	*generation = iommu->generation;
	locked = pins_count(iommu);
	dma = page_find(iommu, iova, prot, *generation);
	if (dma && dma->mm == current->mm && !iommu->vaddr_invalid_count &&
	    !list_empty(&iommu->device_list))
		owner = owner_get(iommu, dma->mm);
	if (owner) {
		vaddr = dma->vaddr + (iova - dma->iova);
		limit = dma_limit(dma);
		flags |= dma->prot & IOMMU_WRITE ? FOLL_WRITE : 0;
	}
	mutex_unlock(&iommu->lock);
	if (!owner || current->flags & PF_KTHREAD)
		return false;

	flags |= wait_flags();
	if (pin_user_pages_fast(vaddr, 1, flags, page) != 1)
		return false;
	if (PageReserved(*page) || (locked && owner_charge(owner, 1, limit))) {
		unpin_user_page(*page);
		return false;
	}
	mutex_lock(&iommu->lock);
	done = page_record(iommu, iova, prot, *generation, locked, *page);
	if (done)
		vfio_group_pins(iommu, group);
	mutex_unlock(&iommu->lock);
	if (done)
		return true;
	if (locked)
		owner_uncharge(owner, 1);
	unpin_user_page(*page);
	return false;
}

/*
 * The device is open, so its group, and with it the container, stays until this
 * returns. The driver must not close it before.
 */
static int vfio_iommu_type1_pin_pages(void *iommu_data,
				      struct iommu_group *iommu_group,
				      dma_addr_t user_iova,
				      int npage, int prot,
				      struct page **pages)
{
	struct vfio_iommu *iommu = iommu_data;
	dma_addr_t iova = user_iova & PAGE_MASK;
	u64 generation = 0;

	if (!iommu || !pages || npage > (int)VFIO_PIN_PAGES_MAX_ENTRIES)
		return -EINVAL;
	if (!iommu->v2)
		return -EACCES;
	/* The last byte, not the end: the range may end with the address space. */
	if (iova + ((dma_addr_t)npage << PAGE_SHIFT) - 1 < iova)
		return TYPE1_ERANGE;

	if (npage == 1 && pin_page(iommu, iommu_group, iova, prot, pages,
				   &generation))
		return 1;
	return pin_range(iommu, iommu_group, iova, npage, prot, pages,
			 generation);
}
