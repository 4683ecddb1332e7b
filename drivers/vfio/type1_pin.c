// SPDX-License-Identifier: GPL-2.0-only
/*
 * Pinning and unpinning for mediated devices, in batches.
 *
 * Included by the hooked vfio_iommu_type1.c, whose mappings, accounting and
 * page table walks it uses. Everything here runs under iommu->lock.
 *
 * A call is worked off in parts, each inside of one mapping: the pins of a part
 * are recorded as its pages are found, and then counted as locked memory in one
 * go. A part that fails is undone by unpinning it, and so are those before it. A
 * page that was pinned already is said to be written when every part of the call
 * has succeeded, because unpinning does not undo that. So a call that fails has
 * changed nothing.
 *
 * A page is pinned in about 500 instructions by pin_user_pages_fast(), and that is
 * most of what a call for a single page costs. So the rest is written for few
 * calls and for no structure on the stack where one page is all there is.
 */

/**
 * struct pin_call - one call of vfio_pin_pages()
 * @iommu: the container
 * @prot: IOMMU_READ, IOMMU_WRITE
 * @locked: new pins of the part that is worked on which count as locked memory
 * @again: the call has pages that were pinned before: see pin_store_pin()
 */
struct pin_call {
	struct vfio_iommu *iommu;
	int prot;
	long locked;
	bool again;
};

/* A retained page is not pinned: nobody must take it for that (D11). */
static bool vfio_dma_pinned(struct vfio_dma *dma, dma_addr_t iova)
{
	u64 page = (iova - dma->iova) >> PAGE_SHIFT;
	struct pin_row row;

	return pin_store_next_pinned(&dma->pins, page, page, &row);
}

/* --- frames and accounting ----------------------------------------------- */

/*
 * How many of @n pages with consecutive frames, from @page on, are in its folio.
 * Either all or none of those are reserved; those of a VM_PFNMAP vma are.
 */
static unsigned long pages_of_folio(struct folio *folio, struct page *page,
				    unsigned long n)
{
	unsigned long left;

	if (n == 1 || !folio_test_large(folio))
		return 1;
	left = folio_nr_pages(folio) - folio_page_idx(folio, page);
	return min(left, n);
}

/* How many of @n frames count as locked memory: those that are not reserved. */
static long frames_locked(unsigned long pfn, unsigned long n)
{
	unsigned long end = pfn + n, step;
	long locked = 0;

	for (; pfn < end; pfn += step) {
		struct page *page = pfn_to_page(pfn);

		step = pages_of_folio(page_folio(page), page, end - pfn);
		if (!PageReserved(page))
			locked += step;
	}
	return locked;
}

/*
 * Release @n pages of a folio, from @page on. It is dirty, mostly: then there is no
 * need for its lock. Return: how many counted as locked memory, all or none.
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

/* Pages of a mapping that are pinned here and count as locked memory. */
static long vfio_dma_locked(struct vfio_dma *dma)
{
	u64 page = 0, last = dma_page(dma, U64_MAX);
	struct pin_row row;
	long locked = 0;

	while (page <= last &&
	       pin_store_next_pinned(&dma->pins, page, last, &row)) {
		locked += frames_locked(row.pfn, row.n);
		page = row.page + row.n;
	}
	return locked;
}

/* Count @npage more as locked memory of the mapping's owner, who is alive. */
static int dma_account(struct vfio_dma *dma, long npage)
{
	int ret;

	if (mmap_write_lock_killable(dma->mm))
		return -EINTR;
	ret = __account_locked_vm(dma->mm, npage, true, dma->task,
				  dma->lock_cap);
	mmap_write_unlock(dma->mm);
	if (!ret)
		dma->locked_vm += npage;
	return ret;
}

/*
 * Count @npage less as locked memory of the mapping's owner, who may have exited.
 * Not killable as vfio_lock_acct() is: what is not counted down now never will be.
 */
static __always_inline void dma_unaccount(struct vfio_dma *dma, long npage)
{
	struct mm_struct *mm = dma->mm;
	bool owner = current->mm == mm;

	if (!owner && !mmget_not_zero(mm))
		return;
	mmap_write_lock(mm);
	mm->locked_vm -= npage;
	mmap_write_unlock(mm);
	dma->locked_vm -= npage;
	if (!owner)
		mmput(mm);
}

