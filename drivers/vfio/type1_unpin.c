// SPDX-License-Identifier: GPL-2.0-only
/*
 * Unpinning for mediated devices, in batches. It never allocates, fails, or waits for
 * user memory (R14, R16). Functions run under iommu->lock, unless they say otherwise.
 *
 * Included by type1.c, after the kernel's hooked file.
 */

/*
 * Release @n pages of a folio, from @page on. It is usually dirty already: then its
 * lock is not needed. Return: how many counted as locked memory, all or none.
 */
static inline long folio_put_pages(struct vfio_dma *dma, struct folio *folio,
				   struct page *page, unsigned long n)
{
	if (PageReserved(page))
		return 0;
	if (!(dma->prot & IOMMU_WRITE) || folio_test_dirty(folio))
		unpin_user_folio(folio, n);
	else
		unpin_user_page_range_dirty_lock(page, n, true);
	return n;
}

/* Release frames of a mapping. Return: how many counted as locked memory. */
static long frames_put(struct vfio_dma *dma, unsigned long pfn, unsigned long n)
{
	struct page *page = pfn_to_page(pfn);
	long locked = 0;

	for (;;) {
		struct folio *folio = page_folio(page);
		unsigned long step = pages_of_folio(folio, page, n);

		locked += folio_put_pages(dma, folio, page, step);
		n -= step;
		if (!n)
			return locked;
		pfn += step;
		page = pfn_to_page(pfn);
	}
}

/*
 * Undo one pin of pages of a mapping; one that is not pinned is left alone (R6).
 * Return: how many pages that counted as locked memory are not pinned any more.
 */
static long dma_unpin(struct vfio_dma *dma, u64 first, u64 last, bool retain)
{
	struct pin_frames frames[PIN_STORE_FRAMES];
	unsigned int nr, i;
	long unlocked = 0;

	do {
		first = pin_store_unpin(&dma->pins, first, last, retain, frames,
					&nr);
		for (i = 0; i < nr; i++)
			unlocked += frames_put(dma, frames[i].pfn, frames[i].n);
	} while (first <= last);
	return unlocked;
}

/* How many of @npage pages at @iova, which is in a mapping, are in the mapping. */
static int pages_in_dma(const struct vfio_dma *dma, dma_addr_t iova, int npage)
{
	u64 left = (dma->iova + dma->size - iova) >> PAGE_SHIFT;

	return min_t(u64, npage, left);
}

/* Undo one pin of each page of a range, and the accounting of it. */
static void unpin_range(struct vfio_iommu *iommu, dma_addr_t iova, int npage,
			bool retain)
{
	while (npage > 0) {
		struct vfio_dma *dma = vfio_find_dma(iommu, iova, PAGE_SIZE);
		int n = 1;

		if (dma) {
			u64 first = (iova - dma->iova) >> PAGE_SHIFT;
			long unlocked;

			n = pages_in_dma(dma, iova, npage);
			unlocked = dma_unpin(dma, first, first + n - 1, retain);
			if (unlocked && list_empty(&iommu->domain_list))
				dma_uncharge(iommu, dma, unlocked);
		}
		iova += (dma_addr_t)n << PAGE_SHIFT;
		npage -= n;
	}
}

/* The same for one page, without loops: a device with a ring does just that. */
static void unpin_page(struct vfio_iommu *iommu, dma_addr_t iova, bool retain)
{
	struct vfio_dma *dma = vfio_find_dma(iommu, iova, 1);
	unsigned long pfn;
	struct page *page;

	if (!dma)
		return;
	pfn = pin_store_unpin_page(&dma->pins,
				   (iova - dma->iova) >> PAGE_SHIFT, retain);
	if (pfn == PIN_STORE_NO_FRAME)
		return;
	page = pfn_to_page(pfn);
	if (folio_put_pages(dma, page_folio(page), page, 1) &&
	    list_empty(&iommu->domain_list))
		dma_uncharge(iommu, dma, 1);
}

static void unpin_pages(struct vfio_iommu *iommu, dma_addr_t iova, int npage)
{
	bool retain;

	mutex_lock(&iommu->lock);
	retain = iommu->dirty_page_tracking;
	if (npage == 1)
		unpin_page(iommu, iova, retain);
	else
		unpin_range(iommu, iova, npage, retain);
	mutex_unlock(&iommu->lock);
}

/* So many pages in one hold of the lock: 100 us, if each is a folio of its own. */
#define UNPIN_BATCH	256

/* What is pinned still when the lock is dropped keeps its mapping. */
static void vfio_iommu_type1_unpin_pages(void *iommu_data,
					 dma_addr_t user_iova, int npage)
{
	struct vfio_iommu *iommu = iommu_data;
	dma_addr_t iova = user_iova & PAGE_MASK;

	if (!iommu->v2)
		return;
	for (; npage > UNPIN_BATCH; npage -= UNPIN_BATCH) {
		unpin_pages(iommu, iova, UNPIN_BATCH);
		iova += (dma_addr_t)UNPIN_BATCH << PAGE_SHIFT;
	}
	unpin_pages(iommu, iova, npage);
}

/*
 * The records of a mapping that is gone. Pins that are left were leaked by a driver
 * whose device is closed by now: the memory goes back to its owner (R15). Runs
 * without iommu->lock, for there can be many.
 */
static void vfio_dma_drop_pins(struct vfio_dma *dma)
{
	u64 page = 0, last = dma_page(dma, U64_MAX);
	struct pin_row row;
	long unlocked = 0;

	if (dma->pins.nr_pinned)
		pr_warn_ratelimited("a driver left %llu pages pinned\n",
				    dma->pins.nr_pinned);
	while (dma->pins.nr_pinned && page <= last &&
	       pin_store_next_pinned(&dma->pins, page, last, &row)) {
		unlocked += frames_put(dma, row.pfn, row.n);
		page = row.page + row.n;
	}
	pin_store_destroy(&dma->pins);
	dma_uncharge_left(dma, unlocked);
}
