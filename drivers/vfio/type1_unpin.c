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

/*
 * Release frames of a mapping; @left goes down by the number of their folios. Return: how
 * many counted as locked memory.
 */
static long frames_put(struct vfio_dma *dma, unsigned long pfn, unsigned long n,
		       int *left)
{
	struct page *page = pfn_to_page(pfn);
	long locked = 0;

	for (;;) {
		struct folio *folio = page_folio(page);
		unsigned long step = pages_of_folio(folio, page, n);

		locked += folio_put_pages(dma, folio, page, step);
		--*left;
		n -= step;
		if (!n)
			return locked;
		pfn += step;
		page = pfn_to_page(pfn);
	}
}

/* How many of @npage pages at @iova, which is in a mapping, are in the mapping. */
static int pages_in_dma(const struct vfio_dma *dma, dma_addr_t iova, int npage)
{
	u64 left = (dma->iova + dma->size - iova) >> PAGE_SHIFT;

	return min_t(u64, npage, left);
}

/*
 * What one hold of the lock may cost, in folios that are released: 50 us, and half as much
 * again, because leaves are done as a whole. A huge page is one folio, so a hold can have
 * all pages of a call. To look up a mapping costs as much as some folios.
 */
#define UNPIN_FOLIOS	128
#define UNPIN_MAPPING	4

/*
 * Undo one pin of pages of a mapping, until @left is used up; a page that is not pinned
 * is left alone (R6). @unlocked goes up by the pages that counted as locked memory and
 * are not pinned any more. Return: the page to go on with.
 */
static u64 dma_unpin(struct vfio_dma *dma, u64 first, u64 last, bool retain,
		     int *left, long *unlocked)
{
	struct pin_frames frames[PIN_STORE_FRAMES];
	unsigned int nr, i;

	while (first <= last && *left > 0) {
		u64 end = (first + *left - 1) | (PIN_STORE_PART - 1);

		first = pin_store_unpin(&dma->pins, first, min(end, last),
					retain, frames, &nr);
		for (i = 0; i < nr; i++)
			*unlocked += frames_put(dma, frames[i].pfn, frames[i].n,
						left);
	}
	return first;
}

/* The same, and the accounting of it. Return: how many pages were done. */
static int unpin_in_dma(struct vfio_iommu *iommu, struct vfio_dma *dma,
			dma_addr_t iova, int npage, bool retain, int *left)
{
	u64 first = (iova - dma->iova) >> PAGE_SHIFT;
	u64 last = first + pages_in_dma(dma, iova, npage) - 1;
	long unlocked = 0;
	u64 next;

	next = dma_unpin(dma, first, last, retain, left, &unlocked);
	if (unlocked && list_empty(&iommu->domain_list))
		dma_uncharge(iommu, dma, unlocked);
	return next - first;
}

/* Undo one pin of each of some pages. Return: how many were done, one at least. */
static int unpin_some(struct vfio_iommu *iommu, dma_addr_t iova, int npage,
		      bool retain)
{
	int left = UNPIN_FOLIOS, done = 0;

	while (done < npage && left > UNPIN_MAPPING) {
		dma_addr_t at = iova + ((dma_addr_t)done << PAGE_SHIFT);
		struct vfio_dma *dma = vfio_find_dma(iommu, at, PAGE_SIZE);

		left -= UNPIN_MAPPING;
		done += dma ? unpin_in_dma(iommu, dma, at, npage - done, retain,
					   &left) : 1;
	}
	return done;
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

/* Return: how many of the pages were done, in one hold of the lock. */
static int unpin_hold(struct vfio_iommu *iommu, dma_addr_t iova, int npage)
{
	int done = 1;
	bool retain;

	mutex_lock(&iommu->lock);
	retain = iommu->dirty_page_tracking;
	if (npage == 1)
		unpin_page(iommu, iova, retain);
	else
		done = unpin_some(iommu, iova, npage, retain);
	mutex_unlock(&iommu->lock);
	return done;
}

/*
 * Undo one pin of each page of a range. Caller does not hold iommu->lock. What is pinned
 * still when the lock is dropped keeps its mapping.
 */
static void unpin_pages(struct vfio_iommu *iommu, dma_addr_t iova, int npage)
{
	while (npage > 0) {
		int done = unpin_hold(iommu, iova, npage);

		iova += (dma_addr_t)done << PAGE_SHIFT;
		npage -= done;
	}
}

/* A driver that unpins beyond the last page unpins nothing, least of all IOVA 0 (R13). */
static void vfio_iommu_type1_unpin_pages(void *iommu_data,
					 dma_addr_t user_iova, int npage)
{
	dma_addr_t iova = user_iova & PAGE_MASK;
	struct vfio_iommu *iommu = iommu_data;

	if (iommu->v2 && iova + ((dma_addr_t)npage << PAGE_SHIFT) - 1 >= iova)
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
	int left = 0;		/* there is no limit without the lock */

	if (dma->pins.nr_pinned)
		pr_warn_ratelimited("a driver left %llu pages pinned\n",
				    dma->pins.nr_pinned);
	while (dma->pins.nr_pinned && page <= last &&
	       pin_store_next_pinned(&dma->pins, page, last, &row)) {
		unlocked += frames_put(dma, row.pfn, row.n, &left);
		page = row.page + row.n;
	}
	pin_store_destroy(&dma->pins);
	dma_uncharge_left(dma, unlocked);
}