/*
 * The last IOMMU-backed group goes, and with it what it had pinned. Locked
 * stays what is pinned here, which was not counted beside the group's pins.
 */
static void vfio_iommu_unmap_unpin_reaccount(struct vfio_iommu *iommu)
{
	struct vfio_dma *dma;

	for (dma = vfio_dma_first_in(iommu, 0, U64_MAX); dma;
	     dma = vfio_dma_next_in(dma, U64_MAX)) {
		long unlocked = vfio_unmap_unpin(iommu, dma, false);

		vfio_lock_acct(dma, vfio_dma_locked(dma) - unlocked, true);
	}
}

/* --- unpin --------------------------------------------------------------- */

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
				dma_unaccount(dma, unlocked);
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
		dma_unaccount(dma, 1);
}

static void vfio_iommu_type1_unpin_pages(void *iommu_data,
					 dma_addr_t user_iova, int npage)
{
	struct vfio_iommu *iommu = iommu_data;
	bool retain;

	if (!iommu->v2)
		return;
	mutex_lock(&iommu->lock);
	retain = iommu->dirty_page_tracking;
	if (npage == 1)
		unpin_page(iommu, user_iova, retain);
	else
		unpin_range(iommu, user_iova & PAGE_MASK, npage, retain);
	mutex_unlock(&iommu->lock);
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
	if (unlocked && dma->pins_are_locked)
		dma_unaccount(dma, unlocked);
}

/* --- pin ----------------------------------------------------------------- */

/*
 * Get up to @n pages from @vaddr on. The owner's own memory is found without
 * mmap_lock, where nothing has to be faulted in.
 */
static int dma_get_pages(struct vfio_dma *dma, unsigned long vaddr, int n,
			 struct page **pages)
{
	unsigned long pfn;
	int got;

	if (current->mm == dma->mm) {
		got = pin_user_pages_fast(vaddr, n, FOLL_LONGTERM |
					  (dma->prot & IOMMU_WRITE ?
					   FOLL_WRITE : 0), pages);
		if (got > 0)
			return got;
	}
	got = vaddr_get_pfns(dma->mm, vaddr, n, dma->prot, &pfn, pages);
	if (got <= 0)
		return got ? got : -EFAULT;
	/* For a frame found in a VM_PFNMAP vma, pages[] was not filled in. */
	if (got == 1) {
		if (!pfn_valid(pfn))
			return -EINVAL;
		pages[0] = pfn_to_page(pfn);
	}
	return got;
}

/*
 * Pin up to @n pages, from @first on, that are not pinned yet.
 * Return: how many, or an error with nothing changed.
 */
static int pin_fresh(struct pin_call *call, struct vfio_dma *dma, u64 first,
		     int n, struct page **pages)
{
	int got, done, row, i;

	got = dma_get_pages(dma, dma->vaddr + (first << PAGE_SHIFT), n, pages);
	for (done = 0; done < got; done += row) {
		unsigned long pfn = page_to_pfn(pages[done]);

		row = pages_in_row(pages + done, got - done);
		i = pin_store_pin(&dma->pins, first + done, row, pfn,
				  call->prot & IOMMU_WRITE);
		if (i < row) {
			done += i;
			goto undo;
		}
		call->locked += frames_locked(pfn, row);
	}
	return got;

undo:
	for (i = done; i < got; i++)
		put_pfn(page_to_pfn(pages[i]), dma->prot);
	if (done)
		dma_unpin(dma, first, first + done - 1, false);
	return -ENOMEM;
}

/* Pin pages once more: up to @n of @row. */
static int pin_again(struct pin_call *call, struct vfio_dma *dma,
		     const struct pin_row *row, int n, struct page **pages)
{
	int i, done;

	if (row->pins == PIN_STORE_REFS_MAX)
		return -EOVERFLOW;
	n = min_t(int, n, row->n);
	done = pin_store_pin(&dma->pins, row->page, n, row->pfn, false);
	if (!done)
		return -ENOMEM;
	for (i = 0; i < done; i++)
		pages[i] = pfn_to_page(row->pfn + i);
	call->again = true;
	return done;
}

/* Pin @n pages of a mapping. On an error, nothing has changed. */
static int pin_in_dma(struct pin_call *call, struct vfio_dma *dma, u64 first,
		      int n, struct page **pages)
{
	u64 last = first + n - 1, next = first;
	struct pin_row row;
	int ret;

	call->locked = 0;
	do {
		if (!pin_store_next_pinned(&dma->pins, next, last, &row))
			row.page = last + 1;
		if (row.page > next)
			ret = pin_fresh(call, dma, next, row.page - next,
					pages + (next - first));
		else
			ret = pin_again(call, dma, &row, last - next + 1,
					pages + (next - first));
		if (ret < 0)
			goto undo;
		next += ret;
	} while (next <= last);

	if (!call->locked || !list_empty(&call->iommu->domain_list))
		return 0;
	ret = dma_account(dma, call->locked);
	if (!ret)
		return 0;
undo:
	if (next > first)
		dma_unpin(dma, first, next - 1, false);
	return ret;
}

/* Pin those of @npage pages at @iova that are in one mapping. Return: how many. */
static int pin_part(struct pin_call *call, dma_addr_t iova, int npage,
		    struct page **pages)
{
	struct vfio_dma *dma = vfio_find_dma_to_use(call->iommu, iova);
	bool owner;
	int n, ret;

	if (!dma)
		return -EINVAL;
	if ((dma->prot & call->prot) != call->prot)
		return -EPERM;
	owner = current->mm == dma->mm;
	if (!owner && !mmget_not_zero(dma->mm))
		return -ENODEV;
	n = pages_in_dma(dma, iova, npage);
	ret = pin_in_dma(call, dma, (iova - dma->iova) >> PAGE_SHIFT, n, pages);
	if (!owner)
		mmput(dma->mm);
	return ret ? ret : n;
}

/* Pages that were pinned before are written now, too. */
static void written_range(struct vfio_iommu *iommu, dma_addr_t iova, int npage)
{
	while (npage) {
		struct vfio_dma *dma = vfio_find_dma(iommu, iova, PAGE_SIZE);
		u64 first = (iova - dma->iova) >> PAGE_SHIFT;
		int n = pages_in_dma(dma, iova, npage);

		pin_store_written(&dma->pins, first, first + n - 1);
		iova += (dma_addr_t)n << PAGE_SHIFT;
		npage -= n;
	}
}

static int pin_range(struct vfio_iommu *iommu, dma_addr_t iova, int npage,
		     int prot, struct page **pages)
{
	struct pin_call call = { .iommu = iommu, .prot = prot };
	int done, ret;

	for (done = 0; done < npage; done += ret) {
		ret = pin_part(&call, iova + ((dma_addr_t)done << PAGE_SHIFT),
			       npage - done, pages + done);
		if (ret < 0)
			goto undo;
	}
	if (call.again && prot & IOMMU_WRITE)
		written_range(iommu, iova, npage);
	return npage;

undo:
	unpin_range(iommu, iova, done, false);
	memset(pages, 0, npage * sizeof(*pages));
	return ret;
}

/* A group that pins says by it what it writes. Caller holds iommu->lock. */
static void vfio_group_pins(struct vfio_iommu *iommu,
			    struct iommu_group *iommu_group)
{
	struct vfio_iommu_group *group;

	group = vfio_iommu_find_iommu_group(iommu, iommu_group);
	if (group->pinned_page_dirty_scope)
		return;
	group->pinned_page_dirty_scope = true;
	iommu->num_non_pinned_groups--;
	vfio_dirty_scope_narrowed(iommu);
}

static int vfio_iommu_type1_pin_pages(void *iommu_data,
				      struct iommu_group *iommu_group,
				      dma_addr_t user_iova,
				      int npage, int prot,
				      struct page **pages)
{
	struct vfio_iommu *iommu = iommu_data;
	dma_addr_t iova = user_iova & PAGE_MASK;
	int ret;

	if (!iommu || !pages || npage > (int)VFIO_PIN_PAGES_MAX_ENTRIES)
		return -EINVAL;
	/* The last byte, not the end: the range may end with the address space. */
	if (iova + ((dma_addr_t)npage << PAGE_SHIFT) - 1 < iova)
		return -EINVAL;
	if (!iommu->v2)
		return -EACCES;

	mutex_lock(&iommu->lock);
	if (iommu->vaddr_invalid_count)
		ret = -EBUSY;
	else if (list_empty(&iommu->device_list))
		ret = -EINVAL;
	else
		ret = pin_range(iommu, iova, npage, prot, pages);
	if (ret > 0)
		vfio_group_pins(iommu, iommu_group);
	mutex_unlock(&iommu->lock);
	return ret;
}
